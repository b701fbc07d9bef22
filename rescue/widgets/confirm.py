"""The field in which a person types the name of the disk that is to be erased."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from imaging.disk import Disk
from rescue.formats import clean, shortened


class Confirm(Horizontal):
    """`To erase it, type sda or S5Y1: [        ]`."""

    def __init__(self, target: Disk) -> None:
        super().__init__(classes="confirm")
        self.target = target

    def compose(self) -> ComposeResult:
        """Words, and a field in brackets that is seen without colour."""
        name = shortened(clean(self.target.name), 24)
        serial = shortened(clean(self.target.id.serial), 20)
        either = f"{name} or {serial}" if serial and not self.target.regular_file else name
        yield Static(Content(f"To erase it, type {either}: ["), classes="ask", markup=False)
        yield Input(compact=True)
        yield Static(Content("]"), classes="end", markup=False)

    @property
    def answer(self) -> str:
        """What was typed."""
        return self.query_one(Input).value
