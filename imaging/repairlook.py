"""What can be repaired of a disk from which a computer does not start: looked at, and planned; nothing is written.

Only what the disk itself has is used: the other copy of its table, the tools of its file systems, the boot loader of
the system on it. No table is taken from an image: an older one over a newer layout would lose what is on the disk.
"""

import os
from dataclasses import replace

from msgspec import structs

from imaging import (
    bootentry,
    checkable,
    checkboot,
    filesystems,
    gptcopies,
    hibernation,
    inventory,
    loaderplan,
    planner,
    smart,
)
from imaging.blockdev import opened, read
from imaging.bootlook import Looking
from imaging.disk import Content, Disk
from imaging.errors import RefusedError, UsageError
from imaging.gptcopies import Found
from imaging.health import Condition
from imaging.repairplans import RepairPlan, RepairWishes, TableRepair
from imaging.startable import Firmware

PATIENCE = 60.0
"""Seconds that a person waits for a look at a disk whose file systems do not answer; they take less than one."""


def why_not(disk: Disk) -> str:
    """Why nothing of a disk is repaired at all, in words; empty where it may be."""
    begun = next((part for part in disk.table.partitions if part.unfinished), None)
    if disk.unfinished:
        return f"a restore onto it was begun and never completed (from {disk.unfinished}): run that again"
    if begun is not None:
        return (
            f"a restore into {disk.partition_name(begun.number)} was begun and never completed (from "
            f"{begun.unfinished}): run that again"
        )
    if disk.problem:
        return disk.problem
    if disk.table.dynamic:
        return "it is a dynamic disk of Windows, which keeps a table of its own"
    return planner.why_protected(disk) or planner.why_not_in_use(disk)


def plan_repair(disk: Disk, wishes: RepairWishes, keep: str = "", patience: float = PATIENCE) -> RepairPlan:
    """Plan what can be repaired of a disk; takes some seconds, and each look at it `patience` at most.

    Raises RefusedError where nothing of it may be written to, UsageError, IoError.
    """
    _refuse(disk)
    if os.geteuid() != 0:
        raise RefusedError("a disk can be repaired by root alone", code="needs-root", hint="run as root")
    with opened(disk.path) as fd:
        bare = _bare(disk)
        found = _table_of(disk, fd, bare)
        table, notes, left = _told_of_table(found, wishes, bare)
        after = _after(disk, found, fd) if table is not None else disk
        _refuse(after)  # what is in partitions that were not seen before
        plan = RepairPlan(
            target=disk,
            wishes=wishes,
            layout=after.table,
            before=checkboot.check(after, patience=patience),
            table=table,
            notes=notes,
            left=left,
            keep=keep,
        )
        numbers = _asked(after, wishes)
        if found.why_not and not bare:
            # sfdisk goes by whichever copy it can read, and that may be an old one.
            return plan
        barred = ""
        if numbers or loaderplan.wanted(plan.before):
            barred = _barred(after, fd, patience)
        checks, more = checkable.plan_checks(after, fd, numbers, barred)
    plan = structs.replace(plan, checks=tuple(checks), notes=(*notes, *more))
    return _with_entry(loaderplan.with_loader(plan, after, patience, barred))


def _told_of_table(
    found: Found, wishes: RepairWishes, bare: str
) -> tuple[TableRepair | None, tuple[str, ...], tuple[str, ...]]:
    """What is done about the table, what of it cannot be repaired, and what is left because it may be."""
    if found.why_not and bare:
        return None, (), (f"the partition table is left as it is: {found.why_not}",)
    if found.why_not:
        return None, (f"the partition table, and all that depends on it, is left as it is: {found.why_not}",), ()
    if found.writes and not wishes.table:
        return None, (), ("the partition table is left as it is: that was asked for",)
    return (TableRepair(kept=found.kept, writes=found.writes) if found.writes else None), (), ()


def _asked(disk: Disk, wishes: RepairWishes) -> tuple[int, ...]:
    """The partitions whose file systems are to be checked; raises UsageError where there is none of that number."""
    unknown = set(wishes.check) - {part.number for part in disk.table.partitions}
    if unknown:
        raise UsageError(f"{disk.name} has no partition {min(unknown)}", code="no-such-partition")
    return checkable.numbers(disk) if wishes.check_all else wishes.check


def _barred(disk: Disk, fd: int, patience: float) -> str:
    """Why nothing may be written to the file systems of a disk, in words; empty where it may."""
    failing = _failing(disk)
    if failing:
        return f"the disk is failing ({failing}): save what is on it first"
    if hibernation.is_hibernated(Looking([(disk, fd)], patience)):
        return "a system on this disk is hibernated: start it, and shut it down"
    return ""


def _refuse(disk: Disk) -> None:
    why = why_not(disk)
    if why:
        code = "in-use" if why == planner.why_not_in_use(disk) else "refused"
        raise RefusedError(f"{disk.name} is not repaired: {why}", code=code)


def look_at_table(disk: Disk, fd: int) -> Found:
    """What can be put back of the partition table of a disk that is open; raises IoError, RefusedError."""
    return _table_of(disk, fd, _bare(disk))


def _bare(disk: Disk) -> str:
    """The kind of what stands on a disk as a whole; empty for nothing. Raises RefusedError for a member of a RAID.

    Members of a mirror look like disks of their own, and each that is written to alone differs from the others.
    """
    found = filesystems.probe(disk.path)
    kind = found.kind or ("something of several kinds" if found.usage else "")
    if kind and found.usage in ("raid", "ambivalent") and disk.table.partitions:
        raise RefusedError(
            f"{disk.name} is not repaired: {kind} stands on the disk as a whole: it may be one of several (RAID)",
            code="raid",
            hint="repair it assembled; where it was one long ago, wipefs shows the rest of it and takes that away",
        )
    return kind


def _table_of(disk: Disk, fd: int, bare: str) -> Found:
    return gptcopies.look(lambda at, size: read(fd, size, at), disk.size, disk.logical_sector, bare=bare)


def _after(disk: Disk, found: Found, fd: int) -> Disk:
    """The disk as it is once its table is put back."""
    if found.table is None or not found.writes:
        return disk
    return replace(disk, table=inventory.with_contents(disk, found.table, fd), content=Content())


def _failing(disk: Disk) -> str:
    health = smart.health(disk)
    return health.reasons[0] if health.condition is Condition.FAILING and health.reasons else ""


def _with_entry(plan: RepairPlan) -> RepairPlan:
    """Whether the firmware gets an entry, as a restore would have it, where that is or may become all that it lacks."""
    if not plan.wishes.boot_entry or not bootentry.may_get_one(plan.target):
        return plan
    return structs.replace(plan, boot_entry=Firmware.UEFI in plan.loaders or bootentry.missing(plan.before) is not None)
