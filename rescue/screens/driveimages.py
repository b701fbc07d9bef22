"""Create a recovery drive, second step: what goes on it. The system does always; images are marked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.disk import format_size
from imaging.errors import RescueError
from imaging.manifest import Image
from imaging.mediasource import Weight
from rescue.drives import NO_IMAGES, Load
from rescue.formats import clean, format_when, joined, padded, shortened
from rescue.language import N_, _
from rescue.screens.base import text
from rescue.screens.drivetargets import DriveTargetScreen
from rescue.screens.shelf import Filter, ShelfScreen, computer_cell, label_cell
from rescue.shelf import Item, Shelf
from rescue.telling import told
from rescue.widgets.choices import Checks, Choice

SYSTEM = "system"
"""The key of what is always on a drive."""
DATE, COMPUTER, USED = 16, 13, 8
"""Columns of the table; the label has what is left."""
BESIDE = 7
"""Columns of a list beside its text: gutter, box, scroll bar."""
NARROW = 72
"""Columns of a screen below which the computer has none."""


def row(cells: Sequence[str], width: int) -> str:
    """One line of the table: date, label, computer, used bytes."""
    date, label, computer, used = cells
    others = COMPUTER + 2 if width >= NARROW else 0
    room = width - BESIDE - DATE - USED - 4 - others
    middle = [padded(shortened(label, room), room)]
    if others:
        middle.append(padded(shortened(computer, COMPUTER), COMPUTER))
    return "  ".join([date.ljust(DATE), *middle, used.rjust(USED)])


class DriveImagesScreen(ShelfScreen):
    """The system and all images, with a box each."""

    HEADING = N_("Create a recovery drive - what goes on it")
    KEYS = N_("Space mark   f factory image   Enter go on   / filter   l look again   F1 help")
    ABOUT = N_("""
The system is on each recovery drive. Mark each image that is to be on it,
too, with the space bar, then press Enter: it can be restored from the
drive alone. Without any, you can save images on the drive later.

