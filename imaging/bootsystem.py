"""From a boot menu on: whether GRUB finds it, and what its entries name: kernels, the root, what fstab waits for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from imaging import grubcore, grubentries, mounttabs
from imaging.bootlook import Looking, Volume
from imaging.errors import IoError
from imaging.grubcore import Leads
from imaging.grubentries import Entry
from imaging.mounttabs import Device
from imaging.startable import Answer, BootEntry

_FOLDERS = ("/boot/grub", "/grub", "/boot/grub2", "/grub2")
_LOADER_ENTRIES = ("/loader/entries", "/boot/loader/entries")
_FSTAB, _CRYPTTAB, _RESUME = "/etc/fstab", "/etc/crypttab", "/etc/initramfs-tools/conf.d/resume"
_MOST_TRIED = 8
"""Entries of a menu that are looked at."""
_HOPS = 4
"""Small menus that lead to others."""


@dataclass(slots=True, kw_only=True)
class Case:
    """What speaks against a start, and what is worth a note, in words."""

    look: Looking
    against: list[tuple[Answer, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entry: BootEntry | None = None
    """What firmware needs, where that is all that it needs."""

    def fails(self, words: str) -> None:
        """It cannot start."""
        self.against.append((Answer.FAILS, words))

    def unknown(self, *words: str) -> None:
        """Nobody can tell."""
        self.against += [(Answer.UNKNOWN, one) for one in words]

    def missing(self, words: str) -> None:
        """Something is not there; it may lie in what cannot be examined."""
        closed = self.look.closed
        self.against.append((Answer.UNKNOWN if closed else Answer.FAILS, words))
        self.unknown(*(one for one in closed if (Answer.UNKNOWN, one) not in self.against))

    def missing_device(self, device: Device, words: str) -> None:
        """As `missing`, of a device; a logical volume may lie on another disk that is attached."""
        if self.look.may_be_elsewhere(device):
            self.unknown(words, "another disk holds LVM, too, and that is not looked into")
        else:
            self.missing(words)

    def absent(self, uuid: str, words: str) -> None:
        """A file system is not on the disks that are looked at; another disk that is attached may have it."""
        if self.look.exists(Device(tag="UUID", value=uuid)):
            self.unknown(f"{words}, which is on another disk")
        else:
            self.missing(f"{words}, which is not there")

    @property
    def answer(self) -> Answer:
        """What it comes to."""
        return worst(answer for answer, _ in self.against)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What speaks against it, what decides first; each once."""
        decides = self.answer
        return tuple(dict.fromkeys(words for answer, words in self.against if answer is decides))


def worst(answers: Iterable[Answer]) -> Answer:
    """FAILS before UNKNOWN before STARTS."""
    given = set(answers)
    return next((one for one in (Answer.FAILS, Answer.UNKNOWN) if one in given), Answer.STARTS)


def follow(case: Case, leads: Leads, own: Volume | None, *, modules: str = "") -> None:
    """Go where GRUB goes: to its menu, then through what that starts. `own` is where GRUB was loaded from.

    With `modules` GRUB needs normal.mod from that folder beside its menu.
    """
    try:
        _follow(case, leads, own, modules, _HOPS)
    except IoError as error:
        case.unknown(error.message)


def _follow(case: Case, leads: Leads, own: Volume | None, modules: str, hops: int) -> None:
    volume = _volume(case, leads, own)
    if volume is None:
        return
    found = _menu(case.look, volume, leads.folder)
    if found is None:
        case.fails(f"there is no boot menu {leads.folder or _FOLDERS[0]}/grub.cfg on {volume.name}")
        return
    folder, text = found
    if modules and case.look.size(volume, f"{folder}/{modules}/normal.mod") is None:
        case.fails(f"GRUB's modules are missing on {volume.name}: {folder}/{modules}/normal.mod")
        return
    entries = _entries(case.look, volume, text)
    further = grubcore.leads(text, "")
    if entries:
        _try(case, entries, volume)
    elif (further.uuid or further.folder or further.searches) and hops:
        _follow(case, further, volume, "", hops - 1)
    else:
        case.unknown(f"the boot menu {folder}/grub.cfg on {volume.name} has no entry that can be read here")


def _volume(case: Case, leads: Leads, own: Volume | None) -> Volume | None:
    """Where the menu is looked for; None, and told, where that is not there."""
    look = case.look
    if leads.uuid:
        volume = look.with_uuid(leads.uuid)
        if volume is None:
            case.absent(leads.uuid, f"GRUB looks for its menu on the file system {leads.uuid}")
    elif leads.partition:
        volume = look.volume(leads.partition)
        if volume is None:
            name = look.disk.partition_name(leads.partition)
            case.fails(f"GRUB looks for its menu on {name}, which is not there")
    else:
        volume = own if own is not None and not leads.searches else with_menu(look)
        if volume is None:
            case.missing("there is no boot menu")
    return volume


