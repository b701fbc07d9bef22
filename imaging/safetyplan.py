"""What a safety image is: a capture of a restore's targets as they are, before they are erased."""

from pathlib import Path

from imaging import inventory
from imaging.errors import UsageError
from imaging.plan import CapturePlan, RestorePlan
from imaging.planner import plan_capture

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
    return plan_capture(disks, library, f"before {plan.label or plan.image}"[:_MOST_LABEL], only=only)
