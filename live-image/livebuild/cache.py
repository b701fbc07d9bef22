"""Keeps the results of slow steps, each in a folder named after everything that went into it.

An entry appears by one rename, so that an interrupted build leaves no half of one. A lock
on the folder lets one build work at a time; a second one waits and then finds the entries.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .process import say, step

# The newest entries of a kind that stay when a new one is made: two flavours, and for each one to go back to.
KEPT_ENTRIES = 4


def cache_folder() -> Path:
    """Where results are kept: RESCUE_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("RESCUE_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rescue"


def digest_of(*inputs: bytes | str | Path) -> str:
    """A key for these inputs: literal values, files and whole folders (names, modes, contents)."""
    total = hashlib.sha256()
    for item in inputs:
        parts = (
            [item.encode()] if isinstance(item, str) else [item] if isinstance(item, bytes) else list(_described(item))
        )
        for part in parts:
            total.update(len(part).to_bytes(8, "little"))
            total.update(part)
    return total.hexdigest()[:20]


def _described(path: Path) -> Iterator[bytes]:
    if path.is_symlink():
        yield b"link " + os.fsencode(path.name) + b" " + os.fsencode(path.readlink())
    elif path.is_dir():
        yield b"folder " + os.fsencode(path.name)
        for child in sorted(path.iterdir()):
            if child.name != "__pycache__":
                yield from _described(child)
    else:
        executable = b"x" if path.stat().st_mode & 0o100 else b"-"
        yield b"file " + executable + b" " + os.fsencode(path.name)
        yield path.read_bytes()


class Cache:
    """The cache folder, held under its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of this kind and key, where there is one."""
        folder = self.folder / f"{kind}-{key}"
        return folder if folder.is_dir() else None

    def entry(self, kind: str, key: str, make: Callable[[Path], None], *, again: bool = False) -> Path:
        """The folder of this kind and key, made by `make(folder)` when absent (or `again` asks for it)."""
        folder = self.folder / f"{kind}-{key}"
        if folder.is_dir() and not again:
            os.utime(folder)
            return folder
        with step(f"making {kind}"):
            work = Path(tempfile.mkdtemp(prefix="making-", dir=self.folder))
            try:
                work.chmod(0o755)
                make(work)
                if folder.exists():
                    folder.rename(work.with_name(work.name + "-old"))
                work.rename(folder)
            finally:
                self._sweep()
        self._prune(kind)
        return folder

    def _sweep(self) -> None:
        """Remove what interrupted builds left; the lock says that none is running."""
        for leftover in self.folder.glob("making-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _prune(self, kind: str) -> None:
        entries = sorted(self.folder.glob(f"{kind}-*"), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[KEPT_ENTRIES:]:
            shutil.rmtree(entry, ignore_errors=True)


@contextmanager
def open_cache() -> Iterator[Cache]:
    """The cache under its lock; waits for another build to end."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build holds the cache; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        cache = Cache(folder)
        cache._sweep()
        yield cache
