"""The disks of this computer: what is on each, how it is doing, and which one it is."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static

from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.health import Condition, Health
from imaging.identify import Attachment
from imaging.repairplans import RepairPlan, RepairWishes
from rescue.backend import Backend
from rescue.formats import clean, columns, format_count, format_size, joined, shortened
from rescue.health import figure_rows, health_line, is_failing, reason_lines
from rescue.language import N_, _
from rescue.report import content_lines, disk_title, use_lines
from rescue.screens.base import Dialogue, RescueScreen, problem, text
from rescue.screens.disklist import BESIDE_BAR, INDENT, DiskListScreen, Known, failing_line, learn
from rescue.screens.repair import RepairPlanScreen
from rescue.starting import start_lines
from rescue.widgets.act import Act, Acts
from rescue.widgets.choices import Choice, Choices
from rescue.widgets.diskbar import DiskBar, bar

WIDEST = 100
"""Cells of a bar in the list at most: on a slow line wide ones cost."""
LOOKING = N_("Asking the disks how they are ..")


class DisksScreen(DiskListScreen):
    """The list; Enter shows all of one disk."""

    HEADING = N_("Disks")
    KEYS = N_("Enter show all   i blink its light   l look again   Esc back   F1 or ? help")
    ABOUT = N_("""
Every disk of this computer: its name, model, serial number and size,
then its partitions drawn as a bar, and how it is doing by its own
account. Nothing here changes anything.

  Enter   show everything about the disk under the cursor
  i       let the disk's light blink, to find it in the computer
  l       look again, after you have plugged a disk in
  o       name a file that stands for a disk: a virtual machine's, say

"worn" means that a disk works, and that you should have a second copy
of what is on it. "FAILING" means that it may stop at any moment: save
what is on it now, and replace it. Many virtual disks, memory cards and
USB sticks do not say how they are; that is no sign of trouble.""")
    BINDINGS: ClassVar[list[BindingType]] = [("i", "identify")]
    DEFAULT_CSS = """
    DisksScreen #status { height: auto; margin: 1 1 0 1; }
    DisksScreen #status.failing { color: ansi_red; text-style: bold; }
    DisksScreen #disks { margin: 1 0 0 0; }
    """

    def body(self) -> ComposeResult:
        """What goes on, and the list."""
        yield text("", id="status")
        yield Choices(id="disks")

    def on_mount(self) -> None:
        """Look."""
        self.query_one(Choices).focus()
        self.action_again()

    def libraries(self) -> Sequence[Path]:
        """Those on attached media."""
        return self.backend.libraries()

    def action_again(self) -> None:
        """l."""
        self.tell(_("Looking at the disks .."))
        super().action_again()

    def arrived(self) -> None:
        """The list is there, without what takes longer."""
        self.tell(_(LOOKING) if self.disks else _("No disk was found. Plug one in and press l."))

    def know_health(self, healths: Mapping[str, Health]) -> None:
        """Each disk's health, and of all of them in one line."""
        self.known = replace(self.known, health=healths)
        self.show_list()
        failing = [clean(disk.name) for path, disk in self.disks.items() if is_failing(healths.get(path))]
        if failing:
            names = ", ".join(failing)
            self.tell(_("FAILING: {names}. Save what is on it, and replace it.").format(names=names), failing=True)
        elif self.disks:
            self.tell(_("Choose a disk to see all of it."))

    def tell(self, words: str, *, failing: bool = False) -> None:
        """The line above the list."""
        self.query_one("#status", Static).set_class(failing, "failing")
        self.say("status", words)

    def show_list(self) -> None:
        """Fill the list."""
        width = min(WIDEST, self.size.width - BESIDE_BAR)
        self.query_one(Choices).show([row(disk, self.known, width) for disk in self.disks.values()])

    @property
    def under_cursor(self) -> Disk | None:
        """The disk that the cursor is on."""
        return self.disks.get(self.query_one(Choices).chosen)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Show all of it."""
        disk = self.disks.get(event.option_id or "")
        if disk is not None:
            self.open(DiskScreen(disk, self.known))

    def action_identify(self) -> None:
        """i."""
        if self.under_cursor is not None:
            self.open(Identify(self.under_cursor, self.backend))


def row(disk: Disk, known: Known, width: int) -> Choice:
    """A disk in the list: its title, its bar, and how it is."""
    health = known.health.get(disk.path)
    lines = [*bar(disk, width, names=known.of(disk))]
    if health is not None and not is_failing(health):
        lines.append(shortened(health_line(health), width))
    failing = failing_line(disk, known.health)
    alarm = INDENT + shortened(failing, width) if failing else ""
    return Choice(key=disk.path, lines=(disk_title(disk), *(INDENT + line for line in lines), ""), alarm=alarm)


class DiskScreen(RescueScreen):
    """Everything about one disk."""

    HEADING = N_("Disks - one disk")
    KEYS = N_("i blink   b can it start?   r repair it   Esc back   F1 or ? help")
    ABOUT = N_("""
