"""Chunks: where a disk is cut, how a chunk is named, proved and encoded.

A chunk is named by the SHA-512/256 of its plain data, which is what casync's store needs, and proved by its
BLAKE3, which is several times as fast. On disk it is exactly one zstd frame.
"""

import hashlib
import threading
from array import array
from collections.abc import Iterable, Sequence

import zstandard
from blake3 import blake3

from imaging.errors import BadImageError

CHUNK_SIZE = 4 << 20
MAX_CHUNK_SIZE = 128 << 20
"""The largest chunk that casync reads."""

DEFAULT_LEVEL = 3
ID_SIZE = 32

Buffer = bytes | bytearray | memoryview

_local = threading.local()


def chunk_id(data: Buffer) -> bytes:
    """The chunk's name: SHA-512/256 (FIPS 180-4) of the plain data, 32 bytes."""
    return hashlib.new("sha512_256", data).digest()


def digest(data: Buffer) -> bytes:
    """The chunk's proof: BLAKE3 of the plain data, 32 bytes."""
    return blake3(data).digest()


def compress(data: Buffer, level: int = DEFAULT_LEVEL) -> bytes:
    """Encode as one zstd frame that states its content size and carries no checksum of its own."""
    compressors: dict[int, zstandard.ZstdCompressor] | None = getattr(_local, "compressors", None)
    if compressors is None:
        compressors = _local.compressors = {}
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level].compress(data)


def stated_size(frame: Buffer) -> int:
    """How many bytes a frame says that it holds; 0 where it says none, or more than a chunk can have."""
    try:
        size = zstandard.frame_content_size(frame)
    except zstandard.ZstdError:
        return 0
    return size if 0 < size <= MAX_CHUNK_SIZE else 0


def decompress(frame: Buffer, size: int, name: str) -> bytes:
    """Decode one zstd frame that must hold exactly `size` bytes; `name` is the chunk's, for the message.

    Raises BadImageError where the frame is cut short, damaged, followed by other bytes or of another size. Never
    allocates more than `size` bytes, whatever the frame claims.
    """
    decompressor = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    try:
        stated = zstandard.frame_content_size(frame)
        if stated not in (-1, size):
            raise _corrupt(name, f"it holds {stated} bytes, not {size}")
        data: bytes = decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _corrupt(name, str(error)) from error
    if len(data) != size:
        raise _corrupt(name, f"it holds {len(data)} bytes, not {size}")
    return data


def is_whole(frame: Buffer, name: bytes) -> bool:
    """Whether a frame holds the chunk of that name."""
    size = stated_size(frame)
    try:
        return bool(size) and chunk_id(decompress(frame, size, name.hex())) == name
    except BadImageError:
        return False


def _corrupt(name: str, why: str) -> BadImageError:
    return BadImageError(f"chunk {name} is corrupt: {why}", code="corrupt-chunk")


def cuts(size: int, starts: Iterable[int], chunk_size: int = CHUNK_SIZE) -> Sequence[int]:
    """Where the chunks of a disk of `size` bytes end, strictly rising, the last being `size`.

    Cuts start anew at each of `starts` (each region's first byte), so that a moved partition keeps its chunks.
    """
    ends = array("Q")
    at = 0
    for stop in [*sorted({s for s in starts if 0 < s < size}), size]:
        ends.extend(range(at + chunk_size, stop, chunk_size))
        if stop > at:
            ends.append(stop)
        at = stop
    return ends
