"""Whether UEFI firmware starts something from a disk: its EFI system partitions, their loaders, the firmware's entries.

Sources: UEFI 2.10, 3.1 (the boot manager) and 3.5.1 (removable media); shim's README.fallback.
"""

import re
from collections.abc import Sequence

from imaging import efientries, grubcore, grubentries
from imaging.bootlook import Looking, Volume
from imaging.bootsystem import Case, check_entry, follow
from imaging.disk import Partition, TableKind
from imaging.efiloaders import BCD, FALLBACK, MICROSOFT, EfiFiles, Loader, LoaderKind
from imaging.errors import IoError, RescueError
from imaging.grubcore import Leads
from imaging.startable import Answer, BootEntry

_SYSTEM_PARTITION = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
_SYSTEM_PARTITION_MBR = "ef"
_FILE = re.compile(r"/(?:File\()?(\\[^)/]*?\.efi)", re.IGNORECASE)
_AFTER = 3
"""Loaders that start one another."""
_MOST_ENTRIES = 8
_FIRST = (LoaderKind.SHIM, LoaderKind.WINDOWS, LoaderKind.SYSTEMD, LoaderKind.GRUB, LoaderKind.KERNEL)
"""What an entry can start, the best first: with secure boot, shim starts what nothing else does."""
_OURS = "efi/rescue/"
"""Where imaging.owndisk has put what starts the recovery system on the computer's own disk."""
_HELPER = re.compile(r"(?:mm|fb|fwup|shell|memtest)", re.IGNORECASE)
"""What lies beside loaders and starts no system by itself: shim's key manager, its fallback, firmware updates."""
_PLAIN = re.compile(r"[\w\x20./+-]{1,200}", re.ASCII)
"""Paths that are written into the firmware."""


def system_partitions(look: Looking) -> list[Partition]:
    """The disk's EFI system partitions."""
    wanted = _SYSTEM_PARTITION_MBR if look.disk.table.kind is TableKind.MBR else _SYSTEM_PARTITION
    return [part for part in look.disk.table.partitions if part.type.lower() == wanted]


def entries() -> Sequence[efientries.Entry] | None:
    """The entries that the firmware tries by itself; None where they cannot be read."""
    if not efientries.can_be_changed():
        return None
    try:
        return efientries.read().tried
    except RescueError:
        return None


def check(look: Looking, known: Sequence[efientries.Entry] | None) -> Case:
    """What speaks against a start by UEFI; `known` are the firmware's entries, None where they are not known."""
    case = Case(look=look)
    parts = system_partitions(look)
    if not parts:
        _without_system_partition(case)
        return case
    tried = [_partition(look, part, known) for part in parts]
    return _best(tried)


def _without_system_partition(case: Case) -> None:
    """Of sticks, firmware takes any FAT: UEFI 2.10, 13.3.1 has it so for removable media, and much firmware for all."""
    for volume in case.look.volumes:
        if volume.disk is not case.look.disk or volume.place.content.kind != "vfat":
            continue
        try:
            if FALLBACK in case.look.files_of(volume):
                case.unknown(
                    f"it has no EFI system partition, and only some firmware finds the loader on {volume.name}"
                )
        except IoError as error:
            case.unknown(error.message)
    if not case.against:
        case.fails("it has no EFI system partition")


def _best(cases: Sequence[Case]) -> Case:
    """The one that starts, else the first that may."""
    return min(cases, key=lambda one: (Answer.STARTS, Answer.UNKNOWN, Answer.FAILS).index(one.answer))


def _partition(look: Looking, part: Partition, known: Sequence[efientries.Entry] | None) -> Case:
    case, name = Case(look=look), look.disk.partition_name(part.number)
    volume = look.volume(part.number)
    if volume is None or volume.place.content.kind != "vfat":
        case.fails(f"its EFI system partition {name} holds no FAT file system")
        return case
    try:
        files = look.files_of(volume)
    except IoError as error:
        case.unknown(f"its EFI system partition {name} cannot be read: {error.message}")
        return case
    named = _named(case, files, part, known)
    starting = [loader for path in (*named, FALLBACK) if (loader := files.loader(path)) is not None]
    if not starting:
        _none(case, files, name, known)
        case.entry = _entry(case, files, part, volume) if known is not None else None
        return case
    tried = []
    for loader in starting:
        one = Case(look=look)
        _start(one, files, loader, volume, _AFTER)
        tried.append(one)
        if one.answer is Answer.STARTS:
            break
    best = _best(tried)
    best.notes = [*case.notes, *best.notes]
    if best.answer is Answer.FAILS and known is not None:
        best.entry = _entry(case, files, part, volume)
    return best


def _named(case: Case, files: EfiFiles, part: Partition, known: Sequence[efientries.Entry] | None) -> list[str]:
    """The loaders that the firmware's entries start from this partition; those that are not there are noted."""
    found = []
    for entry in known or ():
        file = _FILE.search(entry.path)
        if entry.partition != part.uuid.lower() or not file:
            continue
        path = file[1].replace("\\", "/").lstrip("/")
        if _is_ours(path):
            continue
        if path in files:
            found.append(path)
        else:
            case.notes.append(f"the firmware's entry {entry.label} starts {file[1]}, which is not there")
    return found


