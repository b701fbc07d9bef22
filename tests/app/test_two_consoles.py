"""Two screens over one state folder: what one starts the other follows and cancels, and never starts beside it."""

import fcntl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imaging import jobs, plan
from imaging.errors import RefusedError
from imaging.events import Finished, Progress, Started, Step, encode
from rescue.application import RescueApp
from rescue.engine import Engine
from rescue.screens.progress import ProgressScreen
from rescue.screens.result import ResultScreen
from tests.app.conftest import Person
from tests.app.disks import GB, HERE, SDA, SDB
from tests.app.images import restore_plan


class Quiet(Engine):
    """The real jobs, of a computer whose disks and media are not looked at."""

    machine = staticmethod(lambda: HERE)
    libraries = staticmethod(lambda: ())
    disks = staticmethod(lambda libraries=(): ())  # noqa: ARG005


class Worker:
    """Stands for the process of a job: holds its lock, and says what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.events = folder / "events.jsonl"
        self.lock = (folder / "lock").open("r+b", buffering=0)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        started = Started(time=1000.0, job=folder.name, kind="restore", title="Restore clean install to sda")
        self.say(
            started,
            Step(time=1000.0, name="Restoring sda", total=100 * GB),
            Progress(time=1010.0, done=25 * GB, total=100 * GB),
        )

    def say(self, *events: Started | Step | Progress | Finished) -> None:
        """Append events."""
        with self.events.open("ab") as file:
            file.writelines(map(encode, events))

    def end(self) -> None:
        """The last word, and the end of the process."""
        self.say(Finished(time=1300.0, status=6, message="stopped", state="sda holds half a system"))
        self.lock.close()


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Worker]]:
    """The state folder of a computer on which no process is started."""
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path))
    started: list[Worker] = []
    monkeypatch.setattr(jobs, "spawn_worker", lambda folder, _log: started.append(Worker(folder)))
    yield started
    for worker in started:
        worker.lock.close()


@asynccontextmanager
async def console() -> AsyncIterator[Person]:
    """One more screen."""
    app = RescueApp(Quiet())
    async with app.run_test(size=(80, 24)) as pilot:
        person = Person(app, pilot)
        await person.settle()
        yield person


async def test_what_one_console_starts_another_follows_and_cancels(workers: list[Worker]) -> None:
    async with console() as vga:
        screen = vga.app.screen
        screen.submit(restore_plan(SDA))  # type: ignore[attr-defined]
        await vga.settle()
        assert isinstance(vga.app.screen, ProgressScreen)
        async with console() as serial:
            assert "Restore clean install to sda" in serial.screen
            assert " 25.0 GB of 100.0 GB" in await serial.press("r")
            assert "Cancel this job?" in await serial.press("c")
            await serial.press("y")
            assert jobs.jobs()[0].cancelled
            workers[0].end()
            for person in (serial, vga):
                shown = person.app.screen
                if isinstance(shown, ProgressScreen):  # it may have looked by itself in the meantime
                    person.app.call_later(shown.poll)
                    await person.settle()
                assert isinstance(person.app.screen, ResultScreen)
                assert "sda holds half a system" in person.screen


async def test_a_job_on_the_same_disk_is_refused_with_clear_words_on_the_other_console(workers: list[Worker]) -> None:
    jobs.submit(restore_plan(SDA))
    async with console() as serial:
        serial.app.screen.submit(restore_plan(SDA))  # type: ignore[attr-defined]
        await serial.settle()
        assert "is at work on /dev/sda: Restore clean install to sda" in serial.words
        assert "What to do: wait for its end, or cancel it" in serial.words
        assert len(workers) == 1
        await serial.press("escape")
        serial.app.screen.submit(restore_plan(SDB))  # type: ignore[attr-defined]
        await serial.settle()
        assert isinstance(serial.app.screen, ProgressScreen)
        assert len(workers) == 2


async def test_a_screen_whose_line_hangs_up_leaves_its_job_to_the_next_one(workers: list[Worker]) -> None:
    async with console() as first:
        first.app.screen.submit(restore_plan(SDA))  # type: ignore[attr-defined]
        await first.settle()
        first.app.exit(129)
    assert jobs.jobs()[0].state == "running"
    async with console() as second:
        assert "Restore clean install to sda" in second.screen
        assert " 25.0 GB of 100.0 GB" in await second.press("r")
        assert len(workers) == 1


def test_of_many_that_are_started_at_once_on_one_disk_one_begins(workers: list[Worker]) -> None:
    refused: list[RefusedError] = []

    def begin(start: Callable[[plan.Plan], jobs.Job] = jobs.submit) -> None:
        try:
            start(restore_plan(SDA))
        except RefusedError as error:
            refused.append(error)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(workers) == 1
    assert [error.code for error in refused] == ["disk-busy"] * 5
