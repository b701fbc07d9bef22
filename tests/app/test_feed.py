"""What is gathered from a job's events, and the forecasts made of them."""

from itertools import pairwise

from imaging.events import Log, Progress, Step
from rescue.feed import Feed
from rescue.pace import Pace
from tests.app.disks import GB
from tests.app.images import restore_plan
from tests.app.jobs import DIED, RESTORED, FakeJob, running_job


def test_a_feed_gathers_step_figures_and_log() -> None:
    feed = Feed(running_job())
    assert feed.poll()
    assert feed.percent == "25 %"
    assert feed.log == ["the target's table was cleared", "Restoring sda"]
    assert feed.lines() == [
        "Done       25.0 GB of 100.0 GB,   1.0 GB of it had to be written",
        "Rate        1.0 GB/s",
        "Time      25 s so far",
        "Left      about 1 min",
    ]


def test_a_feed_takes_only_what_is_new() -> None:
    job = running_job()
    feed = Feed(job)
    feed.poll()
    assert not feed.poll()
    job.say(Log(time=1030.0, message="still here", level="warning"))
    assert feed.poll()
    assert feed.log[-1] == "WARNING: still here"


def test_a_feed_ends_with_the_last_event() -> None:
    job = running_job()
    job.end(RESTORED)
    feed = Feed(job)
    feed.poll()
    assert feed.finished == RESTORED


def test_a_worker_that_died_ends_the_feed_with_the_state_it_left() -> None:
    job = running_job()
    feed = Feed(job)
    feed.poll()
    job.state = "died"
    assert feed.poll()
    assert feed.finished == DIED


def test_a_new_step_begins_at_nothing() -> None:
    job = running_job()
    job.say(Step(time=1040.0, name="Reading back", total=0))
    feed = Feed(job)
    feed.poll()
    assert (feed.fraction, feed.done) == (None, 0)
    job.say(Progress(time=1041.0, done=500, total=0))
    feed.poll()
    assert feed.bytes_line() == "   500 B so far"


def test_a_figure_stays_in_its_place_when_it_grows() -> None:
    job = running_job()
    feed = Feed(job)
    feed.poll()
    before = feed.bytes_line()
    job.say(Progress(time=1026.0, done=99_900_000_000, total=100 * GB, moved=70 * GB))
    feed.poll()
    after = feed.bytes_line()
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 5


def test_a_job_that_is_silent_is_said_to_stand_still_and_forecasts_nothing() -> None:
    now = [0.0]
    feed = Feed(running_job(), clock=lambda: now[0])
    feed.poll()
    now[0] = 40.0
    assert feed.rate_line() == "-"
    assert feed.time_line() == "1 min so far"
    assert feed.left_line() == "no progress for 40 s"


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


def test_the_forecast_of_the_whole_passes_over_a_slow_place() -> None:
    job = FakeJob(known_plan=restore_plan())
    job.say(Step(time=0.0, name="Restoring sda", total=100 * GB))
    feed = Feed(job)
    done, seen = 0, []
    for second in range(1, 240):
        done += GB // 8 if 100 < second < 115 else GB // 4
        job.say(Progress(time=float(second), done=done, total=100 * GB))
        feed.poll()
        if second > 60:
            seen.append(feed.left_line())
    minutes = [int(words.split()[1]) for words in seen]
    assert max(abs(b - a) for a, b in pairwise(minutes)) <= 1
