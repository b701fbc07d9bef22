"""The screen "Disks": every disk with its bar and its health, all of one disk, and the light that blinks."""

import threading
from dataclasses import dataclass
from typing import NoReturn

from imaging.disk import Disk
from imaging.errors import IoError
from tests.app.conftest import Sit
from tests.app.disks import FAILING_HEALTH, GOOD_HEALTH, SDA, SDB
from tests.app.machine import FakeBackend

RED = 1
DEBIAN = "Debian GNU/Linux 13 (trixie)"


def backend() -> FakeBackend:
    """A good disk with a system, and an empty one that is failing."""
    return FakeBackend(
        found_disks=(SDA, SDB),
        found_health={SDA.path: GOOD_HEALTH, SDB.path: FAILING_HEALTH},
        found_systems={SDA.path: {2: DEBIAN}},
    )


async def test_each_disk_is_listed_with_its_bar_its_system_and_its_health(sit_down: Sit) -> None:
    async with sit_down(backend()) as person:
        lines = (await person.press("4")).splitlines()
        at = next(i for i, line in enumerate(lines) if "sda  Samsung SSD 870  serial S5Y1NX0R  500.0 GB" in line)
        assert f"│1 EFI│2 {DEBIAN} 499.5 GB" in lines[at + 1]
        assert "Health: good" in lines[at + 2]


async def test_a_failing_disk_is_told_in_capitals_and_in_red(sit_down: Sit) -> None:
    async with sit_down(backend()) as person:
        await person.press("4")
        assert "FAILING: sdb. Save what is on it" in person.words
        rows = person.app.screen._compositor.render_strips()
        parts = [part for row in rows for part in row if "FAILING" in part.text]
        assert [part.text.strip() for part in parts] == [
            "FAILING: sdb. Save what is on it, and replace it.",
            "Health: FAILING (sectors that cannot be read: 312)",
        ]
        assert all(part.style and part.style.color and part.style.color.number == RED for part in parts)


async def test_enter_shows_everything_about_a_disk(sit_down: Sit) -> None:
    async with sit_down(backend()) as person:
        page = await person.press("4", "down", "enter")
        for words in (
            "WD-77",
            "2.0 TB (2,000,000,000,000 bytes)",
            "bad sectors that it replaced by spare ones: 1,432",
            "spins, 5400 turns a minute",
            "pci-0000:00:17.0-ata-1",
            "It may stop at any moment.",
        ):
            assert words in page
        assert "Sectors unreadable now" in await person.press("pagedown")
        assert "Choose" in await person.press("escape") or "FAILING: sdb" in person.screen


async def test_the_page_of_a_disk_has_its_partitions_and_what_uses_it(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        page = await person.press("4", "down", "enter")
        assert "in use: /dev/sdd2 is mounted at /srv/data" in page
        assert '499.5 GB  ext4 "debian"' in page


async def test_the_light_blinks_until_the_box_is_closed(sit_down: Sit) -> None:
    machine = backend()
    async with sit_down(machine) as person:
        await person.press("4", "down", "i")
        assert machine.calls == ["blink sdb"]
        assert "The light of this disk blinks now" in person.words
        assert machine.blinking is not None
        assert not machine.blinking.is_set()
        await person.press("escape")
        assert machine.blinking.is_set()
        await person.press("enter", "i", "enter")
        assert machine.calls == ["blink sdb", "blink sdb"]
        assert machine.blinking.is_set()


@dataclass
class Unreadable(FakeBackend):
    """Its disks cannot be read."""

    def blink(self, disk: Disk, stop: threading.Event) -> None:  # noqa: ARG002
        """As when it was pulled out."""
        raise IoError(f"{disk.name} cannot be opened: No such device", hint="plug it in again")


async def test_a_disk_whose_light_cannot_blink_is_said_to_be_unreadable(sit_down: Sit) -> None:
    async with sit_down(Unreadable()) as person:
        await person.press("4", "i")
        assert "cannot be opened: No such device What to do: plug it in again" in person.words


async def test_a_computer_without_disks_is_told_what_to_do(sit_down: Sit) -> None:
    machine = FakeBackend(found_disks=())
    async with sit_down(machine) as person:
        assert "No disk was found. Plug one in and press l." in await person.press("4")
        machine.found_disks = (SDA,)
        assert "serial S5Y1NX0R" in await person.press("l")
        assert "Choose a disk" in person.screen


async def test_the_keys_of_the_screens_fit_on_their_line(sit_down: Sit) -> None:
    async with sit_down(backend()) as person:
        assert (await person.press("4")).rstrip().endswith("F1 or ? help")
        assert (await person.press("enter")).rstrip().endswith("F1 or ? help")


async def test_the_bars_are_as_wide_as_the_terminal_has_room(sit_down: Sit) -> None:
    async with sit_down(backend()) as person:
        await person.press("4")
        for width in (60, 132):
            await person.pilot.resize_terminal(width, 20)
            await person.settle()
            drawn = next(line for line in person.screen.splitlines() if "│1 EFI│" in line)
            assert len(drawn.strip()) == min(width - 8, 100)


async def test_b_tells_whether_a_computer_can_start_from_a_disk(sit_down: Sit) -> None:
    machine = backend()
    async with sit_down(machine) as person:
        page = await person.press("4", "enter", "b")
        assert "sda can start on BIOS." in page
        assert "sda will not start on UEFI: it has no EFI system partition." in page
        assert "This computer was started by BIOS." in page
        assert machine.calls[-1] == "starts sda"


class Unlooked(FakeBackend):
    """Its disks cannot be looked at."""

    def starts(self, disk: Disk) -> NoReturn:
        raise IoError(f"{disk.name} cannot be read")


async def test_a_disk_that_cannot_be_looked_at_is_told_once(sit_down: Sit) -> None:
    async with sit_down(Unlooked(found_disks=(SDA,))) as person:
        assert "sda cannot be read" in await person.press("4", "enter", "b")
        page = await person.press("enter")
        assert "cannot be read" not in page
        assert "Looking .." not in page
