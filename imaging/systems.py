"""Which operating systems stand on disks: looked up read-only, in processes of their own, within a time limit.

A partition that is mounted is looked at where it is mounted, any other through a read-only loop device over its bytes;
nothing of it is replayed or changed. Of LVM, logical volumes in one piece are looked into. Needs root.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from imaging import lvm, lvmgroup, peek
from imaging.blockdev import loop_over, open_for_reading, opened, read
from imaging.disk import Content, Disk, Partition, PartitionRole, TableKind
from imaging.errors import IoError, RescueError
from imaging.filesystems import probe
from imaging.release import name_of
from imaging.run import run

PATIENCE = 15.0
"""Seconds for all disks together; a volume takes less than one, unless its medium hangs."""
_BRIEFLY = 5.0
_WINDOWS = "Windows"
_KERNEL = "ntoskrnl.exe"
_FOLDERS = ("/Windows/System32", "/WINDOWS/system32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A range of a disk's bytes on which a file system stands, which belongs to the partition of this number."""

    number: int
    start: int
    size: int
    content: Content
    volume: str = ""
    """Of a logical volume, `group/volume`. One that is not in one piece has no content here."""


class Search:
    """The names of the systems of disks, looked for while other work goes on."""

    def __init__(self, disks: Iterable[Disk], patience: float = PATIENCE) -> None:
        """Begin. What does not answer within `patience` seconds from now on is as if it had none."""
        asked = list(disks)
        self._end, self._patience = time.monotonic() + patience, patience
        self._found: dict[str, dict[int, str]] = {disk.path: {} for disk in asked}
        self._threads = [threading.Thread(target=self._ask, args=(disk,), daemon=True) for disk in asked]
        for thread in self._threads:
            thread.start()

    def _ask(self, disk: Disk) -> None:
        for number, name in _each(disk, self._patience):
            self._found[disk.path].setdefault(number, name)

    def names(self) -> dict[str, dict[int, str]]:
        """Those of each disk, by its path, then by partition (0: the bare disk); waits for what has not answered."""
        for thread in self._threads:
            thread.join(max(0.0, self._end - time.monotonic()))
        return {path: dict(names) for path, names in self._found.items()}

    def __enter__(self) -> "Search":
        return self

    def __exit__(self, *_: object) -> None:
        self.names()


def all_systems(disks: Iterable[Disk], patience: float = PATIENCE) -> dict[str, dict[int, str]]:
    """The names of the systems of each disk, by its path, then by partition (0: the bare disk).

    Takes at most `patience` seconds; what did not answer by then is as if it had none.
    """
    return Search(disks, patience).names()


def systems(disk: Disk, patience: float = PATIENCE) -> Mapping[int, str]:
    """The names of the systems of one disk, by partition; none where it does not answer in time."""
    return all_systems([disk], patience)[disk.path]


def _each(disk: Disk, patience: float) -> Iterator[tuple[int, str]]:
    """Partition and system, as they are found; what cannot be looked at has none."""
    if os.geteuid() != 0 or disk.problem:
        return
    try:
        with opened(disk.path) as fd:
            for place in places(disk, fd):
                name = _look(disk, place, patience)
                if name:
                    yield place.number, name
    except RescueError:
        return


def places(disk: Disk, fd: int) -> Iterator[Place]:
    """What a disk, open at `fd`, has file systems on; LVM that cannot be read is one place."""
    if disk.table.kind is TableKind.NONE:
        yield Place(number=0, start=0, size=disk.size, content=disk.content)
        return
    for part in disk.table.partitions:
        if part.role is PartitionRole.EXTENDED or part.unfinished or not 0 < part.size <= disk.size - part.start:
            continue
        if part.content.kind == "LVM2_member":
            yield from _inside(disk, part, fd)
        else:
            yield Place(number=part.number, start=part.start, size=part.size, content=part.content)


def _inside(disk: Disk, part: Partition, fd: int) -> Iterator[Place]:
    """The logical volumes of a physical one that lie in one piece."""

    def inside(at: int, size: int) -> bytes:
        if at < 0 or size < 0 or at + size > part.size:
            raise IoError(f"LVM names {size} bytes at {at} of {part.size}", code="bad-lvm")
        return read(fd, size, part.start + at)

    try:
        label = lvm.read_label(inside, part.size)
        group = lvmgroup.parse_group(lvm.committed_text(inside, label))
        placed = lvmgroup.placed_on(group, lvmgroup.physical_volume(group, label, part.size))
    except RescueError:
        yield Place(number=part.number, start=part.start, size=part.size, content=part.content)
        return
    for volume in placed:
        if len(volume.taken) != 1 or volume.why:
            yield Place(number=part.number, start=part.start, size=volume.size, content=Content(), volume=volume.name)
            continue
        ((start, end),) = volume.taken
        content = probe(disk.path, part.start + start, end - start)
        yield Place(number=part.number, start=part.start + start, size=end - start, content=content, volume=volume.name)


def _look(disk: Disk, place: Place, patience: float) -> str:
    if place.content.kind not in peek.OPTIONS and place.content.kind != "ntfs":
        return ""
    try:
        with reached(disk, place) as (kind, where):
            return (
                (_WINDOWS if is_windows(where, patience) else "") if kind == "ntfs" else _peeked(kind, where, patience)
            )
    except RescueError:
        return ""


@contextmanager
def reached(disk: Disk, place: Place) -> Iterator[tuple[str, str]]:
    """What peek is to be given for a place, its kind and a path: where it is mounted, else a read-only loop device.

    Of NTFS it is the device in any case. Raises IoError, RefusedError.
    """
    kind, where = place.content.kind, _mounted_at(disk, place)
    if where:
        yield "dir", where
        return
    file = open_for_reading(disk.path)
    try:
        with loop_over(file, offset=place.start, size=place.size, sector=disk.logical_sector) as loop:
            try:
                yield kind, loop
            finally:
                _forget(kind, loop)
    finally:
        os.close(file)


def _forget(kind: str, loop: str) -> None:
    """The kernel remembers where it saw a btrfs, and a copy on another disk bears the same identity."""
    if kind == "btrfs":
        with suppress(RescueError):
            run(["btrfs", "device", "scan", "--forget", loop], accept=range(-64, 256), timeout=_BRIEFLY)


def _mounted_at(disk: Disk, place: Place) -> str:
    """Where the partition is mounted, if it is: two drivers at work on one btrfs would not bear each other."""
    if disk.regular_file or place.content.kind == "ntfs":
        return ""
    infix = "p" if disk.path[-1].isdigit() else ""
    node = f"{disk.path}{infix}{place.number}" if place.number else disk.path
    return next((mount.where for mount in disk.mounts if mount.source == node and mount.where.startswith("/")), "")


def _peeked(kind: str, where: str, patience: float) -> str:
    # Isolated: "-m" would look for modules in the present folder first, which may be that of a stick.
    done = run([sys.executable, "-I", peek.__file__, kind, where], accept=range(-64, 256), timeout=patience)
    if done.status != 0:
        return ""
    path, _, text = done.stdout.partition("\n")
    return name_of(path, text)


def is_windows(device: str, patience: float | None = None) -> bool:
    """Whether an NTFS volume has Windows' kernel; libntfs reads it read-only, also one that is hibernated.

    Raises IoError where that takes more than `patience` seconds.
    """
    for folder in _FOLDERS:
        done = run(["ntfsls", "--force", "--path", folder, device], accept=range(-64, 256), timeout=patience)
        if done.status == 0 and _KERNEL in done.stdout.lower().split():
            return True
    return False
