"""Volumes of a few KiB, written by hand from the descriptions of their formats, for the readers of used maps."""

import struct
from collections.abc import Sequence

from imaging import crc, exfatmap

SECTOR = 512


def fat(bits: int, entries: dict[int, int], *, copies: int = 2) -> bytearray:
    """FAT of 512-byte clusters, 20 at 12 bits, 5000 at 16, 70000 at 32, with these entries in each table."""
    clusters = {12: 20, 16: 5000, 32: 70_000}[bits]
    length = -(-(clusters + 2) * bits // 8 // SECTOR) + 1
    reserved, root = (32, 0) if bits == 32 else (1, 16)
    data = reserved + copies * length + root // 16
    volume = bytearray((data + clusters) * SECTOR)
    short = 0 if bits == 32 else length
    struct.pack_into("<HBHBHHBH", volume, 11, SECTOR, 1, reserved, copies, root, 0, 0xF8, short)
    struct.pack_into("<I", volume, 32, data + clusters)
    if bits == 32:
        struct.pack_into("<IHHI", volume, 36, length, 0, 0, 2)
    everything = (1 << bits if bits < 32 else 1 << 28) - 1
    whole = 0
    for number, value in {0: everything - 7, 1: everything, **entries}.items():
        whole |= value << bits * number
    table = whole.to_bytes(length * SECTOR, "little")
    for i in range(copies):
        at = (reserved + i * length) * SECTOR
        volume[at : at + len(table)] = table
    return volume[: (data + clusters) * SECTOR]


EXFAT_HEAP = 64
"""The sector where the clusters begin."""


def exfat(bitmap: bytes, *, clusters: int = 40, chain: Sequence[int] = (2,), entries: bytes = b"") -> bytearray:
    """exFAT of 512-byte clusters: its bitmap lies in those of `chain`, its root folder in the one behind them."""
    root = max(chain) + 1
    volume = bytearray((EXFAT_HEAP + clusters + 3) * SECTOR)
    volume[3:11] = b"EXFAT   "
    struct.pack_into("<QIIIII", volume, 0x48, EXFAT_HEAP + clusters + 2, 24, 40, EXFAT_HEAP, clusters, root)
    volume[0x6C:0x6F] = bytes([9, 0, 1])
    fat_at, heap = 24 * SECTOR, EXFAT_HEAP * SECTOR
    for at, then in zip((*chain, root), (*chain[1:], 0xFFFFFFFF, 0xFFFFFFFF), strict=True):
        struct.pack_into("<I", volume, fat_at + 4 * at, then)
    for i, cluster in enumerate(chain):
        at = heap + (cluster - 2) * SECTOR
        volume[at : at + SECTOR] = bitmap[i * SECTOR : (i + 1) * SECTOR].ljust(SECTOR, b"\0")
    own = bytearray(32)
    struct.pack_into("<B19xIQ", own, 0, 0x81, chain[0], -(-clusters // 8))
    at = heap + (root - 2) * SECTOR
    found = bytes([0x83]) + bytes(31) + bytes(own) + entries
    volume[at : at + len(found)] = found
    return seal_exfat(volume)


def seal_exfat(volume: bytearray) -> bytearray:
    """Put the boot region's checksum right."""
    struct.pack_into("<I", volume, 11 * SECTOR, exfatmap._boot_checksum(bytes(volume[: 11 * SECTOR])))
    return volume


def attribute(
    kind: int, *, value: bytes = b"", runs: bytes = b"", first: int = 0, last: int = 0, size: int = 0
) -> bytes:
    """An NTFS attribute without a name: with its value, or with mapping pairs."""
    if not runs:
        body = struct.pack("<IH", len(value), 0x18) + bytes(2) + value
        head = struct.pack("<IIBBHHH", kind, 16 + len(body) + -len(body) % 8, 0, 0, 0, 0, 0)
    else:
        body = struct.pack("<QQHHIQQQ", first, last, 0x40, 0, 0, size, size, size) + runs + b"\0"
        head = struct.pack("<IIBBHHH", kind, 16 + len(body) + -len(body) % 8, 1, 0, 0, 0, 0)
    return (head + body).ljust(16 + len(body) + -len(body) % 8, b"\0")


def record(*attributes: bytes, base: int = 0) -> bytes:
    """A file record of 1024 bytes, guarded against torn writes."""
    made = bytearray(1024)
    body = b"".join(attributes) + struct.pack("<II", 0xFFFFFFFF, 0)
    struct.pack_into("<4sHH", made, 0, b"FILE", 0x30, 3)
    struct.pack_into("<HHIIQ", made, 0x14, 0x38, 1, 0x38 + len(body), 1024, base)
    made[0x38 : 0x38 + len(body)] = body
    made[0x30:0x36] = b"\x07\0" + made[510:512] + made[1022:1024]
    made[510:512] = made[1022:1024] = b"\x07\0"
    return bytes(made)


NTFS_CLUSTERS = 8192
MFT, MFT_REST, BITMAP, BITMAP_REST = 16, 400, 64, 200
"""Clusters: the table's two pieces, of 12 and 4 records, and those of $Bitmap, a cluster each."""


def ntfs(bits: Sequence[int] = (), *, records: dict[int, bytes] | None = None, dirty: int = 0) -> bytearray:
    """NTFS of 512-byte clusters: its table and its $Bitmap lie in two pieces each, which attribute lists name."""
    volume = bytearray((NTFS_CLUSTERS + 1) * SECTOR)
    volume[3:11] = b"NTFS    "
    struct.pack_into("<HB", volume, 0x0B, SECTOR, 1)
    struct.pack_into("<QQ", volume, 0x28, NTFS_CLUSTERS, MFT)
    struct.pack_into("<b", volume, 0x40, -10)
    info = bytes(8) + struct.pack("<BBH", 3, 1, dirty)
    made = {
        0: record(_list((0, 0), (24, 10)), attribute(0x80, runs=_run(24, MFT), first=0, last=23, size=16 * 1024)),
        2: record(attribute(0x80, runs=_run(16, 1000), last=15, size=16 * SECTOR)),
        3: record(attribute(0x70, value=info)),
        6: record(_list((0, 12), (1, 13))),
        10: record(attribute(0x80, runs=_run(8, MFT_REST), first=24, last=31)),
        12: record(attribute(0x80, runs=_run(1, BITMAP), first=0, last=0, size=1024), base=6),
        13: record(attribute(0x80, runs=_run(1, BITMAP_REST), first=1, last=1), base=6),
        **(records or {}),
    }
    for number, data in made.items():
        at = (MFT + 2 * number if number < 12 else MFT_REST + 2 * (number - 12)) * SECTOR
        volume[at : at + 1024] = data
    bitmap = bytearray(NTFS_CLUSTERS // 8)
    own = (0, *range(MFT, MFT + 24), *range(MFT_REST, MFT_REST + 8), BITMAP, BITMAP_REST)
    for bit in (*own, *bits):
        bitmap[bit // 8] |= 1 << bit % 8
    volume[BITMAP * SECTOR : (BITMAP + 1) * SECTOR] = bitmap[:SECTOR]
    volume[BITMAP_REST * SECTOR : (BITMAP_REST + 1) * SECTOR] = bitmap[SECTOR:]
    volume[1000 * SECTOR : 1016 * SECTOR] = b"\xff" * 16 * SECTOR  # a log that was closed
    return volume


def _run(count: int, cluster: int) -> bytes:
    return b"\x21" + bytes([count]) + struct.pack("<h", cluster)


def _list(*parts: tuple[int, int]) -> bytes:
    """An attribute list that names the main data's parts: first cluster, and record."""
    entries = [struct.pack("<IHBBQQH6x", 0x80, 32, 0, 0x1A, first, holder, 0) for first, holder in parts]
    return attribute(0x20, value=b"".join(entries))


EXT_BLOCKS = 3000
EXT_GROUP = 1024


def ext(used: Sequence[int] = (), *, checksums: bool = True) -> bytearray:
    """ext4 of 1 KiB blocks in three groups, the second with a bitmap never written; `used` are blocks of the others."""
    volume = bytearray(EXT_BLOCKS * 1024)
    groups = 3
    bitmaps, inodes, tables = (8, 9, 10), (11, 12, 13), (14, 16, 18)
    taken = {*range(1, 4), *bitmaps, *inodes, *range(14, 20), 1025, 1026, *used}
    ro_compat = 0x401 if checksums else 0x1
    raw = bytearray(1024)
    free = 0
    seed = crc.crc32c(bytes(range(16)), 0xFFFFFFFF)
    for number in range(groups):
        start = 1 + number * EXT_GROUP
        count = min(EXT_GROUP, EXT_BLOCKS - start)
        bitmap = bytearray(b"\xff" * 1024)
        for bit in range(count):
            if start + bit not in taken:
                bitmap[bit // 8] &= ~(1 << bit % 8)
        left = sum(start + bit not in taken for bit in range(count))
        free += left
        unused = checksums and number == 1
        if not unused:
            volume[bitmaps[number] * 1024 : (bitmaps[number] + 1) * 1024] = bitmap
        check = crc.crc32c(bytes(bitmap[: EXT_GROUP // 8]), seed) & 0xFFFF if checksums else 0
        flags = 2 if unused else 0
        row = struct.pack(
            "<IIIHHHHIHHH", bitmaps[number], inodes[number], tables[number], left, 0, 0, flags, 0, check, 0, 0
        )
        own = crc.crc32c(struct.pack("<I", number) + row + b"\0\0", seed) & 0xFFFF if checksums else 0
        volume[2048 + 32 * number : 2048 + 32 * (number + 1)] = row + struct.pack("<H", own)
    struct.pack_into("<7I", raw, 0, 48, EXT_BLOCKS, 0, free, 0, 1, 0)
    struct.pack_into("<4I", raw, 0x1C, 0, EXT_GROUP, EXT_GROUP, 16)
    struct.pack_into("<HH", raw, 0x38, 0xEF53, 1)
    struct.pack_into("<I", raw, 0x4C, 1)
    struct.pack_into("<H", raw, 0x58, 128)
    struct.pack_into("<3I", raw, 0x5C, 0, 0x2, ro_compat)
    raw[0x68:0x78] = bytes(range(16))
    raw[0x175] = 1
    volume[1024:2048] = seal_ext(raw)
    return volume


def seal_ext(raw: bytearray) -> bytearray:
    """Put a super block's checksum right."""
    struct.pack_into("<I", raw, 0x3FC, crc.crc32c(bytes(raw[:0x3FC]), 0xFFFFFFFF))
    return raw
