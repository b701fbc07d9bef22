"""How large a medium may become, checked at each build."""

from collections.abc import Mapping, Sequence

from .partitions import MIB
from .process import BuildError
from .root import Flavour

# What a system may take on its medium, without the images partition. Firmware for network cards is extra.
BUDGETS = {Flavour.GENERIC: 200 * MIB, Flavour.VM: 128 * MIB}
FIRMWARE_BUDGET = 16 * MIB

NAMED_FILES = 4
NAMED_PACKAGES = 6


def budget_for(flavour: Flavour, *, firmware: bool) -> int:
    """Bytes that the system of this flavour may take."""
    return BUDGETS[flavour] + (FIRMWARE_BUDGET if firmware else 0)


def check_budget(
    system_bytes: int, budget: int, *, files: Mapping[str, int], packages: Sequence[tuple[int, str]]
) -> str:
    """A line that says how much of the budget is used; BuildError names the biggest parts where it is too little.

    `files` are the medium's, `packages` those of the root with their installed sizes, the largest first; all in bytes.
    """
    if system_bytes <= budget:
        return f"system {_mib(system_bytes)} of {_mib(budget)} MiB"
    large = sorted(files.items(), key=lambda item: -item[1])[:NAMED_FILES]
    raise BuildError(
        f"the system takes {_mib(system_bytes)} MiB, {_mib(system_bytes - budget)} more than its budget of "
        f"{_mib(budget)} MiB. Its largest files: "
        + ", ".join(f"{name} {_mib(size)}" for name, size in large)
        + "; the largest packages as installed: "
        + ", ".join(f"{name} {_mib(size)}" for size, name in packages[:NAMED_PACKAGES]),
        hint="see live-image/root/packages.txt, dropped-paths.txt and dropped-modules.txt, and livebuild/budget.py",
    )


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"
