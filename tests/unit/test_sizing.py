"""Which sizes the partitions of a restored disk can have, and plans in which one has another."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from imaging import growth, planner, shrinking, sizing
from imaging.disk import DiskId, Partition
from imaging.errors import RefusedError, UsageError
from imaging.planner import needed_size
from imaging.restoreplans import ForeignSource, RestorePlan
from imaging.wanted import Wanted, bytes_of, parse
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_source, an_image

_PARTS = (
    (a_partition(1, MIB, 100 * MIB), "vfat"),
    (a_partition(2, 101 * MIB, 500 * MIB), "ext4"),
    (a_partition(3, 601 * MIB, 99 * MIB), "swap"),
)


def _plan(size: int, *parts: tuple[Partition, str], shrink: int | None = None) -> RestorePlan:
    source = a_source(*(parts or _PARTS))
    target = a_disk(id=DiskId(size=size))
    return planner.plan_restore(Path("/library"), an_image(disks=(source,)), {"sda": target}, shrink=shrink)


def test_on_a_larger_disk_a_partition_can_grow_or_become_smaller_and_others_say_why_not() -> None:
    first, second, third = sizing.limits(_plan(GIB))
    assert (first.fixed, third.fixed) == (True, True)
    assert "cannot be enlarged" in first.why_not
    assert (second.size, second.old_size) == (500 * MIB, 500 * MIB)
    assert second.least < 400 * MIB
    assert second.most == growth.plan_growth(_plan(GIB).targets[0].source, GIB, 2).size > 800 * MIB


def test_on_a_smaller_disk_what_becomes_smaller_has_to_be_so_small_at_least() -> None:
    plan = _plan(600 * MIB, shrink=0)
    _, second, _ = sizing.limits(plan)
    forced = plan.targets[0].shrinkage
    assert forced is not None
    assert second.size == second.most == forced.size
    less = sizing.with_size(plan, 2, 300 * MIB)
    assert less.targets[0].shrinkage is not None
    assert less.targets[0].shrinkage.size == 300 * MIB
    assert sizing.limits(less)[1].size == 300 * MIB
    with pytest.raises(RefusedError, match="the disk is too small for all of them"):
        sizing.with_size(plan, 2, 501 * MIB)
    with pytest.raises(RefusedError, match="at most"):
        sizing.with_size(plan, 2, 500 * MIB)


@given(st.integers(0, 2 * GIB))
def test_any_size_gives_a_plan_that_the_job_takes_or_a_refusal(size: int) -> None:
    plan = _plan(GIB)
    try:
        (pair,) = sizing.with_size(plan, 2, size).targets
    except RefusedError as error:
        assert error.code in ("cannot-grow", "cannot-shrink")
        return
    growth.refuse_unless_same(pair)
    shrinking.refuse_unless_same(pair, needed_size(pair.source))
    change = pair.growth or pair.shrinkage
    if change is None:
        assert abs(size - 500 * MIB) < MIB
    else:
        assert size - MIB < change.size <= size


def test_another_partition_takes_the_first_ones_change_back_and_its_own_size_is_none() -> None:
    parts = (_PARTS[0], _PARTS[1], (a_partition(3, 601 * MIB, 99 * MIB), "ext4"))
    plan = sizing.with_size(_plan(GIB, *parts), 2, 300 * MIB)
    other = sizing.with_size(plan, 3, 200 * MIB)
    assert other.targets[0].shrinkage is None
    assert other.targets[0].growth is not None
    assert (other.targets[0].growth.partition, other.targets[0].growth.size) == (3, 200 * MIB)
    plain = sizing.with_size(other, 3, 99 * MIB)
    assert (plain.targets[0].growth, plain.targets[0].shrinkage) == (None, None)


def test_steps_end_at_the_limits() -> None:
    plan = _plan(GIB)
    _, second, _ = sizing.limits(plan)
    more = sizing.moved_by(plan, 2, 10 * GIB).targets[0].growth
    less = sizing.moved_by(plan, 2, -10 * GIB).targets[0].shrinkage
    assert more is not None
    assert less is not None
    assert (less.size, more.size) == (second.least, second.most)
    with pytest.raises(UsageError):
        sizing.moved_by(plan, 9, MIB)


def test_a_step_down_never_makes_a_partition_larger() -> None:
    """A btrfs smaller than the kernel would make one can grow, and no less."""
    plan = _plan(GIB, _PARTS[0], (a_partition(2, 101 * MIB, 200 * MIB), "btrfs"))
    _, second = sizing.limits(plan)
    assert second.least == second.size == 200 * MIB < second.most
    (pair,) = sizing.moved_by(plan, 2, -MIB).targets
    assert (pair.growth, pair.shrinkage) == (None, None)


def test_swap_behind_goes_away_only_where_its_place_is_wanted() -> None:
    parts = (_PARTS[0], _PARTS[1], (a_partition(3, 701 * MIB, 99 * MIB), "swap"))
    for size, moves in ((600, False), (601, True)):
        grown = sizing.with_size(_plan(2 * GIB, *parts), 2, size * MIB).targets[0].growth
        assert grown is not None
        assert (grown.size, grown.moved is not None) == (size * MIB, moves)


def test_what_is_restored_straight_becomes_no_smaller() -> None:
    plan = structs.replace(_plan(GIB), foreign=ForeignSource(path="/saved", kind="a folder", mark="x"))
    assert sizing.limits(plan)[1].least == 500 * MIB
    with pytest.raises(RefusedError, match="keeps its sizes"):
        sizing.with_size(plan, 2, 300 * MIB)


def test_plans_of_anything_else_have_no_sizes() -> None:
    plan = structs.replace(_plan(GIB), targets=())
    assert sizing.limits(plan) == []
    with pytest.raises(UsageError):
        sizing.with_size(plan, 2, 300 * MIB)
    with pytest.raises(UsageError, match="no partition 9"):
        sizing.with_size(_plan(GIB), 9, 300 * MIB)


def test_a_partition_is_named_with_or_without_its_size() -> None:
    assert parse("2") == Wanted(partition=2)
    assert parse("12:20G") == Wanted(partition=12, size=20 * GIB)
    assert (bytes_of("512m"), bytes_of("7"), bytes_of("3KiB")) == (512 * MIB, 7, 3 << 10)
    for words in ("", "0", "2:", ":2G", "2:0G", "x", "-1", "2:2X", "2:1.5G", "2000"):
        with pytest.raises(UsageError):
            parse(words)


def test_on_sectors_of_another_size_nothing_becomes_smaller() -> None:
    source = a_source(*_PARTS)
    target = a_disk(id=DiskId(size=GIB), logical_sector=4096)
    plan = planner.plan_restore(Path("/library"), an_image(disks=(source,)), {"sda": target})
    _, second, _ = sizing.limits(plan)
    assert second.least == second.size == 500 * MIB < second.most
    with pytest.raises(RefusedError, match="there no partition becomes smaller"):
        sizing.with_size(plan, 2, 400 * MIB)
    assert sizing.moved_by(plan, 2, -10 * MIB).targets == plan.targets
