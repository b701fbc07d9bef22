"""Whose boot loader is put back on a disk, for which firmware, and what of the disk that takes; nothing is written.

A system's own grub-install does it, for it alone knows what belongs together: of several systems a person says which.
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from msgspec import structs

from imaging import bootuefi, filesystems, mounttabs, systems
from imaging.blockdev import opened, read
from imaging.bootlook import Looking, Volume
from imaging.disk import Disk, TableKind
from imaging.doubts import lies_elsewhere
from imaging.efiloaders import FALLBACK
from imaging.errors import IoError, UsageError
from imaging.repairplans import RepairedSystem, RepairPlan
from imaging.startable import Answer, Firmware, Starts

_PROGRAMS = ("/usr/sbin/grub-install", "/usr/bin/grub-install")
_MAKE_MENU = "/usr/sbin/grub-mkconfig"
_MODULES = {Firmware.BIOS: "/usr/lib/grub/i386-pc", Firmware.UEFI: "/usr/lib/grub/x86_64-efi"}
_MARK_OF_MODULES = "modinfo.sh"
_BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
_APART = ("/usr", "/etc")
_SUBVOLUMES = ("", "@", "@rootfs", "root")
"""Those in which a look at a btrfs finds a system's files."""
_KERNELS = ("vmlinu", "kernel", "bzImage")
_BOOT, _EFI = "/boot", ("/boot/efi", "/efi", "/boot")
_NUMBER = re.compile(r"/dev/(?:[a-z]+|[a-z0-9]+p)([0-9]+)")
_WINDOWS = "Windows"
_ROOTS = ("ext2", "ext3", "ext4", "xfs", "btrfs")


def with_loader(plan: RepairPlan, disk: Disk, patience: float, barred: str) -> RepairPlan:
    """The plan, with a boot loader where one is missing and can be put back; `disk` is as the table repair leaves it.

    `barred` is why nothing may be written to its file systems; empty where it may. Why it cannot be put back is added
    to the plan's notes. Raises UsageError where a system is named that is not there.
    """
    broken = wanted(plan.before)
    if not broken:
        return plan
    if not plan.wishes.loader:
        return structs.replace(plan, left=(*plan.left, "the boot loader is left as it is: that was asked for"))
    if barred:
        return _noting(plan, f"the boot loader is not put back: {barred}")
    if disk.regular_file:
        # The system's grub-install would have to see it as a disk.
        return _noting(plan, "the boot loader is not put back: this is a file, no disk; attach it (losetup)")
    try:
        with ExitStack() as held:
            look = Looking([(disk, held.enter_context(opened(disk.path)))], patience)
            return _planned(plan, look, _chosen(disk, plan.wishes.system, patience), broken)
    except IoError as error:
        return _noting(plan, f"the boot loader is not put back: {error.message}")


def _noting(plan: RepairPlan, *words: str) -> RepairPlan:
    return structs.replace(plan, notes=(*plan.notes, *words))


def wanted(before: Starts) -> tuple[Firmware, ...]:
    """The kinds of firmware that do not start the disk and should: all where none does, else this computer's.

    None where all that is missing is an entry of this computer's firmware.
    """
    if not before.system or before.entry is not None:
        return ()
    starts = any(way.answer is Answer.STARTS for way in before.ways)
    return tuple(
        way.firmware
        for way in before.ways
        if way.answer is Answer.FAILS and (not starts or way.firmware == before.firmware)
    )


