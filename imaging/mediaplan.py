"""From a system, images and a disk to the plan that makes a recovery medium, or the reason why not. Pure.

Where the images partition lies: at a multiple of 64 MiB with at least 128 MiB before it unused, so that a larger system
of a later version fits without touching the images; on a small medium right behind the system.
"""

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from imaging.disk import Disk, Partition, Role, TableKind, exact, format_size
from imaging.errors import RefusedError, UsageError
from imaging.medium import IMAGES_LABEL, SECTOR, Medium
from imaging.planner import why_not_in_use, why_protected
from imaging.recoveryplans import MediaGrowPlan, MediaImage, MediaIsoPlan, MediaPlan, MediaSystem
from imaging.unfinished import MEDIUM

MIB = 1 << 20
IMAGES_ALIGNMENT = 64 * MIB
ROOM_TO_GROW = 128 * MIB
"""What a later system may be larger than the present one."""
LEAST_IMAGES = 16 * MIB
"""Below this, ext4 has no journal and hardly a block to spare."""
TAIL = MIB
"""Bytes at the end of the medium: the copy of the partition table."""
FILESYSTEMS = ("ext4", "exfat")
_EXT4_SHARE, _EXT4_ITS_OWN = 50, 100 * MIB
"""Of ext4's size a fiftieth at most goes to its inodes and bitmaps; and its journal (64 MiB), and a little to spare."""
_EXFAT_SHARE, _EXFAT_ITS_OWN = 1000, 8 * MIB
_LEAST_GAIN = IMAGES_ALIGNMENT
"""An images partition is not enlarged by less."""


def blocks(filesystem: str) -> int:
    """The bytes that the smallest file, or a folder, takes: exFAT's clusters have up to 128 KiB."""
    return 4096 if filesystem == "ext4" else 128 << 10


