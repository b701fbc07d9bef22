"""A repair in words: what is done and what is not, and what came of it."""

from collections.abc import Sequence

from imaging.disk import Disk
from imaging.events import RepairResult
from imaging.repairplans import RepairPlan
from imaging.startable import NAMES
from rescue.care import INDENT
from rescue.checked import checked_lines
from rescue.formats import clean, format_duration
from rescue.language import N_, _
from rescue.starting import start_figures, start_lines
from rescue.telling import told

_TABLE = {
    "start": N_("PARTITION TABLE: its copy at the end is destroyed, and written anew from that at the start"),
    "end": N_("PARTITION TABLE: what stands at the start is destroyed, and written anew from the copy at the end"),
    "both": N_("PARTITION TABLE: both copies are whole; the sector before them, which is empty, is written anew"),
}


def repair_lines(plan: RepairPlan, before: Sequence[str], after: Sequence[str] = ()) -> list[str]:
    """What is wrong, what is done, what is left.

    `before` are lines of the disk as it is, `after` of what is on it with its table put back.
    """
    name = clean(plan.target.name)
    first = _("CHANGED: {disk}") if plan.writes else _("LOOKED AT: {disk}")
    lines = [first.format(disk=before[0]), *(INDENT + line for line in before[1:])]
    lines += [INDENT + line for line in start_lines(plan.before)]
    if plan.table is not None:
        lines.append(_(_TABLE[plan.table.kept]))
        if plan.layout != plan.target.table:
            lines += [INDENT + _("the partitions of that copy:"), *(INDENT * 2 + line for line in after)]
    lines += _check_lines(plan)
    lines += _loader_lines(plan)
    if plan.boot_entry:
        words = _("FIRMWARE: it gets a boot entry for {disk}, should that be all that is missing")
        lines.append(words.format(disk=name))
    lines += [_("NOT REPAIRED: {why}").format(why=clean(told(why))) for why in plan.notes]
    lines += [_("NOT CHANGED: {why}").format(why=clean(told(why))) for why in plan.left]
    if not plan.writes:
        return [*lines, _("There is nothing that could be repaired.")]
    if plan.table is not None or plan.loaders:
        lines += _kept_lines(plan)
    return [*lines, _("KEPT: all else. Nothing is taken from an image: where this is not enough, restore one.")]


def _check_lines(plan: RepairPlan) -> list[str]:
    lines = []
    for one in plan.checks:
        words = _("LOOKED OVER: the file system of {partition} ({kind}); nothing is written to it")
        if not one.only_looks:
            words = _("CHECKED: the file system of {partition} ({kind}); its tool mends what loses nothing")
            if plan.wishes.mend:
                words = _("CHECKED: the file system of {partition} ({kind}); its tool decides what is thrown away")
        lines.append(words.format(partition=clean(plan.target.partition_name(one.number)), kind=clean(one.kind)))
    return lines


def _loader_lines(plan: RepairPlan) -> list[str]:
    system = plan.system
    if system is None or not plan.loaders:
        return []
    names = ", ".join(NAMES[firmware] for firmware in plan.loaders)
    words = _("BOOT LOADER: put back for {firmware} by {program} of {system} on {partition}")
    program, partition = clean(system.program.rpartition("/")[2]), clean(plan.target.partition_name(system.number))
    lines = [words.format(firmware=names, program=program, system=clean(system.name), partition=partition)]
    lines.append(INDENT + _("programs of that system are run as root, and its file systems are mounted for that"))
    if plan.removable:
        lines.append(INDENT + _("also at the path where any firmware finds it, which is empty"))
    if plan.menu:
        lines.append(INDENT + _("with a new boot menu, for there is none"))
    return lines


def _kept_lines(plan: RepairPlan) -> list[str]:
    if plan.keep:
        return [_("KEPT BEFORE: what is written over, in {folder}").format(folder=clean(plan.keep))]
    words = _("KEPT BEFORE: what is written over, with the job; on a recovery medium only until it is switched off")
    return [words]


def repair_figures(result: RepairResult) -> list[str]:
    """What came of a repair."""
    lines = []
    if result.table:
        lines.append(_("Partition table: put back, read back and compared"))
    lines += checked_lines(result.checked)
    if result.mended:
        lines.append(_("Changed by its check: {names}").format(names=clean(", ".join(result.mended))))
    if result.loaders:
        lines.append(_("Boot loader: put back for {firmware}").format(firmware=clean(", ".join(result.loaders))))
    if result.boot_entries:
        words = _("New in the firmware, and tried first: the boot entry {labels}")
        lines.append(words.format(labels=clean(", ".join(result.boot_entries))))
    lines += [_("Not repaired: {why}").format(why=clean(told(why))) for why in result.failed]
    lines += start_figures([result.starts])
    if result.saved:
        lines.append(_("What was there before: {folder}").format(folder=clean(result.saved)))
    return [*lines, _("Time: {time}").format(time=format_duration(result.seconds))]


def left_by_repair(disk: Disk) -> str:
    """What a repair leaves behind that stops in the middle."""
    words = _("{name} is only partly repaired; what was whole before is as it was.")
    return words.format(name=clean(disk.name))
