"""What screens cost on a serial line: bytes at 80x24 on a vt220, with pyte as the judge that they are the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual import events

import rescue
from imaging.events import Progress, Step
from rescue import language
from rescue.console import driver
from rescue.console.dialect import Mode
from rescue.console.pacer import Pacer
from rescue.screens import progress, restore
from rescue.screens.menu import MenuScreen
from rescue.screens.progress import ProgressScreen
from rescue.screens.restore import RestorePlanScreen
from rescue.widgets.line import Line
from tests.app.disks import GB
from tests.app.images import restore_plan
from tests.app.jobs import FakeJob, running_job
from tests.app.machine import FakeBackend
from tests.app.scenes import checking, locked_files
from tests.app.wired import WiredPerson, wired

FIRST_PAINT = 1200
CURSOR_KEY = 150
DIALOGUE = 600
PROGRESS = 40

SLOW = 960.0
"""Bytes a second at 9600 baud."""


async def test_the_menus_first_paint_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wired(FakeBackend(known_jobs=[running_job()]), monkeypatch) as person:
        assert 400 < await person.sent() <= FIRST_PAINT
        assert "Restore an image" in person.wire.ours.screen.display[8]


async def test_a_cursor_key_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wired(FakeBackend(), monkeypatch) as person:
        await person.sent()
        counts = [await person.sent(key) for key in ("down", "down", "up", "end", "home", "down")]
        assert min(counts) > 0
        assert max(counts) <= CURSOR_KEY


async def test_a_dialogue_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wired(FakeBackend(), monkeypatch) as person:
        await person.sent()
        opened, moved, closed = [await person.sent(key) for key in ("9", "right", "escape")]
        assert 0 < max(opened, closed) <= DIALOGUE
        assert 0 < moved <= CURSOR_KEY


async def test_asking_for_the_passphrase_of_a_volume_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with wired(locked_files(), monkeypatch) as person:
        for key in ("3", "o", "down"):
            await person.sent(key)
        asked = await person.sent("enter")
        typed = [await person.sent(key) for key in "wrong"]
        again = await person.sent("enter")
        for key in ("p", "a", "comma", "s", "s"):
            await person.sent(key)
        opened = await person.sent("enter")
        assert "wrong" not in "\n".join(person.wire.ours.screen.display)
        assert "office-root" in "\n".join(person.wire.ours.screen.display)
        assert 0 < max(asked, again) <= DIALOGUE
        assert 0 < max(typed) <= CURSOR_KEY
        assert 0 < opened <= DIALOGUE


def test_no_cursor_blinks_in_a_line() -> None:
    """Each blink would be bytes, twice a second for as long as a line is typed into."""
    assert not Line().cursor_blink
    sources = [path for path in Path(rescue.__file__).parent.rglob("*.py") if path.name != "line.py"]
    assert [path.name for path in sources if re.search(r"\bInput\(\w", path.read_text())] == []


def go_on(job: FakeJob, tick: int) -> None:
    """The job has moved on by a quarter of a second's work, a little faster or slower than before."""
    done = 26 * GB + tick * GB // 5 + tick % 3 * GB // 50
    job.say(Progress(time=1026.0 + tick / 4, done=done, total=100 * GB, moved=done))


