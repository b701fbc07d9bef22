"""How a job ended: what was done or what happened, the state of the disk, and what to do next."""

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll

from imaging.errors import ExitStatus
from imaging.events import Finished
from imaging.plan import CapturePlan, Plan, RestorePlan, VerifyPlan
from rescue.feed import Feed
from rescue.formats import clean
from rescue.outcome import result_lines
from rescue.screens.base import RescueScreen, text
from rescue.widgets.act import Act, Acts

VERDICTS: dict[int, str] = {
    ExitStatus.DONE: "DONE",
    ExitStatus.CANCELLED: "CANCELLED",
    ExitStatus.DIFFERS: "DIFFERENCES FOUND",
    ExitStatus.DAMAGED: "DONE, WITH DAMAGE: parts of the disk could not be read",
    ExitStatus.FILE_SYSTEM_ERRORS: "FILE SYSTEM ERRORS FOUND",
    ExitStatus.REFUSED: "REFUSED - nothing was written",
}


def verdict(finished: Finished) -> str:
    """The result in a word or two."""
    return VERDICTS.get(finished.status, "FAILED")


def next_step(plan: Plan | None, finished: Finished) -> str:
    """What a person does after a good end."""
    if finished.status != ExitStatus.DONE:
        return ""
    match plan:
        case RestorePlan(targets=targets):
            if all(pair.target.regular_file for pair in targets):
                return ""
            return "Next: remove the stick and restart the computer."
        case CapturePlan():
            return "Next: keep the medium with the library in a safe place."
        case VerifyPlan() | None:
            return ""


class ResultScreen(RescueScreen):
    """Figures, state and next step; the log below."""

    HEADING = "A job has ended"
    KEYS = "Enter press the button   Tab to the log   Esc back   F1 or ? help"
    ABOUT = """
This is how the job ended. If it failed, you see what happened, what state
the disk is in now, and what you can do about it. Below stands what the job
said while it ran: Tab goes there, then the arrow keys scroll.

The same can be read later under Jobs in the main menu, until the computer
is switched off."""
    BINDINGS: ClassVar[list[BindingType]] = [("m", "home")]

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def body(self) -> ComposeResult:
        """Verdict, lines, log, buttons."""
        finished = self.feed.finished
        if finished is None:
            raise ValueError("a job that has not ended has no result")
        yield text(f" {verdict(finished)} ", id="verdict", classes="good" if finished.status == 0 else "bad")
        yield text(f"{clean(self.feed.title)}, ended {clock(finished.time)}", id="title")
        lines = [*result_lines(finished), next_step(self.feed.plan, finished)]
        yield text("\n".join(line for line in lines if line), id="result")
        with VerticalScroll(id="log"):
            yield text("\n".join(self.feed.log), id="lines")
        yield Acts(Act("Main menu", id="home"), *self.offers(finished))

    def offers(self, finished: Finished) -> list[Act]:
        """What else can be done from here."""
        restored = isinstance(self.feed.plan, RestorePlan) and finished.status == ExitStatus.DONE
        return [Act("Restart", id="restart")] if restored else []

    def on_mount(self) -> None:
        """The focus is on what changes nothing."""
        log = self.query_one("#log", VerticalScroll)
        log.border_title = "Log"
        log.display = bool(self.feed.log)
        self.query_one("#home").focus()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Main menu, or restart."""
        if event.act.id == "restart":
            self.host.start("restart")
        else:
            self.action_home()

    def action_home(self) -> None:
        """m: the main menu."""
        self.host.go_home()


def clock(seconds: float) -> str:
    """`23:24` on this computer's clock."""
    return time.strftime("%H:%M", time.localtime(seconds))
