"""From what was found to what is to be done: pure functions that make plans, or refuse."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from msgspec.structs import replace

from imaging import gpt, levels, resectoring
from imaging.changes import Shrinkage
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, PartitionRole, Role, TableKind, exact
from imaging.errors import RefusedError, UsageError
from imaging.extents import Extents
from imaging.growth import LAST
from imaging.imageplans import (
    CapturePlan,
    CopyImagesPlan,
    DeletePlan,
    ExportPlan,
    FilesPlan,
    ImportPlan,
    PrunePlan,
    VerifyPlan,
    VerifySetPlan,
)
from imaging.manifest import Image, ImagedDisk
from imaging.packformat import lies_in
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaGrowPlan, MediaIsoPlan, MediaPlan, RemovePlan
from imaging.repairplans import RepairPlan
from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.shrinking import plan_shrinkage

_TOO_SMALL = "too small"
_SMALLER = "choose a larger disk, or have a file system become smaller: --shrink"
_ROLE_REASONS = {
    Role.BOOT_MEDIUM: "this computer was started from it",
    Role.SYSTEM: "the running system stands on it",
    Role.LIBRARY: "it holds the image library",
}
_OWN_REASONS = {
    Role.BOOT_MEDIUM: "this computer was started from its recovery partition",
    Role.LIBRARY: "its recovery partition holds the image library",
}
"""The same where the role comes from the computer's own recovery partition, beside which others may be written."""
_RESTORE_RATE = 150e6
_CAPTURE_RATE = 120e6
_VERIFY_RATE = 400e6
"""Bytes of used data a second, of a common disk: an SSD behind SATA or a fast stick. A rough first guess."""
_MEDIA_RATE = 12e6
"""Bytes a second of a common stick, each written and read back."""
_GROW_RATE = 2e9
"""Bytes a second by which ext4 grows: of each GB some MB are written."""
_CHECK_RATE = 5e9
"""Bytes of a file system that its check goes through a second: it reads what describes the files alone."""
_DELETE_TIME = 10.0
"""Seconds: what names the chunks is read, and some thousand files are removed."""


def needed_size(source: ImagedDisk) -> int:
    """The least bytes that a disk must have to take the source: up to its last partition's end and the table's copy."""
    ends = [p.end for p in source.table.partitions]
    match source.table.kind:
        case TableKind.NONE:
            return source.size
        case TableKind.MBR:
            return max(ends, default=source.size)
        case TableKind.GPT:
            return min(max([*ends, 1 << 20]) + copy_of_table(source), source.size)


def copy_of_table(source: ImagedDisk) -> int:
    """Bytes of the copy that ends a GPT: a table can have more than the usual 128 entries."""
    return gpt.room_at_end(_entries(source), source.logical_sector)


def _entries(source: ImagedDisk) -> int:
    first = min((p.start for p in source.table.partitions), default=source.size - (1 << 20))
    return Extents(source.table_extents).clipped(2 * source.logical_sector, first).total


OUR_MOUNTS = "/run/rescue/media/"
"""Media that the live system mounted itself, read-only, to look for images; the worker lets go of them."""


def why_not_in_use(disk: Disk, *, read_only_is_fine: bool = False, beside: Sequence[str] = ()) -> str:
    """Why the running system's use of a disk forbids to touch it; empty where it does not.

    `beside` names the devices of partitions that will not be touched: mounts of these do no harm.
    """
    for mount in disk.mounts:
        if mount.source in beside or (mount.beneath and {f"/dev/{name}" for name in mount.beneath} <= set(beside)):
            continue
        if mount.where == "[swap]":
            return f"it is in use: {mount.source} is swap space"
        if not (mount.read_only and (read_only_is_fine or mount.where.startswith(OUR_MOUNTS))):
            return f"it is in use: {mount.source} is mounted at {mount.where}"
    if disk.holders:
        return f"it is in use by {', '.join(disk.holders)}"
    return ""


def why_protected(disk: Disk, *, beside_kept: bool = False) -> str:
    """Why nothing may be written to a disk at all, in words; empty where that is not so.

    `beside_kept` asks for partitions other than the recovery partition that all of the disk's roles come from: its
    bytes and the table stay as they are when these are written.
    """
    for role in disk.roles:
        if not disk.regular_file and not (beside_kept and disk.kept):
            return (_OWN_REASONS if disk.kept else _ROLE_REASONS).get(role, _ROLE_REASONS[role])
    if not disk.fingerprint:
        return disk.problem or "it cannot be read"
    if disk.failing:
        return f"it is failing: {disk.failing}"
    return "it is read-only" if disk.read_only else ""


def _has_other_sectors(disk: Disk, source: ImagedDisk) -> bool:
    """A file has no sectors: what is restored into it keeps those of the image."""
    return disk.logical_sector != source.logical_sector and not disk.regular_file


