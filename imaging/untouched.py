"""The proof that nothing was written to what was to be left alone, while a disk of the running system was captured."""

from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from imaging import sfdisk, uses
from imaging.blockdev import opened, read
from imaging.disk import Disk
from imaging.errors import IoError
from imaging.extents import Extents

_MOST_HEAD = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What must not change of a disk, as it was when the disk was taken."""

    disk: Disk
    apart: tuple[int, ...]
    """The partitions that nobody was to write to."""
    outside: str
    marks: dict[int, tuple[int, ...]]

    @classmethod
    def of(cls, disk: Disk, apart: Sequence[int], fd: int) -> "Proof":
        """The disk now, open as `fd`. Raises IoError."""
        marks = dict(uses.marks(disk, apart))
        return cls(disk=disk, apart=tuple(apart), outside=_outside(disk, fd), marks=marks)

    def refuse_if_changed(self) -> None:
        """Raise IoError where something was written that nobody was to write to."""
        with opened(self.disk.path) as fd:  # anew: what was read before may be remembered
            if _outside(self.disk, fd) != self.outside:
                raise _changed(self.disk.name)
        now = uses.marks(self.disk, self.apart)
        for number in self.apart:
            if self.marks.get(number) != now.get(number):
                raise _changed(self.disk.partition_name(number))


def _outside(disk: Disk, fd: int) -> str:
    """A digest of the partition table and of what lies before the first partition."""
    first = min((part.start for part in disk.table.partitions), default=0)
    hasher = blake3()
    table = sfdisk.table_extents(fd, disk.table, disk.size, disk.logical_sector)
    for start, end in Extents([(0, min(first, _MOST_HEAD))]).union(table):
        hasher.update(read(fd, end - start, start))
    return hasher.hexdigest()


def _changed(name: str) -> IoError:
    return IoError(
        f"{name} was written to while it was captured",
        code="source-changed",
        hint="make sure that nothing writes to it, and capture it again",
    )
