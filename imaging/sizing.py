"""The sizes that partitions of a restored disk can have, and a plan in which one of them has another: its least and
most are told by the tables and the manifest; how small a file system can be its tool has to say, imaging.smaller.

One partition of a disk grows or becomes smaller, not several: each is carried out alone. Pure.
"""

from dataclasses import dataclass

from msgspec import structs

from imaging import growth
from imaging.disk import Partition, PartitionRole, exact
from imaging.errors import RefusedError, UsageError
from imaging.placement import GRAIN
from imaging.planner import needed_size
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.shrinking import bounds, plan_shrinkage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A partition of the image: bytes as planned, as in the image, and at least and most; `why_not` another, if so.

    The least is what is known without its tool, which may want more.
    """

    partition: int
    size: int
    old_size: int
    least: int
    most: int
    why_not: str = ""

    @property
    def fixed(self) -> bool:
        """Whether it can have no other size."""
        return self.least >= self.most


def limits(plan: RestorePlan) -> list[Limits]:
    """Those of each partition of the one disk that is restored, as they lie; none of a plan of anything else."""
    if len(plan.targets) != 1 or plan.targets[0].partitions:
        return []
    (pair,) = plan.targets
    parts = [p for p in pair.source.table.partitions if p.size and p.role is not PartitionRole.EXTENDED]
    return [_limits(plan, pair, part) for part in sorted(parts, key=lambda p: (p.start, p.end))]


def _limits(plan: RestorePlan, pair: RestoreTarget, part: Partition) -> Limits:
    needed, size = needed_size(pair.source), pair.target.size
    least = most = part.size
    why_not = []
    if size >= needed:
        try:
            most = growth.plan_growth(pair.source, growth.usable(pair), part.number).size
        except (RefusedError, UsageError) as error:
            why_not.append(error.message)
    try:
        _refuse_smaller(plan)
        least, shrunk = bounds(pair.source, size, needed, part.number)
        # What is full may need more than it has, by what is known: it keeps that then.
        least, most = min(least, part.size), most if size >= needed else shrunk
    except (RefusedError, UsageError) as error:
        why_not.append(error.message)
    change = pair.growth or pair.shrinkage
    now = change.size if change is not None and change.partition == part.number else part.size
    fixed = least >= most
    return Limits(
        partition=part.number,
        size=now,
        old_size=part.size,
        least=now if fixed else least,
        most=now if fixed else most,
        why_not=why_not[0] if fixed and why_not else "",
    )


def _refuse_smaller(plan: RestorePlan) -> None:
    if plan.foreign is not None:
        raise RefusedError("what is restored straight keeps its sizes", code="cannot-shrink")
    if plan.targets[0].resectoring is not None:
        name = plan.targets[0].target.name
        raise RefusedError(
            f"{name} has sectors of another size than the image: there no partition becomes smaller",
            code="other-sectors",
            hint="choose the size that it has in the image, or a larger one",
        )


def with_size(plan: RestorePlan, number: int, size: int) -> RestorePlan:
    """The plan, with partition `number` of `size` bytes, a little less where whole MiB demand it; all others as they
    are in the image.

    Raises RefusedError with its limits where it cannot have that, UsageError where there is no such partition.
    """
    if len(plan.targets) != 1 or plan.targets[0].partitions:
        raise UsageError("sizes are for plans that restore one whole disk", code="usage")
    (pair,) = plan.targets
    part = next((p for p in pair.source.table.partitions if p.number == number and p.size), None)
    if part is None:
        raise UsageError(f"{pair.source.name} has no partition {number}", code="no-such-partition")
    plain = structs.replace(pair, growth=None, shrinkage=None)
    fits = pair.target.size >= needed_size(pair.source)
    if fits and abs(size - part.size) < GRAIN:
        return structs.replace(plan, targets=(plain,))
    if size > part.size:
        if not fits:
            raise RefusedError(
                f"partition {number} cannot have {exact(size)}: the disk is too small for all of them",
                code="cannot-grow",
                hint="one of them has to become smaller, and no other can grow then",
            )
        more = growth.plan_growth(pair.source, growth.usable(pair), number, size)
        return structs.replace(plan, targets=(structs.replace(plain, growth=more),))
    _refuse_smaller(plan)
    shrinkage = plan_shrinkage(pair.source, pair.target.size, needed_size(pair.source), number, size)
    return structs.replace(plan, targets=(structs.replace(plain, shrinkage=shrinkage),))


def moved_by(plan: RestorePlan, number: int, by: int) -> RestorePlan:
    """The plan, with partition `number` larger or smaller by so many bytes, up to its limits; raises as `with_size`."""
    found = next((one for one in limits(plan) if one.partition == number), None)
    if found is None:
        raise UsageError(f"there is no partition {number} whose size could be chosen", code="no-such-partition")
    return with_size(plan, number, min(max(found.size + by, found.least), found.most))
