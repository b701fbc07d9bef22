"""The language and the keyboard's layout: chosen on the screen, and preset at boot."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imaging import bootline, keyboard
from imaging.errors import RefusedError, UsageError
from rescue import language, layouts, presets
from rescue.screens.language import LanguageScreen
from rescue.screens.menu import MenuScreen
from tests.app.conftest import Person, Sit
from tests.app.machine import FakeBackend


@pytest.fixture
def two_languages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """English, and a German that says little; English is spoken again afterwards."""
    monkeypatch.setattr(language, "languages", lambda: ("en", "de"))
    yield
    monkeypatch.undo()
    language.use("en")


async def opened(person: Person) -> str:
    """The screen."""
    person.app.start("language")
    await person.settle()
    return person.screen


@pytest.mark.usefixtures("two_languages")
async def test_a_language_is_taken_at_once_for_this_screen_and_later_ones(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await opened(person)
        assert "(x) English" in screen
        assert "( ) Deutsch" in screen
        screen = await person.press("down", "enter")
        assert backend.calls == ["language de"]
        assert language.spoken() == "de"
        assert "(x) Deutsch" in screen
        assert person.focus == "layouts"
        await person.press("escape")
        assert isinstance(person.app.screen, MenuScreen)
        assert len(person.app.screen_stack) == 2


async def test_a_layout_is_loaded_and_marked(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        screen = await opened(person)
        assert "(x) English (US)" in screen
        screen = await person.press("tab", "down", "enter")
        assert backend.calls == ["keymap de-latin1-nodeadkeys"]
        assert "(x) German" in screen
        assert "( ) English (US)" in screen
        assert "Danish" not in screen


async def test_away_from_the_computer_it_is_said_whose_keyboard_is_meant(sit_down: Sit) -> None:
    async with sit_down(FakeBackend()) as person:
        assert "of the keyboard at the computer, not of this line" in await opened(person)
        await person.press("escape")
        person.app.at_computer = True
        assert "of this line" not in await opened(person)


async def test_where_no_layout_can_be_loaded_that_is_said(sit_down: Sit) -> None:
    backend = FakeBackend()
    backend.found_keyboard = replace(backend.found_keyboard, why_not="only root can change the keyboard's layout")
    async with sit_down(backend) as person:
        screen = await opened(person)
        assert "Keyboard layout: only root can change" in screen
        assert "German" not in screen
        assert isinstance(person.app.screen, LanguageScreen)


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live system with a German keymap, a kernel command line, and a loadkeys that notes what it is to load."""
    (tmp_path / "keymaps/qwertz").mkdir(parents=True)
    (tmp_path / "keymaps/qwertz/de-latin1-nodeadkeys.kmap.gz").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/loadkeys").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/said\n')
    (tmp_path / "bin/loadkeys").chmod(0o755)
    (tmp_path / "tty1").touch()
    (tmp_path / "cmdline").write_text("quiet rescue.lang=fr rescue.lang=de rescue.keymap=de rescue.id=1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(bootline, "PATH", tmp_path / "cmdline")
    monkeypatch.setattr(keyboard, "KEYMAPS", tmp_path / "keymaps")
    monkeypatch.setattr(keyboard, "STATE", tmp_path / "keymap")
    monkeypatch.setattr(keyboard, "CONSOLE", tmp_path / "tty1")
    return tmp_path


def test_the_kernel_command_line_presets_both(live: Path) -> None:
    presets.load_keymap()
    presets.load_keymap()
    assert (live / "said").read_text() == f"-q -C {live}/tty1 de-latin1-nodeadkeys\n"
    assert keyboard.keyboard().loaded == "de-latin1-nodeadkeys"
    assert presets.language(live / "state", {"LANG": "C.UTF-8"}) == "de"


def test_what_was_chosen_goes_before_the_kernel_command_line(live: Path) -> None:
    presets.remember_language(live / "state", "en")
    assert presets.language(live / "state", {}) == "en"
    keyboard.STATE.write_text("us")
    presets.load_keymap()
    assert not (live / "said").exists()


def test_a_layout_that_is_not_there_is_told_and_nothing_is_run(live: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bootline.PATH.write_text("rescue.keymap=../../etc\n")
    presets.load_keymap()
    assert "there is no keyboard layout" in capsys.readouterr().err
    with pytest.raises(UsageError):
        keyboard.load("fr")
    assert not (live / "said").exists()


def test_the_keyboard_of_another_system_is_left_alone(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESCUE_LIVE")
    with pytest.raises(RefusedError, match="this is not the recovery system"):
        keyboard.load("de-latin1-nodeadkeys")
    presets.load_keymap()
    assert not (live / "said").exists()
    assert presets.language(live / "state", {"LANG": "de_DE.UTF-8"}) == "de_DE.UTF-8"


def test_every_layout_has_a_code_of_its_own() -> None:
    codes = [layout.code for layout in layouts.LAYOUTS]
    assert len(set(codes)) == len(codes)
    assert layouts.named("de") == "de-latin1-nodeadkeys"
    assert layouts.named("trqu") == "trqu"
