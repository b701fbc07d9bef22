"""Repair what keeps a computer from starting from a disk: its table, its file systems, its boot loader, in that order.

Of the table only the destroyed copy is written, so the good one stands at any moment; cut off anywhere, the same repair
completes it. What is written over is kept in files before. A look at the end says whether a computer starts from it.
"""

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from imaging import (
    bootentry,
    checkboot,
    inventory,
    kernelparts,
    marks,
    media,
    mending,
    reinstalling,
    repairlook,
    writer,
)
from imaging.blockdev import opened, read
from imaging.disk import Disk, PartitionRole, TableKind
from imaging.durable import write_file, written
from imaging.ending import as_told
from imaging.errors import CancelledError, IoError, RefusedError, RescueError
from imaging.events import READING_BACK, CheckedVolume, RepairResult, Verdict
from imaging.pipeline import Reporter
from imaging.repairplans import RepairPlan
from imaging.startable import NAMES, Firmware, Starts
from imaging.writer import Target

_MIB = 1 << 20
_MOST_KEPT = 16 << 20
"""Bytes of a BIOS boot partition that are kept: it is of one MiB nearly everywhere."""
_BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
_PATIENCE = 180.0
"""Seconds for the look before the work: one that ended too early would find another plan."""
_CHANGED = ("table", "layout", "checks", "system", "loaders", "removable", "menu", "boot_entry")
"""What of a plan has to come out the same right before it is carried out: all that is done."""


def repair(plan: RepairPlan, report: Reporter, cancel: threading.Event, folder: Path) -> RepairResult:
    """Carry out a repair; what is written over is kept in the job's `folder`, or where the plan says.

    Raises RefusedError before anything is written where the disk is not as it was shown; IoError and CancelledError in
    the middle, each with `state` set.
    """
    began = time.monotonic()
    work = _Repair(plan, report, cancel, Path(plan.keep) if plan.keep else folder / "kept")
    as_told(work.carry_out, work)
    return work.result(time.monotonic() - began)


