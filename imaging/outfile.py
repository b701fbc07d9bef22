"""Files that are written whole or not at all, and replace none: unfinished, they bear another name, hidden.

A name tells which process is at the file, so that what a dead one left can go.
"""

import glob
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging.durable import create, give_name, sync_folder, written
from imaging.errors import CancelledError, RefusedError

_DEAD_AFTER = 24 * 3600.0
"""Seconds after which nobody writes to an unfinished file any more."""
_WAIT = 0.5
"""Seconds between two looks whether the one whose turn it is has failed."""


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A file beside the target that becomes it at the end; what is there is never replaced."""
    refuse_if_there(target)
    temporary = unfinished(target)
    with written(target):
        sweep(target)
        os.close(create(temporary))
    try:
        yield temporary
        with written(target):
            fd = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        finish(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def refuse_if_there(target: Path) -> None:
    """Raise RefusedError where anything bears a name already."""
    if os.path.lexists(target):
        raise _is_there(target)


def unfinished(target: Path) -> Path:
    """The name of a file that is not whole yet: no other export has it, also not one to the same file."""
    return target.with_name(f".{target.name}.{_boot()}-{os.getpid()}.part")


def finish(made: Path, target: Path) -> None:
    """Give a file that is on the medium its name. Raises RefusedError where that is taken, IoError."""
    with written(target):
        try:
            give_name(made, target)
        except FileExistsError as error:
            raise _is_there(target) from error
        sync_folder(target.parent)


def _boot() -> str:
    """What this start of the machine is called in names of files."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]


def sweep(target: Path) -> None:
    """Remove what exports to the same file have left when they were killed; those of others once they are old."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*-*.part"):
        if is_left(left):
            left.unlink(missing_ok=True)


def is_left(path: Path) -> bool:
    """Whether nobody is at an unfinished file any more, by its name. Raises OSError."""
    boot, _, process = path.name.removesuffix(".part").rpartition(".")[2].partition("-")
    ours = boot == _boot() and process.isdecimal()
    dead = not Path(f"/proc/{process}").exists() if ours else time.time() - path.stat().st_mtime > _DEAD_AFTER
    return dead or process == str(os.getpid())


def _is_there(target: Path) -> RefusedError:
    return RefusedError(f"{target} is there already", code="exists", hint="give another name")


class InOrder:
    """Threads that finish their parts in any order and append them in one."""

    def __init__(self, cancel: threading.Event) -> None:
        self._next, self._cancel = 0, cancel
        self._error: BaseException | None = None
        self._turn = threading.Condition()

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait until all before are done; raises the error of one that failed, CancelledError."""
        with self._turn:
            while self._next != number:
                if self._error is not None:
                    raise self._error
                if self._cancel.is_set():
                    raise CancelledError("stopped because somebody asked")
                self._turn.wait(_WAIT)
            yield
            self._next += 1
            self._turn.notify_all()

    def fail(self, error: BaseException) -> None:
        """Nobody waits any longer, and all say why: whichever of them is heard first."""
        with self._turn:
            self._error = self._error or error
            self._turn.notify_all()
