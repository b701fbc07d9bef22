"""What every console must be able to show, and how the terminal is set up and given back."""

import pytest

from rescue.app import is_console
from tests.app.conftest import Sit
from tests.app.machine import FAILED, FakeBackend, FakeDamaged, FakeJob, FakeListing, make_image, running_job

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
    ("1", "o"),
    ("2",),
    ("2", "space"),
    ("2", "enter"),
    ("2", "enter", "enter"),
    ("3",),
    ("3", "down", "enter"),
    ("r",),
    ("r", "c"),
    ("6",),
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
        screen = await person.press("1", "enter", "enter")
        assert "Time: about 4 min" not in screen
        assert "Time: about 4 min" in await person.press("pagedown", "pagedown")
        assert "ERASED" in await person.press("pageup", "pageup")


@pytest.mark.parametrize("focus_way", [("r", "c"), ("5",), ("6",), ("r",), ("3", "down", "enter")])
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
    ("environ", "console"),
    [
        ({"TERM": "linux"}, True),
        ({"TERM": "vt220"}, True),
        ({}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "screen.xterm"}, False),
        ({"TERM": "xterm", "RESCUE_LIVE": "1"}, True),
    ],
)
def test_text_consoles_and_serial_lines_are_told_from_terminal_emulators(
    environ: dict[str, str], console: bool
) -> None:
    assert is_console(environ) is console


@pytest.mark.parametrize("state", ["running", "died"])
async def test_a_job_whose_plan_is_damaged_can_be_seen_and_cancelled(sit_down: Sit, state: str) -> None:
    job = FakeJob(known_plan=None, state=state)
    backend = FakeBackend(known_jobs=[job])
    async with sit_down(backend) as person:
        assert "a job whose plan cannot be read" in await person.press("3")
        shown = await person.press("enter")
        assert "a job whose plan cannot be read" in shown
        if state == "running":
            assert "Cancel this job?" in await person.press("c")
            await person.press("escape", "escape")
            backend.calls.clear()
            await person.press("5")
            assert "A JOB IS RUNNING" in person.words
