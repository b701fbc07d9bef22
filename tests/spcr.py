"""An ACPI table that names the firmware's serial console; Microsoft's document gives the layout."""

import struct

IO = 1
MEMORY = 0
LENGTH_BEFORE_REVISION_4 = 80


def spcr(
    address: int,
    *,
    space: int = IO,
    speed_code: int = 7,
    revision: int = 2,
    precise: int = 0,
    interface: int = 0,
) -> bytes:
    """A whole table with a right checksum; `precise` is the speed that revision 4 has in full."""
    body = struct.pack("<B3xBBBBQ", interface, space, 8, 0, 1, address)
    body += struct.pack("<BBIBBBBBB", 1, 3, 0, speed_code, 0, 1, 0, 2, 0)
    body += struct.pack("<HHBBBIB", 0xFFFF, 0xFFFF, 0, 0, 0, 0, 0) + struct.pack("<I", 0)
    if revision >= 4:
        body += struct.pack("<IHH", precise, 2, 88) + b".\0"
    header = struct.pack("<4sIBB6s8sI4sI", b"SPCR", 36 + len(body), revision, 0, b"RESCUE", b"TESTSPCR", 1, b"TEST", 1)
    return sealed(header + body)


def sealed(table: bytes) -> bytes:
    """With the checksum that makes the sum of all bytes 0."""
    blank = table[:9] + b"\0" + table[10:]
    return blank[:9] + bytes([-sum(blank) % 256]) + blank[10:]
