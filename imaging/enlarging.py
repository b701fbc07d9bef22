"""A file system that takes all of its partition, which has become larger: on a target whose table is taken away.

ext2 to ext4 and NTFS grow by their own tools, XFS and btrfs by the kernel, while they are mounted where no other
process sees them. All of it happens through a loop device over the partition's place.
Sources: Linux fs/xfs/libxfs/xfs_fs.h, include/uapi/linux/btrfs.h; resize2fs(8), e2fsck(8), ntfsresize(8).
"""

import fcntl
import os
import struct
import threading
from collections.abc import Callable

from imaging import btrfs, peek
from imaging.blockdev import loop_over, opened, read
from imaging.changes import Growth
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError, RefusedError
from imaging.run import run, run_cancellable

_XFS_GEOMETRY, _XFS_GROW = 0x80705864, 0x4010586E
"""XFS_IOC_FSGEOMETRY_V1 and XFS_IOC_FSGROWFSDATA; the latter takes blocks, and the share of them for inodes."""
_XFS_GEOMETRY_SIZE = 112
_XFS_MOST_INODES = 28
_BTRFS_RESIZE = 0x50009403
_BTRFS_NAME = 4088

ReadRange = Callable[[int, int], bytes]
"""`bytes_at(start, end)` of a disk."""


def refuse_doubtful(growth: Growth, bytes_at: ReadRange) -> None:
    """Raise RefusedError where the file system cannot grow alone, by what the image has of it."""
    if growth.kind != "btrfs" or not growth.filesystem:
        return
    at = growth.start + BTRFS_SUPER
    devices = btrfs.parse_super(bytes_at(at, growth.start + btrfs.HEAD)).devices
    if devices != 1:
        raise RefusedError(
            f"partition {growth.partition} cannot grow: its file system lies on {devices} devices",
            code="cannot-grow",
            hint="restore it without --grow: the rest of the disk stays free",
        )


def enlarge(file: int, growth: Growth, sector: int, cancel: threading.Event) -> None:
    """Let the file system at `growth` of an open disk take all of its new size; it is on the medium afterwards.

    Takes up to minutes for a large one, which is checked first. Raises IoError where it did not grow, CancelledError:
    the file system may be anything between the two then.
    """
    with loop_over(file, offset=growth.start, size=growth.size, sector=sector, writable=True) as loop:
        match growth.kind:
            case "ext2" | "ext3" | "ext4":
                _tool(["e2fsck", "-f", "-p", loop], cancel, accept=(0, 1))
                _tool(["resize2fs", loop], cancel)
            case "ntfs":
                # Its question is answered by the end of its input; with --force it would take a volume that is not
                # in order.
                _tool(["ntfsresize", "--no-progress-bar", loop], cancel)
            case "xfs":
                _mounted("xfs", loop, ("nouuid",), _grow_xfs, growth)
            case "btrfs":
                _mounted("btrfs", loop, (), _grow_btrfs, growth)
                # The kernel remembers the device of each file system, and this one is about to be gone.
                run(["btrfs", "device", "scan", "--forget", loop], accept=(0, 1))
            case _:
                raise IoError(f"{growth.kind} is not known to grow", code="not-grown")
        _sync(loop)


def _tool(argv: list[str], cancel: threading.Event, accept: tuple[int, ...] = (0,)) -> None:
    done, name = run_cancellable(argv, cancel), argv[0]
    if done.status not in accept:
        said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        words = f"{name} ended with status {done.status}" + (f": {said[-1]}" if said else "")
        raise IoError(words, code="tool-failed")


def _sync(loop: str) -> None:
    fd = os.open(loop, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise IoError(f"what was enlarged is not on the medium: {error.strerror}", code="write-failed") from error
    finally:
        os.close(fd)


def _mounted(
    kind: str, loop: str, options: tuple[str, ...], grow: Callable[[int, str, Growth], None], growth: Growth
) -> None:
    try:
        mount = peek.mounted(kind, loop, writable=True, options=options)
        try:
            root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
            try:
                grow(root, loop, growth)
                os.fsync(root)
            finally:
                os.close(root)
        finally:
            os.close(mount)
    except OSError as error:
        raise IoError(f"{kind} did not grow: {error.strerror or error}", code="not-grown") from error


def _grow_xfs(root: int, _: str, growth: Growth) -> None:
    geometry = bytearray(_XFS_GEOMETRY_SIZE)
    fcntl.ioctl(root, _XFS_GEOMETRY, geometry)
    block = int.from_bytes(geometry[:4], "little")
    most_inodes = int.from_bytes(geometry[_XFS_MOST_INODES : _XFS_MOST_INODES + 4], "little")
    fcntl.ioctl(root, _XFS_GROW, struct.pack("=QII", growth.size // block, most_inodes, 0))


def _grow_btrfs(root: int, loop: str, _: Growth) -> None:
    with opened(loop) as device:
        own = btrfs.parse_super(read(device, 4096, BTRFS_SUPER)).own_id
    fcntl.ioctl(root, _BTRFS_RESIZE, bytearray(struct.pack(f"=q{_BTRFS_NAME}s", 0, f"{own}:max".encode())))
