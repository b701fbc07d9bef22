"""The kernel's newer calls for mounts: a file system that is mounted, and attached to no folder until that is wanted.

One that was never attached is gone with the process that holds it, and no path leads to it.
Sources: fsopen(2), fsconfig(2), fsmount(2), move_mount(2) (Linux 5.2).
"""

import ctypes
import errno
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging.errors import IoError, RefusedError

_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_EXEC = 1, 2, 4, 8
_AT_FDCWD = -100
_EMPTY_PATH = 4
_DETACH = 2
_MOST_WORDS = 4096
_JUST_ENDING = (errno.EIO, errno.ECONNABORTED)
"""What is answered while the process ends: by itself, and by the kernel to whoever was waiting for it."""
_ENDING, _LOOK_EVERY = 3.0, 0.05
"""Seconds that a process takes to end once its other end is gone, and between two looks."""
_libc = ctypes.CDLL(None, use_errno=True)


def detached(
    kind: str,
    settings: Mapping[str, str],
    flags: Sequence[str],
    what: str,
    *,
    execute: bool = True,
    writable: bool = False,
) -> int:
    """Mount a file system without set-user-id programs and devices, read-only by default; its root (O_PATH).

    `what` names it in messages. Raises RefusedError without root, IoError where the kernel cannot mount it.
    """
    context = _call(what, "fsopen", kind.encode(), _FSOPEN_CLOEXEC)
    try:
        for name, value in settings.items():
            _call(what, "fsconfig", context, _SET_STRING, name.encode(), value.encode(), 0)
        for name in flags if writable else ("ro", *flags):
            _call(what, "fsconfig", context, _SET_FLAG, name.encode(), None, 0)
        try:
            _call(what, "fsconfig", context, _CREATE, None, None, 0)
        except IoError as error:
            raise _explained(error, context) from error
        attributes = (0 if writable else _READ_ONLY) | _NO_SUID | _NO_DEVICES | (0 if execute else _NO_EXEC)
        return _call(what, "fsmount", context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def attach(mount: int, where: Path, what: str) -> None:
    """Attach a detached mount to a folder. Raises IoError."""
    _call(what, "move_mount", mount, b"", _AT_FDCWD, os.fsencode(where), _EMPTY_PATH)


def release(where: Path) -> bool:
    """Take away what is mounted at a folder, at once for whoever comes, at the end for whoever uses it.

    Returns whether there was anything.
    """
    return bool(_libc.umount2(os.fsencode(where), _DETACH) == 0)


def clear(where: Path) -> None:
    """Unmount what a process that is gone has left at `where`: it answers that its other end is not connected.

    One that is just ending fails until then, and is waited for.
    """
    deadline = time.monotonic() + _ENDING
    while True:
        try:
            os.statvfs(where)  # the attributes of its folder may still be remembered
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                release(where)
            elif error.errno in _JUST_ENDING and time.monotonic() < deadline:
                time.sleep(_LOOK_EVERY)
                continue
        return


def _explained(error: IoError, context: int) -> IoError:
    """The error, with what the file system itself said of it, where it said anything."""
    said: list[str] = []
    while len(said) < 8:
        try:
            line = os.read(context, _MOST_WORDS)
        except OSError:
            break
        said.append(line[2:].decode(errors="replace").strip())  # "e ", "w " or "i " comes first
    return IoError(f"{error.message} ({'; '.join(said)})", code=error.code, hint=error.hint) if said else error


def _call(what: str, name: str, *arguments: object) -> int:
    """One of the C library's calls; raises IoError also where it does not have it, before version 2.36."""
    try:
        found: int = getattr(_libc, name)(*arguments)
    except AttributeError as error:
        raise IoError(f"{what} cannot be mounted: no {name} in the C library", code="no-fuse") from error
    if found < 0:
        code = ctypes.get_errno()
        if code == errno.EPERM:
            raise needs_root(what, code)
        if code == errno.ENODEV and name == "fsopen":
            raise IoError(
                f"{what} cannot be mounted: the kernel of this system does not know its file system",
                code="no-file-system",
                hint="the recovery system's kernel knows it: start from the recovery stick",
            )
        raise IoError(f"{what} cannot be mounted: {name}: {os.strerror(code)}", code="no-fuse")
    return found


def needs_root(what: str, code: int) -> RefusedError:
    """The error for somebody who may not mount anything."""
    return RefusedError(f"{what} cannot be mounted: {os.strerror(code)}", code="no-permission", hint="run as root")
