"""One image: all that is known of it; its files, verify, rename, note, pin and delete it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input

from imaging.imageplans import DeletePlan
from imaging.notes import NOTHING
from rescue.care import fact_line
from rescue.formats import clean, format_place
from rescue.language import N_, _
from rescue.report import image_lines, image_title
from rescue.screens.base import AskText, Notice, RescueScreen, text
from rescue.screens.delete import DeleteScreen
from rescue.screens.filevolumes import FileVolumesScreen
from rescue.screens.singlefile import SingleFilePlaceScreen
from rescue.shelf import Item
from rescue.telling import told


class EditText(AskText):
    """Asks for a line of text that may be empty, beginning with what it is now; None where it was left."""

    ABOUT = N_("Enter keeps what you typed. Esc closes this box and changes nothing.")

    def __init__(self, message: str, value: str) -> None:
        super().__init__(message)
        self.value = value

    def on_mount(self) -> None:
        """The field has the focus."""
        field = self.query_one("#answer", Input)
        field.value = self.value
        field.focus()

    def use(self) -> None:
        """Hand the text over."""
        self.dismiss(self.query_one("#answer", Input).value.strip())


class CareScreen(RescueScreen):
    """What can be done to an image, on the list and on the screen about one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("o", "files"),
        ("x", "export"),
        ("v", "verify"),
        ("r", "rename"),
        ("n", "note"),
        ("p", "pin"),
        ("d", "delete"),
    ]

    @property
    def item(self) -> Item | None:
        """The image that is meant."""
        raise NotImplementedError

    def changed(self) -> None:
        """Something was done to it."""
        raise NotImplementedError

    def sound(self) -> Item | None:
        """The image that is meant; None, with a word, where it is damaged."""
        item = self.item
        if item is not None and item.image is None:
            why = clean(told(item.problem))
            self.app.push_screen(Notice(_("This image is damaged. It can only be deleted.\n\n{why}").format(why=why)))
            return None
        return item

    def action_files(self) -> None:
        """o: open its files, to copy some out of it."""
        item = self.sound()
        if item is not None and item.image is not None:
            self.open(FileVolumesScreen(item, item.image))

    def action_export(self) -> None:
        """x: save it as a single file."""
        item = self.sound()
        if item is not None and item.image is not None:
            self.open(SingleFilePlaceScreen(item, item.image))

    def action_verify(self) -> None:
        """v: start to verify it, and show the progress."""
        item = self.sound()
        if item is not None:
            self.look(partial(self.backend.plan_verify, item.library, item.id), self.submit)

    def action_rename(self) -> None:
        """r: another label."""
        item = self.sound()
        if item is None or item.image is None:
            return
        question = _("What shall this image be called?\n\n{id}").format(id=clean(item.id))
        change = partial(self.backend.rename, item.library, item.id)
        self.ask(question, item.image.label, change)

    def action_note(self) -> None:
        """n: a note."""
        item = self.sound()
        if item is None or item.image is None:
            return
        question = _("A note for this image, such as what it is for:\n\n{name}").format(name=image_title(item.image))
        self.ask(question, item.notes.text, partial(self.backend.note, item.library, item.id))

    def action_pin(self) -> None:
        """p: keep it from being deleted, or allow that again."""
        item = self.sound()
        if item is not None:
            change = partial(self.backend.pin, item.library, item.id, pinned=not item.notes.pinned)
            self.look(change, lambda _done: self.changed())

    def ask(self, question: str, now: str, change: Callable[[str], None]) -> None:
        """Ask for a text, and keep it where it is another."""

        def answered(answer: str | None) -> None:
            if answer is not None and answer != now:
                self.look(partial(change, answer), lambda _done: self.changed())

        self.open(EditText(question, now), answered)

    def action_delete(self) -> None:
        """d: see what is lost, and type its name."""
        item = self.item
        if item is not None:

            def show(plan: DeletePlan) -> None:
                self.app.push_screen(DeleteScreen(plan, item))

            self.look(partial(self.backend.plan_delete, item.library, item.id), show)


class ImageScreen(CareScreen):
    """Everything about one image."""

    HEADING = N_("Images - one image")
    KEYS = N_("o files  x one file  v verify  r rename  n note  d delete  Esc back  F1 help")
    ABOUT = N_("""
This is all that is known of the image: what was saved, on which computer
and when, whether it was verified, and your note.

  o       open its files, to look at them or copy some out of it
  x       save it as a single file, to keep or carry it anywhere
  v       verify it: every part of it is read and checked
  r       give it another name
  n       write a note
  p       keep it from being deleted, or allow that again
  d       delete it; you see first what is lost and what it frees""")
    DEFAULT_CSS = """
    ImageScreen #image { height: 1fr; padding: 1 1 0 1; }
    """

    def __init__(self, item: Item) -> None:
        super().__init__()
        self._item = item

    @property
    def item(self) -> Item | None:
        """The one that is shown."""
        return self._item

    def body(self) -> ComposeResult:
        """Its lines."""
        with VerticalScroll(id="image"):
            yield text("", id="about")

    def on_mount(self) -> None:
        """The arrow keys scroll."""
        self.query_one("#image").focus()
        self.show_item()

    def show_item(self) -> None:
        """All lines."""
        item = self._item
        where = fact_line(_("Library"), format_place(item.library))
        if item.image is None:
            lines = [fact_line(_("Image"), clean(item.id)), fact_line(_("DAMAGED"), clean(told(item.problem))), where]
        else:
            lines = [*image_lines(item.image, item.notes, item.standing), "", where]
        self.say("about", "\n".join(lines))

    def changed(self) -> None:
        """Read it again."""
        item = self._item

        def ask() -> Item:
            listing = self.backend.images(item.library)
            image = next((one for one in listing.images if one.id == item.id), item.image)
            return replace(item, image=image, notes=listing.notes.get(item.id, NOTHING))

        def then(found: Item) -> None:
            self._item = found
            self.show_item()

        self.look(ask, then)
