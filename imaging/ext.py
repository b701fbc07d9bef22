"""The layout of an ext2, ext3 or ext4 volume: its super block, and where its groups and their descriptors lie.

Sources: Linux fs/ext4/ext4.h, super.c, balloc.c and Documentation/filesystems/ext4; e2fsprogs lib/ext2fs/closefs.c
(ext2fs_super_and_bgd_loc2) and openfs.c (ext2fs_descriptor_block_loc2).
"""

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from imaging import crc
from imaging.bounded import Bounded, bad_map

SPARSE_SUPER, GDT_CSUM, BIGALLOC, METADATA_CSUM = 0x1, 0x10, 0x200, 0x400
"""Features that a program must know before it writes (ro_compat)."""
META_BG, BITS_64, CSUM_SEED = 0x10, 0x80, 0x2000
"""Features that a program must know at all (incompat)."""
_SPARSE_SUPER2 = 0x200
_KNOWN_INCOMPAT = 0x2 | META_BG | 0x40 | BITS_64 | 0x100 | 0x200 | 0x400 | 0x1000 | CSUM_SEED | 0x4000 | 0x38000
"""Not among them: compression, a journal to be replayed, a volume that is only a journal."""
_KNOWN_RO_COMPAT = 0x1FF7F
"""All but Next3's snapshots, which no longer have a program that knows them."""
_MOST_GROUPS = 1 << 20
"""128 TiB with blocks of 4 KiB; their descriptors are 64 MiB."""
_SPARSE = frozenset(base**power for base in (3, 5, 7) for power in range(13))
"""The groups below that with copies of the super block under sparse_super, beside the first: powers of 3, 5 and 7."""
_ALL_ONES = 0xFFFFFFFF
_LOW = struct.Struct("<IIIHHHHIHHHH")
_HIGH = struct.Struct("<IIIHHHHIHH")
_INODE_UNINIT, _BLOCK_UNINIT, _INODE_ZEROED = 0x1, 0x2, 0x4


class Group(NamedTuple):
    """A group's descriptor, as far as the used map needs it; `bitmap` is a block, `free` counts clusters."""

    bitmap: int
    free: int
    bitmap_crc: int
    bitmap_unused: bool
    """The bitmap was never written: nothing but metadata is used (BLOCK_UNINIT)."""


