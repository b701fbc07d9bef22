"""Where shall something be written to: disks, sticks and shares that are there, or a path that is typed."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging import shares
from imaging.errors import RescueError
from imaging.fileplan import Place
from rescue.files import place_words
from rescue.formats import clean
from rescue.language import N_, _
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import INDENT
from rescue.screens.shares import ASK_FOR_SHARE, AskWhere, Connector
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices

P = TypeVar("P")


class PlacesScreen(RescueScreen, Generic[P]):
    """Places that can be written to; what would be done at the one that is chosen is `P`."""

    KEYS = N_("Enter choose   l look again   Esc back   F1 or ? help")
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again")]
    SHARE, TYPED = "share", "type"
    ASK_FOR_PATH: ClassVar[str] = ""
    """What is asked where a path is to be typed."""
    PLANNING: ClassVar[str] = ""
    """What is said while a plan is made, where that takes long."""

    def __init__(self) -> None:
        super().__init__()
        self.connected: Path | None = None

    def question(self) -> str:
        """What stands above the list."""
        raise NotImplementedError

    def find_places(self) -> Sequence[Place]:
        """Those that are there; takes up to seconds."""
        raise NotImplementedError

    def plan_into(self, where: Path) -> P:
        """What would be done there; takes up to seconds, raises RescueError where it cannot be."""
        raise NotImplementedError

    def show_plan(self, found: P) -> None:
        """On to it."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """The list."""
        yield text(self.question(), id="question")
        yield text(_(" Looking for disks and sticks .."), id="status")
        yield Choices(id="places")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Choices).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look again."""
        self.look(self.find_places, self.show_places)

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
            self.open(AskWhere(_(self.ASK_FOR_PATH)), self.use)
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
            if self.PLANNING:
                self.status(_(self.PLANNING))
            self.look(partial(self.plan_into, Path(words)), self.planned, group="plan")

    def planned(self, found: P) -> None:
        """It can be done."""
        if self.PLANNING:
            self.status("")
        self.show_plan(found)

    def show_share(self, where: Path) -> None:
        """A share is there now."""
        self.connected = where
        self.action_again()
