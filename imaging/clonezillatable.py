"""The partition table of a disk that Clonezilla saved: where its partitions lie, and the sectors that make it.

Source: Clonezilla's ocs-functions (save_part_table_mbr_dm_info, save_hidden_data_after_MBR, create_gpt_partition_table
and create_mbr_partition_table). A table is had as the disk had it: both copies of a GPT, or an MBR with its boot code,
its chain of extended boot records, and what lies behind it.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging import gpt, sfdisk
from imaging.blockdev import opened, read
from imaging.disk import PartitionRole, TableKind
from imaging.errors import BadImageError, RefusedError
from imaging.foreign import MOST_BYTES
from imaging.regular import read_regular
from imaging.run import run

CODE = "bad-clonezilla"
_MOST_TEXT = 1 << 20
_MOST_TABLE = 1 << 20
_MOST_HIDDEN = 64 << 20
"""Bytes of the hidden data behind an MBR that are taken; Clonezilla itself stops long before."""
_SECTORS = (512, 4096)
_CODE_SIZE = 446
"""Bytes of a boot record before its entries."""
_GDISK_BACKUP = 3
"""Sectors that precede the entries in what sgdisk saves: MBR, header, and the copy's."""
_SIZE = re.compile(r"^Disk /dev/[^:\n]*: ([0-9]{1,19})s$", re.MULTILINE)
_SECTOR = re.compile(r"^Sector size \(logical/physical\): ([0-9]{1,6})B", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A partition that holds data; in bytes. Number 0 is all of a disk without a table."""

    number: int
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTable:
    """What a disk is: `sectors` are `(offset, bytes)`, rising, and do not reach into partitions."""

    size: int
    sector: int
    parts: tuple[Part, ...]
    sectors: tuple[tuple[int, bytes], ...]


def text_of(path: Path) -> str:
    """A small text file of the folder; empty where it is not there. Raises BadImageError where it is no small file."""
    return data_of(path, _MOST_TEXT).decode("utf-8", "replace")


def data_of(path: Path, most: int) -> bytes:
    """A file of `most` bytes at most, as `text_of`."""
    try:
        return read_regular(path, most, CODE)
    except FileNotFoundError:
        return b""


def read_table(folder: Path, disk: str) -> SavedTable:
    """The table of a disk by the name that its files bear.

    Raises BadImageError where it is damaged or its size is not known, RefusedError where its kind is not handled.
    """
    parted = text_of(folder / f"{disk}-pt.parted")
    sector = int(found[1]) if (found := _SECTOR.search(parted)) else 512
    size = int(found[1]) * sector if (found := _SIZE.search(parted)) else 0
    if sector not in _SECTORS or size > MOST_BYTES:
        raise BadImageError(f"{disk}: sectors of {sector} bytes, or their number, are not allowed", code=CODE)
    script = text_of(folder / f"{disk}-pt.sf")
    if (primary := _primary_gpt(folder, disk, sector)) is not None:
        return _gpt(disk, primary, size, sector)
    if re.search(r"^label: *gpt", script, re.MULTILINE):
        raise BadImageError(f"{disk}: neither copy of its GPT that Clonezilla saved is whole", code=CODE)
    if script.strip():
        return _mbr(folder, disk, script, size, sector)
    if not size:
        raise BadImageError(f"{disk}: nothing in the folder says how large it is", code=CODE)
    return SavedTable(size=size, sector=sector, parts=(Part(number=0, start=0, size=size),), sectors=())


def _primary_gpt(folder: Path, disk: str, sector: int) -> tuple[bytes, bytes, bytes] | None:
    """The MBR, the header and the entries of a GPT; from what sgdisk saved where Clonezilla's own is not whole."""
    mbr = data_of(folder / f"{disk}-mbr", _MOST_TABLE)[:512]
    first = data_of(folder / f"{disk}-gpt-1st", _MOST_TABLE)
    backup = data_of(folder / f"{disk}-gpt.gdisk", _MOST_TABLE)
    for data, entries_at in ((first, 2 * sector), (backup, _GDISK_BACKUP * sector)):
        header = data[sector : 2 * sector]
        try:
            parsed = gpt.parse_header(header)
            # 34 sectors of 512 bytes are saved: with larger ones the last entries are missing, which are empty.
            entries = data[entries_at : entries_at + parsed.entries_bytes].ljust(parsed.entries_bytes, b"\0")
            gpt.parse_entries(parsed, entries)
        except BadImageError:
            continue
        return (mbr if len(mbr) == 512 else data[:512].ljust(512, b"\0")), header, entries
    return None


def _gpt(disk: str, primary: tuple[bytes, bytes, bytes], size: int, sector: int) -> SavedTable:
    mbr, header, entries = primary
    parsed = gpt.parse_header(header)
    size = size or (parsed.other_at + 1) * sector
    sectors = sorted(gpt.relocate(mbr, header, entries, size=size, sector=sector))
    parts = tuple(
        Part(number=entry.number, start=entry.first * sector, size=(entry.last + 1 - entry.first) * sector)
        for entry in gpt.parse_entries(parsed, entries)
    )
    return _checked(disk, SavedTable(size=size, sector=sector, parts=parts, sectors=tuple(sectors)))


def _mbr(folder: Path, disk: str, script: str, size: int, sector: int) -> SavedTable:
    if sector != 512:
        raise RefusedError(f"{disk}: an MBR of sectors of {sector} bytes is not handled", code="not-handled")
    if other := re.search(r"^label: *(?!dos)(\S{1,20})", script, re.MULTILINE):
        raise RefusedError(f"{disk}: a partition table of kind {other[1]} is not handled", code="not-handled")
    with tempfile.NamedTemporaryFile(prefix="rescue-table-") as file:
        size = size or _reach(disk, script)
        file.truncate(size)
        run(["sfdisk", "--force", "--no-reread", "--wipe", "never", file.name], secret=script)
        table = sfdisk.read_table(file.name, sector)
        if table.kind is not TableKind.MBR:
            raise BadImageError(f"{disk}: its MBR cannot be made again from what was saved", code=CODE)
        with opened(file.name) as fd:
            places = [(0, 512), *sfdisk.ebr_sectors(fd, table, size, sector)]
            sectors = {start: read(fd, end - start, start) for start, end in places}
    sectors[0] = _boot_sector(data_of(folder / f"{disk}-mbr", 512), sectors[0])
    for part in table.partitions:
        if part.role is PartitionRole.EXTENDED and part.start in sectors:
            code = _boot_code(folder, disk, part.number)
            sectors[part.start] = code + sectors[part.start][len(code) :]
    first = min((part.start for part in table.partitions), default=size)
    hidden = data_of(folder / f"{disk}-hidden-data-after-mbr", _MOST_HIDDEN)[: max(0, first - 512)]
    if hidden:
        sectors[512] = hidden
    parts = tuple(Part(number=part.number, start=part.start, size=part.size) for part in sfdisk.volumes(table))
    rising = tuple(sorted(sectors.items()))
    return _checked(disk, SavedTable(size=size, sector=sector, parts=parts, sectors=rising))


def _reach(disk: str, script: str) -> int:
    """Where the last partition of a script ends: the least that the disk has."""
    ends = [
        (int(start) + int(count)) * 512
        for start, count in re.findall(r"start= *([0-9]{1,15}), *size= *([0-9]{1,15})", script)
    ]
    if not ends:
        raise BadImageError(f"{disk}: nothing in the folder says how large it is", code=CODE)
    return max(ends)


def _boot_sector(saved: bytes, made: bytes) -> bytes:
    """The MBR that was saved, where its entries are those of the table; else these, with its boot code."""
    if len(saved) != 512 or saved[510:] != b"\x55\xaa":
        return made
    if list(_entries(saved)) == list(_entries(made)):
        return saved
    return saved[:_CODE_SIZE] + made[_CODE_SIZE:]


def _entries(sector: bytes) -> Iterator[bytes]:
    """What counts of the four entries: flag, type, place; not the cylinders, which nobody reads any more."""
    for at in range(446, 510, 16):
        entry = sector[at : at + 16]
        yield entry[:1] + entry[4:5] + entry[8:]


def _boot_code(folder: Path, disk: str, number: int) -> bytes:
    separator = "p" if disk[-1:].isdigit() else ""
    return data_of(folder / f"{disk}{separator}{number}-ebr", _MOST_TABLE)[:_CODE_SIZE]


def _checked(disk: str, table: SavedTable) -> SavedTable:
    """Refuse partitions that overlap one another or the table's sectors, or reach beyond the disk."""
    taken = [(part.start, part.start + part.size, f"partition {part.number}") for part in table.parts]
    taken += [(at, at + len(data), "the partition table") for at, data in table.sectors]
    at, before = 0, "the partition table"
    for start, end, what in sorted(taken):
        if start < at or end < start:
            raise BadImageError(f"{disk}: {what} overlaps {before}", code=CODE)
        at, before = end, what
    if at > table.size:
        raise BadImageError(f"{disk}: {before} reaches beyond the end of the disk, at byte {table.size}", code=CODE)
    return table
