"""Back up this computer: which disks, where to, then what will be done."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static

from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.forecast import Forecast
from imaging.levels import LEVELS
from imaging.plan import CapturePlan
from rescue.formats import clean, format_size, plural
from rescue.outlook import capture_lines, expected_words, level_rows, warning_lines
from rescue.report import plan_lines
from rescue.screens.base import AskText, RescueScreen, text
from rescue.screens.targets import ASK_FOR_FILE, all_disks, disk_choice, usable_first
from rescue.widgets.act import Act, Acts
from rescue.widgets.choices import Checks, Choice, Choices, Pick


def is_external(disk: Disk) -> bool:
    """Whether the disk was plugged in: a stick or a USB disk is seldom what is to be backed up."""
    return disk.removable or disk.transport == "usb"


class SourcesScreen(RescueScreen):
    """The disks of this computer: which are to be saved?"""

    HEADING = "Back up this computer - choose the disks"
    KEYS = "Space mark   Enter go on   l look again   o disk file   Esc back   F1 help"
    ABOUT = """
Mark each disk that is to be saved with the space bar, then press Enter.
Only the parts that hold data are saved. Nothing on these disks is changed.

Disks that cannot be saved are shown with the reason.

  Space   mark the disk under the cursor, or take the mark away
  Enter   go on with the marked disks, or with the one under the cursor
          where none is marked
  l       look for disks again
  o       name a file that stands for a disk, such as a virtual machine's"""
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again"), ("o", "other")]

    def __init__(self) -> None:
        super().__init__()
        self.disks: dict[str, Disk] = {}
        self.files: list[str] = []

    def body(self) -> ComposeResult:
        """The list, and how many are marked."""
        yield text(" Which disks shall be saved?", id="question")
        yield text(" Looking at the disks ..", id="status")
        yield Checks(id="disks")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Checks).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look again."""

        def ask() -> list[Disk]:
            return all_disks(self.backend, self.backend.libraries(), self.files)

        self.look(ask, self.show_disks)

    def action_other(self) -> None:
        """o: a disk file."""

        def use(answer: str | None) -> None:
            if answer:
                self.files.append(answer)
                self.action_again()

        self.app.push_screen(AskText(ASK_FOR_FILE), use)

    def show_disks(self, disks: Sequence[Disk]) -> None:
        """Fill the list, this computer's own disks first; where only one of those can be saved it is marked."""
        first = not self.disks
        disks = sorted(disks, key=is_external)
        self.disks = {disk.path: disk for disk in disks}
        choices = usable_first([disk_choice(disk, self.backend.why_not_source(disk)) for disk in disks])
        checks = self.query_one(Checks)
        checks.show(choices)
        usable = [choice.key for choice in choices if not choice.why_not]
        inside = [key for key in usable if not is_external(self.disks[key])]
        if first and len(inside or usable) == 1:
            checks.mark((inside or usable)[0])
        self.show_status()

    def show_status(self) -> None:
        """How much is marked."""
        marked = [self.disks[key] for key in self.query_one(Checks).marked]
        if not any(option for option in self.query_one(Checks).options if not option.disabled):
            self.say("status", " There is no disk here that can be saved.")
        elif marked:
            size = format_size(sum(disk.size for disk in marked))
            self.say("status", f" Marked: {plural(len(marked), 'disk')}, {size}. Press Enter to go on.")
        else:
            self.say("status", " Press Space to mark a disk.")

    def on_checks_marked(self) -> None:
        """A mark has come or gone."""
        self.show_status()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: on with the marked disks, or with this one."""
        keys = self.query_one(Checks).marked or [event.option_id or ""]
        disks = tuple(self.disks[key] for key in keys if key in self.disks)
        if disks:
            self.app.push_screen(DestinationScreen(disks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an image can go."""

    libraries: tuple[Path, ...]
    folders: tuple[Path, ...]


