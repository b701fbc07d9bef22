"""A reset that was cut off: the main menu says so, and it is completed or undone before anything else."""

from dataclasses import replace

from msgspec import structs

from imaging.changes import Growth
from imaging.errors import RefusedError
from imaging.keptfiles import KeepRule
from imaging.restoreplans import RestorePlan, Wipe
from imaging.resuming import CutOff
from imaging.unfinished import Manner
from rescue.widgets.act import Act
from rescue.widgets.toggle import Toggle
from tests.app.conftest import Person, Sit
from tests.app.disks import BUSY, SDA, SDB, STICK
from tests.app.images import FakeListing, make_image, make_imaged_disk
from tests.app.machine import FakeBackend

BEGUN = replace(
    SDA,
    unfinished="factory",
    saved="saved",
    keeps=("homes", "accounts"),
    manner=Manner(version=1, disk="sda", wipe="overwrite"),
)


def cut(**changes: object) -> FakeBackend:
    """A computer whose reset was cut off."""
    begun = replace(BEGUN, **changes)  # type: ignore[arg-type]
    images = (make_image("factory"), make_image("saved"))
    return FakeBackend(found_disks=(STICK, BUSY, begun, SDB), listing=FakeListing(images=images))


async def confirmed(person: Person, there: FakeBackend) -> RestorePlan:
    """The plan that is started once the disk's name was typed."""
    await person.type(SDA.name)
    await person.press("enter", "enter")
    (plan,) = there.submitted
    assert isinstance(plan, RestorePlan)
    return plan


async def test_the_menu_says_so_above_all_else_and_f_completes_it(sit_down: Sit) -> None:
    there = cut()
    async with sit_down(there) as person:
        told = "The reset of sda was CUT OFF. Press f to complete it, or to undo it."
        assert told in person.screen
        assert person.screen.index(told) < person.screen.index("Computer")
        screen = await person.press("f")
        assert screen.index("Complete the restore of sda, which was cut off") < screen.index("Undo it: bring back")
        assert "come from image saved" in person.words
        screen = await person.press("enter")
        assert "read this before you go on" in screen
        assert "[x] Keep the home folders" in screen
        plan = await confirmed(person, there)
        assert (plan.image, plan.wipe) == ("factory", Wipe.OVERWRITE)
        assert plan.keep is not None
        assert plan.keep.rules == (KeepRule.HOMES, KeepRule.ACCOUNTS), "those that it was to keep, and no others"
        assert (plan.keep.image, plan.safety) == ("saved", "")


async def test_it_is_undone_from_what_was_saved(sit_down: Sit) -> None:
    there = cut()
    async with sit_down(there) as person:
        await person.press("f", "down", "enter")
        plan = await confirmed(person, there)
        assert (plan.image, plan.keep) == ("saved", None)
        assert [pair.target.path for pair in plan.targets] == [SDA.path]


async def test_what_was_not_saved_can_be_completed_alone(sit_down: Sit) -> None:
    async with sit_down(cut(saved="", keeps=())) as person:
        assert "The restore of sda was CUT OFF. Press f to complete it." in person.screen
        assert "Undo it" not in await person.press("f")


async def test_where_nothing_was_cut_off_nothing_is_said(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "CUT OFF" not in person.screen
        assert "Complete the restore" not in await person.press("f")


async def test_the_image_that_no_library_has_is_named(sit_down: Sit) -> None:
    async with sit_down(cut(unfinished="elsewhere")) as person:
        await person.press("f", "enter")
        assert "image elsewhere is in none of the libraries here" in person.words


async def test_of_several_disks_those_without_a_mark_are_asked_for(sit_down: Sit) -> None:
    there = cut(saved="", keeps=(), manner=Manner(version=1, disk="sda", disks=2))
    two = (make_imaged_disk("sda"), make_imaged_disk("sdb"))
    there.listing = FakeListing(images=(make_image("factory", disks=two),))
    async with sit_down(there) as person:
        screen = await person.press("f", "enter")
        assert "choose the disk to write to" in screen
        assert "Disk in the image: sdb" in screen
        assert "already chosen for disk sda" in person.words


async def test_a_filter_shows_images_alone(sit_down: Sit) -> None:
    async with sit_down(cut()) as person:
        await person.press("f", "slash")
        assert "Complete the restore" not in await person.type("nothing of that name")


async def test_what_cannot_be_brought_back_is_not_left_out_unless_a_person_says_so(sit_down: Sit) -> None:
    """Its image cannot be read, say: completed without it would not be what the reset was to be."""
    there = cut()
    there.kept = RefusedError("image saved is damaged", code="bad-image")
    async with sit_down(there) as person:
        screen = await person.press("f", "enter")
        assert "What was to be kept cannot be." in screen
        await person.press("enter")
        await person.type(SDA.name)
        await person.press("enter", "enter")
        assert there.submitted == []
        box = person.app.screen.query_one("#keep", Toggle)
        box.focus()
        await person.press("space")
        assert "image saved is damaged" in person.screen
        assert "What was to be kept cannot be." in await person.press("enter")
        person.app.screen.query_one("#without", Act).focus()
        await person.press("enter")
        assert there.submitted == []
        assert "What was to be kept cannot be." not in person.screen
        assert "NOT KEPT: files that an earlier restore" in person.words


async def test_the_partition_that_grows_as_it_was_to_is_the_one_that_is_offered(sit_down: Sit) -> None:
    there = cut(saved="", keeps=())
    async with sit_down(there) as person:
        planned = there.plan_completion

        def grown(cut: CutOff) -> RestorePlan:
            plan = planned(cut)
            (pair,) = plan.targets
            size = pair.target.size
            growth = Growth(partition=1, start=0, old_size=size // 4, size=size // 2, kind="ext4", filesystem=True)
            return structs.replace(plan, targets=(structs.replace(pair, growth=growth),))

        there.plan_completion = grown  # type: ignore[method-assign]
        await person.press("f", "enter")
        assert "[x] Enlarge partition 1 from" in person.words


async def test_a_disk_that_is_erased_first_is_not_said_to_get_only_what_is_missing(sit_down: Sit) -> None:
    async with sit_down(cut()) as person:
        await person.press("f")
        assert "the disk is erased first" in person.words
        assert "only what is missing" not in person.words
