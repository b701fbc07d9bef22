"""Create a recovery drive, last step: what is erased or updated and written, drawn and in words, and its name typed."""

from collections.abc import Sequence
from dataclasses import replace

from msgspec import structs

from imaging.disk import Content, Disk, Partition, PartitionTable, TableKind
from imaging.medium import IMAGES_LABEL
from imaging.recoveryplans import MediaPlan
from rescue.chosen import Doomed
from rescue.language import N_, _
from rescue.report import plan_lines
from rescue.screens.erasing import ErasingScreen, captioned, room_for_bar
from rescue.widgets.diskbar import bar


class DrivePlanScreen(ErasingScreen):
    """What is lost and what comes."""

    HEADING = N_("Create a recovery drive - read this before you go on")
    GO = "create"
    ABOUT = N_("""
This is what will be done. Everything under ERASED is lost; of a drive that
is updated the images stay. The bars show the disk as it is now and as it
will be.

Compare the model, the serial number and the size with the stick that you
mean. To go on, type its name or its serial number and press Enter; then
the button can be pressed with Enter once more.

When it is written it is read back, and checked to start a computer.

Nothing is written until then. Esc goes back.""")

    plan: MediaPlan

    @property
    def doubt(self) -> str:
        """Why an image is not to be used."""
        return self.plan.doubt

    def accepted(self) -> MediaPlan:
        """The plan; where there was a doubt, a person has typed that it is accepted."""
        return structs.replace(self.plan, accept_unsigned=True) if self.doubt else self.plan

    def verb(self) -> str:
        """What stands on the button."""
        return _("Update it") if self.plan.update else _("Create it")

    def doomed(self) -> Sequence[Doomed]:
        """The one disk."""
        return [Doomed(name=self.plan.target.name, disk=self.plan.target, erased=not self.plan.update)]

    @property
    def disks(self) -> Sequence[Disk]:
        """The one disk."""
        return [self.plan.target]

    def drawn(self) -> Sequence[str]:
        """The plan in words, the disk drawn below what is lost."""
        plan, room = self.plan, room_for_bar(self.app.size.width)
        first, *rest = plan_lines(plan, self.backend.seconds_expected(plan))
        names = {1: "Rescue", 3: _("images")}
        now = bar(plan.target, room, names=names if plan.update else self.known.of(plan.target))
        after = bar(drive_of(plan), room, names=names)
        return [first, *captioned(now, after), *rest]


def drive_of(plan: MediaPlan) -> Disk:
    """The disk as it will be."""
    system = Partition(number=1, start=0, size=plan.system.size, type="")
    content = Content(kind=plan.filesystem, label=IMAGES_LABEL)
    images = Partition(number=3, start=plan.images_start, size=plan.images_size, type="", content=content)
    table = PartitionTable(kind=TableKind.GPT, partitions=(system, images) if plan.images_size else (system,))
    return replace(plan.target, table=table, content=Content(), problem="")
