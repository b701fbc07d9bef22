"""What stands on a volume, as blkid's low-level probe sees it, and the safety checks that a used map needs."""

import struct
from dataclasses import dataclass

from imaging.blockdev import read
from imaging.disk import Content
from imaging.errors import IoError
from imaging.run import run

_NOTHING_FOUND = 2
_AMBIVALENT = 8


def probe(path: str, offset: int = 0, size: int = 0) -> Content:
    """Probe a range of bytes of a device or file; an empty Content where nothing is recognised.

    `size` 0 means up to the end. Source: blkid(8), low-level probing.
    """
    argv = ["blkid", "--probe", "--output", "export", "--usages", "filesystem,raid,crypto,other", f"--offset={offset}"]
    if size:
        argv.append(f"--size={size}")
    done = run([*argv, path], accept=(0, _NOTHING_FOUND, _AMBIVALENT))
    if done.status == _AMBIVALENT:
        return Content(usage="ambivalent")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return Content(
        kind=found.get("TYPE", ""),
        usage=found.get("USAGE", ""),
        label=_unescape(found.get("LABEL", "")),
        uuid=found.get("UUID", ""),
        block_size=int(found["BLOCK_SIZE"]) if found.get("BLOCK_SIZE", "").isdigit() else 0,
    )


def _unescape(value: str) -> str:
    """Undo the backslashes that blkid's export format puts before special characters."""
    return value.replace("\\", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why the allocation map of a file system cannot be trusted, in words."""

    why: str


def doubt(fd: int, offset: int, content: Content) -> Doubt | None:
    """Whether what the file system says of its free space may be older than its data.

    A journal that was not replayed can hold newer allocation maps than those in place, so that blocks shown as free
    are not. Sources: Linux fs/ext4/ext4.h, fs/btrfs/ctree.h (super blocks).
    """
    try:
        match content.kind:
            case "ext2" | "ext3" | "ext4":
                return _ext_doubt(read(fd, 1024, offset + 1024))
            case "btrfs":
                return _btrfs_doubt(read(fd, 4096, offset + BTRFS_SUPER))
    except IoError as error:
        return Doubt(why=f"its super block cannot be read: {error.message}")
    return None


_EXT_NEEDS_RECOVERY = 0x4
_EXT_VALID = 0x1
_EXT_ERRORS = 0x2
BTRFS_SUPER = 64 << 10
"""Where btrfs keeps its first super block, in bytes from the start of the volume."""


def _ext_doubt(super_block: bytes) -> Doubt | None:
    if struct.unpack_from("<I", super_block, 0x60)[0] & _EXT_NEEDS_RECOVERY:
        return Doubt(why="it was not unmounted cleanly: its journal waits to be replayed")
    state = struct.unpack_from("<H", super_block, 0x3A)[0]
    if state & _EXT_ERRORS:
        return Doubt(why="it is marked as having errors")
    if not state & _EXT_VALID:
        return Doubt(why="it was not unmounted cleanly, and it has no journal")
    return None


def _btrfs_doubt(super_block: bytes) -> Doubt | None:
    if struct.unpack_from("<Q", super_block, 0x60)[0]:
        return Doubt(why="it was not unmounted cleanly: its log tree waits to be replayed")
    if struct.unpack_from("<Q", super_block, 0x88)[0] != 1:
        return Doubt(why="it spans several devices")
    return None


def btrfs_system_stripes(super_block: bytes) -> list[tuple[int, int]]:
    """Where the system chunks lie, `(start, end)` in bytes of the volume, from the super block's own copy.

    partclone 0.3.23 leaves out the mirror of the chunk tree's root, which lives there. Raises IoError where the
    array is damaged.
    """
    size = struct.unpack_from("<I", super_block, 0xA0)[0]
    array, found, at = super_block[0x32B : 0x32B + size], [], 0
    try:
        while at < len(array):
            length, _, _, _, _, _, _, stripes, _ = struct.unpack_from("<QQQQIIIHH", array, at + 17)
            at += 17 + 48
            for _ in range(stripes):
                start = struct.unpack_from("<Q", array, at + 8)[0]
                found.append((start, start + length))
                at += 32
    except struct.error as error:
        raise IoError("the btrfs super block's chunk array is damaged", code="bad-super-block") from error
    return found
