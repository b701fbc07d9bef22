"""A copy-on-write view of a file that must not be written to: what is written stays in memory, and ends with it.

With it a file system that was not closed cleanly can be mounted: its journal is replayed into the view.
"""

import errno
import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from imaging.blockdev import read
from imaging.fuse import Reply, VirtualFile

PAGE = 4096
"""Bytes by which what was written is kept."""
_MOST_WRITTEN = 512 << 20
"""Bytes that are kept at most. Of a journal only what is not on the disk yet is written."""
_SHARE = 4
"""Of the memory that is free now one view takes no more than the part of that number."""


def most_written() -> int:
    """How many bytes a view may keep on this computer now."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return _MOST_WRITTEN
    return min(_MOST_WRITTEN, free // _SHARE)


class Range:
    """`size` bytes of an open device or file from `start` on, as a file."""

    def __init__(self, fd: int, start: int, size: int) -> None:
        """Take a descriptor that is open for reading as long as this is read."""
        self._fd, self._start, self.size = fd, start, size

    def read(self, offset: int, size: int) -> Reply:
        """Exactly these bytes; raises IoError."""
        return (read(self._fd, size, self._start + offset),)


class Overlay:
    """`base` with what was written to it since; safe for several threads."""

    def __init__(self, base: VirtualFile, most: int | None = None) -> None:
        """Begin with nothing written; `most` bytes can be, by default a part of the memory that is free."""
        self._base, self._most = base, most_written() if most is None else most
        self.size = base.size
        self._lock = threading.Lock()
        self._pages: dict[int, bytearray] = {}
        self._numbers: list[int] = []
        """Those of the pages that were written to, rising."""

    @property
    def written(self) -> int:
        """Bytes of the pages that were written to."""
        return len(self._pages) * PAGE

    def read(self, offset: int, size: int) -> Reply:
        """Exactly these bytes, never past the end, in parts; raises what `base` raises."""
        parts: list[bytes | bytearray | memoryview] = []
        end = offset + size
        for at, page in self._written_in(offset, end):
            if at > offset:
                parts += self._base.read(offset, at - offset)
            low, high = max(at, offset), min(at + PAGE, end)
            parts.append(page[low - at : high - at])
            offset = high
        if offset < end:
            parts += self._base.read(offset, end - offset)
        return parts

    def _written_in(self, start: int, end: int) -> Sequence[tuple[int, bytes]]:
        with self._lock:
            low = bisect_left(self._numbers, start // PAGE)
            high = bisect_right(self._numbers, (end - 1) // PAGE)
            return [(number * PAGE, bytes(self._pages[number])) for number in self._numbers[low:high]]

    def write(self, offset: int, data: bytes) -> None:
        """Keep what is written.

        Raises OSError (ENOSPC) past the end or once too much is kept, and what `base` raises.
        """
        end = offset + len(data)
        if end > self.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for number in range(offset // PAGE, -(-end // PAGE)):
            at = number * PAGE
            low, high = max(at, offset), min(at + PAGE, end)
            known = b"" if (low, high) == (at, at + PAGE) else self._page(at)
            with self._lock:
                if number not in self._pages:
                    if self.written >= self._most:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    self._numbers.insert(bisect_left(self._numbers, number), number)
                    self._pages[number] = bytearray(known or PAGE)
                self._pages[number][low - at : high - at] = data[low - offset : high - offset]

    def _page(self, at: int) -> bytes:
        """What a page holds in the base; zeros follow its end."""
        size = min(PAGE, self.size - at)
        return b"".join(bytes(part) for part in self._base.read(at, size)).ljust(PAGE, b"\0")
