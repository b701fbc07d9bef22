"""Which bytes of an ext2, ext3 or ext4 volume are used, from its groups' block bitmaps.

All metadata count as used, inode tables to their ends: where the volume says that parts of them were zeroed, programs
rely on it. Inode tables that nobody has written yet (lazy_itable_init) do not: they are a percent of an empty volume.
The bitmaps are not believed before they agree with their checksums, where there are any, and with the free counts of
their groups. Sources: as in imaging/ext.py, and Linux fs/ext4/bitmap.c and ialloc.c (ext4_init_inode_table).
"""

from collections.abc import Iterable, Iterator

from imaging import crc
from imaging.bitmap import first_bits, set_bits, set_count
from imaging.bounded import Bounded, Read, bad_map
from imaging.ext import METADATA_CSUM, Group, Groups, Layout, read_groups, read_layout
from imaging.extents import Extents

_AT_ONCE = 64
"""Bitmaps read together: flex_bg puts those of so many groups side by side, mostly 16."""
_TOLERANCE = 16
"""The super block's free count, which a replayed journal leaves behind, may be too low by this part of the volume."""


def used(read: Read, size: int) -> Extents:
    """What is used of a volume of `size` bytes; raises IoError (code "bad-map") where anything does not add up."""
    volume = Bounded(read=read, size=size)
    layout = read_layout(volume)
    groups = read_groups(volume, layout)
    metadata = _metadata(layout, groups)
    reader = _Bitmaps(volume, layout, metadata)
    allocated = Extents.rising(reader.runs(groups))
    if reader.free * layout.ratio > layout.free + layout.blocks // _TOLERANCE:
        raise bad_map(f"its bitmaps show {reader.free * layout.ratio} free blocks, its super block {layout.free}")
    ends = Extents([(0, (layout.first + 1) * layout.block), (layout.blocks * layout.block, size)])
    tables = (
        (at, at + layout.table) for at, undefined in zip(groups.tables, groups.undefined, strict=True) if undefined
    )
    return allocated.union(metadata, ends).minus(Extents(_bytes(layout, _joined(tables))))


def _metadata(layout: Layout, groups: Groups) -> Extents:
    """Super blocks, descriptors, bitmaps and inode tables: blocks of no file, in bytes of the volume."""
    heads = Extents.rising(_bytes(layout, (layout.head(group) for group in range(layout.groups))))
    kinds = ((groups.bitmaps, 1), (groups.inode_bitmaps, 1), (groups.tables, layout.table))
    # With flex_bg the groups' pieces of a kind touch: few ranges are left to sort.
    return heads.union(*(Extents(_bytes(layout, _joined((at, at + n) for at in kind))) for kind, n in kinds))


def _bytes(layout: Layout, blocks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    return ((start * layout.block, min(end, layout.blocks) * layout.block) for start, end in blocks)


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The ranges with those that touch the one before joined to it."""
    start = end = 0
    for low, high in ranges:
        if low != end:
            yield start, end
            start = low
        end = high
    yield start, end


class _Bitmaps:
    """The block bitmaps of one volume; `free` counts the clusters that they showed to be free."""

    def __init__(self, volume: Bounded, layout: Layout, metadata: Extents) -> None:
        self.free = 0
        self._volume = volume
        self._layout = layout
        self._metadata = metadata

    def runs(self, groups: Iterable[Group]) -> Iterator[tuple[int, int]]:
        """The allocated ranges, rising, in bytes of the volume."""
        number = 0
        for batch in _batches(groups):
            needed = [i for i, group in enumerate(batch) if not group.bitmap_unused]
            first, block = (needed[0] if needed else 0), self._layout.block
            count = needed[-1] + 1 - first if needed else 0
            data = self._volume((batch[0].bitmap + first) * block, count * block)
            for i, group in enumerate(batch):
                self.free += group.free
                if group.bitmap_unused:
                    self._check_unused(number, group)
                else:
                    yield from self._group(number, group, data[(i - first) * block : (i - first + 1) * block])
                number += 1

    def _clusters(self, number: int) -> int:
        """Clusters of a group."""
        return -(-self._layout.length(number) // self._layout.ratio)

    def _group(self, number: int, group: Group, bitmap: bytes) -> Iterator[tuple[int, int]]:
        layout, count = self._layout, self._clusters(number)
        if layout.ro_compat & METADATA_CSUM:
            found = crc.crc32c(bitmap[: layout.per_group // layout.ratio // 8], layout.seed)
            if (found ^ group.bitmap_crc) & (0xFFFFFFFF if layout.descriptor >= 64 else 0xFFFF):
                raise bad_map(f"the block bitmap of its group {number} does not match its checksum")
        free = count - set_count(bitmap, count)
        if free != group.free:
            raise bad_map(f"its group {number} is said to have {group.free} free clusters, and its bitmap shows {free}")
        cluster, start = layout.ratio * layout.block, layout.start(number) * layout.block
        end = layout.blocks * layout.block
        for low, high in set_bits(first_bits(bitmap, count), count):
            yield start + low * cluster, min(start + high * cluster, end)

    def _check_unused(self, number: int, group: Group) -> None:
        """A group whose bitmap was never written has all free but metadata, its own or that of other groups."""
        layout = self._layout
        start, cluster, last, taken = layout.start(number) * layout.block, layout.ratio * layout.block, -1, 0
        for low, high in self._metadata.within(start, start + layout.length(number) * layout.block):
            first, end = max(last, (low - start) // cluster), -(-(high - start) // cluster)
            taken, last = taken + max(0, end - first), max(last, end)
        free = self._clusters(number) - taken
        if free != group.free:
            raise bad_map(f"its group {number} is said to have {group.free} free clusters, and {free} hold no metadata")


def _batches(groups: Iterable[Group]) -> Iterator[list[Group]]:
    """The groups, in order, by those whose bitmaps lie side by side."""
    batch: list[Group] = []
    for group in groups:
        if batch and (len(batch) == _AT_ONCE or group.bitmap != batch[-1].bitmap + 1):
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch
