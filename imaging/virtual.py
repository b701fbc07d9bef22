"""Files that this process makes up, opened or mounted as if they lay on a disk: the kernel's side of imaging.fuse.

Without libfuse: its versions 2 and 3 differ in name and interface among the systems that this must run on, and both
take over the process's signals. A mount that was never attached anywhere is gone with the process that serves it.
Sources: Linux Documentation/filesystems/fuse.rst, fsopen(2), fsconfig(2), fsmount(2), move_mount(2) (Linux 5.2).
"""

import ctypes
import errno
import os
import select
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from imaging.errors import IoError, RefusedError
from imaging.fuse import REQUEST_SIZE, Folder, VirtualFile
from imaging.run import run

_DEVICE = "/dev/fuse"
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_READ_ONLY, _NO_SUID, _NO_DEVICES = 1, 2, 4
_AT_FDCWD = -100
_EMPTY_PATH = 4
_DETACH = 2
_GONE = (errno.ENODEV, errno.EBADF)
"""What a server reads once its file system is gone."""
_AGAIN = (errno.EAGAIN, errno.EINTR, errno.ENOENT)
_FEWEST_THREADS = 2
_READ_AHEAD = 512 << 10
"""Bytes that the kernel asks for ahead of somebody who reads a file from end to end."""
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def opened(files: Mapping[str, VirtualFile]) -> Iterator[dict[str, int]]:
    """Descriptors of the files, open for reading; needs root. No path leads to them, and they die with this process.

    Until the end of the context this process serves them with threads of its own. Whatever still reads them then,
    such as a loop device, is told that they are gone. Raises RefusedError without root, IoError.
    """
    with _served(files) as mount, ExitStack() as stack:
        found = {}
        for name in files:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount)
            stack.callback(os.close, fd)
            found[name] = fd
        yield found


@contextmanager
def mounted(files: Mapping[str, VirtualFile], where: Path) -> Iterator[Path]:
    """The files in the folder `where`, for anyone whom its rights let in; needs root.

    What an earlier process that was killed has left mounted there is taken away first. Raises RefusedError without
    root, IoError.
    """
    clear(where)
    with _served(files) as mount:
        _call("move_mount", mount, b"", _AT_FDCWD, os.fsencode(where), _EMPTY_PATH)
        try:
            yield where
        finally:
            _libc.umount2(os.fsencode(where), _DETACH)


def clear(where: Path) -> None:
    """Unmount what a process that is gone has left at `where`: it answers that its other end is not connected."""
    try:
        os.statvfs(where)  # the attributes of its folder may still be remembered
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            _libc.umount2(os.fsencode(where), _DETACH)


@contextmanager
def _served(files: Mapping[str, VirtualFile]) -> Iterator[int]:
    """A mount that is attached nowhere, and the threads that serve it."""
    device = _open_device()
    stop, stopper = os.pipe2(os.O_CLOEXEC)
    folder = Folder(files, user=os.geteuid(), group=os.getegid())
    threads = [
        threading.Thread(target=_serve, args=(device, stop, folder), name="fuse", daemon=True)
        for _ in range(max(_FEWEST_THREADS, os.cpu_count() or 1))
    ]
    try:
        mount = _mount(device)
        try:
            for thread in threads:
                thread.start()
            _read_far_ahead(mount)
            yield mount
        finally:
            os.close(mount)
    finally:
        os.close(stopper)
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        # Only now: a thread that still read from it would keep the file system alive.
        os.close(device)
        os.close(stop)


def _open_device() -> int:
    if not Path(_DEVICE).exists():
        with suppress(IoError):
            run(["modprobe", "fuse"])
    try:
        return os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError as error:
        raise _needs_root(errno.EACCES) from error
    except OSError as error:
        raise IoError(
            f"{_DEVICE} cannot be opened: {error.strerror}",
            code="no-fuse",
            hint="the kernel of this system has to know FUSE",
        ) from error


def _needs_root(code: int) -> RefusedError:
    return RefusedError(
        f"an image's disks cannot be mounted: {os.strerror(code)}", code="no-permission", hint="run as root"
    )


def _mount(device: int) -> int:
    context = _call("fsopen", b"fuse", _FSOPEN_CLOEXEC)
    settings = {
        "source": "rescue",
        "subtype": "rescue",
        "fd": str(device),
        "rootmode": "40000",
        "user_id": str(os.geteuid()),
        "group_id": str(os.getegid()),
    }
    try:
        for name, value in settings.items():
            _call("fsconfig", context, _SET_STRING, name.encode(), value.encode(), 0)
        for name in ("ro", "allow_other", "default_permissions"):
            _call("fsconfig", context, _SET_FLAG, name.encode(), None, 0)
        _call("fsconfig", context, _CREATE, None, None, 0)
        return _call("fsmount", context, _FSMOUNT_CLOEXEC, _READ_ONLY | _NO_SUID | _NO_DEVICES)
    finally:
        os.close(context)


def _read_far_ahead(mount: int) -> None:
    """Fewer and larger reads for whoever goes through a file from end to end; where that cannot be had, it is slower.

    It has to be said before the files are opened: each remembers what held then.
    """
    device = os.fstat(mount).st_dev
    with suppress(OSError):
        Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").write_text(str(_READ_AHEAD >> 10))


def _call(name: str, *arguments: object) -> int:
    """One of the C library's calls; raises IoError also where it does not have it, before version 2.36."""
    try:
        found: int = getattr(_libc, name)(*arguments)
    except AttributeError as error:
        raise IoError(f"an image's disks cannot be mounted: no {name} in the C library", code="no-fuse") from error
    if found < 0:
        code = ctypes.get_errno()
        if code == errno.EPERM:
            raise _needs_root(code)
        raise IoError(f"an image's disks cannot be mounted: {name}: {os.strerror(code)}", code="no-fuse")
    return found


def _serve(device: int, stop: int, folder: Folder) -> None:
    """Answer requests until the file system is gone or the other end of `stop` is closed."""
    poll = select.poll()
    poll.register(device, select.POLLIN)
    poll.register(stop, select.POLLIN)
    while True:
        if any(fd == stop for fd, _ in poll.poll()):
            return
        try:
            request = os.read(device, REQUEST_SIZE)
        except OSError as error:
            if error.errno in _AGAIN:
                continue
            if error.errno in _GONE:
                return
            raise
        reply = folder.answer(request)
        # A reader that has gone in the meantime is not answered.
        with suppress(OSError):
            if reply:
                os.writev(device, reply)
