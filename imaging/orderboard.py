"""What all consoles know of an order: one process counts down and carries it out, any console may stop it.

`<state>/order/` holds state.json, the log, and a lock that the one process holds while it lives. A change from one
phase to the next is made behind a second lock, so that what was stopped is never begun.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec.structs import replace

from imaging import locks
from imaging.durable import write_file, written
from imaging.errors import IoError, RefusedError
from imaging.orders import After
from imaging.plan import Plan
from imaging.regular import read_regular
from imaging.state import state_folder

_MOST_BYTES = 16 << 20


class Phase(StrEnum):
    """How far an order is."""

    LOOKING = "looking"
    """It is fetched, or disks and images are looked for."""
    COUNTING = "counting"
    RUNNING = "running"
    """The job is at work, or its result is written and sent."""
    ENDED = "ended"
    REFUSED = "refused"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    """It is not for this computer, or was carried out already."""


STOPPED = "it was stopped at a console before it began: nothing was written"
DIED = "died"
"""The result of an order whose process is gone."""

LIVE = frozenset({Phase.LOOKING, Phase.COUNTING, Phase.RUNNING})
"""Phases in which the one process is at work."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the consoles show."""

    phase: Phase
    name: str
    """The order's own, or that of its file or address."""
    plan: Plan | None = None
    ends_at: float = 0.0
    """When the countdown ends, or what comes after begins, in seconds of the monotonic clock; 0 where none runs."""
    then: After = After.MENU
    """What comes after."""
    job: str = ""
    result: str = ""
    """How the job ended, as imaging.jobs.JobState has it."""
    message: str = ""
    hint: str = ""
    problems: tuple[str, ...] = ()
    """What could not be written or sent, in words."""

    @property
    def left(self) -> int | None:
        """Whole seconds until the countdown ends; None where none runs."""
        return max(0, round(self.ends_at - time.monotonic())) if self.ends_at else None


_decoder = msgspec.json.Decoder(State)


def folder() -> Path:
    """Where the state of this machine's order lies."""
    return state_folder() / "order"


class Board:
    """The state in a folder, for whoever shows it and whoever changes it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or folder()

    def read(self) -> State | None:
        """How far the order is; None where there is none. Where its process is gone without a word, that is told.

        Raises IoError where the state cannot be read.
        """
        state = self._stored()
        if state is None or state.phase not in LIVE or self._is_attended():
            return state
        # Its process may have said its last word between the two looks.
        state = self._stored()
        if state is None or state.phase not in LIVE:
            return state
        return replace(
            state,
            phase=Phase.ENDED if state.job else Phase.REFUSED,
            ends_at=0.0,
            then=After.MENU,
            result=DIED,
            message="the process that carries out the order ended without a word",
            hint="Log in the main menu has its last words; what was begun is under Jobs",
        )

    def _stored(self) -> State | None:
        try:
            return _decoder.decode(read_regular(self.path / "state.json", _MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise IoError(f"the state of the order cannot be read: {error}", code="read-failed") from error

    def _is_attended(self) -> bool:
        """Whether the one process holds its lock."""
        return locks.is_claimed(self.path / "lock")

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Be the one process; raises RefusedError where there is one."""
        with written(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path / "lock").open("ab") as lock:
            if not locks.claim(lock.fileno()):
                raise RefusedError("an order is carried out already", code="order-busy")
            yield

    def show(self, state: State) -> None:
        """Put up a state, whatever was there."""
        write_file(self.path / "state.json", msgspec.json.encode(state))

    def turn(self, seen: State, new: State) -> bool:
        """Put up a new state where the one that was seen still stands; False where somebody was quicker."""
        with locks.alone(self.path / "door"):
            if self.read() != seen:
                return False
            self.show(new)
            return True

    def stop(self) -> bool:
        """Stop what has not begun yet, or what would come after the end; False where it is too late for that."""
        with locks.alone(self.path / "door"):
            state = self.read()
            begun = state is None or state.phase not in (Phase.LOOKING, Phase.COUNTING)
            if state is None or (begun and not state.ends_at):
                return False
            if not begun:
                self.show(replace(state, phase=Phase.STOPPED, ends_at=0.0, message=STOPPED))
            else:
                self.show(replace(state, ends_at=0.0, then=After.MENU))
            return True

    def clear(self) -> None:
        """Forget what an earlier process has said."""
        with written(self.path):
            for name in ("state.json", "watched"):
                (self.path / name).unlink(missing_ok=True)

    def note_watcher(self) -> None:
        """A console shows the order: its countdown can begin."""
        with written(self.path):
            (self.path / "watched").touch()

    @property
    def watched(self) -> bool:
        """Whether a console shows the order."""
        return (self.path / "watched").exists()

    def lines(self) -> list[str]:
        """What was logged; nothing where there was no order."""
        with suppress(OSError):
            return (self.path / "log").read_text(encoding="utf-8", errors="replace").splitlines()
        return []

    def log(self, words: str) -> None:
        """Keep a line; what cannot be logged does not keep an order from being carried out."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}\n"
        with suppress(OSError), (self.path / "log").open("a", encoding="utf-8") as log:
            log.write(line)
