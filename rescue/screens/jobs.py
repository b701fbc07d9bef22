"""All jobs since the computer was started: what runs, and how the others ended."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList

from imaging.errors import RescueError
from rescue.backend import LIVE_STATES, Job
from rescue.feed import Feed
from rescue.formats import clean, shortened
from rescue.language import N_, _
from rescue.screens.base import Question, RescueScreen, problem, text
from rescue.screens.progress import question
from rescue.screens.result import clock
from rescue.telling import told
from rescue.widgets.choices import Choice, Choices

QUIET_STATES = LIVE_STATES | {"done", "cancelled"}
"""States that nobody has to look into."""


STATES = (
    N_("starting"),
    N_("running"),
    N_("done"),
    N_("done, with damage"),
    N_("differs"),
    N_("file system errors"),
    N_("refused"),
    N_("failed"),
    N_("cancelled"),
    N_("died"),
)
"""The words of imaging.jobs.JobState, for translators."""


def job_row(state: str, started: str, title: str) -> str:
    """One line of the table."""
    return f" {started:<9}{state:<20}{shortened(title, 48)}"


class JobsScreen(RescueScreen):
    """The list; Enter shows a job's progress or result."""

    HEADING = N_("Jobs")
    KEYS = N_("Enter show the job   c cancel it   Esc back   F1 or ? help")
    ABOUT = N_("""
All jobs since this computer was started, newest first.

  Enter   show the job under the cursor: its progress while it runs,
          its result when it has ended
  c       cancel it; you are asked first, and told what it would leave
          behind

A job that "died" was cut off without being able to report an end; its
result says what state it left behind.""")
    BINDINGS: ClassVar[list[BindingType]] = [("l,f5", "again"), ("c", "cancel")]

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Job] = {}
        self.shown: list[tuple[str, str]] = []

    def body(self) -> ComposeResult:
        """The table."""
        yield text(job_row(_("State"), _("Started"), _("Job")), id="columns")
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
        """Look again; the list is drawn anew only where it changed.

        What fails is told here: a dialogue would come back as long as it lasts.
        """
        if self.app.screen is not self:
            return
        try:
            self.show_jobs(self.backend.jobs())
        except RescueError as error:
            self.query_one("#status").display = True
            self.say("status", f" {problem(error)}")

    def show_jobs(self, jobs: Sequence[Job]) -> None:
        """Fill the list."""
        self.jobs = {job.id: job for job in jobs}
        now = [(job.id, self.host.states.of(job)) for job in jobs]
        self.query_one("#status").display = not jobs
        self.say("status", "" if jobs else f" {_('There were no jobs since the computer was started.')}")
        if now == self.shown:
            return
        self.shown = now
        self.query_one(Choices).show([job_choice(job, state) for job, (_, state) in zip(jobs, now, strict=True)])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Show the job."""
        job = self.jobs.get(event.option_id or "")
        if job is not None and self.app.screen is self:
            self.host.follow(job)

    def action_cancel(self) -> None:
        """c: cancel the job under the cursor, whoever started it; one that has ended cannot be."""
        job = self.jobs.get(self.query_one(Choices).chosen)
        if job is None or self.host.states.of(job) not in LIVE_STATES:
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                with self.telling():
                    job.cancel()

        self.open(Question(question(job.known_plan), yes=_("cancel it"), no=_("let it run")), answered)


def job_choice(job: Job, state: str) -> Choice:
    """A job as the list shows it; what went wrong stands out without colour."""
    loud = _(state) if state in QUIET_STATES else _(state).upper()
    return Choice(key=job.id, lines=(job_row(loud, clock(job.started), clean(told(job.title))),))


def feed_of(job: Job) -> Feed:
    """A feed that has taken all that there is."""
    feed = Feed(job)
    feed.poll()
    return feed
