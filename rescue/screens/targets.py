"""Restore, second step: choose the disk to write to, for each disk of the image."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.manifest import Image, ImagedDisk
from rescue.backend import Backend
from rescue.formats import clean, format_size, joined
from rescue.report import content_lines, disk_title, image_title, use_lines
from rescue.screens.base import AskText, RescueScreen, text
from rescue.screens.restore import RestorePlanScreen
from rescue.widgets.choices import Choice, Choices

MOST_LINES = 5
"""Lines of a disk's contents that the list shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """What has been chosen so far; `targets` by the names of the image's disks."""

    library: Path
    image: Image
    libraries: tuple[Path, ...]
    targets: dict[str, Disk] = field(default_factory=dict)

    @property
    def next_source(self) -> ImagedDisk | None:
        """The disk of the image that has no target yet."""
        return next((disk for disk in self.image.disks if disk.name not in self.targets), None)

    def with_target(self, source: ImagedDisk, target: Disk) -> "Restore":
        """One more is chosen."""
        return replace(self, targets={**self.targets, source.name: target})


ASK_FOR_FILE = "Which file stands for a disk? Type its full path."


def all_disks(backend: Backend, libraries: Sequence[Path], files: list[str]) -> list[Disk]:
    """The disks of this computer, and the files that were named; one that is none is forgotten with an error."""
    found = list(backend.disks(libraries))
    for path in list(files):
        try:
            found.append(backend.disk_file(path, libraries))
        except RescueError:
            files.remove(path)
            raise
    return found


def disk_choice(disk: Disk, why_not: str) -> Choice:
    """A disk as a list shows it: what it is, and what is on it."""
    about = [*use_lines(disk), *content_lines(disk)]
    if len(about) > MOST_LINES:
        about = [*about[: MOST_LINES - 1], f"and {len(about) - MOST_LINES + 1} more"]
    if why_not:
        about = []
    return Choice(key=disk.path, lines=(f" {disk_title(disk)}", *(f"     {line}" for line in about)), why_not=why_not)


def usable_first(choices: Sequence[Choice]) -> list[Choice]:
    """Those that can be chosen stand first."""
    return sorted(choices, key=lambda choice: bool(choice.why_not))


class TargetScreen(RescueScreen):
    """The disks of this computer: which one is to be overwritten?"""

    HEADING = "Restore - choose the disk to write to"
    KEYS = "Enter choose   l look again   o disk file   Esc back   F1 or ? help"
    ABOUT = """
Each entry is a disk of this computer with what is on it now. The one
that you choose will be ERASED, but not yet: the next screen shows what
is lost, and asks you to type the disk's name.

Disks that cannot be chosen are shown with the reason.

  Enter   choose the disk under the cursor
  l       look for disks again, after you have plugged one in
  o       name a file that stands for a disk, such as a virtual machine's"""
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again"), ("o", "other")]

    def __init__(self, order: Restore) -> None:
        super().__init__()
        self.order = order
        self.disks: dict[str, Disk] = {}
        self.files: list[str] = []

    def body(self) -> ComposeResult:
        """Which disk of the image, then the disks of the computer."""
        yield text(self.question(), id="question")
        yield text(" Looking at the disks ..", id="status")
        yield Choices(id="disks")

    def question(self) -> str:
        """What is to be restored, and how much of how many."""
        source = self.source
        count = len(self.order.image.disks)
        place = f", disk {len(self.order.targets) + 1} of {count}" if count > 1 else ""
        what = joined(f"{clean(source.name)} {format_size(source.size)}", clean(source.id.model), by=", ")
        return f" Image: {image_title(self.order.image)}\n Disk in the image: {what}{place}\n Where shall it go?"

    @property
    def source(self) -> ImagedDisk:
        """The disk of the image that this screen asks for."""
        return next(disk for disk in self.order.image.disks if disk.name not in self.order.targets)

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Choices).focus()
        self.action_again()

    def action_again(self) -> None:
        """l: look again."""
        self.look(lambda: all_disks(self.backend, self.order.libraries, self.files), self.show_disks)

    def action_other(self) -> None:
        """o: a disk file."""

        def use(answer: str | None) -> None:
            if answer:
                self.files.append(answer)
                self.action_again()

        self.app.push_screen(AskText(ASK_FOR_FILE), use)

    def show_disks(self, disks: Sequence[Disk]) -> None:
        """Fill the list."""
        self.disks = {disk.path: disk for disk in disks}
        choices = usable_first([disk_choice(disk, self.why_not(disk)) for disk in disks])
        self.query_one(Choices).show(choices)
        usable = any(not choice.why_not for choice in choices)
        self.say("status", "" if usable else " There is no disk that this can be restored to.")
        self.query_one("#status").display = not usable

    def why_not(self, disk: Disk) -> str:
        """Why the disk cannot be chosen here."""
        for name, target in self.order.targets.items():
            if target.path == disk.path:
                return f"already chosen for disk {clean(name)} of the image"
        return self.backend.why_not_target(disk, self.source)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On with the disk under the cursor."""
        disk = self.disks.get(event.option_id or "")
        if disk is not None:
            self.chosen(disk)

    def chosen(self, disk: Disk) -> None:
        """On to the next disk of the image, or to the plan."""
        order = self.order.with_target(self.source, disk)
        if order.next_source is not None:
            self.app.push_screen(TargetScreen(order))
            return
        with self.telling():
            plan = self.backend.plan_restore(order.library, order.image, order.targets)
            self.app.push_screen(RestorePlanScreen(plan))
