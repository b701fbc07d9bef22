"""A test that hangs fails, whatever takes what is raised in it for its own."""

import time

import pytest

from tests import limits


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LONGEST", 0.1)
    monkeypatch.setattr(limits, "_AGAIN", 0.1)


@pytest.mark.usefixtures("brief")
def test_what_hangs_is_ended(request: pytest.FixtureRequest) -> None:
    with pytest.raises(limits.TooLongError, match="took longer"), limits.limited(request.node):
        time.sleep(60)


@pytest.mark.usefixtures("brief")
def test_the_alarm_comes_again(request: pytest.FixtureRequest) -> None:
    with pytest.raises(limits.TooLongError), limits.limited(request.node):
        try:
            time.sleep(60)
        except BaseException:
            time.sleep(60)


def test_what_ends_in_time_is_left_alone(request: pytest.FixtureRequest) -> None:
    with limits.limited(request.node):
        pass
    time.sleep(0.01)


@pytest.mark.usefixtures("brief")
def test_nothing_begins_once_the_time_for_all_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    limits.refuse_to_begin_late()
    monkeypatch.setattr(limits, "_UNTIL", time.time() - 1)
    with pytest.raises(pytest.fail.Exception, match="RESCUE_TESTS_UNTIL"):
        limits.refuse_to_begin_late()
