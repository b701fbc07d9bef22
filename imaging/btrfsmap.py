"""Which bytes of a btrfs on one device are used, from its extent tree: all that any subvolume or snapshot holds.

partclone 0.3.23 walks the trees of files instead, and leaves out single blocks: the topmost one of a subvolume's tree
that has several levels, and second copies of others, unless the end of a neighbour covers them by chance. A disk
restored by its map can be damaged.
Sources: Linux include/uapi/linux/btrfs_tree.h, fs/btrfs/disk-io.c (the super block's copies, checksums).
"""

import hashlib
import struct
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from imaging.bounded import Bounded, Read, bad_map
from imaging.crc import crc32c
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError
from imaging.extents import Extents

_MAGIC = b"_BHRfS_M"
_SUPER_SIZE = 4096
_RESERVED = 1 << 20
"""The first MiB is the boot loader's, in which no chunk lies: GRUB keeps its core and its environment there."""
_COPIES = (BTRFS_SUPER, 64 << 20, 256 << 30)
_SYSTEM_CHUNKS = 0x32B
_KNOWN = 0x10FFF
"""Features under which the trees are read as they are here: the first twelve, up to RAID1C34, and simple quotas."""
_METADATA_UUID = 1 << 10
_STRIPED = 0x1C8
"""Chunks of RAID 0, 10, 5 and 6; of others each copy holds all."""
_CHUNK, _EXTENT, _METADATA = 228, 168, 169
_EXTENT_TREE = 2, 132
"""The object, and the kind of the item, by which the tree of trees names the extent tree."""
_ROOT_MADE, _ROOT_AT, _ROOT_LEVEL = 160, 176, 238
_OWN_ID, _OWN_SIZE = 0xC9, 0xD1
_HEAD, _COUNT, _ITEM, _POINTER = 101, 0x60, struct.Struct("<QBQII"), struct.Struct("<QBQQQ")
_NODE = struct.Struct("<32x16sQ8x16xQQIB")
"""A block's head: file system, its own address, generation, owner, how many items, and its level."""
_MOST_LEVELS, _LARGEST_NODE, _MOST_BYTES = 8, 65536, 1 << 63
_CHECKED: dict[int, tuple[int, Callable[[bytes], bytes]]] = {
    0: (4, lambda data: struct.pack("<I", crc32c(data, 0xFFFFFFFF) ^ 0xFFFFFFFF)),
    2: (32, lambda data: hashlib.sha256(data).digest()),
    3: (32, lambda data: hashlib.blake2b(data, digest_size=32).digest()),
}
"""How many bytes a checksum has, and what it is, by its kind."""
_XXHASH = 1
"""The kind that is not computed here: such a block is known by its head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Logical addresses, and where each copy of them begins on the device."""

    start: int
    end: int
    copies: tuple[int, ...]

    @classmethod
    def parsed(cls, start: int, data: bytes, own_id: int) -> "_Chunk":
        """A chunk as its item has it; raises IoError where it does not lie on this device alone."""
        try:
            length, _, _, kind, _, _, _, count, _ = struct.unpack_from("<QQQQIIIHH", data)
            stripes = [struct.unpack_from("<QQ", data, 48 + 32 * i) for i in range(count)]
        except struct.error:
            raise bad_map("one of its chunks is cut short") from None
        if not length or not stripes or max(start, *(at for _, at in stripes)) + length > _MOST_BYTES:
            raise bad_map("one of its chunks is empty, or too large for any volume")
        if (kind & _STRIPED and count > 1) or any(device != own_id for device, _ in stripes):
            raise bad_map("it lies on several devices")
        return cls(start=start, end=start + length, copies=tuple(at for _, at in stripes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Volume:
    """A volume, and what its super block says."""

    read: Bounded
    block: bytes
    chunks: dict[int, _Chunk] = field(default_factory=dict)
    """By the addresses at which they begin."""
    starts: list[int] = field(default_factory=list)
    """Those addresses, rising: a volume of many TiB has thousands, which are looked through for every block."""

    def add(self, start: int, item: bytes) -> None:
        """Take a chunk as its item has it; raises IoError where it does not lie on this device alone."""
        if start not in self.chunks:
            insort(self.starts, start)
        self.chunks[start] = _Chunk.parsed(start, item, self.number("<Q", _OWN_ID))

    def number(self, form: str, at: int) -> int:
        """One of the super block's values."""
        (value,) = struct.unpack_from(form, self.block, at)
        return int(value)

    @property
    def node(self) -> int:
        """Bytes of a block of a tree."""
        return self.number("<I", 0x94)

    def whole(self, data: bytes) -> bool:
        """Whether a checksum is that of what follows it."""
        kind = self.number("<H", 0xC4)
        size, digest = _CHECKED.get(kind, (0, None))
        return kind == _XXHASH if digest is None else data[:size] == digest(data[32:])

    def _copies(self, address: int) -> Iterator[int]:
        """Where the copies of a block of a tree lie; raises IoError where it is in no chunk."""
        before = bisect_right(self.starts, address)
        chunk = self.chunks[self.starts[before - 1]] if before else None
        if chunk is None or address + self.node > chunk.end:
            raise bad_map(f"the block at address {address} of its trees lies in no chunk")
        yield from (at + address - chunk.start for at in chunk.copies)

    def node_at(self, address: int, generation: int, level: int) -> bytes:
        """A block of a tree, from the first of its copies that is whole; raises IoError."""
        uuid = 0x23B if self.number("<Q", 0xBC) & _METADATA_UUID else 0x20
        for at in self._copies(address):
            data = self.read(at, self.node)
            found, own, made, _, count, depth = _NODE.unpack_from(data)
            same = (found, own, made, depth) == (self.block[uuid : uuid + 16], address, generation, level)
            if same and self.whole(data) and _HEAD + count * (_POINTER if level else _ITEM).size <= len(data):
                return data
        raise bad_map(f"the block at address {address} of its trees is damaged")

    def leaves(self, address: int, generation: int, level: int, passed: list[int]) -> Iterator[bytes]:
        """The lowest blocks of a tree, in its order; `passed` counts all. Raises IoError."""
        passed[0] += 1
        if level >= _MOST_LEVELS or passed[0] * self.node > self.read.size:
            raise bad_map("one of its trees is larger than the volume")
        data = self.node_at(address, generation, level)
        (count,) = struct.unpack_from("<I", data, _COUNT)
        if not count and passed[0] > 1:
            raise bad_map("a block of one of its trees is empty")
        if level == 0:
            yield data
            return
        for _, _, _, below, made in _POINTER.iter_unpack(data[_HEAD : _HEAD + count * _POINTER.size]):
            yield from self.leaves(below, made, level - 1, passed)

    def items(self, address: int, generation: int, level: int) -> Iterator[tuple[int, int, int, int, int, bytes]]:
        """Every item of a tree, in its order: object, kind, offset, where in the leaf its data begin, their size, the
        leaf. Raises IoError, also where a tree leads to the same block again, which would take for ever."""
        last = (-1, 0, 0)
        for leaf in self.leaves(address, generation, level, [0]):
            (count,) = struct.unpack_from("<I", leaf, _COUNT)
            for object_, kind, offset, start, size in _ITEM.iter_unpack(leaf[_HEAD : _HEAD + count * _ITEM.size]):
                if (object_, kind, offset) <= last:
                    raise bad_map("the items of one of its trees are not in their order")
                last = object_, kind, offset
                yield object_, kind, offset, _HEAD + start, size, leaf


def used(read: Read, size: int) -> Extents:
    """What is used of a volume of `size` bytes, every copy of its super block included.

    Raises IoError with code "bad-map" where anything does not add up or lies on several devices, "dirty" where newer
    allocations wait in its log.
    """
    volume = _opened(Bounded(read=read, size=size))
    tree = volume.number("<Q", 0x58), volume.number("<Q", 0xA4), volume.number("<B", 0xC7)
    for _, kind, start, at, length, leaf in volume.items(*tree):
        if kind == _CHUNK:
            volume.add(start, leaf[at : at + length])
    logical = _allocated(volume)
    parts = [(one, logical.clipped(one.start, one.end)) for one in volume.chunks.values()]
    if sum(part.total for _, part in parts) != logical.total:
        raise bad_map("some of its data lie in no chunk, or in two")
    placed = Extents().union(*(part.shifted(at - one.start) for one, part in parts if part for at in one.copies))
    whole = volume.number("<Q", _OWN_SIZE)
    if whole > size or placed.end > whole:
        raise bad_map(f"it ends at byte {whole}, and its data at byte {placed.end} of {size}")
    supers = Extents((at, at + _SUPER_SIZE) for at in _COPIES).clipped(0, size)
    return placed.union(supers, Extents([(0, min(_RESERVED, size))]), Extents([(whole, size)]))


def _opened(read: Bounded) -> _Volume:
    block = read(BTRFS_SUPER, _SUPER_SIZE)
    volume = _Volume(read=read, block=block)
    if block[0x40:0x48] != _MAGIC or volume.number("<Q", 0x30) != BTRFS_SUPER or not volume.whole(block):
        raise bad_map("its super block is damaged")
    if volume.number("<Q", 0xBC) & ~_KNOWN:
        raise bad_map("it has features that are not known here")
    if volume.number("<Q", 0x60):
        raise IoError("it was not unmounted cleanly: its log tree waits to be replayed", code="dirty")
    if not _HEAD < volume.node <= _LARGEST_NODE:
        raise bad_map(f"the blocks of its trees have {volume.node} bytes")
    if volume.number("<Q", 0x88) != 1:
        raise bad_map("it lies on several devices")
    array, at = block[_SYSTEM_CHUNKS : _SYSTEM_CHUNKS + volume.number("<I", 0xA0)], 0
    while at < len(array):
        try:
            (start,), (count,) = struct.unpack_from("<Q", array, at + 9), struct.unpack_from("<H", array, at + 17 + 44)
        except struct.error:
            raise bad_map("the chunks in its super block are cut short") from None
        volume.add(start, array[at + 17 :])
        at += 17 + 48 + 32 * count
    return volume


def _allocated(volume: _Volume) -> Extents:
    """The addresses of all extents; raises IoError where they are not as many bytes as the super block says."""
    root = volume.number("<Q", 0x50), volume.number("<Q", 0x48), volume.number("<B", 0xC6)
    found = next(
        (leaf[at : at + size] for own, kind, _, at, size, leaf in volume.items(*root) if (own, kind) == _EXTENT_TREE),
        b"",
    )
    if len(found) <= _ROOT_LEVEL:
        raise bad_map("it has no extent tree")
    (generation,), (address,) = struct.unpack_from("<Q", found, _ROOT_MADE), struct.unpack_from("<Q", found, _ROOT_AT)
    counted = 0

    def ranges() -> Iterator[tuple[int, int]]:
        nonlocal counted
        for start, kind, offset, _, _, _ in volume.items(address, generation, found[_ROOT_LEVEL]):
            if kind in (_EXTENT, _METADATA):
                length = offset if kind == _EXTENT else volume.node
                if start + length > _MOST_BYTES:
                    raise bad_map("one of its extents is too large for any volume")
                counted += length
                yield start, start + length

    try:
        logical = Extents.rising(ranges())
    except ValueError:
        raise bad_map("its extents are not in their order") from None
    if not logical.total == counted == volume.number("<Q", 0x78):
        raise bad_map(f"its extents have {logical.total} bytes, and its super block says {volume.number('<Q', 0x78)}")
    return logical
