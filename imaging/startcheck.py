"""After a restore of whole disks: whether a computer can start from them now, and what its firmware needs for that.

It makes no good restore a bad one.
"""

import threading
import traceback
from collections.abc import Sequence

from msgspec.structs import replace

from imaging import bootentry, checkboot
from imaging.errors import RescueError
from imaging.events import RestoreResult
from imaging.pipeline import Reporter
from imaging.restoreplans import RestorePlan
from imaging.startable import Starts, sentence

_PATIENCE = 30.0
"""Seconds for one disk's file systems, which whoever restored waits for: they take less than one, but a machine that
is emulated and has other work took more than five. Who cancels does not wait.
"""


def looked_at(plan: RestorePlan, result: RestoreResult, report: Reporter, cancel: threading.Event) -> RestoreResult:
    """The result of a restore with what its disks can start; as it was where that cannot be found out.

    Everything was written, and is proved, by then: no error of this look is one of the restore, nor does it look any
    more once `cancel` is set.
    """
    # One partition alone is seldom what a computer starts from; several are a system, or all of it but one's files.
    if any(len(pair.partitions) == 1 for pair in plan.targets) or cancel.is_set():
        return result
    report.step("Looking whether a computer can start from what was restored")
    paths = [pair.target.path for pair in plan.targets]
    try:
        starts = checkboot.check_paths(paths, _PATIENCE, cancel)
        if plan.boot_entry and not cancel.is_set():
            result = replace(result, boot_entries=_enter(paths, starts, report))
            starts = checkboot.check_paths(paths, _PATIENCE, cancel) if result.boot_entries else starts
    except Exception as error:
        if not isinstance(error, (RescueError, OSError)):
            traceback.print_exc()
        report.log(f"whether a computer can start from it was not found out: {error}", "warning")
        return result
    if cancel.is_set():
        return result
    for one in starts:
        for words in (*(sentence(one.disk, way) for way in one.ways if way not in one.warned), *one.notes):
            report.log(words)
    return replace(result, starts=starts)


def _enter(paths: Sequence[str], starts: Sequence[Starts], report: Reporter) -> tuple[str, ...]:
    """Give the firmware the entries that it lacks; returns their labels."""
    added: list[str] = []
    # What comes later comes before: the first disk's entry is the first.
    for path, one in reversed(list(zip(paths, starts, strict=True))):
        entry = bootentry.missing(one)
        if entry is None:
            continue
        try:
            bootentry.add(path, entry)
        except (RescueError, OSError) as error:
            report.log(f"this computer's firmware was given no entry for {one.disk}: {error}", "warning")
            continue
        report.log(f"This computer's firmware starts {one.disk} by a new entry, {entry.label}: {entry.loader}.")
        added.insert(0, entry.label)
    return tuple(added)