class _Repair:
    """A repair under way."""

    def __init__(self, plan: RepairPlan, report: Reporter, cancel: threading.Event, kept: Path) -> None:
        self.plan, self.report, self.cancel, self.kept = plan, report, cancel, kept
        self.touched = self.table = self.menu = False
        self.saved = ""
        self.checked: list[CheckedVolume] = []
        self.mended: list[str] = []
        self.loaders: list[str] = []
        self.entries: list[str] = []
        self.failed = list(plan.notes)
        """What the plan could not do is not done, whatever else is."""
        self.starts: Starts = plan.before

    @property
    def state(self) -> str:
        """What the disk is left in, in words."""
        name = self.plan.target.name
        if not self.touched:
            return f"Nothing was written to {name}."
        kept = f" What was there before is kept in {self.saved}." if self.saved else ""
        return f"{name} is only partly repaired; what was whole before is as it was. Repair it again.{kept}"

    def result(self, seconds: float) -> RepairResult:
        """What came of it."""
        return RepairResult(
            target=self.plan.target.name,
            starts=self.starts,
            seconds=seconds,
            table=self.table,
            checked=tuple(self.checked),
            mended=tuple(self.mended),
            loaders=tuple(self.loaders),
            menu=self.menu,
            boot_entries=tuple(self.entries),
            saved=self.saved,
            failed=tuple(self.failed),
        )

    def carry_out(self) -> None:
        """All steps."""
        plan = self.plan
        if os.geteuid() != 0:
            raise RefusedError("a disk can be repaired by root alone", code="needs-root", hint="run as root")
        with media.undisturbed():
            now = self.look()
            self.stop_if_asked()
            media.detach(now)
            with writer.opened(now.path, regular_file=now.regular_file) as target:
                self.refuse_another(target)
                self.keep_what_is_there(target)
                self.repair_table(target)
                self.check_file_systems(target)
                self.stop_if_asked()
            self.put_loader_back()
            self.look_at_start()
            if plan.boot_entry:
                self.add_entry()

    def stop_if_asked(self) -> None:
        if self.cancel.is_set():
            raise CancelledError("stopped because somebody asked")

    def look(self) -> Disk:
        """The disk as it is now; raises RefusedError where another plan would be made for it."""
        plan = self.plan
        now = inventory.look(plan.target.path)
        marks.refuse_if_changed(plan.target, now)
        held = kernelparts.held_as_a_whole(now)
        if held:
            raise RefusedError(f"{now.name} is in use as a whole by {', '.join(held)}", code="in-use")
        self.report.step(f"Looking at {now.name}")
        again = repairlook.plan_repair(now, plan.wishes, patience=_PATIENCE)
        other = [name for name in _CHANGED if getattr(again, name) != getattr(plan, name)]
        if other:
            for words in (*(f"{name}: {getattr(plan, name)} / {getattr(again, name)}" for name in other), *again.notes):
                print(words, file=sys.stderr)
            raise RefusedError(
                f"{now.name} is not as it was shown: something else would be repaired",
                code="disk-changed",
                hint="look at it again, and make a new plan",
            )
        return now

    def refuse_another(self, target: Target) -> None:
        """Names of devices can move between the look and the exclusive open: what is open now decides."""
        shown = self.plan.target
        if target.size != shown.size or marks.fingerprint(target.fileno()) != shown.fingerprint:
            raise RefusedError(f"{target.path} was written to since the plan was shown", code="disk-changed")
        found = repairlook.look_at_table(shown, target.fileno())
        if self.plan.table is not None and found.writes != self.plan.table.writes:
            raise RefusedError(f"the partition table of {target.path} is not as it was shown", code="disk-changed")

    def keep_what_is_there(self, target: Target) -> None:
        """In files whose names say where it was."""
        pieces = self._written_over(target)
        if not pieces:
            return
        with written(self.kept):
            self.kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.saved = str(self.kept)
        for start, size in pieces:
            path = self.kept / f"{self.plan.target.name}-{time.strftime('%Y%m%d-%H%M%S')}-at-{start}.bin"
            write_file(path, read(target.fileno(), size, start))
            self.report.log(f"What was at byte {start} of {target.path} is kept: {path}")

    def _written_over(self, target: Target) -> list[tuple[int, int]]:
        """Start and size of what will be: of the table, and of the boot loader of a BIOS."""
        plan = self.plan
        found = [(at, len(data)) for at, data in (plan.table.writes if plan.table else ())]
        if Firmware.BIOS in plan.loaders:
            parts = [part for part in plan.layout.partitions if part.role is not PartitionRole.LOGICAL]
            first = min((part.start for part in parts if part.size), default=_MIB)
            found.append((0, min(first, _MIB, target.size)))
            found += [(part.start, min(part.size, _MOST_KEPT)) for part in parts if part.type.lower() == _BIOS_BOOT]
        return found

    def repair_table(self, target: Target) -> None:
        """Entries, their header, then the first sector; each is on the medium before the next is written."""
        table = self.plan.table
        if table is None:
            return
        name = self.plan.target.name
        self.report.step(f"Putting the partition table of {name} back")
        self.stop_if_asked()
        self.touched = True
        for at, data in table.writes:
            target.write(data, at)
            target.sync()
        self.report.step(f"{READING_BACK} the partition table of {name}")
        target.forget_cached()
        for at, data in table.writes:
            if read(target.fileno(), len(data), at) != data:
                raise IoError(
                    f"{target.path} does not hold what was written at byte {at}",
                    code="read-back-differs",
                    hint="this disk cannot be trusted: replace it",
                )
        found = repairlook.look_at_table(self.plan.target, target.fileno())
        if found.writes or found.why_not:
            raise IoError(f"the partition table of {name} is not whole yet", code="bad-table")
        self.table = True
        target.reread_table()

    def check_file_systems(self, target: Target) -> None:
        """Each by its own tool."""
        shown = replace(self.plan.target, table=self.plan.layout)
        for one in self.plan.checks:
            name = shown.partition_name(one.number)
            self.report.step(f"Checking {one.kind} on {name}")
            self.stop_if_asked()
            self.touched = self.touched or not one.only_looks
            said, changed = mending.check(target.fileno(), shown, one, self.cancel, mend=self.plan.wishes.mend)
            self.checked.append(said)
            if changed:
                self.mended.append(name)
            if said.verdict is not Verdict.CLEAN:
                self.failed.append(f"{name} ({one.kind}): {said.detail}")
                self.report.log(f"{name}: {one.kind}, {said.verdict}: {said.detail}", "warning")
        target.sync()
        target.forget_cached()

    def put_loader_back(self) -> None:
        """By the system's own programs; where they fail the rest is done all the same, and that is told."""
        plan = self.plan
        if not plan.loaders:
            return
        now = inventory.look(plan.target.path)
        if now.table.kind is TableKind.NONE or now.problem:
            raise IoError(f"{now.name} cannot be read any more: {now.problem or 'it has no table'}", code="read-failed")
        if _places(now) != _places(replace(now, table=plan.layout)):
            raise IoError(f"the partitions of {now.name} are not those of the plan", code="disk-changed")
        hurt = {said.number for said in self.checked if said.verdict is Verdict.ERRORS}
        system = plan.system
        if system is None or hurt & {system.number, *(number for number, _ in system.mounts)}:
            self.failed.append("the boot loader was not put back: a file system that it needs has errors")
            return
        for number in (system.number, *(number for number, _ in system.mounts)):
            kernelparts.add(now, number)
        kernelparts.settle(now)
        self.touched = True
        try:
            reinstalling.reinstall(plan, now, self.report)
        except RescueError as error:
            self.failed.append(f"the boot loader was not put back: {error.message}")
            self.report.log(self.failed[-1], "warning")
        else:
            self.loaders = [NAMES[firmware] for firmware in plan.loaders]
            self.menu = plan.menu

    def look_at_start(self) -> None:
        self.report.step(f"Looking whether a computer can start from {self.plan.target.name}")
        with opened(self.plan.target.path) as fd:  # what others wrote is read from the medium
            writer.forget(fd)
        (self.starts,) = checkboot.check_paths([self.plan.target.path])

    def add_entry(self) -> None:
        """Where that is all that is missing now."""
        entry, name = bootentry.missing(self.starts), self.plan.target.name
        if entry is None:
            return
        try:
            bootentry.add(self.plan.target.path, entry)
        except (RescueError, OSError) as error:
            self.failed.append(f"this computer's firmware was given no entry for {name}: {error}")
            return
        self.entries.append(entry.label)
        self.look_at_start()


def _places(disk: Disk) -> set[tuple[int, int, int]]:
    return {(part.number, part.start, part.size) for part in disk.table.partitions}