def _none(case: Case, files: EfiFiles, name: str, known: Sequence[efientries.Entry] | None) -> None:
    """No loader that firmware would start by itself."""
    others = [loader for loader in _others(files) if not loader.fault]
    if not others:
        case.fails(f"its EFI system partition {name} holds no loader")
        return
    shown = next((one.shown for one in others if one.kind is LoaderKind.SHIM), others[0].shown)
    if MICROSOFT in files:
        case.unknown(f"{name} has no loader that any firmware finds, and only some find that of Windows")
    elif known is None:
        case.unknown(f"{name} has no loader that any firmware finds, and only one with an entry for {shown} starts it")
    else:
        case.fails(f"{name} has no loader that any firmware finds, and this firmware has no entry for {shown}")


def _entry(case: Case, files: EfiFiles, part: Partition, volume: Volume) -> BootEntry | None:
    """The entry with which the firmware would start a loader here, as far as can be told; shim goes before GRUB."""
    if case.look.disk.table.kind is not TableKind.GPT:
        return None
    able = [one for one in _others(files) if one.kind in _FIRST and not _HELPER.match(one.path.rpartition("/")[2])]
    tried = []
    for loader in sorted(able, key=lambda one: (_FIRST.index(one.kind), one.path)):
        if not _PLAIN.fullmatch(loader.path):
            continue
        one = Case(look=case.look)
        _start(one, files, loader, volume, _AFTER)
        if one.answer is not Answer.FAILS:
            tried.append((one.answer is Answer.UNKNOWN, loader))
    if not tried:
        return None
    unsure, loader = min(tried, key=lambda pair: pair[0])
    label = "Windows Boot Manager" if loader.kind is LoaderKind.WINDOWS else loader.path.split("/")[-2]
    return BootEntry(partition=part.number, uuid=part.uuid.lower(), loader=loader.shown, label=label, sure=not unsure)


def _others(files: EfiFiles) -> list[Loader]:
    """The loaders of other systems than this recovery system."""
    paths = [path for path in files.loaders() if not _is_ours(path)]
    return [loader for path in paths if (loader := files.loader(path)) is not None]


def _is_ours(path: str) -> bool:
    """Whether it starts this recovery system, and not what is on the disk otherwise."""
    return path.lower().startswith(_OURS)


def _start(case: Case, files: EfiFiles, loader: Loader, volume: Volume, after: int) -> None:
    if loader.fault:
        case.fails(f"{loader.shown} on {volume.name} cannot be started: {loader.fault}")
        return
    match loader.kind:
        case LoaderKind.SHIM:
            _shim(case, files, loader, volume, after)
        case LoaderKind.GRUB:
            _grub(case, files, loader, volume)
        case LoaderKind.WINDOWS:
            if BCD not in files:
                case.fails(f"Windows' list of what to start is missing on {volume.name}: {BCD}")
        case LoaderKind.SYSTEMD:
            _systemd(case, files, volume)
        case LoaderKind.KERNEL:
            pass
        case LoaderKind.OTHER:
            case.unknown(f"what {loader.shown} on {volume.name} starts is not known here")


def _shim(case: Case, files: EfiFiles, loader: Loader, volume: Volume, after: int) -> None:
    path = files.after_shim(loader)
    behind = files.loader(path) if after else None
    if behind is None:
        case.fails(f"{loader.shown} on {volume.name} starts {path}, which is not there")
    else:
        _start(case, files, behind, volume, after - 1)


def _grub(case: Case, files: EfiFiles, loader: Loader, volume: Volume) -> None:
    """GRUB was told where its menu is, or reads a grub.cfg on this partition that goes on to it."""
    core = grubcore.told(loader.image)
    leads = grubcore.leads(core.config, core.prefix)
    if leads.uuid or leads.partition:
        follow(case, leads, volume)
        return
    folders = [folder for folder in (leads.folder.strip("/"), loader.folder) if folder]
    beside = next((folder for folder in folders if f"{folder}/grub.cfg" in files), "")
    if beside:
        follow(case, Leads(folder=f"/{beside}"), volume)
    elif core.prefix.startswith("("):
        follow(case, leads, None)
    else:
        case.fails(f"GRUB's configuration is missing on {volume.name}: {folders[0] if folders else 'EFI'}/grub.cfg")


def _systemd(case: Case, files: EfiFiles, volume: Volume) -> None:
    """systemd-boot: unified kernels, and the entries of the Boot Loader Specification, on this very partition."""
    if files.below("efi/linux", ".efi"):
        return
    found = files.below("loader/entries", ".conf")[-_MOST_ENTRIES:]
    if not found:
        case.unknown(f"systemd-boot on {volume.name} has no entry that can be read here")
        return
    tried = []
    for path in reversed(found):
        one = Case(look=case.look)
        check_entry(one, grubentries.parse_loader_entry(files.read(path).decode(errors="replace")), volume)
        tried.append(one)
    best = _best(tried)
    case.against += best.against
    case.notes += best.notes
