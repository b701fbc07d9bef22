"""Volumes of an image that LUKS encrypts: the passphrase is asked for, never shown, and their files are then copied."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from imaging.disk import Content
from imaging.errors import BadImageError, IoError
from imaging.imageplans import FilesPlan
from imaging.imagevolumes import OpenVolume
from rescue.screens.files import FilesScreen
from rescue.screens.filevolumes import FileVolumesScreen
from rescue.screens.image import ImageScreen
from tests.app.conftest import Sit
from tests.app.images import make_inside
from tests.app.machine import FakeBackend, locked_with

LOCKED = ("3", "enter", "o", "down")
"""To the image's second volume, which is encrypted."""
EXT4 = Content(kind="ext4", usage="filesystem", label="root")
LUKS = Content(kind="crypto_LUKS", usage="crypto")
LVM = Content(kind="LVM2_member", usage="raid")
PLAIN = make_inside("sda2-open", EXT4)
GROUP = make_inside("sda2-open", LVM, "it holds logical volumes, which are shown beside it")


async def test_its_files_are_shown_once_its_passphrase_is_typed_and_a_job_is_told_what_to_open(sit_down: Sit) -> None:
    backend = locked_with(PLAIN)
    async with sit_down(backend) as person:
        screen = await person.press(*LOCKED)
        assert "sda2  255.5 GB  LUKS, encrypted" in screen
        assert "Enter asks for its passphrase" in screen
        await person.press("enter")
        assert "sda2 is encrypted. Type its passphrase." in person.words
        assert person.focus == "passphrase"
        assert "pa,ss" not in await person.type("pa,ss")
        assert "sda2-open: /   1-3 of 3" in await person.press("enter")
        assert backend.calls == ["unlock sda2", "open sda2-open sda2"]
        await person.press("end", "space", "c", "enter", "right", "enter")
        (plan,) = backend.submitted
        assert isinstance(plan, FilesPlan)
        assert (plan.volume, plan.unlock, plan.paths) == ("sda2-open", ("sda2",), ("vmlinuz",))
        assert "pa,ss" not in repr(plan)


async def test_a_wrong_passphrase_is_told_and_asked_for_again_and_esc_leaves_it_closed(sit_down: Sit) -> None:
    backend = locked_with(PLAIN)
    async with sit_down(backend) as person:
        await person.press(*LOCKED, "enter")
        assert "wrong" not in await person.type("wrong")
        await person.press("enter")
        assert "sda2: that is not its passphrase" in person.words
        assert "Type its passphrase." in person.words
        await person.press("escape")
        assert isinstance(person.app.screen, FileVolumesScreen)
        assert "> sda2  255.5 GB  LUKS, encrypted" in person.screen
        assert "Enter asks for its passphrase" in person.screen
        await person.press("enter", "enter")
        assert backend.calls == ["unlock sda2"]  # nothing was typed
        await person.type("pa,ss")
        assert "sda2-open: /" in await person.press("enter")
        screen = await person.press("escape")
        assert "cannot be chosen: it is open: what is in it stands below" in screen
        assert '> sda2-open  20.0 GB  ext4 "root"' in screen
        await person.press("escape")
        assert isinstance(person.app.screen, ImageScreen)


async def test_logical_volumes_stand_below_it_and_the_first_is_under_the_cursor(sit_down: Sit) -> None:
    home = make_inside("office-home", Content(kind="xfs", usage="filesystem"))
    backend = locked_with(GROUP, make_inside("office-root", EXT4), home)
    async with sit_down(backend) as person:
        await person.press(*LOCKED, "enter")
        await person.type("pa,ss")
        screen = await person.press("enter")
        assert '> office-root  20.0 GB  ext4 "root"' in screen
        assert "cannot be chosen: it holds logical volumes, which are shown beside it" in screen
        assert "office-home: /" in await person.press("down", "enter")
        assert backend.calls[-1] == "open office-home sda2"


async def test_one_within_another_is_opened_after_it(sit_down: Sit) -> None:
    backend = locked_with(GROUP, make_inside("office-vault", LUKS, "it is encrypted"))
    backend.inside = {**backend.inside, "office-vault": [make_inside("office-vault-open", EXT4)]}
    async with sit_down(backend) as person:
        await person.press(*LOCKED, "enter")
        await person.type("pa,ss")
        assert "> office-vault  20.0 GB  LUKS, encrypted" in await person.press("enter")
        await person.press("enter")
        assert "office-vault is encrypted. Type its passphrase." in person.words
        await person.type("pa,ss")
        assert "office-vault-open: /" in await person.press("enter")
        assert backend.calls[-2:] == ["unlock office-vault sda2", "open office-vault-open sda2 office-vault"]


async def test_one_that_holds_no_files_says_so(sit_down: Sit) -> None:
    async with sit_down(locked_with(make_inside("sda2-open", Content(), "nothing known stands on it"))) as person:
        await person.press(*LOCKED, "enter")
        await person.type("pa,ss")
        screen = await person.press("enter")
        assert "sda2 is open, but nothing in it can be looked into." in screen
        assert "cannot be chosen: nothing known stands on it" in screen
        assert "> sda1" in screen


@pytest.mark.parametrize(
    "error",
    [
        BadImageError("sda2: its LUKS header is damaged", code="bad-luks"),
        IoError("sda2: there is not enough memory to try its passphrase", code="no-memory", hint="open it elsewhere"),
    ],
    ids=["damaged", "memory"],
)
async def test_one_that_cannot_be_opened_says_why_and_asks_nothing_more(
    sit_down: Sit, error: BadImageError | IoError
) -> None:
    backend = locked_with(PLAIN)
    async with sit_down(backend) as person:
        await person.press(*LOCKED, "enter")
        backend.refusal = error
        await person.type("pa,ss")
        await person.press("enter")
        assert error.message in person.words
        assert "Type its passphrase" not in person.words
        await person.press("enter")
        assert "Enter asks for its passphrase" in person.screen


class Slow(FakeBackend):
    """Takes its time to try a passphrase."""

    going = threading.Event()

    def unlock_volume(
        self, library: Path, image_id: str, volume: str, words: str, unlocked: Sequence[str]
    ) -> Sequence[OpenVolume]:
        self.going.wait(30)
        return super().unlock_volume(library, image_id, volume, words, unlocked)


async def test_what_takes_long_is_said_and_can_be_left(sit_down: Sit) -> None:
    quick = locked_with(PLAIN)
    backend = Slow(listing=quick.listing, inside=quick.inside)
    backend.going = threading.Event()
    async with sit_down(backend) as person:
        await person.press(*LOCKED, "enter")
        await person.type("pa,ss")
        await person.pilot.press("enter")
        await person.until(lambda: "Opening sda2 .." in person.screen)
        await person.pilot.press("enter")
        await person.until(lambda: "Type its passphrase" in person.words)
        await person.pilot.press("escape", "escape")
        await person.until(lambda: isinstance(person.app.screen, ImageScreen))
        backend.going.set()
        await person.settle()
        assert isinstance(person.app.screen, ImageScreen)
        assert not any(isinstance(screen, FilesScreen) for screen in person.app.screen_stack)


async def test_hostile_names_are_shown_safely(sit_down: Sit) -> None:
    names = ["\x1b[31mred", "x" * 120]
    async with sit_down(locked_with(GROUP, *(make_inside(name, EXT4) for name in names))) as person:
        await person.press(*LOCKED, "enter")
        await person.type("pa,ss")
        screen = await person.press("enter")
        assert "> ?[31mred" in screen
        assert "\x1b" not in screen