def with_menu(look: Looking) -> Volume | None:
    """The first file system with a boot menu of GRUB; raises IoError where there may be one that cannot be examined."""
    failed: IoError | None = None
    for volume in look.volumes:
        try:
            if volume.linux and _menu(look, volume, "") is not None:
                return volume
        except IoError as error:
            failed = error
    if failed is not None:
        raise failed
    return None


def _menu(look: Looking, volume: Volume, folder: str) -> tuple[str, str] | None:
    """The folder of a menu, and its text."""
    folders = (folder.rstrip("/"),) if folder else _FOLDERS
    look.ask(volume, [f"text:{one}/grub.cfg" for one in folders])
    for one in folders:
        text = look.text(volume, f"{one}/grub.cfg")
        if text is not None:
            return one, text
    return None


def _entries(look: Looking, volume: Volume, text: str) -> Sequence[Entry]:
    if not grubentries.reads_others(text):
        return grubentries.parse(text)
    for folder in _LOADER_ENTRIES:
        names = sorted((n for n in look.names(volume, folder) if n.endswith(".conf")), reverse=True)[:_MOST_TRIED]
        if names:
            look.ask(volume, [f"text:{folder}/{name}" for name in names])
            texts = (look.text(volume, f"{folder}/{name}") for name in names)
            return [grubentries.parse_loader_entry(one) for one in texts if one]
    return ()


def _try(case: Case, entries: Sequence[Entry], own: Volume) -> None:
    """The first entry is what starts by itself; where that cannot, another may."""
    tried: list[tuple[Entry, Case]] = []
    for entry in entries[:_MOST_TRIED]:
        one = Case(look=case.look)
        check_entry(one, entry, own)
        tried.append((entry, one))
        if one.answer is not Answer.FAILS:
            break
    entry, good = tried[-1]
    if len(tried) > 1 and good.answer is not Answer.FAILS:
        first = tried[0][1]
        case.notes.append(f"the first entry of the boot menu does not start: {'; '.join(first.reasons)}")
        case.notes.append(f"of the boot menu, choose: {entry.title}")
    else:
        good = tried[0][1]
    case.against += good.against
    case.notes += good.notes


def check_entry(case: Case, entry: Entry, own: Volume) -> None:
    """A kernel, what is loaded with it, the root that it is told, and what the system there waits for."""
    if not entry.clear:
        case.unknown(f"what this entry of the boot menu starts is not written out in it: {entry.title}")
        return
    if entry.partition:
        volume = case.look.volume(entry.partition)
        name = case.look.disk.partition_name(entry.partition)
        if volume is None:
            case.fails(f"the boot menu names {name}, which is not there")
            return
    else:
        volume = case.look.with_uuid(entry.uuid) if entry.uuid else own
    if volume is None:
        case.absent(entry.uuid, f"the boot menu names the file system {entry.uuid}")
        return
    try:
        paths = [entry.kernel, *entry.initrds]
        case.look.ask(volume, [f"size:{path}" for path in paths])
        for path in paths:
            size = case.look.size(volume, path)
            if size is None:
                case.fails(f"the boot menu names {path}, which is not on {volume.name}")
            elif size == 0:
                case.fails(f"the boot menu names {path}, which is empty on {volume.name}")
        _root(case, entry)
    except IoError as error:
        case.unknown(error.message)


def _root(case: Case, entry: Entry) -> None:
    root = mounttabs.device(entry.root)
    if root is None:
        return
    if not case.look.exists(root):
        case.missing_device(root, f"the kernel looks for its root file system on {root}, which is not there")
        return
    volume = case.look.named(root)
    if volume is None:
        return
    if volume.closed:
        case.unknown(volume.closed)
    elif volume.linux:
        _tabs(case, volume)


def _tabs(case: Case, volume: Volume) -> None:
    look = case.look
    look.ask(volume, [f"text:{path}" for path in (_FSTAB, _CRYPTTAB, _RESUME)])
    locked = list(mounttabs.crypttab(look.text(volume, _CRYPTTAB) or ""))
    for want in locked:
        if not look.exists(want.device):
            words = f"{_CRYPTTAB} on {volume.name} names {want.device} for {want.where}, which is not there"
            case.notes.append(words)
    unlocked = {want.where for want in locked if look.exists(want.device)}
    for want in mounttabs.fstab(look.text(volume, _FSTAB) or ""):
        if look.exists(want.device) or (want.device.tag == "MAPPER" and want.device.value in unlocked):
            continue
        words = f"{_FSTAB} on {volume.name} names {want.device} for {want.where}, which is not there"
        if not want.needed:
            case.notes.append(words)
        elif want.where == "/":
            case.unknown(words)
        else:
            case.missing_device(want.device, words)
    resume = mounttabs.resume(look.text(volume, _RESUME) or "")
    if resume is not None and not look.exists(resume):
        case.notes.append(f"{_RESUME} on {volume.name} names {resume}, which is not there: the start waits for it")
