"""The files of an image written by hand from their formats' descriptions, as somebody hostile could write them."""

import struct
from collections.abc import Sequence

from blake3 import blake3

_LONGEST = 8 << 20


def index(ends: Sequence[int], ids: bytes) -> bytes:
    """An index in casync's format: cumulative end offsets and the 32-byte ids joined."""
    head = struct.pack(
        "<8Q", 48, 0x96824D9C7B129FF9, 0xB000000000000000, 1, 1 << 20, _LONGEST, (1 << 64) - 1, 0xE75B9E112F17417D
    )
    items = b"".join(struct.pack("<Q", end) + ids[32 * i : 32 * i + 32] for i, end in enumerate(ends))
    return head + items + struct.pack("<5Q", 0, 0, 48, 16 + len(items) + 40, 0x4B4F050E5549ECD1)


def used_map(ranges: Sequence[tuple[int, int]], size: int) -> bytes:
    """A used map over any ranges, with the right digest."""
    body = struct.pack("<8sIIQQ", b"RSCUUSED", 1, 0, size, len(ranges))
    body += b"".join(struct.pack("<Q", start) for start, _ in ranges)
    body += b"".join(struct.pack("<Q", end) for _, end in ranges)
    return body + blake3(body).digest()


def digest_table(digests: bytes) -> bytes:
    """A table of 32-byte BLAKE3 digests, with the right digest of its own."""
    body = struct.pack("<8sIIQ", b"RSCUB3TB", 1, 0, len(digests) // 32) + digests
    return body + blake3(body).digest()
