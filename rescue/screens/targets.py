"""Restore, second step: choose the disk to write to, for each disk of the image."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from textual.app import ComposeResult
from textual.widgets import OptionList

from imaging.disk import Disk
from imaging.manifest import Image, ImagedDisk
from imaging.partitions import of_some
from imaging.restoreplans import RestorePlan
from rescue.formats import clean, format_size, joined
from rescue.language import N_, _
from rescue.report import identity, image_title
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import BESIDE_BAR, DiskListScreen, disk_choice, usable_first
from rescue.screens.restore import RestorePlanScreen
from rescue.widgets.choices import Choices


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """What has been chosen so far; `targets` by the names of the image's disks."""

    library: Path
    image: Image
    libraries: tuple[Path, ...]
    targets: dict[str, Disk] = field(default_factory=dict)
    only: str = ""
    """The name of the one disk of the image that is wanted; all of them where it is empty."""

    @property
    def sources(self) -> Sequence[ImagedDisk]:
        """The disks of the image that are wanted."""
        return [disk for disk in self.image.disks if self.only in ("", disk.name)]

    @property
    def next_source(self) -> ImagedDisk | None:
        """The disk of the image that has no target yet."""
        return next((disk for disk in self.sources if disk.name not in self.targets), None)

    def with_target(self, source: ImagedDisk, target: Disk) -> "Restore":
        """One more is chosen."""
        return replace(self, targets={**self.targets, source.name: target})


class TargetScreen(DiskListScreen):
    """The disks of this computer: which one is to be overwritten?"""

    HEADING = N_("Restore - choose the disk to write to")
    KEYS = N_("Enter choose   l look again   o disk file   Esc back   F1 or ? help")
    ABOUT = N_("""
Each entry is a disk of this computer, drawn with what is on it now. The one
that you choose will be ERASED, but not yet: the next screen shows what
is lost, and asks you to type the disk's name.

Disks that cannot be chosen are shown with the reason.

  Enter   choose the disk under the cursor
  l       look for disks again, after you have plugged one in
  o       name a file that stands for a disk: a virtual machine's, say""")

    def __init__(self, order: Restore) -> None:
        super().__init__()
        self.order = order

    def body(self) -> ComposeResult:
        """Which disk of the image, then the disks of the computer."""
        yield text(self.question(), id="question")
        yield text(_(" Looking at the disks .."), id="status")
        yield Choices(id="disks")

    def question(self) -> str:
        """What is to be restored, and how much of how many."""
        source = self.source
        count = len(self.order.sources)
        number = len(self.order.targets) + 1
        place = _("disk {number} of {count}").format(number=number, count=count) if count > 1 else ""
        what = joined(f"{clean(source.name)} {format_size(source.size)}", clean(source.id.model), place, by=", ")
        return "\n".join(
            [
                _(" Image: {image}").format(image=image_title(self.order.image)),
                _(" Disk in the image: {disk}").format(disk=what),
                _(" Where shall it go?"),
            ]
        )

    @property
    def source(self) -> ImagedDisk:
        """The disk of the image that this screen asks for."""
        return next(disk for disk in self.order.sources if disk.name not in self.order.targets)

    def on_mount(self) -> None:
        """Start to look."""
        self.query_one(Choices).focus()
        self.action_again()

    def libraries(self) -> Sequence[Path]:
        """Those that are known already."""
        return self.order.libraries

    def show_list(self) -> None:
        """Fill the list."""
        room = self.app.size.width - BESIDE_BAR
        choices = [disk_choice(disk, self.why_not(disk), self.known, room) for disk in self.disks.values()]
        self.query_one(Choices).show(usable_first(choices))
        usable = any(not choice.why_not for choice in choices)
        self.say("status", "" if usable else _(" There is no disk that this can be restored to."))
        self.query_one("#status").display = not usable

    def why_not(self, disk: Disk) -> str:
        """Why the disk cannot be chosen here."""
        for name, target in self.order.targets.items():
            if target.path == disk.path:
                return _("already chosen for disk {disk} of the image").format(disk=clean(name))
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
            self.open(type(self)(order))
            return
        self.look(partial(self.plan, order), lambda plan: self.open(self.last(plan)), "plan")

    def plan(self, order: Restore) -> RestorePlan:
        """What is planned once all disks are chosen; raises RefusedError."""
        return self.backend.plan_restore(order.library, order.image, order.targets)

    def last(self, plan: RestorePlan) -> RescueScreen:
        """What comes once all disks are chosen."""
        return RestorePlanScreen(plan, self.known)


class UndoTargetScreen(TargetScreen):
    """The disks of this computer, where the one that was saved is not known among them."""

    HEADING = N_("Undo - choose the disk to write to")

    def question(self) -> str:
        """Which disk it was, for it is not known to be one of these."""
        return "\n".join(
            [
                _(" Image: {image}").format(image=image_title(self.order.image)),
                _(" Saved from: {disk}").format(disk=identity(self.source.id)),
                _(" That disk is not known to be among these. Where shall it go instead?"),
            ]
        )

    def why_not(self, disk: Disk) -> str:
        """Partitions that were saved alone go back into theirs."""
        source = self.source
        if not of_some(self.order.image, disk):
            return super().why_not(disk)
        there = {part.number: part for part in disk.table.partitions}
        pairs = [(there[volume.number], volume) for volume in source.volumes if volume.number in there]
        whys = [self.backend.why_not_partition(disk, part, source, volume) for part, volume in pairs]
        return self.backend.why_not_disk(disk, source) or next(filter(None, whys), "")

    def plan(self, order: Restore) -> RestorePlan:
        """What was there before."""
        return self.backend.plan_undo(order.library, order.image, order.targets)
