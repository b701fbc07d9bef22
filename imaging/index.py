"""The list of a disk's chunks, in casync's index format (`.caibx`), and the BLAKE3 table beside it.

Format: https://github.com/systemd/casync, src/caformat.h; facts tried against casync 2 and desync 1.0.4.
"""

import struct
from collections.abc import Sequence
from itertools import chain

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

_DIGESTS = struct.Struct("<8sIIQ")
_DIGESTS_MAGIC = b"RSCUB3TB"
_DIGESTS_VERSION = 1


class Index:
    """A disk as chunks: chunk `i` covers the bytes from `start(i)` to `end(i)` and is named `id(i)`.

    A view of the encoded form: 40 bytes a chunk and nothing beside it, whatever the disk's size.
    """

    __slots__ = ("_count", "_data")

    def __init__(self, data: bytes | bytearray) -> None:
        """Take the whole encoded index; `decode` checks one that comes from outside, `blank` makes one to be filled."""
        self._data = data
        self._count = (len(data) - _HEAD.size - _TAIL.size) // _ITEM

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes of the whole disk."""
        return self.end(self._count - 1) if self._count else 0

    @property
    def encoded(self) -> bytes | bytearray:
        """The file, as casync reads it."""
        return self._data

    def start(self, i: int) -> int:
        """First byte of chunk `i`."""
        return self.end(i - 1) if i else 0

    def end(self, i: int) -> int:
        """First byte past chunk `i`."""
        at = _HEAD.size + _ITEM * i
        return int.from_bytes(self._data[at : at + 8], "little")

    def length(self, i: int) -> int:
        """Bytes in chunk `i`."""
        return self.end(i) - self.start(i)

    def id(self, i: int) -> bytes:
        """The name of chunk `i`, 32 bytes."""
        at = _HEAD.size + _ITEM * i + 8
        return bytes(self._data[at : at + ID_SIZE])

    def name(self, i: int, chunk: bytes) -> None:
        """Give chunk `i` its id, in an index that `blank` made."""
        if not isinstance(self._data, bytearray):
            raise TypeError("this index is not being made")
        at = _HEAD.size + _ITEM * i + 8
        self._data[at : at + ID_SIZE] = chunk

    def find(self, offset: int) -> int:
        """The number of the chunk that covers the byte at `offset`; the count of chunks where none does."""
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            if self.end(middle) <= offset:
                low = middle + 1
            else:
                high = middle
        return low


def blank(ends: Sequence[int]) -> Index:
    """An index in casync's format of chunks that end at `ends`, strictly rising; `name` has to give each its id."""
    longest = max((end - start for start, end in zip(chain((0,), ends), ends, strict=False)), default=1)
    data = bytearray(_HEAD.size + _ITEM * len(ends) + _TAIL.size)
    _HEAD.pack_into(data, 0, 48, _INDEX_MAGIC, _FLAGS, 1, min(CHUNK_SIZE, longest), longest, _OPEN_SIZE, _TABLE_MAGIC)
    for i, end in enumerate(ends):
        _END.pack_into(data, _HEAD.size + _ITEM * i, end)
    _TAIL.pack_into(data, len(data) - _TAIL.size, 0, 0, 48, 16 + _ITEM * len(ends) + 40, _TAIL_MAGIC)
    return Index(data)


def decode(data: bytes, size: int, name: str) -> Index:
    """Check an index of a disk of `size` bytes; `name` is the file's, for the message.

    Raises BadImageError where anything is cut short, out of order, of another digest or too long.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: the index is damaged: {what}", code="bad-index")

    if len(data) < _HEAD.size + _TAIL.size or (len(data) - _HEAD.size - _TAIL.size) % _ITEM:
        raise bad(f"{len(data)} bytes is not the length of an index")
    head = _HEAD.unpack_from(data)
    if head[:2] != (48, _INDEX_MAGIC) or head[6:] != (_OPEN_SIZE, _TABLE_MAGIC):
        raise bad("its header is not that of an index")
    flags, shortest, average, longest = head[2:6]
    if not flags & _SHA512_256:
        raise bad("its chunks are not named by SHA-512/256")
    if not 1 <= shortest <= average <= longest <= MAX_CHUNK_SIZE:
        raise bad(f"chunks of {shortest} to {longest} bytes, {average} on average, are not allowed")
    count = (len(data) - _HEAD.size - _TAIL.size) // _ITEM
    if _TAIL.unpack_from(data, len(data) - _TAIL.size) != (0, 0, 48, 16 + _ITEM * count + 40, _TAIL_MAGIC):
        raise bad("its tail does not close the table")
    last = 0
    for i, (end,) in enumerate(struct.iter_unpack("<Q32x", memoryview(data)[_HEAD.size : -_TAIL.size])):
        if not last < end <= last + longest:
            raise bad(f"chunk {i} ends at {end}, after one that ends at {last}")
        last = end
    if last != size:
        raise bad(f"it covers {last} bytes of a disk of {size}")
    return Index(data)


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
