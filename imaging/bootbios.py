"""Whether a BIOS starts something from a disk: the boot sector, what it loads, and where that goes on.

Sources: GRUB's boot.S and diskboot.S; syslinux' mbr.S and extlinux; Microsoft's boot sector for NTFS, which loads
bootmgr from the root of its volume.
"""

from imaging import grubcore
from imaging.bootlook import Looking, Volume, unread
from imaging.bootsystem import Case, follow
from imaging.disk import Partition, PartitionRole, TableKind
from imaging.errors import IoError, RescueError
from imaging.run import run
from imaging.systems import reached

_CODE = 440
_SECTOR = 512
_SIGNATURE = b"\x55\xaa"
_BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
_STARTS_ACTIVE = (
    b"Invalid partition table",
    b"Missing operating system",
    b"Operating system load",
    b"Error loading operating system",
)
"""What boot sectors say that start the active partition: those of Windows, of syslinux, and of Debian's mbr."""
_BOOT_RECORD = 16 * _SECTOR
_SYSLINUX = b"LINUX"
_BOOTMGR = "bootmgr"
_LDLINUX = "ldlinux.sys"
_SYSLINUX_FOLDERS = ("", "/syslinux", "/boot/syslinux", "/boot/extlinux", "/extlinux", "/boot")
_PATIENCE = 10.0


def check(look: Looking) -> Case:
    """What speaks against a start by a BIOS."""
    case = Case(look=look)
    if look.disk.logical_sector != _SECTOR:
        case.unknown(f"a BIOS starts from disks with sectors of 512 bytes, these have {look.disk.logical_sector}")
        return case
    try:
        boot = look.bytes_of(0, _SECTOR)(0, _SECTOR)
        _sector(case, boot)
    except IoError as error:
        case.unknown(error.message)
    return case


def is_meant(look: Looking) -> bool:
    """Whether the disk is meant to start a BIOS: Windows gives boot code to each disk, but GRUB is put there.

    With other code than GRUB's an active partition decides.
    """
    try:
        boot = look.bytes_of(0, _SECTOR)(0, _SECTOR)
    except IoError:
        return False
    active = any(part.bootable for part in look.disk.table.partitions)
    return grubcore.loaded_sector(boot) is not None or (any(boot[:_CODE]) and active)


def _sector(case: Case, boot: bytes) -> None:
    if boot[510:] != _SIGNATURE or not any(boot[:_CODE]):
        case.fails("its boot sector holds no boot code")
    elif (sector := grubcore.loaded_sector(boot)) is not None:
        _grub(case, sector, None)
    elif any(sign in boot[:_CODE] for sign in _STARTS_ACTIVE):
        _active(case)
    else:
        case.unknown("its boot sector holds boot code of a kind that is not known here")


def _grub(case: Case, sector: int, own: Volume | None) -> None:
    disk = case.look.bytes_of(0, case.look.disk.size)
    try:
        core = grubcore.read_core(disk, sector)
    except IoError as error:
        (case.unknown if error.code == grubcore.MAY_MEND else case.fails)(error.message)
        return
    taken = _taken(case.look, core.runs)
    if taken is not None and own is None:
        name = case.look.disk.partition_name(taken.number)
        case.notes.append(f"GRUB's core lies in the file system on {name}, where a change can move it")
    follow(case, grubcore.leads(core.config, core.prefix), own, modules="" if core.has_menu else "i386-pc")


def _taken(look: Looking, runs: tuple[tuple[int, int], ...]) -> Partition | None:
    """The partition of another kind that a core lies in: it belongs before the first, or into a BIOS boot partition."""
    for part in look.disk.table.partitions:
        if part.type.lower() == _BIOS_BOOT or part.role is PartitionRole.EXTENDED:
            continue
        if any(start < part.end and part.start < end for start, end in runs):
            return part
    return None


def _active(case: Case) -> None:
    """The boot sector of Windows and its like: it goes on with the one active partition."""
    table = case.look.disk.table
    if table.kind is not TableKind.MBR:
        case.unknown("its boot sector starts the partition that is marked for a BIOS, which is not looked at on GPT")
        return
    active = [part for part in table.partitions if part.bootable]
    if len(active) != 1:
        case.fails("no partition is active" if not active else "more than one partition is active")
        return
    part = active[0]
    name = case.look.disk.partition_name(part.number)
    record = case.look.bytes_of(part.start, part.size)(0, min(_BOOT_RECORD, part.size))
    volume = case.look.volume(part.number)
    if record[510:512] != _SIGNATURE or not any(record[90:510]):
        case.fails(f"the boot sector of {name}, the active partition, holds no boot code")
    elif volume is None or volume.closed:
        case.unknown(volume.closed if volume else unread(name, "it cannot be read").message)
    elif (sector := grubcore.loaded_sector(record)) is not None:
        _grub(case, sector, volume)
    elif _SYSLINUX in record[3:11]:
        _syslinux(case, volume)
    elif "BOOTMGR".encode("utf-16-le") in record or b"BOOTMGR" in record:
        _windows(case, volume)
    else:
        case.unknown(f"the boot sector of {name} holds boot code of a kind that is not known here")


def _windows(case: Case, volume: Volume) -> None:
    """Bootmgr in the root of the volume; what it starts is not looked into."""
    if volume.place.content.kind == "ntfs":
        names = _ntfs_names(volume)
    else:
        names = [_BOOTMGR] if case.look.size(volume, _BOOTMGR) is not None else []
    if _BOOTMGR not in names:
        case.fails(f"Windows' boot manager is missing on {volume.name}: {_BOOTMGR}")


def _ntfs_names(volume: Volume) -> list[str]:
    try:
        with reached(volume.disk, volume.place) as (_, device):
            done = run(["ntfsls", "--force", "--path", "/", "--all", "--system", device], timeout=_PATIENCE)
    except RescueError as error:
        raise unread(volume.name, error.message) from error
    return [name.lower() for name in done.stdout.split()]


def _syslinux(case: Case, volume: Volume) -> None:
    """Its second stage has to be there: its place is in the boot sector, and its name in one of these folders."""
    if all(case.look.size(volume, f"{folder}/{_LDLINUX}") is None for folder in _SYSLINUX_FOLDERS):
        case.fails(f"syslinux is missing on {volume.name}: {_LDLINUX}")
    else:
        case.unknown(f"what syslinux on {volume.name} starts is not looked into")
