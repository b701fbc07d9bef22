"""What a disk must hold to be equal to a disk of an image: what restore writes and verify compares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from imaging.chunk import Buffer, chunk_id, decompress, digest
from imaging.errors import BadImageError
from imaging.extents import Extents
from imaging.index import DigestTable, Index
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk
from imaging.pipeline import ChunkBuffer, busy_chunks
from imaging.stores import ChunkStore
from imaging.tabled import Tabled

ReadInto = Callable[[memoryview, int], None]
"""Fill a buffer from an offset of a disk."""


@cache
def _zeros(size: int) -> bytes:
    return digest(bytes(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(Tabled):
    """One disk of an image, ready to be read."""

    index: Index
    digests: DigestTable
    used: Extents
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
        if self.is_whole(start, start + size):
            return digest(view) == self.digests[i]
        data = memoryview(self.plain(i))
        return all(digest(view[low:high]) == digest(data[low:high]) for low, high in ranges)

    def is_whole(self, start: int, end: int) -> bool:
        """Whether all that the image has between these bytes of the disk is outside of the table."""
        return not self.table.overlaps(start, end)

    def bytes_at(self, start: int, end: int) -> bytes:
        """As Tabled, from the chunks."""
        parts = []
        i = self.index.find(start)
        while start < end:
            first = self.index.start(i)
            part = self.plain(i)[start - first : end - first]
            parts.append(part)
            start += len(part)
            i += 1
        return b"".join(parts)
