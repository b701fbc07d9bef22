"""A partclone image as it streams by: which blocks of a volume it holds, and their bytes, checked as they come.

Sources: partclone, src/partclone.h (the layouts), partclone.c (load_image_desc, load_image_bitmap), checksum.c and
main.c (where checksums stand). All numbers are little-endian.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from imaging.bitmap import marked, set_bits
from imaging.errors import BadImageError
from imaging.extents import Extents
from imaging.xxhash import Xxh64, Xxh128

Read = Callable[[int], bytes]
"""The image's next bytes, at most so many; nothing once it has ended. Raises RescueError."""

MAGIC = b"partclone-image"
PIECE = 1 << 20
"""Bytes of the largest piece that is handed out."""

_V1 = struct.Struct("<15s15s4s2siQQQ")
_V1_ROOM = 4096
_V2 = struct.Struct("<16s14s4sH16sQQQQIIHHHHIBBI")
_V2_OPTIONS = 18
_LITTLE_ENDIAN = 0xC0DE
_BITMAP_END = b"BiTmAgIc"
_BITS, _BYTES, _NO_BITMAP = 0x01, 0x08, 0x00
_CRC32, _XXH64, _XXH128, _CRC32_0001 = 0x20, 0x30, 0x31, 0xFF
_CHECKSUM_SIZES = {0x00: 0, _CRC32: 4, _XXH64: 8, _XXH128: 16, _CRC32_0001: 4}
_LARGEST_BLOCK = 64 << 20
"""exFAT's clusters have up to 32 MiB; all others are smaller."""
_MOST_BYTES = 2**62
_MOST_RUNS = 1 << 25
"""Runs of used blocks that are held in memory: half a GiB, and twenty times what the worst volumes have."""
_MOST_BEHIND = 64 << 10
"""Bytes behind the last checksum that are passed over: old images have four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an image says of its volume. `size` is the device's, in bytes; `blocks` counts all, used or not."""

    version: int
    file_system: str
    size: int
    blocks: int
    block_size: int
    checksum: int
    checksum_size: int
    blocks_per_checksum: int
    reseeded: bool
    bitmap: int


class _Checksum(Protocol):
    def reset(self) -> None:
        """Begin anew."""

    def update(self, data: bytes) -> None:
        """Go on with these bytes."""

    def digest(self) -> bytes:
        """The value as it stands in an image."""


