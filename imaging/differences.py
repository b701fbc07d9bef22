"""What differs between two images, or between an image and a disk, volume by volume: looks only.

Between images nothing but indexes, digest tables and used maps is read: what differs is known in parts of a chunk. Of a
disk, what the image says is used is read and compared by the same digests.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from imaging.behind import forget
from imaging.blockdev import opened, read_exactly
from imaging.content import Content
from imaging.disk import Disk, Partition, PartitionRole, PartitionTable
from imaging.errors import BadImageError, CancelledError
from imaging.extents import Extents
from imaging.library import DiskFiles, Library
from imaging.manifest import Image, ImagedDisk, Volume
from imaging.pipeline import ChunkBuffer, Counter, run_all

_EVERY = 4096
"""Chunks between two looks at whether to stop."""

Tell = Callable[[int, int], None]
"""Told how many bytes, of how many, were compared."""


class State(StrEnum):
    """What became of a volume, or of a disk, from the first to the second."""

    SAME = "same"
    DIFFERENT = "different"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDifference:
    """One volume. `compared` bytes are used in either; of these `different` lie in parts that are not the same."""

    number: int
    """The partition's in the first; in the second where it was added. 0 is a disk without a table."""
    other: int
    """In the second; in the first where it was removed."""
    kind: str
    label: str
    state: State
    compared: int
    different: int = 0

    @property
    def equal(self) -> int:
        """Bytes."""
        return self.compared - self.different


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskDifference:
    """One disk: its name in the first and in the second, empty where it is not there."""

    disk: str
    other: str
    state: State
    table: State
    volumes: tuple[VolumeDifference, ...] = ()
    outside: State | None = None
    """What is used outside of volumes: table, boot code, gaps; None where there is but one of them."""


def between_images(
    first: Library, image: Image, second: Library, other: Image, cancel: threading.Event
) -> Sequence[DiskDifference]:
    """What differs between two images, which may be of two libraries. Raises BadImageError, IoError, CancelledError."""
    found = []
    for mine, theirs in _pairs(image.disks, other.disks):
        if mine is not None and theirs is not None:
            a, b = first.files(image, mine), second.files(other, theirs)
            found.append(_compared(mine, theirs, a, b, cancel))
        elif mine is not None:
            found.append(_alone(mine, State.REMOVED))
        elif theirs is not None:
            found.append(_alone(theirs, State.ADDED))
    return found


def with_disk(content: Content, disk: Disk, cancel: threading.Event, tell: Tell) -> DiskDifference:
    """What differs between a disk of an image and a disk, which is only read. Raises IoError, CancelledError."""
    source, partitions = content.disk, disk.table.partitions
    whole = Partition(number=0, start=0, size=disk.size, type="")
    volumes, counts = [], _Told(tell, content.used.total)
    taken: set[int] = set()
    with opened(disk.path) as fd:
        for volume in source.volumes:
            part = _partition_for(source, volume, partitions, whole)
            if part is None:
                volumes.append(_lone(volume, State.REMOVED))
                continue
            taken.add(part.number)
            volumes.append(_read(content, volume, part, fd, cancel, counts))
        outside = _read_outside(content, disk.size, fd, cancel, counts)
    known = taken | {part.number for part in source.left_out}
    for part in partitions:
        if part.number not in known and part.role is not PartitionRole.EXTENDED:
            volumes.append(
                VolumeDifference(
                    number=part.number,
                    other=part.number,
                    kind=part.content.kind,
                    label=part.content.label,
                    state=State.ADDED,
                    compared=part.size,
                )
            )
    found = _disk(source.name, disk.name, _table(source.table, disk.table), volumes)
    return replace(found, outside=outside, state=outside if outside is State.DIFFERENT else found.state)


