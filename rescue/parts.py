"""Chosen partitions in words: what a plan takes, what it leaves out, what it overwrites."""

from collections.abc import Iterable, Sequence

from imaging.disk import Disk, Partition, PartitionRole
from imaging.manifest import ImagedDisk, Volume
from imaging.restoreplans import PartitionTarget, RestoreTarget
from rescue.contents import content_words, partition_rows
from rescue.formats import clean, columns, format_count, format_size, joined
from rescue.language import _, ngettext

INDENT = "    "


def numbers(parts: Iterable[int]) -> str:
    """`partition 2`, or `partitions 1, 3`."""
    found = [str(number) for number in parts]
    return ngettext("partition {numbers}", "partitions {numbers}", len(found)).format(numbers=", ".join(found))


def imaged_words(disk: ImagedDisk) -> str:
    """Which partitions of a disk an image has, where it does not have all; for a table's cell."""
    if not disk.left_out:
        return ""
    return _("{partitions} only").format(partitions=numbers(volume.number for volume in disk.volumes))


def left_out_rows(disk: ImagedDisk) -> list[list[str]]:
    """The partitions of an imaged disk of which nothing is stored."""
    return [[number, size, what, _("left out")] for number, size, what, _name in partition_rows(disk.left_out)]


def captured_lines(disk: Disk, only: Sequence[int]) -> list[str]:
    """Which partitions of a disk a capture takes, where not all."""
    if not only:
        return []
    others = [
        part.number
        for part in disk.table.partitions
        if part.role is not PartitionRole.EXTENDED and part.number not in only
    ]
    if others:
        words = _("only {partitions} and the partition table; {others} left out")
    else:
        words = _("only {partitions} and the partition table")
    return [INDENT + words.format(partitions=numbers(only), others=numbers(others))]


def erased_partitions(pair: RestoreTarget) -> tuple[Partition, ...]:
    """The target's partitions but for those that stay."""
    kept = _of(pair.kept)
    return tuple(part for part in pair.target.table.partitions if part.number not in kept)


def left_out_lines(pair: RestoreTarget) -> list[str]:
    """What becomes of the partitions that the image does not have, where a whole disk is restored."""
    kept = pair.kept
    lost = [part for part in pair.source.left_out if part not in kept]
    lines = []
    if kept:
        words = _("KEPT: {partitions}, not in the image: nothing is written there")
        lines.append(words.format(partitions=numbers(_of(kept))))
        lines += [INDENT + row for row in _rows([p for p in pair.target.table.partitions if p.number in _of(kept)])]
    if lost:
        words = _("WARNING: {partitions} will hold nothing that can be used: not in the image")
        lines.append(words.format(partitions=numbers(_of(lost))))
        lines += [INDENT + row for row in _rows(lost)]
        if pair.target.unfinished:
            words = _("unless it was on {disk} before the restore that was cut off")
            lines.append(INDENT + words.format(disk=clean(pair.target.name)))
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
    words = ngettext(
        "DAMAGED: {bytes} bytes in {count} place could not be read and are zeros",
        "DAMAGED: {bytes} bytes in {count} places could not be read and are zeros",
        len(lost),
    )
    return [INDENT + words.format(bytes=format_count(lost.total), count=format_count(len(lost)))]


def volume_words(volume: Volume) -> str:
    """One volume of an image: number, content, size."""
    which = numbers([volume.number]) if volume.number else _("all of it, without a table")
    return joined(which, content_words(volume.content), format_size(volume.size), by=", ")


def into_lines(pair: RestoreTarget, title: str) -> list[str]:
    """What is lost of which partition, and what comes into it; `title` names the disk."""
    lines = []
    for name, spot in pair.named_partitions:
        volume = next(volume for volume in pair.source.volumes if volume.number == spot.volume)
        lines.append(_("ERASED: {partition}, this one partition of {disk}").format(partition=clean(name), disk=title))
        lines += [INDENT + row for row in _rows(p for p in pair.target.table.partitions if p.number == spot.partition)]
        words = _("WRITTEN: disk {disk} of the image, {volume}")
        lines.append(words.format(disk=clean(pair.source.name), volume=volume_words(volume)))
        lines.append(INDENT + _data_words(spot, volume))
        lines += damage_lines(pair.source, [spot.volume])
    return lines


def _data_words(spot: PartitionTarget, volume: Volume) -> str:
    """How much comes, and what stays unused: a file system does not grow by itself."""
    used = format_size(volume.used)
    more = spot.size - volume.size
    if not more:
        return _("{size} of data").format(size=used)
    words = _("{size} of data; the last {more} of the partition stay unused")
    return words.format(size=used, more=format_size(more))


def others_line(pair: RestoreTarget) -> str:
    """What is not touched."""
    held = [p for p in pair.target.table.partitions if p.role is not PartitionRole.EXTENDED]
    count = len(held) - len(pair.partitions)
    words = ngettext(
        "KEPT: the partition table and {count} other partition; nothing is written to them",
        "KEPT: the partition table and {count} other partitions; nothing is written to them",
        count,
    )
    return words.format(count=format_count(count))
