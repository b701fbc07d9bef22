"""What is gathered from a job's events, and the forecasts made of them."""

from itertools import pairwise

from imaging.events import Log, Progress, Step
from rescue.feed import Feed
from rescue.pace import Pace
from tests.app import machine as m


def test_a_feed_gathers_step_figures_and_log() -> None:
    feed = Feed(m.running_job())
    assert feed.poll()
    assert feed.percent == "25 %"
    assert feed.log == ["the target's table was cleared", "Restoring sda"]
    assert feed.lines() == [
        "Done      25.0 GB of 100.0 GB",
        "Written   1.0 GB; 24.0 GB was right already",
        "Rate      1.0 GB/s",
        "Time      25 s so far, about 1 min left",
    ]


def test_a_feed_takes_only_what_is_new() -> None:
    job = m.running_job()
    feed = Feed(job)
    feed.poll()
    assert not feed.poll()
    job.say(Log(time=1030.0, message="still here", level="warning"))
    assert feed.poll()
    assert feed.log[-1] == "WARNING: still here"


def test_a_feed_ends_with_the_last_event() -> None:
    job = m.running_job()
    job.end(m.RESTORED)
    feed = Feed(job)
    feed.poll()
    assert feed.finished == m.RESTORED


def test_a_worker_that_died_ends_the_feed_with_the_state_it_left() -> None:
    job = m.running_job()
    feed = Feed(job)
    feed.poll()
    job.state = "died"
    assert feed.poll()
    assert feed.finished == m.DIED


def test_a_new_step_begins_at_nothing() -> None:
    job = m.running_job()
    job.say(Step(time=1040.0, name="Reading back", total=0))
    feed = Feed(job)
    feed.poll()
    assert (feed.fraction, feed.percent, feed.done) == (None, "", 0)
    job.say(Progress(time=1041.0, done=500, total=0))
    feed.poll()
    assert feed.bytes_line() == "500 B so far"


def test_no_forecast_is_made_in_the_first_seconds() -> None:
    pace = Pace()
    assert pace.note(0.0, 0, 1000).rate is None
    early = pace.note(2.0, 20, 1000)
    assert (early.rate, early.left) == (10.0, None)
    assert pace.note(4.0, 40, 1000).left == 96.0


def test_the_time_left_counts_down_and_does_not_jump_about() -> None:
    pace = Pace()
    shown: list[float] = []
    done = 0
    for second in range(60):
        done += 8 if second % 2 else 12
        left = pace.note(float(second), done, 1000).left
        if left is not None:
            shown.append(left)
    assert all(after <= before for before, after in pairwise(shown))


def test_the_time_left_follows_when_the_rate_really_changes() -> None:
    pace = Pace()
    for second in range(20):
        pace.note(float(second), 100 * second, 10_000)
    for second in range(20, 60):
        reading = pace.note(float(second), 2000 + 10 * (second - 20), 10_000)
    assert reading.left is not None
    assert reading.left > 600
