"""Let the partition for images take all of the running recovery drive: what is changed, and a button."""

from dataclasses import replace

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from imaging.disk import Disk, Partition
from imaging.recoveryplans import MediaGrowPlan
from rescue.language import N_, _
from rescue.report import plan_lines
from rescue.screens.base import RescueScreen, text
from rescue.screens.erasing import captioned, room_for_bar
from rescue.widgets.act import Act, Acts
from rescue.widgets.diskbar import bar


class GrowthScreen(RescueScreen):
    """The drive as it is and as it will be; the focus is on what changes nothing."""

    HEADING = N_("More room for images on this recovery drive")
    KEYS = N_("Left, Right and Enter a button   PgUp/PgDn scroll   Esc back   F1 help")
    ABOUT = N_("""
A recovery drive that was copied from a file uses as much of a stick as the
file is large. This lets it use the rest for images, too.

The system on it and the images that are there stay as they are. Nobody may
be reading from the images meanwhile. Esc goes back.""")

    def __init__(self, plan: MediaGrowPlan) -> None:
        super().__init__()
        self.plan = plan

    def body(self) -> ComposeResult:
        """The plan, the buttons."""
        with VerticalScroll(id="plan", can_focus=False):
            yield text("", id="lines")
        yield Acts(Act(_("Back"), id="back"), Act(_("Use all of it"), id="grow"))

    def on_mount(self) -> None:
        """The focus is on the harmless answer."""
        self.show_plan()
        self.query_one("#back").focus()

    def on_resize(self) -> None:
        """Bars follow the width."""
        if self.is_mounted:
            self.show_plan()

    def show_plan(self) -> None:
        """In words, and drawn."""
        first, *rest = plan_lines(self.plan, self.backend.seconds_expected(self.plan))
        room = room_for_bar(self.app.size.width)
        names = {1: "Rescue", 3: _("images")}
        after = bar(grown(self.plan), room, names=names, marked=[3])
        bars = captioned(bar(self.plan.target, room, names=names), after)
        self.say("lines", "\n".join([first, *bars, *rest]))

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or go."""
        if event.act.id == "back":
            self.action_back()
        else:
            self.submit(self.plan)


def grown(plan: MediaGrowPlan) -> Disk:
    """The drive as it will be."""
    table = plan.target.table
    others = tuple(part for part in table.partitions if part.number != 3)
    before = next((part for part in table.partitions if part.number == 3), None)
    images = before or Partition(number=3, start=plan.start, size=plan.size, type="")
    images = replace(images, start=plan.start, size=plan.size)
    return replace(plan.target, table=replace(table, partitions=(*others, images)))
