"""Programs of this machine, with what they need, to be put into the tree of a system that tests make."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.disks import run

_LIBRARY = re.compile(r"(/\S+) \(0x")


def needed(*programs: str) -> list[Path]:
    """The programs, by their names or paths, and the libraries that they load, with the loader of these."""
    found: dict[Path, None] = {}
    for name in programs:
        path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert path, f"{name} is not installed"
        found[Path(path)] = None
        found.update((Path(library), None) for library in _LIBRARY.findall(run("ldd", path)))
    return list(found)


def copy(files: Iterable[Path], tree: Path) -> None:
    """Files to the same places below `tree`, where they are not there; what is a link here is a file there.

    What the tree has already is its own: its C library is not replaced by another.
    """
    for file in files:
        target = tree / file.relative_to("/")
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


def contents(files: Iterable[Path]) -> dict[str, bytes]:
    """The same as what is in them, by path without the first slash."""
    return {str(file.relative_to("/")): file.read_bytes() for file in files}
