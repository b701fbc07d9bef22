"""What the lists of images have in common: how they are read, filtered and told apart."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from imaging.manifest import Image, Machine
from rescue.care import verified_short
from rescue.formats import clean, format_size, format_when, joined
from rescue.language import _
from rescue.report import label_words
from rescue.screens.base import RescueScreen
from rescue.screens.unlocking import open_library
from rescue.shelf import Item, Shelf, gather, is_of
from rescue.widgets.choices import Choices
from rescue.widgets.line import Line


class Filter(Horizontal):
    """The line below the list in which the filter is typed; hidden while there is none."""

    DEFAULT_CSS = """
    Filter { height: 1; dock: bottom; padding: 0 1; display: none; }
    Filter Static { width: auto; }
    """

    def compose(self) -> ComposeResult:
        """Words, the field in brackets, how many are shown."""
        yield Static(Content(_("Show only: [")), markup=False)
        yield Line(compact=True, id="filter")
        yield Static(Content("]"), markup=False)
        yield Static("", id="hits", markup=False)


class ShelfScreen(RescueScreen):
    """A list of images with a line to filter it; `body` yields a Choices and a Filter."""

    OPENS: ClassVar[bool] = True
    """Whether the images of encrypted libraries are of use here."""
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again"), ("slash", "filter"), ("down", "list"), ("u", "unlock")]

    def __init__(self) -> None:
        super().__init__()
        self.shelf: Shelf | None = None
        self.left: set[Path] = set()
        """Encrypted libraries that nobody wanted to open."""

    def on_mount(self) -> None:
        """The cursor is in the list; start to look."""
        self.query_one(Choices).focus()
        self.look_again()

    def on_resize(self) -> None:
        """The columns follow the width."""
        self.show_images()

    def action_again(self) -> None:
        """l: look again."""
        self.look_again()

    def look_again(self) -> None:
        """Read the libraries."""
        self.look(lambda: gather(self.backend, self.backend.libraries()), self.show_shelf)

    def show_shelf(self, shelf: Shelf) -> None:
        """What was found is known now."""
        self.shelf = shelf
        self.show_images()
        self.unlock_next()

    def unlock_next(self) -> None:
        """Ask for the passphrase of the first library that is closed, but for those that were left so."""
        closed = [path for path in self.shelf.locked if path not in self.left] if self.shelf and self.OPENS else []
        if closed:
            open_library(self, closed[0], self.look_again, self.leave)

    def leave(self, library: Path) -> None:
        """A library stays closed; on to the next."""
        self.left.add(library)
        self.show_images()
        self.unlock_next()

    def action_unlock(self) -> None:
        """u: open the encrypted libraries after all."""
        self.left.clear()
        self.unlock_next()

    def show_images(self) -> None:
        """Fill the list with what the filter lets through, where it is known what there is."""
        raise NotImplementedError

    @property
    def words(self) -> list[str]:
        """What is typed into the filter; nothing while there is none."""
        return self.query_one("#filter", Input).value.casefold().split() if self.query_one(Filter).display else []

    def wanted(self, items: Sequence[Item], here: Machine) -> list[Item]:
        """Those that the filter lets through."""
        words = self.words
        return [item for item in items if not words or all(word in searched(item, here) for word in words)]

    def action_filter(self) -> None:
        """/: type what to show."""
        self.query_one(Filter).display = True
        self.query_one("#filter", Input).focus()

    def on_input_changed(self) -> None:
        """The list follows what is typed."""
        self.show_images()

    def on_input_submitted(self) -> None:
        """Enter in the filter."""
        self.action_list()

    def action_list(self) -> None:
        """From the filter to the list."""
        self.query_one(Choices).focus()

    def action_back(self) -> None:
        """Esc: show all again where a filter is set, else back."""
        line = self.query_one(Filter)
        if not line.display:
            self.dismiss()
            return
        line.display = False
        self.query_one("#filter", Input).value = ""
        self.query_one(Choices).focus()
        self.show_images()


def label_cell(image: Image) -> str:
    """What it is called; its id where it has no label."""
    return label_words(image) if image.label else joined(label_words(image), clean(image.id), by=" ")


def computer_cell(image: Image, here: Machine) -> str:
    """Where it was captured."""
    machine = image.machine
    return _("this computer") if is_of(here, image) else clean(machine.model or machine.hostname or machine.vendor)


def system_cell(image: Image) -> str:
    """`Debian 13` of `Debian GNU/Linux 13 (trixie)`, for a narrow column."""
    return ", ".join(clean(re.sub(r"GNU/Linux |\s*\([^()]*\)", "", name)).strip() for name in image.systems)


def disks_cell(image: Image) -> str:
    """How large its disks are, and how many where it has several."""
    size = format_size(image.size)
    return size if len(image.disks) == 1 else f"{len(image.disks)}: {size}"


def factory_cell(item: Item) -> str:
    """A word where it is the factory image."""
    return _("FACTORY") if item.factory else ""


def is_bad(item: Item) -> bool:
    """Whether its last verification found damage."""
    return item.notes.verified is not None and not item.notes.verified.good


def searched(item: Item, here: Machine) -> str:
    """All the words that a filter looks at."""
    image = item.image
    if image is None:
        return f"{_('DAMAGED')} {item.id} {item.problem}".casefold()
    machine = image.machine
    cells = (
        format_when(image.created),
        label_cell(image),
        _("BAD") if is_bad(item) else "",
        factory_cell(item),
        computer_cell(image, here),
        system_cell(image),
        verified_short(item.notes),
        disks_cell(image),
    )
    disks = [word for disk in image.disks for word in (disk.name, disk.id.model, disk.id.serial)]
    labels = [volume.content.label for disk in image.disks for volume in disk.volumes]
    about = (image.id, machine.vendor, machine.model, machine.serial, machine.hostname, item.notes.text)
    return " ".join([*cells, *about, *image.systems, *disks, *labels]).casefold()
