"""Repair startup: what keeps a computer from starting from a disk, what would be done about it, its name typed."""

from collections.abc import Sequence
from functools import partial

from msgspec import structs
from textual.app import ComposeResult

from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.repairplans import RepairPlan
from rescue.chosen import Doomed
from rescue.language import N_, _
from rescue.report import plan_lines
from rescue.screens.disklist import NOTHING, Known
from rescue.screens.erasing import ErasingScreen
from rescue.widgets.toggle import Toggle


class RepairPlanScreen(ErasingScreen):
    """What is wrong, and what is done about it; file systems are checked where a person ticks that alone."""

    HEADING = N_("Repair startup - read this before you go on")
    GO = "repair"
    ABOUT = N_("""
This is what keeps a computer from starting from this disk, and what can be
done about it with what the disk itself has. Nothing is erased, and nothing
is taken from an image.

The partition table is put back from its other copy, where one copy is
destroyed and the other is whole. The boot loader is put back by programs
of the system on the disk. What is not repaired is shown with the reason.

File systems are checked where you tick that: then their own tools mend
what can be mended without a loss. Save what is on the disk first, if you
can.

To go on, type the disk's name or its serial number and press Enter; then
the button can be pressed with Enter once more. Esc goes back.""")

    plan: RepairPlan

    def __init__(self, plan: RepairPlan, known: Known = NOTHING) -> None:
        super().__init__(plan, known)
        self.looking = False

    def verb(self) -> str:
        """What stands on the button."""
        return _("Repair it")

    def doomed(self) -> Sequence[Doomed]:
        """The one disk, of which nothing is erased."""
        return [Doomed(name=self.plan.target.name, disk=self.plan.target, erased=False, repaired=True)]

    @property
    def disks(self) -> Sequence[Disk]:
        """The one disk."""
        return [self.plan.target]

    def choices(self) -> ComposeResult:
        """The consent to what writes to file systems."""
        yield Toggle(_("Check the file systems, too, and mend without a loss"), id="checks")

    def drawn(self) -> Sequence[str]:
        """The plan in words."""
        return plan_lines(self.plan, self.backend.seconds_expected(self.plan) if self.plan.writes else None)

    def hindrance(self) -> str:
        """A plan that is being made anew, or one that does nothing."""
        if self.looking:
            return _("Looking what can be repaired ..")
        return "" if self.plan.writes else _("There is nothing that could be repaired.")

    def on_toggle_changed(self, event: Toggle.Changed) -> None:
        """Another plan, for the disk as it is by then."""
        wishes = structs.replace(self.plan.wishes, check_all=event.toggle.ticked)
        self.looking = True
        self.show_button()
        self.look(partial(self.backend.plan_repair, self.plan.target, wishes), self.planned, "plan")

    def planned(self, plan: RepairPlan) -> None:
        """In place of the one before."""
        self.plan, self.looking = plan, False
        self.show_plan()
        self.show_button()

    def unanswered(self, error: RescueError) -> None:  # noqa: ARG002
        """The dialogue says why; the plan is as it was."""
        self.looking = False
        self.query_one("#checks", Toggle).ticked = self.plan.wishes.check_all
        self.show_button()
