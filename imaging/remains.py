"""What a capture of the running system that was killed has left: snapshots, and file systems that nobody lets go of.

The next capture takes it away, and so does the timer's service when it ends (`rescue schedule tidy`).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from imaging import snapshots
from imaging.decodable import decodable
from imaging.durable import write_file, written
from imaging.errors import IoError, RefusedError
from imaging.freezer import Place
from imaging.freezing import held_still, let_go
from imaging.locks import claim
from imaging.pipeline import Reporter
from imaging.regular import read_regular
from imaging.state import state_folder

_MOST_BYTES = 1 << 20


@decodable
class _Noted(msgspec.Struct, frozen=True, kw_only=True):
    places: tuple[Place, ...]


@contextmanager
def alone() -> Iterator[None]:
    """Be the one process that captures the running system; raises RefusedError (code "library-busy"), IoError."""
    path = state_folder() / "still.lock"
    with written(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = path.open("ab")
    with lock:
        if not claim(lock.fileno()):
            raise RefusedError("the running system is captured already", code="library-busy", hint="wait for its end")
        yield


def _note() -> Path:
    return state_folder() / "held.json"


@contextmanager
def held(places: Sequence[Place]) -> Iterator[None]:
    """As freezing.held_still, with a note for whoever comes after a process that was killed meanwhile."""
    if not places:
        yield
        return
    write_file(_note(), msgspec.json.encode(_Noted(places=tuple(places))))
    try:
        with held_still(places):
            yield
    finally:
        with suppress(OSError):
            _note().unlink(missing_ok=True)


def tidy(report: Reporter) -> None:
    """Let go of what is still held, and remove our snapshots; to be called by the one process. Raises IoError."""
    _let_go(report)
    for name in snapshots.left():
        report.log(f"Removing the snapshot {name}, which a capture that was cut off has left", "warning")
        snapshots.remove(name)


def _let_go(report: Reporter) -> None:
    try:
        noted = msgspec.json.decode(read_regular(_note(), _MOST_BYTES), type=_Noted)
    except FileNotFoundError:
        return
    except OSError as error:
        raise IoError(f"{_note()} cannot be read: {error.strerror}", code="read-failed") from error
    except msgspec.DecodeError:
        noted = _Noted(places=())  # one of another version: a note is whole or not there
    for place in noted.places:
        if os.path.ismount(place.where) and let_go(place):
            report.log(f"{place.where} was still held by a capture that was cut off: it is let go of", "warning")
    with suppress(OSError):
        _note().unlink(missing_ok=True)


def tidy_alone(report: Reporter) -> None:
    """The same, unless a capture is at work."""
    with alone():
        tidy(report)
