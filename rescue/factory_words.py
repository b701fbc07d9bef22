"""What is said of a factory image's mark: what it is called, and for which computers it was made."""

from imaging.notes import FactoryState
from imaging.orders import Match, Words
from rescue.formats import clean, joined
from rescue.language import _


def made_for(match: Match) -> str:
    """The computers that it was made for, in words."""
    words = [_either(one) for one in (match.vendor, match.product, match.serial) if one]
    return joined(*words, by=", ") or _("any computer")


def _either(words: Words) -> str:
    return _(" or ").join(clean(word) for word in ((words,) if isinstance(words, str) else words))


def factory_words(state: FactoryState) -> str:
    """All of a mark on one line."""
    computers = _("for: {computers}").format(computers=made_for(state.match))
    return joined(clean(state.name), clean(state.edition), computers, clean(state.description), by=", ")
