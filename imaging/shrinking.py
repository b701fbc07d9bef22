"""A restored partition that gives the room which a smaller disk does not have: which one can, and what moves with it.

One partition becomes smaller, with its file system; those behind it come nearer, as they are and in their order. What
cannot be done is refused here, by the table and the manifest alone; how small a file system can be its own tool has to
say: imaging.smaller. Pure but for the look whether the tools are installed.
"""

from collections.abc import Sequence

from imaging.changes import Moved, Shrinkage
from imaging.disk import Partition, PartitionRole, TableKind, exact
from imaging.errors import RefusedError, UsageError
from imaging.growth import LAST, table_ends
from imaging.manifest import ImagedDisk, Volume
from imaging.placement import GRAIN
from imaging.restoreplans import RestoreTarget
from imaging.run import find_tool

_TOOLS: dict[str, tuple[str, ...]] = {
    "ext2": ("e2fsck", "resize2fs"),
    "ext3": ("e2fsck", "resize2fs"),
    "ext4": ("e2fsck", "resize2fs"),
    "ntfs": ("ntfsresize",),
    "btrfs": ("btrfs",),
}
"""The file systems that can be made smaller, each with the tools that it takes."""
_MAPPED = ("rescue", "partclone")
"""Where the map of what is used says how much that is."""
_TABLES = 16
"""Of a file system at most this part is tables that go away with the room: ext4 has 256 bytes for 4 KiB at most."""
_LEAST = {"btrfs": 256 << 20}
"""What the kernel makes no file system smaller than, in bytes. Source: Linux fs/btrfs/ioctl.c."""
_PLACED = ("ntfs", "vfat", "exfat", "BitLocker")
"""Their boot sectors name the sectors before them, and Windows' boot data the place on an MBR disk."""
_BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
"""The boot record names its sectors. Source: GRUB's manual, BIOS installation."""


def plan_shrinkage(
    source: ImagedDisk, size: int, needed: int, number: int = LAST, wanted: int | None = None
) -> Shrinkage:
    """How a disk that needs `needed` bytes comes to fit on a target of `size`, by partition `number` becoming smaller.

    By default that is the one that keeps the most room to spare, by what is used of it. It becomes as small as is
    needed for that, or has `wanted` bytes then, also where all would fit. Raises RefusedError (code
    "target-too-small") with what is needed, UsageError where there is no such partition.
    """
    parts = sorted((p for p in source.table.partitions if p.size), key=lambda p: (p.start, p.end))
    able = [part for part in parts if not _why_not(source, part)]
    if source.table.kind is TableKind.NONE or not parts:
        raise _too_small(size, needed, "there is no partition on it that could be made smaller")
    if number == LAST:
        if not able:
            raise _too_small(size, needed, _why_none(source, parts))
        found = [_shrinkage(source, parts, part, size) for part in able]
        # Of those with as much to spare the last one: less moves with it.
        chosen = max(reversed(found), key=lambda one: _room_to_spare(source, one))
    else:
        part = next((p for p in parts if p.number == number), None)
        if part is None:
            numbers = ", ".join(str(p.number) for p in parts)
            raise UsageError(f"{source.name} has no partition {number}; it has {numbers}", code="no-such-partition")
        if why := _why_not(source, part):
            raise _too_small(size, needed, f"partition {number} cannot be made smaller: {why}")
        chosen = _shrinkage(source, parts, part, size)
        if wanted is not None:
            return _as_wanted(source, parts, part, wanted, chosen.size if size < needed else part.size - 1)
    if (least := least_known(source, chosen)) > chosen.size:
        raise _far_too_small(size, size + least - chosen.size, chosen.partition)
    return chosen


