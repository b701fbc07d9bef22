"""Copy files out of an image: where to, and the plan before anything is written."""

from collections.abc import Callable, Sequence
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from imaging.fileplan import Place
from imaging.imageplans import FilesPlan
from rescue.files import Marks, amount_lines, marked_words
from rescue.language import N_, _
from rescue.report import plan_lines
from rescue.screens.base import RescueScreen, text
from rescue.screens.places import PlacesScreen
from rescue.widgets.act import Act, Acts

Planner = Callable[[Path], FilesPlan]
"""Plans to copy what is marked into a folder; raises RescueError."""


class FileTargetScreen(PlacesScreen[tuple[FilesPlan, Place]]):
    """Where files shall be copied to."""

    HEADING = N_("Copy files out of an image - choose where to")
    ABOUT = N_("""
Files are copied into a folder of their own, rescue-files, on the disk,
stick or share that you choose; or into the folder whose path you type.
Nothing that is there is overwritten, and nothing is written yet.

  l       look again, after you have plugged in a medium""")
    ASK_FOR_PATH = N_("Into which folder shall it be copied? Type its full path.")

    def __init__(self, planner: Planner, marks: Marks) -> None:
        super().__init__()
        self.planner = planner
        self.marks = marks

    def question(self) -> str:
        """What is marked."""
        return f" {marked_words(self.marks)}\n" + _(" Where shall it be copied to?")

    def find_places(self) -> Sequence[Place]:
        """A folder on each."""
        return self.backend.file_places()

    def plan_into(self, where: Path) -> tuple[FilesPlan, Place]:
        """What is marked, into a folder, and what there is to know of that."""
        plan = self.planner(where)
        return plan, self.backend.file_place(Path(plan.target))

    def show_plan(self, found: tuple[FilesPlan, Place]) -> None:
        """What would be done."""
        plan, place = found
        self.open(FilesPlanScreen(plan, place, self.marks))


class FilesPlanScreen(RescueScreen):
    """What is copied where, how much, and what cannot be kept there; the focus is on what changes nothing."""

    HEADING = N_("Copy files out of an image - the plan")
    KEYS = N_("Left, Right and Enter a button   PgUp/PgDn scroll   Esc back   F1 help")
    ABOUT = N_("""
This is what will be copied, and where to. Nothing that is there is
overwritten: where another file has a name already, the copy gets a number.
What is there with the same size and date is not copied again.

Not every file system can keep all that a file has: what it cannot keep is
listed here as far as that is known, and in full when the job has ended.""")

    def __init__(self, plan: FilesPlan, place: Place, marks: Marks) -> None:
        super().__init__()
        self.plan = plan
        self.place = place
        self.marks = marks

    def body(self) -> ComposeResult:
        """The plan, the buttons."""
        with VerticalScroll(id="plan", can_focus=False):
            yield text("", id="lines")
        yield Acts(Act(_("Back"), id="back"), Act(_("Copy"), id="copy"))

    def on_mount(self) -> None:
        """The focus is on the harmless answer."""
        self.marks.watchers.append(self.show_plan)
        self.show_plan()
        self.query_one("#back").focus()

    def on_unmount(self) -> None:
        """Figures that come now are not shown any more."""
        self.marks.watchers.remove(self.show_plan)

    def show_plan(self) -> None:
        """In words; folders may still be counted."""
        self.say("lines", "\n".join([*plan_lines(self.plan), *amount_lines(self.marks.total, self.place)]))

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or go."""
        if event.act.id == "back":
            self.action_back()
        else:
            self.submit(self.plan)
