"""A GUID partition table for a disk of another size: the same entries, its copies where that disk wants them.

Source: UEFI 2.10, 5.3 (GPT disk layout). Pure: takes the sectors of a table and renders those to be written.
"""

import struct
import uuid
import zlib
from dataclasses import dataclass

from imaging.errors import BadImageError

SIGNATURE = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_MIN_ENTRIES = 16 << 10
_MBR_MAX = 0xFFFFFFFF
_PROTECTIVE = 0xEE


def sector_size(head: bytes) -> int:
    """The logical sector size that a disk's table was made for, by its first 8 KiB: 4096 where a GPT header says so.

    A header without a protective MBR before it is what is left of a table that another one replaced (UEFI 2.10, 5.2.3).
    """
    if head[4096 : 4096 + len(SIGNATURE)] != SIGNATURE or head[512 : 512 + len(SIGNATURE)] == SIGNATURE:
        return 512
    return 4096 if _PROTECTIVE in head[446:510][4::16] else 512


def is_whole(head: bytes, tail: bytes, size: int) -> bool:
    """Whether a disk of `size` bytes, by its first and last 8 KiB, has all that a GPT says, or never had one.

    Where the first header is damaged, the copy in the last sector proves the end.
    """
    if head[510:512] != b"\x55\xaa" or _PROTECTIVE not in head[446:510][4::16]:
        return True
    sector = sector_size(head)
    try:
        return (parse_header(head[sector : 2 * sector]).other_at + 1) * sector <= size
    except BadImageError:
        return any(_is_header(tail[-sector:]) for sector in (512, 4096))


def _is_header(sector: bytes) -> bool:
    try:
        parse_header(sector, copy=True)
    except BadImageError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The fields of a GPT header that matter here; places are sectors."""

    entries_at: int
    entry_count: int
    entry_size: int
    entries_crc: int
    first_usable: int
    other_at: int
    """Where the other copy of the header lies."""

    @property
    def entries_bytes(self) -> int:
        """Bytes of the entry array."""
        return self.entry_count * self.entry_size


def parse_header(sector: bytes, *, copy: bool = False) -> Header:
    """Parse and check a header, or the `copy` at the end; raises BadImageError where it is none or damaged."""
    if len(sector) < _HEADER.size or sector[:8] != SIGNATURE:
        raise BadImageError("there is no GPT header where one should be", code="bad-table")
    _, _, size, crc, _, _, other, first, _, _, at, count, each, entries_crc = _HEADER.unpack_from(sector)
    if not _HEADER.size <= size <= len(sector):
        raise BadImageError(f"a GPT header of {size} bytes is not allowed", code="bad-table")
    if zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) != crc:
        raise BadImageError("the GPT header is damaged: its checksum does not match", code="bad-table")
    if each not in (128, 256, 512) or not 0 < count * each <= 1 << 20 or not 2 <= at <= (1 << 63 if copy else 1 << 20):
        raise BadImageError(f"a GPT of {count} entries of {each} bytes is not handled", code="bad-table")
    return Header(
        entries_at=at,
        entry_count=count,
        entry_size=each,
        entries_crc=entries_crc,
        first_usable=first,
        other_at=other,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One partition: type as a GUID in lower case, place in sectors, the last one included."""

    number: int
    type: str
    first: int
    last: int
    name: str
    uuid: str = ""


def parse_entries(header: Header, data: bytes) -> tuple[Entry, ...]:
    """The partitions of an entry array; raises BadImageError where its checksum does not match the header's."""
    if len(data) != header.entries_bytes or zlib.crc32(data) != header.entries_crc:
        raise BadImageError("the GPT's entries are damaged: their checksum does not match", code="bad-table")
    found = []
    for i in range(header.entry_count):
        entry = data[i * header.entry_size :][:128]
        if any(entry[:16]):
            first, last = struct.unpack_from("<QQ", entry, 32)
            name = entry[56:128].decode("utf-16-le", "replace").partition("\0")[0]
            kind = str(uuid.UUID(bytes_le=entry[:16]))
            own = str(uuid.UUID(bytes_le=entry[16:32]))
            found.append(Entry(number=i + 1, type=kind, first=first, last=last, name=name, uuid=own))
    return tuple(found)


def room_at_end(entries_bytes: int, sector: int) -> int:
    """Bytes that the table's copy takes at the end of a disk."""
    return -(-max(entries_bytes, _MIN_ENTRIES) // sector) * sector + sector


def relocate(mbr: bytes, header: bytes, entries: bytes, *, size: int, sector: int) -> list[tuple[int, bytes]]:
    """Render a table for a disk of `size` bytes from the sectors of one of another size.

    Takes the protective MBR (512 bytes), the primary header (a sector) and the whole entry array. Returns
    `(offset, bytes)` pairs: the copy at the end first, the MBR last. Raises BadImageError where the table is damaged or
    that disk has no room for both of its copies.
    """
    old = parse_header(header)
    if len(entries) != old.entries_bytes or zlib.crc32(entries) != old.entries_crc:
        raise BadImageError("the GPT's entries are damaged: their checksum does not match", code="bad-table")
    last = size // sector - 1
    reserved = room_at_end(len(entries), sector) // sector
    copy_at = last + 1 - reserved
    usable = copy_at - 1
    if old.entries_at + -(-len(entries) // sector) > copy_at:
        raise BadImageError(f"a disk of {size} bytes has no room for both copies of this GPT", code="bad-table")
    primary = _header(header, here=1, other=last, last_usable=usable, entries_at=old.entries_at)
    backup = _header(header, here=last, other=1, last_usable=usable, entries_at=copy_at)
    return [
        (copy_at * sector, entries),
        (last * sector, backup),
        (old.entries_at * sector, entries),
        (sector, primary),
        (0, protective(mbr, last)),
    ]


def _header(sector: bytes, *, here: int, other: int, last_usable: int, entries_at: int) -> bytes:
    fields = list(_HEADER.unpack_from(sector))
    size = fields[2]
    fields[3], fields[5], fields[6], fields[8], fields[10] = 0, here, other, last_usable, entries_at
    blank = _HEADER.pack(*fields) + sector[_HEADER.size : size]
    fields[3] = zlib.crc32(blank)
    return _HEADER.pack(*fields) + sector[_HEADER.size :]


def counterpart(header: bytes, *, entries_at: int) -> bytes:
    """The sector of a header's other copy, whose entries lie from sector `entries_at` on."""
    fields = _HEADER.unpack_from(header)
    return _header(header, here=fields[6], other=fields[5], last_usable=fields[8], entries_at=entries_at)


def guid_of(data: bytes) -> str:
    """A GUID of 16 bytes as sfdisk writes it."""
    return str(uuid.UUID(bytes_le=data)).upper()


def protective(mbr: bytes, last: int) -> bytes:
    """Let the 0xEE entry cover the whole disk, where there is just that one; a hybrid MBR stays as it is."""
    entries = [mbr[446 + 16 * i : 462 + 16 * i] for i in range(4)]
    kinds = [entry[4] for entry in entries]
    if sorted(kinds) != [0, 0, 0, 0xEE]:
        return mbr
    at = 446 + 16 * kinds.index(0xEE) + 12
    return mbr[:at] + min(last, _MBR_MAX).to_bytes(4, "little") + mbr[at + 4 :]
