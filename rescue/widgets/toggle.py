"""A box that is ticked or not, on one line."""

from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static


class Toggle(Static, can_focus=True):
    """`[x] Words`; the space bar and Enter change it, and the focus is seen without colour."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter,space", "tick")]
    DEFAULT_CSS = """
    Toggle { height: 1; width: auto; }
    Toggle:focus { text-style: reverse; }
    """

    ticked: reactive[bool] = reactive(False)

    class Changed(Message):
        """A person has changed it."""

        def __init__(self, toggle: "Toggle") -> None:
            super().__init__()
            self.toggle = toggle

    def __init__(self, words: str, *, id: str) -> None:
        super().__init__(id=id)
        self.words = words

    def render(self) -> Content:
        """The box and the words."""
        return Content(f"[{'x' if self.ticked else ' '}] {self.words}")

    def action_tick(self) -> None:
        """The space bar."""
        self.ticked = not self.ticked
        self.post_message(self.Changed(self))

    def on_click(self) -> None:
        """The mouse does the same."""
        self.action_tick()
