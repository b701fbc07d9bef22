"""The field in which a person types the name of the disk or partition that is to be erased."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from imaging.planner import names_of
from rescue.chosen import Doomed
from rescue.formats import clean, shortened


class Confirm(Horizontal):
    """`To erase it, type sda or S5Y1: [        ]`; of a partition, `sda2 or S5Y1:2`."""

    def __init__(self, doomed: Doomed) -> None:
        super().__init__(classes="confirm")
        self.doomed = doomed

    def compose(self) -> ComposeResult:
        """Words, and a field in brackets that is seen without colour."""
        name, *serial = names_of(self.doomed.disk, self.doomed.partition)
        either = shortened(clean(name), 24)
        if serial and not self.doomed.disk.regular_file:
            either += f" or {shortened(clean(serial[0]), 20)}"
        yield Static(Content(f"To erase it, type {either}: ["), classes="ask", markup=False)
        yield Input(compact=True)
        yield Static(Content("]"), classes="end", markup=False)

    @property
    def answer(self) -> str:
        """What was typed."""
        return self.query_one(Input).value
