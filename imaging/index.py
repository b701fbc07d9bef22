"""The list of a disk's chunks, in casync's index format (`.caibx`), and the BLAKE3 table beside it.

Format: https://github.com/systemd/casync, src/caformat.h; facts tried against casync 2 and desync 1.0.4.
"""

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, pairwise
from operator import sub

from blake3 import blake3

from imaging.chunk import CHUNK_SIZE, ID_SIZE, MAX_CHUNK_SIZE
from imaging.errors import BadImageError

_INDEX_MAGIC = 0x96824D9C7B129FF9
_TABLE_MAGIC = 0xE75B9E112F17417D
_TAIL_MAGIC = 0x4B4F050E5549ECD1
_OPEN_SIZE = 0xFFFFFFFFFFFFFFFF
_FLAGS = 0xB000000000000000
"""What `casync make` writes for its defaults with SHA-512/256."""
_SHA512_256 = 1 << 61
_HEAD = struct.Struct("<8Q")
_TAIL = struct.Struct("<5Q")
_END = struct.Struct("<Q")
_ITEM = _END.size + ID_SIZE
HEAD_SIZE, ITEM_SIZE, TAIL_SIZE = _HEAD.size, _ITEM, _TAIL.size
"""For those who read an index piece by piece: eight bytes of an item say where its chunk ends, the rest is its name."""

_DIGESTS = struct.Struct("<8sIIQ")
_DIGESTS_MAGIC = b"RSCUB3TB"
_DIGESTS_VERSION = 1


