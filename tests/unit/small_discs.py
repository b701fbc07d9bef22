"""ISO 9660 of a few KiB and FAT with a few files, written by hand from the descriptions of their formats."""

import struct
from collections.abc import Mapping

from tests.unit import small_volumes

BLOCK = 2048


def _both(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _record(identifier: bytes, block: int, size: int, *, folder: bool, extra: bytes = b"") -> bytes:
    pad = b"" if len(identifier) % 2 else b"\0"
    body = _both(block) + _both(size) + bytes(7) + bytes([2 if folder else 0, 0, 0]) + struct.pack("<H", 1) + b"\0\1"
    whole = bytes([0, 0]) + body + bytes([len(identifier)]) + identifier + pad + extra
    whole += b"\0" * (len(whole) % 2)
    return bytes([len(whole)]) + whole[1:]


def _name(name: str) -> bytes:
    """A Rock Ridge entry with a name."""
    return b"NM" + bytes([5 + len(name), 1, 0]) + name.encode()


def iso(files: Mapping[str, bytes], *, boot: bytes = b"") -> bytearray:
    """A disc with one folder `rescue` that holds these files; `boot` is El Torito's catalog."""
    blocks: list[bytes] = []
    first = 22

    def place(data: bytes) -> int:
        at = first + len(blocks)
        blocks.extend(data[i : i + BLOCK].ljust(BLOCK, b"\0") for i in range(0, max(1, len(data)), BLOCK))
        return at

    records = b""
    for i, (name, data) in enumerate(files.items()):
        identifier = f"F{i}.;1".encode()
        records += _record(identifier, place(data), len(data), folder=False, extra=_name(name))
    inner = _record(b"\0", 20, BLOCK, folder=True) + _record(b"\1", 19, BLOCK, folder=True) + records
    mark = b"SP\x07\x01\xbe\xef\x00"
    root = _record(b"\0", 19, BLOCK, folder=True, extra=mark) + _record(b"\1", 19, BLOCK, folder=True)
    root += _record(b"RESCUE", 20, len(inner), folder=True, extra=_name("rescue"))
    primary = bytearray(BLOCK)
    primary[:7] = b"\x01CD001\x01"
    primary[40:72] = b"RESCUE".ljust(32)
    primary[80:88] = _both(first + len(blocks))
    primary[128:132] = b"\x00\x08\x08\x00"
    own = _record(b"\0", 19, BLOCK, folder=True)
    primary[156 : 156 + len(own)] = own
    torito = (b"\x00CD001\x01" + b"EL TORITO SPECIFICATION".ljust(32, b"\0") + bytes(32) + struct.pack("<I", 21)).ljust(
        BLOCK, b"\0"
    )
    end = b"\xffCD001\x01".ljust(BLOCK, b"\0")
    disc = bytearray(16 * BLOCK) + primary + torito + end
    disc += root.ljust(BLOCK, b"\0") + inner.ljust(BLOCK, b"\0") + boot.ljust(BLOCK, b"\0") + b"".join(blocks)
    return disc


def catalog(bios: int, uefi: int) -> bytes:
    """El Torito's catalog with an image for each firmware, by their blocks."""
    head = bytearray(b"\x01\x00".ljust(30, b"\0") + b"\x55\xaa")
    total = sum(struct.unpack("<16H", head)) & 0xFFFF
    head[28:30] = struct.pack("<H", -total & 0xFFFF)

    def entry(block: int) -> bytes:
        return (b"\x88\0\0\0\0\0" + struct.pack("<HI", 4, block)).ljust(32, b"\0")

    return bytes(head) + entry(bios) + b"\x91\xef\x01\x00".ljust(32, b"\0") + entry(uefi)


def fat(bits: int = 12) -> bytearray:
    """A FAT with `EFI/BOOTX64.EFI` of 700 bytes, and a file with a long name."""
    end = (1 << bits) - 1 if bits < 32 else 0x0FFFFFFF
    volume = small_volumes.fat(bits, {2: end, 3: end, 4: 5, 5: end, 6: end})
    reserved, copies, root = struct.unpack_from("<HBH", volume, 14)
    length = struct.unpack_from("<H", volume, 22)[0] or struct.unpack_from("<I", volume, 36)[0]
    at = (reserved + copies * length) * 512
    data = at + 32 * root

    def entry(name: bytes, kind: int, cluster: int, size: int) -> bytes:
        return name + bytes([kind, 0x18]) + bytes(7) + struct.pack("<HHHHI", 0, 0, 0, cluster, size)

    def put(cluster: int, what: bytes) -> None:
        start = data + (cluster - 2) * 512
        volume[start : start + len(what)] = what

    top = entry(b"RESCUE-EFI ", 8, 0, 0) + entry(b"EFI        ", 16, 3, 0)
    if bits == 32:
        put(2, top)
    else:
        volume[at : at + len(top)] = top
    long = "a long name.cfg".encode("utf-16-le") + b"\0\0"
    parts = [long[i : i + 26].ljust(26, b"\xff") for i in range(0, len(long), 26)]
    inner = entry(b"BOOTX64 EFI", 0, 4, 700)
    for i in reversed(range(len(parts))):
        piece, order = parts[i], i + 1 | (0x40 if i == len(parts) - 1 else 0)
        inner += bytes([order]) + piece[:10] + b"\x0f\0\0" + piece[10:22] + b"\0\0" + piece[22:]
    inner += entry(b"ALONGN~1CFG", 0, 6, 5)
    put(3, inner)
    put(4, bytes(range(256)) * 3)
    put(6, b"hello")
    return volume
