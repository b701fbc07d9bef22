"""Reading a disk that has bad sectors: what can be read is, what cannot becomes zeros and is remembered."""

import threading
from collections.abc import Callable

from imaging.behind import announce, forget
from imaging.blockdev import read_exactly, size_of
from imaging.errors import IoError
from imaging.extents import Extents

_PIECE = 64 << 10
_TRIES = 3
"""How often a sector is asked for before it is given up; the drive itself has tried many times by then."""
_MOST_RANGES = 10_000
"""Ranges that a manifest holds; beyond that the nearest are told as one."""


class Salvage:
    """Reads a disk that is open; use from any thread. What no read brought is in `unreadable` in the end."""

    def __init__(
        self, fd: int, name: str, sector: int, stop_if_asked: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        """Take the disk and its physical sector size in bytes, what raises when it should end, and who is told."""
        self._fd, self._name, self._sector = fd, name, max(512, sector)
        self._stop_if_asked, self._tell = stop_if_asked, tell
        self._lock = threading.Lock()
        self._lost: list[tuple[int, int]] = []

    @property
    def unreadable(self) -> Extents:
        """Where the disk could not be read: zeros were given in place of what stands there."""
        with self._lock:
            return _coarsened(Extents(self._lost))

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset`; raises IoError (code "source-gone") where the whole disk does not answer."""
        try:
            read_exactly(self._fd, buffer, offset)
        except IoError as error:
            self._pieces(buffer, offset, error)

    def announce(self, start: int, size: int) -> None:
        """Have a range read meanwhile that will be asked for soon."""
        announce(self._fd, start, size)

    def forget(self, start: int, size: int) -> None:
        """Let memory go that holds a range that was read."""
        forget(self._fd, start, size)

    def _pieces(self, buffer: memoryview, offset: int, error: IoError) -> None:
        """In smaller pieces, and where those fail, sector by sector; pieces end at multiples of their size."""
        lost = 0
        at = offset
        while at < offset + len(buffer):
            end = min(offset + len(buffer), at - at % _PIECE + _PIECE)
            piece = buffer[at - offset : end - offset]
            try:
                read_exactly(self._fd, piece, at)
            except IoError:
                self._refuse_if_gone(error)
                lost += self._sectors(piece, at)
            at = end
        if lost:
            self._tell(f"{lost:,} bytes at byte {offset:,} of {self._name} cannot be read: zeros are stored for them")

    def _sectors(self, buffer: memoryview, offset: int) -> int:
        lost = 0
        at = offset
        while at < offset + len(buffer):
            self._stop_if_asked()
            end = min(offset + len(buffer), at - at % self._sector + self._sector)
            piece = buffer[at - offset : end - offset]
            if not self._sector_is_read(piece, at):
                piece[:] = bytes(len(piece))
                lost += len(piece)
                with self._lock:
                    self._lost.append((at, end))
            at = end
        return lost

    def _sector_is_read(self, buffer: memoryview, offset: int) -> bool:
        for _ in range(_TRIES):
            try:
                read_exactly(self._fd, buffer, offset)
            except IoError:
                continue
            return True
        return False

    def _refuse_if_gone(self, error: IoError) -> None:
        """A disk that was unplugged fails everywhere: its image would be of zeros.

        Its first, middle and last sector are asked for anew, not taken from memory: all of them have to fail.
        """
        size = size_of(self._fd)
        for at in {0, size // 2 - size // 2 % self._sector, size - size % self._sector - self._sector}:
            forget(self._fd, max(0, at), self._sector)
            try:
                return read_exactly(self._fd, memoryview(bytearray(self._sector)), max(0, at))
            except IoError:
                continue
        raise IoError(
            f"{self._name} does not answer any more: {error.message}",
            code="source-gone",
            hint="check its cable and power, and capture it again",
        ) from error


def _coarsened(ranges: Extents) -> Extents:
    """At most so many ranges as a manifest holds, by taking in what lies between the nearest."""
    gap = 4096
    while len(ranges) > _MOST_RANGES:
        wide = Extents.rising((start, end + gap) for start, end in ranges)
        ranges = Extents.rising((start, end - gap) for start, end in wide)
        gap *= 2
    return ranges
