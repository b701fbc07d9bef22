"""The main menu: which computer this is, where images are, what runs, and what can be done."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import OptionList

from imaging.disk import Disk
from imaging.errors import RescueError
from imaging.manifest import Machine
from imaging.resuming import CutOff
from rescue import headstart
from rescue.backend import Backend, Job
from rescue.cutoff import menu_words
from rescue.drives import menu_lines
from rescue.feed import Feed
from rescue.formats import cells, clean, format_place, joined, padded
from rescue.language import N_, _, ngettext
from rescue.report import disk_title, machine_line
from rescue.screens.base import RescueScreen, text
from rescue.telling import told
from rescue.widgets.choices import Choice, NumberedChoices

T = TypeVar("T")

TASKS = (
    ("1", "restore", N_("Restore an image"), N_("Put a saved system back")),
    ("f", "factory", N_("Reset this computer"), N_("To its factory state")),
    ("2", "backup", N_("Back up this computer"), N_("Save its disks as an image")),
    ("3", "images", N_("Images"), N_("See, verify, rename, delete")),
    ("c", "media", N_("Create a recovery drive"), N_("A stick to start from")),
    ("4", "disks", N_("Disks"), N_("What is there, its health")),
    ("5", "jobs", N_("Jobs"), N_("What runs, what was done")),
    ("6", "network", N_("Network"), N_("See and set addresses")),
    ("7", "language", N_("Language and keyboard"), N_("Of the screen and the keys")),
    ("8", "log", N_("Log"), N_("Read it, save it")),
    ("9", "restart", N_("Restart"), ""),
    ("0", "power-off", N_("Power off"), ""),
    ("s", "shell", N_("Shell"), N_("A command line, for experts")),
)
"""The key, the task's name in the code, what it is called, and what it is for."""

BESIDE = 5
"""Columns beside a task's line: gutter, margin and scroll bar."""
CAPTION = 14
"""Columns of the words before a fact."""
WATCH = 2.0
"""Seconds between two looks at what jobs there are."""
SOON = 20.0
"""Seconds within which nobody needs to be told that the medium is being checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the menu says of the computer."""

    machine: Machine | None
    medium: Disk | None
    network_boot: str | None
    """The address that the live system was fetched from; empty or None where it was not."""
    in_memory: bool
    """Whether the system runs from memory, and needs no medium any more."""
    libraries: Sequence[Path]
    problem: str = ""
    """What could not be found out, and why."""
    cut: Sequence[CutOff] = ()
    """The restores that were cut off."""
    ssh: bool = False
    """Whether somebody can come in from another computer."""


