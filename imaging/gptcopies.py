"""Whether a GUID partition table can be put back from its own other copy, and what has to be written for that. Pure.

A table is put back where one copy is whole and the other is known to be destroyed, not merely different: an older copy
over a newer one would lose partitions. Only the destroyed copy is written, its entries before its header, so that the
good one stands at any moment. Source: UEFI 2.10, 5.2.3 (protective MBR) and 5.3 (GPT disk layout).
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from imaging import gpt
from imaging.disk import Partition, PartitionTable, TableKind
from imaging.errors import BadImageError
from imaging.gpt import Header

Read = Callable[[int, int], bytes]
"""`read(offset, size)` of the disk; raises IoError."""

_MBR = 512
_ENTRIES, _SIGNATURE = slice(446, 510), b"\x55\xaa"
_PROTECTIVE = 0xEE
_MBR_MOST = 0xFFFFFFFF
_HEADER = struct.Struct("<8sIIIIQQQQ16s")
_REVISION = 0x00010000
_PRIMARY_ENTRIES = 2


class Kept(StrEnum):
    """Which copy is whole."""

    START = "start"
    END = "end"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look at a disk's GPT came to.

    With `writes`, `(offset, bytes)` in their order, it is whole again; `why_not` says why it cannot be put back. With
    neither it is whole, or there is none. `table` is what the good copy says.
    """

    kept: Kept = Kept.BOTH
    writes: tuple[tuple[int, bytes], ...] = ()
    why_not: str = ""
    table: PartitionTable | None = None


