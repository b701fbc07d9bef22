"""What of a disk a capture would store: its volumes, its table, what lies before the first partition. Only reads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from imaging import sfdisk
from imaging.blockdev import read
from imaging.chunk import cuts
from imaging.disk import Disk, Partition, PartitionRole, TableKind
from imaging.errors import IoError, RefusedError
from imaging.extents import Extents
from imaging.manifest import Volume
from imaging.usedmap import VolumeMap, volume_map

_SCAN = 1 << 20
_BLOCK = 4096
_BOOT_AREA = 64 << 20
"""Bytes of a disk in which boot loaders without a partition of their own lie; small boards go up to some MiB."""
_MAPS_AT_ONCE = 8


def _never() -> None:
    """Nobody asks to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a capture of one disk stores; offsets are those of the disk, in bytes."""

    volumes: tuple[Volume, ...]
    table: Extents
    """Where the partition table lies."""
    used: Extents
    """All that is stored: of the volumes, the table, and before the first partition."""


def survey(disk: Disk, fd: int, only: Sequence[int] = (), *, stop_if_asked: Callable[[], None] = _never) -> Survey:
    """Find what is used of a disk that is open at `fd`; of its volumes `only` those of these numbers, if any.

    `stop_if_asked` raises where it should end: between two volumes (a tool that is at work on one is waited for) and
    between two MiB. Raises RefusedError (code "bad-table") where a partition leaves the disk, and IoError.
    """
    regions = volumes_of(disk, only)
    for part in regions:
        if part.end > disk.size:
            raise RefusedError(
                f"{disk.name}: partition {part.number} reaches beyond the end of the disk", code="bad-table"
            )
    volumes, used = _map(disk, fd, regions, stop_if_asked)
    table = sfdisk.table_extents(fd, disk.table, disk.size, disk.logical_sector)
    head = _before_first(disk, fd, stop_if_asked)
    return Survey(volumes=volumes, table=table, used=used.union(sfdisk.guarded_head(disk.table), table, head))


def volumes_of(disk: Disk, only: Sequence[int] = ()) -> Sequence[Partition]:
    """The disk's volumes, or `only` those of these numbers; the bare disk counts as one, 0, where there is no table.

    So it does with an empty MBR: a boot sector of something unknown looks just like that.
    """
    if disk.table.kind is TableKind.GPT or disk.table.partitions:
        return [part for part in sfdisk.volumes(disk.table) if not only or part.number in only]
    return [Partition(number=0, start=0, size=disk.size, type="", role=PartitionRole.PRIMARY, content=disk.content)]


def cuts_of(disk: Disk) -> Sequence[int]:
    """Where the chunks of a disk end: they start anew at each partition, whether it is stored or left out."""
    return cuts(disk.size, [edge for part in volumes_of(disk) for edge in (part.start, part.end)])


def _map(
    disk: Disk, fd: int, regions: Sequence[Partition], stop_if_asked: Callable[[], None]
) -> tuple[tuple[Volume, ...], Extents]:
    """The volumes, and what is used of all of them."""

    overlapping = _overlapping(regions)

    def ask(part: Partition) -> VolumeMap:
        stop_if_asked()
        if part.number in overlapping:
            note = f"it overlaps partition {overlapping[part.number]}"
            return VolumeMap(used=Extents([(0, part.size)]), origin="whole", note=note)
        return volume_map(disk.path, fd, part.start, part.size, part.content)

    volumes: list[Volume] = []
    placed_maps: list[Extents] = []
    # Side by side, because partclone spends two seconds a volume asleep.
    with ThreadPoolExecutor(_MAPS_AT_ONCE) as pool:
        for part, found in zip(regions, pool.map(ask, regions), strict=True):
            placed = found.used.clipped(0, part.size).shifted(part.start)
            placed_maps.append(placed)
            volumes.append(
                Volume(
                    number=part.number,
                    start=part.start,
                    size=part.size,
                    used=placed.total,
                    map_origin=found.origin,
                    note=found.note,
                    content=part.content,
                    inner=found.inner,
                )
            )
    return tuple(volumes), Extents().union(*placed_maps)


def _overlapping(regions: Sequence[Partition]) -> dict[int, int]:
    """Partitions that share bytes with another, by number, and that other's: neither's map says all of what is used."""
    found: dict[int, int] = {}
    longest: Partition | None = None
    for part in regions:
        if longest is not None and part.size and part.start < longest.end:
            found[part.number] = longest.number
            found.setdefault(longest.number, part.number)
        if longest is None or part.end > longest.end:
            longest = part
    return found


def _before_first(disk: Disk, fd: int, stop_if_asked: Callable[[], None]) -> Extents:
    """What is not zero before the first partition: boot loaders live there.

    Far behind the start there are none, and what a deleted partition held is free space.
    """
    first = min((p.start for p in disk.table.partitions), default=0)
    return Extents.rising(_not_zero(fd, min(first, _BOOT_AREA), stop_if_asked))


def _not_zero(fd: int, first: int, stop_if_asked: Callable[[], None]) -> Iterator[tuple[int, int]]:
    """The blocks before byte `first` that hold anything, rising."""
    zeros = bytes(_SCAN)
    for start in range(0, first, _SCAN):
        stop_if_asked()
        size = min(_SCAN, first - start)
        try:
            data = read(fd, size, start)
        except IoError:
            # The capture will read it in smaller pieces, and say what is lost.
            yield start, start + size
            continue
        if data == zeros[: len(data)]:
            continue
        for at in range(0, len(data), _BLOCK):
            if data[at : at + _BLOCK] != zeros[: len(data[at : at + _BLOCK])]:
                yield start + at, min(start + at + _BLOCK, first)
