"""What every console must be able to show, and how the terminal is set up and given back."""

import pytest
from textual.widgets import Input

from rescue.console.cells import Style
from rescue.console.dialect import Look, Mode, dialect
from rescue.console.line import Kind
from rescue.console.terminal import mode
from rescue.screens.base import AskText
from tests.app.conftest import Sit
from tests.app.images import FakeDamaged, FakeListing, make_image
from tests.app.jobs import FAILED, FakeJob, running_job
from tests.app.machine import FakeBackend

SAFE = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("\n─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬█▒░")
"""Glyphs of the VGA ROM font and of Debian's console fonts."""


def busy_backend() -> FakeBackend:
    """Something of everything."""
    failed = running_job()
    failed.id = "0"
    failed.end(FAILED, "failed")
    damaged = FakeDamaged(id="bad-1", problem="the manifest is cut short " * 4)
    return FakeBackend(
        known_jobs=[running_job(), failed],
        listing=FakeListing(images=tuple(make_image(f"i{n}") for n in range(30)), damaged=(damaged,)),
    )


WAYS = [
    (),
    ("1",),
    ("1", "enter"),
    ("1", "enter", "enter"),
    ("1", "enter", "enter", "enter"),
    ("1", "slash"),
    ("1", "o"),
    ("1", "o", "enter"),
    ("2",),
    ("2", "space"),
    ("2", "enter"),
    ("2", "enter", "enter"),
    ("5",),
    ("5", "down", "enter"),
    ("r",),
    ("r", "c"),
    ("0",),
    ("f1",),
]


@pytest.mark.parametrize("way", WAYS)
async def test_every_screen_draws_only_glyphs_that_every_console_has(sit_down: Sit, way: tuple[str, ...]) -> None:
    async with sit_down(busy_backend()) as person:
        assert set(await person.press(*way)) <= SAFE
        await person.pilot.resize_terminal(60, 20)
        await person.settle()
        assert set(person.screen) <= SAFE
        assert max(map(len, person.screen.splitlines())) == 60


async def test_a_long_plan_scrolls_while_the_field_has_the_focus(sit_down: Sit) -> None:
    async with sit_down(busy_backend()) as person:
        await person.pilot.resize_terminal(60, 12)
        screen = await person.press("1", "enter", "enter", "enter")
        assert "Time: about 4 min" not in screen
        assert "Time: about 4 min" in await person.press(*["pagedown"] * 12)
        assert 'Restore "clean install"' in await person.press(*["pageup"] * 12)


@pytest.mark.parametrize("focus_way", [("r", "c"), ("9",), ("0",), ("r",), ("5", "down", "enter")])
async def test_the_focus_is_on_the_harmless_answer_and_seen_without_colour(
    sit_down: Sit, focus_way: tuple[str, ...]
) -> None:
    async with sit_down(busy_backend()) as person:
        await person.press(*focus_way)
        assert person.focus in ("no", "leave", "home")
        parts = [part for strip in person.app.screen._compositor.render_strips() for part in strip]
        reverse = [part.text for part in parts if part.style and part.style.reverse]
        assert any(text.startswith(("[ No", "[ Leave it", "[ Main menu")) for text in reverse)


@pytest.mark.parametrize(
    ("environ", "kind", "expected"),
    [
        ({"TERM": "linux"}, Kind.VGA, Mode.VGA),
        ({"TERM": "linux"}, Kind.PTY, Mode.VGA),
        ({"TERM": "xterm"}, Kind.VGA, Mode.VGA),
        ({"TERM": "vt220"}, Kind.SERIAL, Mode.SERIAL),
        ({"TERM": "xterm-256color"}, Kind.SERIAL, Mode.SERIAL),
        ({}, Kind.PTY, Mode.SERIAL),
        ({"TERM": "unknown"}, Kind.PTY, Mode.SERIAL),
        ({"TERM": "dumb"}, Kind.PTY, Mode.SERIAL),
        ({"TERM": "ansi"}, Kind.PTY, Mode.SERIAL),
        ({"TERM": "xterm-256color"}, Kind.PTY, Mode.FULL),
        ({"TERM": "xterm", "RESCUE_LIVE": "1"}, Kind.PTY, Mode.FULL),
        ({"TERM": "screen.xterm"}, Kind.PTY, Mode.FULL),
        ({"TERM": "xterm", "RESCUE_CONSOLE": "serial"}, Kind.PTY, Mode.SERIAL),
        ({"TERM": "xterm", "RESCUE_CONSOLE": "vga"}, Kind.PTY, Mode.VGA),
        ({"TERM": "vt220", "RESCUE_CONSOLE": "full"}, Kind.SERIAL, Mode.FULL),
        ({"TERM": "vt220", "RESCUE_CONSOLE": "nonsense"}, Kind.SERIAL, Mode.SERIAL),
    ],
)
def test_serial_lines_consoles_and_emulators_are_told_apart(
    environ: dict[str, str], kind: Kind, expected: Mode
) -> None:
    assert mode(environ, kind) is expected


@pytest.mark.parametrize("state", ["running", "died"])
async def test_a_job_whose_plan_is_damaged_can_be_seen_and_cancelled(sit_down: Sit, state: str) -> None:
    job = FakeJob(known_plan=None, state=state)
    backend = FakeBackend(known_jobs=[job])
    async with sit_down(backend) as person:
        assert "a job whose plan cannot be read" in await person.press("5")
        shown = await person.press("enter")
        assert "a job whose plan cannot be read" in shown
        if state == "running":
            assert "Cancel this job?" in await person.press("c")
            await person.press("escape", "escape", "escape")
            backend.calls.clear()
            await person.press("9")
            assert "A JOB IS RUNNING" in person.words


def test_the_linux_console_gets_no_bold_in_reverse_where_it_would_be_grey_on_grey() -> None:
    screen = dialect(Mode.VGA, "linux", Look.PLAIN)
    assert screen.style(Style(bold=True, reverse=True)) == Style(reverse=True)
    assert screen.style(Style(bold=True)) == Style(bold=True)
    line = dialect(Mode.SERIAL, "vt220", Look.PLAIN)
    assert line.style(Style(bold=True, reverse=True)) == Style(bold=True, reverse=True)


async def test_the_scroll_bar_is_seen_without_colour_and_help_can_be_closed_at_60x20(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(known_jobs=[running_job()])) as person:
        await person.pilot.resize_terminal(60, 20)
        await person.settle()
        screen = await person.press("f1")
        assert "Esc closes this help" in screen
        assert "│  ║" in screen
        assert "█  ║" in screen


async def test_the_buttons_of_a_long_question_are_there_at_60x20(sit_down: Sit) -> None:
    jobs = [running_job() for _ in range(4)]
    for number, job in enumerate(jobs):
        job.id = str(number)
    async with sit_down(FakeBackend(known_jobs=jobs)) as person:
        await person.pilot.resize_terminal(60, 20)
        assert "[ No, go back ]" in await person.press("9")


@pytest.mark.parametrize("key", ["f9", "ctrl+t", "t"])
async def test_one_key_changes_the_look(sit_down: Sit, key: str) -> None:
    async with sit_down(FakeBackend()) as person:
        for expected in (True, False):
            await person.press(key)
            heading = person.app.screen.query_one("#heading")
            assert (heading.styles.background.ansi == 4) is expected


async def test_the_letter_of_the_look_can_be_typed_into_a_field(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        person.app.push_screen(AskText("Which?"))
        await person.settle()
        await person.type("t")
        assert person.app.screen.query_one(Input).value == "t"
        assert not person.app.has_class("rich")