class Groups:
    """The descriptors of all groups, 34 bytes each, because a volume of 16 TiB has 131072; places are blocks."""

    def __init__(self) -> None:
        self.bitmaps = array("Q")
        self.inode_bitmaps = array("Q")
        self.tables = array("Q")
        self.undefined = array("B")
        """Whether a group's inode table was never written, not even with zeros: no program reads it before it is."""
        self._free = array("I")
        self._crcs = array("I")
        self._unused = array("B")

    def __iter__(self) -> Iterator[Group]:
        return map(Group, self.bitmaps, self._free, self._crcs, map(bool, self._unused))

    def add(self, raw: bytes, wide: bool, uninit: bool) -> None:
        """Take the next descriptor; `wide` where it has the fields of 64-bit volumes, `uninit` where flags count."""
        low = _LOW.unpack_from(raw)
        high = _HIGH.unpack_from(raw, 32) if wide else (0,) * 10
        self.bitmaps.append(low[0] | high[0] << 32)
        self.inode_bitmaps.append(low[1] | high[1] << 32)
        self.tables.append(low[2] | high[2] << 32)
        self._free.append(low[3] | high[3] << 16)
        self._crcs.append(low[8] | high[8] << 16)
        self._unused.append(uninit and bool(low[6] & _BLOCK_UNINIT))
        self.undefined.append(uninit and low[6] & (_INODE_UNINIT | _INODE_ZEROED) == _INODE_UNINIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the super block says. Sizes are bytes; counts and places are blocks unless they name something else."""

    block: int
    ratio: int
    """Blocks in a cluster; 1 without bigalloc."""
    first: int
    blocks: int
    free: int
    per_group: int
    table: int
    """Blocks of one group's inode table."""
    descriptor: int
    compat: int
    incompat: int
    ro_compat: int
    reserved: int
    """Blocks kept behind the descriptors for their growth."""
    first_meta: int
    backups: tuple[int, ...]
    """The groups that hold copies, under sparse_super2."""
    uuid: bytes
    seed: int

    @property
    def groups(self) -> int:
        """How many groups there are; the last one may be short."""
        return -(-(self.blocks - self.first) // self.per_group)

    def start(self, group: int) -> int:
        """The first block of a group."""
        return self.first + group * self.per_group

    def length(self, group: int) -> int:
        """Blocks of a group."""
        return min(self.per_group, self.blocks - self.start(group))

    def has_super(self, group: int) -> bool:
        """Whether a group begins with the super block or a copy."""
        if group == 0:
            return True
        if self.compat & _SPARSE_SUPER2:
            return group in self.backups
        return not self.ro_compat & SPARSE_SUPER or group in _SPARSE

    def head(self, group: int) -> tuple[int, int]:
        """The blocks `(first, end)` that a group's copies of super block and descriptors take, some kept free."""
        start, has_super = self._head_start(group), self.has_super(group)
        per_block = self.block // self.descriptor
        if not self.incompat & META_BG:
            behind = has_super * (-(-self.groups // per_block) + self.reserved)
        elif group // per_block < self.first_meta:
            behind = has_super * self.first_meta
        else:
            behind = int(group % per_block in (0, 1, per_block - 1))
        return start, start + has_super + behind

    def _head_start(self, group: int) -> int:
        """The super block lies in block 1 where blocks have 1 KiB, and bigalloc lets the groups begin with block 0."""
        return 1 if group == 0 and self.block == 1024 else self.start(group)

    def descriptor_block(self, index: int) -> int:
        """Where the block of descriptors with this number lies."""
        if not self.incompat & META_BG or index < self.first_meta:
            return self._head_start(0) + 1 + index
        group = index * (self.block // self.descriptor)
        return self._head_start(group) + self.has_super(group)


def read_layout(volume: Bounded) -> Layout:
    """Read the super block; raises IoError (code "bad-map") where it makes no sense or names unknown features."""
    raw = volume(1024, 1024)
    (magic,) = struct.unpack_from("<H", raw, 0x38)
    (revision,) = struct.unpack_from("<I", raw, 0x4C)
    if magic != 0xEF53 or revision > 1:
        raise bad_map(f"its super block is none: magic {magic:#x}, revision {revision}")
    layout = _parsed(raw)
    _check_features(layout)
    _check_geometry(layout, raw, volume.size)
    if layout.ro_compat & METADATA_CSUM:
        kind, stored = raw[0x175], struct.unpack_from("<I", raw, 0x3FC)[0]
        if kind != 1 or crc.crc32c(raw[:0x3FC], _ALL_ONES) != stored:
            raise bad_map("its super block does not match its checksum")
    return layout


def _parsed(raw: bytes) -> Layout:
    blocks, _, free, _, first, log_block, log_cluster = struct.unpack_from("<7I", raw, 0x4)
    compat, incompat, ro_compat = struct.unpack_from("<3I", raw, 0x5C)
    if log_block > 6 or (ro_compat & BIGALLOC and not log_block <= log_cluster <= 20):
        raise bad_map(f"its super block makes no sense: blocks of 2^{10 + log_block} bytes")
    if incompat & BITS_64:
        blocks += struct.unpack_from("<I", raw, 0x150)[0] << 32
        free += struct.unpack_from("<I", raw, 0x158)[0] << 32
    uuid = raw[0x68:0x78]
    seed = struct.unpack_from("<I", raw, 0x270)[0] if incompat & CSUM_SEED else crc.crc32c(uuid, _ALL_ONES)
    block, inode = 1024 << log_block, _inode_size(raw)
    return Layout(
        block=block,
        ratio=1 << (log_cluster - log_block) if ro_compat & BIGALLOC else 1,
        first=first,
        blocks=blocks,
        free=free,
        per_group=struct.unpack_from("<I", raw, 0x20)[0],
        table=-(-struct.unpack_from("<I", raw, 0x28)[0] * inode // block),
        descriptor=struct.unpack_from("<H", raw, 0xFE)[0] if incompat & BITS_64 else 32,
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        reserved=struct.unpack_from("<H", raw, 0xCE)[0],
        first_meta=struct.unpack_from("<I", raw, 0x104)[0],
        backups=struct.unpack_from("<2I", raw, 0x24C),
        uuid=uuid,
        seed=seed,
    )


def _inode_size(raw: bytes) -> int:
    revision, size = struct.unpack_from("<I", raw, 0x4C)[0], struct.unpack_from("<H", raw, 0x58)[0]
    return size if revision else 128


def _check_features(layout: Layout) -> None:
    unknown = layout.incompat & ~_KNOWN_INCOMPAT, layout.ro_compat & ~_KNOWN_RO_COMPAT
    if any(unknown):
        raise bad_map(f"it has features that are not known here: incompat {unknown[0]:#x}, ro_compat {unknown[1]:#x}")


def _check_geometry(layout: Layout, raw: bytes, size: int) -> None:
    inodes, in_group = struct.unpack_from("<I", raw, 0)[0], struct.unpack_from("<I", raw, 0x28)[0]
    inode, clusters = _inode_size(raw), layout.per_group // layout.ratio
    fits = (
        128 <= inode <= layout.block
        and inode & (inode - 1) == 0
        and layout.descriptor in ((64, 128, 256, 512, 1024) if layout.incompat & BITS_64 else (32,))
        and layout.first == (layout.block == 1024 and not layout.ro_compat & BIGALLOC)
        and layout.per_group >= 256
        and layout.per_group % (8 * layout.ratio) == 0
        and 8 <= clusters <= 8 * layout.block
        and (layout.ratio == 1 or clusters == struct.unpack_from("<I", raw, 0x24)[0])
    )
    if not fits or not layout.first < layout.blocks or not 0 < in_group <= 8 * layout.block:
        raise bad_map("its super block makes no sense: blocks, groups and inodes do not fit together")
    if layout.blocks * layout.block > size:
        raise bad_map(f"it is said to have {layout.blocks * layout.block} bytes, more than the {size} that are there")
    if layout.groups > _MOST_GROUPS or layout.groups * in_group != inodes or layout.free > layout.blocks:
        raise bad_map(f"its super block's counts disagree: {layout.groups} groups, {inodes} inodes")


def read_groups(volume: Bounded, layout: Layout) -> Groups:
    """The groups' descriptors; raises IoError (code "bad-map") where one fails its checksum or points elsewhere."""
    wide, uninit = layout.descriptor >= 64, bool(layout.ro_compat & (GDT_CSUM | METADATA_CSUM))
    table, size, found = _read_table(volume, layout), layout.descriptor, Groups()
    for number in range(layout.groups):
        raw = table[number * size : (number + 1) * size]
        if _checksum(layout, number, raw) != int.from_bytes(raw[0x1E:0x20], "little") and uninit:
            raise bad_map(f"the descriptor of its group {number} does not match its checksum")
        found.add(raw, wide, uninit)
    first = min(map(min, (found.bitmaps, found.inode_bitmaps, found.tables)))
    last = max(max(found.bitmaps), max(found.inode_bitmaps), max(found.tables) + layout.table - 1)
    if first <= layout.first or last >= layout.blocks:
        raise bad_map("the descriptors of its groups point beyond it")
    return found


def _read_table(volume: Bounded, layout: Layout) -> bytes:
    """The descriptors of all groups, one behind the other."""
    per_block = layout.block // layout.descriptor
    count = -(-layout.groups // per_block)
    together = min(count, layout.first_meta) if layout.incompat & META_BG else count
    parts = [volume(layout.descriptor_block(0) * layout.block, together * layout.block)] if together else []
    parts += [volume(layout.descriptor_block(i) * layout.block, layout.block) for i in range(together, count)]
    return b"".join(parts)


def _checksum(layout: Layout, number: int, raw: bytes) -> int:
    """The checksum that a descriptor should hold, where the volume keeps any."""
    place = number.to_bytes(4, "little")
    if layout.ro_compat & METADATA_CSUM:
        return crc.crc32c(place + raw[:0x1E] + b"\0\0" + raw[0x20:], layout.seed) & 0xFFFF
    if layout.ro_compat & GDT_CSUM:
        return crc.crc16(layout.uuid + place + raw[:0x1E] + raw[0x20:], 0xFFFF)
    return 0
