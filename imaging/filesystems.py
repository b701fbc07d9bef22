"""What stands on a volume, as blkid's low-level probe sees it, and the safety checks that a used map needs."""

import struct
from dataclasses import dataclass

from imaging import ntfs
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
    """Why the allocation map of a file system cannot be trusted, in words.

    `passes` says that the next mount, by the system that it belongs to, is expected to mend it.
    """

    why: str
    passes: bool = True


def doubt(fd: int, offset: int, content: Content) -> Doubt | None:
    """Whether what the file system says of its free space may be older than its data.

    A journal that was not replayed can hold newer allocation maps than those in place, so that blocks shown as free
    are not. Sources: Linux fs/ext4/ext4.h, fs/btrfs/ctree.h, include/linux/f2fs_fs.h (super blocks), Microsoft's exFAT
    specification (3.1.13, VolumeFlags), Apple's TN1150 (volume header).
    """
    try:
        match content.kind:
            case "ext2" | "ext3" | "ext4":
                return _ext_doubt(read(fd, 1024, offset + 1024))
            case "btrfs":
                return _btrfs_doubt(read(fd, 4096, offset + BTRFS_SUPER))
            case "ntfs":
                return _ntfs_doubt(fd, offset)
            case "exfat":
                return _exfat_doubt(read(fd, 512, offset))
            case "hfsplus":
                return _hfsplus_doubt(read(fd, 512, offset + 1024))
            case "f2fs":
                return _f2fs_doubt(fd, offset)
    except IoError as error:
        return Doubt(why=f"its state cannot be read: {error.message}")
    return None


def _ntfs_doubt(fd: int, offset: int) -> Doubt | None:
    if ntfs.log_is_closed(lambda at, size: read(fd, size, offset + at)):
        return None
    return Doubt(why="its log is open: Windows was hibernated, shut down with fast start-up, or crashed")


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
        return Doubt(why="it is marked as having errors", passes=False)
    if not state & _EXT_VALID:
        return Doubt(why="it was not unmounted cleanly, and it has no journal")
    return None


def _btrfs_doubt(super_block: bytes) -> Doubt | None:
    if struct.unpack_from("<Q", super_block, 0x60)[0]:
        return Doubt(why="it was not unmounted cleanly: its log tree waits to be replayed")
    if struct.unpack_from("<Q", super_block, 0x88)[0] != 1:
        return Doubt(why="it spans several devices")
    return None


_EXFAT_DIRTY = 0x2


def _exfat_doubt(boot: bytes) -> Doubt | None:
    if struct.unpack_from("<H", boot, 106)[0] & _EXFAT_DIRTY:
        return Doubt(why="it was not unmounted cleanly: it is marked as dirty")
    return None


_HFSPLUS_UNMOUNTED = 1 << 8


def _hfsplus_doubt(header: bytes) -> Doubt | None:
    """A volume inside an old HFS wrapper has its header elsewhere, and is not shown to be clean."""
    if header[:2] not in (b"H+", b"HX") or not struct.unpack_from(">I", header, 4)[0] & _HFSPLUS_UNMOUNTED:
        return Doubt(why="it was not unmounted cleanly")
    return None


_F2FS_BLOCK = 4096
_F2FS_UNMOUNTED = 0x1


def _f2fs_doubt(fd: int, offset: int) -> Doubt | None:
    """By the newer of the two checkpoint packs that are whole: each ends with a copy of the block it begins with."""
    super_block = read(fd, 512, offset + 1024)
    per_segment = struct.unpack_from("<I", super_block, 20)[0]
    if per_segment != 9:
        raise IoError(f"2^{per_segment} blocks a segment", code="bad-super-block")
    first = struct.unpack_from("<I", super_block, 76)[0]
    packs = []
    for start in (first, first + (1 << per_segment)):
        head = read(fd, 512, offset + start * _F2FS_BLOCK)
        version, flags, blocks = *struct.unpack_from("<Q", head), *struct.unpack_from("<II", head, 132)
        end = read(fd, 8, offset + (start + blocks - 1) * _F2FS_BLOCK) if 0 < blocks <= 1 << per_segment else b""
        if end == head[:8]:
            packs.append((version, flags))
    if not packs or not max(packs)[1] & _F2FS_UNMOUNTED:
        return Doubt(why="it was not unmounted cleanly: newer data may follow its last checkpoint")
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