class _Told:
    """Bytes that were compared, told as they grow."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell, self._total, self._done = tell, total, Counter()

    def add(self, size: int) -> None:
        self._done.add("bytes", size)
        self._tell(self._done["bytes"], self._total)


def _pairs(
    first: Sequence[ImagedDisk], second: Sequence[ImagedDisk]
) -> Iterator[tuple[ImagedDisk | None, ImagedDisk | None]]:
    """The disks of two images that are one and the same; else those of one name; else the only ones that are left."""
    left = list(second)
    waiting = []
    for mine in first:
        same = next((theirs for theirs in left if theirs.id.same_disk(mine.id)), None)
        same = same or next((theirs for theirs in left if theirs.name == mine.name), None)
        if same is None:
            waiting.append(mine)
        else:
            left.remove(same)
            yield mine, same
    if len(waiting) == len(left) == 1:
        yield waiting[0], left[0]
        return
    for mine in waiting:
        yield mine, None
    for theirs in left:
        yield None, theirs


def _alone(disk: ImagedDisk, state: State) -> DiskDifference:
    volumes = tuple(_lone(volume, state) for volume in disk.volumes)
    mine, theirs = (disk.name, "") if state is State.REMOVED else ("", disk.name)
    return DiskDifference(disk=mine, other=theirs, state=state, table=state, volumes=volumes)


def _lone(volume: Volume, state: State) -> VolumeDifference:
    return _difference(volume, volume.number, state, volume.used)


def _difference(volume: Volume, other: int, state: State, compared: int, different: int = 0) -> VolumeDifference:
    return VolumeDifference(
        number=volume.number,
        other=other,
        kind=volume.content.kind,
        label=volume.content.label,
        state=state,
        compared=compared,
        different=different,
    )


def _disk(disk: str, other: str, table: State, volumes: Sequence[VolumeDifference]) -> DiskDifference:
    same = table is State.SAME and all(volume.state is State.SAME for volume in volumes)
    state = State.SAME if same else State.DIFFERENT
    return DiskDifference(disk=disk, other=other, state=state, table=table, volumes=tuple(volumes))


def _table(first: PartitionTable, second: PartitionTable) -> State:
    """Whether two tables say the same; what stands on the partitions is another matter."""

    def said(table: PartitionTable) -> object:
        parts = [(p.number, p.start, p.size, p.type, p.role, p.name, p.uuid, p.bootable) for p in table.partitions]
        return table.kind, table.table_id, sorted(parts)

    return State.SAME if said(first) == said(second) else State.DIFFERENT


def _uuid(source: ImagedDisk, number: int) -> str:
    return next((part.uuid for part in source.table.partitions if part.number == number), "")


def _compared(
    mine: ImagedDisk, theirs: ImagedDisk, a: DiskFiles, b: DiskFiles, cancel: threading.Event
) -> DiskDifference:
    volumes, left = [], list(theirs.volumes)
    for volume in mine.volumes:
        uuid = _uuid(mine, volume.number)
        same = [other for other in left if uuid and _uuid(theirs, other.number) == uuid]
        same = same or [other for other in left if other.number == volume.number]
        if not same:
            volumes.append(_lone(volume, State.REMOVED))
            continue
        left.remove(same[0])
        compared, different = _by_digests(a, volume, b, same[0], cancel)
        state = State.DIFFERENT if different or volume.size != same[0].size else State.SAME
        volumes.append(_difference(volume, same[0].number, state, compared, different))
    volumes += [_lone(volume, State.ADDED) for volume in left]
    found = _disk(mine.name, theirs.name, _table(mine.table, theirs.table), volumes)
    outside = _outside(mine, theirs, a, b, cancel)
    return replace(found, outside=outside, state=outside if outside is State.DIFFERENT else found.state)


def _outside(mine: ImagedDisk, theirs: ImagedDisk, a: DiskFiles, b: DiskFiles, cancel: threading.Event) -> State:
    """Whether two disks hold the same where they are used and no volume is."""
    first, second = (Partition(number=0, start=0, size=disk.size, type="") for disk in (mine, theirs))
    used = _beside(a, mine).union(_beside(b, theirs))
    same = used.minus(Extents.rising(_differing(a, first, b, second, cancel)))
    return State.SAME if same == used else State.DIFFERENT


def _beside(files: DiskFiles, disk: ImagedDisk) -> Extents:
    return files.used.minus(Extents((volume.start, volume.start + volume.size) for volume in disk.volumes))


def _by_digests(a: DiskFiles, mine: Volume, b: DiskFiles, theirs: Volume, cancel: threading.Event) -> tuple[int, int]:
    """Bytes that are used in either of two volumes, and those of them in parts that are not the same."""
    used = _used(a, mine).union(_used(b, theirs))
    differing = Extents.rising(_differing(a, mine, b, theirs, cancel))
    return used.total, used.total - used.minus(differing).total


def _used(files: DiskFiles, volume: Volume) -> Extents:
    return files.used.clipped(volume.start, volume.start + volume.size).shifted(-volume.start)


def _differing(
    a: DiskFiles, mine: Volume | Partition, b: DiskFiles, theirs: Volume | Partition, cancel: threading.Event
) -> Iterator[tuple[int, int]]:
    """The ranges, from the volumes' starts, that chunks cover which the other does not have at the same place."""
    i, j = a.index.find(mine.start), b.index.find(theirs.start)
    at = steps = 0
    end = max(mine.size, theirs.size)
    while at < end:
        steps += 1
        if steps % _EVERY == 0 and cancel.is_set():
            raise CancelledError("stopped")
        here, there = _span(a, i, mine), _span(b, j, theirs)
        following = min(here[1], there[1], end)
        if here != there or a.digests[i] != b.digests[j]:
            yield at, following
        i, j = i + (here[1] == following), j + (there[1] == following)
        at = following


