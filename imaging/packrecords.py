"""Where the chunks of an image in a single file are; see imaging.pack."""

import threading
from collections.abc import Iterator
from operator import lt

from imaging import packformat
from imaging.chunk import ID_SIZE
from imaging.errors import BadImageError
from imaging.packformat import RECORD_SIZE
from imaging.packpieces import Pieces

_AT_ONCE = 4096
"""Records that are read at once."""
_KEPT = 64
"""How many times as many are kept in memory."""


class Records:
    """Where the chunks are: looked up a block of records at a time, so that memory stays flat."""

    def __init__(self, pieces: Pieces, at: int, count: int, name: str) -> None:
        """Take where they begin, how many there are, and what the file is called."""
        self._pieces, self._at, self.count, self._name = pieces, at, count, name
        self._lock = threading.Lock()
        self._blocks: dict[int, bytes] = {}
        self._firsts: dict[int, bytes] = {}

    def find(self, name: bytes) -> tuple[int, int] | None:
        """Offset and bytes of a chunk; None where it is not named. Raises BadImageError, IoError."""
        if not self.count:
            return None
        block = self._block(self._number_of(name))
        first, last = 0, len(block) // RECORD_SIZE
        while first < last:
            middle = (first + last) // 2
            found, at, size = _record(block, middle)
            if found == name:
                return at, size
            first, last = (middle + 1, last) if found < name else (first, middle)
        return None

    def all(self, low: bytes) -> Iterator[tuple[bytes, int, int]]:
        """All records from the first that is not below a name on, in the order of names. BadImageError, IoError."""
        before = b""
        for number in range(self._number_of(low), -(-self.count // _AT_ONCE)):
            block = self._block(number)
            if block[:ID_SIZE] <= before:
                raise self._not_in_order()
            before = block[-RECORD_SIZE:][:ID_SIZE]
            for i in range(len(block) // RECORD_SIZE):
                found = _record(block, i)
                if found[0] >= low:
                    yield found

    def _number_of(self, name: bytes) -> int:
        """The block in which a name would be."""
        low, high = 0, -(-self.count // _AT_ONCE)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._first(middle) <= name else (low, middle)
        return low

    def _not_in_order(self) -> BadImageError:
        return packformat.not_whole(self._name, "the records in its index are not in order")

    def _first(self, number: int) -> bytes:
        with self._lock:
            known = self._firsts.get(number)
        if known is None:
            known = self._block(number)[:ID_SIZE]
            with self._lock:
                self._firsts[number] = known
        return known

    def _block(self, number: int) -> bytes:
        with self._lock:
            known = self._blocks.pop(number, None)
            if known is not None:
                self._blocks[number] = known  # the one that was used last is let go of last
                return known
        count = min(_AT_ONCE, self.count - number * _AT_ONCE)
        read = self._pieces.read(self._at + number * _AT_ONCE * RECORD_SIZE, count * RECORD_SIZE)
        names = [read[at : at + ID_SIZE] for at in range(0, len(read), RECORD_SIZE)]
        if not all(map(lt, names, names[1:])):
            raise self._not_in_order()
        with self._lock:
            self._blocks[number] = read
            if len(self._blocks) > _KEPT:
                del self._blocks[next(iter(self._blocks))]
        return read


def _record(block: bytes, i: int) -> tuple[bytes, int, int]:
    return packformat.record_of(memoryview(block)[i * RECORD_SIZE : (i + 1) * RECORD_SIZE])
