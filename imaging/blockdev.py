"""Block devices and regular files read as disks: sizes, flags, loop devices. Nothing here writes.

Source of the ioctl numbers: linux/fs.h, linux/loop.h.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging.errors import IoError, RefusedError, UsageError
from imaging.run import run

_BLKROGET = 0x125E
_BLKSSZGET = 0x1268
_BLKPBSZGET = 0x127B
_BLKGETSIZE64 = 0x80081272
_LOOP_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CONFIG = struct.Struct("=II24xQQ12xI64s64x32x16x64x")
"""struct loop_config: descriptor, block size; of the loop_info64 in it offset, size limit, flags and file name."""
_LOOP_READ_ONLY, _LOOP_AUTOCLEAR = 1, 4
_LARGEST_SECTOR = 4096
"""Bytes that no loop device's sector exceeds."""
_LOOP_TRIES = 64
"""Others take loop devices, too, between our asking for a free one and our taking it."""
_FLOCK = "hhqqi0q"
"""struct flock: type, whence, start, length, process (0 for this kind of lock)."""
_ALL = 1 << 62
"""Bytes that our own lock covers: no file is longer, and the odd length tells it from others' locks."""


def open_for_reading(path: str) -> int:
    """Open a device or a file for reading; raises IoError or RefusedError with what to do.

    A disk remembers what was read of it in a cache of its own, past writes to its partitions, for as long as any of
    these is in use: it is made to forget that. Source: Linux block/bdev.c.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise RefusedError(
            f"{path} cannot be read: {error.strerror}", code="no-permission", hint="run as root"
        ) from error
    except OSError as error:
        raise IoError(f"{path} cannot be opened: {error.strerror}", code="cannot-open") from error
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        with suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return fd


@contextmanager
def opened(path: str) -> Iterator[int]:
    """`open_for_reading`, closed at the end."""
    fd = open_for_reading(path)
    try:
        yield fd
    finally:
        with suppress(OSError):  # nothing was written, so nothing can be lost
            os.close(fd)


def real_path(path: str | Path) -> Path:
    """An absolute path without links, of something that may not exist yet.

    Raises UsageError (code "bad-path") where it leads nowhere: through a circle of links, or by too long a name.
    """
    try:
        Path(path).stat()
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise UsageError(f"{path} leads nowhere: {error.strerror}", code="bad-path") from error
    return Path(path).resolve()


def is_block_device(path: str) -> bool:
    """Whether `path` is a block device; False where it does not exist."""
    try:
        return stat.S_ISBLK(Path(path).stat().st_mode)
    except OSError:
        return False


def _ioctl(fd: int, request: int, form: str) -> int:
    buffer = bytearray(struct.calcsize(form))
    fcntl.ioctl(fd, request, buffer)
    value: int = struct.unpack(form, buffer)[0]
    return value


def status_of(fd: int) -> os.stat_result:
    """fstat(2) of an open device or file; raises IoError, for a medium can be gone by then."""
    try:
        return os.fstat(fd)
    except OSError as error:
        raise IoError(f"{_name_of(fd)} cannot be looked at: {error.strerror}", code="read-failed") from error


def size_of(fd: int) -> int:
    """Bytes of an open device or file; raises IoError."""
    status = status_of(fd)
    if stat.S_ISBLK(status.st_mode):
        return _ioctl(fd, _BLKGETSIZE64, "=Q")
    return status.st_size


def sector_sizes(fd: int) -> tuple[int, int]:
    """Logical and physical sector size of an open block device, in bytes."""
    return _ioctl(fd, _BLKSSZGET, "=I"), _ioctl(fd, _BLKPBSZGET, "=I")


def is_read_only(fd: int) -> bool:
    """Whether an open block device refuses writes."""
    return _ioctl(fd, _BLKROGET, "=I") != 0


def lock(fd: int) -> bool:
    """Lock all of a file that is open for writing until it is closed; False where a program holds any part of it.

    QEMU locks some bytes of its disk files in this way. True, too, where the file system knows no such locks.
    Sources: fcntl_locking(2), QEMU's block/file-posix.c.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, _ALL, 0))
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def is_locked(fd: int) -> bool:
    """Whether a program holds any part of an open file; our own `lock` does not count: jobs tell of that."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, _ALL, 0)
    try:
        kind, _, start, length, _ = struct.unpack(_FLOCK, fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    except OSError:
        return False
    return kind != fcntl.F_UNLCK and (start, length) != (0, _ALL)


def read_exactly(fd: int, buffer: memoryview, offset: int) -> None:
    """Fill `buffer` from `offset`; raises IoError where the medium fails or ends too early."""
    done = 0
    while done < len(buffer):
        try:
            count = os.preadv(fd, [buffer[done:]], offset + done)
        except OSError as error:
            where = f"{_name_of(fd)}: reading at byte {offset + done}"
            raise IoError(f"{where} failed: {error.strerror}", code="read-failed") from error
        if count == 0:
            raise IoError(
                f"{_name_of(fd)} ends at byte {offset + done}, before what it should hold", code="read-failed"
            )
        done += count


def _name_of(fd: int) -> str:
    """The path that a descriptor was opened by, for a message."""
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def read(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset`; raises IoError."""
    data = bytearray(size)
    read_exactly(fd, memoryview(data), offset)
    return bytes(data)


@contextmanager
def loop_device(path: str, *, offset: int = 0, size: int = 0, sector: int = 512) -> Iterator[str]:
    """A read-only loop device over a range of bytes of a device or file; needs root.

    `size` 0 means up to the end. Raises IoError.
    """
    argv = ["losetup", "--find", "--show", "--read-only", f"--offset={offset}"]
    if size:
        argv.append(f"--sizelimit={size}")
    if sector != 512:
        argv.append(f"--sector-size={sector}")
    loop = run([*argv, path]).stdout.strip()
    try:
        yield loop
    finally:
        run(["losetup", "--detach", loop], accept=(0, 1))


@contextmanager
def loop_over(file: int, *, offset: int, size: int, sector: int = 512, writable: bool = False) -> Iterator[str]:
    """A loop device over a range of bytes of an open file, which may have no path; needs root, read-only by default.

    Its sectors are of `sector` bytes, or of the 4096 that no loop device exceeds.

    It is gone once nobody has it open any more, this process included, however that ends. Raises IoError.
    Source: loop(4), LOOP_CONFIGURE (Linux 5.8).
    """
    flags = _LOOP_AUTOCLEAR | (0 if writable else _LOOP_READ_ONLY)
    sector = min(sector, _LARGEST_SECTOR)
    path, fd = _take_loop(_LOOP_CONFIG.pack(file, sector, offset, size, flags, b"rescue"), writable=writable)
    try:
        yield path
    finally:
        os.close(fd)


def _take_loop(config: bytes, *, writable: bool) -> tuple[str, int]:
    """A loop device that was free, and the descriptor that keeps it."""
    try:
        with opened("/dev/loop-control") as control:
            for _ in range(_LOOP_TRIES):
                path = f"/dev/loop{fcntl.ioctl(control, _LOOP_GET_FREE)}"
                fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(fd, _LOOP_CONFIGURE, config)
                    return path, fd
                except OSError as error:
                    os.close(fd)
                    if error.errno != errno.EBUSY:
                        raise
    except OSError as error:
        raise IoError(f"no loop device can be had: {error.strerror}", code="no-loop-device") from error
    raise IoError("no loop device can be had: others take all of them", code="no-loop-device")
