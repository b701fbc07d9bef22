"""The only module that opens a disk for writing."""

import ctypes
import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging import behind
from imaging.blockdev import lock, read_exactly, size_of
from imaging.durable import written
from imaging.errors import IoError, RefusedError
from imaging.run import find_tool, run

_BLKRRPART = 0x125F
_BLKFLSBUF = 0x1261
_BLKDISCARD = 0x1277
_PUNCH_HOLE = 0x01 | 0x02
"""FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE. Source: linux/falloc.h."""
_SETTLE = 30.0
_BEHIND = 8
"""Chunks that may be on their way to the medium at once."""
_PATIENCE = 1.0
"""Seconds: whoever looks at the disks holds each of them for a moment to learn if it is in use."""


_libc = ctypes.CDLL(None, use_errno=True)


class Target:
    """A disk or disk file held exclusively for writing."""

    def __init__(self, fd: int, path: str, *, regular_file: bool) -> None:
        """Use `opened`."""
        self._fd = fd
        self._regular_file = regular_file
        self._behind = behind.WriteBehind(_BEHIND)
        self.path = path
        self.size = size_of(fd)
        self._hole = (0, 0)

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset`; raises IoError."""
        read_exactly(self._fd, buffer, offset)

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Write all of `data` at `offset`; raises IoError at the first failure."""
        view = memoryview(data)
        with written(self.path):
            while view:
                count = os.pwrite(self._fd, view, offset)
                view, offset = view[count:], offset + count

    def is_hole(self, start: int, end: int) -> bool:
        """Whether it is known that nothing was written there, but for what was since it was found to be a hole.

        A hole is remembered up to its end: asking takes the lock that every write holds. See lseek(2).
        """
        if not self._regular_file:
            return False
        low, high = self._hole
        if not low <= start < end <= high:
            low, high = self._hole = start, self._next_data(start)
        return end <= high

    def _next_data(self, start: int) -> int:
        """Where the file has data from `start` on; where that cannot be told, at once."""
        try:
            return os.lseek(self._fd, start, os.SEEK_DATA)
        except OSError as error:
            return self.size if error.errno == errno.ENXIO else start

    def bring_down(self, start: int, size: int, then: Callable[[bool], object]) -> None:
        """Let a written range leave memory; `then` is called once it is on the medium. Raises IoError for any range."""
        with written(self.path):
            self._behind.wrote(self._fd, start, size, then)

    def discard(self, start: int, end: int) -> bool:
        """Tell the medium that a range is not needed any more; False where it does not do that. Raises IoError.

        Adapters for USB offer it for disks that then refuse it, which the kernel tells as EREMOTEIO.
        What such a range reads as afterwards is for the medium to say. Sources: linux/fs.h (BLKDISCARD), fallocate(2).
        """
        try:
            if self._regular_file:
                _punch(self._fd, start, end - start)
            else:
                fcntl.ioctl(self._fd, _BLKDISCARD, struct.pack("=QQ", start, end - start))
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EREMOTEIO):
                return False
            raise IoError(f"{self.path} cannot discard: {error.strerror}", code="write-failed") from error
        return True

    def sync(self) -> None:
        """Return once everything written is on the medium; raises IoError where any of it was lost."""
        with written(self.path):
            self._behind.drain()
            os.fsync(self._fd)

    def announce(self, start: int, size: int) -> None:
        """Have a range read meanwhile that will be asked for soon."""
        behind.announce(self._fd, start, size)

    def forget(self, start: int, size: int) -> None:
        """Let memory go that holds a range that was read."""
        behind.forget(self._fd, start, size)

    def forget_cached(self) -> None:
        """Let the next reads come from the medium, not from memory; everything must be synced.

        Others may have written to it meanwhile: where it has holes is looked for anew.
        """
        forget(self._fd)
        self._hole = (0, 0)

    def reread_table(self) -> None:
        """Let the kernel and udev see the new partition table."""
        if self._regular_file:
            return
        with suppress(OSError):  # loop devices without partition scanning refuse; nothing uses the old table: O_EXCL
            fcntl.ioctl(self._fd, _BLKRRPART)

    def fileno(self) -> int:
        """The open descriptor, for looking at the disk without opening it again."""
        return self._fd


def _punch(fd: int, start: int, size: int) -> None:
    if _libc.fallocate(fd, _PUNCH_HOLE, ctypes.c_int64(start), ctypes.c_int64(size)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def forget(fd: int) -> None:
    """Let the next reads of an open device or file come from the medium; what others wrote to a device is synced."""
    with suppress(OSError):  # a file knows no such call, and a device may refuse it
        fcntl.ioctl(fd, _BLKFLSBUF)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def opened(path: str, *, regular_file: bool, create_size: int = 0, shared: bool = False) -> Iterator[Target]:
    """Open a disk exclusively (O_EXCL, so a mounted or held one is refused), or a file under a lock.

    `shared` opens a disk of which other parts are mounted: only for a change of the medium that runs this system.

    With `create_size` the file must not exist; it is made, sparse, of that many bytes. Raises RefusedError or IoError.
    """
    fd = _open(path, shared=shared or regular_file, create=bool(create_size))
    try:
        if regular_file:
            _lock(fd, path)
        if create_size:
            with written(path):
                os.ftruncate(fd, create_size)
        yield Target(fd, path, regular_file=regular_file)
    finally:
        with suppress(OSError):  # all that counts was synced before, and another error may be on its way
            os.close(fd)
    if not regular_file and find_tool("udevadm") and Path("/run/udev/control").exists():
        run(["udevadm", "settle", f"--timeout={_SETTLE:.0f}"], accept=(0, 1), timeout=_SETTLE + 5)


def _open(path: str, *, shared: bool, create: bool) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC
    if create:
        flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    elif not shared:
        flags |= os.O_EXCL
    try:
        return _open_patiently(path, flags)
    except FileExistsError as error:
        raise RefusedError(f"{path} was made since the plan was shown", code="disk-changed") from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise RefusedError(f"{path} is in use", code="in-use", hint="unmount what is on it") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise RefusedError(f"{path} cannot be written: {error.strerror}", code="target-read-only") from error
        raise IoError(f"{path} cannot be opened: {error.strerror}", code="cannot-open") from error


def _open_patiently(path: str, flags: int) -> int:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return os.open(path, flags, 0o600)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _lock(fd: int, path: str) -> None:
    """Both kinds of locks: our jobs meet at the first, and programs like QEMU hold the second."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RefusedError(f"{path} is in use by another job", code="in-use") from error
    if not lock(fd):
        raise RefusedError(f"{path} is in use by another program", code="in-use", hint="close it")
