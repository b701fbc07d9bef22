"""Back up this computer, second step: in which library, or in which folder a new one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging import remote, shares
from imaging.address import is_address, parse
from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.places import Remembered
from imaging.recoveryplans import MediaGrowPlan
from rescue.drives import gain_words
from rescue.formats import clean, format_place, format_size, joined
from rescue.language import N_, _
from rescue.screens import remembering
from rescue.screens.backup import BackupPlanScreen
from rescue.screens.base import RescueScreen, text
from rescue.screens.buckets import ASK_FOR_BUCKET, Reacher
from rescue.screens.disklist import INDENT, Known
from rescue.screens.growth import GrowthScreen
from rescue.screens.shares import ASK_FOR_SHARE, AskWhere, Connector
from rescue.screens.unlocking import open_library
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where an image can go, and the free room there (None where that is not known)."""

    libraries: tuple[Path, ...]
    folders: tuple[Path, ...]
    room: Mapping[Path, int | None]
    growth: MediaGrowPlan | None = None
    """What could be made of the recovery drive's unused room; None where it has none."""


class DestinationScreen(RescueScreen):
    """Libraries, folders where one could be made, a network share, or a path that is typed."""

    HEADING = N_("Back up this computer - choose where to")
    KEYS = N_("Enter choose   l look again   Esc back   F1 or ? help")
    ABOUT = N_("""
An image is kept in a library: a folder on another disk, a stick or a
share. Choose a library that is there, a folder in which a new one is
made, a network share or a bucket; or type a folder's path.

The library may not stand on a disk that is being saved.

An address that you have the recovery drive remember stands in this list
from then on, on any computer that is started from the drive.

  l       look again, after you have plugged in a medium
  d       have the drive forget the address under the cursor""")
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again"), ("d", "forget")]
    SHARE, BUCKET, TYPED, GROW = "share", "bucket", "type", "grow"

    def __init__(self, disks: tuple[Disk, ...], known: Known, only: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.disks = disks
        self.known = known
        self.only = only
        self.connected: Path | None = None
        self.growth: MediaGrowPlan | None = None
        self.remembered: tuple[Remembered, ...] = ()

    def body(self) -> ComposeResult:
        """The list."""
        yield text(_(" Where shall the image be kept?"), id="question")
        yield text(_(" Looking for libraries .."), id="status")
        yield Choices(id="places")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Choices).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look again."""

        def ask() -> Places:
            libraries = tuple(path for path in self.backend.libraries() if not remote.is_read_only(path))
            folders = tuple(path for path in self.backend.candidates() if path not in libraries)
            room = {path: self.backend.free_room(path) for path in (*libraries, *folders)}
            growth = None
            with suppress(RescueError):
                growth = self.backend.plan_grow()
            return Places(libraries=libraries, folders=folders, room=room, growth=growth)

        self.look(ask, self.show_places)

    def unanswered(self, error: RescueError) -> None:
        """Nothing is looked for any more; what can be typed can be chosen all the same."""
        if not self.query_one(Choices).option_count:
            self.show_places(Places(libraries=(), folders=(), room={}))
        self.say("status", f" {clean(told(error.message))}")
        self.query_one("#status").display = True

    def show_places(self, places: Places) -> None:
        """Fill the list; the cursor is on a share that was just connected."""

        def choice(path: Path, what: str) -> Choice:
            free = places.room.get(path)
            room = "" if free is None else _("{size} free").format(size=format_size(free))
            return Choice(key=str(path), lines=(format_place(path), INDENT + joined(what, room, by=", ")))

        choices = [choice(path, _("an image library")) for path in places.libraries]
        choices += [choice(path, _("a new library is made in this folder")) for path in places.folders]
        self.remembered = tuple(place for place in remembering.remembered(self) if not read_only(place.address))
        choices += remembering.choices(self.remembered)
        choices.append(
            Choice(
                key=self.SHARE,
                lines=(_("A network share .."), INDENT + _("Windows, a NAS, NFS or ssh: type its address")),
            )
        )
        choices.append(
            Choice(key=self.BUCKET, lines=(_("A bucket .."), INDENT + _("S3, Google or Azure: type its address")))
        )
        choices.append(Choice(key=self.TYPED, lines=(_("Another folder .."), INDENT + _("type its path"))))
        if places.growth is not None:
            lines = (_("More room on this recovery drive .."), INDENT + gain_words(places.growth))
            choices.append(Choice(key=self.GROW, lines=lines))
        self.growth = places.growth
        self.query_one(Choices).show(choices)
        if self.connected is not None:
            found = [n for n, path in enumerate((*places.libraries, *places.folders)) if self.on_share(path)]
            self.query_one(Choices).highlighted = found[0] if found else self.query_one(Choices).highlighted
        nothing = not (places.libraries or places.folders)
        self.say("status", _(" No writable disk or stick was found: plug one in and press l.") if nothing else "")
        self.query_one("#status").display = nothing

    def on_share(self, path: Path) -> bool:
        """Whether a folder is on the share that was connected last."""
        return self.connected is not None and path.is_relative_to(self.connected)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A place was chosen."""
        if event.option_id == self.SHARE:
            self.ask(_(ASK_FOR_SHARE))
        elif event.option_id == self.BUCKET:
            self.ask(_(ASK_FOR_BUCKET))
        elif place := remembering.chosen(event.option_id, self.remembered):
            self.use(place.address, known=place)
        elif event.option_id == self.TYPED:
            self.open(AskWhere(_("In which folder shall the image be kept? Type its full path.")), self.use)
        elif event.option_id == self.GROW and self.growth is not None:
            self.open(GrowthScreen(self.growth))
        else:
            self.use(event.option_id)

    def ask(self, question: str) -> None:
        """Ask for an address."""
        dialogue = AskWhere(question, offer=self.backend.can_remember())
        self.open(dialogue, lambda words: self.use(words, remember=dialogue.remembers))

    def action_forget(self) -> None:
        """d: an address is not remembered any more."""
        if place := remembering.chosen(self.query_one(Choices).chosen, self.remembered):
            remembering.forget(self, place, self.action_again)

    def use(self, words: str | None, *, known: Remembered | None = None, remember: bool = False) -> None:
        """On to the plan, unless the planner refuses; a share is connected first, as whoever is `known` there."""
        if not words:
            return
        with self.telling():
            if is_address(words):
                reacher = Reacher(self, lambda _url, library: self.use(str(library)), writable=True, remember=remember)
                reacher.begin(words)
                return
            if shares.is_address(words):
                connector = Connector(
                    self,
                    lambda _address, where: self.show_share(where),
                    writable=True,
                    known=known,
                    remember=remember,
                )
                connector.begin(words)
                return
            self.backend.plan_capture(self.disks, Path(words), "", only=self.only)
            if self.backend.is_locked(Path(words)):
                open_library(self, Path(words), lambda: self.use(words), lambda _library: self.say("status", ""))
                return
            self.open(BackupPlanScreen(self.disks, Path(words), self.known, self.only))

    def show_share(self, where: Path) -> None:
        """A share is there now."""
        self.connected = where
        self.action_again()


def read_only(address: str) -> bool:
    """Whether nothing can be stored at an address."""
    return is_address(address) and parse(address).read_only
