"""One partition more, less or larger in a partition table: what to write, with all other entries as they were.

Pure: takes what a disk holds and renders `(offset, bytes)` pairs, to be written in their order. A GPT's copy at the
disk's end comes first and the sectors at its start last, in one piece: whenever that is cut off, one copy is whole.

Sources: UEFI 2.10, 5.2 (MBR) and 5.3 (GPT).
"""

import struct
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imaging import gpt
from imaging.errors import BadImageError, RefusedError

Read = Callable[[int, int], bytes]
"""`read(offset, size)` of the disk."""
Writes = Sequence[tuple[int, bytes]]

LINUX_DATA = "0fc63daf-8483-4772-8e79-3d69d8477de4"
"""The type of a GPT's partition that holds a Linux file system. Source: Discoverable Partitions Specification."""
LINUX_MBR = 0x83
REQUIRED = 1
"""Attribute "required partition": programs are not to delete it. Source: UEFI 2.10, table 5.8."""
NO_DRIVE_LETTER = 1 << 63
"""Windows gives it no letter, and systemd mounts it nowhere by itself."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ")
_SLOTS = 4
_MBR_ID = 0x1B8
_MBR_MOST = 0xFFFFFFFF
_NO_CHS = b"\xfe\xff\xff"
"""Cylinder, head and sector of a place that they cannot name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """A partition to be added: number as the kernel counts, place in bytes; the rest is GPT's alone."""

    number: int
    start: int
    size: int
    name: str = ""
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a partition lay, and where it is to lie, in bytes."""

    old_start: int
    old_size: int
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gpt:
    """The good copy of a table; places are sectors. `spare` is where the other copy of its entries lies."""

    header: bytes
    entries: bytes
    entries_at: int
    spare: int
    each: int
    first_usable: int
    last_usable: int
    moved: bool
    """Whether the copy has to be brought to the disk's end: the disk has grown."""


def added(read: Read, new: NewEntry, *, kind: str, size: int, sector: int) -> Writes:
    """What to write to add a partition to the table (`kind`: "gpt" or "dos") of a disk of `size` bytes.

    Raises RefusedError where its number is taken or its place is not free for partitions, BadImageError where the
    table is damaged.
    """
    if new.start % sector or new.size % sector or new.size <= 0:
        raise RefusedError(f"{new.size} bytes at byte {new.start} are not whole sectors of {sector}", code="bad-place")
    if kind != "gpt":
        return _added_mbr(read(0, 512), new, size=size, sector=sector)
    table = _read(read, size, sector)
    first, last = new.start // sector, (new.start + new.size) // sector - 1
    if not table.first_usable <= first <= last <= table.last_usable:
        raise RefusedError(f"the table has no room for partitions at byte {new.start}", code="bad-place")
    kept = _entry(table, new.number)
    if any(kept[:16]):
        raise RefusedError(f"there is a partition {new.number} already", code="disk-changed")
    _refuse_overlap(table, first, last)
    raw = _ENTRY.pack(
        uuid.UUID(LINUX_DATA).bytes_le, uuid.UUID(new.uuid).bytes_le, first, last, REQUIRED | NO_DRIVE_LETTER
    )
    return _rendered(read, table, new.number, raw + new.name.encode("utf-16-le")[:72].ljust(72, b"\0"), size, sector)


def removed(read: Read, number: int, *, kind: str, size: int, sector: int) -> Writes:
    """What to write to take a partition out of the table; raises as `added` does."""
    if kind != "gpt":
        mbr = bytearray(read(0, 512))
        at = _slot(number)
        mbr[at : at + 16] = bytes(16)
        return [(0, bytes(mbr))]
    table = _read(read, size, sector)
    _entry(table, number)
    return _rendered(read, table, number, bytes(128), size, sector)


