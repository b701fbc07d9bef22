"""How a disk is doing, in words that need no colour."""

from imaging.health import Condition, Health
from rescue.health import figure_rows, health_line, health_word, reason_lines, source_warnings, target_warnings
from tests.app.disks import FAILING_HEALTH, GOOD_HEALTH, NO_HEALTH, SDA, SDB


def test_a_failing_disk_is_told_in_capitals_with_the_gravest_reason() -> None:
    assert health_word(FAILING_HEALTH) == "FAILING"
    assert health_line(FAILING_HEALTH) == "Health: FAILING (sectors that cannot be read: 312)"
    assert len(reason_lines(FAILING_HEALTH)) == 2


def test_other_disks_are_told_quietly() -> None:
    assert health_line(GOOD_HEALTH) == "Health: good"
    assert health_line(NO_HEALTH) == "Health: unknown (it keeps no health log)"


def test_figures_that_a_disk_does_not_give_are_left_out() -> None:
    assert figure_rows(GOOD_HEALTH) == [["Temperature", "31 degrees Celsius"], ["Switched on", "8,734 hours"]]
    rows = dict(figure_rows(FAILING_HEALTH))
    assert rows["Bad sectors replaced"] == "1,432"
    assert rows["Switched on"] == "44,801 hours, which is 5.1 years"
    assert figure_rows(NO_HEALTH) == []


def test_only_failing_disks_are_warned_of_before_they_are_used() -> None:
    healths = {SDA.path: FAILING_HEALTH, SDB.path: GOOD_HEALTH}
    backup = source_warnings([SDA, SDB], healths)
    restore = target_warnings([SDA, SDB], healths)
    assert backup[0] == restore[0] == "WARNING: sda is FAILING: sectors that cannot be read: 312"
    assert "first" in backup[1]
    assert "another disk" in restore[1]
    assert len(backup) == len(restore) == 2
    assert target_warnings([SDB], {}) == []


def test_what_a_disk_says_cannot_steer_the_terminal() -> None:
    hostile = Health(condition=Condition.FAILING, reasons=("a\x1b[2Jb",))
    assert "\x1b" not in health_line(hostile) + "".join(reason_lines(hostile))
