"""The images: their order, the filter, and what of an image is to be restored."""

from dataclasses import replace

import pytest

from imaging.manifest import Machine
from imaging.notes import Notes, Verification
from imaging.restoreplans import RestorePlan
from rescue.screens.images import row
from rescue.screens.menu import MenuScreen
from rescue.shelf import is_of
from tests.app.conftest import Sit
from tests.app.disks import GB, HERE, SDA, SDB
from tests.app.images import FakeDamaged, FakeListing, make_image, make_imaged_disk
from tests.app.machine import FakeBackend

OTHER = Machine(vendor="Lenovo", model="ThinkPad T14", serial="XYZ")


def three() -> FakeListing:
    """A newer image of another computer, and two of this one."""
    return FakeListing(
        images=(
            make_image("a", created="2026-11-21T00:00:00Z", label="laptop", machine=OTHER),
            make_image("b", created="2026-11-20T00:00:00Z", label="clean install"),
            make_image("c", created="2025-01-01T00:00:00Z", label="before the update"),
        ),
        damaged=(FakeDamaged(id="bad-1", problem="the manifest is cut short"),),
    )


async def test_images_of_this_computer_stand_first_the_newest_at_the_top(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(listing=three())) as person:
        screen = await person.press("1")
        places = [screen.index(words) for words in ("clean install", "before the update", "laptop", "DAMAGED")]
        assert places == sorted(places)
        assert "ThinkPad T14" in screen


@pytest.mark.parametrize(
    ("there", "same"),
    [
        (HERE, True),
        (replace(HERE, hostname="renamed"), True),
        (replace(HERE, serial="other"), False),
        (replace(HERE, serial=""), False),
    ],
)
def test_a_computer_is_known_by_its_serial_number(there: Machine, same: bool) -> None:
    assert is_of(HERE, make_image(machine=there)) is same


def test_computers_without_serial_numbers_are_the_same_where_all_else_is() -> None:
    bare = replace(HERE, serial="")
    assert is_of(bare, make_image(machine=bare))
    assert not is_of(bare, make_image(machine=replace(bare, hostname="else")))
    assert not is_of(Machine(), make_image(machine=Machine()))


async def test_the_filter_follows_what_is_typed_and_esc_shows_all_again_before_it_goes_back(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(listing=three())) as person:
        await person.press("1", "slash")
        assert person.focus == "filter"
        screen = await person.type("Thinkpad lap")
        assert "laptop" in screen
        assert "clean install" not in screen
        assert "DAMAGED" not in screen
        assert "Show only: [" in screen
        assert "] 1 of 3" in screen
        screen = await person.press("enter")
        assert person.focus == "images"
        assert "clean install" not in screen
        screen = await person.press("escape")
        assert "clean install" in screen
        assert "Show only" not in screen
        await person.press("escape")
        assert isinstance(person.app.screen, MenuScreen)


async def test_letters_in_the_filter_are_words_and_not_commands(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(listing=three())) as person:
        await person.press("1", "slash")
        screen = await person.type("lop")
        assert person.focus == "filter"
        assert "No image has these words. Esc shows all again." in screen
        await person.press("escape", "slash")
        assert "clean install" in person.screen


async def test_down_goes_from_the_filter_to_the_list_and_enter_chooses_what_is_shown(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(listing=three())) as person:
        await person.press("1", "slash")
        await person.type("update")
        await person.press("down", "enter")
        assert "Image: before the update" in person.screen


