"""A job that runs: how far it is, how fast, how long still, and what it says."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from imaging.imageplans import CapturePlan
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaPlan, RemovePlan
from imaging.repairplans import RepairPlan
from imaging.restoreplans import RestorePlan
from rescue.backend import Job
from rescue.feed import Feed, left_behind
from rescue.formats import clean, format_rate
from rescue.language import N_, _
from rescue.screens.base import Notice, Question, RescueScreen, text
from rescue.screens.result import ResultScreen
from rescue.telling import told
from rescue.widgets.act import Act, Acts
from rescue.widgets.bar import Bar

POLL = 1.0
"""Seconds between two looks at the job's events: a slow line carries no more than one update in that time."""

GRAPH = 32
"""Characters of the rate's history."""

FIGURES = ("done", "rate", "graph", "scale", "time", "left")
"""What changes beside the bars; each may have an update of its own."""

PIECE = 12
"""Cells of a bar, or of the graph when its scale changes, that are drawn at once."""

LOG_LINES = 200
"""The newest lines of the log that the screen keeps."""


class ProgressScreen(RescueScreen):
    """Follows a job; leaving it leaves the job running."""

    HEADING = N_("A job is running")
    KEYS = N_("Esc leave it running   c cancel the job   F1 or ? help")
    ABOUT = N_("""
You see a job at work. It goes on if you leave this screen, if the line
drops or if the screen is switched off: Jobs in the main menu, or the
key r there, shows it again.

The upper bar is the whole job, the lower one its present step. The
figures take turns, so that a slow line can carry them. The marks behind
the rate are its last minutes, # the fastest: it is drawn from left to
right, and begins again at the left.

  Esc     one step back; the job goes on
  c       cancel the job; you are asked first, and told what state
          it would leave behind""")
    BINDINGS: ClassVar[list[BindingType]] = [("c", "cancel")]
    DEFAULT_CSS = """
    ProgressScreen {
        #title { height: auto; margin: 1 1 1 1; text-style: bold; }
        #step, #rate-line, #time, #left { height: 1; margin: 0 1; }
        #done { height: auto; margin: 0 1; }
        #gap { height: 1; }
        .measure { height: 1; margin: 0 1; }
        .measure .name { width: 10; }
        .measure Bar { width: 1fr; max-width: 52; }
        #rate { width: 24; }
        #graph { width: 36; height: 1; }
        #scale { width: 1fr; height: 1; }
        #log { height: 1fr; border-top: solid ansi_default; padding: 0 1; margin: 1 0 1 0; }
        #log:focus { border-top: double ansi_default; }
    }
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.feed = Feed(job)
        self.asking: Question | None = None
        self.shown: dict[str, str] = dict.fromkeys(FIGURES, "")
        self.turn = 0
        self.said = 0
        """Lines of the log that are shown."""
        self.stopping = False

    def body(self) -> ComposeResult:
        """Bars and figures above, log below."""
        yield text("", id="title")
        with Horizontal(classes="measure", id="whole-line"):
            yield text(_("Whole job"), classes="name")
            yield Bar(id="whole")
        with Horizontal(classes="measure"):
            yield text(_("This step"), classes="name")
            yield Bar(id="part")
        yield text("", id="step")
        yield text("", id="gap")
        yield text("", id="done")
        with Horizontal(id="rate-line"):
            yield text("", id="rate")
            yield text("", id="graph")
            yield text("", id="scale")
        yield text("", id="time")
        yield text("", id="left")
        with VerticalScroll(id="log"):
            yield text("", id="lines")
        yield Acts(Act(_("Leave it running"), id="leave"), Act(_("Cancel the job"), id="cancel"))

    def on_mount(self) -> None:
        """Start to follow; the focus is on what changes nothing."""
        self.query_one("#log").border_title = _("Log")
        self.query_one("#leave").focus()
        self.set_interval(POLL, self.poll)
        self.feed_poll()
        self.show_all()
        self.after_poll()

    def poll(self) -> None:
        """Take what is new from the job, and go on to the result when it has ended.

        An update draws one bar or figure of those that have changed, in turns: it is small then, and none is older
        than the seconds that a turn takes.
        """
        if isinstance(self.app.screen, Notice):
            return
        self.feed_poll()
        if len(self.feed.log) != self.said:
            self.show_all()
        elif self.app.screen is self:
            self.show_next()
        self.after_poll()

    def feed_poll(self) -> None:
        """Take what is new from the job."""
        with self.telling():
            self.feed.poll()

    def after_poll(self) -> None:
        """Go on to the result when the job has ended."""
        if self.feed.finished is not None and self.is_attached:
            self.show_result()

    def show_next(self) -> None:
        """The next bar or figure that has changed; what changes much is drawn in pieces."""
        bars = {"whole": self.feed.whole, "part": self.feed.fraction}
        figures = self.figures()
        order = [*bars, *figures]
        for _turn in order:
            self.turn = (self.turn + 1) % len(order)
            name = order[self.turn]
            if name in bars:
                if self.query_one(f"#{name}", Bar).approach(bars[name], PIECE):
                    return
            elif figures[name] != self.shown[name]:
                words = figures[name]
                self.show_figure(name, nearer(self.shown[name], words) if name == "graph" else words)
                return

    def figures(self) -> dict[str, str]:
        """The figures as they are now."""
        history = self.feed.history
        graph = history.line(GRAPH)
        scale = _("# = {rate}").format(rate=format_rate(history.top)) if graph.strip() else ""
        done, rate, gone, left = self.feed.lines()
        return dict(zip(FIGURES, (done, rate, f"[{graph}]" if scale else "", scale, gone, left), strict=True))

    def show_figure(self, name: str, words: str) -> None:
        """One of the figures."""
        self.shown[name] = words
        self.say(name, words)

    def show_all(self) -> None:
        """Everything: at first, and when a step begins or the job says something."""
        feed = self.feed
        self.said = len(feed.log)
        self.say("title", clean(told(feed.title)))
        self.say("step", f"{_('Now'):<10}{_('stopping ..') if self.stopping else clean(told(_(feed.step)))}")
        self.query_one("#whole-line").display = feed.whole is not None
        self.query_one("#whole", Bar).fraction = feed.whole
        self.query_one("#part", Bar).fraction = feed.fraction
        for name, words in self.figures().items():
            self.show_figure(name, words)
        log = self.query_one("#log", VerticalScroll)
        at_end = log.scroll_offset.y >= log.max_scroll_y
        self.query_one("#lines", Static).update(Content("\n".join(feed.log[-LOG_LINES:])))
        if at_end:
            self.call_after_refresh(log.scroll_end, animate=False)

    def show_result(self) -> None:
        """The job has ended: whoever was asked about cancelling need not answer any more."""
        if self.asking is not None:
            self.asking.dismiss(False)
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
        self.dismiss()

    def action_cancel(self) -> None:
        """c: ask first."""
        if self.app.screen is not self:
            return
        self.asking = Question(question(self.feed.plan), yes=_("cancel it"), no=_("let it run"))
        self.app.push_screen(self.asking, self.answered)

    def answered(self, agreed: bool | None) -> None:
        """Cancel where that was the answer."""
        self.asking = None
        if agreed and self.feed.finished is None:
            with self.telling():
                self.feed.job.cancel()
                self.stopping = True
            self.show_all()


def question(plan: Plan | None) -> str:
    """The question before a job is cancelled: what it leaves behind, where its plan can be read."""
    if plan is None:
        return _("Cancel this job?")
    match plan:
        case RestorePlan():
            after = _("A later restore goes on where this one stops.")
        case CapturePlan():
            after = _("What is stored already is used by the next backup.")
        case MediaPlan():
            after = _("Making it again completes it.")
        case InstallPlan() | RemovePlan() | RepairPlan():
            after = _("The same again completes it.")
        case _:
            after = ""
    left = _("What it leaves behind: {state}").format(state=left_behind(plan))
    return f"{_('Cancel this job?')}\n\n{left} {after}".strip()


def nearer(shown: str, wanted: str) -> str:
    """What is shown, its next piece that differs made as it is wanted."""
    if len(shown) != len(wanted):
        return wanted
    end = next((x for x in range(len(wanted)) if shown[x] != wanted[x]), 0) + PIECE
    return wanted[:end] + shown[end:]
