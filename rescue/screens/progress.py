"""A job that runs: how far it is, how fast, how long still, and what it says."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from imaging.plan import CapturePlan, Plan, RestorePlan, VerifyPlan
from rescue.backend import Job
from rescue.feed import Feed, left_behind
from rescue.formats import clean
from rescue.screens.base import Notice, Question, RescueScreen, text
from rescue.screens.result import ResultScreen
from rescue.widgets.act import Act, Acts
from rescue.widgets.bar import Bar

POLL = 0.25
"""Seconds between two looks at the job's events."""

LOG_LINES = 200
"""The newest lines of the log that the screen keeps."""


class ProgressScreen(RescueScreen):
    """Follows a job; leaving it leaves the job running."""

    HEADING = "A job is running"
    KEYS = "Esc leave it running   c cancel the job   F1 or ? help"
    ABOUT = """
You see a job at work. It goes on if you leave this screen, if the line
drops or if the screen is switched off: Jobs in the main menu, or the
key r there, shows it again.

  Esc     back to the main menu; the job goes on
  c       cancel the job; you are asked first, and told what state
          it would leave behind"""
    BINDINGS: ClassVar[list[BindingType]] = [("c", "cancel")]

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.feed = Feed(job)
        self.asking: Question | None = None

    def body(self) -> ComposeResult:
        """Figures above, log below."""
        yield text("", id="title")
        yield text("", id="step")
        yield Bar(id="bar")
        yield text("", id="figures")
        with VerticalScroll(id="log"):
            yield text("", id="lines")
        yield Acts(Act("Leave it running", id="leave"), Act("Cancel the job", id="cancel"))

    def on_mount(self) -> None:
        """Start to follow; the focus is on what changes nothing."""
        self.query_one("#log").border_title = "Log"
        self.query_one("#leave").focus()
        self.set_interval(POLL, self.poll)
        self.poll()

    def poll(self) -> None:
        """Take what is new from the job, and go on to the result when it has ended."""
        if isinstance(self.app.screen, Notice):
            return
        with self.telling():
            if self.feed.poll() or not self.feed.log:
                self.show_feed()
        if self.feed.finished is not None and self.is_attached:
            self.show_result()

    def show_feed(self) -> None:
        """All figures."""
        feed = self.feed
        self.say("title", clean(feed.title))
        self.say("step", f"Now       {clean(feed.step)}")
        self.query_one(Bar).fraction = feed.fraction
        self.say("figures", "\n".join(feed.lines()))
        log = self.query_one("#log", VerticalScroll)
        at_end = log.scroll_offset.y >= log.max_scroll_y
        self.query_one("#lines", Static).update(Content("\n".join(feed.log[-LOG_LINES:])))
        if at_end:
            self.call_after_refresh(log.scroll_end, animate=False)

    def show_result(self) -> None:
        """The job has ended: whoever was asked about cancelling need not answer any more."""
        if self.asking is not None:
            self.asking.dismiss(False)
            self.asking = None
            return
        if self.app.screen is self and self.feed.finished is not None:
            self.app.switch_screen(ResultScreen(self.feed))

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Leave, or cancel."""
        if event.act.id == "cancel":
            self.action_cancel()
        else:
            self.action_back()

    def action_back(self) -> None:
        """Esc: the job goes on."""
        self.host.go_home()

    def action_cancel(self) -> None:
        """c: ask first."""
        self.asking = Question(question(self.feed.plan), yes="cancel it", no="let it run")
        self.app.push_screen(self.asking, self.answered)

    def answered(self, agreed: bool | None) -> None:
        """Cancel where that was the answer."""
        self.asking = None
        if agreed and self.feed.finished is None:
            with self.telling():
                self.feed.job.cancel()
            self.say("step", "Now       stopping ..")


def question(plan: Plan | None) -> str:
    """The question before a job is cancelled: what it leaves behind, where its plan can be read."""
    match plan:
        case RestorePlan():
            after = "A later restore goes on where this one stops."
        case CapturePlan():
            after = "What is stored already is used by the next backup."
        case VerifyPlan():
            after = ""
        case None:
            return "Cancel this job?"
    return f"Cancel this job?\n\nWhat it leaves behind: {left_behind(plan)} {after}".strip()
