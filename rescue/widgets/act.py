"""A button in one line, whose focus and whose being out of reach can be seen without colour."""

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.geometry import Offset
from textual.message import Message
from textual.widgets import Static


class Act(Static, can_focus=True):
    """`[ Label ]`; without the brackets while it is disabled, in reverse while it has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter,space", "press")]

    class Pressed(Message):
        """Somebody pressed it; `control.id` says which."""

        def __init__(self, act: "Act") -> None:
            super().__init__()
            self.act = act

        @property
        def control(self) -> "Act":
            """The button."""
            return self.act

    def __init__(self, label: str, *, id: str, disabled: bool = False) -> None:
        super().__init__(id=id, disabled=disabled)
        self.label = label

    def render(self) -> Content:
        """The label as it is to be seen now."""
        return Content(f"  {self.label}  " if self.disabled else f"[ {self.label} ]")

    @property
    def spot(self) -> Offset:
        """Where the terminal's own cursor belongs."""
        return self.content_region.offset

    def action_press(self) -> None:
        """Say that it was pressed."""
        self.post_message(self.Pressed(self))

    def on_click(self) -> None:
        """The mouse does the same."""
        self.action_press()

    def watch_disabled(self, disabled: bool) -> None:
        """The brackets come and go."""
        super().watch_disabled(disabled)
        self.refresh(layout=True)


class Acts(Horizontal):
    """A row of buttons; the arrow keys move along it."""

    BINDINGS: ClassVar[list[BindingType]] = [("left,up", "move(-1)"), ("right,down", "move(1)")]

    def action_move(self, by: int) -> None:
        """Move the focus within the row, or out of it at its ends."""
        acts = [act for act in self.query(Act) if act.display and not act.disabled]
        place = next((index for index, act in enumerate(acts) if act.has_focus), None)
        if place is not None and 0 <= place + by < len(acts):
            acts[place + by].focus()
        elif by < 0:
            self.screen.focus_previous()
        else:
            self.screen.focus_next()
