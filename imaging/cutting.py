"""Cutting a disk that goes by only once: into the chunks that a capture of it would have.

Where partitions begin and end is read from what goes by: the table from the disk's beginning, and logical partitions
from the records before each. A table that lies elsewhere (a GPT of which only the copy is whole) is not seen: then the
chunks are others than a capture's, and as good. Sources: UEFI 2.10, 5.3; Linux block/partitions/msdos.c.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from imaging import gpt
from imaging.chunk import CHUNK_SIZE
from imaging.errors import BadImageError

HEAD = 1 << 20
"""Bytes of a disk's beginning that its table is read from."""
_RECORD = 512
_EXTENDED = (0x05, 0x0F, 0x85)
_PROTECTIVE = 0xEE
_MOST_EDGES = 2048
"""Begins and ends of partitions that are heeded: an image's index has room for so many chunks more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What a disk's beginning tells of it, in bytes; `size` is what the disk has by its table, 0 where that is open."""

    edges: tuple[int, ...] = ()
    extended: int = 0
    """Where the extended partition begins; 0 without one."""
    size: int = 0


def outline(head: bytes, sector: int) -> Outline:
    """Read the table in the first HEAD bytes of a disk of `sector`-byte sectors, whatever stands there."""
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    if head[510:512] != b"\x55\xaa" or any(entry[0] not in (0, 0x80) for entry in entries):
        return Outline()
    if any(entry[4] == _PROTECTIVE for entry in entries):
        return _of_gpt(head, sector)
    edges: list[int] = []
    extended = end = 0
    for entry in entries:
        start, size = _place(entry, sector)
        if not size:
            continue
        end = max(end, start + size)
        if entry[4] in _EXTENDED:
            extended = extended or start
        else:
            edges += (start, start + size)
    return Outline(edges=tuple(edges), extended=extended, size=end)


def _of_gpt(head: bytes, sector: int) -> Outline:
    try:
        header = gpt.parse_header(head[sector : 2 * sector])
        at = header.entries_at * sector
        entries = gpt.parse_entries(header, head[at : at + header.entries_bytes])
    except BadImageError:
        return Outline()
    edges = [edge * sector for entry in entries for edge in (entry.first, entry.last + 1)]
    return Outline(edges=tuple(edges[:_MOST_EDGES]), size=(header.other_at + 1) * sector)


def _place(entry: bytes, sector: int) -> tuple[int, int]:
    """Start and size of an MBR's entry."""
    return int.from_bytes(entry[8:12], "little") * sector, int.from_bytes(entry[12:16], "little") * sector


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A chunk of a disk, with its data; None where all of it lies between what was added."""

    start: int
    end: int
    data: bytearray | None


class Cutter:
    """Takes what a disk holds, rising, and gives its chunks."""

    def __init__(self, found: Outline, sector: int) -> None:
        """Take the disk's outline and its sector size in bytes."""
        self._sector = sector
        self._edges = sorted({edge for edge in found.edges if edge > 0})
        self._heeded = len(self._edges)
        self._extended = self._record = found.extended
        self._start = self._at = 0
        self._data: bytearray | None = None

    def add(self, at: int, data: bytes) -> Iterator[Cut]:
        """The chunks that are whole once `data` at byte `at`, not before what was added already, is there."""
        if at < self._at:
            raise BadImageError(f"the disk goes back from byte {self._at} to {at}", code="bad-stream")
        yield from self._go_on(at, None)
        yield from self._go_on(at + len(data), memoryview(data))

    def end(self, size: int) -> Iterator[Cut]:
        """The rest of the chunks of a disk of `size` bytes."""
        yield from self._go_on(size, None)
        if self._at > self._start:
            yield self._take()

    def _go_on(self, end: int, data: memoryview | None) -> Iterator[Cut]:
        first = self._at
        while self._at < end:
            stop = min(end, self._cut, *([self._record + _RECORD] if self._record + _RECORD > self._at else []))
            if data is not None:
                if self._data is None:
                    self._data = bytearray(CHUNK_SIZE)
                self._data[self._at - self._start : stop - self._start] = data[self._at - first : stop - first]
            self._at = stop
            if self._record and self._at >= self._record + _RECORD:
                self._follow()
            if self._at == self._cut:
                yield self._take()

    @property
    def _cut(self) -> int:
        return min(self._start + CHUNK_SIZE, self._edges[0] if self._edges else self._start + CHUNK_SIZE)

    def _take(self) -> Cut:
        data, start = self._data, self._start
        if data is not None:
            del data[self._at - start :]
        self._data, self._start = None, self._at
        while self._edges and self._edges[0] <= self._start:
            heapq.heappop(self._edges)
        return Cut(start=start, end=self._at, data=data)

    def _follow(self) -> None:
        """Heed the record of a logical partition, which has gone by, and look out for the next one."""
        at, self._record = self._record, 0
        record = self._data[at - self._start :][:_RECORD] if self._data is not None and at >= self._start else b""
        if record[510:512] != b"\x55\xaa":
            return
        start, size = _place(bytes(record[446:462]), self._sector)
        following, there = _place(bytes(record[462:478]), self._sector)
        for edge in (at + start, at + start + size) if size else ():
            if edge >= self._at and self._heeded < _MOST_EDGES:
                heapq.heappush(self._edges, edge)
                self._heeded += 1
        if there and record[446 + 16 + 4] in _EXTENDED and self._extended + following > at:
            self._record = self._extended + following
