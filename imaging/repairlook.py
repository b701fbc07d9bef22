"""What can be repaired of a disk from which a computer does not start: looked at, and planned; nothing is written.

Only what the disk itself has is used: the other copy of its table, the tools of its file systems, the boot loader of
the system on it. No table is taken from an image: an older one over a newer layout would lose what is on the disk.
"""

import os
from dataclasses import replace

from msgspec import structs

from imaging import bootentry, checkable, checkboot, filesystems, gptcopies, inventory, loaderplan, planner, smart
from imaging.blockdev import opened, read
from imaging.disk import Content, Disk
from imaging.errors import RefusedError, UsageError
from imaging.gptcopies import Found
from imaging.health import Condition
from imaging.plan import RepairPlan, RepairWishes, TableRepair
from imaging.startable import Firmware, Starts

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
    notes: list[str] = []
    with opened(disk.path) as fd:
        found = look_at_table(disk, fd)
        after = _after(disk, found, fd)
        table = None
        if found.why_not:
            notes.append(f"the partition table is left as it is: {found.why_not}")
        elif found.writes and wishes.table:
            table = TableRepair(kept=found.kept, writes=found.writes)
        elif found.writes:
            notes.append("the partition table is left as it is: that was asked for")
        if table is None:
            after = disk
        _refuse(after)  # what is in partitions that were not seen before
        unknown = set(wishes.check) - {part.number for part in after.table.partitions}
        if unknown:
            raise UsageError(f"{disk.name} has no partition {min(unknown)}", code="no-such-partition")
        numbers = checkable.numbers(after) if wishes.check_all else wishes.check
        failing = _failing(disk) if numbers else ""
        checks, more = checkable.plan_checks(after, fd, numbers, failing)
        notes += more
    before = checkboot.check(after, patience=patience)
    plan = RepairPlan(
        target=disk,
        wishes=wishes,
        layout=after.table,
        before=before,
        table=table,
        checks=tuple(checks),
        notes=tuple(notes),
        keep=keep,
    )
    return _with_entry(loaderplan.with_loader(plan, after, patience), before)


def _refuse(disk: Disk) -> None:
    why = why_not(disk)
    if why:
        raise RefusedError(f"{disk.name} is not repaired: {why}", code="in-use" if "in use" in why else "refused")


def look_at_table(disk: Disk, fd: int) -> Found:
    """What can be put back of the partition table of a disk that is open; raises IoError."""
    bare = filesystems.probe(disk.path)
    kind = bare.kind or ("something of several kinds" if bare.usage else "")
    return gptcopies.look(lambda at, size: read(fd, size, at), disk.size, disk.logical_sector, bare=kind)


def _after(disk: Disk, found: Found, fd: int) -> Disk:
    """The disk as it is once its table is put back."""
    if found.table is None or not found.writes:
        return disk
    return replace(disk, table=inventory.with_contents(disk, found.table, fd), content=Content())


def _failing(disk: Disk) -> str:
    health = smart.health(disk)
    return health.reasons[0] if health.condition is Condition.FAILING and health.reasons else ""


def _with_entry(plan: RepairPlan, before: Starts) -> RepairPlan:
    """Whether the firmware gets an entry, as a restore would have it, where that is or may become all that it lacks."""
    if not plan.wishes.boot_entry or not bootentry.may_get_one(plan.target):
        return plan
    return structs.replace(plan, boot_entry=Firmware.UEFI in plan.loaders or bootentry.missing(before) is not None)
