"""Chosen partitions of an image into partitions of a disk: pure functions that plan it, or refuse."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from msgspec import structs

from imaging import gpt, planner
from imaging.disk import Disk, Partition, PartitionRole, PartitionTable, TableKind, exact
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.imageplans import VerifyPlan
from imaging.manifest import Image, ImagedDisk, Volume
from imaging.packformat import lies_in
from imaging.planner import refuse_target, why_not_in_use, why_protected
from imaging.restoreplans import PartitionTarget, RestorePlan, RestoreTarget

_GROUPS = ("LVM2_member", "linux_raid_member", "zfs_member", "bcache", "drbd")
"""Kinds of members, whose group blkid does not name by their UUID."""
_RAID = "_raid_member"
"""How blkid's names of RAID members end; those of Linux (metadata 0.90 and 1.0) and of BIOSes stand at the end."""


def volume_of(source: ImagedDisk, number: int) -> Volume:
    """The volume of an imaged disk that bears a number; 0 is the bare disk of one without a table.

    Raises UsageError where there is none or it was left out, BadImageError where it lies beyond the disk.
    """
    volume = next((volume for volume in source.volumes if volume.number == number), None)
    if volume is None:
        left_out = any(part.number == number for part in source.left_out)
        stored = ", ".join(str(volume.number) for volume in source.volumes) or "none"
        why = "was left out of the image" if left_out else "is not in the image"
        raise UsageError(f"partition {number} of {source.name} {why}, which holds {stored}", code="no-such-partition")
    if volume.start + volume.size > source.size or not volume.size:
        raise BadImageError(
            f"partition {number} of {source.name} is empty or reaches beyond the end of its disk", code="bad-table"
        )
    return volume


def why_not_disk(disk: Disk, source: ImagedDisk) -> str:
    """Why no partition of `disk` can be restored into, whichever it is, in words; empty where one may be."""
    protected = why_protected(disk, beside_kept=True)
    if protected:
        return protected
    if not disk.table.partitions:
        return "it has no partitions"
    if disk.logical_sector != source.logical_sector:
        return f"its sectors have {disk.logical_sector} bytes, those of the image {source.logical_sector}"
    return ""


def why_not_partition(disk: Disk, part: Partition, source: ImagedDisk, volume: Volume) -> str:
    """Why a volume of an image cannot go into a partition of a disk, in words; empty where it can.

    Other partitions of the disk may be mounted, for what is written cannot leave this one. What stands on the disk
    otherwise (LVM, RAID) is not known to keep off the partition, and forbids it.
    """
    why = why_not_disk(disk, source)
    if why:
        return why
    if part.number == disk.kept:
        return why_protected(disk)
    if part.role is PartitionRole.EXTENDED:
        return "it is an extended partition, which holds others"
    others = _beside(disk, part)
    in_use = why_not_in_use(disk, beside=[f"/dev/{disk.partition_name(p.number)}" for p in others])
    if in_use:
        return in_use
    start, end = _ground(disk)
    if not start <= part.start < part.end <= end:
        return "it lies where the partition table does, or beyond the end of the disk"
    for other in others:
        if other.start < part.end and part.start < other.end:
            return f"it overlaps partition {other.number}"
    if part.size < volume.size:
        return f"it is too small: {exact(volume.size)} are needed, it has {exact(part.size)}"
    if part.size != volume.size and volume.content.kind.endswith(_RAID):
        return f"a RAID member can be known by its end: a partition of exactly {exact(volume.size)} is needed"
    return ""


def _ground(disk: Disk) -> tuple[int, int]:
    """Where partitions can lie, in bytes: what stands before and behind is the table's. Source: UEFI 2.10, 5.3.1."""
    if disk.table.kind is TableKind.GPT:
        room = gpt.room_at_end(0, disk.logical_sector)
        return room + disk.logical_sector, disk.size - room
    return 2 * disk.logical_sector, disk.size


def _beside(disk: Disk, part: Partition) -> list[Partition]:
    """The other partitions that hold data."""
    return [p for p in disk.table.partitions if p is not part and p.role is not PartitionRole.EXTENDED]


