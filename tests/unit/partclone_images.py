"""Partclone images written by hand, of both versions, and of all that their readers must not believe."""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BLOCK = 512


def crc(data: bytes, start: int = 0) -> bytes:
    """CRC-32 as partclone writes it; `start` is the value of `zlib.crc32` to go on from."""
    return (zlib.crc32(data, start) ^ 0xFFFFFFFF).to_bytes(4, "little")


def blocks_of(count: int, block_size: int = BLOCK) -> list[bytes]:
    """Blocks that differ, also in their first bytes."""
    return [bytes([1 + i * 7 % 255]) + i.to_bytes(7, "big") * (block_size // 7) + b"." * 9 for i in range(count)]


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Blocks, and which of them are used."""

    blocks: Sequence[bytes]
    used: Sequence[int]

    @property
    def block_size(self) -> int:
        return len(self.blocks[0])

    def restored(self) -> bytes:
        """What it is with its unused blocks zero."""
        return b"".join(block if i in self.used else bytes(len(block)) for i, block in enumerate(self.blocks))


def volume(count: int, used: Sequence[int], block_size: int = BLOCK) -> Volume:
    """A volume of so many blocks."""
    return Volume(
        blocks=[block[:block_size].ljust(block_size, b"!") for block in blocks_of(count, block_size)], used=used
    )


def version_1(source: Volume, *, padding: bytes = b"", file_system: bytes = b"EXTFS") -> bytes:
    """Version 1; `padding` is what computers of 64 bits once wrote behind each checksum."""
    count, size = len(source.blocks), source.block_size
    head = struct.pack(
        "<15s15s4s2siQQQ", b"partclone-image", file_system, b"0001", b"", size, count * size, count, len(source.used)
    )
    flags = bytes(1 if i in source.used else 0 for i in range(count))
    body, value = [], 0
    for i in source.used:
        # It never moved on from the first byte, and never began anew.
        value = zlib.crc32(source.blocks[i][:1] * size, value)
        body += [source.blocks[i], crc(b"", value), padding]
    return head + bytes(4096) + flags + b"BiTmAgIc" + b"".join(body)


def version_2(
    source: Volume,
    *,
    per_checksum: int = 3,
    reseed: bool = True,
    bits: int = 1,
    checksum: int = 0x20,
    digest: Callable[[bytes], bytes] = crc,
    size: int | None = None,
) -> bytes:
    """Version 2; `checksum` is the kind of the strips' checksums, which `digest` makes."""
    length = len(digest(b"")) if checksum else 0
    body: list[bytes] = []
    strip = b""
    for n, i in enumerate(source.used, 1):
        body.append(source.blocks[i])
        if checksum:
            strip += source.blocks[i]
            if n % per_checksum == 0 or n == len(source.used):
                body.append(digest(strip))
                strip = b"" if reseed else strip
    head = header_2(source, per_checksum if checksum else 0, reseed, bits, checksum, length, size)
    return head + bitmap(source, bits) + b"".join(body)


def header_2(
    source: Volume, per_checksum: int, reseed: bool, bits: int, checksum: int, length: int, size: int | None = None
) -> bytes:
    """The header of version 2, with its own checksum."""
    head = struct.pack(
        "<16s14s4sH16sQQQQIIHHHHIBB",
        b"partclone-image",
        b"0.3.23",
        b"0002",
        0xC0DE,
        b"EXTFS",
        len(source.blocks) * source.block_size if size is None else size,
        len(source.blocks),
        len(source.used),
        len(source.used),
        source.block_size,
        18,
        2,
        64,
        checksum,
        length,
        per_checksum,
        reseed,
        bits,
    )
    return head + crc(head)


def bitmap(source: Volume, bits: int) -> bytes:
    """The map of used blocks: of bits, of bytes, or none."""
    if bits == 8:
        return bytes(i in source.used for i in range(len(source.blocks))) + b"BiTmAgIc"
    if bits == 0:
        return b""
    number = sum(1 << i for i in set(source.used))
    data = number.to_bytes(-(-len(source.blocks) // 8), "little")
    return data + crc(data)
