"""Locks that a process holds while it lives, so that others know that it does: flock(2) on a file."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLAIM_TIME = 5.0
"""Seconds in which a lock is tried for: whoever asks if its holder lives holds it for a moment."""


def claim(fd: int) -> bool:
    """Take the lock of an open file, until that is closed; False where another process has it."""
    deadline = time.monotonic() + _CLAIM_TIME
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        time.sleep(0.01)


def is_claimed(path: Path) -> bool:
    """Whether a process has the lock of a file; nobody has it where there is no file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time goes on here, the others wait; the file is made where there is none. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