class Index:
    """A disk as chunks: chunk `i` covers the bytes from `start(i)` to `end(i)` and is named `id(i)`.

    A view of the encoded form, and its ends once more as one array: 48 bytes a chunk, whatever the disk's size. Runs of
    chunks are filled and read a column at a time: a disk of 8 TiB has two million of them.
    """

    __slots__ = ("_data", "_ends")

    def __init__(self, data: bytes | bytearray) -> None:
        """Take the whole encoded index; `decode` checks one that comes from outside, `blank` makes one to be filled."""
        self._data = data
        self._ends = _column(data, (len(data) - _HEAD.size - _TAIL.size) // _ITEM)

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def size(self) -> int:
        """Bytes of the whole disk."""
        return self._ends[-1] if self._ends else 0

    @property
    def encoded(self) -> bytes | bytearray:
        """The file, as casync reads it."""
        return self._data

    def start(self, i: int) -> int:
        """First byte of chunk `i`."""
        return self._ends[i - 1] if i else 0

    def end(self, i: int) -> int:
        """First byte past chunk `i`."""
        return self._ends[i]

    def length(self, i: int) -> int:
        """Bytes in chunk `i`."""
        return self.end(i) - self.start(i)

    def id(self, i: int) -> bytes:
        """The name of chunk `i`, 32 bytes."""
        at = _HEAD.size + _ITEM * i + _END.size
        return bytes(self._data[at : at + ID_SIZE])

    def name(self, i: int, chunk: bytes) -> None:
        """Give chunk `i` its id, in an index that `blank` made."""
        at = _HEAD.size + _ITEM * i + _END.size
        self._to_be_made()[at : at + ID_SIZE] = chunk

    def name_run(self, first: int, stop: int, chunk: bytes) -> None:
        """Give the chunks from `first` up to `stop` one id, in an index that `blank` made."""
        data, end = self._to_be_made(), _HEAD.size + _ITEM * stop
        for k in range(ID_SIZE):
            data[_HEAD.size + _ITEM * first + _END.size + k : end : _ITEM] = chunk[k : k + 1] * (stop - first)

    def _to_be_made(self) -> bytearray:
        if not isinstance(self._data, bytearray):
            raise TypeError("this index is not being made")
        return self._data

    def equal_runs(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """The chunks from `first` up to `stop` as runs of chunks of one length, `(first, stop)`."""
        if first >= stop:
            return
        lengths = map(sub, self._ends[first:stop], chain((self.start(first),), self._ends[first : stop - 1]))
        for _, run in groupby(lengths):
            following = first + sum(1 for _ in run)
            yield first, following
            first = following

    def find(self, offset: int, low: int = 0) -> int:
        """The number of the chunk that covers the byte at `offset`, at least `low`; the count where none does."""
        return bisect_right(self._ends, offset, low)


def _column(data: bytes | bytearray, count: int) -> "array[int]":
    """Where each chunk ends: the first eight bytes of each item."""
    packed = bytearray(_END.size * count)
    for k in range(_END.size):
        packed[k :: _END.size] = data[_HEAD.size + k : _HEAD.size + _ITEM * count : _ITEM]
    ends = array("Q")
    ends.frombytes(packed)
    if sys.byteorder == "big":
        ends.byteswap()
    return ends


def blank(ends: Sequence[int]) -> Index:
    """An index in casync's format of chunks that end at `ends`, strictly rising; `name` has to give each its id."""
    longest = max(_lengths(ends), default=1)
    data = bytearray(_HEAD.size + _ITEM * len(ends) + _TAIL.size)
    _HEAD.pack_into(data, 0, 48, _INDEX_MAGIC, _FLAGS, 1, min(CHUNK_SIZE, longest), longest, _OPEN_SIZE, _TABLE_MAGIC)
    packed = array("Q", ends)
    if sys.byteorder == "big":
        packed.byteswap()
    column = packed.tobytes()
    for k in range(_END.size):
        data[_HEAD.size + k : _HEAD.size + _ITEM * len(ends) : _ITEM] = column[k :: _END.size]
    _TAIL.pack_into(data, len(data) - _TAIL.size, 0, 0, 48, 16 + _ITEM * len(ends) + 40, _TAIL_MAGIC)
    return Index(data)


def decode(data: bytes, size: int, name: str) -> Index:
    """Check an index of a disk of `size` bytes; `name` is the file's, for the message.

    Raises BadImageError where anything is cut short, out of order, of another digest or too long.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: the index is damaged: {what}", code="bad-index")

    longest = refuse_unless_framed(data[: _HEAD.size], data[-_TAIL.size :], len(data), name)
    index = Index(data)
    ends = index._ends
    if ends and not 0 < min(_lengths(ends)) <= max(_lengths(ends)) <= longest:
        i, start, end = next(
            (i, a, b) for i, (a, b) in enumerate(pairwise(chain((0,), ends))) if not a < b <= a + longest
        )
        raise bad(f"chunk {i} ends at {end}, after one that ends at {start}")
    if index.size != size:
        raise bad(f"it covers {index.size} bytes of a disk of {size}")
    return index


def refuse_unless_framed(head: bytes, tail: bytes, length: int, name: str) -> int:
    """Check header and tail of an index of `length` bytes; returns the most bytes that a chunk of it may have.

    Raises BadImageError.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: the index is damaged: {what}", code="bad-index")

    if length < _HEAD.size + _TAIL.size or (length - _HEAD.size - _TAIL.size) % _ITEM:
        raise bad(f"{length} bytes is not the length of an index")
    if len(head) != _HEAD.size or len(tail) != _TAIL.size:
        raise bad("it is cut short, or longer than it was")
    fields = _HEAD.unpack(head)
    if fields[:2] != (48, _INDEX_MAGIC) or fields[6:] != (_OPEN_SIZE, _TABLE_MAGIC):
        raise bad("its header is not that of an index")
    flags, shortest, average, longest = fields[2:6]
    if not flags & _SHA512_256:
        raise bad("its chunks are not named by SHA-512/256")
    if not 1 <= shortest <= average <= longest <= MAX_CHUNK_SIZE:
        raise bad(f"chunks of {shortest} to {longest} bytes, {average} on average, are not allowed")
    items = length - _HEAD.size - _TAIL.size
    if _TAIL.unpack(tail) != (0, 0, 48, 16 + items + 40, _TAIL_MAGIC):
        raise bad("its tail does not close the table")
    return int(longest)


def _lengths(ends: Sequence[int]) -> Iterator[int]:
    return map(sub, ends, chain((0,), ends))


class DigestTable:
    """The BLAKE3 digest of each chunk of an index, in its order: a view of the encoded form.

    Layout, little-endian: magic `RSCUB3TB`, u32 version, u32 zero, u64 count; the digests; BLAKE3 of all that.
    """

    __slots__ = ("_data",)

    def __init__(self, data: bytes | bytearray) -> None:
        """Take the whole encoded table; `decode_digests` checks one that comes from outside."""
        self._data = data

    @classmethod
    def blank(cls, count: int) -> "DigestTable":
        """A table for so many chunks, to be filled by `set`."""
        data = bytearray(_DIGESTS.size + ID_SIZE * (count + 1))
        _DIGESTS.pack_into(data, 0, _DIGESTS_MAGIC, _DIGESTS_VERSION, 0, count)
        return cls(data)

    def __len__(self) -> int:
        return (len(self._data) - _DIGESTS.size) // ID_SIZE - 1

    def __getitem__(self, i: int) -> bytes:
        at = _DIGESTS.size + ID_SIZE * i
        return bytes(self._data[at : at + ID_SIZE])

    def set(self, i: int, digest: bytes) -> None:
        """Give chunk `i` its digest, in a table that `blank` made."""
        if not isinstance(self._data, bytearray):
            raise TypeError("this table is not being made")
        at = _DIGESTS.size + ID_SIZE * i
        self._data[at : at + ID_SIZE] = digest

    def set_run(self, first: int, stop: int, digest: bytes) -> None:
        """Give the chunks from `first` up to `stop` one digest, in a table that `blank` made."""
        if not isinstance(self._data, bytearray):
            raise TypeError("this table is not being made")
        at = _DIGESTS.size + ID_SIZE * first
        self._data[at : _DIGESTS.size + ID_SIZE * stop] = digest * (stop - first)

    @property
    def encoded(self) -> bytes | bytearray:
        """The file; one that was being made is closed with its own digest."""
        if isinstance(self._data, bytearray):
            self._data[-ID_SIZE:] = blake3(memoryview(self._data)[:-ID_SIZE]).digest()
        return self._data


def decode_digests(data: bytes, count: int, name: str) -> DigestTable:
    """Parse the table of an index of `count` chunks; raises BadImageError where it is not exactly that."""

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: {what}", code="bad-digest-table")

    if len(data) < _DIGESTS.size + ID_SIZE:
        raise bad(f"the digest table is cut short: {len(data)} bytes")
    magic, version, _, stated = _DIGESTS.unpack_from(data)
    if magic != _DIGESTS_MAGIC:
        raise bad("this is not a digest table")
    if version != _DIGESTS_VERSION:
        raise bad(f"digest table version {version} is not known to this program")
    if stated != count or len(data) != _DIGESTS.size + ID_SIZE * (count + 1):
        raise bad(f"the digest table is of {stated} chunks and {len(data)} bytes, the index of {count} chunks")
    if blake3(memoryview(data)[:-ID_SIZE]).digest() != data[-ID_SIZE:]:
        raise bad("the digest table is damaged: its digest does not match")
    return DigestTable(data)
