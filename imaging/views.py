"""A copy-on-write view of one volume, of a disk or of an image, as a file that another process serves.

Source of handing descriptors over: unix(7), SCM_RIGHTS.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from imaging import credentials, keyring, remote
from imaging.decodable import decodable
from imaging.errors import BadImageError, IoError, RefusedError, RescueError, UsageError
from imaging.library import Library
from imaging.run import start_beside

_SERVER = "imaging.viewserver"
_MOST_SAID = 64 << 10
_KINDS: dict[int, type[RescueError]] = {
    kind.exit_status: kind for kind in (UsageError, RefusedError, BadImageError, IoError)
}


@decodable
class View(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes: of the device or file at `path`, or of a disk of an image; `keys` and `access` open its library.

    With `new_size` it is for a file system that is made so small in it, and what lies from `moved_from` on (by default
    behind that size) may be moved.
    """

    start: int
    size: int
    path: str = ""
    library: str = ""
    image: str = ""
    disk: str = ""
    keys: dict[str, bytes] = {}
    access: dict[str, Any] = {}
    new_size: int = 0
    moved_from: int | None = None


@decodable
class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no view, as an error has it; with an empty message there is one."""

    status: int = 0
    message: str = ""
    code: str = ""
    hint: str = ""


def of_disk(path: str, start: int, size: int) -> View:
    """The view of a range of a device or file."""
    return View(path=path, start=start, size=size)


def of_image(
    library: Path, image: str, disk: str, start: int, size: int, new_size: int = 0, moved_from: int | None = None
) -> View:
    """The view of a range of a disk of an image; raises BadImageError, IoError where the library cannot be opened."""
    address = remote.address_of(library)
    return View(
        start=start,
        size=size,
        library=str(library),
        image=image,
        disk=disk,
        keys=keyring.keys_for(Library.open(library).info.id),
        access=credentials.needed([address]) if address else {},
        new_size=new_size,
        moved_from=moved_from,
    )


@contextmanager
def opened(view: View) -> Iterator[int]:
    """A descriptor that is open for reading and writing; needs root. What is written ends with the context.

    Raises BadImageError where the image cannot be used, RefusedError without root, IoError.
    """
    with _handed(view, 1) as (file,):
        yield file


@contextmanager
def opened_to_shrink(view: View) -> Iterator[tuple[int, int]]:
    """The same for one with a new size, and one of its changes, by the page: imaging.relocating. Raises as `opened`."""
    with _handed(view, 2) as (file, changes):
        yield file, changes


@contextmanager
def _handed(view: View, count: int) -> Iterator[list[int]]:
    """So many descriptors.

    Raises BadImageError where the image cannot be used, RefusedError without root, IoError.
    """
    here, there = socket.socketpair()
    with here:
        with there:
            process = start_beside(_SERVER, there)
        try:
            try:
                process.told.write(msgspec.json.encode(view) + b"\n")
                process.told.flush()
                said, fds, _, _ = socket.recv_fds(here, _MOST_SAID, count)
            except OSError as error:
                raise _died() from error
            if not fds:
                raise _error(said)
            try:
                yield fds
            finally:
                for fd in fds:
                    os.close(fd)
        finally:
            with suppress(OSError):
                process.told.close()


def _error(said: bytes) -> RescueError:
    try:
        refused = msgspec.json.decode(said, type=Refused)
    except msgspec.DecodeError:
        return _died()
    kind = _KINDS.get(refused.status, IoError)
    return kind(refused.message, code=refused.code, hint=refused.hint or None)


def _died() -> IoError:
    return IoError("the process that reads the volume has ended", code="worker-died", hint="start it once more")
