"""Reads of a volume's structures that never reach beyond it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imaging.errors import IoError

Read = Callable[[int, int], bytes]
"""Read so many bytes from an offset of the volume, `read(offset, size)`; raises IoError."""

PIECE = 1 << 20
"""Bytes that long tables are read by."""


def bad_map(what: str) -> IoError:
    """The error of a used map that does not add up; `what` is in words, for a person."""
    return IoError(what, code="bad-map")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A volume of `size` bytes; a read beyond it raises IoError (code "bad-map") before anything is allocated."""

    read: Read
    size: int

    def __call__(self, at: int, size: int) -> bytes:
        if at < 0 or size < 0 or at + size > self.size:
            raise bad_map(f"its structures point beyond its end: {size} bytes at byte {at} of {self.size}")
        data = self.read(at, size)
        if len(data) != size:
            raise bad_map(f"it ends early: at byte {at} there are {len(data)} bytes, not {size}")
        return data

    def pieces(self, at: int, size: int) -> Iterator[bytes]:
        """The bytes from `at`, by pieces that fit in memory."""
        for start in range(at, at + size, PIECE):
            yield self(start, min(PIECE, at + size - start))