Everything that is known of this disk, from the disk itself: what is
on it, who uses it, how it is doing, and what is printed on its label,
to find it in the computer. Nothing here changes anything.

  i   let the disk's light blink: it is read from, in bursts
  b   look whether a computer can start from it, and if not, why
  r   repair its start: the next screen shows first what would be done""")
    BINDINGS: ClassVar[list[BindingType]] = [("i", "identify"), ("b", "check_boot"), ("r", "repair")]
    DEFAULT_CSS = """
    DiskScreen {
        #starts { display: none; }
        #page { height: 1fr; padding: 1 2 0 2; }
        #page > * { height: auto; margin: 0 0 1 0; }
        #disk-title { text-style: bold; }
        #health.failing { color: ansi_red; text-style: bold; }
    }
    """

    def __init__(self, disk: Disk, known: Known) -> None:
        super().__init__()
        self.disk = disk
        self.known = known

    def body(self) -> ComposeResult:
        """A page that scrolls."""
        with VerticalScroll(id="page"):
            yield text(disk_title(self.disk), id="disk-title")
            yield DiskBar(self.disk, names=self.known.of(self.disk), id="drawing")
            yield text("", id="health")
            yield text("", id="starts")
            yield text("", id="contents")
            yield text("", id="disk-facts")

    def on_mount(self) -> None:
        """Show what is known, and ask for what is not."""
        self.query_one("#page").focus()
        self.draw()
        if self.disk.path not in self.known.health:
            learn(self, "health", lambda: self.backend.health([self.disk]), self.know_health)
        if self.disk.path not in self.known.systems:
            learn(self, "systems", lambda: self.backend.systems([self.disk]), self.know_systems)

    def know_health(self, healths: Mapping[str, Health]) -> None:
        """How it is doing."""
        self.known = replace(self.known, health=healths)
        self.draw()

    def know_systems(self, systems: Mapping[str, Mapping[int, str]]) -> None:
        """What stands on it."""
        self.known = replace(self.known, systems=systems)
        self.draw()

    def draw(self) -> None:
        """Fill the page."""
        health, systems = self.known.health.get(self.disk.path), self.known.of(self.disk)
        drawing = self.query_one(DiskBar)
        if drawing.names != systems:
            drawing.names = systems
            drawing.refresh(layout=True)
        self.query_one("#health", Static).set_class(is_failing(health), "failing")
        self.say("health", "\n".join(health_page(health)) if health else _(LOOKING))
        self.say("contents", "\n".join([*use_lines(self.disk), *content_lines(self.disk, systems)]))
        self.say("disk-facts", "\n".join(fact_lines(self.disk, self.backend.attachment(self.disk), health)))

    def action_identify(self) -> None:
        """i."""
        self.open(Identify(self.disk, self.backend))

    def action_check_boot(self) -> None:
        """b."""
        self.tell_starts([_("Looking ..")])
        self.look(partial(self.backend.starts, self.disk), lambda found: self.tell_starts(start_lines(found)), "starts")

    def action_repair(self) -> None:
        """r."""
        self.tell_starts([_("Looking what can be repaired ..")])

        def then(plan: RepairPlan) -> None:
            self.tell_starts([])
            self.open(RepairPlanScreen(plan, self.known))

        self.look(partial(self.backend.plan_repair, self.disk, RepairWishes()), then, "starts")

    def tell_starts(self, lines: Sequence[str]) -> None:
        """What is known of a start from it."""
        self.query_one("#starts").display = bool(lines)
        self.say("starts", "\n".join(lines))

    def unanswered(self, error: RescueError) -> None:  # noqa: ARG002
        """The dialogue says why there is no answer."""
        self.tell_starts([])


ADVICE = {
    Condition.WORN: N_("It works. Have a second copy of what is on it, and think of replacing it."),
    Condition.FAILING: N_("It may stop at any moment. Save what is on it now, and replace it."),
}


def health_page(health: Health) -> list[str]:
    """Health with all reasons, and what to do."""
    first, *others = [health_line(health), *reason_lines(health)[1:]]
    lines = [first, *(INDENT + reason for reason in others)]
    return [*lines, _(ADVICE[health.condition])] if health.condition in ADVICE else lines


def fact_lines(disk: Disk, attached: Attachment, health: Health | None) -> list[str]:
    """What is printed on a disk, how it is attached, and what it measures of itself."""
    rotation = health.rotation if health else None
    spins = attached.rotational if rotation is None else rotation > 0
    kind = "" if spins is None else _("spins") if spins else _("no moving parts")
    turns = _("{count} turns a minute").format(count=rotation) if rotation else ""
    sizes = {"logical": disk.logical_sector, "physical": disk.physical_sector}
    one_size = disk.logical_sector == disk.physical_sector
    sectors = _("{logical} bytes") if one_size else _("{logical} bytes, {physical} physically")
    rows = [
        [_("Model"), clean(disk.id.model)],
        [_("Serial number"), clean(disk.id.serial)],
        ["WWN", clean(disk.id.wwn)],
        [_("Size"), _("{size} ({bytes} bytes)").format(size=format_size(disk.size), bytes=format_count(disk.size))],
        [_("Sectors"), sectors.format_map(sizes)],
        [_("Attached by"), joined(clean(disk.transport).upper(), _("removable") if disk.removable else "", by=", ")],
        [_("Plugged in at"), clean(attached.port)],
        [_("Kind"), joined(kind, turns, by=", ")],
        [_("Firmware"), clean(health.firmware) if health else ""],
        [_("Path"), clean(disk.path)],
        *(figure_rows(health) if health else []),
    ]
    return columns([row for row in rows if row[1]])


class Identify(Dialogue[None]):
    """The light blinks while this box is open."""

    ABOUT = N_("The disk is read from in bursts, so that its light blinks. Esc or Enter stops it. Nothing is written.")

    def __init__(self, disk: Disk, backend: Backend) -> None:
        port = backend.attachment(disk).port
        at = _("Plugged in at: {port}").format(port=clean(port)) if port else ""
        title = _("The light of this disk blinks now:")
        foot = _("It is only read from. Not every disk has a light.")
        super().__init__("\n".join([title, "", disk_title(disk), *([at] if at else []), "", foot]))
        self.disk = disk
        self.backend = backend
        self.stop = threading.Event()

    def answers(self) -> ComposeResult:
        """One button."""
        yield Acts(Act(_("Stop"), id="stop"))

    def on_mount(self) -> None:
        """Begin to read, in a thread of its own."""
        self.run_worker(self.blink, thread=True, exit_on_error=False, group="blink")

    def blink(self) -> None:
        """Until it is stopped; what is wrong with a disk that cannot be read takes the place of the words."""
        try:
            self.backend.blink(self.disk, self.stop)
        except RescueError as error:
            self.app.call_from_thread(self.tell, problem(error))

    def tell(self, words: str) -> None:
        """In place of what the box said."""
        self.query_one("#message", Static).update(Content(words))

    def on_act_pressed(self) -> None:
        """Enter."""
        self.dismiss(None)

    def on_unmount(self) -> None:
        """However it was closed."""
        self.stop.set()
