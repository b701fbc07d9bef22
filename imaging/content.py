"""What a disk must hold to be equal to a disk of an image: what restore writes and verify compares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from imaging import gpt, unfinished
from imaging.chunk import Buffer, chunk_id, decompress, digest
from imaging.disk import TableKind
from imaging.errors import BadImageError
from imaging.extents import Extents
from imaging.index import DigestTable, Index
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk
from imaging.pipeline import ChunkBuffer, busy_chunks
from imaging.sfdisk import GUARD
from imaging.stores import ChunkStore

ReadInto = Callable[[memoryview, int], None]
"""Fill a buffer from an offset of a disk."""


@cache
def _zeros(size: int) -> bytes:
    return digest(bytes(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One disk of an image, ready to be read. `body` is what is used outside the partition table."""

    disk: ImagedDisk
    index: Index
    digests: DigestTable
    used: Extents
    table: Extents
    body: Extents
    store: ChunkStore

    @classmethod
    def load(cls, library: Library, image: Image, disk: ImagedDisk, *, from_medium: bool = False) -> "Content":
        """Read index, used map and digests; raises BadImageError. With `from_medium` no chunk is taken from memory."""
        files = library.files(image, disk)
        table = Extents(disk.table_extents).clipped(0, disk.size)
        return cls(
            disk=disk,
            index=files.index,
            digests=files.digests,
            used=files.used,
            table=table,
            body=files.used.minus(table),
            store=library.store(from_medium=from_medium),
        )

    def busy(self) -> Sequence[int]:
        """The numbers of the chunks that hold anything outside the table."""
        return busy_chunks(self.index, self.body)

    def announce(self, i: int) -> None:
        """Have chunk `i` read meanwhile from where it lies, which will be asked for soon."""
        self.store.announce(self.index.id(i))

    def is_zero(self, i: int) -> bool:
        """Whether all of chunk `i` is zero, by its digest."""
        return self.digests[i] == _zeros(self.index.length(i))

    def plain(self, i: int) -> bytes:
        """The data of chunk `i`, proved by its BLAKE3; raises BadImageError that names it."""
        return self._proved(i)[1]

    def frame(self, i: int) -> Buffer:
        """The frame of chunk `i`, proved by its BLAKE3; good until this thread asks for the next. BadImageError."""
        return self._proved(i)[0]

    def prove_name(self, i: int) -> None:
        """Prove that chunk `i` is what its name says, too, as casync does; raises BadImageError that names it."""
        self._refuse_unless_named(i, self.plain(i))

    def proved_frame(self, i: int) -> bytes:
        """The frame of chunk `i`, proved by its BLAKE3 and by its name, to be stored under that name elsewhere.

        There it serves other images, too, which a library that somebody has forged must not harm. Raises BadImageError
        that names it.
        """
        frame, data = self._proved(i)
        self._refuse_unless_named(i, data)
        return bytes(frame)

    def _proved(self, i: int) -> tuple[Buffer, bytes]:
        """Frame and data of a chunk that is what the digest table says."""
        name, size = self.index.id(i), self.index.length(i)
        frame = self.store.get(name, size)
        data = decompress(frame, size, name.hex())
        if digest(data) != self.digests[i]:
            raise BadImageError(f"chunk {name.hex()} is corrupt: its digest does not match", code="corrupt-chunk")
        return frame, data

    def _refuse_unless_named(self, i: int, data: bytes) -> None:
        name = self.index.id(i)
        if chunk_id(data) != name:
            raise BadImageError(f"chunk {name.hex()} is corrupt: it is not what its name says", code="corrupt-chunk")

    def ranges(self, i: int) -> list[tuple[int, int]]:
        """The used bytes of chunk `i` outside the table, as absolute offsets."""
        return self.body.within(self.index.start(i), self.index.end(i))

    def matches(self, i: int, read: ReadInto, buffer: ChunkBuffer) -> bool:
        """Whether a disk holds the right bytes where chunk `i` is used. Reads the used bytes alone."""
        start, size = self.index.start(i), self.index.length(i)
        ranges = [(low - start, high - start) for low, high in self.ranges(i)]
        view = buffer.prepare(size, ranges)
        for low, high in ranges:
            read(view[low:high], start + low)
        if not self.table.overlaps(start, start + size):
            return digest(view) == self.digests[i]
        data = memoryview(self.plain(i))
        return all(digest(view[low:high]) == digest(data[low:high]) for low, high in ranges)

    def bytes_at(self, start: int, end: int) -> bytes:
        """Plain bytes of the disk from the image; for short ranges."""
        parts = []
        i = self.index.find(start)
        while start < end:
            first = self.index.start(i)
            part = self.plain(i)[start - first : end - first]
            parts.append(part)
            start += len(part)
            i += 1
        return b"".join(parts)

    def table_pieces(self, size: int) -> list[tuple[int, bytes]]:
        """What the partition table must be on a disk of `size` bytes: `(offset, bytes)`, the first sector last.

        On a disk of another size a GPT is made anew, and the end of the disk is zero where nothing else lies.
        Raises BadImageError where that cannot be done.
        """
        if size == self.disk.size:
            return self._pieces(self.table)
        sector = self.disk.logical_sector
        match self.disk.table.kind:
            case TableKind.GPT:
                header = self.bytes_at(sector, 2 * sector)
                found = gpt.parse_header(header)
                at = found.entries_at * sector
                entries = self.bytes_at(at, at + found.entries_bytes)
                pieces = gpt.relocate(self.bytes_at(0, sector), header, entries, size=size, sector=sector)
            case TableKind.MBR:
                end = max((p.end for p in self.disk.table.partitions), default=0)
                pieces = self._pieces(self.table.clipped(0, max(end, 2 * sector)))
            case TableKind.NONE:
                pieces = self._pieces(self.table)
        written = Extents((at, at + len(data)) for at, data in pieces)
        kept = Extents((part.start, part.end) for part in self.disk.left_out)
        rest = Extents([(max(0, size - GUARD), size)]).minus(written).minus(self.body).minus(kept)
        return [*((start, bytes(end - start)) for start, end in rest), *pieces]

    def taken_away(self, size: int, image_id: str) -> list[tuple[int, bytes]]:
        """What stands in place of the table until all else is there, `(offset, bytes)`: a mark, and zeros.

        Touches nothing but what `table_pieces` has anew for a disk of `size` bytes.
        """
        sector = self.disk.logical_sector
        head = max((end for start, end in self.table if start == 0), default=unfinished.SIZE)
        away = [(0, unfinished.render(image_id) + bytes(max(0, head - unfinished.SIZE)))]
        last = size - size % sector - sector
        if last >= head:
            away.append((last, bytes(size - last)))
        anew = Extents((at, at + len(data)) for at, data in self.table_pieces(size))
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
