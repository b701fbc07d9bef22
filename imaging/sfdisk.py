"""Partition tables through sfdisk's JSON, and where on the disk they lie."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from imaging import gpt
from imaging.blockdev import is_block_device, loop_device, opened, read, size_of
from imaging.disk import Partition, PartitionRole, PartitionTable, TableKind
from imaging.errors import BadImageError, IoError
from imaging.extents import Extents
from imaging.run import run

_EXTENDED_TYPES = {"5", "f", "85"}
_FIRST_LOGICAL = 5
_HEAD = 8 << 10
_MOST_LOGICAL = 1024
"""Extended boot records that are followed; Linux stops at 256 partitions."""
_MOST_BYTES = 2**63 - 1
_MOST_ENTRIES = 1 << 20
GUARD = 1 << 20
"""Bytes at both ends of a disk in which RAID, LVM and file systems keep what makes them known."""


def sector_size_of_file(path: str) -> int:
    """The logical sector size that the table in a disk file was made for."""
    with opened(path) as fd:
        return gpt.sector_size(read(fd, min(_HEAD, size_of(fd)), 0))


def read_table(path: str, sector: int) -> PartitionTable:
    """Read the table of a device or disk file of `sector`-byte logical sectors; TableKind.NONE where there is none.

    Raises IoError where sfdisk cannot read the disk, BadImageError where its answer makes no sense or the table is
    of a kind that is not handled.
    """
    if is_block_device(path) or sector == 512:
        output = _sfdisk(path)
    elif os.geteuid() == 0:
        # sfdisk takes a file's sectors for 512 bytes; Debian 12's has no option to say otherwise.
        with loop_device(path, sector=sector) as loop:
            output = _sfdisk(loop)
    else:
        raise IoError(f"{path}: reading a table of {sector}-byte sectors from a file needs root", code="needs-root")
    if output is None:
        return PartitionTable(kind=TableKind.NONE)
    return parse(output, sector)


def _sfdisk(path: str) -> str | None:
    done = run(["sfdisk", "--json", path], accept=(0, 1))
    if done.status == 0:
        return done.stdout
    if "does not contain a recognized partition table" in done.stderr:
        return None
    said = done.stderr.strip().splitlines()
    raise IoError(f"sfdisk cannot read {path}: {said[-1] if said else 'no reason given'}", code="tool-failed")


def parse(output: str, sector: int) -> PartitionTable:
    """Parse what `sfdisk --json` prints; `sector` is used where it does not say its own."""
    try:
        table: Any = msgspec.json.decode(output)["partitiontable"]
        unit = int(table.get("sectorsize", sector))
        kind = TableKind(table["label"])
        entries = tuple(_partition(entry, kind, unit) for entry in table.get("partitions", ()))
    except (
        msgspec.DecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BadImageError(
            f"the partition table is of a kind that is not handled: {error}", code="bad-table"
        ) from error
    return PartitionTable(kind=kind, table_id=str(table.get("id", "")), partitions=entries)


def _partition(entry: Mapping[str, Any], kind: TableKind, unit: int) -> Partition:
    node = str(entry["node"])
    number = int(node[len(node.rstrip("0123456789")) :])
    code = str(entry["type"]).lower()
    if kind is TableKind.MBR and number >= _FIRST_LOGICAL:
        role = PartitionRole.LOGICAL
    elif kind is TableKind.MBR and code in _EXTENDED_TYPES:
        role = PartitionRole.EXTENDED
    else:
        role = PartitionRole.PRIMARY
    start, size = int(entry["start"]) * unit, int(entry["size"]) * unit
    if start < 0 or size < 0 or start + size > _MOST_BYTES:
        raise ValueError(f"partition {number} starts at byte {start} and has {size}")
    return Partition(
        number=number,
        start=start,
        size=size,
        type=code,
        role=role,
        name=str(entry.get("name", "")),
        uuid=str(entry.get("uuid", "")),
        bootable=bool(entry.get("bootable", False)),
    )


def volumes(table: PartitionTable) -> Sequence[Partition]:
    """The partitions that hold data, by their place on the disk: all but the extended one, a mere container."""
    return sorted((p for p in table.partitions if p.role is not PartitionRole.EXTENDED), key=lambda p: p.start)


def table_extents(fd: int, table: PartitionTable, size: int, sector: int) -> Extents:
    """The sectors that make the table of the disk open at `fd`: MBR, both GPT copies, the EBRs of logical partitions.

    With them goes the end of the disk that no partition has, where RAID and others leave their marks. Without a table:
    the first 128 KiB, where file systems keep what makes them one.
    """
    held = Extents((p.start, p.end) for p in volumes(table))
    tail = Extents([(max(2 * sector, size - GUARD), size)]).minus(held)
    match table.kind:
        case TableKind.NONE:
            return Extents([(0, min(size, 128 << 10))])
        case TableKind.MBR:
            # The second sector, too: what a GPT that stood there before left behind must not outlive a restore.
            second = Extents([(sector, min(size, 2 * sector))]).minus(held)
            return Extents([(0, min(size, sector)), *second, *ebr_sectors(fd, table, size, sector), *tail])
        case TableKind.GPT:
            # UEFI 2.10, 5.3.2: the header says where its entries lie; the copy's does so, too.
            last = size - size % sector - sector
            entries = [*_gpt_entries(fd, sector, sector, size), *_gpt_entries(fd, last, sector, size)]
            return Extents([(0, min(size, 2 * sector)), *Extents(entries).minus(held), *tail])


def guarded_head(table: PartitionTable) -> Extents:
    """The start of the disk up to the first partition, 1 MiB at most: old marks there would outlive a restore."""
    first = min((p.start for p in table.partitions), default=0)
    return Extents([(0, min(first, GUARD))])


def _gpt_entries(fd: int, at: int, sector: int, size: int) -> list[tuple[int, int]]:
    header = read(fd, sector, at) if at + sector <= size else b""
    if header[:8] != gpt.SIGNATURE:
        return []
    start = int.from_bytes(header[72:80], "little") * sector
    length = int.from_bytes(header[80:84], "little") * int.from_bytes(header[84:88], "little")
    return [(start, min(size, start + min(-(-length // sector) * sector, _MOST_ENTRIES)))]


def ebr_sectors(fd: int, table: PartitionTable, size: int, sector: int) -> list[tuple[int, int]]:
    """Follow the chain of extended boot records; each holds the way to the next. A loop in it ends the walk."""
    outer = next((p for p in table.partitions if p.role is PartitionRole.EXTENDED), None)
    found: list[tuple[int, int]] = []
    at = outer.start if outer else 0
    while outer and 0 < at <= size - sector and (at, at + sector) not in found and len(found) < _MOST_LOGICAL:
        found.append((at, at + sector))
        record = read(fd, 512, at)
        next_start = int.from_bytes(record[446 + 16 + 8 : 446 + 16 + 12], "little")
        if record[510:512] != b"\x55\xaa" or record[446 + 16 + 4] not in (0x05, 0x0F, 0x85) or not next_start:
            break
        at = outer.start + next_start * sector
    return found
