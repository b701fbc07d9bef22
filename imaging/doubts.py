"""Whether the allocation map of a file system may be older than its data."""

import struct
from dataclasses import dataclass

from imaging import ntfs
from imaging.bounded import Read
from imaging.errors import IoError


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why the allocation map of a file system cannot be trusted, in words.

    `passes` says that the next mount, by the system that it belongs to, is expected to mend it.
    """

    why: str
    passes: bool = True


def doubt(kind: str, read: Read) -> Doubt | None:
    """Whether what the file system says of its free space may be older than its data.

    A journal that was not replayed can hold newer allocation maps than those in place, so that blocks shown as free
    are not. Sources: Linux fs/ext4/ext4.h, fs/btrfs/ctree.h, include/linux/f2fs_fs.h (super blocks), Microsoft's exFAT
    specification (3.1.13, VolumeFlags), Apple's TN1150 (volume header).
    """
    try:
        match kind:
            case "ext2" | "ext3" | "ext4":
                return _ext_doubt(read(1024, 1024))
            case "btrfs":
                return _btrfs_doubt(read(BTRFS_SUPER, 4096))
            case "ntfs":
                return _ntfs_doubt(read)
            case "exfat":
                return _exfat_doubt(read(0, 512))
            case "hfsplus":
                return _hfsplus_doubt(read(1024, 512))
            case "f2fs":
                return _f2fs_doubt(read)
    except IoError as error:
        return Doubt(why=f"its state cannot be read: {error.message}")
    return None


def _ntfs_doubt(read: Read) -> Doubt | None:
    if ntfs.log_is_closed(read):
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
    devices = struct.unpack_from("<Q", super_block, 0x88)[0]
    if devices != 1:
        return Doubt(why=f"it spans {devices} devices, which have to be captured together in one image", passes=False)
    return None


_EXFAT_DIRTY = 0x2
_EXFAT_FAILURES = 0x4


def _exfat_doubt(boot: bytes) -> Doubt | None:
    if struct.unpack_from("<H", boot, 106)[0] & _EXFAT_DIRTY:
        return Doubt(why="it was not unmounted cleanly: it is marked as dirty")
    if struct.unpack_from("<H", boot, 106)[0] & _EXFAT_FAILURES:
        return Doubt(why="it is marked as having met errors of its medium", passes=False)
    return None


_HFSPLUS_UNMOUNTED = 1 << 8


def _hfsplus_doubt(header: bytes) -> Doubt | None:
    """A volume inside an old HFS wrapper has its header elsewhere, and is not shown to be clean."""
    if header[:2] not in (b"H+", b"HX") or not struct.unpack_from(">I", header, 4)[0] & _HFSPLUS_UNMOUNTED:
        return Doubt(why="it was not unmounted cleanly")
    return None


_F2FS_BLOCK = 4096
_F2FS_UNMOUNTED = 0x1


def _f2fs_doubt(read: Read) -> Doubt | None:
    """By the newer of the two checkpoint packs that are whole: each ends with a copy of the block it begins with."""
    super_block = read(1024, 512)
    per_segment = struct.unpack_from("<I", super_block, 20)[0]
    if per_segment != 9:
        raise IoError(f"2^{per_segment} blocks a segment", code="bad-super-block")
    first = struct.unpack_from("<I", super_block, 76)[0]
    packs = []
    for start in (first, first + (1 << per_segment)):
        head = read(start * _F2FS_BLOCK, 512)
        version, flags, blocks = *struct.unpack_from("<Q", head), *struct.unpack_from("<II", head, 132)
        end = read((start + blocks - 1) * _F2FS_BLOCK, 8) if 0 < blocks <= 1 << per_segment else b""
        if end == head[:8]:
            packs.append((version, flags))
    if not packs or not max(packs)[1] & _F2FS_UNMOUNTED:
        return Doubt(why="it was not unmounted cleanly: newer data may follow its last checkpoint")
    return None


_EXT_JOURNAL = 1024 + 0xE0
"""In ext's super block: the number of the journal's inode, and behind it that of the device that it is on."""
_XFS_RTBLOCKS, _XFS_LOG_START = 16, 48


def lies_elsewhere(kind: str, read: Read) -> bool:
    """Whether a part of the file system is on another device: of btrfs, or its journal. Raises IoError.

    Sources: Linux fs/ext4/ext4.h, fs/btrfs/ctree.h, fs/xfs/libxfs/xfs_format.h.
    """
    match kind:
        case "btrfs":
            return int.from_bytes(read(BTRFS_SUPER + 0x88, 8), "little") != 1
        case "ext2" | "ext3" | "ext4":
            inode, device = (int.from_bytes(read(_EXT_JOURNAL + at, 4), "little") for at in (0, 4))
            return device != 0 and inode == 0
        case "xfs":
            blocks, start = (int.from_bytes(read(at, 8), "big") for at in (_XFS_RTBLOCKS, _XFS_LOG_START))
            return blocks != 0 or start == 0
    return False