async def test_hundreds_of_images_are_listed_and_filtered(sit_down: Sit) -> None:
    images = tuple(make_image(f"i{n}", created=f"2026-01-01T00:{n % 60:02}:00Z", label=f"no {n}") for n in range(400))
    async with sit_down(FakeBackend(listing=FakeListing(images=images))) as person:
        await person.press("1", "slash")
        assert "] 1 of 400" in await person.type("no 399")
        await person.press("enter", "enter")
        assert "Image: no 399" in person.screen


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_long_and_hostile_labels_stay_in_their_column(sit_down: Sit, width: int) -> None:
    label = "[bold]\x1b[31m" + "very long " * 60
    machine = replace(OTHER, model="m" * 200)
    listing = FakeListing(images=(make_image(label=label, machine=machine), make_image("b", label="short")))
    async with sit_down(FakeBackend(listing=listing)) as person:
        await person.pilot.resize_terminal(width, 24)
        screen = await person.press("1")
        assert "\x1b" not in screen
        assert "[bold]?[" in screen
        heads, *lines = (line.rstrip() for line in screen.splitlines()[1:4])
        assert {len(line) for line in (heads, *lines)} == {width - 1}
        assert ("System" in heads) is (width >= 80)
        assert ("Verified" in heads) is (width >= 120)


def test_the_table_is_as_wide_as_the_screen_and_never_wider() -> None:
    for width in (60, 71, 72, 80, 132):
        assert len(row(("d" * 16, "l" * 99, "c" * 99, "s" * 99, "v" * 14, "x" * 11), width)) == width - 3


async def test_an_image_that_was_found_bad_says_so_and_when_it_was_verified(sit_down: Sit) -> None:
    notes = {"b": Notes(verified=Verification(when="2026-11-22T08:00:00Z", chunks=10, bad=3))}
    async with sit_down(FakeBackend(listing=replace(three(), notes=notes))) as person:
        screen = await person.press("1")
        assert "BAD clean install" in screen
        assert "Verified" in screen
        await person.pilot.resize_terminal(120, 24)
        await person.settle()
        assert "BAD 2026-11-22" in person.screen


async def test_of_several_disks_one_alone_can_be_restored(sit_down: Sit) -> None:
    image = make_image(disks=(make_imaged_disk("sda"), make_imaged_disk("nvme0n1", size=400 * GB)))
    backend = FakeBackend(listing=FakeListing(images=(image,)))
    async with sit_down(backend) as person:
        screen = await person.press("1", "enter")
        assert "Everything: 2 disks, 656.0 GB" in screen
        assert "Only the disk sda, 256.0 GB, CT256M550" in screen
        assert "Only one partition .." in screen
        await person.press("down", "down", "enter")
        assert "Disk in the image: nvme0n1 400.0 GB, CT256M550\n" in "\n".join(
            line.rstrip() for line in person.screen.splitlines()
        )
        await person.press("enter")
        assert person.screen.count("To erase it, type") == 1
        await person.type("sda")
        await person.press("enter", "enter")
        (plan,) = backend.submitted
        assert isinstance(plan, RestorePlan)
        assert [(pair.source.name, pair.target) for pair in plan.targets] == [("nvme0n1", SDA)]


async def test_one_partition_can_be_chosen_without_knowing_a_key(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await person.press("1", "enter")
        assert "Everything: the disk sda, 256.0 GB, CT256M550" in screen
        assert 'FAT "EFI", ext4 "debian"' in screen
        assert "Which partition shall be restored?" in await person.press("down", "enter")
        assert "What shall be restored?" in await person.press("escape")


async def test_an_image_that_holds_no_partition_offers_none(sit_down: Sit) -> None:
    image = make_image(disks=(replace(make_imaged_disk(), volumes=()),))
    async with sit_down(FakeBackend(listing=FakeListing(images=(image,)))) as person:
        assert "cannot be chosen: the image holds no partition" in await person.press("1", "enter")


async def test_restoring_the_newest_image_to_the_only_disk_takes_five_keys_and_the_name(sit_down: Sit) -> None:
    backend = FakeBackend(found_disks=(SDA, replace(SDB, read_only=True)))
    async with sit_down(backend) as person:
        await person.press("1", "enter", "enter", "enter")
        await person.type("sda")
        await person.press("enter", "enter")
        assert len(backend.submitted) == 1
