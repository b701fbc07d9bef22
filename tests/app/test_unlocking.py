"""Encrypted libraries on the screens: the passphrase is asked for where it is needed, and never shown."""

import pytest

from tests.app.conftest import Sit
from tests.app.images import LIBRARY
from tests.app.machine import FakeBackend

WORDS = "correct horse"


@pytest.mark.parametrize("key", ["1", "3"])
async def test_images_of_an_encrypted_library_are_listed_once_its_passphrase_is_typed(sit_down: Sit, key: str) -> None:
    async with sit_down(FakeBackend(passphrase=WORDS)) as person:
        assert f"{LIBRARY} is encrypted." in (await person.press(key), person.words)[1]
        await person.type("not this one")
        assert "not this one" not in person.screen
        await person.press("enter")
        assert "the passphrase is wrong What to do: check it" in person.words
        await person.type(WORDS)
        assert WORDS not in person.screen
        assert "clean install" in await person.press("enter")
        assert "is encrypted" not in person.screen


async def test_a_library_can_be_left_closed_and_opened_later(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(passphrase=WORDS)) as person:
        screen = await person.press("1", "escape")
        assert f"{LIBRARY} is encrypted: press u to open it" in screen
        assert "is encrypted: press u" in await person.press("l")
        await person.press("u")
        await person.type(WORDS)
        assert "clean install" in await person.press("enter")


async def test_a_backup_into_an_encrypted_library_asks_before_its_plan(sit_down: Sit) -> None:
    backend = FakeBackend(passphrase=WORDS)
    async with sit_down(backend) as person:
        await person.press("2", "space", "enter", "enter")
        assert f"{LIBRARY} is encrypted." in person.words
        await person.type("not this one")
        await person.press("enter", "escape")
        assert "Where shall the image be kept?" in person.screen
        await person.press("enter")
        await person.type(WORDS)
        await person.press("enter", "enter", "enter")
        assert backend.submitted