One of them can be the factory image: the state to which a computer is put
back as it was when it was new.

  Space   mark the image under the cursor, or take the mark away
  f       the image under the cursor is the factory image, or is none
  Enter   go on to the choice of the stick; nothing is written yet
  /       show only images with the words that you type; Esc shows all
  l       look for libraries again, after you have plugged in a medium""")
    OPENS = False
    BINDINGS: ClassVar[list[BindingType]] = [("f", "factory")]

    def __init__(self, load: Load) -> None:
        super().__init__()
        self.load = load
        self.taken: dict[str, Item] = {}
        """The images that are marked, also those that the filter hides."""
        self.factory = ""
        self.weight: Weight | None = NO_IMAGES
        """What they take; None while that is added up."""

    def body(self) -> ComposeResult:
        """The question, the table, what it comes to."""
        yield text(_(" What shall be on the recovery drive?"), id="question")
        yield text(_(" Looking for images .."), id="status")
        yield Checks(id="contents", fixed={SYSTEM})
        yield Filter()

    def on_mount(self) -> None:
        """The system is there before any image is found."""
        self.query_one(Checks).show([self.system_choice()])

    def unanswered(self, error: RescueError) -> None:
        """What it comes to is not known, or no images are; the drive can do without."""
        self.say("status", f" {clean(told(error.message))}")

    def show_shelf(self, shelf: Shelf) -> None:
        """Images that are gone are no longer marked."""
        there = {item.key: item for item in shelf.good}
        self.taken = {key: there[key] for key in self.taken if key in there}
        super().show_shelf(shelf)
        self.add_up()

    def system_choice(self) -> Choice:
        """What is always on it."""
        words = _("The recovery system, {size} (always)")
        return Choice(key=SYSTEM, lines=(words.format(size=format_size(self.load.system.size)),))

    def show_images(self) -> None:
        """Fill the table with what the filter lets through; marks stay."""
        shelf = self.shelf
        if shelf is None:
            return
        shown = self.wanted(shelf.items, shelf.here)
        checks = self.query_one(Checks)
        checks.show([self.system_choice(), *(self.choice(item) for item in shown)])
        for item in shown:
            if item.key in self.taken and item.key not in checks.marked:
                checks.mark(item.key)
        hits = sum(item.image is not None for item in shown)
        self.say("hits", _(" {count} of {all}").format(count=hits, all=len(shelf.good)))
        self.show_status()

    def choice(self, item: Item) -> Choice:
        """An image as the list shows it."""
        if item.image is None:
            return Choice(key=item.key, lines=(f"{_('DAMAGED')}  {clean(item.id)}",), why_not=clean(item.problem))
        return Choice(key=item.key, lines=(row(self.cells(item, item.image), self.app.size.width),))

    def cells(self, item: Item, image: Image) -> Sequence[str]:
        """What tells it from the others."""
        label = joined(_("FACTORY") if item.key == self.factory else "", label_cell(image), by=" ")
        here = computer_cell(image, self.shelf.here) if self.shelf else ""
        return (format_when(image.created), label, here, format_size(image.used))

    def on_checks_marked(self) -> None:
        """A mark has come or gone; of images that the filter hides none does."""
        checks, shelf = self.query_one(Checks), self.shelf
        if shelf is None:
            return
        marked = {item.key: item for item in shelf.good if item.key in checks.marked}
        hidden = {key: item for key, item in self.taken.items() if key not in checks.keys}
        if (taken := {**hidden, **marked}).keys() == self.taken.keys():
            return
        new = [key for key, item in taken.items() if key not in self.taken and item.factory]
        self.taken = taken
        if new and not self.factory:
            # What is the factory image where it comes from is so on the drive.
            self.factory = new[0]
            self.show_images()
        if self.factory and self.factory not in taken:
            self.factory = ""
            self.show_images()
        self.add_up()

    def action_factory(self) -> None:
        """f: the image under the cursor is the one; it is marked with that."""
        checks = self.query_one(Checks)
        item = self.shelf.item(checks.chosen) if self.shelf else None
        if item is None or item.image is None:
            return
        self.factory = "" if self.factory == item.key else item.key
        self.show_images()
        if self.factory and item.key not in checks.marked:
            checks.mark(item.key)

    def add_up(self) -> None:
        """Find out what the marked images take."""
        self.weight = None
        self.show_status()
        images = [(item.library, item.id) for item in self.taken.values()]

        def then(weight: Weight) -> None:
            self.weight = weight
            self.show_status()

        self.look(lambda: self.backend.weigh(images) if images else NO_IMAGES, then, group="weigh")

    @property
    def loaded(self) -> Load | None:
        """All that goes on it; None while it is not known what that takes."""
        factory = self.taken[self.factory].id if self.factory in self.taken else ""
        return None if self.weight is None else replace(self.load, weight=self.weight, factory=factory)

    def show_status(self) -> None:
        """How large a stick must be."""
        shelf, loaded = self.shelf, self.loaded
        if self.words and shelf is not None and not self.wanted(shelf.items, shelf.here):
            self.say("status", _(" No image has these words. Esc shows all again."))
        elif shelf is None:
            self.say("status", _(" Looking for images .."))
        elif loaded is None:
            self.say("status", _(" Adding up what it takes .."))
        else:
            size = format_size(loaded.needed)
            words = [_(" On it: {load}.").format(load=loaded.words)]
            words.append(_(" A stick of {size} or more is needed. Press Enter to go on.").format(size=size))
            if not shelf.libraries:
                words.append(_(" No images were found: plug in the disk or stick that holds them, and press l."))
            words += [_(" Cannot be read: {what}").format(what=problem) for problem in shelf.problems]
            closed = _(" {library} is encrypted: its images are not put on a drive, which everyone can read.")
            words += [closed.format(library=clean(str(path))) for path in shelf.locked]
            self.say("status", "\n".join(words))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: on to the stick, with what is marked."""
        event.stop()
        loaded = self.loaded
        if loaded is not None:
            self.open(DriveTargetScreen(loaded))
