"""Which drives erase themselves right now, because a job on this computer has them do so.

Whoever reads one waits until it is done, for hours, and cannot be ended: the kernel sends a drive nothing else beside
a security erase or a format. Source: Linux, ata_qc_defer and nvme_passthru_start.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging.errors import RescueError
from imaging.locks import claim, is_claimed
from imaging.state import state_folder

_LONGEST = 200
"""Characters of a name: that of a device has fewer, and a file is no drive."""


@contextmanager
def announced(path: str) -> Iterator[None]:
    """Let others know meanwhile that the drive erases itself, for as long as this process lives at most."""
    fd = -1
    try:
        with suppress(OSError, RescueError):  # no drive keeps what it holds because that cannot be noted
            note = _note(path)
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            claim(fd)
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def is_erasing(path: str) -> bool:
    """Whether the drive at `path` erases itself, as far as that is known here."""
    try:
        return is_claimed(_note(path))
    except (OSError, RescueError):
        return False


def _note(path: str) -> Path:
    return state_folder() / "erasing" / Path(path).name[-_LONGEST:]
