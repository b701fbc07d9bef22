"""The file in which an image's notes are kept: read, and changed."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging import notes
from imaging.durable import write_file, written
from imaging.errors import BadImageError, IoError
from imaging.notes import Notes
from imaging.regular import read_regular
from imaging.sealing import Seal, opened, sealed


def read(folder: Path, seal: Seal | None = None) -> tuple[Notes, str]:
    """What is noted in an image's folder, and why that is ignored, in words, where it cannot be used."""
    path = folder / notes.NAME
    try:
        return _read(path, seal), ""
    except OSError as error:
        return notes.NOTHING, f"{path} cannot be read: {error.strerror}"
    except BadImageError as error:
        return notes.NOTHING, error.message


def change(folder: Path, how: Callable[[Notes], Notes], seal: Seal | None = None) -> Notes:
    """Change what is noted in an image's folder; returns what is noted now.

    Damaged notes are replaced, those of a newer program are left alone (BadImageError). Raises IoError.
    """
    path = folder / notes.NAME
    with held(folder):
        try:
            before = _read(path, seal)
        except OSError as error:
            raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
        except BadImageError as error:
            if error.code == "unknown-version":
                raise
            before = notes.NOTHING
        after = how(before)
        if after != before:
            write_file(path, sealed(seal, _place(path), notes.encode(after)))
    return after


def _read(path: Path, seal: Seal | None) -> Notes:
    try:
        data = read_regular(path, notes.MOST_BYTES, "bad-notes")
    except FileNotFoundError:
        return notes.NOTHING
    return notes.decode(opened(seal, _place(path), data), str(path))


def _place(path: Path) -> str:
    return f"images/{path.parent.name}/{path.name}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """One at a time changes what lies in a folder, where the file system knows locks of folders; many shares do not."""
    with written(folder):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
