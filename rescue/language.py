"""The words that a person reads, in the language that was chosen: gettext, with English in the code.

`_` and `ngettext` translate now; `N_` only marks words that a class or a table holds, which are translated where they
are drawn. Placeholders have names, so that a translation can order them: `_("{name} is busy").format(name=name)`.
Source: the GNU gettext manual, "Preparing Translatable Strings".
"""

import gettext
import re
from collections.abc import Mapping
from pathlib import Path

DOMAIN = "rescue"
CATALOGUES = Path(__file__).with_name("locale")
"""`<language>/LC_MESSAGES/rescue.mo` in it."""

ENGLISH = "en"

_WITHOUT_MARKS = {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"}
"""German letters as they are written where only those of ASCII are at hand (DIN 5007-2)."""
_MARKED = re.compile("([" + "".join(_WITHOUT_MARKS) + "])(?=([A-ZÄÖÜ])?)")

_words: gettext.NullTranslations = gettext.NullTranslations()
_spoken = ENGLISH
_spelt_out = False


def languages() -> tuple[str, ...]:
    """Those that can be spoken, English first."""
    others = (path.parent.parent.name for path in CATALOGUES.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))
    return (ENGLISH, *sorted(others))


def use(language: str) -> None:
    """Speak a language from now on (`de`, `de_AT.UTF-8`); one without a catalogue is English."""
    global _words, _spoken
    short = language.partition(".")[0].partition("_")[0]
    _spoken = short if short in languages() else ENGLISH
    _words = gettext.translation(DOMAIN, CATALOGUES, languages=[_spoken], fallback=True)


def spell_out(only_ascii: bool) -> None:
    """Write `ae` for German's a with two dots, and so on, from now on: for a terminal that gets ASCII alone."""
    global _spelt_out
    _spelt_out = only_ascii


def spelt_out() -> bool:
    """Whether letters beyond ASCII are spelt out."""
    return _spelt_out


def _spelt(words: str) -> str:
    if words.isascii() or not _spelt_out:
        return words
    return _MARKED.sub(lambda found: _letters(found[1], loud=bool(found[2])), words)


def _letters(letter: str, *, loud: bool) -> str:
    letters = _WITHOUT_MARKS[letter]
    return letters.upper() if loud else letters


def of_environment(environ: Mapping[str, str]) -> str:
    """The language that the environment asks for. Source: locale(7)."""
    asked = (environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return next((value for value in asked if value), ENGLISH)


def spoken() -> str:
    """The language that is spoken now."""
    return _spoken


def _(message: str) -> str:
    """The message in the chosen language."""
    return _spelt(_words.gettext(message)) if message else ""


def ngettext(one: str, many: str, count: int) -> str:
    """The form that goes with `count`."""
    return _spelt(_words.ngettext(one, many, count))


def pgettext(context: str, message: str) -> str:
    """The message in the chosen language, where it stands in that context."""
    return _spelt(_words.pgettext(context, message))


def N_(message: str) -> str:
    """Mark a message for translation, and leave it as it is."""
    return message
