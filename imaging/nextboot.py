"""One start of the recovery partition that captures and starts the computer's own system again: asked for, withdrawn.

An order for unattended work is put on the recovery partition, and the firmware, or GRUB, is told to start that once.
The order is for one start: the recovery system removes it before anything else, and starts the computer's own system
again however the capture ends. Where it was not started, the computer's own system takes the order away. Sources:
efibootmgr(8), --bootnext; GRUB's manual, "grub-reboot".
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from imaging import bootplaces, efientries, grubmenu, inventory, orders, ordersource, ownplan
from imaging.disk import Disk, DiskId, Partition
from imaging.durable import reading, write_file, written
from imaging.errors import IoError, RefusedError
from imaging.filesystems import probe
from imaging.library import FOLDER, discover
from imaging.media import can_be_read
from imaging.mounts import beneath
from imaging.run import find_tool, run
from imaging.schedules import Schedule, quoted
from imaging.schedulestate import Asked, boot_id, now

ORDER = "scheduled.toml"
_GRUB = (("/boot/grub", "grub-reboot", "grub-editenv"), ("/boot/grub2", "grub2-reboot", "grub2-editenv"))
_GRUB_WRITES = ("ext2", "ext3", "ext4", "vfat", "xfs")
"""File systems, on a partition of their own, on which GRUB can note that it was done. Elsewhere it would start the
recovery system again and again."""
_ENTRY = "rescue-recovery"
_TIMEOUT = 60.0
_NUMBERS = Path("/sys/dev/block")


def render(schedule: Schedule) -> str:
    """The order that the recovery system carries out; raises UsageError where it would be refused."""
    lines = [
        "# Written by `rescue schedule run`, for one start.",
        f"version = {orders.VERSION}",
        'name = "Scheduled backup"',
        "one_start = true",
        "once = false",
        'after = "reboot"',
        'on_failure = "reboot"',
        "",
        "[capture]",
        f"library = {quoted(schedule.next_boot_library)}",
        f"label = {quoted(schedule.label)}",
        f"level = {quoted(schedule.level)}",
        f"check = {quoted(schedule.check)}",
    ]
    for disk in schedule.disk:
        # The strongest mark decides, as it does in the inventory.
        known = {"wwn": disk.wwn} if disk.wwn else {"serial": disk.serial, "model": disk.model}
        known = {name: _literal(value) for name, value in known.items() if value}
        lines += ["", "[[capture.disk]]", *(f"{key} = {quoted(value)}" for key, value in known.items())]
        lines += [f"size = {disk.size}"]
    text = "\n".join(lines) + "\n"
    orders.parse(text.encode(), ORDER)
    return text


def _literal(value: str) -> str:
    """Without what orders take for any character: it then stands for itself, which it is one of."""
    return value.replace("*", "?").strip()


def refuse_unless_possible() -> None:
    """Raise RefusedError where the next start cannot capture this computer; nothing is changed. Raises IoError."""
    _found()


def refuse_unless_found(library: Path) -> None:
    """Raise RefusedError where the recovery system would not find a library by itself, in the first folder of a medium.

    It mounts partitions, and opens, assembles and activates nothing.
    """
    why = _why_unfound(library)
    if not why:
        others = [str(path) for path in discover() if not _is_same(path, library) and not _why_unfound(path)]
        if not others:
            return
        why = f"it would find others, too: {', '.join(others)}"
    raise RefusedError(
        f"the recovery system would not find {library}: {why}",
        code="no-library",
        hint="use a library that it finds, or one at an address: --next-boot-library",
    )


def _why_unfound(library: Path) -> str:
    """Why the recovery system would not find a library; empty where it would."""
    library = Path(os.path.realpath(library))
    there = beneath(library)
    if there is None or not _is_partition(there.device):
        return f"it opens no {there.source if there else library}, but partitions of disks alone"
    # Drivers have names of their own: fuseblk and ntfs3 are NTFS. The recovery system goes by what is on the disk.
    kind = there.kind if can_be_read(there.kind) else probe(there.source).kind or there.kind
    if not can_be_read(kind):
        return f"it mounts no {kind}"
    within = Path(there.root, os.path.relpath(library, there.where))
    if within not in (Path("/"), Path("/", FOLDER)):
        return f"it looks for libraries in a medium's first folder, and in {FOLDER} there"
    return ""


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same library, which can be mounted in two places."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def ask(schedule: Schedule, known: Sequence[str]) -> Asked:
    """Have the next start of this computer capture its disks, of which there are the images `known`.

    Raises RefusedError where that cannot be, IoError.
    """
    disk, part, by = _found()
    with bootplaces.reached(disk, part.number) as root:
        folder = root / ordersource.FOLDER
        with written(folder):
            folder.mkdir(mode=0o755, exist_ok=True)
            others = sorted(path.name for path in folder.glob("*.toml") if path.name != ORDER)
        if others:
            raise RefusedError(
                f"the recovery partition has orders of its own: {', '.join(others[:4])}",
                code="ambiguous-order",
                hint="take them away, or have those capture this computer",
            )
        write_file(folder / ORDER, render(schedule).encode())
    try:
        _direct(disk, by)
    except IoError:
        with suppress(IoError):
            _take_order(disk, part)
        raise
    return Asked(when=now(), boot=boot_id(), by=by, disk=_named(disk.id), partition=part.recovery, known=tuple(known))


def withdraw(asked: Asked) -> None:
    """Take the order away, and, in the start in which it was asked for, the word to the firmware or GRUB. Raises
    IoError, RefusedError; nothing where the recovery partition is gone.
    """
    if asked.boot == boot_id():
        _undirect(asked.by)
    for disk in inventory.scan():
        part = ownplan.own_partition(disk)
        if part is not None and part.recovery == asked.partition:
            _take_order(disk, part)


def _take_order(disk: Disk, part: Partition) -> None:
    with bootplaces.reached(disk, part.number) as root:
        path = root / ordersource.FOLDER / ORDER
        with written(path):
            path.unlink(missing_ok=True)
            os.sync()


def _named(identity: DiskId) -> str:
    return identity.wwn or f"{identity.model} {identity.serial}".strip()


def _found() -> tuple[Disk, Partition, str]:
    """The disk with this computer's recovery partition, and what can be told to start it."""
    disks = inventory.scan()
    found = [(disk, part) for disk in disks if (part := ownplan.own_partition(disk)) and part.content.kind]
    if not found:
        raise RefusedError(
            "no disk of this computer has a recovery partition",
            code="no-system",
            hint="make one: rescue media install-partition DISK",
        )
    if len(found) > 1:
        raise RefusedError(
            f"{', '.join(disk.name for disk, _ in found)} have a recovery partition each: which is this computer's?",
            code="several-recoveries",
            hint="take those away that are of other computers",
        )
    disk, part = found[0]
    by = _by(disk)
    if not by:
        raise RefusedError(
            f"neither the firmware nor GRUB can be told to start the recovery partition of {disk.name} once",
            code="no-boot-entry",
            hint="see what it lacks: rescue media install-partition DISK --plan",
        )
    return disk, part, by


