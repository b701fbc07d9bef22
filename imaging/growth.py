"""A restored partition that takes the room which a larger disk has: which one can, up to where, and why another cannot.

Only the room right behind a partition counts. Nothing is moved but a swap partition that ends the disk: systems know
it by its UUID or its number, and where it lies matters to nobody. That cannot be said of others: Windows notes where
its recovery partition begins. What cannot be done is refused here, before anything is written; how a file system grows
is said in imaging.enlarging.
"""

from collections.abc import Sequence

from msgspec import structs

from imaging import gpt
from imaging.changes import Growth, Moved
from imaging.disk import Partition, PartitionRole, TableKind, exact, format_size
from imaging.errors import RefusedError, UsageError
from imaging.manifest import ImagedDisk, Volume
from imaging.placement import GRAIN
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.run import find_tool

_MBR_SECTORS = 0xFFFFFFFF
LAST = 0
"""Stands for the last partition of a disk, in place of a number."""

_TOOLS: dict[str, tuple[str, ...]] = {
    "ext2": ("e2fsck", "resize2fs"),
    "ext3": ("e2fsck", "resize2fs"),
    "ext4": ("e2fsck", "resize2fs"),
    "ntfs": ("ntfsresize",),
    "xfs": (),
    "btrfs": (),
}
"""The file systems that grow, each with the tools that it takes; the kernel enlarges those that have none."""
_ALONE = ("crypto_LUKS", "LVM2_member")
"""What lies in a partition that may grow alone: what is in there follows on the running system."""
_HAS_TO_BE_CLEAN = ("ntfs", "btrfs")
"""Kinds that are not enlarged where all of them was stored for a reason that was told."""
_HINT = "restore it without --grow: the rest of the disk stays free"


def with_growth(plan: RestorePlan, number: int = LAST, wanted: int | None = None) -> RestorePlan:
    """The plan, with a partition that takes the room behind it: that of the number, by default the last one.

    It takes all of it, or has `wanted` bytes then.
    Raises UsageError where the plan is not of one whole disk, RefusedError (code "cannot-grow") where nothing can grow.
    """
    if len(plan.targets) != 1 or plan.targets[0].partitions:
        raise UsageError("a partition grows where one whole disk is restored, and no other", code="usage")
    (pair,) = plan.targets
    if pair.shrinkage is not None:
        why = f"nothing on {pair.source.name} can grow: partition {pair.shrinkage.partition} becomes smaller"
        raise RefusedError(why, code="cannot-grow", hint="restore it without --grow")
    growth = plan_growth(pair.source, usable(pair), number, wanted)
    refuse_unless_able(growth)
    return structs.replace(plan, targets=(structs.replace(pair, growth=growth),))


def refuse_unless_same(pair: RestoreTarget) -> None:
    """Raise RefusedError where the growth that was shown is not the one that the image and the target's size give."""
    if pair.growth is None:
        return
    if plan_growth(pair.source, usable(pair), pair.growth.partition, pair.growth.size) != pair.growth:
        raise RefusedError("the partition would not grow as it was shown", code="disk-changed")
    refuse_unless_able(pair.growth)


def refuse_unless_able(growth: Growth) -> None:
    """Raise RefusedError where a tool that the growth takes is not installed here."""
    for tool in _TOOLS.get(growth.kind, ()) if growth.filesystem else ():
        if find_tool(tool) is None:
            raise RefusedError(
                f"partition {growth.partition} cannot grow: {tool} is not installed",
                code="cannot-grow",
                hint="start the computer from the recovery stick, which has it, or restore it without --grow",
            )


def usable(pair: RestoreTarget) -> int:
    """Bytes of the target that its table can name: an MBR is read in the image's sectors, and written in its own."""
    if pair.source.table.kind is not TableKind.MBR:
        return pair.target.size
    return min(pair.target.size, _MBR_SECTORS * pair.sector + GRAIN)


def plan_growth(source: ImagedDisk, size: int, number: int = LAST, wanted: int | None = None) -> Growth:
    """How partition `number` of an imaged disk grows on a target of `size` bytes; raises RefusedError, UsageError.

    It takes all the room behind it, or has `wanted` bytes then, less where it would not end at a multiple of GRAIN.
    """
    part = _chosen(source, number)
    volume = _volume(source, part)
    why = _why_not(source, part, volume) or _why_no_room(source, size, part)
    if why or volume is None:
        raise RefusedError(
            f"partition {part.number} of {source.name} cannot grow: {why}", code="cannot-grow", hint=_HINT
        )
    most = _room_ends(source, size, part) - part.start
    new = most if wanted is None else (part.start + wanted) // GRAIN * GRAIN - part.start
    if not part.size < new <= most:
        raise RefusedError(
            f"partition {part.number} of {source.name} cannot grow to {exact(wanted or 0)}: it has {exact(part.size)}, "
            f"and can have {exact(most)} at most",
            code="cannot-grow",
            hint="choose a size between the two",
        )
    moved = _moved(source, size, part)
    return Growth(
        partition=part.number,
        start=part.start,
        old_size=part.size,
        size=new,
        kind=volume.content.kind,
        filesystem=volume.content.kind in _TOOLS,
        moved=moved if moved is not None and part.start + new > moved.start else None,
    )


