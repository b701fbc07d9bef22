"""The Textual application: the menu's tasks, jobs that are followed, and leaving the terminal clean."""

import asyncio
import contextlib
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual.app import SuspendNotSupported
from textual.binding import BindingType
from textual.scrollbar import ScrollBar, ScrollBarRender

from imaging.errors import RescueError
from rescue.backend import Backend, Job
from rescue.feed import left_behind
from rescue.formats import clean
from rescue.screens.backup import SourcesScreen
from rescue.screens.base import Host, Notice, Question, problem
from rescue.screens.images import ImagesScreen
from rescue.screens.jobs import JobsScreen, feed_of
from rescue.screens.menu import MenuScreen
from rescue.screens.progress import ProgressScreen
from rescue.screens.result import ResultScreen


class PlainScrollBar(ScrollBarRender):
    """Whole cells only: text consoles lack the eighth blocks."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]


class RescueApp(Host):
    """The application; its state is what the jobs say, so that any number of them can run at once."""

    TITLE = "Rescue"
    CSS_PATH = "rescue.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+l", "repaint")]

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.crash_report: Path | None = None

    def on_mount(self) -> None:
        """Begin with the menu."""
        ScrollBar.renderer = PlainScrollBar
        self.theme = "ansi-dark"
        self.push_screen(MenuScreen())
        if not self.is_headless:
            self.leave_on_signals()

    def leave_on_signals(self) -> None:
        """Give the terminal back when the line hangs up or the system stops; jobs go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit, 128 + number)

    def start(self, task: str) -> None:
        """Begin one of the main menu's tasks."""
        match task:
            case "restore":
                self.push_screen(ImagesScreen())
            case "backup":
                self.push_screen(SourcesScreen())
            case "jobs":
                self.push_screen(JobsScreen())
            case "shell":
                self.open_shell()
            case "restart":
                self.ask_first("Restart the computer?", "restart", self.backend.reboot)
            case "power-off":
                self.ask_first("Switch the computer off?", "power off", self.backend.power_off)

    def go_home(self) -> None:
        """Back to the main menu."""
        while len(self.screen_stack) > 2 and not isinstance(self.screen, MenuScreen):
            self.pop_screen()

    def started(self, job: Job) -> None:
        """A job was started: show it, over the main menu."""
        self.go_home()
        self.follow(job)

    def follow(self, job: Job) -> None:
        """Show a job: its progress while it runs, its result when it has ended."""
        try:
            feed = feed_of(job)
        except RescueError as error:
            self.push_screen(Notice(problem(error)))
            return
        self.push_screen(ProgressScreen(job) if feed.finished is None else ResultScreen(feed))

    def ask_first(self, question: str, verb: str, act: Callable[[], None]) -> None:
        """Ask, with a warning where a job runs, and act on Yes."""

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.attempt(act)

        self.push_screen(Question(question + self.warning(), yes=verb, no="go back"), answered)

    def warning(self) -> str:
        """What a running job would lose; empty where none does."""
        try:
            live = self.states.live(self.backend.jobs())
        except RescueError:
            return ""
        lines = [f"{clean(job.title)}\n{left_behind(job.known_plan)}".rstrip() for job in live]
        return "\n\n".join(["", "A JOB IS RUNNING and would be cut off:", *lines]) if lines else ""

    def attempt(self, act: Callable[[], None]) -> None:
        """Do it; tell why where that is not possible."""
        try:
            act()
        except RescueError as error:
            self.push_screen(Notice(problem(error)))

    def open_shell(self) -> None:
        """A shell on this terminal. Updates are held back: painting while suspended would block for ever."""
        try:
            with self.batch_update(), self.suspend():
                self.attempt(self.backend.shell)
        except SuspendNotSupported:
            self.push_screen(Notice("A shell cannot be opened on this kind of terminal."))
        self.refresh(layout=True)

    def action_help_quit(self) -> None:
        """Ctrl+C, and q in the menu: leave, if that is what was meant."""

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.exit(0)

        if not isinstance(self.screen, Question):
            self.push_screen(Question("Leave Rescue? A job that runs goes on.", yes="leave", no="stay"), answered)

    def action_repaint(self) -> None:
        """Ctrl+L: draw everything anew."""
        self.refresh(repaint=True, layout=True)

    def _handle_exception(self, error: Exception) -> None:
        """An error in the screens: end, with the traceback in a file and not on the terminal."""
        if self.crash_report is None:
            self.crash_report = write_crash(error, self.backend.state_folder())
        super()._handle_exception(error)
        self._exit_renderables.clear()


def write_crash(error: Exception, state: Path) -> Path | None:
    """Keep a traceback where it can be read later; None where there is no place for it."""
    words = "".join(traceback.format_exception(error))
    for folder in (state, Path(tempfile.gettempdir())):
        path = folder / "screen.log"
        with contextlib.suppress(OSError), path.open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{words}\n")
            return path
    return None
