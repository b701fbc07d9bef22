"""Letting somebody in from another computer, on the Network screen."""

from dataclasses import replace

import pytest

from imaging.errors import IoError
from imaging.network import Network
from imaging.ssh import Ssh
from rescue.screens.menu import MenuScreen
from rescue.screens.network import NetworkScreen
from rescue.screens.ssh import SshScreen
from tests.app.conftest import Person, Sit
from tests.app.machine import FINGERPRINT, NETWORK, UNPLUGGED, FakeBackend


async def opened(person: Person) -> SshScreen:
    """The screen, from the menu."""
    await person.press("6", "end", "enter")
    screen = person.app.screen
    assert isinstance(screen, SshScreen)
    return screen


async def test_nothing_is_switched_by_pressing_enter(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await opened(person)
        assert "Off. Nobody can come in" in person.screen
        await person.press("enter")
        assert isinstance(person.app.screen, NetworkScreen)
        assert not backend.calls


async def test_a_password_is_made_shown_and_taken_back(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await opened(person)
        await person.press("2")
        assert "Password:  abcde-fghjk-mnpq1" in person.screen
        assert "ssh root@192.168.1.23" in person.screen
        assert FINGERPRINT in person.screen
        # The cursor is on what is harmless; the same screen knows the password later.
        await person.press("enter")
        assert "on: this menu can be used" in person.screen
        await person.press("enter")
        assert "abcde-fghjk-mnpq1" in person.screen
        await person.press("3")
        assert "Off. Nobody can come in" in person.screen
        assert person.app.password is None
        assert backend.calls == ["ssh with a password", "ssh off"]


async def test_a_password_of_another_screen_is_not_shown(sit_down: Sit) -> None:
    backend = FakeBackend(found_ssh=Ssh(on=True, password="7", fingerprint=FINGERPRINT))
    async with sit_down(backend) as person:
        await opened(person)
        assert "shown on the screen where it was made" in person.screen
        await person.press("2")
        assert "abcde-fghjk-mnpq8" in person.screen
        # Another screen makes one in its place: this one's is worth nothing any more.
        backend.found_ssh = replace(backend.found_ssh, password="9")
        await person.press("escape", "enter")
        assert "abcde" not in person.screen
        assert "shown on the screen where it was made" in person.screen


async def test_keys_alone_let_in_and_bad_ones_are_told(sit_down: Sit) -> None:
    problem = "the key of rescue.ssh does not let in: that is no public key of ssh: the key is cut off, or has too much"
    found = Ssh(on=True, keys=("anna@laptop", "evil\x1b[2J"), fingerprint=FINGERPRINT, problems=(problem,))
    async with sit_down(FakeBackend(found_ssh=found)) as person:
        assert "ssh           on: this menu can be used from another computer" in person.screen
        await opened(person)
        assert "Keys that let in:  anna@laptop, evil" in person.screen
        assert "\x1b" not in person.screen
        assert "Password" not in person.screen
        assert "Allow a password, too" in person.screen
        assert problem in person.words


@pytest.mark.parametrize("on", [False, True])
async def test_without_an_address_that_is_said(sit_down: Sit, *, on: bool) -> None:
    found = Network(interfaces=(UNPLUGGED,))
    async with sit_down(FakeBackend(found_network=found, found_ssh=Ssh(on=on))) as person:
        await person.press("6")
        assert ("on, but no network card has an address yet" in person.screen) is on
        await person.press("end", "enter")
        assert "No network card has an address yet" in person.screen
        assert "ssh root@" not in person.screen


async def test_a_failure_is_told_and_nothing_is_shown_as_done(sit_down: Sit) -> None:
    backend = FakeBackend(refusal=IoError("systemctl ended with status 1: no"))
    async with sit_down(backend) as person:
        await opened(person)
        await person.press("2")
        assert "systemctl ended with status 1" in person.words
        await person.press("enter")
        assert "Off. Nobody can come in" in person.screen


async def test_over_ssh_it_is_said_that_the_own_session_ends(sit_down: Sit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.168.1.9 40000 192.168.1.23 22")
    async with sit_down(FakeBackend(found_ssh=Ssh(on=True, password="1"))) as person:
        await opened(person)
        assert "3  Switch it off, and end all connections: yours, too" in person.screen


async def test_on_another_system_it_is_not_offered(sit_down: Sit) -> None:
    other = "this is not the recovery system"
    found = replace(NETWORK, why_not=other)
    async with sit_down(FakeBackend(found_network=found, found_ssh=Ssh(why_not=other))) as person:
        await person.press("6")
        assert "ssh" not in person.screen
        await person.press("escape")
        assert isinstance(person.app.screen, MenuScreen)
