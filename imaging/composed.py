"""A disk put together from pieces: of the disk itself, of snapshots, of copies. What no piece covers is zero."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from imaging.errors import IoError
from imaging.fuse import Reply

Read = Callable[[int, int], bytes]
"""Read from an offset so many bytes; raises IoError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The bytes from `start` to `end` of the disk, which `read` has from its offset `at` on."""

    start: int
    end: int
    read: Read
    at: int = 0


class Composed:
    """The pieces as one file of `size` bytes (imaging.fuse.VirtualFile)."""

    def __init__(self, size: int, pieces: Iterable[Piece]) -> None:
        """Take the pieces; raises IoError (code "bad-pieces") where two overlap or one leaves the disk."""
        self.size = size
        self._pieces = sorted((piece for piece in pieces if piece.start < piece.end), key=lambda piece: piece.start)
        at = 0
        for piece in self._pieces:
            if piece.start < at or piece.end > size:
                raise IoError(
                    f"what is at bytes {piece.start} to {piece.end} of the disk is not known for certain",
                    code="bad-pieces",
                )
            at = piece.end
        self._starts = [piece.start for piece in self._pieces]

    def read(self, offset: int, size: int) -> Reply:
        """As VirtualFile."""
        parts: list[bytes] = []
        at, stop = offset, offset + size
        first = max(0, bisect_right(self._starts, offset) - 1)
        for piece in self._pieces[first:]:
            if piece.start >= stop:
                break
            low, high = max(at, piece.start), min(stop, piece.end)
            if low >= high:
                continue
            if low > at:
                parts.append(bytes(low - at))
            parts.append(piece.read(piece.at + low - piece.start, high - low))
            at = high
        if at < stop:
            parts.append(bytes(stop - at))
        return parts
