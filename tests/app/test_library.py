"""Images: the list, the details, another name, a note, verifying and deleting."""

from dataclasses import replace

import pytest

from imaging.errors import IoError
from imaging.events import DeleteResult, Finished
from imaging.freeing import Freed
from imaging.imageplans import DeletePlan, VerifyPlan, VerifySetPlan
from imaging.manifest import Machine
from imaging.notes import Notes, Verification
from tests.app.conftest import Person, Sit
from tests.app.disks import GB
from tests.app.images import LIBRARY, FakeDamaged, FakeListing, make_image
from tests.app.machine import FakeBackend

ELSE = Machine(vendor="Lenovo", model="ThinkPad T480", serial="X")
OURS = make_image("20260101-000000-0000aaaa")
OLD = make_image("20250101-000000-0000bbbb", created="2025-01-01T00:00:00Z", label="old one")
OTHER = make_image("20261124-000000-0000cccc", created="2026-11-24T00:00:00Z", label="laptop", machine=ELSE)
RIGHT = Verification(when="2026-11-25T10:00:00Z", chunks=6000, bad=0)
BROKEN = FakeDamaged(id="20240101-000000-0000dddd", problem="the manifest is cut short")


@pytest.fixture
def backend() -> FakeBackend:
    """Two images of this computer, one of another, and one that is damaged."""
    notes = {OURS.id: Notes(text="works", verified=RIGHT), OLD.id: Notes(verified=replace(RIGHT, bad=3))}
    return FakeBackend(listing=FakeListing(images=(OTHER, OURS, OLD), damaged=(BROKEN,), notes=notes))


async def rename(person: Person, words: str) -> str:
    """In the box for a new name or a note: replace what is there."""
    await person.press("home", "shift+end", "delete")
    await person.type(words)
    return await person.press("enter")


