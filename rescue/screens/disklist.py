"""Lists of this computer's disks: drawn as bars, with what comes to be known of them while they are looked at."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

from textual.binding import BindingType

from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.health import Health
from rescue.aside import aside
from rescue.backend import Backend
from rescue.formats import clean, shortened
from rescue.health import health_line, is_failing
from rescue.language import N_, _
from rescue.report import disk_title, use_lines
from rescue.screens.base import AskText, RescueScreen
from rescue.telling import told
from rescue.widgets.choices import Choice
from rescue.widgets.diskbar import bar

T = TypeVar("T")

ASK_FOR_FILE = N_("Which file stands for a disk? Type its full path.")
INDENT = "    "
BESIDE_BAR, BESIDE_BOX = 8, 12
"""Columns that a list's line has beside a bar: gutter, indent, scroll bar; and, where disks are marked, a box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of disks by now, by their paths: how they are doing, and the systems on their partitions."""

    health: Mapping[str, Health]
    systems: Mapping[str, Mapping[int, str]]

    def of(self, disk: Disk) -> Mapping[int, str]:
        """The systems on a disk, by partition."""
        return self.systems.get(disk.path, {})

    def only(self, paths: Collection[str]) -> "Known":
        """What is known of some disks: another disk may have come in an old one's place, and have its path."""
        return Known(
            health={path: health for path, health in self.health.items() if path in paths},
            systems={path: names for path, names in self.systems.items() if path in paths},
        )


NOTHING = Known(health={}, systems={})


def all_disks(backend: Backend, libraries: Sequence[Path], files: list[str]) -> list[Disk]:
    """The disks of this computer, and the files that were named; one that is none is forgotten with an error."""
    found = list(backend.disks(libraries))
    for path in list(files):
        try:
            found.append(backend.disk_file(path, libraries))
        except RescueError:
            files.remove(path)
            raise
    return found


def disk_choice(disk: Disk, why_not: str, known: Known, room: int) -> Choice:
    """A disk as a list shows it: what it is, a bar of `room` columns, and a word of alarm where it is failing."""
    failing = failing_line(disk, known.health)
    alarm = INDENT + shortened(failing, room) if failing else ""
    if why_not:
        return Choice(key=disk.path, lines=(disk_title(disk),), why_not=told(why_not), alarm=alarm)
    lines = [*bar(disk, room, names=known.of(disk)), *use_lines(disk)]
    return Choice(key=disk.path, lines=(disk_title(disk), *(INDENT + line for line in lines)), alarm=alarm)


def failing_line(disk: Disk, healths: Mapping[str, Health]) -> str:
    """`Health: FAILING: ...`; empty where it is not."""
    health = healths.get(disk.path)
    return health_line(health) if health is not None and is_failing(health) else ""


def usable_first(choices: Sequence[Choice]) -> list[Choice]:
    """Those that can be chosen stand first."""
    return sorted(choices, key=lambda choice: bool(choice.why_not))


class DiskListScreen(RescueScreen):
    """A list of disks; their health and their systems are asked for in threads, and shown when they come."""

    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again"), ("o", "other")]

    def __init__(self) -> None:
        super().__init__()
        self.disks: dict[str, Disk] = {}
        self.files: list[str] = []
        self.known = NOTHING

    def libraries(self) -> Sequence[Path]:
        """The libraries whose disks are marked; may take seconds."""
        raise NotImplementedError

    def show_list(self) -> None:
        """Fill the list with what is known now."""
        raise NotImplementedError

    def arrived(self) -> None:
        """The disks are known, their health and systems are not yet."""

    def action_again(self) -> None:
        """l: look at the disks again."""
        self.look(lambda: all_disks(self.backend, self.libraries(), self.files), self.show_disks)

    def unanswered(self, error: RescueError) -> None:
        """Nothing is looked at any more."""
        self.say("status", f" {clean(told(error.message))}")
        self.query_one("#status").display = True

    def action_other(self) -> None:
        """o: a disk file."""

        def use(answer: str | None) -> None:
            if answer:
                self.files.append(answer)
                self.action_again()

        self.open(AskText(_(ASK_FOR_FILE)), use)

    def on_resize(self) -> None:
        """Bars follow the width."""
        if self.disks:
            self.show_list()

    def show_disks(self, disks: Sequence[Disk]) -> None:
        """Show them, and ask for more."""
        same = {disk.path for disk in disks if disk == self.disks.get(disk.path)}
        self.known = self.known.only(same)
        self.disks = {disk.path: disk for disk in disks}
        self.show_list()
        self.arrived()
        found = [disk for disk in disks if not disk.regular_file]
        learn(self, "health", lambda: self.backend.health(found), self.know_health)
        learn(self, "systems", lambda: self.backend.systems(found), self.know_systems)

    def know_health(self, healths: Mapping[str, Health]) -> None:
        """How the disks are doing; the list is drawn anew only where that is said."""
        self.known = replace(self.known, health=healths)
        if any(is_failing(health) for health in healths.values()):
            self.show_list()

    def know_systems(self, systems: Mapping[str, Mapping[int, str]]) -> None:
        """What stands on them."""
        self.known = replace(self.known, systems=systems)
        if any(systems.values()):
            self.show_list()


def learn(screen: RescueScreen, group: str, ask: Callable[[], T], then: Callable[[T], None]) -> None:
    """Ask in a thread for what a screen can do without; an answer that comes too late, or an error, is dropped."""

    async def wait() -> None:
        with suppress(RescueError):
            answer = await aside(ask)
            if screen.is_attached:
                then(answer)

    screen.run_worker(wait(), group=group, exclusive=True)
