"""The recovery system on the computer's own disk, in words: plans and results."""

from collections.abc import Sequence

from imaging import grubmenu
from imaging.disk import format_size
from imaging.events import InstallResult, RemoveResult
from imaging.recoveryplans import InstallPlan, RemovePlan
from imaging.restoreplans import RestoreTarget
from rescue.care import INDENT
from rescue.formats import clean, format_duration
from rescue.language import _
from rescue.medium import image_lines, system_line
from rescue.telling import told

_OF_LINUX = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")
"""File systems on which a menu of GRUB can stand."""


def install_lines(plan: InstallPlan, before: Sequence[str]) -> list[str]:
    """A recovery partition to be made or completed; `before` are lines of the disk as it is."""
    disk = plan.target
    name = clean(disk.partition_name(plan.number))
    lines = [_("CHANGED: {disk}").format(disk=before[0]), *(INDENT + line for line in before[1:])]
    if plan.entries:
        words = _("ADDED AGAIN: what starts the recovery system in {partition}, from its own files")
        lines.append(words.format(partition=name))
        return [*lines, INDENT + system_line(plan.system), *_loader_lines(plan), _("KEPT: all else.")]
    words = (
        _("WRITTEN ANEW: the recovery system in {partition}, {size}; what else is in it stays")
        if plan.present
        else _("MADE: {partition}, a partition of {size} in free room of the disk")
    )
    lines.append(words.format(partition=name, size=format_size(plan.size)))
    lines.append(INDENT + system_line(plan.system))
    if plan.library:
        lines.append(INDENT + _("with an image library on it"))
        lines += image_lines(plan.images, plan.factory)
    lines += _loader_lines(plan)
    return [*lines, _("KEPT: all other partitions and their data. What is written is read back and compared.")]


def _loader_lines(plan: InstallPlan) -> list[str]:
    """What starts it: the boot loader of UEFI, and the entries."""
    disk, lines = plan.target, []
    if plan.efi:
        words = _("ADDED: the boot loader, in the folder {folder} of {partition}")
        lines.append(words.format(folder="EFI/rescue", partition=clean(disk.partition_name(plan.efi))))
    return [*lines, *entry_lines(plan)]


def entry_lines(plan: InstallPlan | RemovePlan) -> list[str]:
    """The boot entries that are added or taken away."""
    added = isinstance(plan, InstallPlan)
    lines = []
    if plan.firmware:
        words = (
            _("ADDED: {entry} in the boot menu of the firmware, behind all others")
            if added
            else _("REMOVED: {entry} from the boot menu of the firmware")
        )
        lines.append(words.format(entry=grubmenu.LABEL))
    for menu in plan.menus:
        words = (
            _("ADDED: {entry} in the menu of GRUB on {partition} ({file})")
            if added
            else _("REMOVED: {entry} from the menu of GRUB on {partition} ({file})")
        )
        partition = clean(plan.target.partition_name(menu.partition))
        lines.append(
            words.format(entry=grubmenu.LABEL, partition=partition, file=clean(f"{menu.folder}/{grubmenu.CUSTOM}"))
        )
    return lines


def closed_lines(closed: Sequence[str]) -> list[str]:
    """Boot menus that get no entry, and why."""
    words = _("NOT CHANGED: {why}")
    return [words.format(why=clean(told(why))) for why in closed]


def remove_lines(plan: RemovePlan, before: Sequence[str]) -> list[str]:
    """A recovery partition to be taken away; `before` are lines of the disk as it is."""
    name = clean(plan.target.partition_name(plan.number))
    lines = [_("CHANGED: {disk}").format(disk=before[0]), *(INDENT + line for line in before[1:])]
    words = _("ERASED: {partition}, the recovery system and the images on it, {size}")
    lines.append(words.format(partition=name, size=format_size(plan.size)))
    return [*lines, *entry_lines(plan), _("KEPT: all other partitions and their data.")]


def lost_lines(pair: RestoreTarget) -> list[str]:
    """What a restore takes from the computer's own recovery system: itself, or what starts it."""
    own = [part.number for part in pair.target.table.partitions if part.recovery]
    chosen = {spot.partition for spot in pair.partitions}
    if own and any(p.number in chosen and p.content.kind in _OF_LINUX for p in pair.target.table.partitions):
        words = _("The menu of GRUB comes from the image. Where it lacks {entry} then, add it again: {command}")
        disk = clean(pair.target.name)
        return [words.format(entry=grubmenu.LABEL, command=f"rescue media install-partition {disk}")]
    if not own or any(part.recovery for part in pair.source.table.partitions):
        return []
    words = _("LOOK TWICE: {partition}, this computer's own recovery system, is erased, too; the image brings none")
    return [words.format(partition=clean(pair.target.partition_name(number))) for number in own]


def install_figures(result: InstallResult) -> list[str]:
    """The figures of an installation: where the recovery system can be chosen from now on."""
    lines = [
        _("Partition: {partition}, {size}").format(partition=clean(result.partition), size=format_size(result.size))
    ]
    lines += [_("To be chosen {where}").format(where=clean(told(where))) for where in result.starts]
    return [*lines, _("Time: {time}").format(time=format_duration(result.seconds))]


def remove_figures(result: RemoveResult) -> list[str]:
    """The figures of a removal."""
    return [
        _("Free now: {size}").format(size=format_size(result.freed)),
        _("Time: {time}").format(time=format_duration(result.seconds)),
    ]
