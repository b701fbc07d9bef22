"""Names of files that are not whole yet: they tell which process was at them, so that what a dead one left can go."""

import functools
import hashlib
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_END = ".tmp"
_DIGITS = 16


def boot_id() -> str:
    """Where process ids mean the same: this start of the machine, and this container on it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def whose(boot: str, pid: int) -> str:
    """What stands in the names of a process's temporary files: 16 hexadecimal digits."""
    return hashlib.blake2b(f"{boot} {pid}".encode(), digest_size=_DIGITS // 2).hexdigest()


@functools.cache
def _mine(pid: int) -> str:
    return whose(boot_id(), pid)


def temporary(path: Path) -> Path:
    """A name beside a file, hidden, under which it can be written until it is whole."""
    return path.with_name(f".{path.name}.{_mine(os.getpid())}{secrets.token_hex(8)}{_END}")


def remove_remains(folder: Path, owners: Collection[str]) -> None:
    """Remove the temporary files that processes left in a folder; where one cannot be removed, it stays."""
    names: list[str] = []
    with suppress(OSError), os.scandir(folder) as files:
        names = [file.name for file in files if file.name.endswith(_END)]
    for name in names if owners else ():
        if name.removesuffix(_END).rpartition(".")[2][:_DIGITS] in owners:
            with suppress(OSError):
                (folder / name).unlink()
