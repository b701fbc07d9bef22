"""All jobs since the computer was started: what runs, and how the others ended."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from rescue.backend import LIVE_STATES, Job
from rescue.feed import Feed
from rescue.formats import clean, shortened
from rescue.screens.base import RescueScreen, text
from rescue.screens.result import clock
from rescue.widgets.choices import Choice, Choices

QUIET_STATES = LIVE_STATES | {"done", "cancelled"}
"""States that nobody has to look into."""


def job_row(state: str, started: str, title: str) -> str:
    """One line of the table."""
    return f" {started:<9}{state:<20}{shortened(title, 48)}"


class JobsScreen(RescueScreen):
    """The list; Enter shows a job's progress or result."""

    HEADING = "Jobs"
    KEYS = "Enter show the job   Esc back   F1 or ? help"
    ABOUT = """
All jobs since this computer was started, newest first.

  Enter   show the job under the cursor: its progress while it runs,
          its result when it has ended

A job that "died" was cut off without being able to report an end; its
result says what state it left behind."""
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again")]

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        self.shown: list[tuple[str, str]] = []

    def body(self) -> ComposeResult:
        """The table."""
        yield text(job_row("State", "Started", "Job"), id="columns")
        yield text("", id="status")
        yield Choices(id="jobs")

    def on_mount(self) -> None:
        """Keep the list fresh."""
        self.query_one(Choices).focus()
        self.set_interval(1.0, self.action_again)

    def on_screen_resume(self) -> None:
        """Shown for the first time, or again after a job."""
        self.action_again()

    def action_again(self) -> None:
        """Look again; the list is drawn anew only where it changed."""
        with self.telling():
            self.show_jobs(self.backend.jobs())

    def show_jobs(self, jobs: Sequence[Job]) -> None:
        """Fill the list."""
        self.jobs = {job.id: job for job in jobs}
        now = [(job.id, self.host.states.of(job)) for job in jobs]
        self.query_one("#status").display = not jobs
        self.say("status", "" if jobs else " There were no jobs since the computer was started.")
        if now == self.shown:
            return
        self.shown = now
        self.query_one(Choices).show([job_choice(job, state) for job, (_, state) in zip(jobs, now, strict=True)])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Show the job."""
        job = self.jobs.get(event.option_id or "")
        if job is not None:
            self.host.follow(job)


def job_choice(job: Job, state: str) -> Choice:
    """A job as the list shows it; what went wrong stands out without colour."""
    loud = state if state in QUIET_STATES else state.upper()
    return Choice(key=job.id, lines=(job_row(loud, clock(job.started), clean(job.title)),))


def feed_of(job: Job) -> Feed:
    """A feed that has taken all that there is."""
    feed = Feed(job)
    feed.poll()
    return feed
