"""Keyboard layouts in a person's words, and the names that loadkeys has for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from imaging.keyboard import Keyboard
from rescue.language import N_


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`code` is what `rescue.keymap=` on the kernel command line names."""

    code: str
    name: str
    keymap: str


LAYOUTS = (
    Layout(code="us", name=N_("English (US)"), keymap="us"),
    Layout(code="uk", name=N_("English (UK)"), keymap="uk"),
    Layout(code="de", name=N_("German"), keymap="de-latin1-nodeadkeys"),
    Layout(code="ch", name=N_("Swiss German"), keymap="sg-latin1"),
    Layout(code="fr", name=N_("French"), keymap="fr-latin9"),
    Layout(code="fr-ch", name=N_("Swiss French"), keymap="fr_CH-latin1"),
    Layout(code="be", name=N_("Belgian"), keymap="be-latin1"),
    Layout(code="nl", name=N_("Dutch"), keymap="nl"),
    Layout(code="es", name=N_("Spanish"), keymap="es"),
    Layout(code="latam", name=N_("Spanish (Latin America)"), keymap="la-latin1"),
    Layout(code="pt", name=N_("Portuguese"), keymap="pt-latin1"),
    Layout(code="br", name=N_("Portuguese (Brazil)"), keymap="br-abnt2"),
    Layout(code="it", name=N_("Italian"), keymap="it"),
    Layout(code="dk", name=N_("Danish"), keymap="dk-latin1"),
    Layout(code="no", name=N_("Norwegian"), keymap="no-latin1"),
    Layout(code="se", name=N_("Swedish"), keymap="se-latin1"),
    Layout(code="fi", name=N_("Finnish"), keymap="fi-latin1"),
    Layout(code="pl", name=N_("Polish"), keymap="pl"),
    Layout(code="cz", name=N_("Czech"), keymap="cz-lat2"),
    Layout(code="sk", name=N_("Slovak"), keymap="sk-qwertz"),
    Layout(code="hu", name=N_("Hungarian"), keymap="hu"),
    Layout(code="si", name=N_("Slovene"), keymap="slovene"),
    Layout(code="hr", name=N_("Croatian"), keymap="croat"),
    Layout(code="ro", name=N_("Romanian"), keymap="ro"),
    Layout(code="tr", name=N_("Turkish"), keymap="trqu"),
    Layout(code="jp", name=N_("Japanese"), keymap="jp106"),
    Layout(code="dvorak", name=N_("English (Dvorak)"), keymap="dvorak"),
)
"""Those of which every key that Rescue asks for can be typed: names of disks are in Latin letters."""

DEFAULT = LAYOUTS[0]


def installed(keyboard: Keyboard) -> Sequence[Layout]:
    """Those of which this system has the keymap."""
    return [layout for layout in LAYOUTS if layout.keymap in keyboard.keymaps]


def named(code: str) -> str:
    """loadkeys' name for a code; another word is taken for loadkeys' own."""
    return next((layout.keymap for layout in LAYOUTS if layout.code == code), code)