def plan_restore_partitions(
    library: Path,
    image: Image,
    name: str,
    target: Disk,
    chosen: Mapping[int, int],
    *,
    read_back: bool = True,
) -> RestorePlan:
    """Plan to restore volumes of the image's disk `name`, each into the partition of `target` that `chosen` says.

    Raises RefusedError, UsageError or BadImageError.
    """
    source = _source(image, name)
    if not chosen:
        raise UsageError("no partition was given to restore", code="no-such-partition")
    if len(set(chosen.values())) != len(chosen):
        raise UsageError("two partitions cannot be restored into one", code="same-partition-twice")
    if target.regular_file and lies_in(Path(target.path), library):
        refuse_target(target.name, target, "it lies in the image library")
    volumes = {number: volume_of(source, number) for number in chosen}
    why = why_not_disk(target, source)
    if why:
        refuse_target(target.name, target, why)
    pairs = [_pair(target, source, volumes[number], into) for number, into in chosen.items()]
    return RestorePlan(
        library=str(library),
        image=image.id,
        label=image.label,
        targets=(RestoreTarget(source=source, target=target, partitions=tuple(pairs)),),
        read_back=read_back,
    )


def plan_restore_but(
    library: Path,
    image: Image,
    name: str,
    target: Disk,
    keep: Collection[int],
    *,
    read_back: bool = True,
) -> RestorePlan:
    """Plan to restore all of the image's disk `name` but the partitions that are to stay as they are on `target`.

    The disk has to be laid out as the image is, but for partitions to keep that the image does not know, for its table
    stays, too. Raises RefusedError (code "other-layout" where it is laid out otherwise), UsageError or BadImageError.
    """
    source = _source(image, name)
    _refuse_other_layout(source, target, keep)
    wanted = {volume.number: volume.number for volume in source.volumes if volume.number not in keep}
    return plan_restore_partitions(library, image, name, target, wanted, read_back=read_back)


def of_some(image: Image, target: Disk) -> bool:
    """Whether an image brings back partitions alone: it has some of one disk, and the disk has partitions.

    A blank disk gets all that the image has, its table included.
    """
    some = len(image.disks) == 1 and bool(image.disks[0].left_out)
    return some and bool(target.table.partitions) and not target.unfinished


def put_back(source: ImagedDisk, target: Disk) -> Mapping[int, int]:
    """The partitions that are stored of a disk, each to go back to where it was; the table stays as it is.

    Raises RefusedError (code "other-layout") where one of them does not begin there any more.
    """
    starts = {part.number: part.start for part in target.table.partitions}
    for volume in source.volumes:
        if starts.get(volume.number) != volume.start:
            raise RefusedError(
                f"{target.name} has no partition {volume.number} where the one that was saved began",
                code="other-layout",
                hint=f"`rescue restore` with --partition {volume.number}:M puts it into another one",
            )
    return {volume.number: volume.number for volume in source.volumes}


def _source(image: Image, name: str) -> ImagedDisk:
    source = next((disk for disk in image.disks if disk.name == name), None)
    if source is None:
        names = ", ".join(disk.name for disk in image.disks)
        raise UsageError(f"image {image.id} has no disk {name!r}; it has {names}", code="no-such-disk")
    return source


def _refuse_other_layout(source: ImagedDisk, target: Disk, keep: Collection[int]) -> None:
    there = {part.number: part for part in target.table.partitions}
    for number in keep:
        if number not in there or there[number].role is PartitionRole.EXTENDED:
            raise UsageError(f"{target.name} has no partition {number} to keep", code="no-such-partition")
    known = {part.number for part in source.table.partitions}
    now = [one for one in _layout(target.table) if one[0] in known or one[0] not in keep]
    then = _layout(source.table)
    if target.table.kind is not source.table.kind or now != then:
        odd = sorted({number for number, *_ in set(now) ^ set(then)})
        which = ", ".join(map(str, odd)) or "its kind of partition table"
        raise RefusedError(
            f"{target.name} is not laid out as the image is: {which}",
            code="other-layout",
            hint="save what is to be kept elsewhere, and restore the whole disk",
        )
    stays = [part.number for part in source.left_out if part.number not in keep]
    if stays:
        raise UsageError(
            f"the image leaves partition {stays[0]} out: it would stay as it is, too",
            code="no-such-partition",
            hint=f"--keep {stays[0]} as well, where that is meant",
        )
    _refuse_no_system(source, target, keep)
    _refuse_torn(source, target, keep)


