"""What a safety image is: a capture of a restore's targets as they are, before they are erased."""

from collections.abc import Sequence
from pathlib import Path

from imaging import inventory
from imaging.disk import Disk
from imaging.errors import RefusedError, UsageError
from imaging.imageplans import CapturePlan
from imaging.planner import plan_capture
from imaging.restoreplans import RestorePlan

_MOST_LABEL = 120


def plan_safety(plan: RestorePlan, library: Path) -> CapturePlan:
    """The capture of what a restore's targets hold now, whole disks or the partitions that it writes to, in a library.

    Raises UsageError where nothing is there that could be saved, RefusedError where it cannot be, IoError.
    """
    pairs = [pair for pair in plan.targets if not pair.create]
    if not pairs:
        raise UsageError("a file that does not exist yet holds nothing to be saved", code="usage")
    disks = [inventory.look(pair.target.path, [library]) for pair in pairs]
    only = {pair.target.path: [spot.partition for spot in pair.partitions] for pair in pairs if pair.partitions}
    for disk in disks:
        _refuse_unfinished(disk, only.get(disk.path, ()))
    return plan_capture(disks, library, f"before {plan.label or plan.image}"[:_MOST_LABEL], only=only)


def _refuse_unfinished(disk: Disk, only: Sequence[int]) -> None:
    parts = [p for p in disk.table.partitions if p.unfinished and (not only or p.number in only)]
    names = [disk.name] if disk.unfinished else [disk.partition_name(part.number) for part in parts]
    if names:
        raise RefusedError(
            f"{names[0]} is only partly restored: what was there before cannot be saved any more",
            code="unfinished",
            hint="complete it without saving what is there; the restore that was cut off has saved it, if it was to",
        )
