"""Which bytes of a FAT12, FAT16 or FAT32 volume are used, from its file allocation table.

A cluster whose entry is not zero counts as used, one marked as bad too, as in the maps of NTFS and ext: the mark often
came along from an older medium, and what a program hid behind it stays. Sources: Microsoft's FAT specification (1.03),
Linux fs/fat/inode.c (which kind it is, and the dirty bit in the boot sector).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imaging.bitmap import marked
from imaging.bounded import Bounded, Read, bad_map
from imaging.errors import IoError
from imaging.extents import Extents

_MOST_CLUSTERS = {12: 0xFF4, 16: 0xFFF4, 32: 0xFFFFFF5}
_CLEAN = {16: 0x8000, 32: 0x08000000}
_NO_ERRORS = {16: 0x4000, 32: 0x04000000}
_SINGLE_TABLE = 0x80
"""The tables are not mirrored: the low four bits of the flags say which one counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What the boot sector says, in bytes of the volume; `bits` is the width of an entry."""

    bits: int
    cluster: int
    clusters: int
    tables: tuple[int, ...]
    """Where the tables that count begin; all of them are to be equal."""
    table: int
    """Bytes of a table that have a meaning: two entries more than there are clusters."""
    data: int
    """Where the first cluster lies."""
    state: int
    """A byte of the boot sector whose lowest bit Linux sets while the volume is mounted."""
    media: int


def used(read: Read, size: int) -> Extents:
    """What is used of a volume of `size` bytes.

    Raises IoError with code "bad-map" where anything does not add up, "dirty" where the volume was not unmounted.
    """
    volume = Bounded(read=read, size=size)
    layout = _layout(volume(0, 512), size)
    _check_state(volume, layout)
    return Extents.rising(_ranges(volume, layout))


def _layout(boot: bytes, size: int) -> _Layout:
    sector, per_cluster, reserved, copies, root_entries, sectors, media, length = struct.unpack_from(
        "<HBHBHHBH", boot, 0x0B
    )
    sectors = sectors or struct.unpack_from("<I", boot, 0x20)[0]
    wide = length == 0
    long_length, flags, version = struct.unpack_from("<IHH", boot, 0x24)
    length = length or long_length
    if (
        sector not in (512, 1024, 2048, 4096)
        or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128)
        or copies not in (1, 2)
        or media not in (0xF0, *range(0xF8, 0x100))
        or not (reserved and length and wide == (root_entries == 0))
        or (wide and version)
    ):
        raise bad_map("its boot sector makes no sense")
    tables = [(reserved + i * length) * sector for i in range(copies)]
    if wide and flags & _SINGLE_TABLE:
        tables = tables[flags & 0xF :][:1]
    data = (reserved + copies * length) * sector + -(-32 * root_entries // sector) * sector
    clusters = (sectors * sector - data) // (per_cluster * sector)
    bits = 32 if wide else 12 if clusters <= _MOST_CLUSTERS[12] else 16
    table = -(-(clusters + 2) * bits // 8)
    if not tables or sectors * sector > size or not 0 < clusters <= _MOST_CLUSTERS[bits] or table > length * sector:
        raise bad_map(f"its boot sector makes no sense: {sectors} sectors, {clusters} clusters of FAT{bits}")
    return _Layout(
        bits=bits,
        cluster=per_cluster * sector,
        clusters=clusters,
        tables=tuple(tables),
        table=table,
        data=data,
        state=boot[0x41 if wide else 0x25],
        media=media,
    )


def _check_state(volume: Bounded, layout: _Layout) -> None:
    """By the table's second entry, as Windows marks it, and the boot sector, as Linux does. FAT12 has the latter."""
    width = 4 if layout.bits == 32 else 2
    head = volume(layout.tables[0], 2 * width)
    if head[0] != layout.media:
        raise bad_map(f"its table begins with {head[0]:#x}, and the medium is said to be {layout.media:#x}")
    second = int.from_bytes(head[width:], "little")
    if layout.state & 1 or (layout.bits != 12 and not second & _CLEAN[layout.bits]):
        raise IoError("it was not unmounted cleanly: it is marked as dirty", code="dirty")
    if layout.bits != 12 and not second & _NO_ERRORS[layout.bits]:
        raise IoError("it is marked as having met errors of its medium", code="dirty")


def _ranges(volume: Bounded, layout: _Layout) -> Iterator[tuple[int, int]]:
    """The used ranges, rising."""
    yield 0, layout.data
    cluster = 0
    for flags in _entries(volume, layout):
        flags = flags[: layout.clusters - cluster]
        for low, high in marked(flags):
            yield layout.data + (cluster + low) * layout.cluster, layout.data + (cluster + high) * layout.cluster
        cluster += len(flags)
    yield layout.data + layout.clusters * layout.cluster, volume.size


def _entries(volume: Bounded, layout: _Layout) -> Iterator[bytes]:
    """A byte for each cluster, zero where it is free, by pieces."""
    first = 2
    for same in zip(*(volume.pieces(at, layout.table) for at in layout.tables), strict=True):
        # The first two entries stand for no cluster: the volume's state may be marked in one of the tables only.
        head = first * layout.bits // 8
        if any(other[head:] != same[0][head:] for other in same[1:]):
            raise bad_map("its two tables differ")
        yield _flags(same[0], layout.bits)[first:]
        first = 0


def _flags(table: bytes, bits: int) -> bytes:
    """A byte for each entry of a table, not zero where the entry is not; the top four bits of 32 have no meaning."""
    if bits == 12:
        whole = int.from_bytes(table, "little")
        return bytes((whole >> at & 0xFFF) != 0 for at in range(0, 8 * len(table) - 11, 12))
    columns = [table[i :: bits // 8] for i in range(bits // 8)]
    if bits == 32:
        columns[3] = columns[3].translate(_LOW_HALF)
    either = 0
    for column in columns:
        either |= int.from_bytes(column, "little")
    return either.to_bytes(len(columns[0]), "little")


_LOW_HALF = bytes(byte & 0xF for byte in range(256))