class _Crc32:
    """CRC-32 without the inversion that usually ends it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return _crc(self._value)


class _FirstByteCrc32(_Crc32):
    """What version 1 computes: it never moves on, and takes a block's first byte as often as the block has bytes."""

    def __init__(self, block_size: int) -> None:
        super().__init__()
        self._block_size = self._left = block_size
        self._first = b""

    def update(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._left == self._block_size:
                self._first = data[at : at + 1]
            size = min(self._left, len(data) - at)
            super().update(self._first * size)
            at += size
            self._left = self._left - size or self._block_size


def _crc(value: int) -> bytes:
    return (value ^ 0xFFFFFFFF).to_bytes(4, "little")


class PartcloneImage:
    """An image that was opened: its header and its used blocks are read; what follows comes by `pieces`, once."""

    header: Header
    used: Extents
    """The bytes of the volume that the image holds."""

    def __init__(self, read: Read, name: str) -> None:
        """Read up to the first block; `name` is for messages.

        Raises BadImageError where this is no image, is damaged, cut short or beyond all measure; what `read` raises.
        """
        self._stream = _Stream(read, name)
        self.header = _read_header(self._stream)
        runs = _runs(self._stream, self.header)
        block_size = self.header.block_size
        self.used = Extents.rising((start * block_size, end * block_size) for start, end in islice(runs, _MOST_RUNS))
        if next(runs, None) is not None:
            raise self._stream.bad(f"its volume is in more than {_MOST_RUNS} fragments")

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """The used bytes as `(offset, bytes)`, rising, 1 MiB at most each.

        The checksum of a piece may come behind it: nothing is proved before the last one has come, and the image has
        ended. Raises BadImageError at the latest then, where anything was wrong.
        """
        strips = _Strips(self._stream, self.header)
        for start, end in self.used:
            for at in range(start, end, PIECE):
                yield at, strips.take(min(PIECE, end - at))
        strips.end()


class _Stream:
    """Exactly so many of the bytes that come, however they come."""

    def __init__(self, read: Read, name: str) -> None:
        self._read, self._name = read, name
        self._held, self._at = b"", 0
        self.passed = 0

    def take(self, size: int) -> bytes:
        """The next bytes; raises BadImageError where the image ends before."""
        end = self._at + size
        if end > len(self._held):
            self._fill(size)
            end = self._at + size
        data = self._held[self._at : end]
        self._at = end
        self.passed += size
        return data

    def look(self, size: int) -> bytes:
        """The next bytes, fewer where the image ends; they are still to be taken."""
        while len(self._held) - self._at < size and (more := self._read(PIECE)):
            self._held, self._at = self._held[self._at :] + more, 0
        return self._held[self._at : self._at + size]

    def _fill(self, size: int) -> None:
        parts = [self._held[self._at :]]
        there = len(parts[0])
        while there < size:
            more = self._read(PIECE)
            if not more:
                raise self.bad(f"it is cut short: it ends after {self.passed + there} bytes, in the middle of its data")
            parts.append(more)
            there += len(more)
        self._held, self._at = b"".join(parts), 0

    def drain(self) -> int:
        """Read to the end, where a compressed file has its own checksum: how many bytes there were, if not too many."""
        there = len(self._held) - self._at
        while there <= _MOST_BEHIND and (more := self._read(PIECE)):
            there += len(more)
        return there

    def bad(self, what: str) -> BadImageError:
        return BadImageError(f"{self._name}: {what}", code="bad-partclone")


def _read_header(stream: _Stream) -> Header:
    head = stream.look(_V2.size)
    if head[:15] != MAGIC:
        raise stream.bad("this is no partclone image")
    if len(head) < _V2.size:
        raise stream.bad("it is cut short in its header")
    if head[30:34] == b"0001":
        header = _version_1(stream.take(_V1.size + _V1_ROOM))
    elif head[30:34] == b"0002":
        header = _version_2(stream, stream.take(_V2.size))
    else:
        raise stream.bad(f"version {head[30:34]!r} of partclone's format is not known to this program")
    if not 0 < header.block_size <= _LARGEST_BLOCK:
        raise stream.bad(f"blocks of {header.block_size} bytes are not allowed")
    if not 0 < header.blocks * header.block_size <= _MOST_BYTES:
        raise stream.bad(f"a volume of {header.blocks} blocks is not allowed")
    if header.checksum_size and not header.blocks_per_checksum:
        raise stream.bad("it has checksums of no blocks")
    return header


def _version_1(data: bytes) -> Header:
    _, file_system, _, _, block_size, _, blocks, _ = _V1.unpack_from(data)
    return Header(
        version=1,
        file_system=_word(file_system),
        # What it says of the device is wrong now and then; partclone itself takes this.
        size=blocks * block_size,
        blocks=blocks,
        block_size=block_size,
        checksum=_CRC32_0001,
        checksum_size=4,
        blocks_per_checksum=1,
        reseeded=False,
        bitmap=_BYTES,
    )


def _version_2(stream: _Stream, data: bytes) -> Header:
    fields = _V2.unpack(data)
    _, _, _, endian, file_system, size, blocks, _, _, block_size = fields[:10]
    options, version, _, checksum, checksum_size, per_checksum, reseeded, bitmap, crc = fields[10:]
    if endian != _LITTLE_ENDIAN:
        raise stream.bad("it was made by a computer of another byte order, or its header is damaged")
    if crc.to_bytes(4, "little") != _crc(zlib.crc32(data[:-4])):
        raise stream.bad("its header is damaged: the checksum does not match")
    if (options, version) != (_V2_OPTIONS, 2):
        raise stream.bad(f"options of version {version} and {options} bytes are not known to this program")
    if _CHECKSUM_SIZES.get(checksum) != checksum_size:
        raise stream.bad(f"checksums of kind {checksum:#x} and {checksum_size} bytes are not known to this program")
    if bitmap not in (_BITS, _BYTES, _NO_BITMAP):
        raise stream.bad(f"a bitmap of kind {bitmap:#x} is not known to this program")
    return Header(
        version=2,
        file_system=_word(file_system),
        size=size,
        blocks=blocks,
        block_size=block_size,
        checksum=checksum,
        checksum_size=checksum_size,
        blocks_per_checksum=per_checksum,
        reseeded=reseeded != 0,
        bitmap=bitmap,
    )


def _word(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "replace")


def _runs(stream: _Stream, header: Header) -> Iterator[tuple[int, int]]:
    """The runs of used blocks; those that touch may come in parts. The map's own checksum is checked at its end."""
    if header.bitmap == _BITS:
        return _runs_of_bits(stream, header.blocks)
    if header.bitmap == _BYTES:
        return _runs_of_bytes(stream, header.blocks)
    return iter([(0, header.blocks)])


def _runs_of_bits(stream: _Stream, blocks: int) -> Iterator[tuple[int, int]]:
    crc = 0
    for first in range(0, blocks, 8 * PIECE):
        count = min(8 * PIECE, blocks - first)
        data = stream.take(-(-count // 8))
        crc = zlib.crc32(data, crc)
        for start, end in set_bits(data, count):
            yield first + start, first + end
    if stream.take(4) != _crc(crc):
        raise stream.bad("its map of used blocks is damaged: the checksum does not match")


def _runs_of_bytes(stream: _Stream, blocks: int) -> Iterator[tuple[int, int]]:
    for first in range(0, blocks, PIECE):
        data = stream.take(min(PIECE, blocks - first))
        if data.translate(None, b"\0\1"):
            raise stream.bad("its map of used blocks is damaged: a block is neither used nor free")
        for start, end in marked(data):
            yield first + start, first + end
    if stream.take(len(_BITMAP_END)) != _BITMAP_END:
        raise stream.bad("its map of used blocks is damaged: the mark at its end is missing")


class _Strips:
    """The blocks' bytes without the checksums between them, each of which is compared when it comes by."""

    def __init__(self, stream: _Stream, header: Header) -> None:
        self._stream, self._header = stream, header
        self._checksum = _checksum_of(header)
        self._strip = self._left = header.blocks_per_checksum * header.block_size
        self._first = True
        self._padding = 0

    def take(self, size: int) -> bytes:
        """The next bytes of used blocks."""
        if self._checksum is None:
            return self._stream.take(size)
        parts: list[bytes] = []
        while size:
            part = self._stream.take(min(size, self._left))
            self._checksum.update(part)
            parts.append(part)
            size -= len(part)
            self._left -= len(part)
            if not self._left:
                self._compare(self._checksum)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def end(self) -> None:
        """The last strip may have fewer blocks, and has a checksum all the same. Then the image is at its end."""
        if self._checksum is not None and self._left < self._strip:
            self._compare(self._checksum)
        if self._stream.drain() > _MOST_BEHIND:
            raise self._stream.bad("it goes on behind its last block")

    def _compare(self, checksum: _Checksum) -> None:
        found = self._stream.take(self._header.checksum_size)
        if found != checksum.digest():
            raise self._stream.bad(f"its data are damaged: a checksum before byte {self._stream.passed} does not match")
        self._left = self._strip
        if self._header.reseeded:
            checksum.reset()
        if self._header.version == 1:
            if self._first:
                self._padding = self._find_padding()
            self._stream.take(min(self._padding, len(self._stream.look(self._padding))))
        self._first = False

    def _find_padding(self) -> int:
        """How many bytes follow each checksum of version 1: before 0.1.0, computers of 64 bits wrote four more.

        The second checksum tells: it is where it should be, or four bytes behind.
        """
        size = self._header.block_size
        ahead = self._stream.look(size + 8)
        if len(ahead) < size + 8 or self._fits(ahead[: size + 4]):
            return 0
        return 4 if self._fits(ahead[4:]) else 0

    def _fits(self, strip: bytes) -> bool:
        """Whether a block and its checksum go together, after all that went before."""
        checksum = copy(self._checksum)
        if checksum is None:
            return False
        checksum.update(strip[:-4])
        return checksum.digest() == strip[-4:]


def _checksum_of(header: Header) -> _Checksum | None:
    if header.checksum == _CRC32:
        return _Crc32()
    if header.checksum == _CRC32_0001:
        return _FirstByteCrc32(header.block_size)
    if header.checksum == _XXH64:
        return Xxh64()
    return Xxh128() if header.checksum == _XXH128 else None
