"""Restore, first step: choose an image from all libraries that are attached."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import OptionList

from imaging.errors import RescueError
from imaging.manifest import Image, Machine
from rescue.care import fact_line, verified_short, verified_width
from rescue.formats import clean, format_place, format_when, joined, padded, shortened
from rescue.language import N_, _
from rescue.report import image_lines
from rescue.screens.base import text
from rescue.screens.elsewhere import ElsewhereScreen
from rescue.screens.parts import VolumesScreen
from rescue.screens.scope import ScopeScreen
from rescue.screens.shelf import (
    Filter,
    ShelfScreen,
    computer_cell,
    disks_cell,
    factory_cell,
    is_bad,
    label_cell,
    system_cell,
)
from rescue.screens.targets import Restore
from rescue.shelf import Item, Shelf, locked_lines
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices

DATE, COMPUTER, SYSTEM, SIZE = 16, 13, 12, 11
"""Columns of the table; the label has what is left."""
WITH_SYSTEM, WITH_VERIFIED = 72, 96
"""Columns of a screen from which the system and the last verification have one."""
GUTTER = 2
"""Columns that a list leaves for its cursor."""


def row(cells: Sequence[str], width: int = 80) -> str:
    """One line of the table: date, label, computer, system, verification, size."""
    date, label, computer, system, verified, size = cells
    others = [(computer, COMPUTER)]
    others += [(system, SYSTEM)] if width >= WITH_SYSTEM else []
    others += [(verified, verified_width())] if width >= WITH_VERIFIED else []
    last = max(SIZE, len(_("Disks")))
    room = width - GUTTER - DATE - last - sum(2 + wide for _cell, wide in others) - 2 * 2 - 1
    middle = [padded(shortened(cell, wide), wide) for cell, wide in [(label, room), *others]]
    return "  ".join([date.ljust(DATE), *middle, shortened(size, last).rjust(last)])


def headings() -> Sequence[str]:
    """Of the table's columns."""
    return (_("Date (UTC)"), _("Label"), _("Computer"), _("System"), _("Verified"), _("Disks"))


def image_cells(item: Item, image: Image, here: Machine) -> Sequence[str]:
    """What tells an image from the others."""
    return (
        format_when(image.created),
        joined(_("BAD") if is_bad(item) else "", factory_cell(item), label_cell(image), by=" "),
        computer_cell(image, here),
        system_cell(image),
        verified_short(item.notes),
        disks_cell(image),
    )


class ImagesScreen(ShelfScreen):
    """The images, and the details of the one under the cursor."""

    HEADING = N_("Restore - choose an image")
    KEYS = N_("Enter choose  / filter  o elsewhere  l look again  F1 help")
    ABOUT = N_("""
Each line is an image: a saved state of a computer's disks. Those of this
computer stand first, the newest at the top. Below the list you see what
the one under the cursor holds.

  Enter   choose the image; nothing is written yet
  /       show only images with the words that you type: a label, a
          computer, a date; Enter goes to the list, Esc shows all
  o       look elsewhere: on the network, in a folder, on another disk
  l       look for libraries again, after you have plugged in a medium
  p       restore one partition of the image, not its whole disks
  Tab     to the details, where the arrow keys scroll, and back

A damaged image is named with what is wrong with it, and cannot be chosen.""")
    BINDINGS: ClassVar[list[BindingType]] = [("o", "other"), ("p", "partition")]

    def body(self) -> ComposeResult:
        """The table, then the details."""
        yield text("", id="columns")
        yield text(_(" Looking for images .."), id="status")
        yield Choices(id="images")
        with VerticalScroll(id="details"):
            yield text("", id="about")
        yield Filter()

    def on_mount(self) -> None:
        """The details have a caption."""
        self.query_one("#details").border_title = _("Details")

    def unanswered(self, error: RescueError) -> None:
        """Nothing is looked for any more."""
        self.say("status", f" {clean(told(error.message))}")
        self.query_one("#status").display = True

    def show_images(self) -> None:
        """Fill the list with what the filter lets through."""
        shelf, width = self.shelf, self.app.size.width
        self.say("columns", row(headings(), width))
        if shelf is None:
            return
        shown = self.wanted(shelf.items, shelf.here)
        choices = [
            Choice(key=item.key, lines=(row(image_cells(item, item.image, shelf.here), width),))
            if item.image is not None
            else Choice(key=item.key, lines=(f"{_('DAMAGED')}  {clean(item.id)}",), why_not=clean(item.problem))
            for item in shown
        ]
        hits = sum(item.image is not None for item in shown)
        self.query_one(Choices).show(choices)
        self.say("hits", _(" {count} of {all}").format(count=hits, all=len(shelf.good)))
        status = self.status(shelf)
        if self.words and not choices:
            status = _(" No image has these words. Esc shows all again.")
        self.say("status", status)
        self.query_one("#status").display = bool(status)
        self.query_one("#details").display = bool(hits)

    def status(self, shelf: Shelf) -> str:
        """What there is to say of the libraries; empty where the list says it all."""
        lines = [_(" Cannot be read: {what}").format(what=words) for words in shelf.problems]
        lines += [f" {words}" for words in locked_lines(shelf)]
        if not shelf.libraries:
            lines.append(_(" No image library was found."))
            lines.append(_(" Plug in the disk or stick that holds your images and press l,"))
            lines.append(_(" or press o to look elsewhere: on the network, in a folder, on a disk."))
        elif not shelf.good and not shelf.problems and not shelf.locked:
            where = ", ".join(format_place(path) for path in shelf.libraries)
            lines.append(_(" There are no images in {libraries}.").format(libraries=where))
        return "\n".join(lines)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Details of the image under the cursor."""
        item = self.shelf.item(event.option_id) if self.shelf else None
        if item is not None and item.image is not None:
            where = fact_line(_("Library"), format_place(item.library))
            self.say("about", "\n".join([*image_lines(item.image, item.notes, item.standing), "", where]))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to what of it is wanted."""
        order = self.order(event.option_id)
        if order is not None:
            self.open(ScopeScreen(order))

    def action_partition(self) -> None:
        """p: on to the partitions of the image under the cursor."""
        order = self.order(self.query_one(Choices).chosen)
        if order is not None:
            self.open(VolumesScreen(order))

    def order(self, key: str | None) -> Restore | None:
        """A restore of the image of that key, with nothing chosen yet."""
        item = self.shelf.item(key) if self.shelf else None
        if self.shelf is None or item is None or item.image is None:
            return None
        return Restore(library=item.library, image=item.image, libraries=self.shelf.libraries)

    def action_other(self) -> None:
        """o: look elsewhere; what was found there stands in the list afterwards."""
        self.open(ElsewhereScreen(), lambda _done: self.action_again())