def _by(disk: Disk) -> str:
    if efientries.can_be_changed():
        return "efi" if _efi_number(disk) else ""
    return "grub" if _grub() else ""


def _efi_number(disk: Disk) -> str:
    """The number of the firmware's entry that starts the recovery partition; empty where it has none."""
    efi = ownplan.efi_partition(disk)
    entries = efientries.read().entries if efi else ()
    found = (one.number for one in entries if efi and one.starts(grubmenu.LOADER, efi.uuid))
    return next(found, "")


def _grub(root: Path = Path("/")) -> tuple[Path, str, str] | None:
    """The folder of the GRUB that starts this system, where that has our entry and can note that it was started."""
    for where, reboot, edit in _GRUB:
        folder = root / where.lstrip("/")
        if find_tool(reboot) is None or find_tool(edit) is None:
            continue
        try:
            menu, custom = (folder / "grub.cfg").read_text(errors="replace"), (folder / grubmenu.CUSTOM).read_text()
        except (OSError, UnicodeDecodeError):
            continue
        if _ENTRY in custom and grubmenu.reads_custom(menu) and "next_entry" in menu and can_note(folder):
            return folder, reboot, edit
    return None


def can_note(folder: Path) -> bool:
    """Whether GRUB can write to its environment in a folder: on a partition itself, not on LVM, RAID or btrfs."""
    with reading(folder):
        there = beneath(folder)
    return there is not None and there.kind in _GRUB_WRITES and _is_partition(there.device)


def _is_partition(device: str) -> bool:
    """Whether a device, by its numbers, is a partition of a disk: not of a RAID, and neither LVM's nor an open LUKS."""
    node = (_NUMBERS / device).resolve()
    return (node / "partition").exists() and node.parent.parent.parts[-2:] != ("virtual", "block")


def _direct(disk: Disk, by: str) -> None:
    if by == "efi":
        number = _efi_number(disk)
        run(["efibootmgr", "--bootnext", number], timeout=_TIMEOUT)
        return
    found = _grub()
    if found is None:
        raise IoError("GRUB has no entry for the recovery partition any more", code="no-boot-entry")
    run([found[1], f"--boot-directory={found[0].parent}", _ENTRY], timeout=_TIMEOUT)


def _undirect(by: str) -> None:
    if by == "efi":
        run(["efibootmgr", "--delete-bootnext"], accept=range(256), timeout=_TIMEOUT)
        return
    found = _grub()
    if found is not None:
        run([found[2], found[0] / "grubenv", "unset", "next_entry"], timeout=_TIMEOUT)
