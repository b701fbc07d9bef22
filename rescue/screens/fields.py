"""A box with several fields: what is typed is taken when the last one is left, and what is wrong is told beneath."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from imaging.errors import RescueError
from rescue.language import _
from rescue.screens.base import Dialogue, problem, text
from rescue.widgets.act import Act, Acts
from rescue.widgets.line import Line

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One line to be filled in."""

    id: str
    words: str
    value: str = ""
    secret: bool = False


class Fields(Dialogue[T]):
    """Fields, and the buttons to connect or to go back."""

    DEFAULT_CSS = "Fields #wrong { height: auto; margin: 1 0 0 0; text-style: bold; }"

    def fields(self) -> Sequence[Field]:
        """From top to bottom."""
        raise NotImplementedError

    def first(self) -> str:
        """The field in which the cursor stands."""
        return self.fields()[0].id

    def next(self, id: str) -> str:
        """The field after one in which Enter was pressed; empty where all is said."""
        ids = [field.id for field in self.fields()]
        return ids[ids.index(id) + 1] if id != ids[-1] else ""

    def answer(self) -> T:
        """What was typed; raises RescueError where it cannot be meant."""
        raise NotImplementedError

    def typed(self, id: str) -> str:
        """What stands in a field; a password may begin or end with a blank."""
        field = self.query_one(f"#{id}", Input)
        return field.value if field.password else field.value.strip()

    def more(self) -> ComposeResult:
        """What stands below the fields."""
        yield from ()

    def answers(self) -> ComposeResult:
        """The fields, what is wrong, and the buttons."""
        width = max(cell_len(field.words) for field in self.fields())
        for field in self.fields():
            line = Line(value=field.value, password=field.secret, compact=True, id=field.id)
            line.styles.margin = 0
            blanks = " " * (width - cell_len(field.words))
            with Horizontal(classes="confirm"):
                yield Static(Content(f"{field.words}{blanks} ["), classes="ask", markup=False)
                yield line
                yield Static(Content("]"), classes="end", markup=False)
        yield from self.more()
        wrong = text("", id="wrong")
        wrong.display = False
        yield wrong
        yield Acts(Act(_("Connect"), id="connect"), Act(_("Back"), id="back"))

    def on_mount(self) -> None:
        """To the first field that is not known."""
        self.query_one(f"#{self.first()}", Input).focus()

    def on_input_changed(self) -> None:
        """What was wrong may be right now."""
        self.query_one("#wrong").display = False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: on to the next field, or on."""
        following = self.next(event.input.id or "")
        if following:
            self.query_one(f"#{following}", Input).focus()
        else:
            self.connect()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """A button."""
        if event.act.id == "connect":
            self.connect()
        else:
            self.dismiss(None)

    def connect(self) -> None:
        """Hand over what was typed, if it can be meant."""
        try:
            answer = self.answer()
        except RescueError as error:
            wrong = self.query_one("#wrong", Static)
            wrong.update(Content(problem(error).replace("\n\n", "\n")))
            wrong.display = True
            return
        self.dismiss(answer)
