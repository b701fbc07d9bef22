"""How far the whole of a job is, and the history of its rate."""

from itertools import pairwise

import pytest

from imaging.events import READING_BACK
from imaging.imageplans import CapturePlan, VerifyPlan
from imaging.restoreplans import RestorePlan, RestoreTarget
from rescue.course import LAST, Course
from rescue.history import GAP, History
from tests.app.disks import GB, SDA, SDB
from tests.app.images import make_image, make_imaged_disk, restore_plan


def two_disks(*, read_back: bool = True) -> RestorePlan:
    """An image of two disks, the second with four times the data."""
    image = make_image(disks=(make_imaged_disk("sda"), make_imaged_disk("sdb", size=1024 * GB)))
    pairs = tuple(
        RestoreTarget(source=source, target=target) for source, target in zip(image.disks, (SDA, SDB), strict=True)
    )
    return RestorePlan(library="/l", image=image.id, targets=pairs, read_back=read_back)


def test_the_first_of_two_disks_is_its_share_of_the_whole() -> None:
    plan = two_disks(read_back=False)
    course = Course(plan)
    first, second = (pair.source.used for pair in plan.targets)
    course.begin("Restoring sda", first)
    course.note(first, 0)
    assert course.fraction == pytest.approx(first / (first + second))
    course.begin("Restoring sdb", second)
    course.note(second, 0)
    assert course.fraction == LAST


def test_reading_back_what_was_written_is_part_of_the_whole() -> None:
    course = Course(restore_plan())
    course.begin("Restoring sda", 100 * GB)
    course.note(100 * GB, 100 * GB)
    assert course.fraction == pytest.approx(1 / 1.4)
    course.begin(f"{READING_BACK} what was written to sda", 100 * GB)
    course.note(50 * GB, 0)
    assert course.fraction == pytest.approx(1.2 / 1.4)


def test_the_whole_never_goes_back() -> None:
    course = Course(restore_plan())
    course.begin("Restoring sda", 100 * GB)
    seen = []
    for done in range(101):
        course.note(done * GB, 0 if done < 50 else (done - 50) * GB)
        seen.append(course.fraction or 0.0)
    course.begin(f"{READING_BACK} what was written to sda", 200 * GB)
    seen.append(course.fraction or 0.0)
    course.begin("Writing the partition table of sda", 0)
    seen.append(course.fraction or 0.0)
    assert all(after >= before for before, after in pairwise(seen))


def test_a_capture_of_two_disks_judges_the_second_by_the_first() -> None:
    course = Course(CapturePlan(library="/l", disks=(SDA, SDB)))
    course.begin("Reading what is used on sda", 0)
    assert course.fraction is None
    course.begin("Capturing sda", SDA.size // 10)
    course.note(SDA.size // 10, 0)
    assert course.fraction == pytest.approx(SDA.size / (SDA.size + SDB.size))


def test_nothing_is_said_of_a_whole_that_is_not_known() -> None:
    for plan in (VerifyPlan(library="/l", image="i"), None):
        course = Course(plan)
        course.begin("Verifying sda", 100)
        course.note(50, 0)
        assert course.fraction is None


def history(seconds: int, rate: int = 100) -> History:
    """So many seconds at a rate."""
    found = History()
    for second in range(seconds + 1):
        found.note(float(second), rate)
    return found


def test_a_new_reading_changes_two_characters_at_most() -> None:
    lines = [history(seconds).line(20) for seconds in range(5, 300, 5)]
    for before, after in pairwise(lines):
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 2
    assert all(len(line) == 20 for line in lines)
    assert lines[-1].count(" ") == len(GAP)


def test_the_history_shows_a_stall_and_the_top_of_its_scale() -> None:
    found = history(20, rate=180)
    found.note(60.0, 0)
    assert found.top == 200
    assert found.line(20) == "****._______".ljust(20)


def test_a_clock_that_was_set_forward_costs_nothing() -> None:
    found = history(20)
    found.note(4e9, 100)
    assert found.line(10) == 10 * " "