class DestinationScreen(RescueScreen):
    """Libraries, folders where one could be made, or a path that is typed."""

    HEADING = "Back up this computer - choose where to"
    KEYS = "Enter choose   l look again   Esc back   F1 or ? help"
    ABOUT = """
An image is kept in a library: a folder on another disk, a stick or a
share. Choose a library that is there, a folder in which a new one is
made, or type a folder's path.

The library may not stand on a disk that is being saved.

  l       look again, after you have plugged in a medium"""
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again")]
    TYPED = "type"

    def __init__(self, disks: tuple[Disk, ...]) -> None:
        super().__init__()
        self.disks = disks

    def body(self) -> ComposeResult:
        """The list."""
        yield text(" Where shall the image be kept?", id="question")
        yield text(" Looking for libraries ..", id="status")
        yield Choices(id="places")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Choices).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look again."""

        def ask() -> Places:
            libraries = tuple(self.backend.libraries())
            return Places(
                libraries=libraries, folders=tuple(path for path in self.backend.candidates() if path not in libraries)
            )

        self.look(ask, self.show_places)

    def show_places(self, places: Places) -> None:
        """Fill the list."""
        choices = [
            Choice(key=str(path), lines=(f" {clean(str(path))}", "     an image library")) for path in places.libraries
        ]
        choices += [
            Choice(key=str(path), lines=(f" {clean(str(path))}", "     a new library is made in this folder"))
            for path in places.folders
        ]
        choices.append(Choice(key=self.TYPED, lines=(" Another folder ..", "     type its path")))
        self.query_one(Choices).show(choices)
        nothing = not (places.libraries or places.folders)
        self.say("status", " No writable disk or stick was found: plug one in and press l." if nothing else "")
        self.query_one("#status").display = nothing

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A place was chosen."""
        if event.option_id != self.TYPED:
            self.use(event.option_id)
            return
        self.app.push_screen(AskText("In which folder shall the image be kept? Type its full path."), self.use)

    def use(self, folder: str | None) -> None:
        """On to the plan, unless the planner refuses."""
        if not folder:
            return
        with self.telling():
            self.backend.plan_capture(self.disks, Path(folder), "")
            self.app.push_screen(BackupPlanScreen(self.disks, Path(folder)))


class BackupPlanScreen(RescueScreen):
    """What will be saved and where to, a label for it, and how well it is compressed."""

    HEADING = "Back up this computer - ready to start"
    KEYS = "Type a label, then Enter   Tab level   PgUp/PgDn   Esc back   F1 help"
    ABOUT = """
This is what will be done. Nothing on the disks that are saved is changed.

A partition is stored whole where it is not known what of it is used: the
line below it says why.

The label is what you will know the image by, such as "before the update".
It may stay empty.

Tab goes to the compression. Small takes longer and needs less room. Size
and time are forecast from a sample: in brackets is what the size lies
between, most likely. A library on a slow disk takes longer.

Enter in the field goes to the Start button; Enter there starts the backup.
It goes on even if this screen is closed."""

    def __init__(self, disks: tuple[Disk, ...], library: Path) -> None:
        super().__init__()
        self.disks = disks
        self.library = library
        self.forecast: Forecast | None = None
        self.leaving = threading.Event()

    def body(self) -> ComposeResult:
        """The plan, the label, the levels, the buttons."""
        with VerticalScroll(id="plan", can_focus=False):
            yield text("", id="lines")
        with Horizontal(classes="confirm", id="naming"):
            yield Static(Content("Label: ["), classes="ask", markup=False)
            yield Input(compact=True, id="label")
            yield Static(Content("]"), classes="end", markup=False)
        yield text("Compression. Looking at what is used ..", id="expected")
        yield Pick(id="levels")
        yield text("", id="room")
        yield text("", id="gap")
        yield Acts(Act("Back", id="back"), Act("Start the backup", id="start"))

    def on_mount(self) -> None:
        """The label's field has the focus; the forecast begins."""
        self.show_levels()
        self.query_one(Pick).pick(str(DEFAULT_LEVEL))
        self.show_plan()
        self.query_one(Input).focus()
        self.run_worker(self.ask(), group="forecast")

    def on_unmount(self) -> None:
        """Nobody waits for the forecast any more."""
        self.leaving.set()

    @property
    def level(self) -> int:
        """The one that is taken."""
        return int(self.query_one(Pick).chosen or DEFAULT_LEVEL)

    def plan(self, label: str = "") -> CapturePlan:
        """As it is on the screen now; raises RefusedError."""
        return self.backend.plan_capture(self.disks, self.library, label, self.level)

    async def ask(self) -> None:
        """Wait for the forecast; a backup can do without."""
        try:
            self.forecast = await asyncio.to_thread(self.backend.forecast, self.plan(), self.leaving)
        except RescueError as error:
            self.say("expected", f"Compression. There is no forecast: {clean(error.message)}")
            return
        self.say("expected", f"Compression. {expected_words(self.forecast)}:")
        self.show_levels()
        self.show_plan()

    def show_levels(self) -> None:
        """One line for each level that has a name, with what it comes to."""
        rows = level_rows(self.forecast, list(LEVELS.values()))
        self.query_one(Pick).show(
            [Choice(key=str(level), lines=(row,)) for level, row in zip(LEVELS.values(), rows, strict=True)]
        )

    def show_plan(self) -> None:
        """The plan at this level, and whether it has room."""
        plan, warning = self.plan(), []
        if self.forecast is None:
            lines = plan_lines(plan)
        else:
            lines, warning = capture_lines(plan, self.forecast), warning_lines(self.forecast, self.level)
        self.say("lines", "\n".join(lines))
        self.say("room", "\n".join(warning))
        self.query_one("#room").display = bool(warning)

    def on_pick_picked(self) -> None:
        """Another level."""
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
            self.dismiss()
            return
        with self.telling():
            plan = self.plan(self.query_one(Input).value.strip())
            self.leaving.set()
            self.submit(plan)
