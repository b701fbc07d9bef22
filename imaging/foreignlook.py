"""What another program's image of a disk holds, before anything of it is restored: size, partition table, used bytes.

Of a disk that is compressed nothing but its end tells the size: it is read through once, which proves it whole, too.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from imaging import gpt, inventory, sfdisk
from imaging.blockdev import opened, read
from imaging.clonezilla import ClonezillaDisk
from imaging.cutting import HEAD, outline
from imaging.disk import Disk, DiskId
from imaging.durable import reading, written
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.extents import Extents
from imaging.foreign import MOST_BYTES, ForeignDisk, ForeignImage, closed
from imaging.foreignfiles import files_of, open_foreign
from imaging.machinedisk import MachineDisk
from imaging.manifest import ImagedDisk, Volume
from imaging.planner import why_not_source
from imaging.rawfile import RawDisk
from imaging.survey import volumes_of

_EDGE = 8 << 10
"""Bytes of a disk's beginning, and of its end, that tell whether its GPT is whole."""
_RECORD = 512
_EXTENDED = (0x05, 0x0F, 0x85)
_MOST_RECORDS = 1024

Tell = Callable[[int, int], object]
"""Told how many bytes were read through, of how many by the partition table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A foreign image, and its disks as a restore takes them; `mark` differs once anybody has written to it."""

    path: Path
    image: ForeignImage
    disks: tuple[ImagedDisk, ...]
    mark: str


