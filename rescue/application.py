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
from textual.scrollbar import ScrollBar

from imaging.errors import RescueError
from imaging.logs import SCREEN_LOG
from rescue.backend import Backend, Job
from rescue.console.dialect import Look, Mode
from rescue.console.driver import ConsoleDriver, driver_for
from rescue.console.terminal import Terminal
from rescue.feed import left_behind
from rescue.formats import clean
from rescue.language import _
from rescue.orderwatch import EVERY, OrderWatch
from rescue.screens.base import Host, Notice, Question, RescueScreen, problem
from rescue.screens.disks import DisksScreen
from rescue.screens.drive import DriveScreen
from rescue.screens.factory import FactoryScreen
from rescue.screens.images import ImagesScreen
from rescue.screens.jobs import JobsScreen, feed_of
from rescue.screens.language import LanguageScreen
from rescue.screens.library import LibraryScreen
from rescue.screens.log import LogScreen
from rescue.screens.menu import MenuScreen
from rescue.screens.network import NetworkScreen
from rescue.screens.progress import ProgressScreen
from rescue.screens.result import ResultScreen
from rescue.screens.sources import SourcesScreen
from rescue.telling import told
from rescue.widgets.scrollbar import PlainScrollBar


class RescueApp(Host):
    """The application; its state is what the jobs say, so that any number of them can run at once."""

    TITLE = "Rescue"
    CSS_PATH = "rescue.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+l", "repaint"), ("f2", "shell"), ("f9,ctrl+t,t", "look")]

    def __init__(self, backend: Backend, terminal: Terminal | None = None) -> None:
        self.terminal = terminal or Terminal(mode=Mode.FULL)
        super().__init__(backend, None if self.terminal.mode is Mode.FULL else driver_for(self.terminal))
        self.at_computer = self.terminal.mode is Mode.VGA
        self.look = self.terminal.look
        self.crash_report: Path | None = None
        self.orders = OrderWatch(self)

    def on_mount(self) -> None:
        """Begin with the menu."""
        ScrollBar.renderer = PlainScrollBar
        self.theme = "ansi-dark"
        self.set_class(self.look is Look.RICH, "rich")
        self.push_screen(MenuScreen())
        self.call_after_refresh(self.orders.look)
        self.set_interval(EVERY, self.orders.look)
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
            case "factory":
                self.push_screen(FactoryScreen())
            case "backup":
                self.push_screen(SourcesScreen())
            case "images":
                self.push_screen(LibraryScreen())
            case "disks":
                self.push_screen(DisksScreen())
            case "media":
                self.push_screen(DriveScreen())
            case "jobs":
                self.push_screen(JobsScreen())
            case "log":
                self.push_screen(LogScreen())
            case "language":
                self.push_screen(LanguageScreen())
            case "network":
                self.push_screen(NetworkScreen())
            case "shell":
                self.open_shell()
            case "restart":
                words = _("The computer is about to restart.")
                self.ask_first(_("Restart the computer?"), _("restart"), self.backend.reboot, words)
            case "power-off":
                words = _("The computer is switching off.")
                self.ask_first(_("Switch the computer off?"), _("power off"), self.backend.power_off, words)

    def go_home(self) -> None:
        """Back to the main menu."""
        while len(self.screen_stack) > 2 and not isinstance(self.screen, MenuScreen):
            self.pop_screen()

    def redraw(self, over: RescueScreen) -> None:
        """Begin anew in another language: the menu, with a screen over it. Jobs know nothing of it."""
        self.go_home()
        self.switch_screen(MenuScreen())
        self.push_screen(over)

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

    def ask_first(self, question: str, verb: str, act: Callable[[], None], words: str) -> None:
        """Ask, with a warning where a job runs, and act on Yes; `words` say what happens then, for it takes a while."""

        def answered(agreed: bool | None) -> None:
            if agreed and self.attempt(act):
                self.push_screen(Notice(words))

        self.push_screen(Question(question + self.warning(), yes=verb, no=_("go back")), answered)

    def warning(self) -> str:
        """What a running job would lose; empty where none does."""
        try:
            live = self.states.live(self.backend.jobs())
        except RescueError:
            return ""
        lines = [f"{clean(told(job.title))}\n{left_behind(job.known_plan)}".rstrip() for job in live]
        return "\n\n".join(["", _("A JOB IS RUNNING and would be cut off:"), *lines]) if lines else ""

    def attempt(self, act: Callable[[], None]) -> bool:
        """Do it; tell why where that is not possible. Whether it was done."""
        try:
            act()
        except RescueError as error:
            self.push_screen(Notice(problem(error)))
            return False
        return True

    def open_shell(self) -> None:
        """A shell on this terminal. Updates are held back: painting while suspended would block for ever."""
        try:
            with self.batch_update(), self.suspend():
                self.attempt(self.backend.shell)
        except SuspendNotSupported:
            self.push_screen(Notice(_("A shell cannot be opened on this kind of terminal.")))
        self.refresh(layout=True)

    def action_shell(self) -> None:
        """F2, on every screen: a shell, and back to where it was opened."""
        self.start("shell")

    def action_help_quit(self) -> None:
        """Ctrl+C, and q in the menu: leave, if that is what was meant."""

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.exit(0)

        if not isinstance(self.screen, Question):
            question = Question(_("Leave Rescue? A job that runs goes on."), yes=_("leave"), no=_("stay"))
            self.push_screen(question, answered)

    def action_repaint(self) -> None:
        """Ctrl+L: draw everything anew, on a terminal that may have another size now."""
        if isinstance(self._driver, ConsoleDriver):
            self._driver.repaint(measure=True)
        self.refresh(repaint=True, layout=True)

    def action_look(self) -> None:
        """F9: the plain look, or the rich one."""
        self.look = Look.PLAIN if self.look is Look.RICH else Look.RICH
        self.set_class(self.look is Look.RICH, "rich")
        if isinstance(self._driver, ConsoleDriver):
            self._driver.use_look(self.look)

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
        path = folder / SCREEN_LOG
        with contextlib.suppress(OSError), path.open("a") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{words}\n")
            return path
    return None
