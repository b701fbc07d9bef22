"""Back up this computer, first step: which disks, and which partitions of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.disk import Disk
from rescue.formats import format_size
from rescue.language import N_, _, ngettext
from rescue.parts import numbers
from rescue.screens.base import text
from rescue.screens.destination import DestinationScreen
from rescue.screens.disklist import BESIDE_BOX, INDENT, DiskListScreen, disk_choice, usable_first
from rescue.screens.portion import PortionScreen, parts_of
from rescue.widgets.choices import Checks


def is_external(disk: Disk) -> bool:
    """Whether the disk was plugged in: a stick or a USB disk is seldom what is to be backed up."""
    return disk.removable or disk.transport == "usb"


class SourcesScreen(DiskListScreen):
    """The disks of this computer: which are to be saved?"""

    HEADING = N_("Back up this computer - choose the disks")
    KEYS = N_("Space mark   Enter go on   p partitions   l look again   o disk file   F1 help")
    ABOUT = N_("""
Each entry is a disk of this computer, drawn with what is on it. The disks
that carry an operating system are marked already; mark each other one
that is to be saved with the space bar, then press Enter.
Only the parts that hold data are saved. Nothing on these disks is changed.

Disks that cannot be saved are shown with the reason.

  Space   mark the disk under the cursor, or take the mark away
  Enter   go on with the marked disks, or the one under the cursor
          where none is marked
  p       save only some partitions of the disk under the cursor
  l       look for disks again
  o       name a file that stands for a disk: a virtual machine's, say""")
    BINDINGS: ClassVar[list[BindingType]] = [("p", "partitions")]

    def __init__(self) -> None:
        super().__init__()
        self.only: dict[str, Sequence[int]] = {}
        """The partitions that are wanted of a disk, by its path, where not all are."""
        self.given: set[str] | None = set()
        """What was marked for the person; None from the first mark of their own."""

    def body(self) -> ComposeResult:
        """The list, and how many are marked."""
        yield text(_(" Which disks shall be saved?"), id="question")
        yield text(_(" Looking at the disks .."), id="status")
        yield Checks(id="disks")

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Checks).focus()
        self.action_again()

    def libraries(self) -> Sequence[Path]:
        """Those that are attached now."""
        return self.backend.libraries()

    def show_list(self) -> None:
        """Fill the list, this computer's own disks first."""
        room = self.app.size.width - BESIDE_BOX
        disks = sorted(self.disks.values(), key=is_external)
        choices = [disk_choice(disk, self.backend.why_not_source(disk), self.known, room) for disk in disks]
        choices = [replace(choice, lines=(*choice.lines, *self.portion(choice.key))) for choice in choices]
        self.query_one(Checks).show(usable_first(choices))
        self.show_status()

    def portion(self, path: str) -> Sequence[str]:
        """Which partitions of a disk are wanted, where not all are."""
        chosen = self.only.get(path)
        return [INDENT + _("only {partitions}").format(partitions=numbers(chosen))] if chosen else []

    def action_partitions(self) -> None:
        """p: choose partitions of the disk under the cursor, which is marked with that."""
        path = self.query_one(Checks).chosen
        disk = self.disks.get(path)
        if disk is None or not parts_of(disk):
            return

        def use(chosen: Sequence[int]) -> None:
            if disk != self.disks.get(path) or self.backend.why_not_source(disk):
                return  # it was looked again meanwhile, and another disk is there, or none
            self.only.pop(path, None)
            self.only |= {path: chosen} if chosen else {}
            self.given = None
            self.show_list()
            if path not in self.query_one(Checks).marked:
                self.query_one(Checks).mark(path)

        self.open(PortionScreen(disk, self.only.get(path, ()), use))

    def show_disks(self, disks: Sequence[Disk]) -> None:
        """What was chosen of a disk goes with it: another one may have come to its path."""
        gone = {path for path, disk in self.disks.items() if disk not in disks}
        self.only = {path: parts for path, parts in self.only.items() if path not in gone}
        if self.given is not None:
            self.given -= gone
        for path in gone.intersection(self.query_one(Checks).marked):
            self.query_one(Checks).mark(path)
        super().show_disks(disks)

    @property
    def inside(self) -> list[str]:
        """This computer's own disks that can be saved; any that can where it has none."""
        usable = [path for path, disk in self.disks.items() if not self.backend.why_not_source(disk)]
        return [path for path in usable if not is_external(self.disks[path])] or usable

    def arrived(self) -> None:
        """Where there is one disk to save it is marked."""
        if self.given is not None and len(self.inside) == 1:
            self.mark(self.inside)

    def know_systems(self, systems: Mapping[str, Mapping[int, str]]) -> None:
        """The disks that carry a system are marked, unless somebody has marked already."""
        super().know_systems(systems)
        carriers = [path for path in self.inside if systems.get(path)]
        if self.given is not None and carriers:
            self.mark(carriers)

    def mark(self, paths: Sequence[str]) -> None:
        """Mark these disks and no others."""
        checks = self.query_one(Checks)
        self.given = {*paths}
        for path in self.given.symmetric_difference(checks.marked):
            checks.mark(path)

    def show_status(self) -> None:
        """How much is marked."""
        checks = self.query_one(Checks)
        marked = [self.disks[key] for key in checks.marked if key in self.disks]
        if not any(not option.disabled for option in checks.options):
            self.say("status", _(" There is no disk here that can be saved."))
        elif marked:
            size = format_size(sum(disk.size for disk in marked))
            count = ngettext("{count} disk", "{count} disks", len(marked)).format(count=len(marked))
            self.say("status", _(" Marked: {disks}, {size}. Press Enter to go on.").format(disks=count, size=size))
        else:
            self.say("status", _(" Press Space to mark a disk."))

    def on_checks_marked(self) -> None:
        """A mark has come or gone; whoever marks one decides from then on."""
        if self.given is not None and self.given != {*self.query_one(Checks).marked}:
            self.given = None
        self.show_status()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: on with the marked disks, or with this one."""
        keys = self.query_one(Checks).marked or [event.option_id or ""]
        disks = tuple(self.disks[key] for key in keys if key in self.disks)
        if disks:
            only = {disk.path: self.only[disk.path] for disk in disks if disk.path in self.only}
            self.open(DestinationScreen(disks, self.known, only))
