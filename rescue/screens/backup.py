"""Back up this computer, last step: what will be done, a label, and how well it is compressed."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.forecast import Forecast
from imaging.health import Health
from imaging.imageplans import CapturePlan
from imaging.levels import LEVELS
from rescue.aside import aside
from rescue.formats import clean
from rescue.health import source_warnings
from rescue.language import N_, _
from rescue.outlook import capture_lines, expected_words, level_rows, warning_lines
from rescue.report import plan_lines
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import Known, learn
from rescue.telling import told
from rescue.widgets.act import Act, Acts
from rescue.widgets.choices import Choice, Pick
from rescue.widgets.line import Line
from rescue.widgets.toggle import Toggle

ROOM_FOR_RANGES = 70
"""Columns of a screen from which a level's line says between which sizes the image will lie."""


class BackupPlanScreen(RescueScreen):
    """What will be saved and where to, a label for it, and how well it is compressed."""

    HEADING = N_("Back up this computer - ready to start")
    KEYS = N_("Type a label, then Enter   Tab options   PgUp/PgDn   Esc back   F1 help")
    ABOUT = N_("""
This is what will be done. Nothing on the disks that are saved is changed.

A partition is stored whole where it is not known what of it is used: the
line below it says why.

The label is what you will know the image by, such as "before the update".
It may stay empty.

Tab goes to the compression. Small takes longer and needs less room. Size
and time are forecast from a sample: in brackets is what the size lies
between, most likely. A library on a slow disk takes longer.

Tab goes on to the check: once the image is there, the file systems in it
are checked by their own tools. Space ticks it.

Enter in the field goes to the Start button; Enter there starts the backup.
It goes on even if this screen is closed.""")
    DEFAULT_CSS = "BackupPlanScreen #check { margin: 0 1; }"

    def __init__(self, disks: tuple[Disk, ...], library: Path, known: Known, only: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.disks = disks
        self.known = known
        self.only = only
        self.library = library
        self.forecast: Forecast | None = None
        self.leaving = threading.Event()

    def body(self) -> ComposeResult:
        """The plan, the label, the levels, the buttons."""
        with VerticalScroll(id="plan", can_focus=False):
            yield text("", id="lines")
        with Horizontal(classes="confirm", id="naming"):
            yield Static(Content(_("Label: [")), classes="ask", markup=False)
            yield Line(compact=True, id="label")
            yield Static(Content("]"), classes="end", markup=False)
        yield text(_("Compression. Looking at what is used .."), id="expected")
        yield Pick(id="levels")
        yield Toggle(_("Check the file systems in the image afterwards"), id="check")
        yield text("", id="room")
        yield text("", id="gap")
        yield Acts(Act(_("Back"), id="back"), Act(_("Start the backup"), id="start"))

    def on_mount(self) -> None:
        """The label's field has the focus; the forecast begins."""
        self.show_levels()
        self.query_one(Pick).pick(str(DEFAULT_LEVEL))
        self.show_plan()
        self.query_one(Input).focus()
        self.run_worker(self.ask(), group="forecast")
        disks = [disk for disk in self.disks if not disk.regular_file]
        if any(disk.path not in self.known.health for disk in disks):
            learn(self, "health", lambda: self.backend.health(disks), self.know_health)

    def know_health(self, healths: Mapping[str, Health]) -> None:
        """How the disks are doing."""
        self.known = replace(self.known, health={**self.known.health, **healths})
        self.show_plan()

    def on_unmount(self) -> None:
        """Nobody waits for the forecast any more."""
        self.leaving.set()

    @property
    def level(self) -> int:
        """The one that is taken."""
        return int(self.query_one(Pick).chosen or DEFAULT_LEVEL)

    def plan(self, label: str = "") -> CapturePlan:
        """As it is on the screen now; raises RefusedError."""
        check = self.query_one(Toggle).ticked
        return self.backend.plan_capture(self.disks, self.library, label, self.level, check=check, only=self.only)

    async def ask(self) -> None:
        """Wait for the forecast; a backup can do without."""
        try:
            self.forecast = await aside(partial(self.backend.forecast, self.plan(), self.leaving))
        except RescueError as error:
            words = _("Compression. There is no forecast: {reason}")
            self.say("expected", words.format(reason=clean(told(error.message))))
            return
        self.say("expected", _("Compression. {forecast}:").format(forecast=expected_words(self.forecast)))
        self.show_levels()
        self.show_plan()

    def show_levels(self) -> None:
        """One line for each level that has a name, with what it comes to."""
        rows = level_rows(self.forecast, list(LEVELS.values()))
        if self.app.size.width < ROOM_FOR_RANGES:
            rows = [re.sub(r" \([^()]*\)", "", row) for row in rows]
        self.query_one(Pick).show(
            [Choice(key=str(level), lines=(row,)) for level, row in zip(LEVELS.values(), rows, strict=True)]
        )

    def show_plan(self) -> None:
        """The plan at this level, and whether it has room."""
        plan, warning = self.plan(), source_warnings(self.disks, self.known.health)
        if self.forecast is None:
            lines = plan_lines(plan)
        else:
            lines = capture_lines(plan, self.forecast)
            warning += warning_lines(self.forecast, self.level)
        self.say("lines", "\n".join(lines))
        self.say("room", "\n".join(warning))
        self.query_one("#room").display = bool(warning)

    def on_pick_picked(self) -> None:
        """Another level."""
        with self.telling():
            self.show_plan()

    def on_toggle_changed(self) -> None:
        """With the check, or without."""
        with self.telling():
            self.show_plan()

    def on_option_list_option_selected(self) -> None:
        """Enter on a level: to the button."""
        self.query_one("#start", Act).focus()

    def on_input_submitted(self) -> None:
        """Enter in the field: to the button."""
        self.query_one("#start", Act).focus()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or go."""
        if event.act.id == "back":
            self.action_back()
            return
        with self.telling():
            plan = self.plan(self.query_one(Input).value.strip())
            self.leaving.set()
            self.submit(plan)
