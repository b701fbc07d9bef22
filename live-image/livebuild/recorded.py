"""The list of Debian packages that a build was made from: written beside the stick, and asked for again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import BuildError

LIVE_HEADING = "# Debian packages of the live system"
BOOT_HEADING = "# Debian packages that the boot loaders and the initramfs were taken from"

# Above 1000, apt takes a version even where it is older than what is there.
PIN_PRIORITY = 1001
COLUMNS = "package, version, architecture, source, version of the source"
NAMED_DIFFERENCES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Packages as lines of package, version, architecture, source and its version."""

    live: tuple[str, ...]
    boot: tuple[str, ...]


def render_recorded(*, live: str, boot: str) -> str:
    """The list as a build writes it, from the packages of the live system and of the boot loaders."""
    return f"{LIVE_HEADING}\n{live}{BOOT_HEADING}\n{boot}"


def read_recorded(path: Path) -> Recorded:
    """A list that render_recorded() wrote; BuildError names the line that is none of it."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(
            f"the list of packages cannot be read: {error}", hint="a build writes one: STICK.img.packages"
        ) from error
    parts: dict[str, list[str]] = {LIVE_HEADING: [], BOOT_HEADING: []}
    part: list[str] | None = None
    for number, line in enumerate(lines, start=1):
        if line in parts:
            part = parts[line]
        elif part is None or len(line.split(" ")) != len(COLUMNS.split(", ")):
            raise BuildError(f"{path}, line {number}: expected {COLUMNS}; found {line!r}")
        else:
            part.append(line)
    for heading, found in parts.items():
        if not found:
            raise BuildError(f"{path} names none of the {heading.removeprefix('# ')}")
    return Recorded(live=tuple(parts[LIVE_HEADING]), boot=tuple(parts[BOOT_HEADING]))


def versions(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Name and version of each package."""
    return [(words[0], words[1]) for words in (line.split(" ") for line in lines)]


def render_preferences(lines: Sequence[str]) -> str:
    """What makes apt take exactly these versions: apt_preferences(5)."""
    return "\n".join(
        f"Package: {name}\nPin: version {version}\nPin-Priority: {PIN_PRIORITY}\n" for name, version in versions(lines)
    )


def check_same(asked: Sequence[str], got: Sequence[str]) -> None:
    """Refuse packages that are not exactly those of the list."""
    wanted, there = set(asked), set(got)
    if wanted == there:
        return
    differences = [f"the list has   {line}" for line in sorted(wanted - there)]
    differences += [f"the build has  {line}" for line in sorted(there - wanted)]
    more = len(differences) - NAMED_DIFFERENCES
    shown = differences[:NAMED_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
    raise BuildError(
        "the packages are not those of the list:\n  " + "\n  ".join(shown),
        hint="the list belongs to the checkout, the flavour and the firmware option that it was made with",
    )
