"""Disks that other programs have made images of, as this program reads them: what it imports, and restores from."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from imaging.extents import Extents
from imaging.manifest import Machine

PIECE = 4 << 20
"""Bytes that no piece of a disk exceeds."""
MOST_BYTES = 64 << 40
"""Of a disk: a short file can claim any size, or unpack without end, and each chunk of it takes memory."""


class ForeignDisk(Protocol):
    """One disk of a foreign image; sizes and offsets are bytes."""

    @property
    def name(self) -> str:
        """What it is called in the image that is made of it: no path, nothing that a file's name cannot hold."""

    @property
    def size(self) -> int | None:
        """None where only the end of the pieces tells: then the disk ends where the last of them does."""

    @property
    def sector(self) -> int:
        """Bytes of a logical sector."""

    @property
    def used(self) -> Extents | None:
        """What holds data; None where that is not known."""

    @property
    def left_out(self) -> frozenset[int]:
        """The numbers of partitions that stand in its table, and that the image has not."""

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Offset and data of all that there is, rising, never overlapping, none longer than PIECE.

        What lies between pieces is unused, or zero where `used` is None; an empty piece says how far it has come where
        there is nothing. Can be asked for more than once, and begins anew each time; whoever stops before the end
        closes it. Raises BadImageError where the image is cut short or damaged, IoError.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignImage:
    """An image that another program has made; `kind` says of what kind, for a person, as in "Clonezilla image"."""

    kind: str
    disks: tuple[ForeignDisk, ...]
    label: str = ""
    created: str = ""
    """When, in RFC 3339 in UTC, to the second; empty where that is not known."""
    machine: Machine = field(default_factory=Machine)


@contextmanager
def closed(pieces: Iterator[tuple[int, bytes]]) -> Iterator[Iterator[tuple[int, bytes]]]:
    """Whoever makes the pieces lets go of what it holds open at the end of the context."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, Generator):
            pieces.close()