def look(path: Path, cancel: threading.Event, tell: Tell) -> Seen:
    """Open a foreign image and learn what its disks are. Nothing is written but small files that go again.

    Raises as `open_foreign`; BadImageError where a disk is cut short or its table damaged, RefusedError where it is in
    use.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such file", code="no-such-file")
    mark = mark_of(path)
    image = open_foreign(path, cancel)
    disks = tuple(_imaged(disk, image.kind, tell) for disk in image.disks)
    if len({disk.name for disk in disks}) != len(disks):
        raise BadImageError(f"{path.name}: two disks bear one name", code="bad-stream")
    return Seen(path=path, image=image, disks=disks, mark=mark)


def mark_of(path: Path) -> str:
    """What differs once anybody has written to a file, to one that it names, or in a folder. Raises IoError.

    No inode's number: FAT, exFAT and sshfs number a file anew that the kernel has forgotten meanwhile.
    """
    with reading(path):
        hasher = blake3()
        for file in files_of(path):
            status = file.lstat()
            facts = (file.name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            hasher.update(repr(facts).encode(errors="surrogateescape"))
    return hasher.hexdigest()


def _imaged(foreign: ForeignDisk, kind: str, tell: Tell) -> ImagedDisk:
    with _outlined(foreign, tell) as (found, size):
        why = found.problem or why_not_source(found)
        if why:
            raise RefusedError(f"{foreign.name} cannot be restored: {why}", code="not-a-source")
        found = replace(
            found,
            id=DiskId(size=size, model=kind),
            logical_sector=foreign.sector,  # a disk without a table does not tell it
            physical_sector=foreign.sector,
        )
        with opened(found.path) as fd:
            _refuse_unless_whole(foreign.name, found, fd)
            table = sfdisk.table_extents(fd, found.table, size, found.logical_sector)
    used = Extents([(0, size)]) if foreign.used is None else foreign.used.clipped(0, size)
    stored = [part for part in volumes_of(found) if part.number not in foreign.left_out]
    return ImagedDisk(
        name=foreign.name,
        id=found.id,
        logical_sector=found.logical_sector,
        physical_sector=found.physical_sector,
        table=found.table,
        volumes=tuple(
            Volume(
                number=part.number,
                start=part.start,
                size=part.size,
                used=used.clipped(part.start, part.end).total,
                map_origin="whole" if foreign.used is None else "partclone",
                content=part.content,
            )
            for part in stored
        ),
        table_extents=tuple(table.clipped(0, size)),
        used=used.total,
        chunks=0,
        index_digest="",
        used_digest="",
        blake3_digest="",
    )


def _refuse_unless_whole(name: str, disk: Disk, fd: int) -> None:
    head, tail = (read(fd, min(_EDGE, disk.size), at) for at in (0, max(0, disk.size - _EDGE)))
    beyond = next((part for part in disk.table.partitions if part.end > disk.size), None)
    if beyond is not None or not gpt.is_whole(head, tail, disk.size):
        raise BadImageError(
            f"{name} is cut short or damaged: its partition table does not fit its {disk.size:,} bytes",
            code="bad-stream",
            hint="copy it once more from where it came from",
        )


@contextmanager
def _outlined(foreign: ForeignDisk, tell: Tell) -> Iterator[tuple[Disk, int]]:
    """The disk as the inventory finds it, at a path that is good until the end of the context, and its bytes."""
    if isinstance(foreign, RawDisk):
        yield inventory.look(str(foreign.path)), foreign.size
        return
    with tempfile.NamedTemporaryFile(prefix="rescue-outline-") as file:
        sketch = _Sketch(file.fileno(), file.name, foreign.sector)
        if isinstance(foreign, ClonezillaDisk):
            for at, data in foreign.sectors:
                sketch.keep(at, data)
            size = foreign.size
        elif isinstance(foreign, MachineDisk):
            size = foreign.size
            _sketch_machine(sketch, foreign)
        else:
            size = _sketch_stream(sketch, foreign, tell)
        if not size:
            raise BadImageError(f"{foreign.name} holds nothing", code="bad-stream")
        sketch.end(size)
        yield inventory.look(file.name), size


class _Sketch:
    """A sparse file that has of a disk what tells how it is laid out, where the disk has it."""

    def __init__(self, fd: int, name: str, sector: int) -> None:
        self._fd, self._name, self._sector = fd, name, sector
        self._extended = 0
        self._left = _MOST_RECORDS
        self.record = 0
        """Where the next record of a logical partition lies; 0 where there is none."""

    def keep(self, at: int, data: bytes) -> None:
        with written(self._name):
            while data:
                count = os.pwrite(self._fd, data, at)
                at, data = at + count, data[count:]

    def end(self, size: int) -> None:
        with written(self._name):
            os.ftruncate(self._fd, size)

    def begin(self, head: bytes) -> int:
        """Take the disk's first HEAD bytes; the size that its table says, 0 where that is open."""
        self.keep(0, head)
        found = outline(head.ljust(HEAD, b"\0"), self._sector)
        self.record = self._extended = found.extended
        return found.size

    def follow(self, record: bytes) -> None:
        """Take the record that lies at `self.record`."""
        at, self.record = self.record, 0
        self.keep(at, record)
        following = int.from_bytes(record[470:474], "little") * self._sector
        self._left -= 1
        if record[510:512] == b"\x55\xaa" and record[466] in _EXTENDED and self._extended + following > at:
            self.record = self._extended + following if following and self._left else 0


def _sketch_machine(sketch: _Sketch, foreign: MachineDisk) -> None:
    with foreign.served() as disk:

        def piece(at: int, size: int) -> bytes:
            return b"".join(disk.read(at, size))

        sketch.begin(piece(0, HEAD))
        while 0 < sketch.record <= foreign.size - _RECORD:
            sketch.follow(piece(sketch.record, _RECORD))
        last = max(0, foreign.size - HEAD)
        sketch.keep(last, piece(last, HEAD))


def _sketch_stream(sketch: _Sketch, foreign: ForeignDisk, tell: Tell) -> int:
    """Read a stream through; its size. Pieces follow one another: nothing lies between them."""
    size, total, tail = 0, 0, b""
    with closed(foreign.pieces()) as pieces:
        for at, data in pieces:
            if at == 0:
                total = sketch.begin(data[:HEAD])
            size = at + len(data)
            if size > MOST_BYTES:
                raise BadImageError(f"{foreign.name} has more than {MOST_BYTES:,} bytes", code="too-large")
            while at <= sketch.record <= size - _RECORD and sketch.record:
                sketch.follow(data[sketch.record - at :][:_RECORD])
            tail = (tail + data)[-HEAD:] if len(data) < HEAD else data[-HEAD:]
            tell(size, max(size, total))
    sketch.keep(size - len(tail), tail)
    return size
