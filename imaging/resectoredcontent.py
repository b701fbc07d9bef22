"""What a disk must hold to be equal to a disk of an image that was made for sectors of another size.

All bytes stay where they are, but for the partition table and for FAT volumes, which are made anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from imaging import gpt, tableedit
from imaging.changes import Change, Resectoring
from imaging.content import Content
from imaging.disk import TableKind
from imaging.extents import Extents
from imaging.fatrebuild import RebuiltFat
from imaging.partitions import volume_of
from imaging.sectortable import Pieces, refused, resectored_gpt, resectored_mbr
from imaging.sfdisk import GUARD
from imaging.tabled import places_of


def resectored_table(whole: Content, resectoring: Resectoring, size: int, change: Change | None = None) -> Pieces:
    """The table of the image's disk for other sectors, on a disk of `size` bytes; the first sector comes last.

    With `change` one of its partitions has another size.

    Raises RefusedError where that cannot be, BadImageError where it is damaged.
    """
    old, new = resectoring.before, resectoring.after
    mbr = whole.bytes_at(0, 512)
    places = places_of(change) if change is not None else []
    match whole.disk.table.kind:
        case TableKind.GPT:
            header = whole.bytes_at(old, 2 * old)
            found = gpt.parse_header(header)
            at = found.entries_at * old
            entries = whole.bytes_at(at, at + found.entries_bytes)
            for number, place in places:
                header, entries = tableedit.changed_gpt(header, entries, number, place, old)
            pieces = resectored_gpt(mbr, header, entries, old=old, new=new, size=size)
        case TableKind.MBR:
            end = min([2 * max(old, new), *(part.start for part in whole.disk.table.partitions if part.size)])
            for number, place in places:
                mbr = tableedit.changed_mbr(mbr, number, place, old)
            pieces = resectored_mbr(mbr + whole.bytes_at(len(mbr), max(end, len(mbr))), old=old, new=new, size=size)
        case TableKind.NONE:
            raise refused("it has no partition table")
    _refuse_covered(whole, pieces)
    return pieces


def _refuse_covered(whole: Content, pieces: Pieces) -> None:
    """Boards keep what starts them outside of all partitions, where the larger table may come to lie."""
    for at, data in pieces:
        for low, high in whole.body.within(at, at + len(data)):
            if whole.bytes_at(low, high) != data[low - at : high - at]:
                raise refused(f"the bytes {low} to {high}, outside of all partitions, lie where the table has to be")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResectoredContent(Content):
    """`body` is what comes from the image as it is, and `changed` what comes from FAT volumes that were made anew."""

    before: Extents
    """The body of the image's disk."""
    changed: Extents
    whole: Content
    resectoring: Resectoring

    @classmethod
    def of(
        cls, whole: Content, resectoring: Resectoring, size: int, fats: Mapping[int, RebuiltFat]
    ) -> "ResectoredContent":
        """That of a disk of `size` bytes, with these FAT volumes, by the number of their partition."""
        table = whole.table.union(_places(resectored_table(whole, resectoring, size)))
        starts = {number: volume_of(whole.disk, number).start for number in fats}
        gone = Extents((starts[number], starts[number] + fat.old_size) for number, fat in fats.items())
        return cls(
            disk=replace(whole.disk, logical_sector=resectoring.after),
            index=whole.index,
            digests=whole.digests,
            used=whole.used,
            table=table,
            body=whole.body.minus(table).minus(gone),
            store=whole.store,
            before=whole.body,
            changed=Extents().union(*(fat.used.shifted(starts[number]) for number, fat in fats.items())),
            whole=whole,
            resectoring=resectoring,
        )

    @property
    def placed(self) -> Extents:
        """Where body and changes lie on the target."""
        return self.body.union(self.changed)

    def is_whole(self, start: int, end: int) -> bool:
        """As Content: the digest of a chunk says nothing where only parts of it are restored."""
        if self.table.overlaps(start, end):
            return False
        return self.before.within(start, end) == self.body.within(start, end)

    def table_pieces(self, size: int, change: Change | None = None) -> Pieces:
        """As Tabled; both ends of the disk are zero where nothing else lies, or the old table would be found there."""
        pieces = resectored_table(self.whole, self.resectoring, size, change)
        head = max(end for start, end in self.table if start == 0)
        ends = Extents([(0, head), (max(head, size - GUARD), size)])
        rest = ends.minus(_places(pieces)).minus(self.placed)
        return [*((start, bytes(end - start)) for start, end in rest), *pieces]


def _places(pieces: Iterable[tuple[int, bytes]]) -> Extents:
    return Extents((at, at + len(data)) for at, data in pieces)