def changed_gpt(header: bytes, entries: bytes, number: int, place: Place, sector: int) -> tuple[bytes, bytes]:
    """The primary header (a sector) and the entries of a GPT in which partition `number` has another place.

    Raises RefusedError where the partition is not where it should be, BadImageError where the table is damaged.
    """
    found = gpt.parse_header(header)
    first, last = place.old_start // sector, (place.old_start + place.old_size) // sector - 1
    if (number, first, last) not in [(p.number, p.first, p.last) for p in gpt.parse_entries(found, entries)]:
        raise _elsewhere(number)
    at = (number - 1) * found.entry_size
    raw = struct.pack("<QQ", place.start // sector, (place.start + place.size) // sector - 1)
    changed = entries[: at + 32] + raw + entries[at + 48 :]
    fields = list(_HEADER.unpack_from(header))
    size = fields[2]
    fields[3], fields[13] = 0, zlib.crc32(changed)
    fields[3] = zlib.crc32(_HEADER.pack(*fields) + header[_HEADER.size : size])
    return _HEADER.pack(*fields) + header[_HEADER.size :], changed


def changed_mbr(mbr: bytes, number: int, place: Place, sector: int) -> bytes:
    """A master boot record in which primary partition `number` has another place. Raises RefusedError as above."""
    at = _slot(number)
    if mbr[510:512] != b"\x55\xaa" or struct.unpack_from("<II", mbr, at + 8) != (
        place.old_start // sector,
        place.old_size // sector,
    ):
        raise _elsewhere(number)
    first, count = place.start // sector, place.size // sector
    if first + count > _MBR_MOST:
        raise RefusedError(f"the table has no room for partitions at byte {place.start}", code="bad-place")
    begins = mbr[at + 1 : at + 4] if place.start == place.old_start else _NO_CHS
    entry = mbr[at : at + 1] + begins + mbr[at + 4 : at + 5] + _NO_CHS + struct.pack("<II", first, count)
    return mbr[:at] + entry + mbr[at + 16 :]


def with_new_ids(
    pieces: Writes, own: str, parts: Mapping[int, str], *, kind: str, sector: int
) -> list[tuple[int, bytes]]:
    """A whole table (`kind`: "gpt" or "dos") as it is to be written, with another id and other ids of its partitions.

    An MBR has none of its partitions: these follow from its own. Raises BadImageError where a copy of a GPT is damaged.
    """
    if kind != "gpt":
        return _patched(pieces, _MBR_ID, int(own, 16).to_bytes(4, "little"))
    first = _bytes(pieces, sector, sector)
    for at in (gpt.parse_header(first).other_at * sector, sector):
        header = _bytes(pieces, at, sector)
        found = gpt.parse_header(header, copy=at != sector)
        entries = _bytes(pieces, found.entries_at * sector, found.entries_bytes)
        for entry in gpt.parse_entries(found, entries):
            if (new := parts.get(entry.number)) is not None:
                own_at = (entry.number - 1) * found.entry_size + 16
                entries = entries[:own_at] + uuid.UUID(new).bytes_le + entries[own_at + 16 :]
        fields = list(_HEADER.unpack_from(header))
        size = fields[2]
        fields[3], fields[9], fields[13] = 0, uuid.UUID(own).bytes_le, zlib.crc32(entries)
        fields[3] = zlib.crc32(_HEADER.pack(*fields) + header[_HEADER.size : size])
        pieces = _patched(pieces, found.entries_at * sector, entries)
        pieces = _patched(pieces, at, _HEADER.pack(*fields) + header[_HEADER.size :])
    return list(pieces)


def _bytes(pieces: Writes, at: int, size: int) -> bytes:
    """Bytes of a disk out of what is to be written to it; raises BadImageError where these are not all of it."""
    found, known = bytearray(size), 0
    for start, data in pieces:
        low, high = max(at, start), min(at + size, start + len(data))
        if low < high:
            found[low - at : high - at] = data[low - start : high - start]
            known += high - low
    if known != size:
        raise BadImageError("a copy of the GPT is not where it should be", code="bad-table")
    return bytes(found)


def _patched(pieces: Writes, at: int, new: bytes) -> list[tuple[int, bytes]]:
    """What is to be written, with other bytes from `at` on."""
    changed = []
    for start, data in pieces:
        low, high = max(at, start), min(at + len(new), start + len(data))
        inside = low < high
        changed.append(
            (start, data[: low - start] + new[low - at : high - at] + data[high - start :] if inside else data)
        )
    return changed


def ends_gpt(header: bytes, entries: bytes, sector: int) -> list[int]:
    """Where each partition of a GPT ends, in bytes; raises BadImageError where the table is damaged."""
    return [(entry.last + 1) * sector for entry in gpt.parse_entries(gpt.parse_header(header), entries)]


def ends_mbr(mbr: bytes, sector: int) -> list[int]:
    """Where each entry of a master boot record ends, in bytes."""
    found = (struct.unpack_from("<4xB3xII", mbr, 446 + 16 * i) for i in range(_SLOTS))
    return [(first + count) * sector for kind, first, count in found if kind and count]


def is_hybrid(mbr: bytes) -> bool:
    """Whether the master boot record before a GPT names partitions of its own, too, which would have to follow."""
    return sorted(mbr[446:510][4::16]) != [0, 0, 0, 0xEE]


def _elsewhere(number: int) -> RefusedError:
    return RefusedError(
        f"the partition table does not have partition {number} where the image says", code="cannot-grow"
    )


def _slot(number: int) -> int:
    if not 1 <= number <= _SLOTS:
        raise RefusedError(f"partition {number} is none of the four primary ones", code="bad-place")
    return 446 + 16 * (number - 1)


def _added_mbr(mbr: bytes, new: NewEntry, *, size: int, sector: int) -> Writes:
    at = _slot(new.number)
    if mbr[510:512] != b"\x55\xaa":
        raise BadImageError("there is no master boot record where one should be", code="bad-table")
    if any(mbr[at : at + 16]):
        raise RefusedError(f"there is a partition {new.number} already", code="disk-changed")
    first, count = new.start // sector, new.size // sector
    if not first or first + count > min(size // sector, _MBR_MOST):
        raise RefusedError(f"the table has no room for partitions at byte {new.start}", code="bad-place")
    for i in range(_SLOTS):
        start, length = struct.unpack_from("<II", mbr, 446 + 16 * i + 8)
        if length and start < first + count and first < start + length:
            raise RefusedError(f"partition {i + 1} lies at byte {new.start}", code="disk-changed")
    entry = b"\0" + _NO_CHS + bytes([LINUX_MBR]) + _NO_CHS + struct.pack("<II", first, count)
    return [(0, mbr[:at] + entry + mbr[at + 16 :])]


def _read(read: Read, size: int, sector: int) -> _Gpt:
    """The copy of the table that is whole, the one at the start before the other; raises BadImageError."""
    end = size // sector - 1
    try:
        return _parse(read, 1, end, sector)
    except BadImageError as error:
        try:
            return _parse(read, end, end, sector)
        except BadImageError:
            raise error from None


def _parse(read: Read, at: int, end: int, sector: int) -> _Gpt:
    header = read(at * sector, sector)
    found = gpt.parse_header(header)
    fields = _HEADER.unpack_from(header)
    entries = read(found.entries_at * sector, found.entries_bytes)
    if zlib.crc32(entries) != found.entries_crc:
        raise BadImageError("the GPT's entries are damaged: their checksum does not match", code="bad-table")
    here, other, first, last = fields[5:9]
    if here != at or (at == 1 and other > end) or (at != 1 and other != 1):
        raise BadImageError("the GPT's two copies do not name each other", code="bad-table")
    moved = at == 1 and other != end
    reserved = gpt.room_at_end(len(entries), sector) // sector
    copy_at = end + 1 - reserved
    primary_at, spare = _places(read, at, end, sector, found.entries_at, copy_at, moved)
    if primary_at + -(-len(entries) // sector) > first or last >= end:
        raise BadImageError("the GPT's entries lie where partitions do", code="bad-table")
    return _Gpt(
        header=header,
        entries=entries,
        entries_at=primary_at,
        spare=spare,
        each=found.entry_size,
        first_usable=first,
        last_usable=copy_at - 1 if moved else last,
        moved=moved,
    )


def _places(read: Read, at: int, end: int, sector: int, here: int, copy_at: int, moved: bool) -> tuple[int, int]:
    """Where the entries at the start and those at the end lie; the usual places where the other copy does not say."""
    if at != 1:
        try:
            return gpt.parse_header(read(sector, sector)).entries_at, here
        except BadImageError:
            return 2, here
    if moved:
        return here, copy_at
    try:
        return here, gpt.parse_header(read(end * sector, sector)).entries_at
    except BadImageError:
        return here, copy_at


def _entry(table: _Gpt, number: int) -> bytes:
    if not 1 <= number <= len(table.entries) // table.each:
        raise RefusedError(f"the table has no room for a partition {number}", code="no-slot")
    return table.entries[(number - 1) * table.each :][:128]


def _refuse_overlap(table: _Gpt, first: int, last: int) -> None:
    for i in range(len(table.entries) // table.each):
        kind, _, start, end, _ = _ENTRY.unpack_from(table.entries, i * table.each)
        if any(kind) and start <= last and first <= end:
            raise RefusedError(f"partition {i + 1} lies at sector {first}", code="disk-changed")


def _rendered(read: Read, table: _Gpt, number: int, raw: bytes, size: int, sector: int) -> Writes:
    at = (number - 1) * table.each
    entries = table.entries[:at] + raw.ljust(table.each, b"\0") + table.entries[at + table.each :]
    end = size // sector - 1
    primary = _header(table, entries, here=1, other=end, entries_at=table.entries_at)
    copy = _header(table, entries, here=end, other=1, entries_at=table.spare)
    writes = [
        *_together((table.spare * sector, entries), (end * sector, copy)),
        *_together((table.entries_at * sector, entries), (sector, primary)),
    ]
    if table.moved:
        writes.append((0, gpt.protective(read(0, 512), end)))
    return writes


def _together(entries: tuple[int, bytes], header: tuple[int, bytes]) -> Writes:
    """One piece where both lie side by side: the medium then takes them at once. Else the header comes last."""
    (low, first), (high, second) = sorted((entries, header))
    return [(low, first + second)] if low + len(first) == high else [entries, header]


def _header(table: _Gpt, entries: bytes, *, here: int, other: int, entries_at: int) -> bytes:
    fields = list(_HEADER.unpack_from(table.header))
    size = fields[2]
    fields[3], fields[5], fields[6], fields[8], fields[10] = 0, here, other, table.last_usable, entries_at
    fields[13] = zlib.crc32(entries)
    blank = _HEADER.pack(*fields) + table.header[_HEADER.size : size]
    fields[3] = zlib.crc32(blank)
    return _HEADER.pack(*fields) + table.header[_HEADER.size :]
