"""Restore one partition of an image: which one, to which disk, into which of its partitions."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.disk import Disk, Partition
from imaging.manifest import ImagedDisk, Volume
from rescue.contents import partition_rows
from rescue.formats import clean, columns, format_size, joined
from rescue.language import N_, _
from rescue.parts import left_out_rows, volume_words
from rescue.report import disk_title, image_title, volume_row
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import Known
from rescue.screens.restore import RestorePlanScreen
from rescue.screens.targets import Restore, TargetScreen
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices
from rescue.widgets.diskbar import DiskBar

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
        disk, what = clean(self.source.name), volume_words(self.volume)
        image = _(" Image: {image}").format(image=image_title(self.order.image))
        return f"{image}\n" + _(" In it: disk {disk}, {partition}").format(disk=disk, partition=what)


class VolumesScreen(RescueScreen):
    """The partitions that an image holds: which one is to be restored?"""

    HEADING = N_("Restore one partition - choose it in the image")
    ABOUT = N_("""
Here are the partitions that the image holds. The one that you choose goes
into a partition that exists, on this disk or another: the next screens
ask which. Nothing else of that disk is written, its partition table
neither. What was left out when the image was captured cannot be chosen.""")

    def __init__(self, order: Restore) -> None:
        super().__init__()
        self.order = order
        self.ones: dict[str, One] = {}

    def body(self) -> ComposeResult:
        """The image, then its partitions."""
        image = _(" Image: {image}").format(image=image_title(self.order.image))
        yield text(f"{image}\n" + _(" Which partition shall be restored?"), id="question")
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
                    lines=(f"{clean(disk.name)}  {row}",),
                    why_not="" if key in self.ones else _("it was left out when the image was captured"),
                )
                for key, row in zip(keys, rows, strict=True)
            ]
        self.query_one(Choices).show(choices)
        self.query_one(Choices).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the disks."""
        one = self.ones.get(event.option_id or "")
        if one is not None:
            self.open(IntoDiskScreen(one))


class IntoDiskScreen(TargetScreen):
    """The disks of this computer: which one has the partition to write to?"""

    HEADING = N_("Restore one partition - choose the disk")
    ABOUT = N_("""
Each entry is a disk of this computer with what is on it now. Choose the
one that has the partition to write to; the next screen asks which of its
partitions that is. Nothing is written yet.

Disks that cannot be chosen are shown with the reason.

  Enter   choose the disk under the cursor
  l       look for disks again, after you have plugged one in
  o       name a file that stands for a disk: a virtual machine's, say""")

    def __init__(self, one: One) -> None:
        super().__init__(one.order)
        self.one = one

    def question(self) -> str:
        """What is to be restored."""
        return f"{self.one.words}\n" + _(" On which disk is the partition that it goes into?")

    def why_not(self, disk: Disk) -> str:
        """Why the disk cannot be chosen here."""
        return self.backend.why_not_disk(disk, self.one.source)

    def chosen(self, disk: Disk) -> None:
        """On to its partitions."""
        self.open(PartitionScreen(self.one, disk, self.known))


class PartitionScreen(RescueScreen):
    """The partitions of a disk: which one is to be overwritten?"""

    HEADING = N_("Restore one partition - choose the one to write to")
    ABOUT = N_("""
Here are the partitions of the disk. The one that you choose will be
ERASED, but not yet: the next screen shows what is lost, and asks you to
type the partition's name. The others are not written to.

Partitions that cannot be chosen are shown with the reason.""")
    BINDINGS: ClassVar[list[BindingType]] = []

    DEFAULT_CSS = "PartitionScreen #drawn { margin: 0 1 1 1; }"

    def __init__(self, one: One, disk: Disk, known: Known) -> None:
        super().__init__()
        self.known = known
        self.one = one
        self.disk = disk

    def body(self) -> ComposeResult:
        """What goes where, then the partitions."""
        where = _(" Disk: {disk}").format(disk=disk_title(self.disk))
        yield text(f"{self.one.words}\n{where}\n" + _(" Into which partition shall it go?"), id="question")
        yield DiskBar(self.disk, names=self.known.of(self.disk), id="drawn")
        yield text("", id="status")
        yield Choices(id="disks")

    def on_mount(self) -> None:
        """Fill the list."""
        choices = [self.choice(part) for part in self.disk.table.partitions]
        self.query_one(Choices).show(choices)
        self.query_one(Choices).focus()
        usable = any(not choice.why_not for choice in choices)
        self.say("status", "" if usable else _(" There is no partition on this disk that it can be restored into."))
        self.query_one("#status").display = not usable

    def choice(self, part: Partition) -> Choice:
        """A partition as the list shows it."""
        name = clean(self.disk.partition_name(part.number))
        rows = partition_rows([part])
        system = clean(self.known.of(self.disk).get(part.number, ""))
        about = joined(*rows[0][1:], system) if rows else joined(format_size(part.size), _("extended"))
        why_not = self.backend.why_not_partition(self.disk, part, self.one.source, self.one.volume)
        return Choice(key=str(part.number), lines=(f"{name}  {about}",), why_not=told(why_not))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """On to the plan."""
        if not event.option_id:
            return
        one, into = self.one, int(event.option_id)
        spot = (one.volume.number, into)
        ask = partial(
            self.backend.plan_restore_partition, one.order.library, one.order.image, one.source.name, self.disk, spot
        )
        self.look(ask, lambda plan: self.open(RestorePlanScreen(plan, self.known)), "plan")
