"""Delete an image: what is lost, what it frees, and its name typed to confirm it."""

import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from imaging.errors import RescueError
from imaging.imageplans import DeletePlan
from rescue.aside import aside
from rescue.care import delete_lines, freed_lines
from rescue.formats import clean
from rescue.language import N_, _
from rescue.screens.base import RescueScreen, text
from rescue.shelf import Item, lost_lines, others_of
from rescue.telling import told
from rescue.widgets.act import Act, Acts
from rescue.widgets.confirm import offered
from rescue.widgets.line import Line


class DeleteScreen(RescueScreen):
    """The last screen before an image is deleted. An empty field is harmless, so the focus may start there."""

    HEADING = N_("Delete an image - read this before you go on")
    KEYS = N_("Type the name, then Enter  PgUp/PgDn  Esc back  F1 help")
    ABOUT = N_("""
This image will be gone for good. Nothing on the computer's own disks is
changed: only the saved copy is deleted.

Images share what is the same in them. What other images use, too, stays,
so a deletion may free less than the image's size.

To go on, type the image's label, or the letters and digits that its id
ends with, and press Enter; then the Delete button can be pressed with Enter
once more. Nothing is deleted until then. Esc goes back.""")

    DEFAULT_CSS = """
    DeleteScreen #last { text-style: bold; height: auto; display: none; }
    DeleteScreen #hint { height: 1; margin: 0 1; }
    """

    def __init__(self, plan: DeletePlan, item: Item) -> None:
        super().__init__()
        self.plan = plan
        self.item = item
        self.leaving = threading.Event()

    def body(self) -> ComposeResult:
        """What is lost, the field, the buttons."""
        with VerticalScroll(id="plan", can_focus=False):
            yield text("", id="lines")
            yield text("", id="last")
            yield text(_("Looking at what it frees .."), id="freed")
        with Horizontal(classes="confirm"):
            names = offered([clean(name) for name in self.plan.short_names], self.app.size.width)
            yield Static(Content(_("To delete it, type {names}: [").format(names=names)), classes="ask", markup=False)
            yield Line(compact=True)
            yield Static(Content("]"), classes="end", markup=False)
        yield text("", id="hint")
        yield Acts(Act(_("Back"), id="back"), Act(_("Delete"), id="delete", disabled=True))

    def on_mount(self) -> None:
        """The field has the focus; what is freed is looked for."""
        self.show_lines([*delete_lines(self.plan), *lost_lines(self.item)])
        self.query_one(Input).focus()
        self.run_worker(self.ask(), group="freed")

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self.leaving.set()

    def show_lines(self, lines: list[str]) -> None:
        """What is deleted stands out without colour."""
        first, *rest = lines
        words = Content.assemble((first, "bold"), "\n", "\n".join(rest))
        self.query_one("#lines", Static).update(words)

    async def ask(self) -> None:
        """Wait for what the deletion frees; it can do without."""
        try:
            freed = await aside(partial(self.backend.freed_by, self.plan, self.leaving))
            room = await aside(partial(self.backend.free_room, Path(self.plan.library)))
        except RescueError as error:
            if self.is_attached:
                self.say("freed", _("What it frees cannot be told: {why}").format(why=clean(told(error.message))))
            return
        if not self.is_attached:
            return
        self.say("freed", "\n".join(freed_lines(freed, room)))
        with suppress(RescueError):
            if await aside(partial(others_of, self.backend, self.item)) == 0 and self.is_attached:
                self.say("last", _("WARNING: there is no other image of that computer."))
                self.query_one("#last").display = True

    @property
    def confirmed(self) -> bool:
        """Whether what was typed names the image."""
        return self.plan.confirmed_by(self.query_one(Input).value)

    def on_input_changed(self) -> None:
        """The button follows what is typed."""
        self.query_one("#delete", Act).disabled = not self.confirmed
        self.say("hint", "")

    def on_input_submitted(self) -> None:
        """Enter: to the button, where the name is right."""
        if self.confirmed:
            self.query_one("#delete", Act).focus()
        elif self.query_one(Input).value:
            self.say("hint", _("That is not the name of this image. Nothing was deleted."))

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or go."""
        if event.act.id == "back":
            self.action_back()
        elif self.confirmed:
            self.submit(self.plan)
