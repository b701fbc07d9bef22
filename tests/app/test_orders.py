"""Unattended work before a person: it comes by itself, says what it does, and every key that does anything stops it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from imaging.orderboard import Board, Phase, State
from imaging.orders import After
from rescue.application import RescueApp
from rescue.engine import Engine
from rescue.screens.menu import MenuScreen
from rescue.screens.order import OrderScreen
from rescue.screens.progress import ProgressScreen
from rescue.screens.result import ResultScreen
from tests.app.conftest import Person, Sit
from tests.app.disks import HERE
from tests.app.images import restore_plan
from tests.app.jobs import RESTORED, running_job
from tests.app.machine import FakeBackend
from tests.app.wired import wired

COUNTING = State(phase=Phase.COUNTING, name="Classroom PCs", plan=restore_plan(), then=After.POWER_OFF)
TICK = 40
"""Bytes of a second of the countdown on a serial line."""


def counting() -> FakeBackend:
    return FakeBackend(found_order=COUNTING, order_left=28)


async def look(person: Person) -> str:
    """A second later."""
    person.app.call_later(person.app.orders.look)
    await person.settle()
    return person.screen


async def test_an_order_comes_up_by_itself_and_says_what_it_erases_and_when(sit_down: Sit) -> None:
    backend = counting()
    async with sit_down(backend) as person:
        assert isinstance(person.app.screen, OrderScreen)
        assert "BEGINS IN   28 SECONDS" in person.screen
        assert "ERASED : sda  Samsung SSD 870  serial S5Y1NX0R  500.0 GB" in person.screen
        assert "Then the computer is switched off." in person.screen
        assert "Press Esc or Enter to stop it" in person.screen
        assert backend.calls == ["watch order"]
        backend.order_left = 7
        assert "BEGINS IN    7 SECONDS" in await look(person)


async def test_a_look_while_the_screen_is_still_being_made_is_not_lost(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = OrderScreen(COUNTING)
        screen.show(replace(COUNTING, name="Office PCs"))
        person.app.push_screen(screen)
        await person.settle()
        assert "Order: Office PCs" in person.screen


@pytest.mark.parametrize("key", ["escape", "enter", "space", "s", "q", "c", "ctrl+c"])
async def test_a_key_stops_it_and_the_next_one_leads_to_the_menu(sit_down: Sit, key: str) -> None:
    backend = counting()
    async with sit_down(backend) as person:
        assert "STOPPED - nothing was written" in await person.press(key)
        assert backend.submitted == []
        await person.press("enter")
        assert isinstance(person.app.screen, MenuScreen)
        await look(person)
        assert isinstance(person.app.screen, MenuScreen)


async def test_help_and_other_keys_stop_nothing(sit_down: Sit) -> None:
    backend = counting()
    async with sit_down(backend) as person:
        await person.press("1", "down", "tab", "pagedown", "f1")
        assert "rescue.job=" in person.screen
        await person.press("escape")
        assert isinstance(person.app.screen, OrderScreen)
        assert "stop order" not in backend.calls


async def test_it_comes_over_whatever_stands_there(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("1", "enter", "f1")
        backend.found_order, backend.order_left = COUNTING, 28
        assert "BEGINS IN   28 SECONDS" in await look(person)


async def test_when_it_begins_its_job_is_followed_to_the_end_and_what_comes_after(sit_down: Sit) -> None:
    backend = counting()
    async with sit_down(backend) as person:
        job = running_job()
        backend.known_jobs.append(job)
        backend.found_order = replace(COUNTING, phase=Phase.RUNNING)
        assert "IT BEGINS NOW" in await look(person)
        backend.found_order = replace(COUNTING, phase=Phase.RUNNING, job="1")
        await look(person)
        assert isinstance(person.app.screen, ProgressScreen)
        await person.press("escape")
        assert "Restore an image" in await look(person)
        await person.press("r")
        job.end(RESTORED)
        screen = person.app.screen
        assert isinstance(screen, ProgressScreen)
        person.app.call_later(screen.poll)
        await person.settle()
        backend.found_order = replace(COUNTING, phase=Phase.ENDED, job="1", result="done")
        backend.order_left = 9
        assert "DONE: power off in  9 seconds" in await look(person)
        backend.found_order = replace(backend.found_order, then=After.MENU)
        await person.press("enter")
        assert "power off in" not in person.screen
        await person.press("enter")
        assert isinstance(person.app.screen, ResultScreen)


async def test_a_console_that_comes_late_follows_the_job(sit_down: Sit) -> None:
    order = replace(COUNTING, phase=Phase.RUNNING, job="1")
    async with sit_down(FakeBackend(found_order=order, known_jobs=[running_job()])) as person:
        assert isinstance(person.app.screen, ProgressScreen)


async def test_a_refusal_says_why_and_closes_to_the_menu(sit_down: Sit) -> None:
    refused = State(phase=Phase.REFUSED, name="jobs", message="no internal disk was found", hint="compare")
    async with sit_down(FakeBackend(found_order=refused)) as person:
        for words in ("REFUSED - nothing was written", "no internal disk was found", "What to do: compare"):
            assert words in person.screen
        await person.press("escape")
        assert isinstance(person.app.screen, MenuScreen)
        await look(person)
        assert isinstance(person.app.screen, MenuScreen)


async def test_an_order_for_other_computers_and_an_end_that_the_job_tells_bring_nothing_up(sit_down: Sit) -> None:
    for state in (State(phase=Phase.SKIPPED, name="jobs"), replace(COUNTING, phase=Phase.ENDED, job="1")):
        async with sit_down(FakeBackend(found_order=state)) as person:
            assert isinstance(person.app.screen, MenuScreen)


async def test_what_was_done_about_an_order_is_among_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path))
    board = Board()
    with board.attended():
        board.show(State(phase=Phase.SKIPPED, name="jobs"))
        board.log("refused: no internal disk was found")
    async with console() as person:
        await person.press("8")
        assert "Unattended work  (1/3)" in person.screen
        assert "refused: no internal disk was found" in person.screen


async def test_hostile_words_of_an_order_are_only_words(sit_down: Sit) -> None:
    state = State(phase=Phase.REFUSED, name="\x1b[2J[bold]x[/]", message="\x1b]0;x\x07 [red]y")
    async with sit_down(FakeBackend(found_order=state)) as person:
        assert "[bold]x[/]" in person.screen
        assert "\x1b" not in person.screen


async def test_a_second_of_the_countdown_is_short_on_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = counting()
    async with wired(backend, monkeypatch) as person:
        await person.sent()
        counts = []
        for left in (27, 10, 9, 1, 0):
            backend.order_left = left
            await look(person)
            await person.quiet()
            counts.append(await person.sent())
        assert min(counts) > 0
        assert max(counts) <= TICK, counts


class Quiet(Engine):
    """The real board, of a computer whose disks and media are not looked at."""

    machine = staticmethod(lambda: HERE)
    libraries = staticmethod(lambda: ())
    disks = staticmethod(lambda libraries=(): ())  # noqa: ARG005


@asynccontextmanager
async def console() -> AsyncIterator[Person]:
    """One more screen."""
    app = RescueApp(Quiet())
    async with app.run_test(size=(80, 24)) as pilot:
        person = Person(app, pilot)
        await person.settle()
        yield person


async def test_any_console_stops_it_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path))
    board = Board()
    with board.attended():
        board.show(COUNTING)
        async with console() as vga:
            assert "BEGINS IN A MOMENT" in vga.screen
            assert board.watched
            assert board.turn(COUNTING, replace(COUNTING, ends_at=time.monotonic() + 500))
            async with console() as serial:
                assert "SECONDS" in serial.screen
                assert "STOPPED" in await serial.press("escape")
            assert "STOPPED - nothing was written" in await look(vga)


async def test_an_order_whose_process_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path))
    with Board().attended():
        Board().show(COUNTING)
    async with console() as person:
        assert "ended without a word" in person.screen
        await person.press("escape")
        assert isinstance(person.app.screen, MenuScreen)
