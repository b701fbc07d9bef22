"""Restore, beside the last step: another size for one of the partitions that are restored."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.errors import RescueError
from imaging.placement import GRAIN
from imaging.restoreplans import RestorePlan
from imaging.sizing import Limits, moved_by, with_size
from imaging.wanted import bytes_of
from rescue.contents import partition_rows
from rescue.formats import columns, folded, format_size
from rescue.growing import growth_lines, resized_disk, shrinkage_lines
from rescue.language import N_, _
from rescue.report import disk_title
from rescue.screens.base import AskText, Notice, RescueScreen, text
from rescue.screens.erasing import BESIDE_LINE, captioned, room_for_bar
from rescue.widgets.act import Act, Acts
from rescue.widgets.choices import Choice, Choices
from rescue.widgets.diskbar import bar

_STEPS = 20
"""In so many steps + and - lead from the least to the most."""


class SizesScreen(RescueScreen):
    """The partitions as they will be, with the least and the most that each can have."""

    HEADING = N_("Restore - the sizes of the partitions")
    KEYS = N_("+ and - change it   Enter type a size   Tab buttons   Esc back   F1 help")
    ABOUT = N_("""
Here are the partitions as they will be, each with the least and the most
that it can have. One of them can have another size; the others keep what
they have in the image, and what is left of the disk stays free.

  + and -   make the one under the cursor larger or smaller
  Enter     type its size: 512M or 20G (20G are 20 GiB, or 21.5 GB)

A file system may need more than the least that is shown: its own tool is
asked before the sizes are used, which can take minutes. Nothing is written
to the disk meanwhile. Esc changes nothing.""")
    BINDINGS: ClassVar[list[BindingType]] = [("plus,equals_sign", "step(1)"), ("minus", "step(-1)")]
    DEFAULT_CSS = """
    SizesScreen #drawn { height: auto; margin: 0 0 1 0; }
    SizesScreen #status { margin: 0 1 1 1; }
    """

    def __init__(self, plan: RestorePlan, then: Callable[[RestorePlan], None]) -> None:
        super().__init__()
        self.plan = plan
        self.then = then
        self.limits: dict[str, Limits] = {}

    def body(self) -> ComposeResult:
        """The disk, its partitions, what changes, the buttons."""
        (pair,) = self.plan.targets
        disk = _(" Disk: {disk}").format(disk=disk_title(pair.target))
        yield text(f"{disk}\n" + _(" Which partition shall have another size?"), id="question")
        yield text("", id="drawn")
        yield text("", id="status")
        yield Choices(id="partitions")
        yield Acts(Act(_("Back"), id="back"), Act(_("Use these sizes"), id="use"))

    def on_mount(self) -> None:
        """The cursor is in the list, where nothing is written by any key."""
        self.show_sizes()
        self.query_one(Choices).focus()

    def on_resize(self) -> None:
        """Bars follow the width."""
        if self.is_mounted:
            self.show_sizes()

    def show_sizes(self) -> None:
        """The list, the bar and the words for the plan as it is now."""
        (pair,) = self.plan.targets
        found = self.backend.sizes(self.plan)
        self.limits = {str(one.partition): one for one in found}
        contents = {number: what for number, _size, what, _name in partition_rows(pair.source.table.partitions)}
        rows = columns([_row(one, contents.get(str(one.partition), "")) for one in found], right=frozenset({0, 2}))
        choices = [
            Choice(key=key, lines=(row,), why_not=one.why_not or (_("its size is fixed") if one.fixed else ""))
            for (key, one), row in zip(self.limits.items(), rows, strict=True)
        ]
        self.query_one(Choices).show(choices)
        names = {volume.number: volume.system for volume in pair.source.volumes if volume.system}
        after = bar(resized_disk(pair), room_for_bar(self.app.size.width), size=pair.target.size, names=names)
        self.say("drawn", "\n".join(captioned([], after)))
        changed = [*growth_lines(pair), *shrinkage_lines(pair)]
        status = changed[0] if changed else _("All have the sizes that they have in the image.")
        self.say("status", "\n".join(folded(status, self.app.size.width - BESIDE_LINE)))

    def change(self, plan: Callable[[], RestorePlan]) -> None:
        """Show another plan; what is impossible is told with the limits."""
        with self.telling():
            self.plan = plan()
            self.show_sizes()

    def action_step(self, by: int) -> None:
        """+ or -."""
        one = self.limits.get(self.query_one(Choices).chosen)
        if one is None or one.fixed:
            return
        step = max(GRAIN, (one.most - one.least) // _STEPS // GRAIN * GRAIN)
        self.change(lambda: moved_by(self.plan, one.partition, by * step))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter: ask for a size."""
        one = self.limits.get(event.option_id or "")
        if one is None:
            return
        words = _("Size of partition {number}, {least} to {most}, such as 512M or 20G (20 GiB, which are 21.5 GB):")
        asked = words.format(number=one.partition, least=format_size(one.least), most=format_size(one.most))

        def typed(answer: str | None) -> None:
            size = bytes_of(answer) if answer else None
            if size is not None:
                self.change(lambda: with_size(self.plan, one.partition, size))
            elif answer:
                self.app.push_screen(Notice(_("That is no size: 512M or 20G would be one.")))

        self.open(AskText(asked), typed)

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or use them once their tools say that they can be."""
        if event.act.id == "back":
            self.action_back()
            return
        plan = self.plan
        self.say("status", _("Whether that can be is asked of the file system's own tool .."))

        def ask() -> RestorePlan:
            self.backend.refuse_unless_sizes_fit(plan)
            return plan

        self.look(ask, self.use)

    def use(self, plan: RestorePlan) -> None:
        """Hand them over, unless they were changed meanwhile."""
        if plan is self.plan:
            self.then(plan)
            self.dismiss()

    def unanswered(self, error: RescueError) -> None:
        """It cannot be; why is told."""
        super().unanswered(error)
        self.show_sizes()


def _row(one: Limits, what: str) -> list[str]:
    span = _("{least} to {most}").format(least=format_size(one.least), most=format_size(one.most))
    return [str(one.partition), what, format_size(one.size), "" if one.fixed else f"({span})"]
