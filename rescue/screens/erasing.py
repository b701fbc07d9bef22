"""The last screen before something is erased: the plan, the name to be typed of each thing that is lost, the button."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from imaging.disk import Disk
from imaging.health import Health
from imaging.plan import Plan
from rescue.chosen import Doomed
from rescue.formats import folded
from rescue.health import target_warnings
from rescue.language import N_, _
from rescue.screens.base import RescueScreen, text
from rescue.screens.disklist import NOTHING, Known, learn
from rescue.signed import doubt_words
from rescue.widgets.act import Act, Acts
from rescue.widgets.confirm import Accept, Confirm, Typed

LOUD = (
    N_("ERASED: {disk}"),
    N_("ERASED: {partition}, this one partition of {disk}"),
    N_("CREATED: {path}, a file of {size}"),
    N_("UPDATED: the recovery medium {disk}"),
)
"""Lines of a plan that begin with a word that stands out, as rescue.report has them."""
BESIDE_BAR = 8
"""Columns beside a bar and its caption: margins, indent, scroll bar."""

BESIDE_LINE, BESIDE_WORD = 4, 2
"""Columns beside a line: margins, scroll bar, and one between; and those around the word that is loud."""


def is_loud(line: str) -> bool:
    """Whether a line of the plan says that something is erased or made."""
    word, colon, _rest = line.partition(":")
    return bool(colon) and word in {_(known).partition(":")[0] for known in LOUD}


def emphasised(line: str) -> Content:
    """A line of the plan; the word that says what is lost stands out without colour."""
    word, colon, rest = line.partition(":")
    return Content.assemble((f" {word} ", "bold reverse"), f"{colon}{rest}") if is_loud(line) else Content(line)


def captions() -> tuple[str, str]:
    """What stands before the bar of a disk as it is, and as it will be."""
    return _("Now"), _("After")


def room_for_bar(width: int) -> int:
    """Columns of a bar behind its caption, on a screen of `width` columns."""
    return max(40, width - max(map(len, captions())) - 1 - BESIDE_BAR)


def captioned(now: Sequence[str], after: Sequence[str]) -> list[str]:
    """Bars as lines, each behind its caption; there may be none of a disk as it is."""
    wide = max(map(len, captions())) + 1
    return [
        f"    {(caption if place == 0 else '').ljust(wide)}{line}"
        for caption, lines in zip(captions(), (now, after), strict=True)
        for place, line in enumerate(lines)
    ]


class ErasingScreen(RescueScreen):
    """An empty field is harmless, so the focus may start there; the button can be reached once every name is right."""

    KEYS = N_("Type the name, then Enter   PgUp/PgDn scroll   Esc back   F1 help")
    GO: ClassVar[str] = ""
    """The button's id."""
    DEFAULT_CSS = """
    ErasingScreen #warnings { height: auto; color: ansi_red; text-style: bold; }
    ErasingScreen #waiting { height: auto; margin: 0 1; text-style: bold; display: none; }
    """

    def __init__(self, plan: Plan, known: Known = NOTHING) -> None:
        super().__init__()
        self.plan = plan
        self.known = known

    def doomed(self) -> Sequence[Doomed]:
        """Each thing that is to be named."""
        raise NotImplementedError

    @property
    def disks(self) -> Sequence[Disk]:
        """Those that are written to, each once."""
        raise NotImplementedError

    def drawn(self) -> Sequence[str]:
        """The plan in words, with what is known by now."""
        raise NotImplementedError

    def verb(self) -> str:
        """What stands on the button."""
        raise NotImplementedError

    def hindrance(self) -> str:
        """Why it cannot begin yet, in words; empty where it can."""
        return ""

    def body(self) -> ComposeResult:
        """The plan, one field for each target, the buttons."""
        with VerticalScroll(id="plan", can_focus=False):
            yield text("", id="warnings")
            yield Static("", id="lines", markup=False)
        with Vertical(id="confirmations"):
            if self.doubt:
                yield Accept()
            for one in self.doomed():
                yield Confirm(one)
            yield text("", id="waiting")
            yield text("", id="hint")
        yield from self.choices()
        yield Acts(Act(_("Back"), id="back"), Act(self.verb(), id=self.GO, disabled=True), *self.more_acts())

    def more_acts(self) -> Iterable[Act]:
        """Buttons behind the two; none where there are no more."""
        return ()

    def choices(self) -> ComposeResult:
        """What can be chosen beside; nothing where there is no choice."""
        return ()

    def on_mount(self) -> None:
        """The first field; what is not known yet of the disks is asked for."""
        self.show_plan()
        self.show_button()
        self.query(Input).first().focus()
        disks = [disk for disk in self.disks if not disk.regular_file]
        if any(disk.path not in self.known.health for disk in disks):
            learn(self, "health", lambda: self.backend.health(disks), self.know_health)
        if any(disk.path not in self.known.systems for disk in disks):
            learn(self, "systems", lambda: self.backend.systems(disks), self.know_systems)

    def know_health(self, healths: Mapping[str, Health]) -> None:
        """How the disks are doing."""
        self.known = replace(self.known, health={**self.known.health, **healths})
        self.show_plan()

    def know_systems(self, systems: Mapping[str, Mapping[int, str]]) -> None:
        """What stands on them."""
        self.known = replace(self.known, systems={**self.known.systems, **systems})
        self.show_plan()

    def on_resize(self) -> None:
        """Bars follow the width."""
        if self.is_mounted:
            self.show_plan()

    @property
    def doubt(self) -> str:
        """Why what is written is not to be used unless a person accepts that, in words; empty where it may be."""
        return ""

    def accepted(self) -> Plan:
        """The plan, with what a person has accepted of it."""
        return self.plan

    def warnings(self) -> Sequence[str]:
        """What is told before all else."""
        doubt = [doubt_words(self.doubt)] if self.doubt else []
        return [*doubt, *target_warnings(self.disks, self.known.health)]

    def show_plan(self) -> None:
        """All that is known now."""
        warnings = self.warnings()
        self.say("warnings", "\n".join(warnings))
        self.query_one("#warnings").display = bool(warnings)
        width = self.app.size.width - BESIDE_LINE
        lines = [part for line in self.drawn() for part in folded(line, width - BESIDE_WORD * is_loud(line))]
        self.query_one("#lines", Static).update(Content("\n").join(emphasised(line) for line in lines))

    @property
    def confirmed(self) -> bool:
        """Whether every target was named."""
        return all(self.right(field) for field in self.query(Typed))

    def right(self, field: Typed) -> bool:
        """Whether what was typed into a field names what it asks for."""
        if not isinstance(field, Confirm):
            return isinstance(field, Accept) and field.accepted
        return self.backend.confirms(field.answer, field.doomed.disk, field.doomed.partition)

    def show_button(self) -> None:
        """It can be pressed once every target was named, and nothing hinders; what does is said above it."""
        hindrance = self.hindrance()
        self.say("waiting", hindrance)
        self.query_one("#waiting").display = bool(hindrance)
        self.query_one(f"#{self.GO}", Act).disabled = bool(hindrance) or not self.confirmed

    def on_input_changed(self) -> None:
        """The button follows what is typed."""
        self.show_button()
        self.say("hint", "")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: to the next field that is not right yet, or to the button."""
        here = next((field for field in self.query(Typed) if field.query_one(Input) is event.input), None)
        if here is not None and not self.right(here):
            self.say("hint", wrong_words(here) if here.answer else "")
            return
        wrong = [field for field in self.query(Typed) if not self.right(field)]
        if wrong:
            wrong[0].query_one(Input).focus()
        elif not self.hindrance():
            self.query_one(f"#{self.GO}", Act).focus()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Back, or go."""
        if event.act.id == "back":
            self.action_back()
        elif event.act.id == self.GO and self.confirmed and not self.hindrance():
            self.submit(self.accepted())


def wrong_words(field: Typed) -> str:
    """What is said of a name that is not the one."""
    if not isinstance(field, Confirm):
        return _("That is another word. Nothing was written.")
    if field.doomed.partition is None:
        return _("That is not the name of this disk. Nothing was written.")
    return _("That is not the name of this partition. Nothing was written.")
