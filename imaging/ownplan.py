"""The recovery system on the computer's own disk: pure functions that plan it, or say what stands in its way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from imaging import ownmark, placement
from imaging.disk import Disk, Partition, PartitionRole, Role, TableKind, format_size
from imaging.errors import RefusedError, UsageError
from imaging.placement import GRAIN
from imaging.recoveryplans import BootMenu, InstallPlan, MediaImage, MediaSystem, RemovePlan

EFI_SYSTEM = ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ef")
_MOST_GPT = 128
_SLACK = 48 << 20
"""Bytes that ext4 needs for itself beside the files: inode tables, journal, groups."""
_PER_CENT = 3
_GIVE_ONE = "give the image file of a recovery system, or a stick, with --system FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What of a disk starts systems. `firmware` says whether this computer's boot entries can be changed now.

    `closed` says, in words, why GRUB menus that were seen cannot get an entry.
    """

    menus: tuple[BootMenu, ...] = ()
    closed: tuple[str, ...] = ()
    firmware: bool = False


def least_size(content: int, images: int = 0) -> int:
    """The least bytes of a partition for so many bytes of files, and of images."""
    return _aligned((content + images) * (100 + _PER_CENT) // 100 + _SLACK) + ownmark.ROOM


def usual_size(content: int, images: int = 0) -> int:
    """Bytes of a partition in which a later system fits beside the present one, so that replacing it is one step."""
    return least_size(2 * content, images)


def _aligned(size: int) -> int:
    return -(-size // GRAIN) * GRAIN


def own_partition(disk: Disk) -> Partition | None:
    """The recovery partition of a disk, whole or only begun; None where there is none."""
    return next((part for part in disk.table.partitions if part.recovery), None)


def efi_partition(disk: Disk) -> Partition | None:
    """The EFI system partition of a disk; None where it has none that a firmware can read."""
    found = (p for p in disk.table.partitions if p.type in EFI_SYSTEM and p.content.kind == "vfat")
    return next(found, None)


def why_not(disk: Disk) -> str:
    """Why a disk can get no recovery partition, wherever there may be room, in words; empty where it can."""
    if disk.problem or not disk.fingerprint:
        return disk.problem or "it cannot be read"
    if disk.failing:
        return f"it is failing: {disk.failing}"
    if disk.read_only:
        return "it is read-only"
    if Role.BOOT_MEDIUM in disk.roles and not disk.kept and not disk.regular_file:
        return "this computer was started from it"
    if disk.removable:
        return "it is a removable medium: make it a recovery medium instead"
    if disk.unfinished:
        return f"it is only partly restored (from {disk.unfinished})"
    if disk.table.kind is TableKind.NONE or not disk.table.partitions:
        return "it has no partitions, and so no system that could be recovered"
    if disk.table.dynamic:
        return "it is a dynamic disk of Windows, which keeps a table of its own"
    return _damage(disk)


def _damage(disk: Disk) -> str:
    parts = sorted((p for p in disk.table.partitions if p.role is not PartitionRole.LOGICAL), key=lambda p: p.start)
    for one, other in pairwise(parts):
        if one.end > other.start:
            return f"its partitions {one.number} and {other.number} overlap"
    if parts and parts[-1].end > disk.size:
        return f"its partition {parts[-1].number} reaches beyond its end"
    return ""


def plan_install(
    disk: Disk,
    system: MediaSystem,
    boot: Boot,
    *,
    content: int,
    size: int | None = None,
    images: int = 0,
    copied: Sequence[MediaImage] = (),
    factory: str = "",
    free: Mapping[int, int] | None = None,
) -> InstallPlan:
    """Plan a recovery partition of `size` bytes (by default as `usual_size`, or `least_size` where room is scarce).

    `content` is bytes of the system's files, `images` are bytes of room for an image library on it, with those that are
    `copied` there. `free` has the free bytes of the disk's partitions, for words on what to shrink. Raises RefusedError
    or UsageError.
    """
    why = why_not(disk)
    if why:
        raise _refused(disk, why)
    part = own_partition(disk)
    if part is None:
        number, start, size = _new_place(disk, content, size, images, free or {})
    else:
        number, start, size = _present_place(disk, part, content, size, images)
    efi = efi_partition(disk)
    firmware = _has_firmware_entry(disk, boot.firmware)
    if not firmware and not boot.menus:
        raise _no_entry(disk, boot, efi)
    return InstallPlan(
        target=disk,
        system=system,
        content=content,
        number=number,
        start=start,
        size=size,
        uuid=part.recovery if part else ownmark.identity(disk.table.table_id, start, size),
        present=part is not None,
        library=images > 0 or bool(copied),
        images=tuple(copied),
        factory=factory,
        efi=efi.number if efi else 0,
        efi_uuid=efi.content.uuid if efi else "",
        menus=boot.menus,
        firmware=firmware,
    )


def plan_entries(disk: Disk, system: MediaSystem, boot: Boot) -> InstallPlan:
    """Plan to add again what starts the recovery partition that a disk has, whatever stands in it.

    Restored systems bring menus that do not know of it. It may be the one that this computer was started from. Raises
    RefusedError.
    """
    part = own_partition(disk)
    if part is None or not part.content.kind:
        raise _refused(disk, "it has no recovery partition that is complete", "no-system", _GIVE_ONE)
    why = why_not(disk)
    if why:
        raise _refused(disk, why)
    efi, firmware = efi_partition(disk), _has_firmware_entry(disk, boot.firmware)
    if not firmware and not boot.menus:
        raise _no_entry(disk, boot, efi)
    return InstallPlan(
        target=disk,
        system=system,
        content=0,
        number=part.number,
        start=part.start,
        size=part.size,
        uuid=part.recovery,
        present=True,
        entries=True,
        efi=efi.number if efi else 0,
        efi_uuid=efi.content.uuid if efi else "",
        menus=boot.menus,
        firmware=firmware,
    )


def _has_firmware_entry(disk: Disk, possible: bool) -> bool:
    """Whether an entry of this computer's firmware can start from the disk's EFI system partition."""
    return possible and not disk.regular_file and disk.table.kind is TableKind.GPT and efi_partition(disk) is not None


def _refused(disk: Disk, why: str, code: str = "refused", hint: str | None = None) -> RefusedError:
    return RefusedError(f"{disk.name} cannot get a recovery partition: {why}", code=code, hint=hint)


def _no_entry(disk: Disk, boot: Boot, efi: Partition | None) -> RefusedError:
    reasons = [*boot.closed]
    hint = "make a recovery stick instead: rescue media create"
    if efi is not None and not disk.regular_file:
        reasons.append("the entries of its firmware cannot be changed, for this system was not started by UEFI")
        hint = "start this system by UEFI, and try again"
    why = "; ".join(reasons) or "it has neither an EFI system partition nor a boot menu of GRUB"
    return _refused(disk, f"nothing on it could start the recovery system: {why}", "no-boot-menu", hint)


def _new_place(
    disk: Disk, content: int, size: int | None, images: int, free: Mapping[int, int]
) -> tuple[int, int, int]:
    least = least_size(content, images)
    if size is not None and size < least:
        raise UsageError(
            f"a recovery partition of {format_size(size)} is too small: {format_size(least)} are needed",
            code="size-too-small",
        )
    sizes = [_aligned(size)] if size is not None else [usual_size(content, images), least]
    number = _free_number(disk)
    for wanted in sizes:
        start = placement.place(disk, wanted)
        if start is not None:
            return number, start, wanted
    raise _no_room(disk, sizes[-1], free)


def _free_number(disk: Disk) -> int:
    numbers = {part.number for part in disk.table.partitions}
    if disk.table.kind is TableKind.GPT:
        last = max(numbers, default=0) + 1
        if last <= _MOST_GPT:
            return last
        raise _refused(disk, f"its table has no room for more than {_MOST_GPT} partitions", "no-slot")
    for number in range(1, 5):
        if number not in numbers:
            return number
    raise _refused(
        disk,
        "its partition table (MBR) has no free one of its four primary partitions",
        "no-slot",
        "delete a partition that is not needed, or convert the table to GPT with the tools of its system",
    )


def _no_room(disk: Disk, needed: int, free: Mapping[int, int]) -> RefusedError:
    has = placement.largest_piece(disk)
    why = f"{format_size(needed)} are needed in one free piece, and the largest has {format_size(has)}"
    shrink = placement.what_to_shrink(disk, needed, free)
    if shrink is None:
        hint = "none of its partitions can give so much: free some room on them, or use a recovery stick"
        return _refused(disk, why, "no-room", hint)
    part = shrink.partition
    how = "in Windows: Disk Management, Shrink Volume" if part.content.kind == "ntfs" else "GParted can do that"
    hint = (
        f"shrink {disk.partition_name(part.number)} ({part.content.kind}, {format_size(shrink.free)} free in it) by at "
        f"least {shrink.by >> 20} MiB; {how}"
    )
    return _refused(disk, why, "no-room", hint)


def _present_place(disk: Disk, part: Partition, content: int, size: int | None, images: int) -> tuple[int, int, int]:
    """The partition that is there already, as large as it is."""
    name = disk.partition_name(part.number)
    least = least_size(content, images)
    if part.number == disk.kept or _mounted(disk, part):
        raise _refused(
            disk,
            f"its recovery partition {name} is in use",
            "in-use",
            "start the computer from its own system or from a stick, and unmount the partition",
        )
    if (size is not None and _aligned(size) != part.size) or part.size < least:
        raise _refused(
            disk,
            f"it has one already, {name} of {format_size(part.size)}",
            "present",
            "remove it first: rescue media remove-partition",
        )
    return part.number, part.start, part.size


def _mounted(disk: Disk, part: Partition) -> bool:
    """Whether it is mounted, but for where the live system looked for images: the job lets go of that."""
    name = disk.partition_name(part.number)
    return any(
        mount.source == f"/dev/{name}" and not mount.where.startswith("/run/rescue/media/") for mount in disk.mounts
    )


def plan_remove(disk: Disk, menus: Sequence[BootMenu], *, firmware: bool) -> RemovePlan:
    """Plan to take the recovery partition of a disk away; raises RefusedError where it has none that is ours."""
    part = own_partition(disk)
    if part is None:
        raise RefusedError(
            f"{disk.name} has no recovery partition that Rescue made: nothing is removed",
            code="not-ours",
            hint="a partition that somebody else made is removed with their tools",
        )
    if disk.read_only:
        raise RefusedError(f"{disk.name} is read-only", code="target-read-only")
    if part.number == disk.kept or _mounted(disk, part):
        raise RefusedError(
            f"the recovery partition {disk.partition_name(part.number)} is in use",
            code="in-use",
            hint="start the computer from its own system or from a stick, and unmount the partition",
        )
    efi = efi_partition(disk)
    return RemovePlan(
        target=disk,
        number=part.number,
        start=part.start,
        size=part.size,
        uuid=part.recovery,
        efi=efi.number if efi else 0,
        menus=tuple(menus),
        firmware=_has_firmware_entry(disk, firmware),
    )


def is_confirmed(answer: str, disk: Disk) -> bool:
    """Whether what was typed names the disk, by its name or its serial number."""
    return answer.strip() in filter(None, (disk.name, disk.id.serial))
