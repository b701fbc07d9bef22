"""The main menu: which computer this is, where images are, what runs, and what can be done."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList, Static

from imaging.manifest import Machine
from rescue.backend import Job
from rescue.feed import Feed
from rescue.formats import clean, joined, plural
from rescue.report import machine_line
from rescue.screens.base import RescueScreen, text
from rescue.widgets.choices import Choice, NumberedChoices

TASKS = (
    ("restore", "Restore an image", "Put a saved system back onto a disk"),
    ("backup", "Back up this computer", "Save its disks as an image"),
    ("jobs", "Jobs", "What runs now, and what was done"),
    ("shell", "Shell", "A command line; exit comes back here"),
    ("restart", "Restart", "Start the computer anew"),
    ("power-off", "Power off", "Switch the computer off"),
)


class MenuScreen(RescueScreen):
    """The screen that everything starts from and comes back to."""

    HEADING = "Rescue"
    KEYS = "1-6 or Enter choose   r show the running job   q leave   F1 or ? help"
    ABOUT = """
Press a task's number, or move the cursor to it and press Enter.
Nothing is changed on any disk before you have seen what will be
erased and have typed that disk's name.

A job that runs goes on whatever you do here; r shows it again."""
    BINDINGS: ClassVar[list[BindingType]] = [
        ("r", "reattach"),
        ("f2", "task('shell')"),
        ("q", "app.help_quit"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.feed: Feed | None = None

    def body(self) -> ComposeResult:
        """Status above, tasks below."""
        yield text("Computer  ..", id="computer")
        yield text("Images    looking for them ..", id="libraries")
        yield text("", id="running")
        yield NumberedChoices(id="tasks")

    def on_mount(self) -> None:
        """Show the tasks, and start to watch for jobs."""
        tasks = self.query_one(NumberedChoices)
        rows = enumerate(TASKS, 1)
        tasks.show([Choice(key=key, lines=(f" {n}  {name:<24}{what}",)) for n, (key, name, what) in rows])
        tasks.focus()
        self.set_interval(1.0, self.watch_jobs)

    def on_screen_resume(self) -> None:
        """Shown for the first time or again: media may have been plugged in meanwhile."""
        self.watch_jobs()
        self.look(partial(survey, self), self.show_survey)

    def show_survey(self, found: tuple[Machine, Sequence[Path]]) -> None:
        """The computer, and where images are."""
        machine, libraries = found
        self.say("computer", f"Computer  {machine_line(machine)}")
        where = ", ".join(clean(str(path)) for path in libraries)
        self.say("libraries", f"Images    {where or 'none found: plug in the disk or stick that holds them'}")

    def watch_jobs(self) -> None:
        """The line about a running job."""
        if self.app.screen is not self:
            return
        with self.telling():
            live = self.host.states.live(self.backend.jobs())
            self.follow_newest(live)
        self.say("running", self.running_line(len(live)))
        self.query_one("#running", Static).set_class(bool(live), "busy")

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
        what = joined(clean(self.feed.title), self.feed.percent, by=", ")
        more = f" (and {plural(count - 1, 'other job')})" if count > 1 else ""
        return f"Running   {what}{more}\n          Press r to watch it"

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A task was chosen."""
        self.action_task(event.option_id or "")

    def action_task(self, task: str) -> None:
        """Tell the application."""
        self.host.start(task)

    def action_reattach(self) -> None:
        """r."""
        if self.feed is not None:
            self.host.follow(self.feed.job)

    def action_back(self) -> None:
        """Esc has nowhere to go from here."""


def survey(screen: RescueScreen) -> tuple[Machine, Sequence[Path]]:
    """Ask for the computer and for libraries; takes up to seconds."""
    return screen.backend.machine(), screen.backend.libraries()
