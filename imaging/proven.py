"""What a verification has read and found right so far, kept so that one that was cut off goes on where it was.

A chunk counts as read while nothing that its store says of it has changed since before it was read: its bytes, its
times, on a server its tag. So no clock has to be believed, and what was written since is read again. Each is kept as a
stamp, the first bytes of a BLAKE3 of all that and of what the chunk had to be; the file is this system's own, for a
library could say of itself whatever it likes.
"""

import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from blake3 import blake3

from imaging.durable import written
from imaging.errors import RescueError
from imaging.regular import read_regular
from imaging.state import lasting_folder

_MAGIC = b"RESCUEV1"
_HEAD = len(_MAGIC) + 8
_STAMP = 12
_BUCKET = 2
"""Bytes of a stamp that say where the rest of it is kept."""
_REST = _STAMP - _BUCKET
_MOST_AGE = 30 * 24 * 3600
"""Seconds after which what was read says too little of a disk that grows older."""
_MOST_BYTES = 512 << 20
_EVERY = 2.0
"""Seconds between two writes."""


def stamp_of(wanted: bytes, of_store: bytes) -> bytes:
    """A stamp, of what a chunk has to be and of what its store says of it now."""
    return blake3(wanted + of_store).digest(_STAMP)


class Proven:
    """The stamps of what was read; use as a context manager, and `finish` once there is nothing to go on with."""

    def __init__(self, path: Path | None = None) -> None:
        """Take the file that keeps them, where they are to be kept; what is there already is known."""
        self._path, self._fd = path, -1
        self._lock = threading.Lock()
        self._known: dict[int, bytearray] = {}
        self._new = bytearray()
        self._written = time.monotonic()
        self.resumed = 0
        """How many are known from a verification that was cut off."""
        if path is not None:
            with suppress(OSError, RescueError):
                self._open(path)

    @classmethod
    def of(cls, library: str, where: str, what: str, *, anew: bool) -> "Proven":
        """Those of a library, by its id and its place, and of what is verified of it; `anew` forgets them."""
        name = blake3("\0".join((library, where, what)).encode(errors="surrogateescape")).hexdigest(16)
        try:
            path = lasting_folder() / "verified" / name
            with written(path):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if anew:
                    path.unlink(missing_ok=True)
        except RescueError:
            return cls()
        return cls(path)

    def __enter__(self) -> "Proven":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Keep what is not kept yet."""
        with self._lock:
            self._keep()
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def __contains__(self, stamp: bytes) -> bool:
        """Whether this was read, and found right."""
        kept = self._known.get(int.from_bytes(stamp[:_BUCKET], "big"), b"")
        rest = stamp[_BUCKET:]
        at = kept.find(rest)
        while at >= 0 and at % _REST:
            at = kept.find(rest, at + 1)
        return at >= 0

    def add(self, stamp: bytes) -> None:
        """This was read, and found right. What cannot be kept is read again by the next, and harms nothing."""
        with self._lock:
            self._note(stamp)
            self._new += stamp
            if time.monotonic() - self._written > _EVERY:
                self._keep()

    def finish(self) -> None:
        """All was gone through: the next verification begins anew."""
        with self._lock:
            self._new.clear()
            if self._path is not None and self._fd >= 0:
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)

    def _note(self, stamp: bytes) -> None:
        self._known.setdefault(int.from_bytes(stamp[:_BUCKET], "big"), bytearray()).extend(stamp[_BUCKET:])

    def _keep(self) -> None:
        self._written = time.monotonic()
        if self._fd < 0 or not self._new:
            return
        try:
            done = os.write(self._fd, self._new)
            if done % _STAMP:  # a full disk may take half a stamp: what would follow could not be read
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - done % _STAMP)
        except OSError:
            pass
        self._new.clear()

    def _open(self, path: Path) -> None:
        """Open the file, and read what an earlier verification left; one that another is at work with is let be."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._load(read_regular(path, _MOST_BYTES), fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _load(self, data: bytes, fd: int) -> None:
        began = int.from_bytes(data[len(_MAGIC) : _HEAD], "little")
        if not data.startswith(_MAGIC) or len(data) < _HEAD or not 0 <= time.time() - began < _MOST_AGE:
            os.ftruncate(fd, 0)
            os.write(fd, _MAGIC + int(time.time()).to_bytes(8, "little"))
            return
        whole = len(data) - (len(data) - _HEAD) % _STAMP
        os.ftruncate(fd, whole)
        for at in range(_HEAD, whole, _STAMP):
            self._note(data[at : at + _STAMP])
        self.resumed = (whole - _HEAD) // _STAMP
