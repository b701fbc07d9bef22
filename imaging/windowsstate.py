"""Whether Windows stands on a volume, and was shut down so that all of its files are in their places.

Windows alone replays the log of its file system: what waits in it would be missing, or be damaged. With its default
fast start-up it is hibernated, too. Source: ntfs-3g's libntfs-3g/volume.c, ntfs_volume_check_hiberfile.
"""

import os

from imaging import doubts, ntfsmap, systems, views
from imaging.blockdev import loop_over, read
from imaging.errors import IoError, RefusedError
from imaging.keptfiles import WINDOWS
from imaging.views import View

_HIBERNATION_FILE = b"hiberfil.sys"
_HIBERNATED = (b"hibr", b"HIBR")


def holds_windows(view: View, sector: int) -> bool:
    """Whether an NTFS volume has Windows' kernel, whatever its state. Raises IoError, BadImageError."""
    with (
        views.opened(view) as file,
        loop_over(file, offset=0, size=view.size, sector=sector) as loop,
    ):
        return systems.is_windows(loop)


def refuse_unclean(file: int, size: int, what: str) -> None:
    """Raise RefusedError where something may wait in the log of a volume that is open, or it is marked for a check."""

    def of_it(at: int, size: int) -> bytes:
        return read(file, size, at)

    doubt = doubts.doubt(WINDOWS, of_it)
    try:
        ntfsmap.refuse_dirty(of_it, size)
        why = doubt.why if doubt else ""
    except IoError as error:
        why = error.message
    if why:
        raise _not_closed(what, why)


def refuse_hibernated(mount: int, what: str) -> None:
    """Raise RefusedError where Windows goes on where it was when it starts from a volume that is mounted."""
    try:
        fd = os.open(_HIBERNATION_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=mount)
        try:
            start = os.read(fd, len(_HIBERNATED[0]))
        finally:
            os.close(fd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise IoError(f"/hiberfil.sys cannot be read: {error.strerror}", code="read-failed") from error
    if start in _HIBERNATED:
        raise _not_closed(what, "Windows was hibernated, or shut down with fast start-up")


def _not_closed(what: str, why: str) -> RefusedError:
    return RefusedError(
        f"files cannot be kept, as Windows on {what} was not shut down wholly: {why}",
        code="cannot-keep",
        hint="start Windows and shut it down with Shift held, or with `shutdown /s /t 0`; where it does not start any "
        "more: --save-first, and copy the files out of that image",
    )
