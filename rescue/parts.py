"""Chosen partitions in words: what a plan takes, what it leaves out, what it overwrites."""

from collections.abc import Iterable, Sequence

from imaging.disk import Disk, Partition, PartitionRole
from imaging.manifest import ImagedDisk, Volume
from imaging.plan import PartitionTarget, RestoreTarget
from rescue.contents import content_words, partition_rows
from rescue.formats import clean, columns, format_size, joined, plural

INDENT = "    "


def numbers(parts: Iterable[int]) -> str:
    """`partition 2`, or `partitions 1, 3`."""
    found = [str(number) for number in parts]
    return f"partition{'' if len(found) == 1 else 's'} {', '.join(found)}"


def imaged_words(disk: ImagedDisk) -> str:
    """Which partitions of a disk an image has, where it does not have all; for a table's cell."""
    return f"{numbers(volume.number for volume in disk.volumes)} only" if disk.left_out else ""


def left_out_rows(disk: ImagedDisk) -> list[list[str]]:
    """The partitions of an imaged disk of which nothing is stored."""
    return [[number, size, what, "left out"] for number, size, what, _ in partition_rows(disk.left_out)]


def captured_lines(disk: Disk, only: Sequence[int]) -> list[str]:
    """Which partitions of a disk a capture takes, where not all."""
    if not only:
        return []
    others = [
        part.number
        for part in disk.table.partitions
        if part.role is not PartitionRole.EXTENDED and part.number not in only
    ]
    rest = f"; {numbers(others)} left out" if others else ""
    return [f"{INDENT}only {numbers(only)} and the partition table{rest}"]


def stays(part: Partition, target: Disk) -> bool:
    """Whether the target has a partition at the very place of one that is left out: its data stay."""
    return any((p.number, p.start, p.size) == (part.number, part.start, part.size) for p in target.table.partitions)


def erased_partitions(pair: RestoreTarget) -> tuple[Partition, ...]:
    """The target's partitions but for those that stay."""
    kept = {part.number for part in pair.source.left_out if stays(part, pair.target)}
    return tuple(part for part in pair.target.table.partitions if part.number not in kept)


def left_out_lines(pair: RestoreTarget) -> list[str]:
    """What becomes of the partitions that the image does not have, where a whole disk is restored."""
    kept = [part for part in pair.source.left_out if stays(part, pair.target)]
    lost = [part for part in pair.source.left_out if part not in kept]
    lines = [f"KEPT: {numbers(_of(kept))}, not in the image: nothing is written there"] if kept else []
    if kept:
        lines += [INDENT + row for row in _rows([p for p in pair.target.table.partitions if p.number in _of(kept)])]
    if lost:
        lines.append(f"WARNING: {numbers(_of(lost))} will hold nothing that can be used: not in the image")
        lines += [INDENT + row for row in _rows(lost)]
        if pair.target.unfinished:
            lines.append(f"{INDENT}unless it was on {clean(pair.target.name)} before the restore that was cut off")
    return lines


def _of(parts: Iterable[Partition]) -> list[int]:
    return [part.number for part in parts]


def _rows(parts: Iterable[Partition]) -> list[str]:
    return columns(partition_rows(parts), right=frozenset({0, 1}))


def damage_lines(disk: ImagedDisk, volumes: Iterable[int] = ()) -> list[str]:
    """That parts of a disk, or of these volumes alone, could not be read when it was captured, where that is so."""
    lost = disk.unreadable_in(volumes)
    if not lost:
        return []
    return [f"{INDENT}DAMAGED: {lost.total:,} bytes in {plural(len(lost), 'place')} could not be read and are zeros"]


def volume_words(volume: Volume) -> str:
    """One volume of an image: number, content, size."""
    which = f"partition {volume.number}" if volume.number else "all of it, without a table"
    return joined(which, content_words(volume.content), format_size(volume.size), by=", ")


def into_lines(pair: RestoreTarget, title: str) -> list[str]:
    """What is lost of which partition, and what comes into it; `title` names the disk."""
    lines = []
    for name, spot in pair.named_partitions:
        volume = next(volume for volume in pair.source.volumes if volume.number == spot.volume)
        lines.append(f"ERASED: {clean(name)}, this one partition of {title}")
        lines += [INDENT + row for row in _rows(p for p in pair.target.table.partitions if p.number == spot.partition)]
        lines.append(f"WRITTEN: disk {clean(pair.source.name)} of the image, {volume_words(volume)}")
        lines.append(f"{INDENT}{format_size(volume.used)} of data{_spare(spot, volume)}")
        lines += damage_lines(pair.source, [spot.volume])
    return lines


def _spare(spot: PartitionTarget, volume: Volume) -> str:
    """A file system does not grow by itself."""
    more = spot.size - volume.size
    return f"; the last {format_size(more)} of the partition stay unused" if more else ""


def others_line(pair: RestoreTarget) -> str:
    """What is not touched."""
    held = [p for p in pair.target.table.partitions if p.role is not PartitionRole.EXTENDED]
    count = len(held) - len(pair.partitions)
    return f"KEPT: the partition table and {plural(count, 'other partition')}; nothing is written to them"
