"""Reset this computer: the factory images, a word where one was made for others, then a restore's own plan."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from imaging.disk import DiskId
from imaging.errors import RefusedError
from imaging.identities import NewIdentity
from imaging.imageplans import CapturePlan
from imaging.keptfiles import KeepRule, LeftPath
from imaging.manifest import Image
from imaging.notes import FactoryState, Notes
from imaging.orders import DiskMatch, Match
from imaging.restoreplans import RestorePlan, Wipe
from imaging.sanitize import Method, Sanitizer
from rescue.screens.reset import ResetPlanScreen
from rescue.widgets.act import Act
from rescue.widgets.toggle import Toggle
from tests.app.conftest import Person, Sit
from tests.app.disks import BUSY, EMPTY, SDA, SDB, STICK
from tests.app.images import LIBRARY, FakeListing, make_image, make_imaged_disk
from tests.app.machine import FakeBackend

OURS = FactoryState(name="Office", edition="2026", match=Match(vendor="Dell*", product="OptiPlex 7050"))
OTHERS = FactoryState(name="Notebooks", match=Match(product=("Book 7", "Book 8")))
PLAIN = make_image("plain", label="no factory image")


def backend(**states: FactoryState) -> FakeBackend:
    """One factory image for each, and one image that is none."""
    images = tuple(make_image(name, label=name) for name in states)
    noted = {name: Notes(factory=state) for name, state in states.items()}
    return FakeBackend(listing=FakeListing(images=(*images, PLAIN), notes=noted))


async def test_those_made_for_this_computer_stand_first_and_others_say_so(sit_down: Sit) -> None:
    async with sit_down(backend(others=OTHERS, ours=OURS)) as person:
        screen = await person.press("f")
        assert screen.index("Office, 2026") < screen.index("Notebooks")
        assert "NOT MADE FOR THIS COMPUTER, for: Book 7 or Book 8" in person.words
        assert "no factory image" not in screen
        assert "choose the disk to write to" in await person.press("enter")


async def test_one_for_other_computers_is_taken_after_a_word_alone(sit_down: Sit) -> None:
    async with sit_down(backend(others=OTHERS)) as person:
        assert "None of these was made for this computer" in await person.press("f")
        screen = await person.press("enter")
        assert "it may not start, or lack its drivers" in person.words
        assert "choose the disk" not in screen
        assert "Notebooks" in await person.press("enter")
        assert "choose the disk to write to" in await person.press("enter", "left", "enter")


async def test_the_rule_for_the_disk_leads_straight_to_the_plan(sit_down: Sit) -> None:
    state = replace(OURS, disk=DiskMatch(serial=SDA.id.serial))
    there = backend(ours=state)
    async with sit_down(there) as person:
        assert "What shall become of the files on this disk?" in await person.press("f", "enter")
        assert "Reset - read this before you go on" in await person.press("2")
        await person.type(SDA.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert [pair.target for pair in plan.targets] == [SDA]


async def test_where_the_rule_means_no_disk_or_several_a_person_chooses(sit_down: Sit) -> None:
    for rule in (DiskMatch(serial="none of these"), DiskMatch(min_size=1)):
        async with sit_down(backend(ours=replace(OURS, disk=rule))) as person:
            assert "choose the disk to write to" in await person.press("f", "enter")


async def test_where_it_does_not_fit_on_the_disk_of_the_rule_a_person_chooses(sit_down: Sit) -> None:
    there = backend(ours=replace(OURS, disk=DiskMatch(serial=SDA.id.serial)))
    there.refusal = RefusedError("the disk is too small", code="target-too-small")
    async with sit_down(there) as person:
        assert "choose the disk to write to" in await person.press("f", "enter")
    there.refusal = RefusedError("the image is doubtful", code="untrusted")
    async with sit_down(there) as person:
        assert "the image is doubtful" in await person.press("f", "enter")


async def test_without_a_factory_image_the_screen_says_what_to_do(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await person.press("f")
        assert "No factory image was found." in screen
        assert "Restore an image" in screen


async def test_what_is_there_is_saved_first_where_that_is_ticked(sit_down: Sit) -> None:
    there = backend(ours=replace(OURS, disk=DiskMatch(serial=SDA.id.serial)))
    there.safety = (LIBRARY,)
    async with sit_down(there) as person:
        screen = await person.press("f", "enter", "2")
        assert "[ ] Save what is there first" in screen
        assert "SAVED FIRST" not in screen
        screen = await person.press("tab", "space")
        assert "[x] Save what is there first: 25.0 GB at most" in screen
        assert f"SAVED FIRST: what is there now, as an image in the library {LIBRARY}" in person.words
        await person.press("space")
        assert "SAVED FIRST" not in person.screen
        await person.press("space", "shift+tab")
        await person.type(SDA.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.safety == str(LIBRARY)


async def test_where_no_library_has_room_nothing_is_saved_and_that_is_said(sit_down: Sit) -> None:
    there = FakeBackend(safety=(LIBRARY,), room=1)
    async with sit_down(there) as person:
        await person.press("1", "enter", "enter", "enter")
        screen = await person.press("tab", "space")
        assert "[ ] Save what is there first: no library here has room for it" in screen
        assert "SAVED FIRST" not in screen


async def test_without_a_library_that_can_take_it_nothing_is_offered(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "Save what is there first" not in await person.press("1", "enter", "enter", "enter")


async def test_the_last_restore_is_undone_onto_the_disk_that_was_saved(sit_down: Sit) -> None:
    saved = make_image("saved", disks=(replace(make_imaged_disk(), id=SDB.id),))
    older = make_image("older", created="2025-01-01T00:00:00Z")
    noted = {"saved": Notes(before="20261120T101500-office"), "older": Notes(before="x")}
    there = FakeBackend(listing=FakeListing(images=(saved, older), notes=noted))
    async with sit_down(there) as person:
        screen = await person.press("f")
        assert "Undo the last reset or restore" in screen
        assert "No factory image" not in screen
        assert "read this before you go on" in await person.press("enter")
        await person.type(SDB.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert (plan.image, [pair.target for pair in plan.targets]) == ("saved", [SDB])


def saved_in_part(identity: DiskId) -> FakeBackend:
    """A computer with a safety image of the second partition of a disk."""
    whole = make_imaged_disk(size=SDA.size)
    saved = make_image("saved", disks=(replace(whole, id=identity, volumes=whole.volumes[1:]),))
    return FakeBackend(listing=FakeListing(images=(saved,), notes={"saved": Notes(before="office")}))


async def test_partitions_that_were_saved_alone_come_back_alone(sit_down: Sit) -> None:
    there = saved_in_part(SDA.id)
    async with sit_down(there) as person:
        screen = await person.press("f", "enter")
        assert "KEPT: the partition table and 1 other partition" in screen
        await person.type("sda2")
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert [pair.names for pair in plan.targets] == [("sda2",)]


async def test_they_go_into_partitions_also_where_a_person_says_which_disk_it_was(sit_down: Sit) -> None:
    there = saved_in_part(DiskId(size=SDA.size))
    async with sit_down(there) as person:
        assert "Undo - choose the disk to write to" in await person.press("f", "enter")
        assert "KEPT: the partition table and 1 other partition" in await person.press("enter")


async def test_they_go_onto_a_blank_disk_with_their_table(sit_down: Sit) -> None:
    there = saved_in_part(DiskId(size=SDA.size, model="Other SSD", serial="AWAY-1"))
    there.found_disks = (SDB,)
    async with sit_down(there) as person:
        assert "it has no partitions" not in await person.press("f", "enter")
        assert "read this before you go on" in await person.press("enter")
        await person.type(SDB.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert [(pair.names, pair.target) for pair in plan.targets] == [(("sdb",), SDB)]


async def test_the_disk_that_was_saved_and_is_away_is_named(sit_down: Sit) -> None:
    there = saved_in_part(DiskId(size=SDA.size, model="Other SSD", serial="AWAY-1"))
    async with sit_down(there) as person:
        await person.press("f", "enter")
        assert "Saved from: Other SSD" in person.words
        assert "AWAY-1" in person.words
        assert "That disk is not known to be among these." in person.words


@pytest.mark.parametrize("void", [False, True])
async def test_what_undoes_nothing_is_not_offered(sit_down: Sit, void: bool) -> None:
    images = (make_image("saved"), make_image("office"))
    there = FakeBackend(listing=FakeListing(images=images, notes={"saved": Notes(before="office", void=void)}))
    async with sit_down(there) as person:
        assert ("Undo the last reset or restore" in await person.press("f")) is not void


async def test_the_disk_is_wiped_first_where_that_is_ticked(sit_down: Sit) -> None:
    there = backend(ours=replace(OURS, disk=DiskMatch(serial=SDA.id.serial)))
    async with sit_down(there) as person:
        assert "WIPED FIRST" not in await person.press("f", "enter", "2")
        screen = await person.press("tab", "tab", "space")
        assert "[x] Wipe the disk first" in screen
        assert "WIPED FIRST: the drive is told to forget all" in screen
        await person.press("shift+tab", "shift+tab")
        await person.type(SDA.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.wipe is Wipe.DISCARD


@pytest.mark.parametrize("method", [Method.NVME_BLOCK_ERASE, Method.ATA_SECURITY_ERASE])
async def test_a_drive_that_can_erases_itself_unless_that_takes_a_password(sit_down: Sit, method: Method) -> None:
    there = backend(ours=replace(OURS, disk=DiskMatch(serial=SDA.id.serial)))
    there.sanitizer = Sanitizer(method=method)
    async with sit_down(there) as person:
        await person.press("f", "enter", "2")
        screen = await person.press("tab", "tab", "space")
        itself = "erases itself, with what it keeps aside" in " ".join(screen.split())
        assert itself is not method.sets_password


async def test_what_is_confirmed_does_not_change_once_the_drive_has_answered(
    sit_down: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = backend(ours=replace(OURS, disk=DiskMatch(serial=SDA.id.serial)))
    there.sanitizer = Sanitizer(method=Method.NVME_BLOCK_ERASE)
    answer, sanitizers = threading.Event(), there.with_sanitizers

    def slow(plan: RestorePlan) -> RestorePlan:
        answer.wait(60)
        return structs.replace(sanitizers(plan), saved_in="/media/kept")

    monkeypatch.setattr(there, "with_sanitizers", slow)
    async with sit_down(there) as person:
        await person.press("f", "enter", "2")
        await person.pilot.press("tab", "tab", "space")
        await person.until(lambda: "The drive is being asked how it erases itself." in person.words)
        await person.pilot.press("shift+tab", "shift+tab", *SDA.id.serial, "enter", "enter")
        assert there.submitted == []
        answer.set()
        await person.settle()
        assert "is being asked" not in person.words
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert (plan.wipe, plan.saved_in) == (Wipe.SANITIZE, "/media/kept")


def office(**how: Any) -> FakeBackend:
    """One factory image, whose rule means the first disk."""
    there = backend(ours=replace(OURS, disk=DiskMatch(serial=SDA.id.serial)))
    for name, value in how.items():
        setattr(there, name, value)
    return there


async def test_keep_my_files_has_them_kept_in_three_keys(sit_down: Sit) -> None:
    there = office(safety=(LIBRARY,))
    async with sit_down(there) as person:
        screen = await person.press("f", "enter", "1")
        assert "[x] Keep the home folders of the system that is there" in screen
        assert "[ ] and accounts, networks" in screen
        assert "KEPT: 1,200 files, 4.0 GB" in person.words
        await person.type(SDA.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.keep is not None
        assert plan.keep.rules == (KeepRule.HOMES,)
        assert (plan.safety, plan.wipe) == (str(LIBRARY), Wipe.NONE)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"safety": (LIBRARY,), "room": 1},
        {"safety": (LIBRARY,), "kept": RefusedError("no system is known on sda", code="cannot-keep")},
    ],
    ids=["no library", "no room", "no system"],
)
async def test_where_files_cannot_be_kept_nothing_begins_until_a_person_chooses_otherwise(
    sit_down: Sit, how: dict[str, Any]
) -> None:
    there = office(**how)
    async with sit_down(there) as person:
        words = await person.press("f", "enter", "1")
        assert "no library here" in " ".join(words.split()) or "no system is known" in words
        assert "Your files cannot be kept. Esc goes back" in await person.press("enter")
        await person.type(SDA.id.serial)
        await person.press("enter", "enter")
        assert there.submitted == []
        box = person.app.screen.query_one("#keep", Toggle)
        if box.display:  # once more is no other wish
            box.focus()
            await person.press("space")
            assert "Your files cannot be kept. Esc goes back" in await person.press("enter")
            # Nor is a tick that is taken back while it is looked.
            await person.pilot.press("space", "space")
            await person.settle()
            while not isinstance(person.app.screen, ResetPlanScreen):
                await person.press("escape")
            assert "Your files cannot be kept. Esc goes back" in person.screen
        assert "What shall become of the files" in await person.press("escape")
        assert "cannot be kept" not in await person.press("2")
        await person.type(SDA.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.keep is None


def late(there: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Where what is there can be saved is answered once that is set."""
    answer, asked = threading.Event(), there.plan_safety

    def slow(plan: RestorePlan) -> Sequence[CapturePlan]:
        answer.wait(60)
        return asked(plan)

    monkeypatch.setattr(there, "plan_safety", slow)
    return answer