def images_room(content: int, filesystem: str = "ext4") -> int:
    """The bytes of a partition that holds files which take `content` bytes of whole blocks."""
    share, its_own = (_EXT4_SHARE, _EXT4_ITS_OWN) if filesystem == "ext4" else (_EXFAT_SHARE, _EXFAT_ITS_OWN)
    return _up(content + content // (share - 1) + its_own, MIB) if content else 0


def _up(size: int, to: int) -> int:
    return -(-size // to) * to


def needed(system: MediaSystem, content: int, filesystem: str = "ext4") -> int:
    """The least bytes that a disk must have: the system, the images' files and their file system, the table's copy."""
    return _up(system.size, MIB) + images_room(content, filesystem) + TAIL


def place_images(system: MediaSystem, size: int, room: int) -> tuple[int, int]:
    """Start and size of the images partition on a medium of `size` bytes; 0, 0 where it has none.

    `room` is what the images need at least. It takes the rest of the medium.
    """
    end = (size - TAIL) // MIB * MIB
    roomy = _up(system.size + ROOM_TO_GROW, IMAGES_ALIGNMENT)
    for start in (roomy, _up(system.size, MIB)):
        if end - start >= max(room, LEAST_IMAGES):
            return start, end - start
    return 0, 0


def why_not_medium(disk: Disk, least: int) -> str:
    """Why a disk cannot become a recovery medium that needs `least` bytes, in words; empty where it can."""
    why = why_protected(disk) or why_not_in_use(disk)
    if why:
        return why
    if disk.logical_sector != SECTOR and not disk.regular_file:
        return f"its sectors have {disk.logical_sector} bytes, a recovery medium needs {SECTOR}"
    if disk.size < least:
        return f"it is too small: {exact(least)} are needed, it has {exact(disk.size)}"
    return ""


def doubts(disk: Disk) -> str:
    """Why a disk is hardly meant, in words: recovery media are removable. Empty where there is no doubt."""
    if disk.regular_file or disk.removable or disk.transport in ("usb", "mmc"):
        return ""
    return f"{disk.name} is a fixed disk of this computer, not a stick: everything on it will be lost"


def plan_media(
    system: MediaSystem,
    disk: Disk,
    images: Sequence[MediaImage] = (),
    content: int = 0,
    *,
    factory: str = "",
    filesystem: str = "ext4",
) -> MediaPlan:
    """Plan to make a disk a recovery medium: all of it is erased.

    `content` is the bytes that the images' files take together. Raises RefusedError, UsageError.
    """
    _refuse_odd(images, factory, filesystem)
    _refuse_itself(system, disk)
    least = needed(system, content, filesystem)
    _refuse(disk, why_not_medium(disk, least))
    start, size = place_images(system, disk.size, images_room(content, filesystem))
    return MediaPlan(
        target=disk,
        system=system,
        images=tuple(images),
        factory=factory,
        filesystem=filesystem,
        images_start=start,
        images_size=size,
        needed=least,
    )


def plan_update(
    system: MediaSystem,
    disk: Disk,
    medium: Medium | None,
    images: Sequence[MediaImage] = (),
    content: int = 0,
    *,
    factory: str = "",
) -> MediaPlan:
    """Plan to replace the system of a medium and keep its images; `medium` is None for one that was only partly made,
    or is so damaged that only its images partition is known.

    Raises RefusedError where it is none, or where the new system does not fit before the images.
    """
    _refuse_odd(images, factory, "ext4")
    _refuse_itself(system, disk)
    kept = next((p for p in disk.table.partitions if p.number == 3), None)
    if medium is None and disk.unfinished != MEDIUM and (kept is None or not _may_hold_images(kept)):
        raise RefusedError(f"{disk.name} is not a recovery medium: only such a one can be updated", code="not-a-medium")
    _refuse_lost_images(disk, medium, kept)
    others = [p for p in disk.table.partitions if p.number > 3]
    if others or disk.table.kind is TableKind.MBR or (kept is not None and not _may_hold_images(kept)):
        raise RefusedError(
            f"{disk.name} has partitions that no recovery medium has: an update would lose them", code="refused"
        )
    least = needed(system, 0 if kept else content)
    _refuse(disk, why_not_medium(disk, least))
    if kept is None:
        fresh = plan_media(system, disk, images, content, factory=factory)
        return structs.replace(fresh, update=True)
    if system.size > kept.start:
        raise RefusedError(
            f"the new system does not fit before the images on {disk.name}: it has {exact(system.size)}, "
            f"there is room for {exact(kept.start)}",
            code="target-too-small",
            hint="save its images elsewhere, and make it anew without --update",
        )
    return MediaPlan(
        target=disk,
        system=system,
        images=tuple(images),
        factory=factory,
        update=True,
        filesystem="exfat" if kept.content.kind == "exfat" else "ext4",
        images_start=kept.start,
        images_size=kept.size,
        needed=least,
    )


def _may_hold_images(part: Partition) -> bool:
    """Whether a third partition is the one for images; its name is what is left where its file system is damaged."""
    return IMAGES_LABEL in (part.content.label, part.name)


def _refuse_itself(system: MediaSystem, disk: Disk) -> None:
    """The first thing that is written to a medium takes away what its system would be copied from."""
    if system.path == disk.path:
        raise RefusedError(
            f"{disk.name} cannot become a recovery medium: the recovery system would be copied from itself",
            code="refused",
            hint="give another medium, or an image file, with --system FILE",
        )


def _refuse_lost_images(disk: Disk, medium: Medium | None, kept: Partition | None) -> None:
    """An update keeps images: refuse where it is not known where they are, or where they lie in what is replaced."""
    if medium is not None and kept is None and medium.efi is None:
        raise RefusedError(
            f"the partition table of {disk.name} is damaged: where its images are is not known, and an update would "
            "lose them",
            code="damaged-medium",
            hint="make it anew without --update, if no images on it are needed",
        )
    if medium is not None and medium.holds_library:
        raise RefusedError(
            f"{disk.name} was copied from a disc whose images are a part of its system: an update would lose them",
            code="refused",
            hint="copy the images elsewhere, and make it anew without --update",
        )


def _refuse_odd(images: Sequence[MediaImage], factory: str, filesystem: str) -> None:
    if filesystem not in FILESYSTEMS:
        raise UsageError(f"the images partition cannot have the file system {filesystem!r}", code="usage")
    if len({one.image for one in images}) != len(images):
        raise UsageError("one image was given twice", code="usage")
    if factory and factory not in [one.image for one in images]:
        raise UsageError(f"the factory image {factory} is none of the images", code="usage")


def _refuse(disk: Disk, why: str) -> None:
    if why:
        code = "target-too-small" if "too small" in why else "in-use" if "in use" in why else "refused"
        hint = "choose a larger stick" if "too small" in why else "choose another disk"
        if "in use" in why:
            hint = "unmount what is on it"
        raise RefusedError(
            f"{disk.name} cannot become a recovery medium: {why}",
            code="protected-disk" if disk.roles else code,
            hint=hint,
        )


def plan_grow(disk: Disk, medium: Medium) -> MediaGrowPlan:
    """Plan to let the images partition of a medium take the rest of it; it may be the one that runs this system.

    Raises RefusedError where there is nothing to gain, or anything else stands in the way.
    """
    others = [p for p in disk.table.partitions if p.number not in (1, 2) and not (medium.images and p.number == 3)]
    unlike = replace(disk, roles=tuple(role for role in disk.roles if role not in (Role.BOOT_MEDIUM, Role.LIBRARY)))
    why = why_protected(unlike)
    if not why and others:
        why = f"partition {others[0].number} is none of a recovery medium's"
    if not why and medium.cut_off:
        why = "it is cut off"
    if not why and (medium.efi is None or disk.table.kind is not TableKind.GPT):
        # Where both copies of the table are damaged, images may lie where it seems to have room.
        why = "its partition table is damaged"
    if why:
        raise RefusedError(f"the images partition of {disk.name} cannot be enlarged: {why}", code="refused")
    end = (disk.size - TAIL) // MIB * MIB
    old = medium.images
    start = old.start if old else _up(medium.system + ROOM_TO_GROW, IMAGES_ALIGNMENT)
    if not old and end - start < LEAST_IMAGES:
        start = _up(medium.system, MIB)
    size, before = end - start, min(old.size, medium.filled or old.size) if old else 0
    if size - before < (_LEAST_GAIN if old else LEAST_IMAGES):
        raise RefusedError(
            f"there is nothing to gain: {disk.name} has no {format_size(_LEAST_GAIN)} left",
            code="nothing-to-grow",
            hint="use a larger stick: rescue media create",
        )
    kind = next((p.content.kind for p in disk.table.partitions if p.number == 3), "") if old else "ext4"
    if kind not in FILESYSTEMS or (old and kind != "ext4"):
        raise RefusedError(
            f"the images partition of {disk.name} cannot be enlarged: its file system is {kind or 'not known'}",
            code="refused",
            hint="only ext4 grows with what is on it: make a new medium",
        )
    return MediaGrowPlan(target=disk, start=start, old_size=before, size=size, filesystem=kind)


def plan_iso(system: MediaSystem, output: str, images: Sequence[MediaImage] = (), *, factory: str = "") -> MediaIsoPlan:
    """Plan to write a disc's image to a file that does not exist; raises UsageError."""
    _refuse_odd(images, factory, "ext4")
    return MediaIsoPlan(output=output, system=system, images=tuple(images), factory=factory)
