"""Sets of byte ranges, and the file that stores one (`.used`)."""

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from heapq import merge

from blake3 import blake3

from imaging.errors import BadImageError

_MAGIC = b"RSCUUSED"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQ")
_DIGEST = 32


class Extents:
    """An immutable set of byte ranges, sorted, disjoint and never touching each other.

    Held as two arrays of 64-bit offsets: 16 bytes a range, so that a badly fragmented disk still fits in memory.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Take `(start, end)` pairs in bytes, in any order, overlapping or not; empty ones are dropped."""
        self._starts = array("Q")
        self._ends = array("Q")
        self._take(sorted(ranges))

    @classmethod
    def rising(cls, ranges: Iterable[tuple[int, int]]) -> "Extents":
        """Take pairs whose starts rise, overlapping or not, one after the other: nothing is held beside the set.

        Raises ValueError where a start lies before the one of the range that precedes it.
        """
        made = cls()
        made._take(ranges)
        return made

    def _take(self, ranges: Iterable[tuple[int, int]]) -> None:
        starts, ends = self._starts, self._ends
        for start, end in ranges:
            if end <= start:
                continue
            if ends and start <= ends[-1]:
                if start < starts[-1]:
                    raise ValueError(f"the range from {start} follows one from {starts[-1]}")
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extents):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    def __hash__(self) -> int:
        return hash((self._starts.tobytes(), self._ends.tobytes()))

    def __repr__(self) -> str:
        return f"Extents({list(self)!r})"

    @property
    def total(self) -> int:
        """Bytes in the set."""
        return sum(self._ends) - sum(self._starts)

    @property
    def end(self) -> int:
        """The first byte past the last range; 0 where the set is empty."""
        return self._ends[-1] if self._ends else 0

    def within(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of the set inside `[start, end)`, as `(start, end)` pairs of absolute offsets."""
        return list(self._parts(start, end))

    def _parts(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        i = max(0, bisect_right(self._starts, start) - 1)
        while i < len(self._starts) and self._starts[i] < end:
            low, high = max(start, self._starts[i]), min(end, self._ends[i])
            if low < high:
                yield low, high
            i += 1

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any byte of `[start, end)` is in the set."""
        i = bisect_right(self._ends, start)
        return start < end and i < len(self._starts) and self._starts[i] < end

    def shifted(self, by: int) -> "Extents":
        """The set moved by so many bytes."""
        return Extents.rising((start + by, end + by) for start, end in self)

    def union(self, *others: "Extents") -> "Extents":
        """Every byte that is in any of the sets."""
        return Extents.rising(merge(self, *others))

    def clipped(self, start: int, end: int) -> "Extents":
        """The part of the set inside `[start, end)`."""
        return Extents.rising(self._parts(start, end))

    def minus(self, other: "Extents") -> "Extents":
        """Every byte of this set that is not in the other."""
        return Extents.rising(self._left_by(other))

    def _left_by(self, other: "Extents") -> Iterator[tuple[int, int]]:
        for start, end in self:
            at = start
            for low, high in other._parts(start, end):
                yield at, low
                at = high
            yield at, end


def _little_endian(values: "array[int]") -> bytes:
    if sys.byteorder == "big":
        values = array("Q", values)
        values.byteswap()
    return values.tobytes()


def encode(used: Extents, size: int) -> bytes:
    """Render the used map of a disk of `size` bytes.

    Layout, little-endian: magic `RSCUUSED`, u32 version, u32 zero, u64 disk size, u64 count; count u64 starts;
    count u64 ends; BLAKE3 of all that (32 bytes).
    """
    header = _HEADER.pack(_MAGIC, _VERSION, 0, size, len(used))
    body = header + _little_endian(used._starts) + _little_endian(used._ends)
    return body + blake3(body).digest()


def decode(data: bytes, size: int, name: str) -> Extents:
    """Parse a used map of a disk of `size` bytes; `name` is for the message.

    Raises BadImageError where it is cut short, damaged, of an unknown version, unsorted or beyond the disk.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: {what}", code="bad-used-map")

    if len(data) < _HEADER.size + _DIGEST:
        raise bad(f"the used map is cut short: {len(data)} bytes")
    magic, version, _, disk_size, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise bad("this is not a used map")
    if version != _VERSION:
        raise bad(f"used map version {version} is not known to this program")
    if len(data) != _HEADER.size + 16 * count + _DIGEST:
        raise bad(f"the used map should hold {count} ranges but has {len(data)} bytes")
    if blake3(data[:-_DIGEST]).digest() != data[-_DIGEST:]:
        raise bad("the used map is damaged: its digest does not match")
    if disk_size != size:
        raise bad(f"the used map is of a disk of {disk_size} bytes, not {size}")
    starts, ends = array("Q"), array("Q")
    starts.frombytes(data[_HEADER.size : _HEADER.size + 8 * count])
    ends.frombytes(data[_HEADER.size + 8 * count : -_DIGEST])
    if sys.byteorder == "big":
        starts.byteswap()
        ends.byteswap()
    last = -1
    for start, end in zip(starts, ends, strict=True):
        if not last < start < end <= size:
            raise bad("the used map's ranges overlap, are out of order or lie beyond the disk")
        last = end
    return Extents.rising(zip(starts, ends, strict=True))
