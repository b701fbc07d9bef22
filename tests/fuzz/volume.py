"""A volume made of a few pieces with nothing between them, so that a fuzzer's short input can stand for a large disk.

Layout, little-endian, again and again to the input's end: u64 offset, u16 length, so many bytes.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from imaging.blockdev import read

_PIECE = struct.Struct("<QH")
SIZE = 1 << 43
"""Bytes of every volume: 8 TiB, of which none are held but the pieces'."""
SMALL = 128 << 20
"""Bytes that such a volume is said to have where its size decides how much there is to read."""
_SECTOR = 512
_PAST_MEMORY = 1 << 40
"""Pieces from here on are left out: so far the index of a file in memory would cost memory of its own."""

Read = Callable[[int, int], bytes]
"""Read so many bytes from an offset; raises IoError past the end."""


def pack(pieces: Iterable[tuple[int, bytes]]) -> bytes:
    """Encode `(offset, bytes)` pieces; longer ones than 64 KiB are cut into several."""
    packed = b""
    for at, data in pieces:
        for start in range(0, len(data), 0xFFFF):
            part = data[start : start + 0xFFFF]
            packed += _PIECE.pack(at + start, len(part)) + part
    return packed


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Decode what `pack` makes; any bytes are some pieces, a short last one among them."""
    at = 0
    while at + _PIECE.size <= len(data):
        offset, length = _PIECE.unpack_from(data, at)
        at += _PIECE.size
        yield offset, data[at : at + length]
        at += length


@contextmanager
def opened(data: bytes) -> Iterator[int]:
    """An open descriptor of the volume that the input describes."""
    fd = os.memfd_create("volume")
    try:
        os.ftruncate(fd, SIZE)
        for at, part in pieces(data):
            if at < _PAST_MEMORY:
                os.pwrite(fd, part, at)
        yield fd
    finally:
        os.close(fd)


def reader(fd: int, offset: int = 0) -> Read:
    """The descriptor as the function that the file system readers take."""
    return lambda at, size: read(fd, size, offset + at)


def recorded(path: str, use: Callable[[Read], object]) -> bytes:
    """The pieces of a real volume that `use` reads: a seed."""
    found: list[tuple[int, bytes]] = []
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:

        def remember(at: int, size: int) -> bytes:
            data = read(fd, size, at)
            found.append((at, data))
            return data

        with suppress(Exception):
            use(remember)
    finally:
        os.close(fd)
    return pack(piece for at, data in found for piece in _not_zero(at, data))


def _not_zero(at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The runs of sectors that hold anything: an allocation table is mostly zeros, and short inputs change faster."""
    start = -1
    for offset in range(0, len(data) + _SECTOR, _SECTOR):
        held = any(data[offset : offset + _SECTOR])
        if held and start < 0:
            start = offset
        if not held and start >= 0:
            yield at + start, data[start:offset]
            start = -1
