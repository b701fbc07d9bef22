"""Restore, first step: choose an image from all libraries that are attached."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import OptionList

from imaging.errors import RescueError
from imaging.manifest import Image, Machine
from rescue.backend import Backend
from rescue.formats import clean, format_size, format_when, joined, plural, shortened
from rescue.report import Damaged, image_lines, label_words
from rescue.screens.base import AskText, RescueScreen, text
from rescue.screens.parts import VolumesScreen
from rescue.screens.targets import Restore, TargetScreen
from rescue.widgets.choices import Choice, Choices

WIDTHS = (16, 17, 13, 16, 8)
"""Columns of date, label, computer, disks and used bytes: 79 with the gaps between them."""

HEADINGS = ("Date (UTC)", "Label", "Computer", "Disks", "Used")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One image, and the library that it stands in."""

    library: Path
    image: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """All that was found."""

    here: Machine
    libraries: tuple[Path, ...]
    found: tuple[Found, ...]
    damaged: tuple[Damaged, ...]
    problems: tuple[str, ...]


def gather(backend: Backend, libraries: Sequence[Path]) -> Shelf:
    """Read all libraries, newest images first; one that cannot be read does not hide the others."""
    found: list[Found] = []
    damaged: list[Damaged] = []
    problems: list[str] = []
    for library in libraries:
        try:
            listing = backend.images(library)
        except RescueError as error:
            named = "" if str(library) in error.message else f"{library}: "
            problems.append(clean(named + error.message))
            continue
        found += [Found(library=library, image=image) for image in listing.images]
        damaged += listing.damaged
    found.sort(key=lambda one: one.image.created, reverse=True)
    return Shelf(
        here=backend.machine(),
        libraries=tuple(libraries),
        found=tuple(found),
        damaged=tuple(damaged),
        problems=tuple(problems),
    )


def row(cells: Sequence[str]) -> str:
    """One line of the table."""
    padded = [shortened(cell, width).ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return " " + "  ".join([*padded[:-1], cells[-1].rjust(WIDTHS[-1])])


def image_row(image: Image, here: Machine) -> str:
    """An image's line: what tells it from the others."""
    machine = image.machine
    same = machine.serial and machine.serial == here.serial
    computer = "this computer" if same else machine.model or machine.hostname or machine.vendor
    disks = f"{image.disks[0].name} {format_size(image.disks[0].size)}" if len(image.disks) == 1 else ""
    many = joined(plural(len(image.disks), "disk"), format_size(image.size), by=" ")
    label = label_words(image) if image.label else joined(label_words(image), clean(image.id), by=" ")
    return row([format_when(image.created), label, clean(computer), disks or many, format_size(image.used)])


class ImagesScreen(RescueScreen):
    """The images, and the details of the one under the cursor."""

    HEADING = "Restore - choose an image"
    KEYS = "Enter choose   p one partition   l look again   o other folder   F1 help"
    ABOUT = """
Each line is an image: a saved state of a computer's disks. The newest
stands first. Below the list you see what the one under the cursor holds.

  Enter   choose the image; nothing is written yet
  p       restore one partition of the image, not its whole disks
  Tab     to the details, where the arrow keys scroll, and back
  l       look for libraries again, after you have plugged in a medium
  o       look in another folder

A damaged image is named with what is wrong with it, and cannot be chosen."""
    BINDINGS: ClassVar[list[BindingType]] = [
        ("l,f5", "again"),
        ("o", "other"),
        ("p", "partition"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.others: list[Path] = []
        self.shelf: Shelf | None = None

    def body(self) -> ComposeResult:
        """The table, then the details."""
        yield text(row(HEADINGS), id="columns")
        yield text(" Looking for images ..", id="status")
        yield Choices(id="images")
        with VerticalScroll(id="details"):
            yield text("", id="about")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one("#details").border_title = "Details"
        self.query_one(Choices).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look again."""
        others = tuple(self.others)

        def ask() -> Shelf:
            found = self.backend.libraries()
            return gather(self.backend, [*found, *(path for path in others if path not in found)])

        self.look(ask, self.show_shelf)

    def show_shelf(self, shelf: Shelf) -> None:
        """Fill the list."""
        self.shelf = shelf
        choices = [
            Choice(key=str(place), lines=(image_row(one.image, shelf.here),)) for place, one in enumerate(shelf.found)
        ]
        choices += [
            Choice(key=f"damaged-{place}", lines=(f" DAMAGED  {clean(bad.id)}",), why_not=clean(bad.problem))
            for place, bad in enumerate(shelf.damaged)
        ]
        self.query_one(Choices).show(choices)
        status = self.status(shelf)
        self.say("status", status)
        self.query_one("#status").display = bool(status)
        self.query_one("#details").display = bool(shelf.found)

    def status(self, shelf: Shelf) -> str:
        """What there is to say of the libraries; empty where the list says it all."""
        lines = [f" Cannot be read: {words}" for words in shelf.problems]
        if not shelf.libraries:
            lines.append(" No image library was found.")
            lines.append(" Plug in the disk or stick that holds your images and press l,")
            lines.append(" or press o to name a folder.")
        elif not shelf.found and not shelf.problems:
            lines.append(f" There are no images in {', '.join(clean(str(path)) for path in shelf.libraries)}.")
        return "\n".join(lines)

    def found(self, key: str | None) -> Found | None:
        """The image of that key."""
        return self.shelf.found[int(key)] if self.shelf and key and key.isdigit() else None

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Details of the image under the cursor."""
        one = self.found(event.option_id)
        if one is not None:
            self.say("about", "\n".join([*image_lines(one.image), "", f"Library     {clean(str(one.library))}"]))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the targets."""
        order = self.order(event.option_id)
        if order is not None:
            self.app.push_screen(TargetScreen(order))

    def action_partition(self) -> None:
        """p: on to the partitions of the image under the cursor."""
        order = self.order(self.query_one(Choices).chosen)
        if order is not None:
            self.app.push_screen(VolumesScreen(order))

    def order(self, key: str | None) -> Restore | None:
        """A restore of the image of that key, with nothing chosen yet."""
        one = self.found(key)
        if one is None or self.shelf is None:
            return None
        return Restore(library=one.library, image=one.image, libraries=self.shelf.libraries)

    def action_other(self) -> None:
        """o: another folder."""

        def use(answer: str | None) -> None:
            if answer:
                self.others.append(Path(answer))
                self.action_again()

        self.app.push_screen(AskText("Which folder holds the images? Type its full path."), use)
