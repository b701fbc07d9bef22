"""Back up this computer: disks, library, label, progress and result."""

from dataclasses import replace
from pathlib import Path

from imaging.plan import CapturePlan
from tests.app.conftest import Sit
from tests.app.machine import CAPTURED, LIBRARY, SDA, SDB, STICK, FakeBackend, FakeJob


def submitted(backend: FakeBackend) -> CapturePlan:
    """The only plan that was submitted."""
    (plan,) = backend.submitted
    assert isinstance(plan, CapturePlan)
    return plan


async def test_several_disks_are_marked_with_the_space_bar(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("2")
        assert "[ ]  sda" in screen
        assert "Press Space to mark a disk." in screen
        screen = await person.press("space", "down", "space")
        assert "[x]  sda" in screen
        assert "[x]  sdb" in screen
        assert "Marked: 2 disks, 2.5 TB. Press Enter to go on." in screen
        await person.press("enter", "enter")
        await person.type("before the update")
        await person.press("enter", "enter")
        plan = submitted(backend)
        assert plan.disks == (SDA, SDB)
        assert plan.library == str(LIBRARY)
        assert plan.label == "before the update"


async def test_a_mark_can_be_taken_away(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "[ ]  sda" in await person.press("2", "space", "space")


async def test_enter_takes_the_disk_under_the_cursor_where_none_is_marked(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("2", "down", "enter", "enter", "enter", "enter")
        assert submitted(backend).disks == (SDB,)


async def test_the_only_disk_that_can_be_saved_is_marked_already(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_disks=(STICK, SDA))) as person:
        assert "[x]  sda" in await person.press("2")


async def test_disks_that_cannot_be_saved_say_why(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("2")
        assert "cannot be chosen: it is in use: /dev/sdd2 is mounted at /srv/data" in person.words
        assert "cannot be chosen: it holds the image library" in person.words


async def test_a_new_library_can_be_made_in_a_folder_of_a_medium(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("2", "enter")
        assert "an image library" in screen
        assert "a new library is made in this folder" in screen
        screen = await person.press("down", "enter")
        assert "in the library /media/usbdisk" in screen
        assert "READ, nothing is changed on it:" in screen
        await person.press("enter", "enter")
        assert submitted(backend).library == "/media/usbdisk"


async def test_a_folder_can_be_typed(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("2", "enter", "end", "enter")
        await person.type("/srv/images")
        await person.press("enter", "enter", "enter")
        assert submitted(backend).library == "/srv/images"


async def test_without_any_medium_the_screen_says_what_to_do(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_libraries=(), found_candidates=())) as person:
        assert "No writable disk or stick was found: plug one in and press l." in await person.press("2", "enter")


async def test_a_library_inside_what_is_saved_is_refused_in_words(sit_down: Sit) -> None:
    class Strict(FakeBackend):
        def plan_capture(self, disks: object, library: Path, label: str) -> CapturePlan:  # noqa: ARG002
            from imaging.errors import RefusedError

            raise RefusedError(f"{library} stands on sda", hint="choose another folder")

    async with sit_down(Strict()) as person:
        await person.press("2", "enter", "enter")
        assert "/media/stick/library stands on sda What to do: choose another folder" in person.words


async def test_the_result_of_a_backup_says_what_was_new(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("2", "enter", "enter", "enter", "enter")
        job = backend.known_jobs[0]
        assert isinstance(job, FakeJob)
        job.end(CAPTURED)
        person.app.screen.poll()  # type: ignore[attr-defined]
        await person.settle()
        assert "DONE" in person.screen
        assert "4,000 chunks, 9.0 GB compressed" in person.words
        assert "keep the medium with the library in a safe place" in person.words


async def test_a_usb_disk_comes_after_the_computers_own_which_is_marked(sit_down: Sit) -> None:
    plugged = replace(SDB, path="/dev/saa", transport="usb")
    async with sit_down(FakeBackend(found_disks=(plugged, SDA))) as person:
        screen = await person.press("2")
        assert "[x]  sda" in screen
        assert screen.index("[x]  sda") < screen.index("[ ]  saa")