def _refuse_no_system(source: ImagedDisk, target: Disk, keep: Collection[int]) -> None:
    """Where every system of the image is on partitions that stay, the old one would start with parts of the new."""
    there = [volume for volume in source.volumes if volume.system]
    if there and all(volume.number in keep for volume in there):
        first = there[0]
        raise RefusedError(
            f"{target.partition_name(first.number)} is to be kept, and is where the image has its system, "
            f"{first.system}: it would not be restored",
            code="keeps-system",
            hint="keep other partitions alone; `rescue restore` with --partition restores single ones",
        )


def _refuse_torn(source: ImagedDisk, target: Disk, keep: Collection[int]) -> None:
    """Nothing that lies on several partitions may be half of one day and half of another."""
    stays = [part for part in target.table.partitions if part.number in keep]
    there = [(part.number, part.content) for part in target.table.partitions if part.number not in keep]
    comes = [(volume.number, volume.content) for volume in source.volumes if volume.number not in keep]
    for number, content in (*there, *comes):
        kind, uuid = content.kind, content.uuid
        twins = [one for one in stays if kind and one.content.kind == kind]
        shared = [one for one in twins if kind in _GROUPS or (uuid and one.content.uuid == uuid)]
        if shared:
            raise RefusedError(
                f"partitions {number} and {shared[0].number} of {target.name} may belong together ({kind}): one "
                "cannot be kept without the other",
                code="torn-volume",
                hint="keep both, or none",
            )


def _layout(table: PartitionTable) -> list[tuple[int, int, int, str, str]]:
    return [(p.number, p.start, p.size, p.type.lower(), p.uuid.lower()) for p in table.partitions]


def _pair(target: Disk, source: ImagedDisk, volume: Volume, into: int) -> PartitionTarget:
    part = _only(target, into)
    why = why_not_partition(target, part, source, volume)
    if why:
        refuse_target(target.partition_name(into), target, why)
    return PartitionTarget(volume=volume.number, partition=into, start=part.start, size=part.size)


def plan_verify(
    library: Path,
    image: Image,
    *,
    disk: str = "",
    against: Disk | None = None,
    chosen: Mapping[int, int],
    deep: bool = False,
    check: bool = False,
) -> VerifyPlan:
    """Plan to check an image or compare a disk with it, or only partitions of it, as `chosen` pairs them.

    Raises UsageError, RefusedError or BadImageError.
    """
    plan = planner.plan_verify(library, image, disk=disk, against=against, deep=deep, check=check)
    if not chosen:
        return plan
    if against is None:
        raise UsageError("say with which disk to compare the partition: --against", code="usage")
    source = next(found for found in image.disks if found.name == plan.disk)
    return structs.replace(plan, partitions=tuple(_compared(against, source, *pair) for pair in chosen.items()))


def _compared(against: Disk, source: ImagedDisk, number: int, other: int) -> PartitionTarget:
    volume, part = volume_of(source, number), _only(against, other)
    if part.size < volume.size or part.end > against.size:
        raise RefusedError(
            f"{against.partition_name(other)} cannot hold the partition: {exact(volume.size)} are needed, it has "
            f"{exact(part.size)}",
            code="target-too-small",
        )
    return PartitionTarget(volume=number, partition=other, start=part.start, size=part.size)


def _only(disk: Disk, number: int) -> Partition:
    """The partition of a disk that bears a number; raises UsageError unless there is exactly one."""
    found = [part for part in disk.table.partitions if part.number == number]
    if len(found) != 1:
        numbers = ", ".join(str(part.number) for part in disk.table.partitions) or "none"
        raise UsageError(f"{disk.name} has no partition {number}; it has {numbers}", code="no-such-partition")
    return found[0]


def plan_again(library: Path, image: Image, pair: RestoreTarget, now: Disk) -> Sequence[PartitionTarget]:
    """What the plan for `pair` is on its disk as it is now; raises as `plan_restore_partitions` does."""
    chosen = {p.volume: p.partition for p in pair.partitions}
    return plan_restore_partitions(library, image, pair.source.name, now, chosen).targets[0].partitions
