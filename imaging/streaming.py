"""Storing a disk that goes by only once: cut, named and compressed by all cores while the next piece is read."""

from array import array
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

from imaging import chunk
from imaging.chunk import CHUNK_SIZE, ID_SIZE
from imaging.cutting import HEAD, Cut, Cutter, outline
from imaging.errors import BadImageError
from imaging.foreign import MOST_BYTES, PIECE, ForeignDisk, closed
from imaging.index import DigestTable, Index, blank
from imaging.pipeline import threads
from imaging.storing import Storing

_AHEAD = 2
"""Chunks for each thread that are held in memory until their turn comes."""


class Stream:
    """A disk as it was stored: all of it, whatever of it is used."""

    def __init__(self, job: Storing) -> None:
        """Take the job that stores its chunks."""
        self._job = job
        self._ends = array("Q")
        self._names, self._digests = bytearray(), bytearray()
        self._stored = array("I")
        self._zeros: dict[int, tuple[bytes, bytes]] = {}
        self._blank = memoryview(bytes(CHUNK_SIZE))

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self._ends[-1] if self._ends else 0

    def stored(self, i: int) -> int:
        """The compressed bytes that were stored for chunk `i`; 0 where it was there already."""
        return self._stored[i]

    def index(self) -> Index:
        """The chunks and their names."""
        made = blank(self._ends)
        for i in range(len(self._ends)):
            made.name(i, bytes(self._names[ID_SIZE * i : ID_SIZE * (i + 1)]))
        return made

    def digests(self) -> DigestTable:
        """What proves them."""
        made = DigestTable.blank(len(self._ends))
        for i in range(len(self._ends)):
            made.set(i, bytes(self._digests[ID_SIZE * i : ID_SIZE * (i + 1)]))
        return made

    def store(self, cuts: Iterator[Cut]) -> None:
        """Store chunk after chunk."""
        count = threads()
        with ThreadPoolExecutor(count) as pool:
            waiting: deque[Future[None]] = deque()
            for cut in cuts:
                self._job.stop_if_asked()
                i = self._add(cut.end)
                if cut.data is None:
                    self._set(i, *self._zeros_of(cut.end - cut.start))
                    continue
                waiting.append(pool.submit(self._keep, i, cut.data))
                if len(waiting) > _AHEAD * count:
                    waiting.popleft().result()
            for work in waiting:
                work.result()

    def _add(self, end: int) -> int:
        self._ends.append(end)
        self._stored.append(0)
        for column in (self._names, self._digests):
            column.extend(bytes(ID_SIZE))
        return len(self._ends) - 1

    def _keep(self, i: int, data: bytearray) -> None:
        if data == self._blank[: len(data)]:
            self._set(i, *self._zeros_of(len(data)))
            return
        name = chunk.chunk_id(data)
        stored = self._job.keep(name, data)
        self._set(i, name, chunk.digest(data))
        self._stored[i] = stored
        self._job.report.advance(0, len(data) if stored else 0)
        self._job.writer.beat()

    def _set(self, i: int, name: bytes, digest: bytes) -> None:
        self._names[ID_SIZE * i : ID_SIZE * (i + 1)] = name
        self._digests[ID_SIZE * i : ID_SIZE * (i + 1)] = digest

    def _zeros_of(self, size: int) -> tuple[bytes, bytes]:
        if size not in self._zeros:
            self._zeros[size] = self._job.zeros(size)
        return self._zeros[size]


def store_stream(job: Storing, disk: ForeignDisk) -> Stream:
    """Store all pieces of a disk.

    Raises BadImageError where they are not a whole disk, IoError where source or library fails, CancelledError.
    """
    stream = Stream(job)
    with closed(disk.pieces()) as pieces:
        first = _beginning(pieces)
        found = outline(_head(first), disk.sector)
        size = disk.size
        job.report.step(f"Importing {disk.name}", found.size if size is None else _work(disk, size))
        stream.store(_cuts(job, disk, chain(first, pieces), Cutter(found, disk.sector)))
    job.store.sync()  # it is read back at once, and a chunk may still be on its way
    if size is None:
        job.report.total(stream.size)
    job.report.finish_step()
    return stream


def _work(disk: ForeignDisk, size: int) -> int:
    return size if disk.used is None else disk.used.total


def _cuts(job: Storing, disk: ForeignDisk, pieces: Iterator[tuple[int, bytes]], cutter: Cutter) -> Iterator[Cut]:
    end, most = 0, MOST_BYTES if disk.size is None else disk.size
    for at, data in pieces:
        if not 0 <= at <= most - len(data) or len(data) > PIECE:
            raise BadImageError(f"{disk.name}: {len(data)} bytes at byte {at} lie beyond its end", code="bad-stream")
        yield from cutter.add(at, data)
        job.report.advance(at + len(data) - end if disk.used is None else len(data))
        end = at + len(data)
    size = end if disk.size is None else disk.size
    if not size:
        raise BadImageError(f"{disk.name} holds nothing", code="bad-stream")
    yield from cutter.end(size)


def _beginning(pieces: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The pieces up to the one that ends the disk's head, or that lies behind it."""
    found: list[tuple[int, bytes]] = []
    for at, data in pieces:
        found.append((at, data))
        if at + len(data) >= HEAD:
            break
    return found


def _head(pieces: list[tuple[int, bytes]]) -> bytes:
    head = bytearray(HEAD)
    for at, data in pieces:
        if 0 <= at < HEAD:
            head[at : at + len(data)] = data
    return bytes(head[:HEAD])
