"""Images: all that there are, how much room they take, and what can be done to each."""

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.disk import format_size
from imaging.errors import RescueError
from imaging.manifest import Machine
from rescue.aside import aside
from rescue.care import verified_short, verified_width
from rescue.formats import clean, format_place, format_when, joined, padded, shortened
from rescue.language import N_, _, ngettext
from rescue.screens.base import text
from rescue.screens.image import CareScreen, ImageScreen
from rescue.screens.shelf import Filter, ShelfScreen, computer_cell, factory_cell, label_cell
from rescue.shelf import Item, Shelf, Stand, locked_lines, noted_lines
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices

DATE, COMPUTER, USED = 16, 13, 8
"""Columns of the table; the label has what is left."""
NARROW = 72
"""Columns of a screen below which the computer has none."""
MOST_STANDS = 3
"""Libraries that have a line each above the table."""


def row(cells: Sequence[str], width: int) -> str:
    """One line of the table: date, label, computer, used bytes, verified."""
    date, label, computer, used, verified = cells
    with_computer = width >= NARROW
    wide = verified_width()
    room = width - 3 - DATE - USED - wide - 6 - (COMPUTER + 2 if with_computer else 0)
    middle = [padded(shortened(label, room), room)]
    if with_computer:
        middle.append(padded(shortened(computer, COMPUTER), COMPUTER))
    return " " + "  ".join([date.ljust(DATE), *middle, used.rjust(USED), shortened(verified, wide)])


def item_row(item: Item, here: Machine, width: int) -> str:
    """What tells an image from the others, on one line."""
    image = item.image
    if image is None:
        return f" {_('DAMAGED'):<{DATE}}  {clean(item.id)}"
    verified = verified_short(item.notes)
    label = joined(factory_cell(item), label_cell(image), by=" ")
    cells = (format_when(image.created), label, computer_cell(image, here), format_size(image.used))
    return row((*cells, verified), width)


def stand_line(stand: Stand, size: int | None) -> str:
    """A library: how many images, how much room they take, and how much is free."""
    count = ngettext("{count} image", "{count} images", stand.count).format(count=f"{stand.count:,}")
    takes = "" if size is None else format_size(size)
    free = "" if stand.room is None else _("{room} free").format(room=format_size(stand.room))
    return f"{format_place(stand.library)}: {joined(count, takes, free, by=', ')}"


class LibraryScreen(ShelfScreen, CareScreen):
    """The table, and below it what is noted of the image under the cursor."""

    HEADING = N_("Images")
    KEYS = N_("Enter details  o files  v verify  r rename  n note  d delete  / filter  F1")
    ABOUT = N_("""
Each line is an image: a saved state of a computer's disks. Those of this
computer stand first, the newest before the others. The last column says
when an image was verified: read in full, and found to be right or not.

  Enter   all that is known of the image
  o       open its files, to look at them or copy some out of it
  x       save it as a single file, to keep or carry it anywhere
  v       verify it: every part of it is read and checked
  V       verify all images of its library, each part of them once
  r       give it another name
  n       write a note, such as what the image is for
  p       keep it from being deleted, or allow that again
  d       delete it; you see first what is lost and what it frees
  /       show only images with the words that you type: a label,
          a computer, a date, a note; Esc shows all again
  l       look for libraries again, after you have plugged in a medium

A damaged image is listed with what is wrong with it. It can be deleted.""")
    BINDINGS: ClassVar[list[BindingType]] = [("V", "verify_all")]
    DEFAULT_CSS = """
    LibraryScreen #status { margin: 0; padding: 0 1; }
    LibraryScreen #columns { margin: 1 0 0 0; }
    LibraryScreen #noted { height: auto; max-height: 6; margin: 1 0 0 0; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[Path, int] = {}
        self.measured: set[Path] = set()
        self.leaving = threading.Event()

    def body(self) -> ComposeResult:
        """The libraries, the table, the notes."""
        yield text(_("Looking for images .."), id="status")
        yield text("", id="columns")
        yield Choices(id="shelf")
        yield text("", id="noted")
        yield Filter()

    def on_unmount(self) -> None:
        """Nobody waits for the libraries' sizes any more."""
        self.leaving.set()

    def unanswered(self, error: RescueError) -> None:
        """Nothing is looked for any more."""
        self.say("status", self.status(self.shelf) if self.shelf else clean(told(error.message)))

    def action_again(self) -> None:
        """l: look again, and add up again what the libraries take."""
        self.measured.clear()
        super().action_again()

    def show_shelf(self, shelf: Shelf) -> None:
        """What was found is known now; what the libraries take is added up."""
        super().show_shelf(shelf)
        self.run_worker(self.measure(shelf), group="measure")

    async def measure(self, shelf: Shelf) -> None:
        """Add up what the libraries take, one after the other; a list can do without."""
        for stand in shelf.stands:
            if stand.library in self.measured:
                continue
            self.measured.add(stand.library)
            try:
                self.sizes[stand.library] = await aside(partial(self.backend.size_of, stand.library, self.leaving))
            except RescueError:
                continue
            if not self.is_attached:
                return
            self.say("status", self.status(self.shelf or shelf))

    def show_images(self) -> None:
        """Fill the table with what the filter lets through."""
        shelf, width = self.shelf, self.size.width
        if shelf is None:
            return
        shown = self.wanted(shelf.items, shelf.here)
        heads = (_("Date (UTC)"), _("Label"), _("Computer"), _("Used").rjust(USED), _("Verified"))
        self.say("columns", row(heads, width) if shown else "")
        rows = [Choice(key=item.key, lines=(item_row(item, shelf.here, width),)) for item in shown]
        self.query_one(Choices).show(rows)
        self.say("hits", _(" {count} of {all}").format(count=len(shown), all=len(shelf.items)))
        self.say("status", self.status(shelf))
        self.show_noted()
        if self.words and not shown:
            self.say("noted", _("No image has these words. Esc shows all again."))

    def status(self, shelf: Shelf) -> str:
        """What there is to say of the libraries."""
        lines = [stand_line(stand, self.sizes.get(stand.library)) for stand in shelf.stands[:MOST_STANDS]]
        if len(shelf.stands) > MOST_STANDS:
            more = len(shelf.stands) - MOST_STANDS
            lines.append(ngettext("and {count} other library", "and {count} other libraries", more).format(count=more))
        lines += [
            _("Note: {words}").format(words=told(words)) for words in (*shelf.problems, *shelf.ignored)[:MOST_STANDS]
        ]
        lines += locked_lines(shelf)[:MOST_STANDS]
        if not shelf.stands and not shelf.problems and not shelf.locked:
            lines.append(_("No image library was found."))
            lines.append(_("Plug in the disk or stick that holds your images and press l."))
        return "\n".join(lines)

    @property
    def item(self) -> Item | None:
        """The image under the cursor."""
        return self.shelf.item(self.query_one(Choices).chosen) if self.shelf else None

    def action_verify_all(self) -> None:
        """V: start to verify all images of the library of the one under the cursor, and show the progress."""
        item = self.item
        if item is not None:
            self.look(partial(self.backend.plan_verify_set, item.library), self.submit)

    def changed(self) -> None:
        """Something was done to an image."""
        self.look_again()

    def show_noted(self) -> None:
        """What is noted of the image under the cursor."""
        item = self.item
        self.say("noted", "\n".join(noted_lines(item)) if item else "")

    def on_option_list_option_highlighted(self) -> None:
        """The cursor has moved."""
        self.show_noted()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: everything about it."""
        event.stop()
        item = self.item
        if item is not None:
            self.open(ImageScreen(item), lambda _done: self.changed())
