"""The recovery drive that this computer was started from: whether it is whole, how old it is, and what to do."""

import threading
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll

from imaging import __version__
from imaging.bootcheck import BootState, State
from imaging.disk import Disk
from imaging.errors import CancelledError, RescueError
from imaging.mediumcheck import Examined
from rescue.aside import aside
from rescue.backend import Backend
from rescue.care import fact_line
from rescue.drives import boot_lines
from rescue.formats import clean, format_when
from rescue.language import N_, _
from rescue.medium import examined_lines
from rescue.report import disk_title
from rescue.screens.base import RescueScreen, problem, text
from rescue.widgets.bar import Bar

EVERY = 1.0
"""Seconds between two looks at how far the check is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the system was started from: a disk, or an address, or memory by now."""

    disk: Disk | None
    address: str
    in_memory: bool

    @property
    def words(self) -> str:
        """In words; empty where it is not known."""
        if self.address:
            return _("the network, {address}").format(address=clean(self.address))
        if self.in_memory:
            return _("memory; the medium that it came from may be pulled out")
        return disk_title(self.disk) if self.disk is not None else ""


def origin(backend: Backend) -> Origin:
    """Ask where the system came from; takes up to a second."""
    return Origin(disk=backend.medium(), address=backend.network_boot(), in_memory=backend.in_memory())


class MediumScreen(RescueScreen):
    """What the check at the start has found, and a check anew."""

    HEADING = N_("Check this recovery drive")
    KEYS = N_("c check it again   PgUp/PgDn scroll   Esc back   F1 or ? help")
    ABOUT = N_("""
Whether the recovery drive that this was started from is whole is checked
in the background at the start. With a damaged one nothing is restored; who
has no other and must all the same starts it with rescue.check=no on the
kernel's command line. One that is over a year old works, but a current one
knows newer computers.

  c   read all of it again and compare it; that takes some minutes,
      and leaving this screen stops it""")
    BINDINGS: ClassVar[list[BindingType]] = [("c", "check")]
    DEFAULT_CSS = """
    MediumScreen #page { height: 1fr; padding: 1 1 0 1; }
    MediumScreen #measure { height: 1; margin: 0 1; }
    MediumScreen Bar { width: 1fr; max-width: 52; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.origin: Origin | None = None
        self.examined: Examined | None = None
        self.failure = ""
        self.cancel: threading.Event | None = None
        """Stops the check that was asked for here; None while there is none."""
        self.read = (0, 0)
        """Bytes that it has read, and those to be read."""

    def body(self) -> ComposeResult:
        """What is known, and how far a check is."""
        with VerticalScroll(id="page"):
            yield text("", id="lines")
        with Horizontal(id="measure"):
            yield Bar(id="whole")

    def on_mount(self) -> None:
        """Ask where it came from, and keep an eye on the check."""
        self.query_one("#page").focus()
        self.show_state()
        self.set_interval(EVERY, self.show_state)
        self.look(partial(origin, self.backend), self.know_origin)

    def on_unmount(self) -> None:
        """Nobody waits for the check any more."""
        if self.cancel is not None:
            self.cancel.set()

    def know_origin(self, found: Origin) -> None:
        """Where it came from."""
        self.origin = found
        self.show_state()

    def show_state(self) -> None:
        """All that is known now."""
        if self.app.screen is not self:
            return
        state = self.backend.boot_state()
        if self.cancel is not None:
            done, total = self.read
            state = BootState(state=State.CHECKING, done=done, total=total, built=state.built, old=state.old)
        where = self.origin.words if self.origin else ""
        lines = [fact_line(_("Drive"), where)] if where else []
        lines.append(fact_line(_("Version"), _("Rescue {version}").format(version=__version__)))
        if state.built:
            lines.append(fact_line(_("Built"), _("{when} UTC").format(when=format_when(state.built))))
        if self.examined is not None and self.cancel is None:
            lines += ["", *examined_lines(self.examined)]
        else:
            lines += ["", *([self.failure] if self.failure and self.cancel is None else boot_lines(state))]
        self.say("lines", "\n".join(lines))
        self.query_one("#measure").display = state.state is State.CHECKING
        self.query_one("#whole", Bar).fraction = min(1.0, state.done / state.total) if state.total else None

    def action_check(self) -> None:
        """c: check it, once at a time."""
        if self.cancel is not None or self.backend.boot_state().state is State.CHECKING:
            return
        cancel = self.cancel = threading.Event()
        self.read = (0, 0)
        self.run_worker(self.check(cancel), group="check")
        self.show_state()

    async def check(self, cancel: threading.Event) -> None:
        """Wait for the check's end."""

        def advance(done: int, total: int) -> None:
            self.read = (done, total)

        self.examined, self.failure = None, ""
        try:
            self.examined = await aside(partial(self.backend.check_medium, advance, cancel))
        except CancelledError:
            return
        except RescueError as error:
            self.failure = problem(error)
        self.cancel = None
        if self.is_attached:
            self.show_state()
