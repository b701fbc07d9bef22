"""What a disk that is restored has for its partition table, on a target of any size, and what stands there until then.

The table is written last: `table_pieces`. Before the first byte of anything else is, `taken_away` takes its place.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from imaging import gpt, tableedit, unfinished
from imaging.changes import Change, Growth
from imaging.disk import TableKind
from imaging.errors import RefusedError
from imaging.extents import Extents
from imaging.manifest import ImagedDisk
from imaging.sfdisk import GUARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabled(ABC):
    """A disk that is to be restored: where its table lies, and `body`, what is used outside of that."""

    disk: ImagedDisk
    table: Extents
    body: Extents

    @abstractmethod
    def bytes_at(self, start: int, end: int) -> bytes:
        """Plain bytes of the disk; for short ranges."""

    @property
    def placed(self) -> Extents:
        """Where the body lies on the target."""
        return self.body

    def table_pieces(self, size: int, change: Change | None = None) -> list[tuple[int, bytes]]:
        """What the partition table must be on a disk of `size` bytes: `(offset, bytes)`, the first sector last.

        On a disk of another size a GPT is made anew, and the end of the disk is zero where nothing else lies. With
        `change` one of its partitions has another size. Raises BadImageError where that cannot be done, RefusedError
        where the table is not one in which that partition can have it.
        """
        if size == self.disk.size and change is None:
            return self._pieces(self.table)
        sector = self.disk.logical_sector
        match self.disk.table.kind:
            case TableKind.GPT:
                header = self.bytes_at(sector, 2 * sector)
                found = gpt.parse_header(header)
                at = found.entries_at * sector
                entries = self.bytes_at(at, at + found.entries_bytes)
                mbr = self.bytes_at(0, sector)
                if change is not None:
                    _refuse_hybrid(mbr, self.disk.name, change)
                    for number, place in places_of(change):
                        header, entries = tableedit.changed_gpt(header, entries, number, place, sector)
                    _refuse_beyond(tableedit.ends_gpt(header, entries, sector), size)
                pieces = gpt.relocate(mbr, header, entries, size=size, sector=sector)
            case TableKind.MBR:
                end = max((p.end for p in self.disk.table.partitions), default=0)
                pieces = self._pieces(self.table.clipped(0, max(end, 2 * sector)))
                if change is not None:
                    at, mbr = pieces[-1]
                    for number, place in places_of(change):
                        mbr = tableedit.changed_mbr(mbr, number, place, sector)
                    pieces[-1] = at, mbr
                    _refuse_beyond(tableedit.ends_mbr(mbr, sector), size)
            case TableKind.NONE:
                pieces = self._pieces(self.table)
        written = Extents((at, at + len(data)) for at, data in pieces)
        kept = Extents((part.start, part.end) for part in self.disk.left_out)
        rest = Extents([(max(0, size - GUARD), size)]).minus(written).minus(self.placed).minus(kept)
        return [*((start, bytes(end - start)) for start, end in rest), *pieces]

    def taken_away(self, size: int, mark: bytes, change: Change | None = None) -> list[tuple[int, bytes]]:
        """What stands in place of the table until all else is there, `(offset, bytes)`: the mark, and zeros.

        Touches nothing but what `table_pieces` has anew for a disk of `size` bytes, and that change.
        """
        sector = self.disk.logical_sector
        head = max((end for start, end in self.table if start == 0), default=unfinished.SIZE)
        away = [(0, mark + bytes(max(0, head - unfinished.SIZE)))]
        last = size - size % sector - sector
        if last >= head:
            away.append((last, bytes(size - last)))
        anew = Extents((at, at + len(data)) for at, data in self.table_pieces(size, change))
        return [(low, data[low - at : high - at]) for at, data in away for low, high in anew.within(at, at + len(data))]

    def _pieces(self, table: Extents) -> list[tuple[int, bytes]]:
        """The table's bytes as the image has them, from the last to the first; the first sector stands alone."""
        sector = self.disk.logical_sector
        pieces: list[tuple[int, bytes]] = []
        for start, end in reversed(list(table)):
            first = min(sector, end) if start == 0 else start
            if end > first:
                pieces.append((first, self.bytes_at(first, end)))
            if start == 0:
                pieces.append((0, self.bytes_at(0, first)))
        return pieces


def places_of(change: Change) -> list[tuple[int, tableedit.Place]]:
    """The partitions of which the table is to say something else, by their numbers."""
    start = change.start
    other = tableedit.Place(old_start=start, old_size=change.old_size, start=start, size=change.size)
    moved = (change.moved,) if isinstance(change, Growth) else change.moved
    places = [(change.partition, other)]
    for one in moved:
        if one is not None:
            goes = tableedit.Place(old_start=one.start, old_size=one.size, start=one.to, size=one.size)
            places.append((one.partition, goes))
    return places


def _refuse_beyond(ends: Sequence[int], size: int) -> None:
    if (end := max(ends, default=0)) > size:
        raise RefusedError(
            f"the new partition table would name a partition that ends at byte {end}, and the disk has {size}",
            code="target-too-small",
            hint="choose a disk that all of it fits on",
        )


def _refuse_hybrid(mbr: bytes, name: str, change: Change) -> None:
    if not tableedit.is_hybrid(mbr):
        return
    if isinstance(change, Growth):
        raise RefusedError(
            f"no partition of {name} can grow: its GPT has a master boot record with partitions of its own",
            code="cannot-grow",
            hint="restore it without --grow",
        )
    raise RefusedError(
        f"no partition of {name} can be made smaller: its GPT has a master boot record with partitions of its own",
        code="cannot-shrink",
        hint="restore it to a disk that all of it fits on",
    )
