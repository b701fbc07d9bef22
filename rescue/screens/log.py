"""The logs: of each job, of the screens and of the kernel, to be read here or saved for whoever helps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static

from imaging.logs import Place
from rescue.formats import clean, format_size
from rescue.language import N_, _
from rescue.pages import Page
from rescue.screens.base import AskText, Notice, RescueScreen, text
from rescue.widgets.choices import Choice, Choices

MOST_LINES = 2000
"""The newest lines of a log that are shown; all of them are in the file that is saved."""


class LogScreen(RescueScreen):
    """One log at a time, its end first."""

    HEADING = N_("Log")
    KEYS = N_("n next log   p log before   s save all   Esc back   F1 or ? help")
    ABOUT = N_("""
What was done since this computer was started, the newest job first. After
the jobs come an order for unattended work, errors of these screens, and
what the system's kernel said: a disk that fails is named there.

  Up, Down, PgUp, PgDn   scroll
  n, Right               the next log
  p, Left                the one before
  s                      save all logs as one file, to the stick or to
                         another disk, for whoever helps you""")
    BINDINGS: ClassVar[list[BindingType]] = [
        ("n,right", "turn(1)"),
        ("p,left", "turn(-1)"),
        ("s", "save"),
    ]
    DEFAULT_CSS = """
    LogScreen {
        #which { height: 1; margin: 1 1 0 1; text-style: bold; }
        #page { height: 1fr; margin: 1 1 0 1; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.pages: Sequence[str] = ("screens", "kernel")
        self.place = 0

    def body(self) -> ComposeResult:
        """Which log, and its lines."""
        yield text("", id="which")
        with VerticalScroll(id="page"):
            yield text("", id="lines")

    def on_mount(self) -> None:
        """Begin with the newest job."""
        self.query_one("#page").focus()
        with self.telling():
            order = ["order"] if self.backend.order() else []
            self.pages = (*(job.id for job in self.backend.jobs()), *order, "screens", "kernel")
        self.turn_to(0)

    def action_turn(self, by: int) -> None:
        """n and p: another log."""
        self.turn_to((self.place + by) % len(self.pages))

    def turn_to(self, place: int) -> None:
        """Fetch a log."""
        self.place = place
        self.look(partial(self.backend.log_page, self.pages[place]), self.show_page)

    def show_page(self, page: Page) -> None:
        """Its lines; one that is of a job may grow, so that its end is what matters."""
        self.say("which", f"{page.title}  ({self.place + 1}/{len(self.pages)})")
        lines = page.lines[-MOST_LINES:] or (_("Nothing was said yet."),)
        self.query_one("#lines", Static).update(Content("\n".join(lines)))
        self.call_after_refresh(self.query_one("#page", VerticalScroll).scroll_end, animate=False, immediate=True)

    def action_save(self) -> None:
        """s: choose where."""
        self.look(self.backend.log_places, self.ask_where)

    def ask_where(self, places: Sequence[Place]) -> None:
        """The list of places."""
        self.app.push_screen(SavePlaceScreen(places))


class SavePlaceScreen(RescueScreen):
    """Where all logs are saved."""

    HEADING = N_("Log - where to save it")
    KEYS = N_("Enter save there   o another folder   Esc back   F1 or ? help")
    ABOUT = N_("""
One file is written, with the date and this computer's serial number in its
name. It holds the logs of all jobs, what the kernel said, and a list of
this computer's disks: no passwords, and nothing of what is on the disks.
Windows, macOS and Linux can open it.

  Enter   save it there
  o       type the path of another folder""")
    BINDINGS: ClassVar[list[BindingType]] = [("o", "other")]
    DEFAULT_CSS = "SavePlaceScreen #note { height: auto; margin: 1; }"

    def __init__(self, places: Sequence[Place]) -> None:
        super().__init__()
        self.places = places
        self.saving = False

    def body(self) -> ComposeResult:
        """The places."""
        yield text("", id="note")
        yield Choices(id="places")

    def on_mount(self) -> None:
        """The stick is first."""
        choices = self.query_one(Choices)
        choices.show([Choice(key=str(place.path), lines=(place_line(place),)) for place in self.places])
        choices.focus()

    def on_screen_resume(self) -> None:
        """Shown for the first time, or again after an error was told."""
        if self.places:
            self.say("note", _("Where shall the file with all logs be saved?"))
        else:
            words = _("No medium that can be written to is attached: plug one in, or press o to type a folder's path.")
            self.say("note", words)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Save there."""
        self.save(Path(event.option_id or ""))

    def action_other(self) -> None:
        """o: ask for a path."""

        def use(path: str | None) -> None:
            if path:
                self.save(Path(path))

        self.open(AskText(_("Into which folder shall the log be saved? Type its full path.")), use)

    def save(self, folder: Path) -> None:
        """Write it; what was pressed twice writes once."""
        if self.saving:
            return
        self.saving = True
        self.say("note", _("Saving .."))

        def save() -> Path | None:
            try:
                return self.backend.save_log(folder)
            finally:
                self.saving = False

        self.look(save, self.saved)

    def saved(self, path: Path | None) -> None:
        """Say where it is, over the log."""
        words = _("The log is saved and safely on the medium:\n\n{path}\n\nGive this file to whoever helps you.")
        self.dismiss()
        self.app.push_screen(Notice(words.format(path=clean(str(path)))))


def place_line(place: Place) -> str:
    """`/media/usbdisk, 50 GB free`, the stick by its name."""
    name = _("The recovery stick ({path})") if place.stick else "{path}"
    free = _("{size} free").format(size=format_size(place.free))
    return f" {name.format(path=clean(str(place.path)))}, {free}"