class _State(StrEnum):
    WHOLE = "whole"
    ZEROS = "zeros"
    """Where its header should be there is nothing at all."""
    DAMAGED = "damaged"
    """There is no header, or one whose checksum does not match."""
    LISTLESS = "listless"
    """Its header is right, and its entries are not those that this one has a checksum of."""
    ODD = "odd"
    """Its header is right, and does not belong here, or what it says makes no sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    state: _State
    why: str = ""
    sector: bytes = b""
    header: Header | None = None
    entries: bytes = b""
    first_usable: int = 0
    last_usable: int = 0
    guid: bytes = b""


class _Place(StrEnum):
    """What stands in the first sector."""

    ZEROS = "zeros"
    PROTECTIVE = "protective"
    OTHER = "other"


def look(read: Read, size: int, sector: int, *, bare: str = "") -> Found:
    """Look at both copies on a disk of `size` bytes and `sector` bytes a sector.

    `bare` is the kind of what was found to stand on the disk as a whole, such as a file system; empty for nothing.
    Raises IoError where it cannot be read.
    """
    last = size // sector - 1
    if last < 2 * _PRIMARY_ENTRIES:
        return Found()
    first, copy = _copy(read, 1, last, last, sector), _copy(read, last, 1, last, sector)
    place = _place(read(0, _MBR))
    states = {first.state, copy.state}
    if states == {_State.WHOLE}:
        return _of_two(first, copy, place, last, sector, bare)
    if _State.WHOLE not in states:
        return Found(why_not=_why_neither(first, copy, place) if not bare else "")
    good, bad, kept = (first, copy, Kept.START) if first.state is _State.WHOLE else (copy, first, Kept.END)
    why = _why_not_here(place, bare) or _why_not(read, good, bad, kept, last, sector)
    if why:
        return Found(kept=kept, why_not=why)
    writes = _written_anew(good, bad, kept, last, sector)
    return Found(kept=kept, writes=(*writes, *_protective(place, last)), table=_table(good, sector))


def _why_neither(first: _Copy, copy: _Copy, place: _Place) -> str:
    """That nothing can be put back, in words, where there was a GPT; empty where there is no sign of one."""
    signs = [one for one in (first, copy) if one.sector[:8] == gpt.SIGNATURE]
    if place is _Place.OTHER or not (signs or place is _Place.PROTECTIVE):
        return ""
    odd = next((one.why for one in signs if one.why), "")
    return f"neither copy of its partition table is whole{f': {odd}' if odd else ''}"


def _place(mbr: bytes) -> _Place:
    if not any(mbr):
        return _Place.ZEROS
    rows = [mbr[_ENTRIES][at : at + 16] for at in range(0, 64, 16)]
    used = [row for row in rows if any(row)]
    is_protective = len(used) == 1 and used[0][4] == _PROTECTIVE and used[0][8:12] == b"\1\0\0\0"
    return _Place.PROTECTIVE if mbr[510:] == _SIGNATURE and is_protective else _Place.OTHER


def _copy(read: Read, here: int, other: int, last: int, sector: int) -> _Copy:
    block = read(here * sector, sector)
    if not any(block):
        return _Copy(state=_State.ZEROS, sector=block)
    if not _has_checksum(block):
        return _Copy(state=_State.DAMAGED, sector=block)
    try:
        header = gpt.parse_header(block, copy=here != 1)
    except BadImageError as error:
        return _Copy(state=_State.ODD, why=error.message, sector=block)
    fields = _HEADER.unpack_from(block)
    own, alternate, first, end, guid = fields[5], fields[6], fields[7], fields[8], fields[9]
    length = -(-header.entries_bytes // sector)
    low, high = (_PRIMARY_ENTRIES, first) if here == 1 else (end + 1, last)
    why = ""
    if (own, alternate) != (here, other):
        why = "the table was made for a disk of another size"
    elif fields[1] != _REVISION:
        why = "its header is of a version that is not known"
    elif not (_PRIMARY_ENTRIES < first <= end < last and low <= header.entries_at <= high - length):
        why = "its header names places that cannot be"
    if why:
        return _Copy(state=_State.ODD, why=why, sector=block)
    entries = read(header.entries_at * sector, header.entries_bytes)
    found = _Copy(
        state=_State.WHOLE,
        sector=block,
        header=header,
        entries=entries,
        first_usable=first,
        last_usable=end,
        guid=guid,
    )
    if zlib.crc32(entries) != header.entries_crc:
        return replace(found, state=_State.LISTLESS)
    why = _why_not_sound(found)
    return replace(found, state=_State.ODD, why=why) if why else found


def _has_checksum(block: bytes) -> bool:
    """Whether it is a header whose checksum is right, whatever it says."""
    length = int.from_bytes(block[12:16], "little")
    if block[:8] != gpt.SIGNATURE or not 92 <= length <= len(block):
        return False
    return zlib.crc32(block[:16] + bytes(4) + block[20:length]) == int.from_bytes(block[16:20], "little")


def _why_not_sound(found: _Copy) -> str:
    """Why what the entries say cannot be, in words: a checksum is right of nonsense, too."""
    if found.header is None:
        return ""
    parts = sorted(gpt.parse_entries(found.header, found.entries), key=lambda entry: entry.first)
    for entry in parts:
        if not found.first_usable <= entry.first <= entry.last <= found.last_usable:
            return f"its partition {entry.number} lies beyond the place of partitions"
    for one, other in pairwise(parts):
        if one.last >= other.first:
            return f"its partitions {one.number} and {other.number} overlap"
    return ""


def _of_two(first: _Copy, copy: _Copy, place: _Place, last: int, sector: int, bare: str) -> Found:
    """Both are whole: they have to say the same; then only what stands before them may be missing."""
    if _said(first) != _said(copy):
        return Found(why_not="its partition table has two whole copies that differ: which is right is not known")
    if place is not _Place.ZEROS:
        return Found()
    if bare:
        return Found(why_not=_on_the_whole(bare))
    return Found(writes=_protective(place, last), table=_table(first, sector))


def _said(copy: _Copy) -> tuple[object, ...]:
    each = copy.header.entry_size if copy.header else 0
    return copy.entries, each, copy.first_usable, copy.last_usable, copy.guid


def _why_not_here(place: _Place, bare: str) -> str:
    if bare:
        return _on_the_whole(bare)
    if place is _Place.OTHER:
        return "its first sector holds something else than a GPT has there, and only one of its copies is whole"
    return ""


def _on_the_whole(kind: str) -> str:
    return f"{kind} stands on the disk as a whole"


def _why_not(read: Read, good: _Copy, bad: _Copy, kept: Kept, last: int, sector: int) -> str:
    """Why the bad copy cannot be written anew, in words; empty where nothing can be lost by that."""
    header = good.header
    if header is None or bad.state is _State.ODD:
        return f"the other copy of its partition table is no damaged one: {bad.why}"
    if bad.state is _State.LISTLESS and bad.header is not None:
        same = _shape(bad) == _shape(good) and bad.header.entries_crc == header.entries_crc
        return "" if same else "the headers of both copies are whole, and they differ: which is right is not known"
    at, length = _entries_at(header, kept, last, sector), -(-len(good.entries) // sector)
    low, high = (_PRIMARY_ENTRIES, good.first_usable) if kept is Kept.END else (good.last_usable + 1, last)
    if not low <= at <= high - length:
        return "there is no room for the entries of the other copy"
    wanted = _padded(good.entries, sector)
    there = read(at * sector, len(wanted))
    if there == wanted:
        return ""
    if bad.state is _State.DAMAGED:
        return "beside the damaged header are other entries than those of the good copy: they may be newer ones"
    for begin in range(0, len(wanted), sector):
        piece = there[begin : begin + sector]
        if any(piece) and piece != wanted[begin : begin + sector]:
            return "where the entries of the destroyed copy were is something else: they may be newer ones"
    return ""


def _shape(copy: _Copy) -> tuple[object, ...]:
    header = copy.header
    counted = (header.entry_count, header.entry_size) if header else ()
    return counted, copy.first_usable, copy.last_usable, copy.guid


def _entries_at(header: Header, kept: Kept, last: int, sector: int) -> int:
    """The sector at which the entries of the bad copy belong."""
    if kept is Kept.END:
        return _PRIMARY_ENTRIES
    return last + 1 - gpt.room_at_end(header.entries_bytes, sector) // sector


def _padded(entries: bytes, sector: int) -> bytes:
    return entries + bytes(-len(entries) % sector)


def _written_anew(good: _Copy, bad: _Copy, kept: Kept, last: int, sector: int) -> Sequence[tuple[int, bytes]]:
    header = good.header
    if header is None:
        return ()
    if bad.state is _State.LISTLESS and bad.header is not None:
        return [(bad.header.entries_at * sector, good.entries)]
    at, here = _entries_at(header, kept, last, sector), 1 if kept is Kept.END else last
    writes = [(here * sector, gpt.counterpart(good.sector, entries_at=at))]
    # Beside a damaged header are the very same entries, and they stay.
    return writes if bad.state is _State.DAMAGED else [(at * sector, _padded(good.entries, sector)), *writes]


def _protective(place: _Place, last: int) -> tuple[tuple[int, bytes], ...]:
    """The sector that keeps programs which know no GPT off the disk, where there is nothing at all."""
    if place is not _Place.ZEROS:
        return ()
    row = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", _PROTECTIVE, b"\xff\xff\xff", 1, min(last, _MBR_MOST))
    return ((0, bytes(446) + row + bytes(48) + _SIGNATURE),)


def _table(good: _Copy, sector: int) -> PartitionTable | None:
    """What the good copy says, as sfdisk would tell it."""
    if good.header is None:
        return None
    parts = tuple(
        Partition(
            number=entry.number,
            start=entry.first * sector,
            size=(entry.last - entry.first + 1) * sector,
            type=entry.type,
            name=entry.name,
            uuid=entry.uuid.upper(),
        )
        for entry in gpt.parse_entries(good.header, good.entries)
    )
    return PartitionTable(kind=TableKind.GPT, table_id=gpt.guid_of(good.guid), partitions=parts)