async def tick(person: WiredPerson, job: FakeJob, number: int) -> None:
    """The progress screen looks at the job again."""
    go_on(job, number)
    screen = person.app.screen
    assert isinstance(screen, ProgressScreen)
    screen.poll()
    await person.quiet()


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress screen looks at the job only when it is told to."""
    monkeypatch.setattr(progress, "POLL", 3600.0)


@pytest.mark.usefixtures("by_hand")
async def test_an_update_of_the_progress_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    job = running_job()
    async with wired(FakeBackend(known_jobs=[job]), monkeypatch) as person:
        await person.sent("r")
        counts = []
        for number in range(60):
            await tick(person, job, number)
            counts.append(await person.sent())
        assert sum(counts) > 300
        assert max(counts) <= PROGRESS, counts


class Journey:
    """A job of many hours: its seconds between two updates, and bytes a second, change all the time."""

    STAGES = (
        # How many updates, seconds between two of them, bytes a second.
        (10, 1.0, 110_000_000),
        (5, 7.0, 4_000_000),
        (2, 0.5, 60_000),
        (3, 21.0, 0),
        (12, 60.0, 110_000_000),
        (12, 400.0, 130_000_000),
        (20, 1.0, 0),
    )

    def __init__(self, job: FakeJob, clock: list[float]) -> None:
        self.job = job
        self.clock = clock
        self.done = 0

    def updates(self) -> Iterator[None]:
        """One after the other; in the middle, the job says nothing for a while."""
        for count, seconds, rate in self.STAGES:
            for _ in range(count):
                self.clock[0] += seconds
                if rate:
                    self.done = min(TOTAL, self.done + int(rate * seconds))
                    time = 1000.0 + self.clock[0]
                    self.job.say(Progress(time=time, done=self.done, total=TOTAL, moved=self.done // 3))
                yield


TOTAL = 600 * GB


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("language_", ["en", "de"])
async def test_no_update_of_a_job_of_hours_is_long(monkeypatch: pytest.MonkeyPatch, language_: str) -> None:
    job = FakeJob(known_plan=restore_plan())
    job.say(Step(time=1000.0, name="Restoring sda", total=TOTAL))
    clock = [0.0]
    language.use(language_)
    try:
        async with wired(FakeBackend(known_jobs=[job]), monkeypatch) as person:
            await person.sent("r")
            screen = person.app.screen
            assert isinstance(screen, ProgressScreen)
            monkeypatch.setattr(screen.feed, "_clock", lambda: clock[0])
            counts, seen = [], ""
            for _ in Journey(job, clock).updates():
                screen.poll()
                await person.quiet()
                counts.append(person.wire.send())
                seen += "".join(person.wire.ours.screen.display)
            person.wire.check()
    finally:
        language.use("en")
    assert max(counts) <= PROGRESS, counts
    assert sum(counts) > 300
    boundaries = (r"\d s ", r"\d min \d", r"\d h \d", r" \d %", r" \d\d %", "100 %", r"\d MB ", r"\d GB ", "MB/s")
    assert [words for words in boundaries if not re.search(words, seen)] == []


async def test_a_restore_that_waits_for_the_check_of_the_medium_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "WATCH", 3600.0)
    backend = checking()
    async with wired(backend, monkeypatch) as person:
        await person.sent("1", "enter", "enter", "enter")
        screen = person.app.screen
        assert isinstance(screen, RestorePlanScreen)
        counts = []
        for share in range(46, 100, 9):
            backend.medium_state = replace(backend.medium_state, done=share * (2 << 20))
            screen.show_medium()
            await person.quiet()
            counts.append(person.wire.send())
        person.wire.check()
        assert min(counts) > 0
        assert max(counts) <= PROGRESS, counts


async def test_at_9600_baud_the_menu_is_there_within_a_second_of_leaving_the_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = running_job()
    async with wired(FakeBackend(known_jobs=[job]), monkeypatch) as person:
        line = Clockwork(person)
        await person.press("r")
        for number in range(40):
            await tick(person, job, number)
            line.run_until(line.now + 0.25)
        left = line.now
        await person.press("escape")
        assert isinstance(person.app.screen, MenuScreen)
        await person.quiet()
        line.run_until_all_is_seen()
        person.wire.check()
        assert 0.3 < line.now - left < 1.0


class Clockwork:
    """A line at 9600 baud and its clock, which goes on only when it is told to."""

    def __init__(self, person: WiredPerson) -> None:
        self.wire = person.wire
        self.pacer = Pacer(SLOW)
        self.now = 0.0
        self.free = 0.0
        """When the last byte that was written will have left."""

    def turn(self) -> float:
        """Write a burst where one may go; seconds until the next look."""
        queued = max(0.0, self.free - self.now) * SLOW
        if delay := self.pacer.wait(self.now, int(queued)):
            return max(delay, 0.001)
        said = self.wire.burst(self.pacer.burst)
        self.pacer.sent(self.now, len(said))
        self.free = max(self.now, self.free) + len(said) / SLOW
        return 0.001 if said else 0.05

    def run_until(self, then: float) -> None:
        """The line goes on until then."""
        while self.now < then:
            self.now = min(then, self.now + self.turn())

    def run_until_all_is_seen(self) -> None:
        """The line goes on until the terminal shows the newest frame."""
        while not self.wire.painter.done(self.wire.frame):
            self.now += self.turn()
            assert self.now < 1000
        self.now = max(self.now, self.free)


KEYS = ("down", "up", "1", "2", "9", "0", "escape", "enter", "question_mark", "tab", "end", "home", "r", "c", "t")


@pytest.mark.parametrize(
    ("term", "mode"), [("vt220", Mode.SERIAL), ("vt100", Mode.SERIAL), ("ansi", Mode.SERIAL), ("linux", Mode.VGA)]
)
async def test_all_screens_look_as_with_textuals_own_driver(
    monkeypatch: pytest.MonkeyPatch, term: str, mode: Mode
) -> None:
    async with wired(FakeBackend(known_jobs=[running_job()]), monkeypatch, term=term, mode=mode) as person:
        for number, key in enumerate([*KEYS, "escape", "escape", "escape", *reversed(KEYS)]):
            if number % 9 == 4:
                person.driver.resize(60 + number, 20 + number % 12)
            await person.sent(key)


async def test_after_a_long_silence_the_first_key_draws_a_serial_line_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(driver, "clock", lambda: now[0])
    async with wired(FakeBackend(), monkeypatch) as person:
        await person.sent()
        for pause, anew in (
            (5.0, False),
            (driver.LONG_SILENCE - 1, False),
            (driver.LONG_SILENCE + 1, True),
            (1.0, False),
        ):
            now[0] += pause
            person.driver.process_message(events.Key("down", None))
            await person.settle()
            count = await person.sent()
            assert (FIRST_PAINT >= count > 400) if anew else (0 < count <= CURSOR_KEY)
