"""Sets of byte ranges, and the file that stores one (`.used`)."""

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import chain, pairwise, repeat
from math import inf

from blake3 import blake3

from imaging.errors import BadImageError

_MAGIC = b"RSCUUSED"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQ")
_DIGEST = 32
# Placing one range among others by bisection takes about as long as passing over this many.
_MANY_TIMES = 8
_BEYOND = 1 << 64


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
        last = -inf
        for start, end in ranges:
            if end <= start:
                continue
            if start > last:
                starts.append(start)
                ends.append(end)
                last = end
            elif start < starts[-1]:
                raise ValueError(f"the range from {start} follows one from {starts[-1]}")
            elif end > last:
                ends[-1] = last = end

    @classmethod
    def _of(cls, starts: "array[int]", ends: "array[int]") -> "Extents":
        """Hold two arrays as they are: sorted, disjoint, never touching, and nobody else's."""
        made = cls.__new__(cls)
        made._starts, made._ends = starts, ends
        return made

    def _append(self, start: int, end: int) -> None:
        """Add a range, not empty, that begins where this set ends or later."""
        if self._ends and self._ends[-1] == start:
            self._ends[-1] = end
        else:
            self._starts.append(start)
            self._ends.append(end)

    def _extend(self, other: "Extents") -> None:
        """Add a set that begins where this one ends or later."""
        if other._starts:
            touching = bool(self._ends) and self._ends[-1] == other._starts[0]
            if touching:
                self._ends.pop()
            self._starts.extend(other._starts[1:] if touching else other._starts)
            self._ends.extend(other._ends)

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
        return list(self.clipped(start, end))

    def overlaps(self, start: int, end: int) -> bool:
        """Whether any byte of `[start, end)` is in the set."""
        i = bisect_right(self._ends, start)
        return start < end and i < len(self._starts) and self._starts[i] < end

    def first_from(self, at: int, otherwise: int) -> int:
        """The first byte of the set from `at` on; `otherwise` where there is none."""
        i = bisect_right(self._ends, at)
        return max(at, self._starts[i]) if i < len(self._starts) else otherwise

    def shifted(self, by: int) -> "Extents":
        """The set moved by so many bytes."""
        return Extents._of(array("Q", map(by.__add__, self._starts)), array("Q", map(by.__add__, self._ends)))

    def union(self, *others: "Extents") -> "Extents":
        """Every byte that is in any of the sets."""
        sets = sorted((each for each in (self, *others) if each), key=lambda each: each._starts[0])
        if all(before.end <= after._starts[0] for before, after in pairwise(sets)):
            made = Extents()
            for each in sets:
                made._extend(each)
            return made
        most = max(sets, key=len)
        fewer = [each for each in sets if each is not most]
        if sum(map(len, fewer)) * _MANY_TIMES > len(most):
            return Extents.rising(merge(*sets))
        return most._with_few(Extents.rising(merge(*fewer)))

    def _with_few(self, few: "Extents") -> "Extents":
        made, at = Extents(), 0
        for low, high in few:
            made._extend(self.clipped(at, low))
            made._append(low, high)
            at = high
        made._extend(self.clipped(at, self.end))
        return made

    def clipped(self, start: int, end: int) -> "Extents":
        """The part of the set inside `[start, end)`."""
        first, after = self._span(start, end)
        starts, ends = self._starts[first:after], self._ends[first:after]
        if starts:
            starts[0], ends[-1] = max(start, starts[0]), min(end, ends[-1])
        return Extents._of(starts, ends)

    def _span(self, start: int, end: int) -> tuple[int, int]:
        """The first of the ranges that have bytes in `[start, end)`, and the one after the last."""
        if start >= end:
            return 0, 0
        first = bisect_right(self._ends, start)
        return first, bisect_left(self._starts, end, first)

    def minus(self, other: "Extents") -> "Extents":
        """Every byte of this set that is not in the other."""
        # The set of far fewer ranges is walked, the other copied by whole slices: a few cost little of millions.
        made = Extents()
        if len(other) * _MANY_TIMES <= len(self):
            at = 0
            for low, high in other:
                made._extend(self.clipped(at, low))
                at = high
            made._extend(self.clipped(at, self.end))
        elif len(self) * _MANY_TIMES <= len(other):
            for start, end in self:
                made._extend(other._gaps(start, end))
        else:
            made._take(self._left_by(other))
        return made

    def _left_by(self, other: "Extents") -> Iterator[tuple[int, int]]:
        holes = chain(other, repeat((_BEYOND, _BEYOND)))
        low, high = next(holes)
        for start, end in self:
            at = start
            while low < end:
                yield at, low
                at = max(at, high)
                if high > end:
                    break
                low, high = next(holes)
            yield at, end

    def _gaps(self, start: int, end: int) -> "Extents":
        """What of `[start, end)`, not empty, is not in the set."""
        first, after = self._span(start, end)
        starts, ends = array("Q", (start,)), self._starts[first:after]
        starts.extend(self._ends[first:after])
        ends.append(end)
        if ends[0] <= starts[0]:
            del starts[0], ends[0]
        if starts and ends[-1] <= starts[-1]:
            del starts[-1], ends[-1]
        return Extents._of(starts, ends)


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
    return Extents._of(starts, ends)