async def test_nothing_can_be_confirmed_while_it_is_looked_where_files_can_be_kept(
    sit_down: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = office(safety=(LIBRARY,))
    answer = late(there, monkeypatch)
    async with sit_down(there) as person:
        await person.press("f", "enter")
        await person.pilot.press("1")
        await person.until(lambda: "What is to be kept is being looked for." in person.words)
        await person.pilot.press(*SDA.id.serial, "enter", "enter")
        assert there.submitted == []
        answer.set()
        await person.settle()
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.keep is not None


async def test_remove_everything_and_erase_has_the_disk_wiped_by_the_best_that_it_can(sit_down: Sit) -> None:
    there = office(sanitizer=Sanitizer(method=Method.NVME_BLOCK_ERASE))
    async with sit_down(there) as person:
        screen = await person.press("f", "enter", "3")
        assert "[x] Wipe the disk first" in screen
        assert "erases itself, with what it keeps aside" in " ".join(screen.split())
        await person.type(SDA.id.serial)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.wipe is Wipe.SANITIZE


async def test_of_an_empty_disk_nothing_is_asked_and_what_waits_is_kept(sit_down: Sit) -> None:
    empty = replace(SDA, table=EMPTY)
    begun = replace(empty, unfinished="before", saved="saved", keeps=("homes",))
    for disk, keys in ((empty, ()), (begun, ("down", "down"))):  # what was cut off stands first
        async with sit_down(office(found_disks=(STICK, disk))) as person:
            assert "Reset - read this before you go on" in await person.press("f", *keys, "enter")
            assert ("[x] Keep the home folders" in person.screen) is bool(keys)


async def test_the_disk_is_chosen_first_and_then_what_becomes_of_its_files(sit_down: Sit) -> None:
    async with sit_down(backend(ours=OURS)) as person:
        assert "Reset - choose the disk to write to" in await person.press("f", "enter")
        assert "What shall become of the files" in await person.press("enter")


async def to_the_plan(person: Person) -> str:
    """The plan's screen, the focus on the box for what is kept."""
    await person.press("1", "enter", "enter", "enter")
    return await person.press("tab", "tab")


async def test_home_folders_are_kept_where_that_is_ticked(sit_down: Sit) -> None:
    there = FakeBackend(safety=(LIBRARY,))
    async with sit_down(there) as person:
        screen = await to_the_plan(person)
        assert "[ ] Keep the home folders of the system that is there" in screen
        assert "and accounts" not in screen
        screen = await person.press("space")
        assert "[x] Keep the home folders of the system that is there" in screen
        assert "[ ] and accounts, networks" in screen
        assert "[ ] Save what is there first" not in screen
        assert "KEPT: 1,200 files, 4.0 GB" in person.words
        assert "/home/anna" in person.words
        assert "all else of the old system is lost" in person.words
        assert "accounts: anna" in await person.press("tab", "space")
        await person.press("shift+tab", "shift+tab")
        name = SDA.name
        await person.type(name)
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.keep is not None
        assert plan.keep.rules == tuple(KeepRule)
        assert plan.safety == str(LIBRARY)


async def test_of_windows_people_s_folders_are_kept_and_nothing_else_is_offered(sit_down: Sit) -> None:
    left = (LeftPath(path="/Users/anna/OneDrive/film", why="files that are only in the cloud"),)
    async with sit_down(FakeBackend(safety=(LIBRARY,), left=left)) as person:
        await to_the_plan(person)
        screen = await person.press("space")
        assert "[x] Keep the home folders of the system that is there" in screen
        assert "and accounts, networks" not in screen
        assert "1 file is encrypted by Windows (EFS)" in person.words
        assert "NOT KEPT of them: 1" in person.words
        assert "/Users/anna/OneDrive/film: files that are only in the cloud" in person.words
        assert "accounts are those of the image" in person.words


async def test_unticked_again_nothing_is_kept_or_saved(sit_down: Sit) -> None:
    there = FakeBackend(safety=(LIBRARY,))
    async with sit_down(there) as person:
        await to_the_plan(person)
        screen = await person.press("space", "space")
        assert "KEPT" not in screen
        assert "SAVED FIRST" not in screen
        assert "[ ] Save what is there first" in screen
        assert "and accounts" not in screen


async def test_why_nothing_can_be_kept_is_told(sit_down: Sit) -> None:
    reason = RefusedError("sda has no system on Linux whose files could be kept", code="cannot-keep", hint="copy them")
    async with sit_down(FakeBackend(safety=(LIBRARY,), kept=reason)) as person:
        await to_the_plan(person)
        screen = await person.press("space")
        assert "sda has no system on Linux whose files could be kept" in screen
        screen = await person.press("enter")
        assert "[ ] Keep the home folders: that cannot be" in screen
        assert "[ ] Save what is there first" in screen


async def test_without_room_for_what_is_there_nothing_is_kept(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(safety=(LIBRARY,), room=1)) as person:
        await to_the_plan(person)
        assert "no library here has room for what is there" in await person.press("space")


async def test_what_a_restore_that_was_cut_off_was_to_keep_is_ticked(sit_down: Sit) -> None:
    begun = replace(SDA, unfinished="before", saved="saved", keeps=("homes", "accounts"))
    there = FakeBackend(found_disks=(STICK, BUSY, begun, SDB))
    async with sit_down(there) as person:
        screen = await person.press("1", "enter", "enter", "enter")
        assert "[x] Keep the home folders" in screen
        assert "[x] and accounts" in screen
        assert "they wait in image saved in" in person.words


async def test_a_computer_that_is_put_back_is_offered_no_other_identity(sit_down: Sit) -> None:
    """It would stay no more the one that it is, and its files would not be kept."""
    for keys in (("f", "enter", "1"), ("1", "enter", "enter", "enter")):
        async with sit_down(office(safety=(LIBRARY,), found_identity=NewIdentity())) as person:
            assert ("An identity of its own" in await person.press(*keys)) is (keys[0] == "1")


def laid_out_as_sda() -> Image:
    """A factory image with the partitions of the first disk."""
    disk = make_imaged_disk()
    pairs = zip(disk.volumes, SDA.table.partitions, strict=True)
    volumes = tuple(replace(volume, start=part.start, size=part.size) for volume, part in pairs)
    like_it = replace(disk, id=replace(disk.id, size=SDA.size), table=SDA.table, volumes=volumes)
    return make_image("ours", disks=(like_it,))


async def test_home_folders_on_a_partition_of_their_own_stay_where_they_are(sit_down: Sit) -> None:
    there = office(homes_on=(2,), safety=(LIBRARY,))
    there.listing = FakeListing(images=(laid_out_as_sda(),), notes=there.listing.notes)
    async with sit_down(there) as person:
        screen = await person.press("f", "enter", "1")
        assert "Reset - read this before you go on" in screen
        assert "KEPT: the partition table and 1 other partition" in person.words
        assert "[x] Save what is there first: " in screen
        assert "ERASED : sda1, this one partition of" in person.words
        await person.type("sda1")
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert [part.partition for part in plan.targets[0].partitions] == [1]
        assert (plan.keep, plan.wipe, plan.safety) == (None, Wipe.NONE, str(LIBRARY))


async def test_where_they_cannot_stay_the_reason_is_told_and_another_way_can_be_chosen(sit_down: Sit) -> None:
    there = office(homes_on=(7,))
    async with sit_down(there) as person:
        assert "sda has no partition 7 to keep" in await person.press("f", "enter", "1")
        assert "Looking where" not in await person.press("enter")
        assert "Reset - read this before you go on" in await person.press("2")


async def test_a_button_that_is_not_shown_cannot_be_reached_or_pressed(sit_down: Sit) -> None:
    there = office(safety=(LIBRARY,))
    async with sit_down(there) as person:
        await person.press("f", "enter", "1")
        await person.type(SDA.id.serial)
        await person.press("enter", "right")
        assert [act.id for act in person.app.screen.query(Act) if act.has_focus] == ["sizes"]
        person.app.screen.query_one("#without", Act).action_press()
        await person.settle()
        assert "[x] Keep the home folders" in person.screen
        assert there.submitted == []
        assert "the sizes of the partitions" in await person.press("enter")
        assert there.submitted == []


async def test_beside_home_folders_that_stay_it_is_waited_for_what_is_saved(
    sit_down: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = office(homes_on=(2,), safety=(LIBRARY,))
    there.listing = FakeListing(images=(laid_out_as_sda(),), notes=there.listing.notes)
    answer = late(there, monkeypatch)
    async with sit_down(there) as person:
        await person.press("f", "enter")
        await person.pilot.press("1")
        await person.until(lambda: "What is to be kept is being looked for." in person.words)
        await person.pilot.press(*"sda1", "enter", "enter")
        assert there.submitted == []
        answer.set()
        await person.settle()
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.safety == str(LIBRARY)


@pytest.mark.parametrize("how", [{}, {"safety": (LIBRARY,), "room": 1}], ids=["no library", "no room"])
async def test_beside_home_folders_that_stay_nothing_is_saved_where_there_is_no_room(
    sit_down: Sit, how: dict[str, Any]
) -> None:
    there = office(homes_on=(2,), **how)
    there.listing = FakeListing(images=(laid_out_as_sda(),), notes=there.listing.notes)
    async with sit_down(there) as person:
        assert "SAVED FIRST" not in await person.press("f", "enter", "1")
        await person.type("sda1")
        await person.press("enter", "enter")
        (plan,) = there.submitted
        assert isinstance(plan, RestorePlan)
        assert plan.safety == ""
