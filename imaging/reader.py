"""A disk of an image, read at any place straight from the chunk store."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType

from imaging.ahead import ReadAhead
from imaging.chunk import CHUNK_SIZE, digest
from imaging.content import Content
from imaging.errors import RescueError

CACHE = 64 << 20
"""Bytes of plain chunks that are kept by default."""
_MOST_AHEAD = 4
"""How many chunks are read ahead of somebody who reads on, by as many threads."""
_LEAST_AHEAD = 2
_KEPT_FOR_EACH = 4
"""How many chunks must have room for each that is read ahead, or they would drive out each other."""
_ZEROS = b"\0" * (64 << 10)
"""Written, not only allocated: the kernel takes a detour to what was never written. Small: it stays near a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRange:
    """A chunk that somebody read and that could not be had: its bytes on the disk, and why."""

    start: int
    end: int
    error: RescueError


class DiskReader:
    """Reads at any offset, from any number of threads; every chunk that is handed out was proved by its BLAKE3.

    What nothing uses and what is all zero is never looked for in the store. Used as a context manager it reads ahead
    of whoever reads on, while he is given what was read before; of what goes wrong there nobody hears but who reads
    that chunk. In memory are `cache` bytes, and for each thread that reads, at most four of them ahead, a chunk and
    its frame.
    """

    def __init__(self, content: Content, *, cache: int = CACHE) -> None:
        """Take the disk, and how many bytes of plain chunks to keep."""
        self._content = content
        self._used = content.used.union(content.table)
        self._most = cache
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        self._under_way: dict[bytes, Future[bytes]] = {}
        self._bad: dict[int, RescueError] = {}
        self._ahead: ReadAhead | None = None

    def __enter__(self) -> "DiskReader":
        """Begin to read ahead, where there is room to keep it."""
        # Who waits for a server keeps no core busy.
        hands = _MOST_AHEAD if self._content.store.lead else os.cpu_count() or 1
        hands = min(max(hands, _LEAST_AHEAD), _MOST_AHEAD, self._most // (_KEPT_FOR_EACH * CHUNK_SIZE))
        if hands:
            self._ahead = ReadAhead(self._read_ahead, hands)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Read ahead no more; what is being read so is waited for."""
        if self._ahead is not None:
            self._ahead.close()

    @property
    def size(self) -> int:
        """Bytes of the disk."""
        return self._content.index.size

    @property
    def allocated(self) -> int:
        """Bytes of the disk that something uses."""
        return self._used.total

    def next_data(self, offset: int) -> int:
        """The first byte from `offset` on in a chunk that is not all zero; the disk's size where there is none."""
        index = self._content.index
        while offset < self.size and self._proof(i := index.find(offset)) is None:
            used = self._used.first_from(index.end(i), self.size)
            offset = index.start(index.find(used)) if used < self.size else used
        return min(offset, self.size)

    def next_hole(self, offset: int) -> int:
        """The first byte from `offset` on in a chunk that is all zero; the disk's size where there is none."""
        index = self._content.index
        while offset < self.size and self._proof(i := index.find(offset)) is not None:
            offset = index.end(i)
        return min(offset, self.size)

    @property
    def bad(self) -> tuple[BadRange, ...]:
        """What could not be read so far, in the disk's order."""
        index = self._content.index
        with self._lock:
            found = sorted(self._bad.items())
        return tuple(BadRange(start=index.start(i), end=index.end(i), error=error) for i, error in found)

    def bad_within(self, start: int, end: int) -> tuple[BadRange, ...]:
        """What could not be read so far of the bytes from `start` to `end`."""
        return tuple(bad for bad in self.bad if bad.start < end and start < bad.end)

    def read(self, offset: int, size: int) -> Sequence[memoryview]:
        """The bytes from `offset`, `size` of them or up to the disk's end, as parts that follow each other.

        Raises BadImageError or IoError where a chunk is corrupt, missing or cannot be read, and remembers which.
        """
        index, end = self._content.index, min(self.size, offset + size)
        parts: list[memoryview] = []
        i = index.find(offset)
        while offset < end:
            start, stop = index.start(i), min(index.end(i), end)
            data = self._chunk(i)
            if data is None:
                parts += _zeros(stop - offset)
            else:
                parts.append(memoryview(data)[offset - start : stop - start])
            offset, i = stop, i + 1
        return parts

    def _chunk(self, i: int) -> bytes | None:
        """The plain data of a chunk; None where all of it is zero."""
        if self._ahead is not None and (behind := self._ahead.reads(i)) is not None:
            self._let_go_first(behind)
        proof = self._proof(i)
        if proof is None:
            return None
        with self._lock:
            if i in self._bad:
                raise self._bad[i]
            if proof in self._kept:
                self._kept.move_to_end(proof)
                return self._kept[proof]
            waiting = self._under_way.get(proof)
            if waiting is None:
                mine = self._under_way[proof] = Future[bytes]()
        try:
            data = waiting.result() if waiting is not None else self._fetch(i, proof, mine)
        except RescueError as error:
            with self._lock:
                self._bad[i] = error
            raise
        return data

    def _proof(self, i: int) -> bytes | None:
        """The digest of a chunk that has to be read; None where all of it is zero."""
        index, proof = self._content.index, self._content.digests[i]
        if not self._used.overlaps(index.start(i), index.end(i)) or proof == _digest_of_zeros(index.length(i)):
            return None
        return proof

    def _read_ahead(self, i: int) -> None:
        """Have a chunk that nobody has asked for yet, where there is one."""
        proof = self._proof(i) if i < len(self._content.index) else None
        if proof is None:
            return
        with self._lock:
            if i in self._bad or proof in self._kept or proof in self._under_way:
                return
            mine = self._under_way[proof] = Future[bytes]()
        self._fetch(i, proof, mine)

    def _fetch(self, i: int, proof: bytes, mine: "Future[bytes]") -> bytes:
        """Read a chunk for all who wait for it."""
        try:
            data = self._content.plain(i)
        except BaseException as error:
            with self._lock:
                del self._under_way[proof]
            mine.set_exception(error)
            raise
        with self._lock:
            self._keep(proof, data)
            del self._under_way[proof]
        mine.set_result(data)
        return data

    def _let_go_first(self, i: int) -> None:
        """Make room of a chunk before all others: it is done with, and its memory the nearest to the cores."""
        proof = self._content.digests[i]
        with self._lock:
            if proof in self._kept:
                self._kept.move_to_end(proof, last=False)

    def _keep(self, proof: bytes, data: bytes) -> None:
        """Keep a chunk, and let go of those that were left behind or not read for the longest time."""
        if len(data) > self._most:
            return
        self._kept[proof] = data
        self._bytes += len(data)
        while self._bytes > self._most:
            self._bytes -= len(self._kept.popitem(last=False)[1])


@lru_cache(maxsize=64)
def _digest_of_zeros(size: int) -> bytes:
    return digest(bytes(size))


def _zeros(size: int) -> list[memoryview]:
    whole, rest = divmod(size, len(_ZEROS))
    view = memoryview(_ZEROS)
    return [view] * whole + ([view[:rest]] if rest else [])