def _chosen(disk: Disk, number: int, patience: float) -> tuple[int, str]:
    """The partition and the name of the system that is meant."""
    own = {part.number for part in disk.table.partitions if part.recovery}
    found = {one: name for one, name in sorted(systems.systems(disk, patience).items()) if one not in own}
    listed = ", ".join(f"{one} ({name})" for one, name in found.items()) or "none"
    if number:
        if number not in found:
            raise UsageError(f"no system was found on partition {number} of {disk.name}; found: {listed}", code="usage")
        return number, found[number]
    if not found:
        raise IoError("no system was found on the disk that could put it back", code="no-system")
    if len(found) > 1:
        raise IoError(
            f"there are several systems on the disk, and it has to be said whose it is to be (--system): {listed}",
            code="several-systems",
        )
    return next(iter(found.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """A system and what of the disk belongs to it."""

    look: Looking
    root: Volume
    system: RepairedSystem
    boot: Volume
    efi: Volume | None
    why_no_efi: str = ""


def _planned(plan: RepairPlan, look: Looking, chosen: tuple[int, str], broken: Sequence[Firmware]) -> RepairPlan:
    number, name = chosen
    if name == _WINDOWS:
        raise IoError("it is that of Windows, which its own installation medium alone puts back", code="windows")
    reach = _reach(plan, look, number, name)
    why = {firmware: _why_not(reach, firmware) for firmware in broken}
    loaders = tuple(firmware for firmware in broken if not why[firmware])
    if not loaders:
        raise IoError("; ".join(dict.fromkeys(why.values())), code="no-loader")
    removable, system = False, reach.system
    if Firmware.UEFI in loaders and reach.efi is not None:
        removable = FALLBACK not in look.files_of(reach.efi)
    elif system.efi != _BOOT:
        # A BIOS needs nothing of the EFI system partition.
        others = tuple((number, where) for number, where in system.mounts if where != system.efi)
        system = structs.replace(system, mounts=others, efi="")
    made = structs.replace(
        plan, system=system, loaders=loaders, removable=removable, menu=_lacks_menu(reach) and _makes_menus(reach)
    )
    # That a disk for UEFI is none for a BIOS, or the other way round, is no news where the loader of one is put back.
    asked = why.get(Firmware(plan.before.firmware), "") if plan.before.firmware else ""
    return _noting(made, f"the boot loader is not put back: {asked}") if asked else made


def _reach(plan: RepairPlan, look: Looking, number: int, name: str) -> _Reach:
    """Raises IoError where not all of the system can be had from partitions of this disk."""
    root = look.volume(number)
    if root is None or root.place.volume or root.place.content.kind not in _ROOTS:
        raise IoError(f"{name} does not stand on a partition of its own, but in LVM or the like", code="no-system")
    look.ask(root, [*(f"size:{path}" for path in (*_PROGRAMS, _MAKE_MENU)), "text:/etc/fstab"])
    program = next((path for path in _PROGRAMS if look.size(root, path)), "")
    if not program:
        raise IoError(f"{name} has no grub-install of its own ({_PROGRAMS[0]})", code="no-grub")
    volumes, subvolume, why = {"/": root}, "", ""
    for line in mounttabs.mounts(look.text(root, "/etc/fstab") or ""):
        if line.where == "/":
            _refuse_another_root(look, root, line, name)
            subvolume = line.option("subvol")
        elif _is_apart(line):
            raise IoError(f"{line.where} of {name} is a file system of its own", code="no-system")
        elif line.where == _BOOT:
            volumes[line.where] = _named(look, line, name)
        elif line.where in _EFI:
            try:
                volumes[line.where] = _named(look, line, name)
            except IoError as error:
                why = error.message
    for volume in volumes.values():
        _refuse_doubtful(plan, look, volume)
    folder = "/" if _BOOT in volumes else _BOOT
    if not any(one.startswith(_KERNELS) for one in look.names(volumes.get(_BOOT, root), folder)):
        raise IoError(f"{name} has no kernel in {_BOOT} that a boot loader could start", code="no-system")
    efi = next((where for where in _EFI if where in volumes and _is_efi(look, volumes[where])), "")
    system = RepairedSystem(
        number=number,
        name=name,
        program=program,
        subvolume=subvolume,
        mounts=tuple((volumes[where].place.number, where) for where in sorted(volumes) if where != "/"),
        efi=efi,
    )
    return _Reach(
        look=look, root=root, system=system, boot=volumes.get(_BOOT, root), efi=volumes.get(efi), why_no_efi=why
    )


def _refuse_another_root(look: Looking, root: Volume, line: mounttabs.Mounted, name: str) -> None:
    """What was left behind by a system that moved elsewhere is not that system, and must not take its place."""
    device = mounttabs.device(line.device)
    number = _NUMBER.fullmatch(line.device)
    if look.named(device) is not root if device is not None else number and int(number[1]) != root.place.number:
        raise IoError(f"by its fstab {name} has its root elsewhere: {line.device}", code="no-system")
    if line.option("subvol").strip("/") not in _SUBVOLUMES or line.option("subvolid"):
        raise IoError(f"{name} stands in a subvolume that cannot be looked into: {line.device}", code="no-system")


def _is_apart(line: mounttabs.Mounted) -> bool:
    """Whether it is a part that has to be there, which is mounted from where it is not looked for."""
    if line.where == _BOOT or line.where in _EFI:
        return bool(line.option("subvol") or line.option("subvolid"))
    below = line.where.startswith(f"{_BOOT}/")
    return (below or line.where in _APART) and line.kind not in ("tmpfs", "overlay")


def _named(look: Looking, line: mounttabs.Mounted, name: str) -> Volume:
    device = mounttabs.device(line.device)
    volume = look.named(device) if device is not None else None
    if volume is None or volume.place.volume or not (volume.linux or volume.place.content.kind == "vfat"):
        raise IoError(f"{line.where} of {name} is not on a partition of this disk: {line.device}", code="no-system")
    return volume


def _is_efi(look: Looking, volume: Volume) -> bool:
    return volume.place.number in {part.number for part in bootuefi.system_partitions(look)}


def _refuse_doubtful(plan: RepairPlan, look: Looking, volume: Volume) -> None:
    """Nothing is written to a file system that is known to be damaged, but a check that comes before may mend it."""
    place = volume.place
    with opened(look.disk.path) as fd:
        if lies_elsewhere(place.content.kind, lambda at, size: read(fd, size, place.start + at)):
            raise IoError(f"a part of {volume.name}, such as its journal, lies on another device", code="no-system")
        doubt = filesystems.doubt(fd, place.start, place.content)
    if doubt is not None and not doubt.passes and place.number not in {one.number for one in plan.checks}:
        raise IoError(f"{volume.name}: {doubt.why}; have it checked before: --check-filesystems", code="doubtful")


def _why_not(reach: _Reach, firmware: Firmware) -> str:
    """Why a system's loader cannot be put back for a kind of firmware, in words; empty where it can."""
    look, name = reach.look, reach.system.name
    if firmware is Firmware.UEFI:
        if not bootuefi.system_partitions(look):
            return "the disk has no EFI system partition"
        if reach.efi is None:
            return reach.why_no_efi or f"{name} has no EFI system partition in its fstab"
    elif look.disk.table.kind is TableKind.GPT:
        if not any(part.type.lower() == _BIOS_BOOT for part in look.disk.table.partitions):
            return "the disk has no BIOS boot partition, so it is not meant for a BIOS"
    elif bootuefi.system_partitions(look) and not look.names(reach.root, _MODULES[firmware]):
        return "the disk is not meant for a BIOS"
    if _MARK_OF_MODULES not in look.names(reach.root, _MODULES[firmware]):
        return f"{name} has no GRUB for this kind of firmware ({_MODULES[firmware]})"
    return ""


def _lacks_menu(reach: _Reach) -> bool:
    folder = "" if reach.boot is not reach.root else _BOOT
    return reach.look.size(reach.boot, f"{folder}/grub/grub.cfg") is None


def _makes_menus(reach: _Reach) -> bool:
    return bool(reach.look.size(reach.root, _MAKE_MENU))
