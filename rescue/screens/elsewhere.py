"""Look elsewhere for images: on the network, in a folder, on a disk that is attached."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging import shares
from imaging.address import is_address
from imaging.elsewhere import Attached
from imaging.errors import RescueError
from imaging.places import Remembered
from imaging.shares import Address
from rescue.contents import content_words
from rescue.formats import clean, format_size, joined
from rescue.language import N_, _
from rescue.screens.base import Notice, RescueScreen, problem, text
from rescue.screens.buckets import ASK_FOR_BUCKET, Reacher
from rescue.screens.remembering import choices, chosen, forget, remembered
from rescue.screens.shares import ASK_FOR_FOLDER, ASK_FOR_SHARE, AskWhere, Connector
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices

SHARE, BUCKET, FOLDER = "share", "bucket", "folder"


class ElsewhereScreen(RescueScreen):
    """Where else images may be; it closes once some were found."""

    HEADING = N_("Look elsewhere for images")
    KEYS = N_("Enter look there   l look again   Esc back   F1 or ? help")
    ABOUT = N_("""
Choose where to look. A library is found wherever it lies in a folder, on
a disk or on a share; its images then stand in the list with the others.

A network share and a disk are only read: nothing is written to them.

An address that you have the recovery drive remember stands at the top of
this list from then on, on any computer that is started from the drive.

  l       look again, after you have plugged in a medium
  d       have the drive forget the address under the cursor""")
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again"), ("d", "forget")]

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, Attached] = {}
        self.known: tuple[Remembered, ...] = ()

    def body(self) -> ComposeResult:
        """The list."""
        yield text(_(" Where shall the images be looked for?"), id="question")
        yield text("", id="status")
        yield Choices(id="places")

    def on_mount(self) -> None:
        """What is typed can be chosen at once; the disks take a moment."""
        self.show_places(())
        self.query_one(Choices).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look at the disks again."""
        self.status(_(" Looking at the disks .."))
        self.look(self.backend.attached, self.show_found, group="attached")

    def show_found(self, places: Sequence[Attached]) -> None:
        """The disks are known now."""
        self.status("" if places else _(" There is no file system on the disks that could hold images."))
        self.show_places(places)

    def unanswered(self, error: RescueError) -> None:
        """The disks are not looked at any more; what is typed can be chosen all the same."""
        self.status(f" {clean(told(error.message))}")

    def show_places(self, places: Sequence[Attached]) -> None:
        """Fill the list."""
        self.places = {place.name: place for place in places}
        self.known = remembered(self)
        typed = [
            Choice(key=SHARE, lines=(_("A network share .."), _("    Windows, a NAS, NFS or ssh: type its address"))),
            Choice(
                key=BUCKET,
                lines=(_("A bucket or a web server .."), _("    S3, Google, Azure, https: type its address")),
            ),
            Choice(key=FOLDER, lines=(_("A folder .."), _("    type its path"))),
        ]
        self.query_one(Choices).show([*choices(self.known), *typed, *(place_choice(place) for place in places)])

    def status(self, words: str) -> None:
        """Say what goes on."""
        self.say("status", words)
        self.query_one("#status").display = bool(words)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Look there."""
        if event.option_id == SHARE:
            self.ask(_(ASK_FOR_SHARE))
        elif event.option_id == BUCKET:
            self.ask(_(ASK_FOR_BUCKET))
        elif event.option_id == FOLDER:
            self.open(AskWhere(_(ASK_FOR_FOLDER)), self.use)
        elif known := chosen(event.option_id, self.known):
            self.use(known.address, known=known)
        elif place := self.places.get(event.option_id or ""):
            self.search(place.name, lambda: self.backend.look_on(place))

    def ask(self, question: str) -> None:
        """Ask for an address."""
        dialogue = AskWhere(question, offer=self.backend.can_remember())
        self.open(dialogue, lambda words: self.use(words, remember=dialogue.remembers))

    def action_forget(self) -> None:
        """d: an address is not remembered any more."""
        if known := chosen(self.query_one(Choices).chosen, self.known):
            forget(self, known, self.action_again)

    def use(self, words: str | None, *, known: Remembered | None = None, remember: bool = False) -> None:
        """A folder or a share was typed, or one was chosen that is `known`."""
        if not words:
            return
        if is_address(words):
            with self.telling():
                Reacher(self, self.reached, remember=remember).begin(words)
        elif shares.is_address(words):
            with self.telling():
                Connector(self, self.connected, known=known, remember=remember).begin(words)
        else:
            self.search(words, lambda: self.backend.look_in(Path(words)))

    def connected(self, address: Address, where: Path) -> None:
        """On to what is on the share."""
        self.search(address.source, lambda: self.backend.look_in(where))

    def reached(self, url: str, where: Path) -> None:
        """The library at an address is there now."""
        self.search(url, lambda: self.backend.look_in(where))

    def search(self, name: str, ask: Callable[[], Sequence[Path]]) -> None:
        """Look for libraries in a thread; found ones close this screen."""
        self.status(_(" Looking for images in {place} ..").format(place=clean(name)))

        def attempt() -> RescueError | None:
            try:
                ask()
            except RescueError as error:
                return error
            return None

        def then(error: RescueError | None) -> None:
            self.status("")
            if error is None:
                self.dismiss()
            else:
                self.app.push_screen(Notice(problem(error)))

        self.look(attempt, then)


def place_choice(place: Attached) -> Choice:
    """A file system as the list shows it."""
    what = joined(clean(place.name), format_size(place.size), content_words(place.content))
    disk = joined(clean(place.disk.id.model), clean(place.disk.transport))
    return Choice(key=place.name, lines=(what, *([f"    {disk}"] if disk else [])), why_not=place.why_not)
