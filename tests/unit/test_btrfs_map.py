"""The map of a btrfs out of a few blocks: what no mkfs makes, and a hostile volume may have."""

import struct
from collections.abc import Sequence

import pytest

from imaging import btrfsmap
from imaging.crc import crc32c
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError
from tests.unit.builders import MIB

_NODE, _SIZE = 4096, 64 * MIB
_CHUNKS, _ROOTS, _EXTENTS, _MADE = MIB, MIB + _NODE, MIB + 2 * _NODE, 9
_UUID = bytes(range(16))
_FIRST_TREE, _ITEM_HEAD, _POINTER = 3, 25, 33
_CHUNK = struct.pack("<QQQQIIIHH", 8 * MIB, 2, 65536, 2, 4096, 4096, 4096, 1, 1) + struct.pack("<QQ16x", 1, MIB)


def _sealed(block: bytearray) -> bytes:
    block[:4] = struct.pack("<I", crc32c(bytes(block[32:]), 0xFFFFFFFF) ^ 0xFFFFFFFF)
    return bytes(block)


def _head(address: int, count: int, level: int) -> bytearray:
    block = bytearray(_NODE)
    struct.pack_into("<16sQ8x16xQQIB", block, 32, _UUID, address, _MADE, _FIRST_TREE, count, level)
    return block


def _leaf(address: int, items: Sequence[tuple[tuple[int, int, int], bytes]]) -> bytes:
    block, end = _head(address, len(items), 0), _NODE
    for i, (key, data) in enumerate(items):
        end -= len(data)
        struct.pack_into("<QBQII", block, 101 + i * _ITEM_HEAD, *key, end - 101, len(data))
        block[end : end + len(data)] = data
    return _sealed(block)


def _above(address: int, level: int, below: Sequence[int]) -> bytes:
    block = _head(address, len(below), level)
    for i, one in enumerate(below):
        struct.pack_into("<QBQQQ", block, 101 + i * _POINTER, 0, 0, i, one, _MADE)
    return _sealed(block)


class _Volume:
    """A volume of three trees in one chunk, and how often it was read."""

    def __init__(self, *, level: int = 0, checksum: int = 0) -> None:
        root = bytearray(439)
        struct.pack_into("<Q", root, 160, _MADE)
        struct.pack_into("<Q", root, 176, _EXTENTS)
        self.blocks = {
            _CHUNKS: _leaf(_CHUNKS, [((256, 228, MIB), _CHUNK)]),
            _ROOTS: _leaf(_ROOTS, [((2, 132, 0), bytes(root))]),
            _EXTENTS: _leaf(_EXTENTS, [((MIB, 169, 0), b""), ((MIB + 3 * _NODE, 168, 8192), b"")]),
        }
        block = bytearray(4096)
        block[0x20:0x30], block[0x40:0x48] = _UUID, b"_BHRfS_M"
        pairs = ((0x30, BTRFS_SUPER), (0x48, _MADE), (0x50, _ROOTS), (0x58, _CHUNKS), (0x78, _NODE + 8192), (0x88, 1))
        for at, value in (*pairs, (0xA4, _MADE), (0xC9, 1), (0xD1, _SIZE)):
            struct.pack_into("<Q", block, at, value)
        array = struct.pack("<QBQ", 256, 228, MIB) + _CHUNK
        struct.pack_into("<III", block, 0x90, 4096, _NODE, _NODE)
        struct.pack_into("<I", block, 0xA0, len(array))
        struct.pack_into("<HBB", block, 0xC4, checksum, 0, level)
        block[0x32B : 0x32B + len(array)] = array
        self.blocks[BTRFS_SUPER] = _sealed(block)
        self.reads = 0

    def __call__(self, at: int, size: int) -> bytes:
        self.reads += 1
        return self.blocks.get(at, bytes(size))


def test_the_map_has_what_the_extent_tree_names_and_all_of_the_boot_loaders_first_mib() -> None:
    """GRUB keeps its environment at 256 KiB, where no tree tells of it."""
    ranges = list(btrfsmap.used(_Volume(), _SIZE))
    assert ranges == [(0, MIB + _NODE), (MIB + 3 * _NODE, MIB + 3 * _NODE + 8192)]


@pytest.mark.parametrize("empty", [False, True])
def test_a_tree_that_leads_to_the_same_block_over_and_over_ends_at_once(empty: bool) -> None:
    volume, top = _Volume(level=5), [MIB + (16 + i) * _NODE for i in range(6)]
    volume.blocks[top[0]] = _above(top[0], 1, []) if empty else _above(top[0], 1, [_CHUNKS] * 100)
    for level in range(2, 5):
        volume.blocks[top[level - 1]] = _above(top[level - 1], level, [top[level - 2]] * 100)
    volume.blocks[_CHUNKS] = volume.blocks[_CHUNKS] if not empty else _leaf(_CHUNKS, [])
    block = bytearray(volume.blocks[BTRFS_SUPER])
    struct.pack_into("<Q", block, 0x58, top[4])
    volume.blocks[BTRFS_SUPER] = _sealed(block)
    volume.blocks[top[4]] = _above(top[4], 5, [top[3]] * 100)
    with pytest.raises(IoError, match=r"empty|order") as caught:
        btrfsmap.used(volume, _SIZE)
    assert caught.value.code == "bad-map"
    assert volume.reads < 20


def test_a_checksum_of_an_unknown_kind_is_not_taken_for_a_right_one() -> None:
    with pytest.raises(IoError) as caught:
        btrfsmap.used(_Volume(checksum=4), _SIZE)
    assert caught.value.code == "bad-map"