def _as_wanted(source: ImagedDisk, parts: Sequence[Partition], part: Partition, wanted: int, most: int) -> Shrinkage:
    """The partition with `wanted` bytes; raises RefusedError where that is more than `most`, or too little."""
    if any(p.start >= part.end for p in parts):
        by = -(-(part.size - wanted) // GRAIN) * GRAIN
    else:
        by = part.end - (part.start + wanted) // GRAIN * GRAIN
    if part.size - by > most or by <= 0:
        raise _not_wanted(part.number, wanted, f"it can have {exact(most)} at most to become smaller here")
    chosen = _smaller_by(source, parts, part, by)
    if (least := least_known(source, chosen)) > chosen.size:
        raise _not_wanted(part.number, wanted, f"what is on it needs more than {exact(least)}")
    return chosen


def _not_wanted(number: int, wanted: int, why: str) -> RefusedError:
    return RefusedError(
        f"partition {number} cannot have {exact(max(0, wanted))}: {why}",
        code="cannot-shrink",
        hint="choose another size",
    )


def not_small_enough(shrinkage: Shrinkage, least: int) -> RefusedError:
    """A size that was wanted, where its tool says that `least` bytes are needed."""
    return _not_wanted(shrinkage.partition, shrinkage.size, f"its file system needs {exact(least)} at least")


def bounds(source: ImagedDisk, size: int, needed: int, number: int) -> tuple[int, int]:
    """The least and the most bytes that a partition can have by becoming smaller, as far as that is known by now.

    Raises as `plan_shrinkage`.
    """
    forced = plan_shrinkage(source, size, needed, number) if size < needed else None
    part = next(p for p in source.table.partitions if p.number == number)
    if why := _why_not(source, part):
        raise RefusedError(f"partition {number} cannot be made smaller: {why}", code="cannot-shrink")
    parts = [p for p in source.table.partitions if p.size]
    least = -(-least_known(source, _smaller_by(source, parts, part, 0)) // GRAIN) * GRAIN
    return least, part.size if forced is None else forced.size


def too_small(size: int, needed: int, number: int) -> RefusedError:
    """A target of `size` bytes, where its tool says that `needed` are, with the partition as small as it can be."""
    needed = -(-needed // GRAIN) * GRAIN
    why = f"with partition {number} as small as it can be, at least {exact(needed)} are needed"
    return _refused(size, why)


def _far_too_small(size: int, needed: int, number: int) -> RefusedError:
    """The same by what is known without the tool, which will want more."""
    needed = needed // GRAIN * GRAIN
    why = f"with partition {number} as small as it can be, more than {exact(needed)} are needed"
    return _refused(size, why)


def _refused(size: int, why: str) -> RefusedError:
    return RefusedError(
        f"the disk is too small: {why}, it has {exact(size)}",
        code="target-too-small",
        hint="choose a larger disk",
    )


def _too_small(size: int, needed: int, why: str) -> RefusedError:
    return RefusedError(
        f"the disk is too small: {exact(needed)} are needed, it has {exact(size)}, and {why}",
        code="target-too-small",
        hint="choose a disk that all of it fits on",
    )


def least_known(source: ImagedDisk, shrinkage: Shrinkage) -> int:
    """Bytes that the file system needs in any case, by what is known without asking its tool."""
    volume = next(v for v in source.volumes if v.number == shrinkage.partition)
    least = _LEAST.get(shrinkage.kind, GRAIN)
    if volume.map_origin not in _MAPPED:
        return least
    tables = 0 if shrinkage.kind == "ntfs" else shrinkage.old_size // _TABLES
    return max(least, volume.used - tables)


def _room_to_spare(source: ImagedDisk, one: Shrinkage) -> tuple[bool, int]:
    """By which the partition is chosen that becomes smaller: whether there is room by its map, and how much.

    What has no map keeps nothing to spare as far as anyone knows, and may be refused by its tool: a btrfs on several
    disks, for one. It is taken where there is no other.
    """
    spare = one.size - least_known(source, one)
    volume = next(v for v in source.volumes if v.number == one.partition)
    return volume.map_origin in _MAPPED and spare >= 0, spare


def refuse_unless_same(pair: RestoreTarget, needed: int) -> None:
    """Raise RefusedError where what was shown is not what the image and the target's size give, or no tool is here."""
    if pair.shrinkage is None:
        return
    shown = pair.shrinkage
    if plan_shrinkage(pair.source, pair.target.size, needed, shown.partition, shown.size) != shown:
        raise RefusedError("the partition would not become smaller as it was shown", code="disk-changed")
    refuse_unless_able(pair.shrinkage)


def refuse_unless_able(shrinkage: Shrinkage) -> None:
    """Raise RefusedError where a tool that it takes is not installed here."""
    for tool in _TOOLS[shrinkage.kind]:
        if find_tool(tool) is None:
            raise RefusedError(
                f"partition {shrinkage.partition} cannot be made smaller: {tool} is not installed",
                code="cannot-shrink",
                hint="start the computer from the recovery stick, which has it",
            )


def _kind(source: ImagedDisk, part: Partition) -> str:
    volume = _volume(source, part)
    return volume.content.kind if volume is not None else ""


def _volume(source: ImagedDisk, part: Partition) -> Volume | None:
    """What is stored of a partition, at its very place."""
    place = part.number, part.start, part.size
    return next((v for v in source.volumes if (v.number, v.start, v.size) == place), None)


def _why_none(source: ImagedDisk, parts: Sequence[Partition]) -> str:
    """Why no partition can become smaller: what keeps each of those whose kind could, or that there is none."""
    reasons = {part.number: _why_not(source, part) for part in parts if _kind(source, part) in _TOOLS}
    whys = [f"partition {number} cannot be made smaller: {why}" for number, why in reasons.items()]
    kinds = ", ".join(dict.fromkeys(_kind(source, part) or "unknown" for part in parts))
    return "; ".join(whys) or f"nothing that is on its partitions ({kinds}) can be made smaller"


def _why_not(source: ImagedDisk, part: Partition) -> str:
    """Why a partition cannot become smaller, in words; empty where it may."""
    volume = _volume(source, part)
    if part.role is not PartitionRole.PRIMARY:
        return "it lies in an extended partition, or is one"
    if volume is None:
        return "nothing of it is in the image"
    kind = volume.content.kind
    if kind not in _TOOLS:
        return f"what is on it ({kind}) does not allow that" if kind else "it is not known what is on it"
    if source.left_out:
        return "the image leaves out other partitions, which stay where they are"
    if source.table.dynamic:
        return "it is of a dynamic disk of Windows, which keeps a table of its own"
    if part.recovery:
        return "it is the recovery partition of the computer that was captured"
    if source.unreadable_in([part.number]):
        return "parts of it could not be read when it was captured"
    if kind == "ntfs" and volume.map_origin == "whole" and volume.note:
        return f"its file system has to be in order for that: {volume.note}"
    others = [p for p in source.table.partitions if p.number != part.number and p.size]
    if any(p.start < part.end and part.start < p.end for p in others):
        return "another partition overlaps it"
    return next(filter(None, (_why_not_moved(source, p) for p in others if p.start >= part.end)), "")


def _why_not_moved(source: ImagedDisk, part: Partition) -> str:
    """Why a partition behind the one that becomes smaller cannot come nearer; empty where it can."""
    if part.role is not PartitionRole.PRIMARY:
        return f"partition {part.number} behind it is an extended one, or lies in one, and is not moved"
    if part.type.lower() == _BIOS_BOOT or part.bootable:
        return f"the computer starts from partition {part.number} behind it, which cannot be moved"
    if _volume(source, part) is None:
        return f"nothing of partition {part.number} behind it is in the image"
    if source.table.kind is TableKind.MBR and (kind := _kind(source, part)) in _PLACED:
        return f"what is on partition {part.number} behind it ({kind}) notes where it begins, and cannot be moved"
    return ""


def _shrinkage(source: ImagedDisk, parts: Sequence[Partition], part: Partition, size: int) -> Shrinkage:
    """What has to become of a partition for the last one to end where partitions do; its size can be less than 0."""
    behind = [p for p in parts if p.start >= part.end]
    end = table_ends(source, size) // GRAIN * GRAIN
    last = max([part.end, *(p.end for p in behind)])
    by = -(-(last - end) // GRAIN) * GRAIN if behind else last - end
    return _smaller_by(source, parts, part, by)


def _smaller_by(source: ImagedDisk, parts: Sequence[Partition], part: Partition, by: int) -> Shrinkage:
    """A partition without its last bytes; those behind it, in their order, come nearer by as many."""
    behind = sorted((p for p in parts if p.start >= part.end), key=lambda p: (p.start, p.end))
    moved = [Moved(partition=p.number, start=p.start, size=p.size, to=p.start - by) for p in behind]
    return Shrinkage(
        partition=part.number,
        start=part.start,
        old_size=part.size,
        size=part.size - by,
        kind=_kind(source, part),
        moved=tuple(moved),
    )
