"""What is other on the target than in the image, in words: a partition's size, or that of the sectors."""

from collections.abc import Sequence
from dataclasses import replace

from imaging.changes import Growth, Shrinkage
from imaging.events import Grown, Smaller
from imaging.manifest import ImagedDisk
from imaging.restoreplans import RestoreTarget
from rescue.contents import content_words
from rescue.formats import clean, format_size
from rescue.language import N_, _
from rescue.telling import told

INDENT = "    "
_WINDOWS_RECOVERY = "de94bba4-06d1-4d40-a16a-bfd50179d6ac"
"""The type of a GPT partition. Source: Microsoft, PARTITION_INFORMATION_GPT."""
_EFI = ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ef")
"""The types of an EFI system partition, in a GPT and in an MBR."""
_BIOS_SECTOR = 512
_AFTER = {
    "ntfs": N_("Windows checks it when it starts for the first time."),
    "crypto_LUKS": N_("What is encrypted in it is as large as the partition when it is next unlocked; the file system "
                      "in there is not enlarged: do that on the running system."),
    "LVM2_member": N_("LVM does not know of it yet: on the running system, pvresize gives the room to its group."),
}  # fmt: skip


def resized_disk(pair: RestoreTarget) -> ImagedDisk:
    """The image's disk, with the partition that grows or becomes smaller as large as it will be."""
    growth, shrinkage, table = pair.growth, pair.shrinkage, pair.source.table
    parts = {part.number: part for part in table.partitions}
    if shrinkage is not None:
        for part in table.partitions:
            start, size = shrinkage.placed(part.start, part.size)
            parts[part.number] = replace(part, start=start, size=size)
        return replace(pair.source, table=replace(table, partitions=tuple(parts.values())))
    if growth is None:
        return pair.source
    parts[growth.partition] = replace(parts[growth.partition], size=growth.size)
    if growth.moved:
        parts[growth.moved.partition] = replace(parts[growth.moved.partition], start=growth.moved.to)
    return replace(pair.source, table=replace(table, partitions=tuple(parts.values())))


def growth_lines(pair: RestoreTarget) -> list[str]:
    """Which partition grows, from what size to which; nothing where none does."""
    growth = pair.growth
    if growth is None:
        return []
    what = next(content_words(v.content) for v in pair.source.volumes if v.number == growth.partition)
    words = _("ENLARGED: partition {number} ({what}), from {before} to {after}").format(
        number=growth.partition, what=what, before=format_size(growth.old_size), after=format_size(growth.size)
    )
    if growth.moved:
        goes = _("MOVED: partition {number} (swap), to the end of the disk").format(number=growth.moved.partition)
        return [words, *(INDENT + line for line in _follows(growth)), goes]
    return [words, *(INDENT + line for line in _follows(growth))]


def shrinkage_lines(pair: RestoreTarget) -> list[str]:
    """Which partition becomes smaller, from what size to which, and what moves; nothing where none does."""
    shrinkage = pair.shrinkage
    if shrinkage is None:
        return []
    what = next(content_words(v.content) for v in pair.source.volumes if v.number == shrinkage.partition)
    words = _("MADE SMALLER: partition {number} ({what}) with its file system, from {before} to {after}").format(
        number=shrinkage.partition,
        what=what,
        before=format_size(shrinkage.old_size),
        after=format_size(shrinkage.size),
    )
    after = [_("That is done before anything is written to the disk; the image stays as it is.")]
    if shrinkage.kind == "ntfs":
        after.append(_(_AFTER["ntfs"]))
    if shrinkage.kind == "btrfs":
        after.append(_("It is mounted for that: its log is replayed, and what was deleted may be cleared away."))
    lines = [words, *(INDENT + line for line in after)]
    if shrinkage.moved:
        numbers = ", ".join(str(one.partition) for one in shrinkage.moved)
        lines.append(_("MOVED: what lies behind it comes nearer, as it is: {numbers}").format(numbers=numbers))
        lines += [INDENT + line for line in _to_be_named(pair.source, shrinkage)]
    return lines


def resectoring_lines(pair: RestoreTarget) -> list[str]:
    """What becomes of a disk whose sectors have another size; nothing where they have the same."""
    change = pair.resectoring
    if change is None:
        return []
    words = _("OTHER SECTORS: of {after} bytes, not {before}: the partition table is written anew")
    lines = [words.format(after=change.after, before=change.before)]
    if change.rebuilt:
        numbers = ", ".join(map(str, change.rebuilt))
        again = _("MADE ANEW: the file system (FAT) of partition {numbers}, with the same files")
        lines.append(again.format(numbers=numbers))
    if change.after > _BIOS_SECTOR:
        lines.append(INDENT + _("A BIOS does not start a computer from such a disk; UEFI does."))
        if not any(part.type.lower() in _EFI for part in pair.source.table.partitions):
            lines.append(INDENT + _("There is no EFI system partition on it: no computer will start from this disk."))
    return lines


def _to_be_named(source: ImagedDisk, shrinkage: Shrinkage) -> list[str]:
    """What Windows knows by where it begins."""
    moved = {one.partition for one in shrinkage.moved}
    kinds = {volume.number: volume.content.kind for volume in source.volumes}
    parts = [part for part in source.table.partitions if part.number in moved]
    found = [p.number for p in parts if p.type.lower() == _WINDOWS_RECOVERY or kinds.get(p.number) == "ntfs"]
    words = _("Windows may have to be told where it is now (reagentc): {numbers}")
    return [words.format(numbers=", ".join(map(str, found)))] if found else []


def _follows(growth: Growth) -> list[str]:
    first = _("Its file system grows with it.") if growth.filesystem else _("The partition alone grows.")
    return [first, *([_(_AFTER[growth.kind])] if growth.kind in _AFTER else [])]


def smaller_figures(smaller: Sequence[Smaller]) -> list[str]:
    """Each partition that has become smaller."""
    words = _("Made smaller with its file system: {partition}, from {before} to {after}")
    return [
        words.format(partition=clean(one.partition), before=format_size(one.before), after=format_size(one.size))
        for one in smaller
    ]


def grown_figures(grown: Sequence[Grown]) -> list[str]:
    """What has come of each partition that was to grow."""
    lines = []
    for one in grown:
        if one.why_not:
            words = _("Not enlarged: {partition}, which has {size}: {why}")
            lines.append(
                words.format(partition=clean(one.partition), size=format_size(one.size), why=clean(told(one.why_not)))
            )
            continue
        words = (
            _("Enlarged with its file system: {partition}, from {before} to {after}")
            if one.filesystem
            else _("Enlarged: the partition {partition}, from {before} to {after}")
        )
        sizes = {"before": format_size(one.before), "after": format_size(one.size)}
        lines.append(words.format(partition=clean(one.partition), **sizes))
    return lines
