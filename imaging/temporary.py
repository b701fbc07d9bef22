"""Names of files that are not whole yet: they tell which process was at them, so that what a dead one left can go."""

import functools
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

_END = ".tmp"
_OWNED = re.compile(r"\.([0-9a-f]{16})[0-9a-f]{16}\.tmp$")


def boot_id() -> str:
    """Where process ids mean the same: this start of the machine, and this container on it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def whose(boot: str, pid: int) -> str:
    """What stands in the names of a process's temporary files: 8 hexadecimal digits of its start, 8 of its id."""
    return f"{hashlib.blake2b(boot.encode(), digest_size=4).hexdigest()}{pid:08x}"


@functools.cache
def _mine(pid: int) -> str:
    return whose(boot_id(), pid)


def temporary(path: Path) -> Path:
    """A name beside a file, hidden, under which it can be written until it is whole."""
    return path.with_name(f".{path.name}.{_mine(os.getpid())}{secrets.token_hex(8)}{_END}")


def remove_of_dead(folder: Path, lives: Callable[[int], bool]) -> None:
    """Remove what dead processes of this start of the machine left in a folder; what cannot be removed stays."""
    here = whose(boot_id(), 0)[:8]
    _remove(folder, lambda owner: owner.startswith(here) and not lives(int(owner[8:], 16)))


def remove_remains(folder: Path, owners: Collection[str]) -> None:
    """Remove the temporary files that processes left in a folder; where one cannot be removed, it stays."""
    if owners:
        _remove(folder, lambda owner: owner in owners)


def _remove(folder: Path, chosen: Callable[[str], bool]) -> None:
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as files:
        names = [file.name for file in files if file.name.endswith(_END)]
    for name in names:
        found = _OWNED.search(name)
        if found is not None and chosen(found[1]):
            with suppress(OSError):
                (folder / name).unlink()
