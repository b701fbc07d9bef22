"""Where on a disk there is room for one more partition, and what to shrink where there is none. Pure.

The place is the end of the last free piece that is large enough: what is free before it still borders on the partition
that somebody may want to enlarge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imaging import gpt
from imaging.disk import Disk, Partition, PartitionRole, TableKind
from imaging.extents import Extents

GRAIN = 1 << 20
"""Bytes; partitions begin and end at multiples of it, as all partitioning programs have it."""
_MBR_SECTORS = 0xFFFFFFFF
_LEAVE_FREE = 10
"""Per cent of its free room that a file system keeps when it is shrunk: a full one is slow, and soon in trouble."""
SHRINKABLE = ("ext2", "ext3", "ext4", "ntfs", "btrfs")
"""Kinds of file systems that their own tools can shrink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrink:
    """A partition that can be made smaller by so many bytes, which then are room enough; `free` is what it has."""

    partition: Partition
    by: int
    free: int


def free_pieces(disk: Disk) -> Sequence[tuple[int, int]]:
    """The pieces `(start, end)` of a disk that no partition has, in bytes, aligned, rising.

    The first and the last MiB belong to tables, boot loaders and marks, whatever the table says.
    """
    if not disk.table.partitions and disk.table.kind is TableKind.NONE:
        return []
    whole = Extents([(GRAIN, _end(disk))]) if _end(disk) > GRAIN else Extents()
    pieces = []
    for start, end in whole.minus(Extents((p.start, p.end) for p in disk.table.partitions if p.size)):
        low, high = -(-start // GRAIN) * GRAIN, end // GRAIN * GRAIN
        if low < high:
            pieces.append((low, high))
    return pieces


def _end(disk: Disk) -> int:
    end = disk.size - max(GRAIN, gpt.room_at_end(0, disk.logical_sector))
    if disk.table.kind is TableKind.MBR:
        end = min(end, _MBR_SECTORS * disk.logical_sector)
    return end // GRAIN * GRAIN


def place(disk: Disk, size: int) -> int | None:
    """Where a partition of `size` bytes, a multiple of GRAIN, begins; None where there is no room in one piece."""
    for start, end in reversed(free_pieces(disk)):
        if end - start >= size:
            return end - size
    return None


def largest_piece(disk: Disk) -> int:
    """Bytes of the largest free piece; 0 where there is none."""
    return max((end - start for start, end in free_pieces(disk)), default=0)


def what_to_shrink(disk: Disk, size: int, free: Mapping[int, int]) -> Shrink | None:
    """The last partition that can give enough of its free room for `size` bytes, with what is free behind it.

    `free` has the free bytes of each partition where they are known. None where no partition can.
    """
    pieces = free_pieces(disk)
    for part in sorted(disk.table.partitions, key=lambda p: p.start, reverse=True):
        if part.content.kind not in SHRINKABLE or part.role is not PartitionRole.PRIMARY:
            continue
        border = -(-part.end // GRAIN) * GRAIN
        behind = next((end - start for start, end in pieces if start == border), 0)
        by = -(-(size - behind) // GRAIN) * GRAIN
        has = free.get(part.number, 0)
        if part.end <= _end(disk) + GRAIN and 0 < by <= has * (100 - _LEAVE_FREE) // 100 < part.size:
            return Shrink(partition=part, by=by, free=has)
    return None
