"""The list of a disk's chunks, in casync's index format (`.caibx`), and the BLAKE3 table beside it.

Format: https://github.com/systemd/casync, src/caformat.h; facts tried against casync 2 and desync 1.0.4.
"""

import struct
from array import array
from collections.abc import Sequence

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
_ITEM = 8 + ID_SIZE

_DIGESTS = struct.Struct("<8sIIQ")
_DIGESTS_MAGIC = b"RSCUB3TB"
_DIGESTS_VERSION = 1


class Index:
    """A disk as chunks: chunk `i` covers the bytes from `start(i)` to `end(i)` and is named `id(i)`."""

    __slots__ = ("_ends", "_ids")

    def __init__(self, ends: Sequence[int], ids: bytes) -> None:
        """Take the cumulative end offsets in bytes, strictly rising, and the 32-byte ids joined."""
        self._ends = ends if isinstance(ends, array) else array("Q", ends)
        self._ids = ids
        if len(ids) != ID_SIZE * len(self._ends):
            raise ValueError("an index needs one id for each end")

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def size(self) -> int:
        """Bytes of the whole disk."""
        return self._ends[-1] if self._ends else 0

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
        return self._ids[ID_SIZE * i : ID_SIZE * (i + 1)]

    @property
    def ends(self) -> Sequence[int]:
        """All end offsets in bytes."""
        return self._ends


def encode(index: Index) -> bytes:
    """Render in casync's format."""
    longest = max((index.length(i) for i in range(len(index))), default=1)
    parts = [
        _HEAD.pack(48, _INDEX_MAGIC, _FLAGS, 1, min(CHUNK_SIZE, longest), longest, _OPEN_SIZE, _TABLE_MAGIC),
        *(index.end(i).to_bytes(8, "little") + index.id(i) for i in range(len(index))),
        _TAIL.pack(0, 0, 48, 16 + _ITEM * len(index) + 40, _TAIL_MAGIC),
    ]
    return b"".join(parts)


def decode(data: bytes, size: int, name: str) -> Index:
    """Parse an index of a disk of `size` bytes; `name` is the file's, for the message.

    Raises BadImageError where anything is cut short, out of order, of another digest or too long.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: the index is damaged: {what}", code="bad-index")

    if len(data) < _HEAD.size + _TAIL.size or (len(data) - _HEAD.size - _TAIL.size) % _ITEM:
        raise bad(f"{len(data)} bytes is not the length of an index")
    head = _HEAD.unpack_from(data)
    if head[:2] != (48, _INDEX_MAGIC) or head[6:] != (_OPEN_SIZE, _TABLE_MAGIC):
        raise bad("its header is not that of an index")
    flags, _, _, longest = head[2:6]
    if not flags & _SHA512_256:
        raise bad("its chunks are not named by SHA-512/256")
    if not 1 <= longest <= MAX_CHUNK_SIZE:
        raise bad(f"chunks of up to {longest} bytes are not allowed")
    count = (len(data) - _HEAD.size - _TAIL.size) // _ITEM
    if _TAIL.unpack_from(data, len(data) - _TAIL.size) != (0, 0, 48, 16 + _ITEM * count + 40, _TAIL_MAGIC):
        raise bad("its tail does not close the table")
    ends, ids, last = array("Q"), bytearray(), 0
    for end, chunk in struct.iter_unpack("<Q32s", memoryview(data)[_HEAD.size : -_TAIL.size]):
        if not last < end <= last + longest:
            raise bad(f"chunk {len(ends)} ends at {end}, after one that ends at {last}")
        ends.append(end)
        ids += chunk
        last = end
    if last != size:
        raise bad(f"it covers {last} bytes of a disk of {size}")
    return Index(ends, bytes(ids))


class DigestTable:
    """The BLAKE3 digest of each chunk of an index, in its order."""

    __slots__ = ("_digests",)

    def __init__(self, digests: bytes) -> None:
        """Take the 32-byte digests joined."""
        self._digests = digests

    def __len__(self) -> int:
        return len(self._digests) // ID_SIZE

    def __getitem__(self, i: int) -> bytes:
        return self._digests[ID_SIZE * i : ID_SIZE * (i + 1)]

    def encode(self) -> bytes:
        """Render: magic `RSCUB3TB`, u32 version, u32 zero, u64 count (little-endian), digests, BLAKE3 of all that."""
        body = _DIGESTS.pack(_DIGESTS_MAGIC, _DIGESTS_VERSION, 0, len(self)) + self._digests
        return body + blake3(body).digest()


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
    if blake3(data[:-ID_SIZE]).digest() != data[-ID_SIZE:]:
        raise bad("the digest table is damaged: its digest does not match")
    return DigestTable(data[_DIGESTS.size : -ID_SIZE])
