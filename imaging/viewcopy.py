"""What of a file system was changed in memory, brought from its view to the target, and read back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from imaging.blockdev import read
from imaging.chunk import digest
from imaging.errors import IoError
from imaging.extents import Extents
from imaging.pipeline import Counter
from imaging.window import Medium

_AT_ONCE = 4 << 20
"""Bytes that are copied at a time."""


@dataclass(slots=True, kw_only=True)
class ViewCopy:
    """`ranges` of an image's disk, of which the view `file` shows what is from `start` on; `passed` hears of each."""

    file: int
    start: int
    ranges: Extents
    passed: Callable[[int], None]
    _proofs: list[tuple[int, int, bytes]] = field(default_factory=list)
    """What was written, from where up to where, and its BLAKE3."""

    def write(self, target: Medium, begin: Callable[[], None], counts: Counter) -> None:
        """Write what differs; `begin` comes before the first write. Raises IoError, and what the two raise."""
        self._proofs = []
        for low, high in self._pieces():
            data = self._shown(low, high)
            counts.add("compared")
            if _held(target, low, high) == data:
                counts.add("skipped")
            else:
                begin()
                target.write(data, low)
                self._proofs.append((low, high, digest(data)))
                counts.add("written")
                counts.add("written_bytes", high - low)
            self.passed(high - low)

    def _pieces(self) -> Iterator[tuple[int, int]]:
        for low, high in self.ranges:
            yield from ((at, min(at + _AT_ONCE, high)) for at in range(low, high, _AT_ONCE))

    def _shown(self, low: int, high: int) -> bytes:
        try:
            return read(self.file, high - low, low - self.start)
        except IoError as error:
            raise IoError(
                f"what the changed file system has at byte {low - self.start} cannot be read from the image",
                code="read-failed",
                hint="`rescue verify` says whether the image is whole",
            ) from error

    @property
    def written(self) -> int:
        """Bytes that were written."""
        return sum(high - low for low, high, _ in self._proofs)

    def differing(self, target: Medium) -> int | None:
        """The first place at which the medium does not hold what was written; None where it holds all of it."""
        for low, high, proof in self._proofs:
            held = _held(target, low, high)
            if held is None or digest(held) != proof:
                return low
            self.passed(high - low)
        return None


def _held(target: Medium, low: int, high: int) -> bytes | None:
    """What the target holds there; None where it cannot be read, which may still be written."""
    found = bytearray(high - low)
    try:
        target.read(memoryview(found), low)
    except IoError:
        return None
    return bytes(found)
