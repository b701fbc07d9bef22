"""The entry that this computer's firmware needs for what was restored, where it finds no loader there by itself.

A firmware's entries lie in the computer, not on its disks: a disk that is new to it, or whose entry was lost, starts
only where a loader lies at the one path that all firmware knows. Sources: UEFI 2.10, 3.1 and 3.5.1; efibootmgr(8).
"""

from msgspec.structs import replace

from imaging import efientries, inventory, media
from imaging.disk import Disk
from imaging.errors import RefusedError
from imaging.restoreplans import RestorePlan
from imaging.startable import Answer, BootEntry, Firmware, Starts


def with_boot_entry(plan: RestorePlan) -> RestorePlan:
    """The plan, with an entry where one is missing: on the recovery system alone, of whole disks that stay in it."""
    whole = not any(pair.partitions or pair.create for pair in plan.targets)
    return replace(plan, boot_entry=whole and all(may_get_one(pair.target) for pair in plan.targets))


def may_get_one(disk: Disk) -> bool:
    """Whether the firmware of this computer is given an entry for a disk: on the recovery system, of one that stays."""
    stays = not (disk.regular_file or disk.removable or disk.transport == "usb")
    return stays and media.on_live_system() and efientries.can_be_changed()


def missing(starts: Starts) -> BootEntry | None:
    """The entry that is all that a disk lacks for this computer to start from it."""
    uefi = next((way for way in starts.ways if way.firmware is Firmware.UEFI), None)
    needed = starts.firmware == Firmware.UEFI and uefi is not None and uefi.answer is not Answer.STARTS
    return starts.entry if needed else None


def twin(path: str, entry: BootEntry) -> str:
    """The name of another disk with a partition of the same GUID, which an entry would mean as well; else empty."""
    others = [disk for disk in inventory.scan() if disk.path != path]
    same = (disk for disk in others if any(part.uuid.lower() == entry.uuid for part in disk.table.partitions))
    return next((disk.name for disk in same), "")


def add(path: str, entry: BootEntry) -> None:
    """Give the firmware the entry for a loader on the disk at `path`: first, if that is sure to start, else last.

    Raises IoError, and RefusedError where it would not be known which disk is meant.
    """
    other = twin(path, entry)
    if other:
        raise RefusedError(
            f"{other} has a partition with the same GUID: which of the two an entry starts is not known",
            code="ambiguous-disk",
            hint="take the other disk out, and look at this one again: rescue check-boot",
        )
    efientries.add(
        disk=path,
        number=entry.partition,
        partition=entry.uuid,
        label=entry.label,
        loader=entry.loader,
        first=entry.sure,
    )
