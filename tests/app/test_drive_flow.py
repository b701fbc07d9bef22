"""Create a recovery drive: what goes on it, which stick, update or anew; more room, and the check of this one."""

import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from imaging.bootcheck import BootState, State
from imaging.disk import Role
from imaging.errors import BadImageError, CancelledError
from imaging.mediumcheck import Advance, Examined, Finding, Kind
from imaging.recoveryplans import MediaGrowPlan, MediaPlan
from imaging.restoreplans import RestorePlan
from imaging.signingkeys import PublicKey
from rescue.screens import menu, restore
from rescue.screens.drivetargets import AskWay
from rescue.screens.menu import MenuScreen
from rescue.screens.progress import ProgressScreen
from rescue.screens.restore import RestorePlanScreen
from tests.app.conftest import Person, Sit
from tests.app.disks import SDA, STICK
from tests.app.drives import BLANK_STICK, BUILT, OLD_DRIVE, WHOLE, make_medium
from tests.app.idle import PATIENCE
from tests.app.images import FakeListing, make_image
from tests.app.machine import FakeBackend
from tests.app.scenes import aged, checking, damaged, from_memory, with_sticks

IMAGE = make_image()


def last_plan(backend: FakeBackend) -> MediaPlan:
    """The one job that was started."""
    (plan,) = backend.submitted
    assert isinstance(plan, MediaPlan)
    return plan


async def test_it_is_said_in_two_sentences_what_a_recovery_drive_is(sit_down: Sit) -> None:
    async with sit_down(with_sticks()) as person:
        await person.press("c")
        assert "A recovery drive starts a computer whose own system does not start any more" in person.words
        assert "Rescue 0.1.0, built on 2026-11-20 (build 0123456789ab), 209.7 MB" in person.words
        assert "29.0 GB of sdc are not used yet" in person.words
        assert "it is whole: checked when the computer was started" in person.words


async def test_the_system_alone_makes_a_drive_that_is_named_before_it_is_erased(sit_down: Sit) -> None:
    backend = with_sticks()
    async with sit_down(backend) as person:
        await person.press("c", "enter", "enter", "enter")
        assert "ERASED : sde Cruzer serial 4C99 64.0 GB usb" in person.words
        assert "1 Rescue│3 images 63.6 GB" in person.words
        await person.press("enter")
        assert person.focus != "create"
        await person.type("sdx")
        await person.press("enter")
        assert "That is not the name of this disk. Nothing was written." in person.words
        await person.press(*["backspace"] * 3)
        await person.type("sde")
        await person.press("enter")
        assert person.focus == "create"
        assert backend.submitted == []
        await person.press("enter")
        assert isinstance(person.app.screen, ProgressScreen)
    plan = last_plan(backend)
    assert (plan.target, plan.images, plan.factory, plan.update) == (BLANK_STICK, (), "", False)


async def test_images_are_marked_with_what_they_take_and_one_is_the_factory_image(sit_down: Sit) -> None:
    backend = with_sticks()
    other = make_image("other", label="other", created="2025-01-01T00:00:00Z")
    backend.listing = FakeListing(images=(IMAGE, other))
    async with sit_down(backend) as person:
        await person.press("c", "enter", "down", "space")
        assert "On it: the system, 209.7 MB; 1 image, 9.0 GB." in person.words
        assert "A stick of 9.5 GB or more is needed." in person.words
        await person.press("down", "f")
        assert "FACTORY other" in person.words
        assert "2 images, 18.0 GB" in person.words
        await person.press("enter", "enter")
        await person.type("sde")
        await person.press("enter", "enter")
    plan = last_plan(backend)
    assert {one.image for one in plan.images} == {IMAGE.id, "other"}
    assert plan.factory == "other"