def why_not_target(disk: Disk, source: ImagedDisk, *, any_size: bool = False, any_sectors: bool = False) -> str:
    """Why `source` cannot be restored onto `disk`, in words; empty where it can.

    `any_size` and `any_sectors`: where a partition may become smaller, or the table be written for other sectors, as
    far as that is known by now.
    """
    protected = why_protected(disk)
    if protected:
        return protected
    in_use = why_not_in_use(disk)
    if in_use:
        return in_use
    needed = needed_size(source)
    if _has_other_sectors(disk, source):
        sector, own = disk.logical_sector, source.logical_sector
        if not any_sectors:
            return f"its sectors have {sector} bytes, those of the image {own}"
        if why := resectoring.why_not(source, sector):
            # In one piece: the shorter message, which this begins with, would be taken for it in other languages.
            return f"its sectors have {sector} bytes, those of the image {own}; {why}"
        needed, any_size = resectoring.needed_size(source, disk.logical_sector, _entries(source)), False
    if disk.size < needed and not any_size:
        return f"it is too small: {exact(needed)} are needed, it has {exact(disk.size)}"
    return ""


def why_not_source(disk: Disk, library: Path | None = None, only: Sequence[int] = (), *, running: bool = False) -> str:
    """Why `disk`, or `only` these partitions of it, cannot be captured (into `library`), in words; empty where it can.

    A mounted file system changes while it is read: an image of it may be good for nothing. With `running` it is held
    still by imaging.still, which says itself what it cannot hold.
    """
    if disk.problem or not disk.fingerprint:
        return disk.problem or "it cannot be read"
    if disk.unfinished:
        return f"it is only partly restored (from {disk.unfinished}): restore it first"
    for part in disk.table.partitions:
        if part.unfinished and (not only or part.number in only):
            return f"partition {part.number} is only partly restored (from {part.unfinished}): restore it first"
    if not disk.size:
        return "it has no medium, or no size"
    if library is not None and disk.regular_file and lies_in(Path(disk.path), library):
        return "it lies in the image library"
    for role in disk.roles:
        if role is Role.LIBRARY and not disk.regular_file:
            return "it holds the image library that it would be captured into"
    return "" if running else why_not_in_use(disk, read_only_is_fine=True)


def plan_capture(
    disks: Sequence[Disk],
    library: Path,
    label: str = "",
    level: int = DEFAULT_LEVEL,
    *,
    only: Mapping[str, Sequence[int]] | None = None,
    check: bool = False,
    running: bool = False,
) -> CapturePlan:
    """Plan to capture disks into a library, whole but for those of which `only` names partitions, by the disk's path.

    With `running` they may be those of the running system, and are captured as they are at one moment. Raises
    RefusedError or UsageError.
    """
    chosen = {disk.path: _chosen(disk, only[disk.path]) for disk in disks if only and disk.path in only}
    if not disks:
        raise UsageError("no disk was given to capture", code="no-disk")
    if len({disk.path for disk in disks}) != len(disks) or len({disk.name for disk in disks}) != len(disks):
        raise UsageError("one disk was given twice", code="same-disk-twice")
    if not levels.LEAST <= level <= levels.MOST:
        raise UsageError(f"compression level {level} is not from {levels.LEAST} to {levels.MOST}", code="bad-level")
    if running and chosen:
        raise UsageError("of the running system whole disks are captured: give no partitions", code="usage")
    for disk in disks:
        why = why_not_source(disk, library, chosen.get(disk.path, ()), running=running)
        if why:
            raise RefusedError(f"{disk.name} cannot be captured: {why}", code=_code(disk, why), hint=_source_hint(disk))
    return CapturePlan(
        library=str(library),
        disks=tuple(disks),
        only=chosen,
        label=label,
        level=level,
        check=check,
        running=running,
    )


def _chosen(disk: Disk, numbers: Sequence[int]) -> tuple[int, ...]:
    """The partitions to capture of a disk, each once; raises UsageError where it does not have one of them."""
    there = {p.number for p in disk.table.partitions if p.role is not PartitionRole.EXTENDED}
    for number in numbers:
        if number not in there:
            raise UsageError(
                f"{disk.name} has no partition {number} that holds data; it has {_listed(there)}",
                code="no-such-partition",
            )
    if not numbers:
        raise UsageError(f"no partition of {disk.name} was given to capture", code="no-such-partition")
    return tuple(sorted(set(numbers)))


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers)) or "none"


def _source_hint(disk: Disk) -> str | None:
    if disk.mounts or disk.holders:
        return "unmount it, or start the computer from the recovery stick and capture it there"
    return None


