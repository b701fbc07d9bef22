"""How far the whole of a job is: its steps, weighed by what its plan and the steps themselves tell of their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from imaging.events import READING_BACK
from imaging.imageplans import CapturePlan, VerifyPlan
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaPlan
from imaging.restoreplans import RestorePlan, RestoreTarget

READ_BACK_WEIGHT = 0.4
"""What reading a byte back costs of what restoring it did, as measured."""

CHECK_WEIGHT = 0.15
"""What the check of an image's file systems costs of its capture; it tells no bytes."""

LAST = 0.99
"""What remains until a job has said how it ended: writing a table and waiting for a medium have no bytes."""


@dataclass(slots=True)
class _Part:
    """A disk or partition on its way: bytes expected, then told; gone through; moved."""

    total: float
    done: int = 0
    moved: int = 0


class Course:
    """Takes steps and their progress; `done` of `total` is in units of work, None where the plan does not tell it."""

    def __init__(self, plan: Plan | None) -> None:
        self._plan = plan
        self._expected = expected_bytes(plan)
        self._parts: list[_Part] = []
        self._read_back: list[_Part] = []
        self._now: _Part | None = None
        self._reached = 0.0

    def begin(self, name: str, total: int) -> None:
        """A step begins; only those that tell their bytes count."""
        if self._now is not None:
            self._now.total = max(self._now.done, 1)
        self._now = _Part(total) if total else None
        if self._now is not None:
            (self._read_back if name.startswith(READING_BACK) else self._parts).append(self._now)

    def note(self, done: int, moved: int) -> None:
        """The present step's progress."""
        if self._now is not None:
            self._now.done, self._now.moved = done, moved
            # Here and not when it is asked for: who follows from the beginning and who comes later see the same.
            work = self.work
            if work is not None:
                self._reached = max(self._reached, min(LAST, work[0] / work[1]))

    @property
    def work(self) -> tuple[float, float] | None:
        """Work done, and all the work that is expected now; None while nothing is known of the whole."""
        if self._expected is None or not self._parts:
            return None
        done = float(sum(part.done for part in self._parts))
        total = sum(part.total for part in self._parts) + self._to_come(self._expected)
        if isinstance(self._plan, RestorePlan) and self._plan.read_back:
            moved = sum(part.moved for part in self._parts)
            written = moved * (total / done if done else 1.0) if done else total
            told = sum(part.total for part in self._read_back)
            done += READ_BACK_WEIGHT * sum(part.done for part in self._read_back)
            total += READ_BACK_WEIGHT * max(told, written)
        if isinstance(self._plan, CapturePlan) and self._plan.check:
            total *= 1 + CHECK_WEIGHT
        return done, max(total, 1.0)

    def _to_come(self, expected: Sequence[int]) -> float:
        """Bytes of the parts that have not begun, judged by how the others compare with what was expected of them."""
        begun = len(self._parts)
        told, thought = sum(part.total for part in self._parts), sum(expected[:begun])
        return sum(expected[begun:]) * (told / thought if thought else 1.0)

    @property
    def fraction(self) -> float | None:
        """How far the whole is, which never goes back; None while that is not known."""
        return None if self.work is None else self._reached


def expected_bytes(plan: Plan | None) -> Sequence[int] | None:
    """What the plan lets expect of each of its parts, in their order; None where it says nothing of them.

    A capture's disks count with their size, which is only compared with that of others.
    """
    match plan:
        case RestorePlan():
            return [size for pair in plan.targets for size in _sizes(pair)]
        case CapturePlan():
            return [disk.size for disk in plan.disks]
        case VerifyPlan():
            return [1] if plan.against else None
        case InstallPlan():
            return [plan.content]
        case MediaPlan():
            return [plan.system.size, *(one.size for one in plan.images)]
        case _:
            return None


def _sizes(pair: RestoreTarget) -> list[int]:
    """Used bytes of a disk of an image, or of each partition that is restored alone."""
    if not pair.partitions:
        return [pair.source.used]
    used = {volume.number: volume.used for volume in pair.source.volumes}
    return [used.get(part.volume, part.size) for part in pair.partitions]
