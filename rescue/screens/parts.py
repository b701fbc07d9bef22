"""Restore one partition of an image: which one, to which disk, into which of its partitions."""

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.disk import Disk, Partition
from imaging.manifest import ImagedDisk, Volume
from rescue.contents import partition_rows
from rescue.formats import clean, columns, format_size
from rescue.parts import left_out_rows, volume_words
from rescue.report import disk_title, image_title, volume_row
from rescue.screens.base import RescueScreen, text
from rescue.screens.restore import RestorePlanScreen
from rescue.screens.targets import Restore, TargetScreen
from rescue.widgets.choices import Choice, Choices

_RIGHT = frozenset({0, 1, 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class One:
    """The volume that was chosen, and the restore that it belongs to."""

    order: Restore
    source: ImagedDisk
    volume: Volume

    @property
    def words(self) -> str:
        """Which image and which partition, on two lines."""
        what = f"disk {clean(self.source.name)}, {volume_words(self.volume)}"
        return f" Image: {image_title(self.order.image)}\n In it: {what}"


class VolumesScreen(RescueScreen):
    """The partitions that an image holds: which one is to be restored?"""

    HEADING = "Restore one partition - choose it in the image"
    ABOUT = """
Here are the partitions that the image holds. The one that you choose goes
into a partition that exists, on this disk or another: the next screens
ask which. Nothing else of that disk is written, its partition table
neither. What was left out when the image was captured cannot be chosen."""

    def __init__(self, order: Restore) -> None:
        super().__init__()
        self.order = order
        self.ones: dict[str, One] = {}

    def body(self) -> ComposeResult:
        """The image, then its partitions."""
        yield text(f" Image: {image_title(self.order.image)}\n Which partition shall be restored?", id="question")
        yield Choices(id="disks")

    def on_mount(self) -> None:
        """Fill the list."""
        choices: list[Choice] = []
        for disk in self.order.image.disks:
            rows = columns([*(volume_row(v) for v in disk.volumes), *left_out_rows(disk)], right=_RIGHT)
            keys = [f"{disk.name}:{volume.number}" for volume in disk.volumes]
            self.ones |= {
                key: One(order=self.order, source=disk, volume=volume)
                for key, volume in zip(keys, disk.volumes, strict=True)
            }
            keys += [f"{disk.name}:{part.number}" for part in disk.left_out]
            choices += [
                Choice(
                    key=key,
                    lines=(f" {clean(disk.name)}  {row}",),
                    why_not="" if key in self.ones else "it was left out when the image was captured",
                )
                for key, row in zip(keys, rows, strict=True)
            ]
        self.query_one(Choices).show(choices)
        self.query_one(Choices).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the disks."""
        one = self.ones.get(event.option_id or "")
        if one is not None:
            self.app.push_screen(IntoDiskScreen(one))


class IntoDiskScreen(TargetScreen):
    """The disks of this computer: which one has the partition to write to?"""

    HEADING = "Restore one partition - choose the disk"
    ABOUT = """
Each entry is a disk of this computer with what is on it now. Choose the
one that has the partition to write to; the next screen asks which of its
partitions that is. Nothing is written yet.

Disks that cannot be chosen are shown with the reason.

  Enter   choose the disk under the cursor
  l       look for disks again, after you have plugged one in
  o       name a file that stands for a disk, such as a virtual machine's"""

    def __init__(self, one: One) -> None:
        super().__init__(one.order)
        self.one = one

    def question(self) -> str:
        """What is to be restored."""
        return f"{self.one.words}\n On which disk is the partition that it goes into?"

    def why_not(self, disk: Disk) -> str:
        """Why the disk cannot be chosen here."""
        return self.backend.why_not_disk(disk, self.one.source)

    def chosen(self, disk: Disk) -> None:
        """On to its partitions."""
        self.app.push_screen(PartitionScreen(self.one, disk))


class PartitionScreen(RescueScreen):
    """The partitions of a disk: which one is to be overwritten?"""

    HEADING = "Restore one partition - choose the one to write to"
    ABOUT = """
Here are the partitions of the disk. The one that you choose will be
ERASED, but not yet: the next screen shows what is lost, and asks you to
type the partition's name. The others are not written to.

Partitions that cannot be chosen are shown with the reason."""
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, one: One, disk: Disk) -> None:
        super().__init__()
        self.one = one
        self.disk = disk

    def body(self) -> ComposeResult:
        """What goes where, then the partitions."""
        where = f" Disk: {disk_title(self.disk)}"
        yield text(f"{self.one.words}\n{where}\n Into which partition shall it go?", id="question")
        yield text("", id="status")
        yield Choices(id="disks")

    def on_mount(self) -> None:
        """Fill the list."""
        choices = [self.choice(part) for part in self.disk.table.partitions]
        self.query_one(Choices).show(choices)
        self.query_one(Choices).focus()
        usable = any(not choice.why_not for choice in choices)
        self.say("status", "" if usable else " There is no partition on this disk that it can be restored into.")
        self.query_one("#status").display = not usable

    def choice(self, part: Partition) -> Choice:
        """A partition as the list shows it."""
        name = clean(self.disk.partition_name(part.number))
        rows = partition_rows([part])
        about = "  ".join(rows[0][1:]).rstrip() if rows else f"{format_size(part.size)}  extended"
        why_not = self.backend.why_not_partition(self.disk, part, self.one.source, self.one.volume)
        return Choice(key=str(part.number), lines=(f" {name}  {about}",), why_not=why_not)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the plan."""
        if not event.option_id:
            return
        one, into = self.one, int(event.option_id)
        with self.telling():
            plan = self.backend.plan_restore_partition(
                one.order.library, one.order.image, one.source.name, self.disk, (one.volume.number, into)
            )
            self.app.push_screen(RestorePlanScreen(plan))
