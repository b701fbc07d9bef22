"""How a job ended: what was done or what happened, the state of the disk, and what to do next."""

import time
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll

from imaging.errors import ExitStatus
from imaging.events import CaptureResult, Finished, RepairResult, RestoreResult
from imaging.imageplans import CapturePlan
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaPlan
from imaging.repairplans import RepairPlan
from imaging.restoreplans import RestorePlan
from rescue.feed import Feed
from rescue.formats import clean
from rescue.language import N_, _
from rescue.outcome import result_lines
from rescue.screens.base import RescueScreen, text
from rescue.telling import told
from rescue.widgets.act import Act, Acts

VERDICTS: dict[int, str] = {
    ExitStatus.DONE: N_("DONE"),
    ExitStatus.CANCELLED: N_("CANCELLED"),
    ExitStatus.DIFFERS: N_("DIFFERENCES FOUND"),
    ExitStatus.DAMAGED: N_("DONE, WITH DAMAGE: parts of the disk could not be read"),
    ExitStatus.FILE_SYSTEM_ERRORS: N_("FILE SYSTEM ERRORS FOUND"),
    ExitStatus.REFUSED: N_("REFUSED - nothing was written"),
    ExitStatus.CANNOT_START: N_("THE DISK DOES NOT START"),
    ExitStatus.START_UNKNOWN: N_("DONE - whether a computer can start from it is not known"),
}


def verdict(finished: Finished) -> str:
    """The result in a word or two."""
    if isinstance(finished.result, RepairResult) and finished.status == ExitStatus.DAMAGED:
        return _("ONLY PARTLY REPAIRED")
    if isinstance(finished.result, RestoreResult) and finished.status == ExitStatus.DAMAGED:
        return _("RESTORED, BUT NOT ALL OF IT IS AS IT WAS TO BE")
    return _(VERDICTS.get(finished.status, N_("FAILED")))


def next_step(plan: Plan | None, finished: Finished) -> str:
    """What a person does after a good end."""
    if finished.status != ExitStatus.DONE:
        return ""
    match plan:
        case RestorePlan(targets=targets):
            if all(pair.target.regular_file for pair in targets):
                return ""
            return _("Next: remove the stick and restart the computer.")
        case RepairPlan(target=target):
            return "" if target.regular_file else _("Next: remove the stick and restart the computer.")
        case CapturePlan():
            return _("Next: verify the image, and keep the medium with the library in a safe place.")
        case InstallPlan():
            return _("Next: start the computer once with Rescue recovery, and make a recovery drive all the same.")
        case MediaPlan():
            return _("Next: remove the medium, label it with the date, and try once that a computer starts from it.")
        case _:
            return ""


class ResultScreen(RescueScreen):
    """Figures, state and next step; the log below."""

    HEADING = N_("A job has ended")
    KEYS = N_("Enter press   Tab to the log   s save the log   Esc back   F1 or ? help")
    ABOUT = N_("""
This is how the job ended. If it failed, you see what happened, what state
the disk is in now, and what you can do about it. Below stands what the job
said while it ran: Tab goes there, then the arrow keys scroll.

  m   main menu
  s   save the log to the stick or another disk, for whoever helps you

The same can be read later under Jobs in the main menu, until the computer
is switched off.""")
    BINDINGS: ClassVar[list[BindingType]] = [("m", "home"), ("s", "save_log")]

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def body(self) -> ComposeResult:
        """Verdict, lines, log, buttons."""
        finished = self.feed.finished
        if finished is None:
            raise ValueError("a job that has not ended has no result")
        yield text(f" {verdict(finished)} ", id="verdict", classes="good" if finished.status == 0 else "bad")
        ended = _("{job}, ended {time}").format(job=clean(told(self.feed.title)), time=clock(finished.time))
        yield text(ended, id="title")
        yield text("\n".join(self.lines(finished)), id="result")
        with VerticalScroll(id="log"):
            yield text("\n".join(self.feed.log), id="lines")
        yield Acts(Act(_("Main menu"), id="home"), *self.offers(finished))

    def lines(self, finished: Finished) -> list[str]:
        """What happened, the state of the disk and what to do come first; figures and the log's place after them."""
        known = result_lines(finished)
        told = 2 if finished.state else 1
        step = next_step(self.feed.plan, finished)
        return [*known[:told], *([step] if step else []), *known[told:], self.where_the_log_is()]

    def where_the_log_is(self) -> str:
        """How to keep what the job has said."""
        folder = clean(str(self.backend.state_folder() / "jobs" / self.feed.job.id))
        return _("Log: {folder}; s saves it").format(folder=folder)

    def offers(self, finished: Finished) -> list[Act]:
        """What else can be done from here."""
        match self.feed.plan:
            case RestorePlan() if finished.status == ExitStatus.DONE:
                return [Act(_("Restart"), id="restart")]
            case CapturePlan() if isinstance(finished.result, CaptureResult):
                return [Act(_("Verify the image"), id="verify")]
        return []

    def on_mount(self) -> None:
        """The focus is on what changes nothing."""
        log = self.query_one("#log", VerticalScroll)
        log.border_title = _("Log")
        log.display = bool(self.feed.log)
        self.query_one("#home").focus()

    def on_act_pressed(self, event: Act.Pressed) -> None:
        """Main menu, restart, or a verification."""
        match event.act.id:
            case "restart":
                self.host.start("restart")
            case "verify":
                self.verify()
            case _:
                self.action_home()

    def verify(self) -> None:
        """Check the image that was made: a job of its own."""
        plan, finished = self.feed.plan, self.feed.finished
        if isinstance(plan, CapturePlan) and finished is not None and isinstance(finished.result, CaptureResult):
            self.look(partial(self.backend.plan_verify, Path(plan.library), finished.result.image), self.submit)

    def action_save_log(self) -> None:
        """s: the screen with the logs."""
        self.host.start("log")

    def action_home(self) -> None:
        """m: the main menu."""
        self.host.go_home()


def clock(seconds: float) -> str:
    """`23:24` on this computer's clock."""
    return time.strftime("%H:%M", time.localtime(seconds))
