"""Copy files out of an image: browse, search, mark, choose where to, see the plan."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from imaging.errors import IoError, RefusedError
from imaging.fileplan import Place
from imaging.fileview import Where
from imaging.imageplans import FilesPlan
from imaging.tree import Entry, EntryKind
from rescue.screens.files import FilesScreen
from rescue.screens.image import ImageScreen
from tests.app.conftest import Sit
from tests.app.disks import GB
from tests.app.imagefiles import HOME, FakeFiles, a_file, a_folder
from tests.app.machine import FakeBackend
from tests.app.wired import wired

ROOT = ("3", "enter", "o", "down", "enter")
"""To the files of the image's second volume."""
ANNA = (*ROOT, "down", "enter", "enter")
NUMBERED: Mapping[Where, Sequence[Entry]] = {(): [a_file(f"file {number:06}", number) for number in range(100_000)]}
HOSTILE = (
    b"\x1b[31mred\nline\ttwo",
    "\u202etxt.exe".encode(),
    b"caf\xe9",
    b"n" * 255,
)


@pytest.fixture
def backend() -> FakeBackend:
    """One image with one person's files."""
    return FakeBackend()


async def test_volumes_are_named_and_said_why_they_cannot_be_looked_into(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        screen = await person.press("3", "o")
        assert '> sda1  536.9 MB  FAT "EFI"' in screen
        assert 'sda2  255.5 GB  ext4 "debian"' in screen
        assert "cannot be chosen" not in screen


async def test_folders_are_opened_and_left_again_with_the_cursor_where_it_was(
    sit_down: Sit, backend: FakeBackend
) -> None:
    async with sit_down(backend) as person:
        assert "sda2: /   1-3 of 3, by name" in await person.press(*ROOT)
        assert backend.calls[-1] == "open sda2"
        screen = await person.press("down", "enter", "enter")
        assert "sda2: /home/anna   1-5 of 5" in screen
        assert "latest -> Letters/bank.odt" in screen
        assert "248.0 kB  2026-11-18 10:15" in screen
        assert "> [ ] anna/" in await person.press("backspace")
        assert "> [ ] home/" in await person.press("escape")
        await person.press("escape", "escape")
        assert isinstance(person.app.screen, ImageScreen)
        assert backend.files.closed


async def test_a_hundred_thousand_entries_are_turned_by_the_page(sit_down: Sit, backend: FakeBackend) -> None:
    files = backend.files = FakeFiles(tree=NUMBERED)
    async with sit_down(backend) as person:
        assert "1-19 of 100,000" in await person.press(*ROOT)
        assert "> [ ] file 000019" in await person.press("pagedown")
        assert "> [ ] file 000018" in await person.press("up")
        assert "> [ ] file 000019" in await person.press("down")
        assert "> [ ] file 099999" in await person.press("end")
        assert "99,998-100,000 of 100,000" in person.screen
        assert "99,979-99,997 of 100,000" in await person.press("pageup")
        assert "> [ ] file 000000" in await person.press("home", "up")
        assert all(int(call.split()[-1]) <= 19 for call in files.calls)


async def test_pages_that_are_asked_for_faster_than_they_come_are_not_lost(sit_down: Sit, backend: FakeBackend) -> None:
    backend.files = FakeFiles(tree=NUMBERED)
    async with sit_down(backend) as person:
        await person.press(*ROOT)
        await person.pilot.press("pagedown", "pagedown", "pagedown")
        await person.settle()
        assert "58-76 of 100,000" in person.screen


async def test_the_order_goes_by_name_size_and_date(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ANNA)
        by_size = await person.press("o")
        assert "by size" in by_size
        assert by_size.index("big.iso") < by_size.index("accounts")
        by_date = await person.press("o")
        assert "by date" in by_date
        assert by_date.index("mail") < by_date.index("accounts")
        assert "by name" in await person.press("o")


async def test_what_is_marked_is_counted(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ANNA, "down")
        assert "[x] accounts 2026.ods" in await person.press("space")
        assert "Marked: 1 file, 248.0 kB" in person.screen
        assert "Marked: 3 files, 1 folder, 279.0 kB" in await person.press("up", "space")
        assert "Marked: 2 files, 1 folder, 31.0 kB" in await person.press("down", "space")
        assert "Nothing is marked." in await person.press("u")
        assert "[x]" not in person.screen


async def test_a_folder_that_is_still_counted_says_so_and_is_not_counted_on_without_its_mark(
    sit_down: Sit, backend: FakeBackend
) -> None:
    going = backend.files.going = threading.Event()
    async with sit_down(backend) as person:
        await person.press(*ANNA)
        await person.pilot.press("space")
        await person.until(lambda: "Marked: 1 entry, counting .." in person.screen)
        await person.pilot.press("space")
        await person.until(lambda: "cancelled" in backend.files.calls)
        assert "Nothing is marked." in person.screen
        await person.pilot.press("space")
        going.set()
        await person.settle()
        assert "Marked: 2 files, 1 folder, 31.0 kB" in person.screen


async def test_what_is_in_a_marked_folder_is_marked_with_it(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ANNA, "enter", "space")
        assert "Marked: 1 file, 31.0 kB" in person.screen
        await person.press("escape", "escape", "space")
        assert "Marked: 4 files, 2 folders, 1 link, 5.0 GB" in person.screen
        screen = await person.press("enter")
        assert screen.count("[x]") == 5
        await person.press("space")
        assert "A folder that this is in is marked" in person.words


async def test_leaving_asks_before_it_forgets_what_is_marked(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ROOT, "end", "space", "escape")
        assert "What is marked will be forgotten" in person.words
        assert "[x] vmlinuz" in await person.press("enter")
        await person.press("escape", "y")
        assert not isinstance(person.app.screen, FilesScreen)
        assert backend.files.closed


async def test_hostile_names_are_shown_safely_and_planned_as_they_are(sit_down: Sit, backend: FakeBackend) -> None:
    backend.files = FakeFiles(
        tree={(): [*(a_file(name) for name in HOSTILE), a_folder("\u200fx")], (b"\xe2\x80\x8fx",): []}
    )
    async with sit_down(backend) as person:
        screen = await person.press(*ROOT)
        assert "?[31mred?line?two" in screen
        assert "?txt.exe" in screen
        assert "caf?" in screen
        assert "nnnnnnnn.." in screen
        assert not set("\x1b\u202e\u200f\t") & set(screen)
        assert "This folder is empty." in await person.press("enter")
        await person.press("escape", "down", "space", "down", "space", "down", "space", "down", "space")
        screen_ = person.app.screen
        assert isinstance(screen_, FilesScreen)
        assert {path[-1] for path in screen_.marks.paths} == set(HOSTILE)
        assert "n" * 60 in "".join((await person.press("up", "enter")).split("║"))


async def test_an_entry_that_cannot_be_read_or_copied_says_so(sit_down: Sit, backend: FakeBackend) -> None:
    lost = Entry(name=b"lost", kind=EntryKind.OTHER, problem="Input/output error")
    ancient = Entry(name=b"old", kind=EntryKind.FILE, size=1, modified=1e18)
    backend.files = FakeFiles(tree={**HOME, (): [lost, ancient]})
    async with sit_down(backend) as person:
        assert "lost (cannot be read)" in await person.press(*ROOT)
        await person.press("enter")
        assert "It cannot be read: Input/output error" in person.words
        await person.press("enter", "down", "enter")
        assert "Changed: ? UTC" in person.words
        assert "Size: 1 B, 1 bytes" in person.words


async def test_what_cannot_be_opened_says_why(sit_down: Sit, backend: FakeBackend) -> None:
    backend.refusal = RefusedError("an image's disks cannot be mounted: Operation not permitted", hint="run as root")
    async with sit_down(backend) as person:
        await person.press(*ROOT)
        assert "cannot be mounted: Operation not permitted What to do: run as root" in person.words
        await person.press("enter")
        assert "Operation not permitted" in person.screen
        await person.press("space", "c", "enter", "o", "slash", "end", "escape", "escape")
        assert isinstance(person.app.screen, ImageScreen)


async def test_a_folder_that_cannot_be_read_leaves_the_other_on_the_screen(sit_down: Sit, backend: FakeBackend) -> None:
    backend.files = FakeFiles(broken={(b"home",): IoError("/home cannot be read: Input/output error")})
    async with sit_down(backend) as person:
        await person.press(*ROOT, "down", "enter")
        assert "/home cannot be read" in person.words
        assert "sda2: /   1-3 of 3" in await person.press("enter")
        assert "Marked: 0 files, 1 folder, 0 B" in await person.press("space")
        await person.press("c", "enter")
        assert "what cannot be read, and so cannot be copied: 1" in person.words


async def test_a_search_lists_what_it_finds_while_it_goes_on(sit_down: Sit, backend: FakeBackend) -> None:
    going = backend.files.going = threading.Event()
    async with sit_down(backend) as person:
        await person.press(*ROOT, "slash")
        await person.type("V")
        await person.pilot.press("enter")
        await person.until(lambda: "1 found, searching: 3 looked at" in person.screen)
        assert "> [ ] /vmlinuz" in person.screen
        going.set()
        await person.settle()
        assert "1 found, 14 looked at" in person.screen
        assert "Marked: 1 file, 8.5 MB" in await person.press("space")
        assert "Nothing is marked." in await person.press("space")


async def test_esc_stops_a_search_and_then_goes_back(sit_down: Sit, backend: FakeBackend) -> None:
    backend.files.going = threading.Event()
    async with sit_down(backend) as person:
        await person.press(*ROOT, "slash")
        await person.type("a")
        await person.pilot.press("enter")
        await person.until(lambda: "looked at" in person.screen)
        await person.pilot.press("escape")
        await person.until(lambda: "cancelled" in backend.files.calls)
        assert "the search was stopped" in person.screen
        await person.press("escape")
        assert isinstance(person.app.screen, FilesScreen)


async def test_what_was_found_is_gone_to_in_its_folder(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ROOT, "slash")
        await person.type("q: ")
        screen = await person.press("enter", "enter")
        assert "sda2: /home/anna/Letters" in screen
        assert "> [ ] Q: 1?.txt" in screen


async def test_a_search_without_a_hit_says_so_and_takes_other_words(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ROOT, "slash")
        assert "Its name holds" in await person.press("enter")
        await person.type("nothing like it")
        assert "0 found, 14 looked at" in await person.press("enter", "enter", "space", "down")
        await person.press("tab")
        await person.type("fstab")
        assert "> [ ] /etc/fstab" in await person.press("enter")


async def test_nothing_is_copied_where_nothing_is_marked(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ROOT, "c")
        assert "Mark files and folders with the space bar first" in person.words


async def test_the_plan_says_what_where_how_much_and_what_is_lost(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        screen = await person.press(*ROOT, "down", "space", "c")
        assert "Marked: 5 files, 3 folders, 1 link, 5.0 GB" not in screen
        assert "30.0 GB free, vfat" in screen
        await person.press("enter")
        assert "/home" in person.words
        assert "TO: the new folder /run/rescue/media/sde1/rescue-files" in person.words
        assert "HOW MUCH: 4 files, 3 folders, 1 link, 5.0 GB ROOM there: 30.0 GB" in person.words
        assert "NOT COPIED: devices, pipes and sockets: 1" in person.words
        kept = "NOT KEPT by vfat: owners and rights symbolic links: 1 files that are too large for it: 1"
        assert f"{kept} names that it forbids, and that are changed: 1" in person.words
        assert "WARNING" not in person.words
        assert person.focus == "back"
        assert backend.submitted == []
        await person.press("right", "enter")
        (plan,) = backend.submitted
        assert isinstance(plan, FilesPlan)
        assert (plan.volume, plan.paths) == ("sda2", ("home",))
        assert plan.target == "/run/rescue/media/sde1/rescue-files"
        assert backend.files.closed


async def test_too_little_room_is_a_warning(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ROOT, "down", "space", "c", "down", "enter")
        assert "WARNING: there is not enough room for all of it." in person.words
        assert "NOT KEPT" not in person.words


async def test_a_plan_waits_for_what_is_still_counted(sit_down: Sit, backend: FakeBackend) -> None:
    going = backend.files.going = threading.Event()
    async with sit_down(backend) as person:
        await person.press(*ROOT)
        await person.pilot.press("space", "c")
        await person.until(lambda: "vfat" in person.screen)
        await person.pilot.press("enter")
        await person.until(lambda: "HOW MUCH: counting .." in person.screen)
        going.set()
        await person.settle()
        assert "HOW MUCH: 2 files, 1 folder, 1 link" in person.words


async def test_a_typed_folder_and_a_refusal(sit_down: Sit, backend: FakeBackend) -> None:
    async with sit_down(backend) as person:
        await person.press(*ROOT, "end", "space", "c", "end", "enter")
        await person.type("/srv/out")
        await person.press("enter")
        assert "TO: the new folder /srv/out" in person.words
        backend.refusal = RefusedError("/srv/out lies in the image library /srv", hint="choose a folder outside of it")
        await person.press("escape", "enter")
        await person.type("/srv/out")
        await person.press("enter")
        assert "lies in the image library /srv What to do: choose a folder outside of it" in person.words
        assert backend.submitted == []


async def test_files_go_to_a_share_that_is_connected_first(sit_down: Sit) -> None:
    share = Path("/run/rescue/shares/nas-backup")
    backend = FakeBackend(servers={"//nas/backup": share}, found_file_places=())
    async with sit_down(backend) as person:
        await person.press(*ROOT, "end", "space", "c")
        assert "No writable disk or stick was found" in person.words
        await person.press("enter")
        await person.type("//nas/backup")
        await person.press("enter")
        await person.type("anna")
        await person.press("enter")
        backend.found_file_places = (Place(path=share / "rescue-files", free=9 * GB, kind="cifs"),)
        await person.type("pa,ss")
        screen = await person.press("enter")
        assert backend.calls[-1] == "connect //nas/backup anna  rw"
        assert "> /run/rescue/shares/nas-backup/rescue-files" in screen
        await person.press("enter")
        assert "NOT KEPT by cifs: owners and rights" in person.words


async def test_a_file_system_that_is_not_known_is_told_of_later(sit_down: Sit, backend: FakeBackend) -> None:
    backend.found_file_places = (Place(path=Path("/mnt/odd"), free=None, kind="fuseblk"),)
    async with sit_down(backend) as person:
        await person.press(*ROOT, "end", "space", "c", "enter")
        assert "What fuseblk cannot keep is told when it is written to." in person.words
        assert "ROOM" not in person.words


async def test_a_page_fits_the_screen_whatever_its_size(sit_down: Sit, backend: FakeBackend) -> None:
    backend.files = FakeFiles(tree=NUMBERED)
    async with sit_down(backend) as person:
        await person.press(*ROOT, "pagedown")
        await person.pilot.resize_terminal(60, 20)
        await person.settle()
        assert "> [ ] file 000019" in person.screen
        await person.press("slash")
        await person.type("0001")
        await person.press("enter", "pagedown")
        await person.pilot.resize_terminal(100, 30)
        await person.settle()
        assert "> [ ] /file 0001" in person.screen


async def test_a_page_and_a_mark_cost_little_on_a_line(monkeypatch: pytest.MonkeyPatch, backend: FakeBackend) -> None:
    names = [a_file(os.urandom(9).hex(), number * 12_345) for number in range(100_000)]
    backend.files = FakeFiles(tree={(): names})
    async with wired(backend, monkeypatch) as person:
        await person.sent(*ROOT)
        pages = [await person.sent(key) for key in ("pagedown", "pagedown", "up", "end", "home")]
        keys = [await person.sent(key) for key in ("down", "down", "space", "up")]
    assert max(pages) <= 1500, pages
    assert max(keys) <= 150, keys
    assert min(pages + keys) > 0
