"""A partition table for a disk with sectors of another size: the same partitions, at the same bytes. Pure.

A table counts in the sectors of its disk. GPT keeps its GUIDs, names, types, attributes and order, and its copies go
where such a disk has them; of an MBR everything stays but the numbers. Sources: UEFI 2.10, 5.2 (MBR), 5.3 (GPT).
"""

import struct
import zlib

from imaging import gpt, tableedit
from imaging.errors import RefusedError

Pieces = list[tuple[int, bytes]]
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_SIZE, _CRC, _FIRST, _AT, _ENTRIES_CRC = 2, 3, 7, 10, 13
"""Fields of a GPT's header: its size, its checksum, the first sector for partitions, where its entries are, theirs."""
_PLACE = slice(32, 48)
"""Of an entry: its first and its last sector."""
_SLOTS, _SLOT, _FIRST_SLOT = 4, 16, 446
_SIGNATURE = b"\x55\xaa"
_MBR = 512
_MBR_MOST = 0xFFFFFFFF
_NO_CHS = b"\xfe\xff\xff"
"""Cylinder, head and sector of a place that they cannot name."""
_EXTENDED = (0x05, 0x0F, 0x85)


def refused(why: str) -> RefusedError:
    """A disk whose sectors have another size, on which the image cannot be."""
    return RefusedError(
        f"the target's sectors have another size than those of the image: {why}",
        code="other-sectors",
        hint="choose a disk with sectors of the size that the image has",
    )


def why_misplaced(number: int, start: int, size: int, sector: int) -> str:
    """Why a partition at a place in bytes cannot be named in such sectors, in words; empty where it can."""
    if start % sector or size % sector:
        return f"partition {number} does not begin and end at multiples of {sector} bytes"
    return ""


def resectored_gpt(mbr: bytes, header: bytes, entries: bytes, *, old: int, new: int, size: int) -> Pieces:
    """Render a GPT for a disk of `size` bytes in sectors of `new`, from that of one in sectors of `old`.

    Takes as gpt.relocate does, and returns the same. Raises RefusedError (code "other-sectors") where a partition
    cannot be named so, or the table has no room there; BadImageError where it is damaged.
    """
    found = gpt.parse_header(header)
    places = gpt.parse_entries(found, entries)
    fields = list(_HEADER.unpack_from(header))
    if fields[_SIZE] > new:
        raise refused(f"the header of its GPT has {fields[_SIZE]} bytes, and a sector has {new}")
    if tableedit.is_hybrid(mbr):
        raise refused("its GPT has a master boot record with partitions of its own")
    at = 2
    room = at * new + -(-len(entries) // new) * new
    usable = size // new * new - gpt.room_at_end(len(entries), new)
    changed = bytearray(entries)
    for one in places:
        start, end = one.first * old, (one.last + 1) * old
        if why := why_misplaced(one.number, start, end - start, new):
            raise refused(why)
        if start < room:
            raise refused(f"partition {one.number} lies where the partition table has to be")
        if not start < end <= usable:
            raise refused(f"partition {one.number} ends where the copy of the partition table has to be")
        where = (one.number - 1) * found.entry_size
        changed[where + _PLACE.start : where + _PLACE.stop] = struct.pack("<QQ", start // new, end // new - 1)
    fields[_FIRST] = min(
        [max(-(-found.first_usable * old // new), room // new), *(one.first * old // new for one in places)]
    )
    fields[_AT], fields[_CRC], fields[_ENTRIES_CRC] = at, 0, zlib.crc32(changed)
    whole = header[_HEADER.size : fields[_SIZE]]
    fields[_CRC] = zlib.crc32(_HEADER.pack(*fields) + whole)
    anew = (_HEADER.pack(*fields) + whole).ljust(new, b"\0")
    return gpt.relocate(mbr, anew, bytes(changed), size=size, sector=new)


def resectored_mbr(head: bytes, *, old: int, new: int, size: int) -> Pieces:
    """The same for a master boot record, by the bytes before the first partition, two sectors of either size at most.

    All of them stay: a boot loader may lie there. But what is left of a GPT of another time goes. Raises RefusedError.
    """
    mbr = head[:_MBR]
    if mbr[510:] != _SIGNATURE:
        raise refused("there is no master boot record where one should be")
    changed = bytearray(head.ljust(2 * new, b"\0"))
    for at in (_MBR, 4096):
        if changed[at : at + len(gpt.SIGNATURE)] == gpt.SIGNATURE:
            changed[at : at + _MBR] = bytes(_MBR)
    for number in range(1, _SLOTS + 1):
        at = _FIRST_SLOT + _SLOT * (number - 1)
        kind, (first, count) = mbr[at + 4], struct.unpack_from("<II", mbr, at + 8)
        if not kind or not count:
            continue
        start, length = first * old, count * old
        if kind in _EXTENDED:
            raise refused(f"partition {number} is an extended one, whose records count in sectors as well")
        if why := why_misplaced(number, start, length, new):
            raise refused(why)
        if start < 2 * new:
            raise refused(f"partition {number} lies where the partition table has to be")
        if start + length > size:
            raise refused(f"partition {number} ends at byte {start + length}, and the disk has {size}")
        if (start + length) // new > _MBR_MOST:
            raise refused(f"partition {number} ends beyond what such a table can say in sectors of {new} bytes")
        changed[at + 1 : at + 4] = changed[at + 5 : at + 8] = _NO_CHS
        changed[at + 8 : at + 16] = struct.pack("<II", start // new, length // new)
    return [(new, bytes(changed[new:])), (0, bytes(changed[:new]))]