class MenuScreen(RescueScreen):
    """The screen that everything starts from and comes back to."""

    HEADING = "Rescue"
    KEYS = N_("Number or Enter choose   q leave   F1 or ? help")
    ABOUT = N_("""
Press a task's number, or move the cursor to it and press Enter.
Nothing is changed on any disk before you have seen what will be
erased and have typed that disk's name.

A job that runs goes on whatever you do here; r shows it again.

  r          the job that runs
  F2 or s    a shell: a command line, for experts; exit comes back
  q          leave Rescue, without switching the computer off""")
    BINDINGS: ClassVar[list[BindingType]] = [
        ("r", "reattach"),
        ("c", "task('media')"),
        ("f", "task('factory')"),
        ("f2,s", "task('shell')"),
        ("q", "app.help_quit"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.feed: Feed | None = None
        self.surveying = False
        self.began = 0.0
        self.facts: dict[str, str] = {}
        """The lines as they are shown: what did not change is not laid out anew, each two seconds."""

    def body(self) -> ComposeResult:
        """Facts above, tasks below."""
        with Vertical(id="facts"):
            yield text("", id="cut")
            yield text(fact(_("Computer"), ".."), id="computer")
            yield text("", id="medium")
            yield text("", id="state")
            yield text("", id="ssh")
            yield text(fact(_("Images"), _("looking for them ..")), id="libraries")
            yield text("", id="running")
        yield NumberedChoices(id="tasks")

    def on_mount(self) -> None:
        """Show the tasks, and start to watch for jobs."""
        self.began = time.monotonic()
        for empty in ("cut", "medium", "state", "ssh", "running"):
            self.show_fact(empty, "")
        self.show_tasks()
        self.query_one(NumberedChoices).focus()
        self.set_interval(WATCH, self.watch_jobs)
        self.call_after_refresh(headstart.give_up)

    def on_resize(self) -> None:
        """The tasks take a line each, whatever the width."""
        self.show_tasks()

    def show_tasks(self) -> None:
        """All tasks, and what each is for where there is room for all of that."""
        wide = max(cells(_(name)) for _key, _task, name, _what in TASKS) + 2
        lines = [f"{key}  {padded(_(name), wide)}{_(what)}" for key, _task, name, what in TASKS]
        if max(map(cells, lines)) > self.app.size.width - BESIDE:
            lines = [f"{key}  {_(name)}" for key, _task, name, _what in TASKS]
        tasks = [task for _key, task, _name, _what in TASKS]
        self.query_one(NumberedChoices).show(
            [Choice(key=task, lines=(line,)) for task, line in zip(tasks, lines, strict=True)]
        )

    def on_screen_resume(self) -> None:
        """Shown for the first time or again: media may have been plugged in meanwhile."""
        self.watch_jobs()
        if not self.surveying:
            self.surveying = True
            self.look(partial(survey, self.backend), self.show_survey)

    def show_fact(self, id: str, words: str) -> None:
        """A line of what is known, which takes no room while it is empty."""
        if self.facts.get(id) == words:
            return
        self.facts[id] = words
        self.say(id, words)
        self.query_one(f"#{id}").display = bool(words)

    def show_survey(self, found: Survey) -> None:
        """The computer, the medium, and where images are."""
        self.surveying = False
        self.show_fact("cut", menu_words(found.cut))
        if found.machine is not None:
            self.say("computer", fact(_("Computer"), machine_line(found.machine)))
        source = disk_title(found.medium) if found.medium else ""
        if found.network_boot:
            source = _("the network, {address}").format(address=clean(found.network_boot))
        elif found.in_memory:
            source = _("memory: the stick may be pulled out")
        self.show_fact("medium", fact(_("Started from"), source) if source else "")
        afar = _("on: this menu can be used from another computer; 6 shows how")
        self.show_fact("ssh", fact("ssh", afar) if found.ssh else "")
        where = ", ".join(format_place(path) for path in found.libraries)
        nowhere = _("none found: plug in the disk or stick that holds them")
        self.say("libraries", fact(_("Images"), where or found.problem or nowhere))

    def watch_jobs(self) -> None:
        """The lines about the medium's state and a running job."""
        if self.app.screen is not self:
            return
        slow = time.monotonic() - self.began > SOON
        self.show_fact("state", "\n".join(menu_lines(self.backend.boot_state(), slow=slow)))
        try:
            live = self.host.states.live(self.backend.jobs())
            self.follow_newest(live)
        except RescueError as error:
            # Told here and in no dialogue: it would come back whenever it is closed, and nothing else could be done.
            self.show_fact("running", fact(_("Jobs"), clean(told(error.message))))
            return
        self.show_fact("running", self.running_line(len(live)))

    def follow_newest(self, live: Sequence[Job]) -> None:
        """Keep the feed of the newest job that runs."""
        if not live:
            self.feed = None
            return
        if self.feed is None or self.feed.job.id != live[0].id:
            self.feed = Feed(live[0])
        self.feed.poll()

    def running_line(self, count: int) -> str:
        """What runs; empty where nothing does."""
        if self.feed is None:
            return ""
        others = ngettext("(and {count} other job)", "(and {count} other jobs)", count - 1).format(count=count - 1)
        what = joined(clean(told(self.feed.title)), self.feed.percent, by=", ")
        more = joined(what, others if count > 1 else "", by=" ")
        return f"{fact(_('Running'), more)}\n{fact('', _('Press r to watch it'))}"

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A task was chosen."""
        self.action_task(event.option_id or "")

    def action_task(self, task: str) -> None:
        """Tell the application, once where a key was pressed twice."""
        if self.app.screen is self:
            self.host.start(task)

    def action_reattach(self) -> None:
        """r."""
        if self.feed is not None and self.app.screen is self:
            self.host.follow(self.feed.job)

    def action_back(self) -> None:
        """Esc has nowhere to go from here."""


def fact(caption: str, words: str) -> str:
    """A line of what is known, its caption before it."""
    return f"{caption:<{CAPTION}}{words}"


def survey(backend: Backend) -> Survey:
    """Ask for the computer, its medium and libraries; takes up to seconds. What fails keeps nobody from the menu."""
    problems: list[str] = []

    def ask(question: Callable[[], T]) -> T | None:
        try:
            return question()
        except RescueError as error:
            problems.append(clean(told(error.message)))
            return None

    machine, medium, libraries = ask(backend.machine), ask(backend.medium), ask(backend.libraries)
    ssh = ask(backend.ssh)
    return Survey(
        machine=machine,
        medium=medium,
        network_boot=ask(backend.network_boot),
        in_memory=bool(ask(backend.in_memory)),
        libraries=libraries or (),
        cut=ask(backend.cut_off) or (),
        problem=joined(*dict.fromkeys(problems), by="; "),
        ssh=ssh is not None and ssh.on,
    )