async def test_this_computers_images_stand_first_and_the_damaged_ones_last(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        screen = await person.press("3")
        places = [screen.index(words) for words in ("clean install", "old one", "laptop", BROKEN.id)]
        assert places == sorted(places)
        assert "this computer 25.6 GB 2026-11-25" in person.words
        assert "BAD 2026-11-25" in screen
        assert "ThinkPad T480 25.6 GB never" in person.words
        assert f"{LIBRARY}: 4 images, 30.0 GB, 200.0 GB free" in screen
        assert "Note        works" in screen
        assert "3 of 6,000 chunks are damaged" in await person.press("down")
        assert "the manifest is cut short" in await person.press("end")


async def test_an_image_is_pinned_and_let_go_again(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        assert "Pinned      yes: it is not deleted" in await person.press("3", "p")
        assert backend.listing.notes[OURS.id].pinned
        assert backend.listing.notes[OURS.id].text == "works"
        assert "yes: it is not deleted" in await person.press("enter")
        assert "yes: it is not deleted" not in await person.press("p")
        assert not backend.listing.notes[OURS.id].pinned
        backend.refusal = IoError("the library cannot be written: Read-only file system")
        await person.press("p")
        assert "Read-only file system" in person.words


async def test_the_details_tell_everything_the_note_included(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        screen = await person.press("3", "enter")
        for words in (OURS.id, "clean install", "everything was right", "works", str(LIBRARY), "EFI"):
            assert words in screen
        assert "Enter details" in await person.press("escape")
        assert "the manifest is cut short" in await person.press("end", "enter")


@pytest.mark.parametrize("where", [[], ["enter"]], ids=["on the list", "in the details"])
async def test_an_image_gets_another_name_and_a_note(sit_down: Sit, backend: FakeBackend, where: list[str]) -> None:
    async with sit_down(backend) as person:
        await person.press("3", *where, "r")
        assert "What shall this image be called?" in person.words
        assert "before the update" in await rename(person, "before the update")
        await person.press("n")
        assert "Anna" in await rename(person, "Anna")
        assert backend.listing.notes[OURS.id].text == "Anna"
        await person.press("n")
        await rename(person, "")
        assert backend.listing.notes[OURS.id].text == ""


async def test_the_filter_shows_only_what_has_its_words(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "slash")
        screen = await person.type("thinkpad 2026")
        assert "laptop" in screen
        assert "1 of 4" in screen
        assert "clean install" not in screen
        await person.press("enter", "v")
        assert isinstance(backend.submitted[0], VerifyPlan)
        assert backend.submitted[0].image == OTHER.id


async def test_the_filter_looks_at_notes_and_esc_shows_all_again(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "slash")
        assert "old one" not in await person.type("works")
        assert "old one" in await person.press("escape")
        assert "Images" in await person.press("escape")


async def test_leaving_the_box_changes_nothing(sit_down: Sit, backend: FakeBackend) -> None:
    backend.refusal = IoError("nothing may be written")
    async with sit_down(backend) as person:
        await person.press("3", "r")
        await person.type("x")
        assert "clean install" in await person.press("escape")
        assert backend.listing.images[1].label == "clean install"


async def test_a_name_that_cannot_be_kept_is_told(sit_down: Sit, backend: FakeBackend) -> None:
    backend.refusal = IoError("the file system is read-only", hint="check the disk")
    async with sit_down(backend) as person:
        await person.press("3", "r")
        await rename(person, "another")
        assert "the file system is read-only" in person.words
        assert "check the disk" in person.words


async def test_v_verifies_the_image_under_the_cursor(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "down", "v")
        (plan,) = backend.submitted
        assert isinstance(plan, VerifyPlan)
        assert plan.image == OLD.id
        assert "A job is running" in person.screen


async def test_capital_v_verifies_all_images_of_the_library(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "down", "V")
        (plan,) = backend.submitted
        assert isinstance(plan, VerifySetPlan)
        assert plan.images == tuple(image.id for image in backend.listing.images)
        assert "A job is running" in person.screen


async def test_a_damaged_image_can_be_deleted_and_nothing_else(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "end")
        for key in ("v", "r", "n"):
            await person.press(key)
            assert "It can only be deleted. the manifest is cut short" in person.words
            await person.press("enter")
        assert not backend.submitted
        await person.press("d")
        await person.type("0000dddd")
        await person.press("enter", "enter")
        assert backend.submitted == [DeletePlan(library=str(LIBRARY), image=BROKEN.id, created="")]


async def test_an_image_is_deleted_only_after_its_name_was_typed(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        screen = await person.press("3", "d")
        assert 'DELETED: image "clean install"' in screen
        assert "can no longer be put back" in screen
        assert "FREED: 6.0 GB" in screen
        assert "200.0 GB are free there now, 206.0 GB after that" in screen
        assert "no other image of that computer" not in screen
        assert "type clean install or 0000aaaa" in screen
        assert person.app.focused is not None
        assert person.app.focused.__class__.__name__ == "Line"
        await person.press("enter")
        await person.type("old one")
        assert "That is not the name of this image. Nothing was deleted." in await person.press("enter")
        await person.press("tab", "tab", "enter")
        assert not backend.submitted


@pytest.mark.parametrize("name", ["clean install", "0000aaaa", OURS.id])
async def test_the_label_or_the_end_of_the_id_confirms_a_deletion(
    sit_down: Sit, backend: FakeBackend, name: str
) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "d")
        await person.type(name)
        await person.press("enter")
        assert person.focus == "delete"
        assert not backend.submitted
        await person.press("enter")
        (plan,) = backend.submitted
        assert isinstance(plan, DeletePlan)
        assert (plan.image, plan.created) == (OURS.id, OURS.created)


async def test_the_only_image_of_a_computer_is_called_that(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        assert "WARNING: there is no other image of that computer." in await person.press("3", "down", "down", "d")


async def test_a_deletion_that_would_free_nothing_says_why(sit_down: Sit, backend: FakeBackend) -> None:
    backend.freed = Freed(problem="pc.caibx is damaged")
    async with sit_down(backend) as person:
        screen = await person.press("3", "d")
        assert "FREED: nothing yet" in screen
        assert "pc.caibx is damaged" in screen


async def test_the_result_of_a_deletion_says_what_was_freed(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "d")
        await person.type("0000aaaa")
        await person.press("enter", "enter")
        result = DeleteResult(image=OURS.id, chunks=2000, freed=6 * GB, shared=1000, seconds=3.0)
        message = f"Image {OURS.id} was deleted, which freed 6.0 GB."
        backend.known_jobs[0].end(Finished(time=1300.0, status=0, message=message, result=result))
        person.app.screen.poll()  # type: ignore[attr-defined]
        await person.settle()
        assert "which freed 6.0 GB" in person.words
        assert "DONE" in person.screen


async def test_cancelling_a_deletion_says_what_that_leaves(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press("3", "d")
        await person.type("0000aaaa")
        await person.press("enter", "enter", "c")
        assert "the next deletion frees the rest of its room" in person.words


async def test_without_a_library_the_screen_says_what_to_do(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_libraries=())) as person:
        assert "No image library was found." in await person.press("3")
        await person.press("v", "r", "n", "d", "enter")
        assert "No image library was found." in person.screen


async def test_a_library_that_cannot_be_read_is_told_beside_the_others(sit_down: Sit, backend: FakeBackend) -> None:
    backend.found_libraries = (LIBRARY, LIBRARY / "none")
    backend.listing = replace(backend.listing, ignored=("notes.json is damaged",))
    async with sit_down(backend) as person:
        screen = await person.press("3")
        assert "none is not an image library" in screen
        assert "notes.json is damaged" in screen
        assert "clean install" in screen
