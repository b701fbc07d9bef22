"""python -m imaging.freezer: the process that holds file systems still, for as long as its input is open and no longer.

A process of its own: whoever asked may be killed at any moment, and a file system that stays frozen stops everything
that writes to it. It lets go when its input ends or the time is over, whatever becomes of the others. Source:
linux/fs.h (FIFREEZE, FITHAW), fsfreeze(8).
"""

import fcntl
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path

import msgspec

from imaging.decodable import decodable
from imaging.errors import RescueError
from imaging.run import run

_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_REMOUNT_TIME = 30.0
HELD, IN_TIME, TOO_LATE = "held", "in time", "too late"
"""What it says: once all are held, and when it has let go of them."""


class How(StrEnum):
    """How a mounted file system is held still."""

    FREEZE = "freeze"
    """Whoever writes to it waits."""
    READ_ONLY = "read-only"
    """It is mounted read-only for the time: FAT cannot be frozen. Refused by the kernel where a file is being written.
    """


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A file system, by the folder in which it is mounted."""

    where: str
    how: How


@decodable
class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be held still, and for how many seconds at the most."""

    places: tuple[Place, ...]
    seconds: float


def main() -> int:
    """Hold what the first line of the input asks for; says on its output how that went, a line each."""
    # Whoever kills to get memory had better not take the one who lets go.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=Asked)
    release: list[Callable[[], object]] = []
    try:
        _hold(asked.places, release)
        _say(HELD)
        ready, _, _ = select.select([sys.stdin], [], [], asked.seconds)
        told = IN_TIME if ready else TOO_LATE
    except (OSError, RescueError) as error:
        told = error.message if isinstance(error, RescueError) else f"{error.filename or ''}: {error.strerror}"
    finally:
        for let_go in reversed(release):
            with suppress(OSError, RescueError):
                let_go()
    _say(told)
    return 0


def _hold(places: Sequence[Place], release: list[Callable[[], object]]) -> None:
    # Those that may be refused come first: they take a moment, and nobody waits for them.
    for place in sorted(places, key=lambda one: one.how is How.FREEZE):
        if place.how is How.READ_ONLY:
            run(["mount", "-o", "remount,ro", place.where], timeout=_REMOUNT_TIME)
            release.append(partial(_writable_again, place.where))
        else:
            fd = os.open(place.where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            release.append(partial(os.close, fd))  # open, it would keep the file system from being unmounted
            try:
                fcntl.ioctl(fd, _FIFREEZE, 0)
            except OSError as error:
                raise OSError(error.errno, error.strerror, place.where) from error
            release.append(partial(fcntl.ioctl, fd, _FITHAW, 0))


def let_go(place: Place) -> None:
    """Let go of a file system that a process which is gone has held; raises OSError where it is not held, IoError."""
    if place.how is How.READ_ONLY:
        _writable_again(place.where)
        return
    fd = os.open(place.where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _FITHAW, 0)
    finally:
        os.close(fd)


def _writable_again(where: str) -> None:
    run(["mount", "-o", "remount,rw", where], timeout=_REMOUNT_TIME)


def _say(words: str) -> None:
    with suppress(OSError):  # nobody may be listening any more
        sys.stdout.write(f"{words}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
