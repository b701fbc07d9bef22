"""The network's screens."""

from dataclasses import replace

from imaging.errors import IoError
from imaging.network import Network
from rescue.screens.menu import MenuScreen
from tests.app.conftest import Person, Sit
from tests.app.machine import CABLED, NETWORK, FakeBackend


async def opened(person: Person) -> str:
    """The screen."""
    person.app.start("network")
    await person.settle()
    return person.screen


async def test_each_card_is_told_in_a_persons_words(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        screen = await opened(person)
        assert "eno1      cable plugged in, 192.168.1.23/24" in screen
        assert "gateway 192.168.1.1, given by the network (DHCP)" in screen
        assert "enp3s0    no cable, or the other end is off" in screen
        assert "Names are asked for at (DNS): 192.168.1.1" in screen


async def test_a_card_is_set_to_dhcp_or_switched_off(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await opened(person)
        await person.press("enter", "1")
        await person.press("down", "enter", "3")
        assert backend.calls == ["dhcp eno1", "off enp3s0"]
        assert "Each network card" in person.screen
        await person.press("escape")
        assert isinstance(person.app.screen, MenuScreen)


async def test_an_address_is_typed_and_what_is_wrong_stays_to_be_mended(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        await opened(person)
        await person.press("down", "enter", "2")
        await person.type("10.0.0.5")
        await person.press("enter")
        await person.type("10.0.0.1")
        await person.press("enter")
        await person.type("9.9.9.9 1.1.1.1")
        await person.press("enter")
        assert "10.0.0.5 does not say how large its network is" in person.words
        assert "write it as 10.0.0.5/24" in person.words
        await person.press("enter", "shift+tab", "shift+tab")
        assert person.focus == "address"
        await person.type("/24")
        await person.press("enter", "enter", "enter")
        assert backend.calls == ["static enp3s0 10.0.0.5/24 10.0.0.1 9.9.9.9,1.1.1.1"]


async def test_a_tool_that_fails_is_told_and_the_screen_stays(sit_down: Sit) -> None:
    backend = FakeBackend(refusal=IoError("ip ended with status 2: RTNETLINK answers: no"))
    async with sit_down(backend) as person:
        await opened(person)
        await person.press("enter", "1")
        assert "RTNETLINK answers" in person.words


async def test_on_another_system_the_network_is_only_shown(sit_down: Sit) -> None:
    backend = FakeBackend(found_network=replace(NETWORK, why_not="this is not the recovery system"))
    async with sit_down(backend) as person:
        assert "This can only be looked at: this is not the recovery system." in await opened(person)
        assert "Each" not in person.screen
        before = person.app.screen
        await person.press("enter")
        assert person.app.screen is before


async def test_without_a_card_that_is_said(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(found_network=Network(interfaces=()))) as person:
        assert "No network card was found." in await opened(person)


async def test_wifi_is_said_not_to_be_there_yet(sit_down: Sit) -> None:
    found = Network(interfaces=(replace(CABLED, name="wlan0", wireless=True),))
    async with sit_down(FakeBackend(found_network=found)) as person:
        assert "Wi-Fi: not supported yet, use a cable" in await opened(person)
