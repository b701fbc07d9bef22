"""Back up only some partitions of a disk: which ones."""

from collections.abc import Callable, Sequence

from textual.app import ComposeResult

from imaging.disk import Disk, PartitionRole
from rescue.contents import partition_rows
from rescue.formats import columns
from rescue.language import N_, _
from rescue.report import disk_title
from rescue.screens.base import RescueScreen, text
from rescue.widgets.choices import Checks, Choice


def parts_of(disk: Disk) -> list[int]:
    """The numbers of the partitions that hold data."""
    return [part.number for part in disk.table.partitions if part.role is not PartitionRole.EXTENDED]


class PortionScreen(RescueScreen):
    """The partitions of a disk, all of them marked at first."""

    HEADING = N_("Back up this computer - choose the partitions")
    KEYS = N_("Space mark   Enter go on   Esc back   F1 or ? help")
    ABOUT = N_("""
All partitions of the disk are marked. Take the mark away from those that
need not be saved, then press Enter.

The image says what it leaves out. Restored to this very disk it leaves
those partitions as they are; on another disk they will hold nothing.

  Space   take the mark away, or set it again
  Enter   go on with the marked ones
  Esc     change nothing""")

    def __init__(self, disk: Disk, only: Sequence[int], then: Callable[[Sequence[int]], None]) -> None:
        super().__init__()
        self.disk = disk
        self.only = only
        self.then = then

    def body(self) -> ComposeResult:
        """The disk, then its partitions."""
        yield text(f" {disk_title(self.disk)}\n" + _(" Which of its partitions shall be saved?"), id="question")
        yield text("", id="status")
        yield Checks(id="partitions")

    def on_mount(self) -> None:
        """Fill the list."""
        rows = columns(partition_rows(self.disk.table.partitions), right=frozenset({0, 1}))
        checks = self.query_one(Checks)
        numbers = parts_of(self.disk)
        checks.show([Choice(key=str(number), lines=(row,)) for number, row in zip(numbers, rows, strict=True)])
        for number in self.only or numbers:
            checks.mark(str(number))
        checks.focus()

    def on_checks_marked(self) -> None:
        """Something has to be marked."""
        nothing = not self.query_one(Checks).marked
        self.say("status", _(" Press Space to mark a partition.") if nothing else "")
        self.query_one("#status").display = nothing

    def on_option_list_option_selected(self) -> None:
        """Enter: hand the marked ones over, none where that is all of them."""
        marked = [int(key) for key in self.query_one(Checks).marked]
        if marked:
            self.then([] if marked == parts_of(self.disk) else marked)
            self.dismiss()