def _span(files: DiskFiles, i: int, volume: Volume | Partition) -> tuple[int, int]:
    """Where a chunk begins and ends from the volume's start; past that volume's end nothing is the same."""
    low = files.index.start(i) - volume.start if i < len(files.index) else volume.size
    if low >= volume.size:
        return low, 1 << 63
    return low, files.index.end(i) - volume.start


def _partition_for(
    source: ImagedDisk, volume: Volume, partitions: Sequence[Partition], whole: Partition
) -> Partition | None:
    """The partition of a disk that stands where an image's volume came from: the same UUID, else the same number."""
    if not volume.number:
        return whole
    uuid = _uuid(source, volume.number)
    same = [part for part in partitions if uuid and part.uuid.lower() == uuid.lower()]
    same = same or [part for part in partitions if part.number == volume.number]
    return same[0] if same else None


def _read(
    content: Content, volume: Volume, part: Partition, fd: int, cancel: threading.Event, told: _Told
) -> VolumeDifference:
    """Read what is used of a volume from where the partition lies; what does not fit there differs."""
    body = content.used.clipped(volume.start, volume.start + volume.size)
    room = volume.start + min(volume.size, part.size)
    different = _differing_bytes(content, body, room, fd, cancel, told, shift=part.start - volume.start)
    state = State.DIFFERENT if different or part.size != volume.size else State.SAME
    return _difference(volume, part.number, state, body.total, different)


def _read_outside(content: Content, size: int, fd: int, cancel: threading.Event, told: _Told) -> State:
    """Whether a disk of `size` bytes holds what the image has of its own where no volume is.

    On a disk of another size the table is what a restore would have made of it there.
    """
    beside = content.used.minus(Extents((v.start, v.start + v.size) for v in content.disk.volumes))
    if size != content.disk.size:
        beside = beside.minus(content.table)
        try:
            pieces = content.table_pieces(size)
        except BadImageError:
            return State.DIFFERENT
        for at, data in pieces:
            found = bytearray(len(data))
            if at + len(data) > size:
                return State.DIFFERENT
            read_exactly(fd, memoryview(found), at)
            if found != data:
                return State.DIFFERENT
    return State.DIFFERENT if _differing_bytes(content, beside, size, fd, cancel, told) else State.SAME


def _differing_bytes(
    content: Content, body: Extents, room: int, fd: int, cancel: threading.Event, told: _Told, *, shift: int = 0
) -> int:
    """Of the used bytes `body`, those in chunks that are not the same on a disk, where they lie `shift` further on.

    What does not end by `room` differs. A chunk is proved by its digest, which is of all that is used in it: one that
    holds anything beside `body` is read from the library, too.
    """
    mine = replace(content, table=content.used.minus(body), body=body)
    counts = Counter()

    def read(buffer: memoryview, offset: int) -> None:
        read_exactly(fd, buffer, offset + shift)

    def make_worker() -> Callable[[int], None]:
        buffer = ChunkBuffer()

        def work(i: int) -> None:
            size = sum(high - low for low, high in mine.ranges(i))
            fits = mine.ranges(i)[-1][1] <= room
            if not fits or not mine.matches(i, read, buffer):
                counts.add("different", size)
            forget(fd, mine.index.start(i) + shift, mine.index.length(i))
            told.add(size)

        return work

    run_all(mine.busy(), make_worker, cancel)
    return counts["different"]
