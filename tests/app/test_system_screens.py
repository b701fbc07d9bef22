"""Progress, results, jobs, logs, network, language: on every console, at every size, with help and a way back."""

import pytest

from imaging.imageplans import CapturePlan
from rescue.screens.base import Help
from rescue.screens.menu import MenuScreen
from tests.app.conftest import Sit
from tests.app.disks import SDA
from tests.app.images import LIBRARY
from tests.app.jobs import CAPTURED, RESTORED, FakeJob, running_job
from tests.app.machine import FakeBackend
from tests.app.test_console import SAFE

WAYS = [
    ("r",),
    ("5", "down", "enter"),
    ("5", "down", "down", "enter"),
    ("6",),
    ("6", "enter"),
    ("6", "enter", "2"),
    ("7",),
    ("8",),
    ("8", "s"),
]


def backend() -> FakeBackend:
    """A job that runs, a restore and a backup that have ended."""
    restored, captured = running_job(), FakeJob(known_plan=CapturePlan(library=str(LIBRARY), disks=(SDA,)))
    restored.id, captured.id = "2", "3"
    restored.end(RESTORED)
    captured.end(CAPTURED)
    return FakeBackend(known_jobs=[running_job(), restored, captured])


@pytest.mark.parametrize("way", WAYS)
async def test_each_screen_has_safe_glyphs_help_and_a_way_back(sit_down: Sit, way: tuple[str, ...]) -> None:
    async with sit_down(backend()) as person:
        assert set(await person.press(*way)) <= SAFE
        before = person.app.screen
        await person.press("f1")
        assert isinstance(person.app.screen, Help)
        await person.press("escape")
        assert person.app.screen is before
        await person.pilot.resize_terminal(60, 20)
        await person.settle()
        assert set(person.screen) <= SAFE
        assert max(map(len, person.screen.splitlines())) == 60
        await person.press("escape", "escape", "escape")
        assert isinstance(person.app.screen, MenuScreen)


@pytest.mark.parametrize("way", WAYS)
async def test_the_line_of_keys_is_seen_whole_at_80_columns(sit_down: Sit, way: tuple[str, ...]) -> None:
    async with sit_down(backend()) as person:
        last = (await person.press(*way)).splitlines()[-1].rstrip()
        assert last.endswith("help")
