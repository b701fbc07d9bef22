"""Copy files out of an image: where to, and the plan before anything is written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import OptionList

from imaging import shares
from imaging.errors import RescueError
from imaging.fileplan import Place
from imaging.plan import FilesPlan
from rescue.files import Marks, amount_lines, marked_words, place_words
from rescue.formats import clean
from rescue.language import N_, _
from rescue.report import plan_lines
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import INDENT
from rescue.screens.shares import ASK_FOR_SHARE, AskWhere, Connector
from rescue.telling import told
from rescue.widgets.act import Act, Acts
from rescue.widgets.choices import Choice, Choices

Planner = Callable[[Path], FilesPlan]
"""Plans to copy what is marked into a folder; raises RescueError."""


class FileTargetScreen(RescueScreen):
    """Disks, sticks and shares that can be written to, or a path that is typed."""

    HEADING = N_("Copy files out of an image - choose where to")
    KEYS = N_("Enter choose   l look again   Esc back   F1 or ? help")
    ABOUT = N_("""
Files are copied into a folder of their own, rescue-files, on the disk,
stick or share that you choose; or into the folder whose path you type.
Nothing that is there is overwritten, and nothing is written yet.

  l       look again, after you have plugged in a medium""")
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again")]
    SHARE, TYPED = "share", "type"

    def __init__(self, planner: Planner, marks: Marks) -> None:
        super().__init__()
        self.planner = planner
        self.marks = marks
        self.connected: Path | None = None

    def body(self) -> ComposeResult:
        """The list."""
        yield text(f" {marked_words(self.marks)}\n" + _(" Where shall it be copied to?"), id="question")
        yield text(_(" Looking for disks and sticks .."), id="status")
        yield Choices(id="places")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Choices).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look again."""
        self.look(self.backend.file_places, self.show_places)

    def unanswered(self, error: RescueError) -> None:
        """Nothing is looked for any more; what can be typed can be chosen all the same."""
        if not self.query_one(Choices).option_count:
            self.show_places(())
        self.status(f" {clean(told(error.message))}")

    def status(self, words: str) -> None:
        """Say what goes on."""
        self.say("status", words)
        self.query_one("#status").display = bool(words)

    def show_places(self, places: Sequence[Place]) -> None:
        """Fill the list; the cursor is on a share that was just connected."""
        choices = [Choice(key=str(one.path), lines=(clean(str(one.path)), INDENT + place_words(one))) for one in places]
        share = _("A network share .."), INDENT + _("Windows, a NAS, NFS or ssh: type its address")
        choices.append(Choice(key=self.SHARE, lines=share))
        choices.append(Choice(key=self.TYPED, lines=(_("Another folder .."), INDENT + _("type its path"))))
        self.query_one(Choices).show(choices)
        found = [n for n, one in enumerate(places) if self.connected and one.path.is_relative_to(self.connected)]
        if found:
            self.query_one(Choices).highlighted = found[0]
        self.status("" if places else _(" No writable disk or stick was found: plug one in and press l."))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A place was chosen."""
        if event.option_id == self.SHARE:
            self.open(AskWhere(_(ASK_FOR_SHARE)), self.use)
        elif event.option_id == self.TYPED:
            self.open(AskWhere(_("Into which folder shall it be copied? Type its full path.")), self.use)
        else:
            self.use(event.option_id)

    def use(self, words: str | None) -> None:
        """On to the plan, unless it is refused; a share is connected first."""
        if not words:
            return
        with self.telling():
            if shares.is_address(words):
                Connector(self, lambda _address, where: self.show_share(where), writable=True).begin(words)
                return

            def ask() -> tuple[FilesPlan, Place]:
                plan = self.planner(Path(words))
                return plan, self.backend.file_place(Path(plan.target))

            self.look(ask, self.show_plan, group="plan")

    def show_plan(self, found: tuple[FilesPlan, Place]) -> None:
        """What would be done."""
        plan, place = found
        self.open(FilesPlanScreen(plan, place, self.marks))

    def show_share(self, where: Path) -> None:
        """A share is there now."""
        self.connected = where
        self.action_again()


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
