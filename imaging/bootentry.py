"""The entry that this computer's firmware needs for what was restored, where it finds no loader there by itself.

A firmware's entries lie in the computer, not on its disks: a disk that is new to it, or whose entry was lost, starts
only where a loader lies at the one path that all firmware knows. Sources: UEFI 2.10, 3.1 and 3.5.1; efibootmgr(8).
"""

from msgspec.structs import replace

from imaging import efientries, media
from imaging.plan import RestorePlan
from imaging.startable import Answer, BootEntry, Firmware, Starts


def with_boot_entry(plan: RestorePlan) -> RestorePlan:
    """The plan, with an entry where one is missing: on the recovery system alone, of whole disks that stay in it."""
    stays = all(_stays(pair.target.removable, pair.target.transport) for pair in plan.targets)
    whole = not any(pair.partitions or pair.target.regular_file or pair.create for pair in plan.targets)
    able = media.on_live_system() and efientries.can_be_changed()
    return replace(plan, boot_entry=stays and whole and able)


def _stays(removable: bool, transport: str) -> bool:
    return not removable and transport != "usb"


def missing(starts: Starts) -> BootEntry | None:
    """The entry that is all that a disk lacks for this computer to start from it."""
    uefi = next((way for way in starts.ways if way.firmware is Firmware.UEFI), None)
    needed = starts.firmware == Firmware.UEFI and uefi is not None and uefi.answer is not Answer.STARTS
    return starts.entry if needed else None


def add(path: str, entry: BootEntry) -> None:
    """Give the firmware the entry for a loader on the disk at `path`, to be tried first. Raises IoError."""
    efientries.add(
        disk=path,
        number=entry.partition,
        partition=entry.uuid,
        label=entry.label,
        loader=entry.loader,
        first=True,
    )
