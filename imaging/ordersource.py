"""Where orders come from: the kernel command line, or the folder `jobs` on the medium of this recovery system."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging import access, bootline, inventory, media, orders, web
from imaging.durable import reading, sync_folder, written
from imaging.errors import IoError, RefusedError, UsageError
from imaging.matching import Named
from imaging.regular import read_regular
from imaging.run import run

WORD = "rescue.job"
"""On the kernel command line: an address, a file on the medium, or "no"."""
NONE = "no"
"""No order at this start, whatever lies on the medium."""
FOLDER = "jobs"
_MOST_FILES = 64
_REMOUNTING = 60.0
FETCHING = 180.0
"""Seconds in which an address has to answer, the network's own start included."""


def asked() -> str:
    """What the kernel command line says of an order; empty where it says nothing."""
    return bootline.value(WORD)


def places() -> tuple[Path, ...]:
    """The images partition, and the medium itself."""
    return media.IMAGES, Path(inventory.MEDIUM)


def on_medium() -> list[Path]:
    """The files of orders on the medium."""
    found: list[Path] = []
    for root in places():
        with suppress(OSError):
            found += sorted(path for path in (root / FOLDER).glob("*.toml") if not path.name.startswith("."))
    return found


def read_all(files: Sequence[Path]) -> list[Named]:
    """The orders in files, all or none: one that cannot be understood may be for this computer. Raises as `read`."""
    if len(files) > _MOST_FILES:
        raise UsageError(f"there are {len(files)} orders on the medium, more than {_MOST_FILES}", code="bad-order")
    return [read(path) for path in files]


def name_of(word: str) -> str:
    """What messages call an order that the kernel command line names."""
    return web.shown(word) if web.is_address(word) else word


def fetch(word: str) -> Named:
    """The order at an address or in a file; an address is asked for some minutes. Raises UsageError, IoError, .."""
    if web.is_address(word):
        data = web.patiently(lambda: web.fetch(word, orders.MOST_BYTES), FETCHING)
        return _named(data, name_of(word))
    path = _file(word)
    return read(path)


def _file(word: str) -> Path:
    relative = Path(word.lstrip("/"))
    if ".." in relative.parts:
        raise UsageError(f"the order {word} is not a file on the medium", code="bad-order")
    candidates = [root / relative for root in places()] + ([Path(word)] if word.startswith("/") else [])
    for path in candidates:
        if path.is_file():
            return path
    raise UsageError(
        f"the order was not found on the medium: {word}",
        code="no-such-order",
        hint=f"check {WORD}= on the kernel command line, and that the stick is still plugged in",
    )


def take_off(name: str) -> None:
    """Remove the file of an order from the medium, down to it; that is made writable for the moment.

    Raises IoError, RefusedError where it cannot be removed: it would be found again at each start.
    """
    found = [path for path in on_medium() if path.name == name]
    if len(found) != 1:
        raise RefusedError(
            f"the order {name} is for one start, and is not a file on the medium that could be removed",
            code="bad-order",
            hint="put it into the folder jobs, or leave one_start out",
        )
    with access.writable(found[0]), _remounted(found[0]), written(found[0]):
        found[0].unlink()
        sync_folder(found[0].parent)


@contextmanager
def _remounted(path: Path) -> Iterator[None]:
    """The medium itself, writable: the recovery partition of a computer is mounted read-only."""
    with reading(path):
        read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    if not read_only:
        yield
        return
    where = str(path.parent.parent)
    run(["mount", "-o", "remount,rw", where], timeout=_REMOUNTING)
    try:
        yield
    finally:
        run(["mount", "-o", "remount,ro", where], timeout=_REMOUNTING)


def read(path: Path) -> Named:
    """The order in a file; raises UsageError where it is none, IoError where it cannot be read."""
    try:
        data = read_regular(path, orders.MOST_BYTES, "bad-order")
    except FileNotFoundError as error:
        raise UsageError(f"the file of the order was not found: {path}", code="no-such-order") from error
    except OSError as error:
        raise IoError(f"the order {path} cannot be read: {error.strerror}", code="read-failed") from error
    return _named(data, path.name)


def _named(data: bytes, name: str) -> Named:
    return Named(name=name, digest=orders.digest(data), order=orders.parse(data, name))
