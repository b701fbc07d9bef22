"""The field in which a person types the name of the disk or partition that is to be erased."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from imaging.planner import names_of
from rescue.chosen import Doomed
from rescue.formats import cells, clean, shortened
from rescue.language import _
from rescue.widgets.line import Line

BESIDE_NAMES = 44
"""Columns of a screen that are not for names: the words around them, and the field."""

LEAST = 8
"""Columns that each name has."""


def offered(names: Sequence[str], width: int) -> str:
    """`sda or S5Y1`: names that may be typed, the longest cut first where the field behind them would have no room."""
    room = max(20, width - BESIDE_NAMES)
    shown: dict[str, str] = {}
    for left, name in zip(range(len(names), 0, -1), sorted(names, key=cells), strict=True):
        shown[name] = shortened(name, room - LEAST * (left - 1))
        room -= cells(shown[name])
    return _(" or ").join(shown[name] for name in names)


class Typed(Horizontal):
    """A question, and a field in brackets that is seen without colour."""

    def __init__(self) -> None:
        super().__init__(classes="confirm")

    def question(self) -> str:
        """What is asked, up to the bracket before the field."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Words, and the field."""
        yield Static(Content(self.question()), classes="ask", markup=False)
        yield Line(compact=True)
        yield Static(Content("]"), classes="end", markup=False)

    @property
    def answer(self) -> str:
        """What was typed."""
        return self.query_one(Input).value


class Confirm(Typed):
    """`To erase it, type sda or S5Y1: [        ]`; of a partition, `sda2 or S5Y1:2`."""

    def __init__(self, doomed: Doomed) -> None:
        super().__init__()
        self.doomed = doomed

    def question(self) -> str:
        """What is asked, up to the bracket before the field."""
        name, *serial = names_of(self.doomed.disk, self.doomed.partition)
        names = [name, *([] if self.doomed.disk.regular_file else serial[:1])]
        either = offered([clean(each) for each in names], self.app.size.width)
        question = _("To erase it, type {name}: [") if self.doomed.erased else _("To update it, type {name}: [")
        if self.doomed.repaired:
            question = _("To repair it, type {name}: [")
        return question.format(name=either)


class Accept(Typed):
    """`To use it all the same, type accept: [        ]`: an image that nobody vouches for who is trusted here."""

    def question(self) -> str:
        """What is asked, up to the bracket before the field."""
        return _("To use it all the same, type {word}: [").format(word=_("accept"))

    @property
    def accepted(self) -> bool:
        """Whether the word was typed."""
        return self.answer.strip().casefold() == _("accept").casefold()