def plan_restore(
    library: Path,
    image: Image,
    targets: Mapping[str, Disk],
    *,
    read_back: bool = True,
    create: bool = False,
    shrink: int | None = None,
    shrink_to: int | None = None,
) -> RestorePlan:
    """Plan to restore disks of an image, by their names in it, each onto a whole disk.

    `create` says that the targets are files that do not exist yet. With `shrink` a partition (that of the number, or
    one that can) becomes smaller where a disk has less room than is needed, or to `shrink_to` bytes; whether its file
    system can, its tool has to say: imaging.smaller. Raises RefusedError or UsageError.
    """
    sources = {disk.name: disk for disk in image.disks}
    unknown = [name for name in targets if name not in sources]
    if unknown or not targets:
        names = ", ".join(sources)
        raise UsageError(
            f"image {image.id} has no disk {unknown[0] if unknown else ''!r}; it has {names}", code="no-such-disk"
        )
    paths = [target.path for target in targets.values()]
    if len(set(paths)) != len(paths):
        raise UsageError("two disks cannot be restored onto one", code="same-disk-twice")
    if shrink and len(targets) != 1:
        raise UsageError("a partition is named that becomes smaller, and several disks are restored", code="usage")
    pairs = []
    for name, target in targets.items():
        why = "" if create else why_not_target(target, sources[name], any_size=shrink is not None, any_sectors=True)
        if not why and target.regular_file and lies_in(Path(target.path), library):
            why = "it lies in the image library"
        other = not create and _has_other_sectors(target, sources[name])
        if why:
            refuse_target(target.name, target, why, _SMALLER if _TOO_SMALL in why and not other else "")
        if other and shrink_to is not None:
            raise RefusedError(
                f"{target.name} has sectors of another size than the image: there no partition becomes smaller",
                code="other-sectors",
                hint="restore without --shrink",
            )
        pairs.append(
            RestoreTarget(
                source=sources[name],
                target=target,
                create=create,
                shrinkage=None if shrink is None or other else _shrinkage(sources[name], target, shrink, shrink_to),
                resectoring=resectoring.plan_resectoring(sources[name], target.logical_sector) if other else None,
            )
        )
    return RestorePlan(
        library=str(library), image=image.id, label=image.label, targets=tuple(pairs), read_back=read_back
    )


def can_shrink(disk: Disk, source: ImagedDisk) -> bool:
    """Whether `source` comes to fit on `disk` where a partition becomes smaller, as far as that is known by now."""
    if _has_other_sectors(disk, source):
        return False
    try:
        return _shrinkage(source, disk, LAST) is not None
    except RefusedError:
        return False


def _shrinkage(source: ImagedDisk, target: Disk, number: int, wanted: int | None = None) -> Shrinkage | None:
    """How the disk comes to fit on the target; None where it does as it is. Raises RefusedError, UsageError."""
    needed = needed_size(source)
    if target.size >= needed and wanted is None:
        return None
    try:
        return plan_shrinkage(source, target.size, needed, number, wanted)
    except RefusedError as error:
        raise RefusedError(f"{target.name}: {error.message}", code=error.code, hint=error.hint) from error


def with_wipe(plan: RestorePlan, way: Wipe) -> RestorePlan:
    """The same restore, which erases its disks before; raises UsageError where any partition on them is to stay."""
    if way is not Wipe.NONE and any(pair.partitions for pair in plan.targets):
        raise UsageError("whole disks alone are wiped: the others on this one are to stay", code="usage")
    stay = [pair.target.partition_name(part.number) for pair in plan.targets for part in pair.may_stay]
    if way is not Wipe.NONE and stay:
        raise UsageError(
            f"a disk is not wiped of which a partition is to stay: {stay[0]} is not in the image",
            code="usage",
            hint="restore it without --wipe, or an image of the whole disk",
        )
    if way is Wipe.SANITIZE and plan.keep is not None:
        raise UsageError(
            "where files are kept, no drive erases itself: the note on it of what waits would go as well",
            code="usage",
            hint="--wipe discard or overwrite; or --wipe sanitize without keeping files",
        )
    return replace(plan, wipe=way)


def refuse_target(name: str, disk: Disk, why: str, hint: str = "") -> NoReturn:
    """Refuse to restore onto `disk`, or onto the part of it called `name`; raises RefusedError."""
    raise RefusedError(
        f"{name} cannot be restored onto: {why}", code=_code(disk, why), hint=hint or _target_hint(name, why)
    )


def _target_hint(name: str, why: str) -> str:
    if _TOO_SMALL in why:
        return f"choose something larger than {name}"
    if why == _OWN_REASONS[Role.LIBRARY]:
        return "restore single partitions of it, or from a library on another disk"
    if why == _OWN_REASONS[Role.BOOT_MEDIUM]:
        return "restore single partitions of it, or start the recovery system with its entry that copies it to memory"
    if "in use" in why:
        return "unmount what is on it, or start the computer from the recovery stick"
    return "choose another disk"


