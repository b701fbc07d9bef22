"""The two checksums of ext4: CRC-32C and CRC-16, without the inversion that usually ends them.

Sources: Linux lib/crc16.c, and fs/ext4/ext4.h (ext4_chksum), which starts from 0xFFFFFFFF and never inverts.
"""

from functools import lru_cache

_CASTAGNOLI = 0x82F63B78
"""The polynomial, lowest power in the highest bit, as all registers here."""
_ANSI = 0xA001
_SHORT = 128
"""Bytes that are not worth folding."""


@lru_cache
def _table(polynomial: int) -> tuple[int, ...]:
    """Made when first needed: at import it was a tenth of what this project's own modules cost the menu's start."""
    made = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        made.append(value)
    return tuple(made)


def crc16(data: bytes, start: int) -> int:
    """CRC-16 of `data`, going on from the register `start`."""
    table = _table(_ANSI)
    for byte in data:
        start = start >> 8 ^ table[(start ^ byte) & 0xFF]
    return start


def crc32c(data: bytes, start: int) -> int:
    """CRC-32C of `data`, going on from the register `start`.

    Python has no fast one. A long message is halved by its own arithmetic until it is short: it is a polynomial, its
    first half times x^s is congruent to the same half times the remainder of x^s, and that is a few shifts of a
    big integer. A bitmap of 4 KiB takes a tenth of the time that going byte by byte takes.
    """
    if len(data) > _SHORT:
        message, bits = int.from_bytes(data, "little") ^ start, 8 * len(data)
        while bits > 8 * _SHORT:
            half = (bits - 31) // 2
            head, message, bits = message & ((1 << half) - 1), message >> half, bits - half
            for shift in _shifts(bits, half):
                message ^= head << shift
        lead = -bits % 8
        data, start = (message << lead).to_bytes((bits + lead) // 8, "little"), 0
    table = _table(_CASTAGNOLI)
    for byte in data:
        start = start >> 8 ^ table[(start ^ byte) & 0xFF]
    return start


@lru_cache(256)
def _shifts(power: int, half: int) -> tuple[int, ...]:
    """Where the first `half` bits are added again so that they stand for themselves times x^`power`."""
    remainder = 1 << 31
    for _ in range(power):
        remainder = remainder >> 1 ^ (_CASTAGNOLI if remainder & 1 else 0)
    return tuple(power - (31 - i) - half for i in range(32) if remainder >> i & 1)
