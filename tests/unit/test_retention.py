"""Rules say which images stay; nobody loses the last good one of a computer by a damaged newer one."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.disk import DiskId
from imaging.errors import UsageError
from imaging.manifest import Image, Machine, Volume
from imaging.notes import NOTHING, FactoryState, Notes, Verification
from imaging.retention import Rule, judge, latest
from tests.unit.builders import GIB, MIB, a_partition, a_table, an_image, an_imaged_disk

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
BAD = Notes(verified=Verification(when="2026-06-30T00:00:00Z", chunks=10, bad=1))


def image(when: str, **changes: object) -> Image:
    return an_image(id=when.replace(":", ""), created=when, **changes)


def staying(images: list[Image], rule: Rule, notes: Mapping[str, Notes] | None = None) -> list[str]:
    known = notes or {}
    return [v.image.created[:10] for v in judge(images, lambda name: known.get(name, NOTHING), rule, NOW) if v.stays]


def test_an_image_that_may_be_pinned_stays_and_takes_no_others_place() -> None:
    images = [image("2026-06-30T05:00:00Z"), image("2026-06-29T05:00:00Z"), image("2026-06-01T05:00:00Z")]
    said = judge(images, lambda _: NOTHING, Rule(last=1), NOW, unnoted={images[0].id, images[2].id})
    assert [verdict.reasons for verdict in said] == [("unnoted",), ("last",), ("unnoted",)]


DAILY = [image(f"2026-06-{day:02}T03:00:00Z") for day in range(30, 0, -1)]


def test_the_last_ones_stay() -> None:
    assert staying(DAILY, Rule(last=2)) == ["2026-06-30", "2026-06-29"]


def test_the_newest_of_each_period_stays() -> None:
    # ISO weeks of June 2026 begin on the 1st, 8th, 15th, 22nd and 29th.
    assert staying(DAILY, Rule(weekly=3)) == ["2026-06-30", "2026-06-28", "2026-06-21"]
    assert staying(DAILY, Rule(monthly=3)) == ["2026-06-30"]
    assert staying(DAILY, Rule(daily=1, weekly=2, yearly=1)) == ["2026-06-30", "2026-06-28"]


def test_two_of_one_day_count_once_for_days_and_twice_for_the_last() -> None:
    images = [image("2026-06-30T05:00:00Z"), image("2026-06-30T04:00:00Z"), image("2026-06-29T04:00:00Z")]
    assert staying(images, Rule(daily=2)) == ["2026-06-30", "2026-06-29"]
    assert staying(images, Rule(last=2)) == ["2026-06-30", "2026-06-30"]


def test_what_is_recent_stays() -> None:
    assert staying(DAILY, Rule(within_days=3)) == ["2026-06-30", "2026-06-29", "2026-06-28"]


def test_each_computer_and_each_set_of_disks_has_images_of_its_own() -> None:
    other = [image(f"2026-05-{day:02}T03:00:00Z", machine=Machine(serial="OTHER")) for day in (2, 1)]
    data = [image("2026-04-01T03:00:00Z", disks=(an_imaged_disk(id=DiskId(size=1, serial="S2", wwn="0x2")),))]
    assert staying([*DAILY, *other, *data], Rule(last=1)) == ["2026-06-30", "2026-05-02", "2026-04-01"]


def test_a_pinned_image_stays_and_takes_no_place() -> None:
    notes = {DAILY[0].id: Notes(pinned=True)}
    assert staying(DAILY, Rule(last=1), notes) == ["2026-06-30", "2026-06-29"]


def test_a_bad_image_takes_no_place_of_a_good_one() -> None:
    assert staying(DAILY, Rule(last=1), {DAILY[0].id: BAD}) == ["2026-06-30", "2026-06-29"]
    torn = [image("2026-06-30T05:00:00Z", disks=(an_imaged_disk(unreadable=((0, 512),)),)), *DAILY[1:]]
    assert staying(torn, Rule(daily=1)) == ["2026-06-30", "2026-06-29"]


def test_what_was_saved_before_a_restore_takes_no_place_of_a_backup() -> None:
    saved = {DAILY[0].id: Notes(before="another"), DAILY[1].id: Notes(before="another")}
    assert staying(DAILY, Rule(last=1), saved) == ["2026-06-30", "2026-06-29", "2026-06-28"]
    assert staying(DAILY, Rule(last=1), {DAILY[5].id: Notes(before="another")}) == ["2026-06-30"]


def test_what_has_some_partitions_alone_takes_no_place_of_a_whole_backup() -> None:
    volumes = tuple(Volume(number=n, start=n * GIB, size=GIB, used=MIB, map_origin="rescue") for n in (1, 2))
    table = a_table(a_partition(1, GIB, GIB), a_partition(2, 2 * GIB, GIB))
    whole = an_imaged_disk(table=table, volumes=volumes)
    part = an_imaged_disk(table=table, volumes=volumes[:1])
    chosen = [image("2026-06-30T05:00:00Z", disks=(part,)), image("2026-06-29T05:00:00Z", disks=(part,))]
    full = [image("2026-06-20T05:00:00Z", disks=(whole,)), image("2026-06-19T05:00:00Z", disks=(whole,))]
    assert staying([*chosen, *full], Rule(last=1)) == ["2026-06-30", "2026-06-20"]
    saved = [image(f"2026-06-{day}T05:00:00Z", disks=(part,)) for day in range(21, 29)]
    notes = {one.id: Notes(before="another") for one in saved}
    # Newer than the backups they stay, as whole ones do; older than those that stay they go.
    assert len(staying([*saved, *full], Rule(last=1), notes)) == len(saved) + 1
    newer = [image("2026-06-30T06:00:00Z", disks=(whole,)), *full]
    assert staying([*saved, *newer], Rule(last=1), notes) == ["2026-06-30"]
    assert newest([*chosen, *full]) == [("2026-06-20", 0)]
    assert newest(chosen) == [("2026-06-30", 0)]


def newest(
    images: list[Image], notes: Mapping[str, Notes] | None = None, unnoted: Collection[str] = ()
) -> list[tuple[str, int]]:
    """The day of each newest backup, empty where there is none, and how many newer images are none."""
    known = notes or {}
    found = latest(images, lambda name: known.get(name, NOTHING), NOW + timedelta(days=60), unnoted=unnoted)
    return [(one.backup.created[:10] if one.backup else "", one.bad) for one in found]


def test_the_newest_backup_is_one_that_can_be_restored() -> None:
    assert newest(DAILY) == [("2026-06-30", 0)]
    assert newest(DAILY, {DAILY[0].id: BAD, DAILY[1].id: BAD}) == [("2026-06-28", 2)]
    assert newest(DAILY[:2], {DAILY[0].id: BAD, DAILY[1].id: BAD}) == [("", 2)]
    aside = {DAILY[0].id: Notes(before="another"), DAILY[1].id: Notes(factory=FactoryState())}
    assert newest(DAILY, aside) == [("2026-06-28", 0)]
    assert newest([image("yesterday")]) == []
    assert newest(DAILY, unnoted=[DAILY[0].id]) == [("2026-06-29", 1)]
    # A clock that was wrong: the image is not the newest for decades.
    assert newest([image("2099-01-01T00:00:00Z"), *DAILY]) == [("2026-06-30", 1)]


def test_each_computer_has_a_newest_backup_and_the_newest_of_all_comes_first() -> None:
    other = [image("2026-07-02T03:00:00Z", machine=Machine(serial="OTHER"))]
    bad = [image("2026-08-02T03:00:00Z", machine=Machine(serial="BAD"))]
    assert newest([*DAILY, *bad, *other], {bad[0].id: BAD}) == [("2026-07-02", 0), ("2026-06-30", 0), ("", 1)]


def test_an_image_whose_date_cannot_be_read_stays() -> None:
    assert staying([*DAILY, image("yesterday")], Rule(last=1)) == ["2026-06-30", "yesterday"]


def test_an_empty_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="would delete every image"):
        judge(DAILY, lambda _: NOTHING, Rule(), NOW)


@given(
    hours=st.lists(st.integers(0, 24 * 800), unique=True, max_size=40),
    rule=st.builds(Rule, last=st.integers(0, 3), daily=st.integers(0, 3), weekly=st.integers(0, 3)),
)
def test_the_newest_image_always_stays_and_a_larger_rule_keeps_no_less(hours: list[int], rule: Rule) -> None:
    images = [image((NOW - timedelta(hours=h)).strftime("%Y-%m-%dT%H:%M:%SZ")) for h in sorted(hours)]
    if rule.empty or not images:
        return
    kept = set(staying(images, rule))
    assert images[0].created[:10] in kept
    larger = Rule(last=rule.last + 1, daily=rule.daily, weekly=rule.weekly)
    assert kept <= set(staying(images, larger))
