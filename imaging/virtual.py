"""Files that this process makes up, opened or mounted as if they lay on a disk: the kernel's side of imaging.fuse.

Without libfuse: its versions 2 and 3 differ in name and interface among the systems that this must run on, and both
take over the process's signals. A mount that was never attached anywhere is gone with the process that serves it.
Source: Linux Documentation/filesystems/fuse.rst.
"""

import errno
import os
import select
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from imaging import newmounts
from imaging.errors import IoError
from imaging.fuse import REQUEST_SIZE, Folder, VirtualFile, WritableFile
from imaging.run import run

_DEVICE = "/dev/fuse"
_WHAT = "an image's disks"
_GONE = (errno.ENODEV, errno.EBADF, errno.ECONNABORTED)
"""What a server reads once its file system is gone; the last where that happens while it asks."""
_AGAIN = (errno.EAGAIN, errno.EINTR, errno.ENOENT)
_FEWEST_THREADS = 2
_READ_AHEAD = 4 << 20
"""Bytes that the kernel asks for ahead of somebody who reads a file from end to end: a chunk, in several requests.

With less he waits for each answer while a core has nothing to do.
"""


@contextmanager
def opened(files: Mapping[str, VirtualFile]) -> Iterator[dict[str, int]]:
    """Descriptors of the files, open for reading, and for writing where they can be written to; needs root.

    No path leads to them, and they die with this process.

    Until the end of the context this process serves them with threads of its own. Whatever still reads them then,
    such as a loop device, is told that they are gone. Raises RefusedError without root, IoError.
    """
    writable = any(isinstance(file, WritableFile) for file in files.values())
    with _served(files, writable=writable) as mount, ExitStack() as stack:
        found = {}
        for name, file in files.items():
            way = os.O_RDWR if isinstance(file, WritableFile) else os.O_RDONLY
            fd = os.open(name, way | os.O_CLOEXEC, dir_fd=mount)
            stack.callback(os.close, fd)
            found[name] = fd
        yield found


@contextmanager
def mounted(files: Mapping[str, VirtualFile], where: Path) -> Iterator[Path]:
    """The files in the folder `where`, for anyone whom its rights let in; needs root.

    What an earlier process that was killed has left mounted there is taken away first. Raises RefusedError without
    root, IoError.
    """
    newmounts.clear(where)
    with _served(files) as mount:
        newmounts.attach(mount, where, _WHAT)
        try:
            yield where
        finally:
            newmounts.release(where)


@contextmanager
def _served(files: Mapping[str, VirtualFile], *, writable: bool = False) -> Iterator[int]:
    """A mount that is attached nowhere, and the threads that serve it."""
    device = _open_device()
    stop, stopper = os.pipe2(os.O_CLOEXEC)
    folder = Folder(files, user=os.geteuid(), group=os.getegid())
    threads = [
        threading.Thread(target=_serve, args=(device, stop, folder), name="fuse", daemon=True)
        for _ in range(max(_FEWEST_THREADS, os.cpu_count() or 1))
    ]
    try:
        mount = _mount(device, writable=writable)
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
        raise newmounts.needs_root(_WHAT, errno.EACCES) from error
    except OSError as error:
        raise IoError(
            f"{_DEVICE} cannot be opened: {error.strerror}",
            code="no-fuse",
            hint="the kernel of this system has to know FUSE",
        ) from error


def _mount(device: int, *, writable: bool) -> int:
    settings = {
        "source": "rescue",
        "subtype": "rescue",
        "fd": str(device),
        "rootmode": "40000",
        "user_id": str(os.geteuid()),
        "group_id": str(os.getegid()),
    }
    return newmounts.detached("fuse", settings, ("allow_other", "default_permissions"), _WHAT, writable=writable)


def _read_far_ahead(mount: int) -> None:
    """Fewer and larger reads for whoever goes through a file from end to end; where that cannot be had, it is slower.

    It has to be said before the files are opened: each remembers what held then.
    """
    device = os.fstat(mount).st_dev
    with suppress(OSError):
        Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").write_text(str(_READ_AHEAD >> 10))


def _serve(device: int, stop: int, folder: Folder) -> None:
    """Answer requests until the file system is gone or the other end of `stop` is closed."""
    with select.epoll() as poll:
        # Of the threads that wait only one is woken for each request.
        poll.register(device, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        poll.register(stop, select.EPOLLIN)
        while all(fd != stop for fd, _ in poll.poll()):
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
