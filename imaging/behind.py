"""Bringing what was written down to the medium while the writing goes on, a few chunks behind it.

Without that the kernel keeps written data in memory, up to a fifth of it: progress would be told of bytes that are on
no disk yet, the last sync would take minutes, and a small live system would have no memory left.
"""

import ctypes
import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE)
"""What file systems answer that keep nothing behind, or cannot bring down a part."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

Then = Callable[[bool], object]
"""Told whether the range is on the medium; called once in any case, so that it can let go of what it holds."""


class WriteBehind:
    """A queue of written ranges, from any thread: each is on the medium before `depth` more were written.

    On the medium but for the drive's own cache, which the sync at the end of every job empties. Source:
    sync_file_range(2).
    """

    def __init__(self, depth: int) -> None:
        """Take how many ranges may be on their way at once."""
        self._depth = depth
        self._lock = threading.Lock()
        self._queue: deque[tuple[int, int, int, Then]] = deque()

    def wrote(self, fd: int, start: int, size: int, then: Then) -> None:
        """A range was written; `then` is called, in some thread, once it left memory. Raises OSError for any range."""
        try:
            _sync(fd, start, size, _WRITE)
        except OSError:
            then(False)
            raise
        with self._lock:
            self._queue.append((fd, start, size, then))
            oldest = self._queue.popleft() if len(self._queue) > self._depth else None
        if oldest is not None:
            _bring_down(*oldest)

    def drain(self) -> None:
        """Wait for all ranges; calls every `then`, and raises the first OSError after that."""
        failure: OSError | None = None
        while True:
            with self._lock:
                oldest = self._queue.popleft() if self._queue else None
            if oldest is None:
                break
            try:
                _bring_down(*oldest)
            except OSError as error:
                failure = failure or error
        if failure is not None:
            raise failure


def _bring_down(fd: int, start: int, size: int, then: Then) -> None:
    try:
        _sync(fd, start, size, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)
    except OSError:
        then(False)
        raise
    forget(fd, start, size)
    then(True)


def _sync(fd: int, start: int, size: int, how: int) -> None:
    if _libc.sync_file_range(fd, start, size, how):
        code = ctypes.get_errno()
        if code not in _NOT_HERE:
            raise OSError(code, os.strerror(code))


def announce(fd: int, start: int, size: int) -> None:
    """Have the kernel read a range of a file or device meanwhile, to be read soon; `size` 0 is up to its end."""
    with suppress(OSError):
        os.posix_fadvise(fd, start, size, os.POSIX_FADV_WILLNEED)


def forget(fd: int, start: int, size: int) -> None:
    """Let memory go that holds a range of a file or device; what was not brought down yet stays."""
    with suppress(OSError):  # advice: where it cannot be taken, nothing is lost but memory
        os.posix_fadvise(fd, start, size, os.POSIX_FADV_DONTNEED)
