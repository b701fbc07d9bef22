"""Back up this computer: disks, library, label, progress and result."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Input

from imaging.disk import Disk
from imaging.errors import CancelledError, IoError
from imaging.forecast import Forecast
from imaging.imageplans import CapturePlan
from tests.app.conftest import Sit
from tests.app.disks import FAILING_HEALTH, GB, SDA, SDB, STICK
from tests.app.images import LIBRARY
from tests.app.jobs import CAPTURED, FakeJob
from tests.app.machine import FakeBackend


def submitted(backend: FakeBackend) -> CapturePlan:
    """The only plan that was submitted."""
    (plan,) = backend.submitted
    assert isinstance(plan, CapturePlan)
    return plan


async def test_several_disks_are_marked_with_the_space_bar(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("2")
        assert "[ ] sda" in screen
        assert "Press Space to mark a disk." in screen
        screen = await person.press("space", "down", "space")
        assert "[x] sda" in screen
        assert "[x] sdb" in screen
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
        assert "[ ] sda" in await person.press("2", "space", "space")


async def test_enter_takes_the_disk_under_the_cursor_where_none_is_marked(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("2", "down", "enter", "enter", "enter", "enter")
        assert submitted(backend).disks == (SDB,)


async def test_the_only_disk_that_can_be_saved_is_marked_already(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_disks=(STICK, SDA))) as person:
        assert "[x] sda" in await person.press("2")


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
        def plan_capture(self, disks: object, library: Path, *_: object, **__: object) -> CapturePlan:  # noqa: ARG002
            from imaging.errors import RefusedError

            raise RefusedError(f"{library} stands on sda", hint="choose another folder")

    async with sit_down(Strict()) as person:
        await person.press("2", "enter", "enter")
        assert "/media/stick/library stands on sda What to do: choose another folder" in person.words


async def test_what_is_stored_raw_is_said_with_the_reason_before_the_start(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await person.press("2", "enter", "enter")
        assert '1  536.9 MB  FAT "EFI"      53.7 MB used' in screen
        assert '2  499.5 GB  ext4 "debian"  49.9 GB used  (root)' in screen
        assert "(stored whole: it is encrypted)" in screen


async def test_each_level_has_its_size_and_time_beside_it(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await person.press("2", "enter", "enter")
        assert person.focus == "label"
        assert "Compression. Expected for 50.0 GB of data; 200.0 GB are free:" in screen
        assert "( ) fast    about 25.0 GB (16.7 GB to 50.0 GB)  about 4 min" in screen
        assert "(x) normal  about 16.7 GB (12.5 GB to 25.0 GB)  about 6 min" in screen
        assert "( ) small   about 12.5 GB (10.0 GB to 16.7 GB)  about 20 min" in screen
        assert "compression: normal" in screen
        assert "WARNING" not in screen


async def test_another_level_is_chosen_with_the_arrows_and_used(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("2", "enter", "enter", "tab", "down")
        assert "(x) small" in screen
        assert "( ) normal" in screen
        assert "compression: small" in screen
        await person.press("enter", "enter")
        assert submitted(backend).level == 9


async def test_a_level_without_room_is_warned_of_and_may_be_used(sit_down: Sit) -> None:
    backend = FakeBackend(room=13 * GB)
    async with sit_down(backend) as person:
        screen = await person.press("2", "enter", "enter")
        assert "WARNING: this will not fit: about 16.7 GB are needed, 13.0 GB are free" in screen
        screen = await person.press("tab", "down")
        assert "WARNING: this may not fit: it can take 16.7 GB, 13.0 GB are free" in screen
        await person.press("enter", "enter")
        assert submitted(backend).level == 9


async def test_a_backup_starts_without_waiting_for_the_forecast_which_is_then_given_up(sit_down: Sit) -> None:
    class Slow(FakeBackend):
        def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:  # noqa: ARG002
            self.calls.append("given up" if cancel.wait(60) else "still wanted")
            raise CancelledError("stopped because somebody asked")

    backend = Slow()
    async with sit_down(backend) as person:
        await person.press("2", "enter")
        await person.pilot.press("enter")
        await person.pilot.pause()
        assert "Compression. Looking at what is used .." in person.screen
        assert '2  499.5 GB  ext4 "debian"' in person.screen
        await person.pilot.press("enter", "enter")
        await person.settle()
        assert submitted(backend).level == 3
    assert backend.calls == ["given up"]


async def test_without_a_forecast_the_screen_says_why(sit_down: Sit) -> None:
    class Failing(FakeBackend):
        def forecast(self, plan: CapturePlan, cancel: threading.Event) -> Forecast:  # noqa: ARG002
            raise IoError("sda: reading at byte 0 failed: Input/output error")

    backend = Failing()
    async with sit_down(backend) as person:
        await person.press("2", "enter", "enter")
        assert "There is no forecast: sda: reading at byte 0 failed: Input/output error" in person.words
        await person.press("enter", "enter")
        assert submitted(backend).disks == (SDA,)


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
        assert "[x] sda" in screen
        assert screen.index("[x] sda") < screen.index("[ ] saa")


WITH_SYSTEM = {"/dev/sdb": {2: "Debian GNU/Linux 13 (trixie)"}}


async def test_the_disk_that_carries_the_operating_system_is_marked_already(sit_down: Sit) -> None:
    backend = FakeBackend(found_systems=WITH_SYSTEM)
    async with sit_down(backend) as person:
        screen = await person.press("2")
        assert "[ ] sda" in screen
        assert "[x] sdb" in screen
        assert "Marked: 1 disk, 2.0 TB. Press Enter to go on." in screen
        await person.press("enter", "enter", "enter", "enter")
        assert submitted(backend).disks == (SDB,)


async def test_a_system_on_a_plugged_disk_is_not_this_computers(sit_down: Sit) -> None:
    plugged = replace(SDB, transport="usb")
    async with sit_down(FakeBackend(found_disks=(plugged, SDA), found_systems=WITH_SYSTEM)) as person:
        screen = await person.press("2")
        assert "[x] sda" in screen
        assert "[ ] sdb" in screen


async def test_a_mark_of_the_persons_own_stays_when_the_systems_come_to_be_known(sit_down: Sit) -> None:
    known = threading.Event()

    class Slow(FakeBackend):
        def systems(self, disks: Iterable[Disk]) -> Mapping[str, Mapping[int, str]]:
            known.wait(60)
            return super().systems(disks)

    async with sit_down(Slow(found_systems=WITH_SYSTEM)) as person:
        await person.pilot.press("2")
        await person.until(lambda: "[ ] sda" in person.screen)
        await person.pilot.press("space")
        known.set()
        await person.settle()
        assert "[x] sda" in person.screen
        assert "[ ] sdb" in person.screen


async def test_disks_are_drawn_with_their_partitions_and_systems(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_systems={"/dev/sda": {2: "Debian GNU/Linux 13"}})) as person:
        assert "│1 EFI│2 Debian GNU/Linux 13" in await person.press("2")


async def test_a_failing_disk_is_said_in_the_list_and_before_the_start(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_health={"/dev/sda": FAILING_HEALTH})) as person:
        screen = await person.press("2")
        assert "Health: FAILING (sectors that cannot be read: 312)" in screen
        screen = await person.press("enter", "enter")
        assert "WARNING: sda is FAILING: sectors that cannot be read: 312" in screen
        assert "Save what matters most first." in screen


async def test_places_say_how_much_room_is_free(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "an image library, 200.0 GB free" in await person.press("2", "enter")


async def test_a_place_whose_room_is_not_known_says_nothing_of_it(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(room=None)) as person:
        screen = await person.press("2", "enter")
        assert "an image library" in screen
        assert "free" not in screen


async def test_a_share_is_connected_for_writing_and_the_cursor_stands_on_it(sit_down: Sit) -> None:
    mounted = Path("/run/rescue/shares/nas-backup")
    backend = FakeBackend(servers={"//nas/backup": mounted})
    async with sit_down(backend) as person:
        await person.press("2", "enter", "down", "down", "enter")
        await person.type("//nas/backup")
        await person.press("enter")
        await person.type("anna")
        await person.press("enter")
        await person.type("pa,ss")
        screen = await person.press("enter")
        assert "> /run/rescue/shares/nas-backup/rescue-library" in screen
        assert backend.calls == ["connect //nas/backup anna  rw"]
        await person.press("enter", "enter", "enter")
        assert submitted(backend).library == str(mounted / "rescue-library")


async def test_a_share_that_does_not_answer_is_told_and_the_places_stay(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        await person.press("2", "enter", "end", "enter")
        await person.type("nas:/backup")
        await person.press("enter")
        assert "nas does not answer" in person.words
        assert "an image library" in await person.press("enter")


async def test_the_check_of_file_systems_is_ticked_with_the_space_bar(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("2", "enter", "enter")
        assert "[ ] Check the file systems in the image afterwards" in screen
        screen = await person.press("tab", "tab", "space")
        assert "[x] Check the file systems in the image afterwards" in screen
        assert "CHECKED: the file systems in the new image" in screen
        await person.press("tab", "tab", "enter")
        assert submitted(backend).check
        assert submitted(backend).level == 3


@pytest.mark.parametrize("label", ["x" * 300, "[red]a[/] ~ $(reboot)"])
async def test_any_label_is_taken_as_it_is_typed(sit_down: Sit, label: str) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("2", "enter", "enter")
        person.app.screen.query_one("#label", Input).value = label
        await person.press("enter", "enter")
        assert submitted(backend).label == label


async def test_a_small_screen_shows_all_that_is_needed(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_health={"/dev/sda": FAILING_HEALTH}, room=13 * GB)) as person:
        await person.pilot.resize_terminal(60, 20)
        screen = await person.press("2", "enter", "enter")
        for words in (
            "Label: [",
            "( ) fast    about 25.0 GB",
            "(x) normal  about",
            "( ) small   about",
            "[ ] Check",
            "WARNING: this will not fit",
            "[ Start the backup ]",
        ):
            assert words in screen


async def test_only_some_partitions_of_a_disk_can_be_saved(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await person.press("2", "p")
        assert "sda  Samsung SSD 870" in screen
        assert '[x] 1  536.9 MB  FAT "EFI"' in screen
        assert '[x] 2  499.5 GB  ext4 "debian"  (root)' in screen
        screen = await person.press("space", "enter")
        assert "[x] sda" in screen
        assert "only partition 2" in screen
        screen = await person.press("enter", "enter")
        await person.press("enter", "enter")
        plan = submitted(backend)
        assert plan.disks == (SDA,)
        assert dict(plan.only) == {"/dev/sda": (2,)}


async def test_all_partitions_marked_again_mean_the_whole_disk(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await person.press("2", "p", "space", "enter", "p")
        assert "[ ] 1  536.9 MB" in person.screen
        screen = await person.press("space", "enter")
        assert "only partition" not in screen
        await person.press("enter", "enter", "enter", "enter")
        assert dict(submitted(backend).only) == {}


async def test_esc_changes_no_partitions_and_none_marked_is_not_taken(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await person.press("2", "p", "space", "down", "space", "enter")
        assert "Press Space to mark a partition." in screen
        screen = await person.press("escape")
        assert "[ ] sda" in screen
        assert "only partition" not in screen


async def test_a_disk_without_partitions_has_none_to_choose(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "choose the disks" in await person.press("2", "down", "p")