def _code(disk: Disk, why: str) -> str:
    known = (
        (_TOO_SMALL, "target-too-small"),
        ("in use", "in-use"),
        ("read-only", "target-read-only"),
        ("its sectors have", "other-sectors"),
    )
    for words, code in known:
        if words in why:
            return code
    return "protected-disk" if disk.roles else "refused"


def plan_verify(
    library: Path,
    image: Image,
    *,
    disk: str = "",
    against: Disk | None = None,
    deep: bool = False,
    check: bool = False,
) -> VerifyPlan:
    """Plan to check an image's chunks, or to compare one of its disks (the only one by default) with a disk.

    Raises UsageError or RefusedError.
    """
    if against is not None and check:
        raise UsageError("file systems are checked in an image: leave --against out", code="usage")
    if against is not None:
        names = [d.name for d in image.disks]
        if not disk and len(names) == 1:
            disk = names[0]
        if disk not in names:
            raise UsageError(f"say which disk of the image to compare: {', '.join(names)}", code="no-such-disk")
        if not against.fingerprint:
            raise RefusedError(f"{against.name}: {against.problem or 'it cannot be read'}", code="cannot-open")
    elif disk:
        raise UsageError("--disk says which disk to compare: give --against, too", code="usage")
    if deep and against is not None:
        raise UsageError(
            "a disk is compared with the image's digests alone: deep is for the image itself", code="usage"
        )
    return VerifyPlan(
        library=str(library),
        image=image.id,
        label=image.label,
        disk=disk,
        against=against,
        deep=deep,
        check=check,
    )


def names_of(target: Disk, partition: int | None = None) -> tuple[str, ...]:
    """What a person may type to have a disk erased (its name or its serial number), or one partition of it.

    No name of a partition confirms a whole disk, nor the other way round: `sda2` or `SERIAL:2`, `disk.img:2`.
    """
    serial = target.id.serial
    if partition is None:
        return tuple(filter(None, (target.name, serial)))
    return (target.partition_name(partition), *([f"{serial}:{partition}"] if serial else []))


def confirms(answer: str, target: Disk, partition: int | None = None) -> bool:
    """Whether what a person typed names the disk, or the one partition of it, that is to be erased."""
    return answer.strip() in names_of(target, partition)


def seconds_expected(plan: Plan) -> float:
    """How long the plan's bytes suggest that it takes, in seconds; a rough guess before anything was measured."""
    match plan:
        case CapturePlan():
            return sum(_guess_used(disk, plan.only.get(disk.path, ())) for disk in plan.disks) / _CAPTURE_RATE
        case RestorePlan():
            there = [pair for pair in plan.targets if plan.safety and not pair.create]
            saved = sum(_guess_used(pair.target, [spot.partition for spot in pair.partitions]) for pair in there)
            wiped = sum(pair.target.size for pair in plan.targets) if plan.wipe is Wipe.OVERWRITE else 0
            before = saved / _CAPTURE_RATE + saved / _VERIFY_RATE + wiped / _RESTORE_RATE
            if plan.wipe is Wipe.SANITIZE:
                before += 60 * sum(pair.sanitizer.minutes for pair in plan.targets if pair.sanitizer is not None)
            return before + sum(data_of(t) for t in plan.targets) / _RESTORE_RATE
        case VerifyPlan():
            return (plan.against.size if plan.against else 0) / _VERIFY_RATE
        case VerifySetPlan() | DeletePlan() | PrunePlan():
            return _DELETE_TIME
        case FilesPlan() | ExportPlan() | ImportPlan() | CopyImagesPlan():
            return _DELETE_TIME
        case MediaPlan() | MediaIsoPlan():
            return (plan.system.size + sum(one.size for one in plan.images)) / _MEDIA_RATE
        case MediaGrowPlan():
            return plan.size / _GROW_RATE
        case InstallPlan():
            return 2 * plan.content / _RESTORE_RATE + _DELETE_TIME
        case RepairPlan():
            return _DELETE_TIME + sum(one.size for one in plan.checks) / _CHECK_RATE
        case RemovePlan():
            return _DELETE_TIME


def data_of(pair: RestoreTarget) -> int:
    """Bytes of the image that a restore brings to one target."""
    chosen = {p.volume for p in pair.partitions}
    return sum(v.used for v in pair.source.volumes if v.number in chosen) if chosen else pair.source.used


def _guess_used(disk: Disk, only: Sequence[int] = ()) -> int:
    """Before the maps are read nothing says how full a disk is; half is as good as any guess."""
    parts = [p for p in disk.table.partitions if p.role is not PartitionRole.EXTENDED]
    return sum(p.size for p in parts if not only or p.number in only) // 2 or disk.size // 2
