"""The main menu, jobs from it, and leaving the computer."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from imaging.errors import IoError
from rescue.screens.base import Help
from rescue.screens.jobs import JobsScreen
from rescue.screens.menu import MenuScreen
from tests.app.conftest import Sit
from tests.app.disks import SDA
from tests.app.jobs import FAILED, RESTORED, running_job
from tests.app.machine import FakeBackend


async def test_the_menu_shows_the_computer_the_libraries_and_the_tasks(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        for words in (
            "Dell Inc. OptiPlex 7050, serial ABC1234",
            "Started from  sdc  Ultra Fit  serial 4C53",
            "/media/stick/library",
            "1  Restore an image",
            "2  Back up this computer",
            "3  Images",
            "4  Disks",
            "5  Jobs",
            "6  Network",
            "7  Language and keyboard",
            "8  Log",
            "9  Restart",
            "0  Power off",
            "s  Shell",
        ):
            assert words in person.screen
        assert "Press r" not in person.screen


async def test_the_menu_says_that_the_system_came_over_the_network(sit_down: Sit) -> None:
    backend = FakeBackend(found_disks=(SDA,), fetched_from="http://recovery.example:8080/rescue")
    async with sit_down(backend) as person:
        assert "Started from  the network, http://recovery.example:8080/rescue" in person.screen


async def test_the_cursor_can_be_seen_without_colour(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("down")
        strips = person.app.screen._compositor.render_strips()
        reverse = [strip.text for strip in strips if any(part.style and part.style.reverse for part in strip)]
        assert any("Reset this computer" in line for line in reverse)
        assert not any("Restore an image" in line for line in reverse)


async def test_the_menu_says_how_to_go_on_without_a_library(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_libraries=())) as person:
        assert "none found: plug in the disk or stick that holds them" in person.screen


async def test_a_new_screen_offers_to_show_the_job_that_runs(sit_down: Sit) -> None:
    backend = FakeBackend(known_jobs=[running_job()])
    async with sit_down(backend) as person:
        assert "Running       Restore clean install to sda, 25 %" in person.screen
        assert "Press r to watch it" in person.screen
        screen = await person.press("r")
        assert "25.0 GB of 100.0 GB" in screen
        assert "the target's table was cleared" in screen


async def test_jobs_lists_all_and_shows_progress_or_result(sit_down: Sit) -> None:
    failed = running_job()
    failed.id = "0"
    failed.end(FAILED, "failed")
    async with sit_down(FakeBackend(known_jobs=[running_job(), failed])) as person:
        screen = await person.press("5")
        assert "running" in screen
        assert "FAILED" in screen
        screen = await person.press("down", "enter")
        assert "writing to sda failed at 12.0 GB" in screen
        assert "State: sda holds half a system" in screen
        screen = await person.press("escape")
        assert "Started" in screen
        assert "25.0 GB of 100.0 GB" in await person.press("up", "enter")


async def test_a_job_that_was_opened_under_jobs_leads_back_to_them(sit_down: Sit) -> None:
    backend = FakeBackend(known_jobs=[running_job()])
    async with sit_down(backend) as person:
        for back in ("escape", "enter"):
            await person.press("5", "enter", back)
            assert isinstance(person.app.screen, JobsScreen)
            await person.press("escape")
            await person.press("r", back)
            assert isinstance(person.app.screen, MenuScreen)
        assert backend.known_jobs[0].calls == []


async def test_jobs_says_so_where_there_were_none(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "There were no jobs since the computer was started." in await person.press("5")


async def test_restart_asks_first_with_the_focus_on_no(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("9")
        assert "Restart the computer?" in person.words
        assert person.focus == "no"
        await person.press("enter")
        assert backend.calls == []
        await person.press("9", "right", "enter")
        assert backend.calls == ["reboot"]
        assert "The computer is about to restart." in person.words


async def test_power_off_warns_of_a_job_that_runs(sit_down: Sit) -> None:
    backend = FakeBackend(known_jobs=[running_job()])
    async with sit_down(backend) as person:
        await person.press("0")
        assert "A JOB IS RUNNING and would be cut off: Restore clean install to sda" in person.words
        await person.press("n")
        assert backend.calls == []
        await person.press("0", "y")
        assert backend.calls == ["power off"]
        assert "The computer is switching off." in person.words


async def test_no_warning_where_all_jobs_have_ended(sit_down: Sit) -> None:
    job = running_job()
    job.end(RESTORED)
    async with sit_down(FakeBackend(known_jobs=[job])) as person:
        await person.press("0")
        assert "A JOB IS RUNNING" not in person.words


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving_asks_first(sit_down: Sit, key: str) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press(key)
        assert "Leave Rescue? A job that runs goes on." in person.words
        assert person.focus == "no"
        await person.press("enter")
        assert isinstance(person.app.screen, MenuScreen)
        await person.press(key, "y")
        assert person.app.return_code == 0


async def test_what_fails_is_told_in_words(sit_down: Sit) -> None:
    class Broken(FakeBackend):
        def power_off(self) -> None:
            raise IoError("systemctl is not installed", hint="switch it off by its button")

    async with sit_down(Broken()) as person:
        await person.press("0", "y")
        assert "systemctl is not installed" in person.words
        assert "What to do: switch it off by its button" in person.words
        await person.press("enter")
        assert isinstance(person.app.screen, MenuScreen)


async def test_a_shell_gets_the_terminal_and_gives_it_back(sit_down: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        monkeypatch.setattr(person.app, "suspend", nullcontext)
        await person.press("s")
        assert backend.calls == ["shell"]
        assert "1  Restore an image" in person.screen


async def test_a_terminal_that_cannot_be_given_away_is_told(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("s")
        assert "A shell cannot be opened on this kind of terminal." in person.words
        assert backend.calls == []


@pytest.mark.parametrize(
    "way",
    [
        (),
        ("1",),
        ("1", "enter"),
        ("1", "enter", "enter"),
        ("1", "enter", "enter", "enter"),
        ("2",),
        ("2", "enter"),
        ("2", "enter", "enter"),
        ("5",),
        ("0",),
        ("r",),
        ("r", "c"),
    ],
)
async def test_help_opens_on_every_screen_and_esc_comes_back(sit_down: Sit, way: tuple[str, ...]) -> None:
    async with sit_down(FakeBackend(known_jobs=[running_job()])) as person:
        await person.press(*way)
        before = person.app.screen
        await person.press("f1")
        assert isinstance(person.app.screen, Help)
        assert "Esc closes this help" in person.screen
        await person.press("escape")
        assert person.app.screen is before


@pytest.mark.parametrize(
    "way", [("1", "enter", "enter", "enter"), ("2", "enter", "enter"), ("5", "enter"), ("r",), ("0",)]
)
async def test_esc_always_leads_back_to_the_menu(sit_down: Sit, way: tuple[str, ...]) -> None:
    backend = FakeBackend(known_jobs=[running_job()])
    async with sit_down(backend) as person:
        await person.press(*way)
        await person.press("escape", "escape", "escape", "escape")
        assert isinstance(person.app.screen, MenuScreen)
        assert backend.submitted == []


async def test_an_error_in_the_screens_is_written_to_a_file_and_not_to_the_terminal(
    sit_down: Sit, tmp_path: Path
) -> None:
    backend = FakeBackend(state=tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with sit_down(backend) as person:
            person.app.call_later(lambda: 1 / 0)
            await person.settle()
    assert person.app.return_code == 1
    assert person.app.crash_report == tmp_path / "screen.log"
    assert "ZeroDivisionError" in (tmp_path / "screen.log").read_text()
    assert person.app._exit_renderables == []
