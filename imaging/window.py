"""Where on a disk a restore may write: in one partition, or on a disk on which one partition is smaller."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from imaging import sfdisk, writer
from imaging.blockdev import opened as opened_for_reading
from imaging.changes import Shrinkage
from imaging.disk import Disk
from imaging.errors import IoError, RefusedError
from imaging.restoreplans import PartitionTarget, RestoreTarget
from imaging.writer import Target

_SECTOR = 512
"""Bytes in which sysfs counts, whatever the disk's sectors are."""


class Medium(Protocol):
    """What a restore writes to: a Target, or a Window on one."""

    @property
    def path(self) -> str:
        """Today's name."""

    @property
    def size(self) -> int:
        """The first byte past what can be written."""

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset`; raises IoError."""

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Write all of `data` at `offset`; raises IoError."""

    def is_hole(self, start: int, end: int) -> bool:
        """Whether it is known that nothing was ever written there: it reads as zeros."""

    def bring_down(self, start: int, size: int, then: Callable[[bool], object]) -> None:
        """Let a written range leave memory; `then` is called once it is on the medium. Raises IoError for any range."""

    def discard(self, start: int, end: int) -> bool:
        """Tell it that a range is not needed any more; False where it knows no such call. Raises IoError."""

    def sync(self) -> None:
        """Return once everything written is on the medium; raises IoError."""

    def announce(self, start: int, size: int) -> None:
        """Have a range read meanwhile that will be asked for soon."""

    def forget(self, start: int, size: int) -> None:
        """Let memory go that holds a range that was read."""

    def forget_cached(self) -> None:
        """Let the next reads come from the medium."""

    def reread_table(self) -> None:
        """Let the kernel see what has become of the disk."""

    def fileno(self) -> int:
        """The open descriptor of the whole disk."""


class _Elsewhere(ABC):
    """A part of a disk, or one that is laid out otherwise, at the offsets that the bytes have in the image."""

    def __init__(self, target: Target | Medium) -> None:
        self._target = target

    @property
    def path(self) -> str:
        """The device or file that is written to."""
        return self._target.path

    @abstractmethod
    def _place(self, offset: int, length: int) -> int:
        """Where bytes of the image lie on the target; raises IoError where they do not all lie there, in one piece."""

    @abstractmethod
    def _inside(self, start: int, end: int) -> tuple[int, int]:
        """The part of a range that has a place, as the image counts; empty where none has."""

    def read(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from `offset`; raises IoError."""
        self._target.read(buffer, self._place(offset, len(buffer)))

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Write all of `data` at `offset`; raises IoError, before anything is written where it is not all inside."""
        self._target.write(data, self._place(offset, memoryview(data).nbytes))

    def is_hole(self, start: int, end: int) -> bool:
        """Whether it is known that nothing was ever written there: it reads as zeros."""
        low = self._place(start, end - start)
        return self._target.is_hole(low, low + end - start)

    def bring_down(self, start: int, size: int, then: Callable[[bool], object]) -> None:
        """Let a written range leave memory; `then` is called once it is on the medium. Raises IoError for any range."""
        self._target.bring_down(self._place(start, size), size, then)

    def discard(self, start: int, end: int) -> bool:
        """Tell it that a range is not needed any more; False where it knows no such call. Raises IoError."""
        low = self._place(start, end - start)
        return self._target.discard(low, low + end - start)

    def sync(self) -> None:
        """Return once everything written is on the medium; raises IoError."""
        self._target.sync()

    def announce(self, start: int, size: int) -> None:
        """Have a range read meanwhile that will be asked for soon; what has no place here is left alone."""
        low, high = self._inside(start, start + size)
        if low < high:
            self._target.announce(self._place(low, high - low), high - low)

    def forget(self, start: int, size: int) -> None:
        """Let memory go that holds a range that was read; what has no place here is left alone."""
        low, high = self._inside(start, start + size)
        if low < high:
            self._target.forget(self._place(low, high - low), high - low)

    def forget_cached(self) -> None:
        """Let the next reads come from the medium."""
        self._target.forget_cached()


class Window(_Elsewhere):
    """`spot` of a disk, read and written at the offsets that the bytes have in the image, where they start at `origin`.

    `target` is the partition's own device, where `base` is 0, or the whole disk, where `base` is the partition's start.
    """

    def __init__(self, target: Target, disk: int, spot: PartitionTarget, *, base: int, origin: int) -> None:
        """Take a target that is held exclusively, and the open descriptor of the whole disk."""
        super().__init__(target)
        self._disk, self._spot = disk, spot
        self._base, self._origin = base, origin

    @property
    def size(self) -> int:
        """Where the partition ends, as an offset in the image."""
        return self._origin + self._spot.size

    def _place(self, offset: int, length: int) -> int:
        if not self._origin <= offset <= offset + length <= self.size:
            raise IoError(
                f"{length} bytes at byte {offset} of the image are not in partition {self._spot.partition}",
                code="outside-partition",
            )
        return offset - self._origin + self._base

    def _inside(self, start: int, end: int) -> tuple[int, int]:
        return max(start, self._origin), min(end, self.size)

    def reread_table(self) -> None:
        """The table is the same; but whoever reads the partition through the whole disk has older bytes cached."""
        writer.forget(self._disk)

    def fileno(self) -> int:
        """The whole disk, for looking at it."""
        return self._disk


class Nearer(_Elsewhere):
    """A disk on which one partition is smaller, read and written at the offsets that the bytes have in the image.

    What lies behind that partition is nearer to the start. What is no place on this disk cannot be reached.
    """

    def __init__(self, target: Medium, shrinkage: Shrinkage) -> None:
        """Take the disk, and which partition is smaller."""
        super().__init__(target)
        moved = ((one.start, one.start + one.size, one.to - one.start) for one in shrinkage.moved)
        self._spots = [(0, shrinkage.end, 0), *moved]
        """From where up to where in the image, and how much is added to that."""

    @property
    def size(self) -> int:
        """Where the last partition ends, as an offset in the image."""
        return max(end for _, end, _ in self._spots)

    def holds(self, start: int, end: int) -> bool:
        """Whether all of a range of the image lies on the target, in one piece."""
        return any(low <= start <= end <= high for low, high, _ in self._spots)

    def _place(self, offset: int, length: int) -> int:
        for low, high, by in self._spots:
            if low <= offset <= offset + length <= high:
                return offset + by
        raise IoError(f"{length} bytes at byte {offset} of the image are not on {self.path}", code="outside-partition")

    def _inside(self, start: int, end: int) -> tuple[int, int]:
        parts = ((max(start, low), min(end, high)) for low, high, _ in self._spots)
        return next((part for part in parts if part[0] < part[1]), (start, start))

    def reread_table(self) -> None:
        """Let the kernel see what has become of the disk."""
        self._target.reread_table()

    def fileno(self) -> int:
        """The open descriptor of the whole disk."""
        return self._target.fileno()


@contextmanager
def opened(pair: RestoreTarget) -> Iterator[Sequence[Medium]]:
    """What one target of a plan lets a restore write to, held exclusively: its disk, or a window on each partition.

    A partition that the kernel has a device for is held by that: others of its disk may be mounted. Else all of the
    disk is held. Raises RefusedError or IoError.
    """
    shown = pair.target
    with ExitStack() as held:
        if not pair.partitions:
            size = shown.size if pair.create else 0
            yield [held.enter_context(writer.opened(shown.path, regular_file=shown.regular_file, create_size=size))]
            return
        yield _windows(pair, held)


def _windows(pair: RestoreTarget, held: ExitStack) -> list[Window]:
    shown = pair.target
    disk = held.enter_context(opened_for_reading(shown.path))
    whole: Target | None = None
    windows = []
    for spot in pair.partitions:
        _refuse_table(shown, disk, spot)
        origin = next(volume.start for volume in pair.source.volumes if volume.number == spot.volume)
        node = "" if shown.regular_file else _node(disk, spot.partition)
        if node:
            part = held.enter_context(writer.opened(node, regular_file=False))
            _refuse_another_place(shown, disk, part, spot)
            part.forget_cached()
            windows.append(Window(part, disk, spot, base=0, origin=origin))
            continue
        if whole is None:
            whole = held.enter_context(writer.opened(shown.path, regular_file=shown.regular_file))
        windows.append(Window(whole, disk, spot, base=spot.start, origin=origin))
    return windows


def _refuse_table(shown: Disk, disk: int, spot: PartitionTarget) -> None:
    """A table can claim its own sectors, or its chain of logical partitions, as a partition's."""
    table = sfdisk.table_extents(disk, shown.table, shown.size, shown.logical_sector)
    if table.overlaps(spot.start, spot.start + spot.size):
        raise RefusedError(
            f"{shown.partition_name(spot.partition)} lies where the partition table of {shown.name} does",
            code="bad-table",
            hint="restore the whole disk",
        )


def _sysfs(fd: int) -> Path:
    """The folder of an open block device."""
    device = os.fstat(fd).st_rdev
    return Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()


def _node(disk: int, number: int) -> str:
    """The kernel's device for a partition of an open disk; empty where it has none."""
    for child in _sysfs(disk).iterdir():
        try:
            if int((child / "partition").read_text()) != number:
                continue
            facts = (child / "uevent").read_text().splitlines()
        except (OSError, ValueError):
            continue
        return next((f"/dev/{line.removeprefix('DEVNAME=')}" for line in facts if line.startswith("DEVNAME=")), "")
    return ""


def _refuse_another_place(shown: Disk, disk: int, part: Target, spot: PartitionTarget) -> None:
    """The kernel goes by the table as it was when it read it."""
    folder = _sysfs(part.fileno())
    try:
        start, size = (int((folder / name).read_text()) * _SECTOR for name in ("start", "size"))
    except (OSError, ValueError) as error:
        raise RefusedError(f"{part.path} is not a partition any more: {error}", code="disk-changed") from error
    if folder.parent != _sysfs(disk) or (start, size) != (spot.start, spot.size) or part.size != spot.size:
        raise RefusedError(
            f"{part.path} is not where the partition table of {shown.name} has partition {spot.partition}",
            code="disk-changed",
            hint="the kernel goes by an older table: restart the computer, and make a new plan",
        )