def _volume(source: ImagedDisk, part: Partition) -> Volume | None:
    """What is stored of a partition, at its very place."""
    return next(
        (v for v in source.volumes if (v.number, v.start, v.size) == (part.number, part.start, part.size)), None
    )


def _swap_behind(source: ImagedDisk, part: Partition) -> Partition | None:
    """The swap partition that ends the disk, with nothing but free room between it and this partition."""
    behind = [p for p in _others(source, part) if p.start >= part.end]
    if len(behind) != 1 or behind[0].role is not PartitionRole.PRIMARY or source.unreadable_in([behind[0].number]):
        return None
    volume = _volume(source, behind[0])
    return behind[0] if volume is not None and volume.content.kind == "swap" else None


def _moved(source: ImagedDisk, size: int, part: Partition) -> Moved | None:
    """Where the swap partition behind goes, to a multiple of GRAIN; None where there is none, or no room to move it."""
    swap = _swap_behind(source, part)
    if swap is None:
        return None
    to = (table_ends(source, size) - swap.size) // GRAIN * GRAIN
    return Moved(partition=swap.number, start=swap.start, size=swap.size, to=to) if to > swap.start else None


def _chosen(source: ImagedDisk, number: int) -> Partition:
    parts = {p.number: p for p in source.table.partitions if p.size}
    if source.table.kind is TableKind.NONE or not parts:
        raise RefusedError(f"{source.name} has no partition that could grow", code="cannot-grow", hint=_HINT)
    if number == LAST:
        return _last(source, list(parts.values()))
    if number not in parts:
        numbers = ", ".join(map(str, sorted(parts)))
        raise UsageError(f"{source.name} has no partition {number}; it has {numbers}", code="no-such-partition")
    return parts[number]


def _last(source: ImagedDisk, parts: Sequence[Partition]) -> Partition:
    """The last partition; the one before where that is swap, which makes room."""
    *_, last = rising = sorted(parts, key=lambda p: (p.end, p.start))
    if len(rising) > 1 and _swap_behind(source, rising[-2]) is last:
        return rising[-2]
    return last


def _why_not(source: ImagedDisk, part: Partition, volume: Volume | None) -> str:
    """Why what stands in the partition keeps it from growing; empty where nothing does."""
    if part.role is not PartitionRole.PRIMARY:
        return "it lies in an extended partition, or is one"
    if volume is None:
        return "nothing of it is in the image"
    if source.unreadable_in([part.number]):
        return "parts of it could not be read when it was captured"
    kind = volume.content.kind
    if kind not in _TOOLS and kind not in _ALONE:
        return f"what is on it ({kind}) cannot be enlarged" if kind else "it is not known what is on it"
    if kind in _HAS_TO_BE_CLEAN and volume.map_origin == "whole" and volume.note:
        return f"its file system has to be in order for that: {volume.note}"
    return ""


def _others(source: ImagedDisk, part: Partition) -> list[Partition]:
    return [p for p in source.table.partitions if p.number != part.number and p.size]


def table_ends(source: ImagedDisk, size: int) -> int:
    """Where partitions end at most on a target of `size` bytes.

    The disk's last MiB stays free, as on every disk that is partitioned: there lie marks of RAID, LVM and others.
    """
    sector = source.logical_sector
    end = size - max(GRAIN, gpt.room_at_end(0, sector))
    if source.table.kind is TableKind.MBR:
        end = min(end, _MBR_SECTORS * sector)
    return end


def _room_ends(source: ImagedDisk, size: int, part: Partition) -> int:
    """Where the room behind a partition ends, a multiple of GRAIN: at the next one, or where partitions do."""
    moved = _moved(source, size, part)
    starts = [p.start for p in _others(source, part) if p.start >= part.end]
    return min([table_ends(source, size), *([moved.to] if moved else starts)]) // GRAIN * GRAIN


def _why_no_room(source: ImagedDisk, size: int, part: Partition) -> str:
    if any(p.start < part.end and part.start < p.end for p in _others(source, part)):
        return "another partition overlaps it"
    if _room_ends(source, size, part) - part.end >= GRAIN:
        return ""
    behind = min((p for p in _others(source, part) if p.start >= part.end), key=lambda p: p.start, default=None)
    if behind is not None and behind != _swap_behind(source, part):
        return f"partition {behind.number} follows it, and only swap at the end of a disk is moved"
    return f"nothing is left of the target's {format_size(size)} behind it"