async def test_a_drive_says_whom_it_trusts_and_an_image_of_nobody_trusted_has_to_be_accepted(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.strict, backend.trusted_by_media = True, (PublicKey(raw=bytes(32), name="Anna, backups"),)
    async with sit_down(backend) as person:
        screen = await person.press("c", "enter", "down", "space", "enter", "enter")
        assert "NOT TRUSTED: it is not signed" in screen
        assert "To use it all the same, type accept: [" in screen
        assert "TRUSTED: from this medium only images are restored" in person.words
        assert "Anna, backups (" in person.words
        await person.type("accept")
        await person.press("enter")
        await person.type("sde")
        await person.press("enter", "enter")
    assert last_plan(backend).accept_unsigned


async def test_an_image_that_is_not_marked_any_more_is_no_factory_image(sit_down: Sit) -> None:
    async with sit_down(with_sticks()) as person:
        await person.press("c", "enter", "down", "f")
        assert "[x] 2026-11-20 10:15 FACTORY clean install" in person.words
        await person.press("space")
        assert "FACTORY" not in person.words
        assert "On it: the system, 209.7 MB." in person.words


async def test_the_factory_image_of_a_library_is_one_on_the_drive_and_is_seen_in_each_list(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.factory = IMAGE.id
    async with sit_down(backend) as person:
        assert "FACTORY clean" in await person.press("1")
        await person.press("escape")
        assert "FACTORY clean" in await person.press("3")
        await person.press("escape", "c", "enter")
        assert "FACTORY" not in person.words
        assert "FACTORY clean install" in await person.press("down", "space")
        await person.press("enter", "enter")
        await person.type("sde")
        await person.press("enter", "enter")
    assert last_plan(backend).factory == IMAGE.id


async def test_a_mark_that_cannot_be_read_hides_no_image(sit_down: Sit) -> None:
    class Spoilt(FakeBackend):
        """Its factory.json is damaged."""

        def factory_image(self, library: Path) -> str:
            raise BadImageError(f"{library}/factory.json names no image")

    async with sit_down(Spoilt()) as person:
        assert "clean install" in await person.press("1")
        await person.press("escape", "3")
        assert "factory.json names no image" in person.words


async def test_without_images_it_is_said_what_to_plug_in(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.found_libraries = ()
    async with sit_down(backend) as person:
        await person.press("c", "enter")
        assert "No images were found: plug in the disk or stick that holds them" in person.words
        assert "A stick of 210.8 MB or more is needed." in person.words


async def test_the_system_cannot_be_left_out(sit_down: Sit) -> None:
    async with sit_down(with_sticks()) as person:
        await person.press("c", "enter", "space")
        assert "[x] The recovery system, 209.7 MB (always)" in person.words


async def test_marks_stay_while_a_filter_hides_them(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.listing = FakeListing(images=(IMAGE, make_image("other", label="lab", created="2025-01-01T00:00:00Z")))
    async with sit_down(backend) as person:
        await person.press("c", "enter", "down", "space", "slash")
        await person.type("lab")
        assert "clean install" not in person.words
        assert "1 image, 9.0 GB" in person.words
        await person.press("enter", "down", "space", "escape")
        assert "2 images, 18.0 GB" in person.words
        await person.press("enter", "enter")
        await person.type("sde")
        await person.press("enter", "enter")
    assert {one.image for one in last_plan(backend).images} == {IMAGE.id, "other"}


async def test_what_cannot_be_chosen_is_shown_with_the_reason_and_fixed_disks_are_marked(sit_down: Sit) -> None:
    async with sit_down(with_sticks()) as person:
        await person.press("c", "enter", "enter")
        words = person.words
        assert "it is too small: 210.8 MB (210,763,776 bytes) are needed, it has 134.2 MB" in words
        assert "this computer was started from it" in words
        assert "it is in use: /dev/sdd2 is mounted at /srv/data" in words
        assert "a recovery drive: Rescue 0.0.9, built on 2025-10-01" in words
        assert "a FIXED DISK of this computer, not a stick" in words
        assert words.index("sde Cruzer") < words.index("sdf DataTraveler") < words.index("sda Samsung")


async def test_a_recovery_drive_is_updated_or_made_anew_as_the_person_says(sit_down: Sit) -> None:
    backend = with_sticks()
    async with sit_down(backend) as person:
        await person.press("c", "enter", "enter", "down", "enter")
        assert isinstance(person.app.screen, AskWay)
        assert "sdf is a recovery drive: Rescue 0.0.9, built on 2025-10-01." in person.words
        assert person.focus == "update"
        await person.press("escape")
        assert "choose the stick" in person.words
        await person.press("enter", "enter")
        assert "UPDATED : the recovery medium sdf" in person.words
        assert "KEPT: the images that are on it, in 30.0 GB" in person.words
        assert "To update it, type sdf or E0D5" in person.words
        await person.type("E0D5")
        await person.press("enter", "enter")
    plan = last_plan(backend)
    assert (plan.target, plan.update, plan.images_start) == (OLD_DRIVE, True, 384 << 20)


async def test_a_damaged_recovery_drive_is_mended_by_an_update(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.found_media = {}
    async with sit_down(backend) as person:
        await person.press("c", "enter", "enter", "down")
        assert "a recovery drive that is damaged" in person.words
        await person.press("enter")
        assert "sdf is a recovery drive that is damaged." in person.words
        await person.press("enter")
        assert "KEPT: the images that are on it" in person.words


async def test_a_recovery_drive_that_is_made_anew_loses_its_images(sit_down: Sit) -> None:
    async with sit_down(with_sticks()) as person:
        await person.press("c", "enter", "enter", "down", "enter", "right", "enter")
        assert "ERASED : sdf DataTraveler" in person.words
        assert "KEPT" not in person.words


async def test_a_drive_that_holds_a_library_is_only_updated(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.found_disks = (replace(OLD_DRIVE, roles=(Role.LIBRARY,)),)
    async with sit_down(backend) as person:
        await person.press("c", "enter", "enter", "enter")
        assert "UPDATED : the recovery medium sdf" in person.words


async def test_a_stick_that_holds_a_library_and_is_no_recovery_drive_cannot_be_chosen(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.found_disks = (replace(BLANK_STICK, roles=(Role.LIBRARY,)),)
    async with sit_down(backend) as person:
        await person.press("c", "enter", "enter")
        assert "it holds the image library" in person.words
        await person.press("enter")
        assert "choose the stick" in person.words


async def test_without_a_stick_it_is_said_to_plug_one_in(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.found_disks = (STICK, SDA)
    async with sit_down(backend) as person:
        assert "No stick was found that it fits on: plug one in" in await person.press("c", "enter", "enter")
        backend.found_disks = (STICK, SDA, BLANK_STICK)
        assert "No stick was found" not in await person.press("l")


async def test_without_a_system_to_copy_it_is_said_why(sit_down: Sit) -> None:
    backend = FakeBackend(system=None, medium_state=BootState())
    async with sit_down(backend) as person:
        await person.press("c")
        assert "there is no recovery system What to do: start from a recovery drive" in person.words
        assert "Check this recovery drive" not in person.words
        await person.press("enter")
        assert "what goes on it" not in person.words


async def test_a_damaged_drive_makes_no_others_and_says_what_is_wrong(sit_down: Sit) -> None:
    async with sit_down(damaged()) as person:
        assert "DAMAGED: this recovery drive cannot be trusted, and restores nothing." in person.words
        await person.press("c")
        assert "this recovery drive is damaged, and so would be its copy" in person.words
        assert "Use all of this drive" not in person.words
        await person.press("enter")
        assert "rescue/root.squashfs is damaged" in person.words
        assert "What to do: make a new recovery drive" in person.words


@pytest.mark.parametrize("way", [("c", "down", "enter"), ("2", "enter", "up", "enter")])
async def test_room_that_is_not_used_is_offered_and_nothing_is_typed_for_it(
    sit_down: Sit, way: tuple[str, ...]
) -> None:
    backend = with_sticks()
    async with sit_down(backend) as person:
        await person.press(*way)
        assert "ENLARGED: its partition for images, from 2.0 GB to 31.0 GB" in person.words
        assert person.focus == "back"
        await person.press("enter")
        assert backend.submitted == []
        await person.press("enter", "right", "enter")
        assert isinstance(person.app.screen, ProgressScreen)
    (plan,) = backend.submitted
    assert isinstance(plan, MediaGrowPlan)


async def test_the_running_drive_is_checked_again_when_that_is_asked_for(sit_down: Sit) -> None:
    backend = with_sticks()
    about = make_medium(STICK.path).about
    hint = "make a new recovery medium"
    finding = Finding(kind=Kind.DAMAGED, message="EFI/BOOT/BOOTX64.EFI is missing", hint=hint)
    backend.examined = Examined(path=STICK.path, about=about, findings=(finding,), bytes=200 << 20)
    async with sit_down(backend) as person:
        await person.press("c", "down", "down", "enter")
        assert "GOOD: all of it was read, and is what it was when it was made." in person.words
        await person.press("c")
        assert backend.calls == ["check medium"]
        assert "DAMAGED: EFI/BOOT/BOOTX64.EFI is missing" in person.words
        assert "GOOD" not in person.words
        backend.examined = BadImageError("/dev/sdc is not a recovery medium", hint="plug it in again")
        await person.press("c")
        assert "/dev/sdc is not a recovery medium What to do: plug it in again" in person.words


async def test_leaving_the_screen_stops_the_check_that_was_asked_for(sit_down: Sit) -> None:
    stopped = threading.Event()

    class Thorough(FakeBackend):
        """Its check goes on until it is stopped."""

        def check_medium(self, advance: Advance, cancel: threading.Event) -> Examined:
            advance(50 << 20, 200 << 20)
            assert cancel.wait(PATIENCE)
            stopped.set()
            raise CancelledError("stopped because somebody asked")

    async with sit_down(Thorough()) as person:
        await person.press("c", "down", "enter")
        await person.pilot.press("c")
        await person.pilot.press("escape")
        await person.until(stopped.is_set)


async def restore_plan_screen(person: Person) -> RestorePlanScreen:
    """The last screen of a restore, the name typed."""
    await person.press("1", "enter", "enter", "enter")
    await person.type("sda")
    screen = person.app.screen
    assert isinstance(screen, RestorePlanScreen)
    return screen


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last screen of a restore looks at the check of the medium only when it is told to."""
    monkeypatch.setattr(restore, "WATCH", 3600.0)


@pytest.mark.usefixtures("by_hand")
async def test_a_restore_waits_for_the_check_and_goes_on_as_soon_as_it_is_done(sit_down: Sit) -> None:
    backend = checking()
    async with sit_down(backend) as person:
        screen = await restore_plan_screen(person)
        await person.press("enter")
        assert "Wait a moment: this recovery drive is being checked first, 45 %." in person.words
        assert person.focus != "restore"
        backend.medium_state = WHOLE
        screen.show_medium()
        await person.settle()
        assert "Wait a moment" not in person.words
        await person.press("enter", "enter")
    (plan,) = backend.submitted
    assert isinstance(plan, RestorePlan)


@pytest.mark.usefixtures("by_hand")
async def test_a_check_that_finds_damage_while_a_restore_waits_stops_it(sit_down: Sit) -> None:
    backend = checking()
    async with sit_down(backend) as person:
        screen = await restore_plan_screen(person)
        backend.medium_state = damaged().medium_state
        screen.show_medium()
        await person.settle()
        await person.press("enter", "tab", "tab", "enter")
        assert "This recovery drive is damaged: it must not write to a disk." in person.words
        assert "rescue/root.squashfs is damaged" in person.words
    assert backend.submitted == []


async def test_a_medium_that_was_not_checked_hinders_no_restore(sit_down: Sit) -> None:
    backend = with_sticks()
    backend.medium_state = BootState()
    async with sit_down(backend) as person:
        await restore_plan_screen(person)
        await person.press("enter", "enter")
    assert len(backend.submitted) == 1


async def test_the_menu_tells_of_an_old_drive_and_of_one_in_memory(sit_down: Sit) -> None:
    async with sit_down(aged()) as person:
        assert "OLD: this recovery drive was built over a year ago: make a new one." in person.words
    async with sit_down(from_memory()) as person:
        assert "Started from memory: the stick may be pulled out" in person.words


async def test_the_menu_tells_of_a_check_only_where_that_takes_long(
    sit_down: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sit_down(checking()) as person:
        assert "is being checked" not in person.words
    monkeypatch.setattr(menu, "SOON", 0.0)
    backend = checking()
    async with sit_down(backend) as person:
        screen = person.app.screen
        assert isinstance(screen, MenuScreen)
        screen.watch_jobs()
        await person.settle()
        assert "This recovery drive is being checked: 45 %" in person.words
        backend.medium_state = BootState(state=State.GOOD, built=BUILT)
        screen.watch_jobs()
        await person.settle()
        assert "is being checked" not in person.words


async def test_the_bytes_of_a_check_that_is_still_to_be_counted_do_no_harm(sit_down: Sit) -> None:
    backend = checking()
    backend.medium_state = msgspec.structs.replace(backend.medium_state, done=0, total=0)
    async with sit_down(backend) as person:
        await restore_plan_screen(person)
        assert "this recovery drive is being checked first, .." in person.words
