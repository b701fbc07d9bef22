"""What an image's disk becomes on sectors of another size, by the bytes of the image: judged, and made, in memory.

Every partition is looked at before anything is written anywhere. Linux mounts a file system on sectors that are no
larger than its own unit: of ext2 to ext4 a block, of XFS and btrfs what they call a sector.
Sources: Linux fs/ext4/super.c, fs/xfs/xfs_super.c, fs/btrfs/disk-io.c (each refuses smaller ones than the device has).
"""

import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imaging.bounded import Read
from imaging.changes import Resectoring
from imaging.content import Content
from imaging.disk import Partition
from imaging.errors import CancelledError, IoError, RefusedError
from imaging.fatrebuild import RebuiltFat, rebuilt
from imaging.library import Library
from imaging.lvmmap import Scattered
from imaging.partitions import volume_of
from imaging.reader import DiskReader
from imaging.resectoredcontent import resectored_table
from imaging.resectoring import is_raw, refuse_unless_able
from imaging.restoreplans import RestorePlan
from imaging.sectortable import refused

_EXT = ("ext2", "ext3", "ext4")
_EXT_SHIFT = 1024 + 24
"""Where the super block has the logarithm of a block's KiB."""
_BTRFS_SECTOR = (64 << 10) + 0x90
_XFS_SECTOR, _XFS_LOG_SECTOR = 102, 194


def refuse_unless_possible(plan: RestorePlan) -> None:
    """Raise RefusedError where a target's sectors do not suit what the image has, by its bytes.

    Takes seconds: the files of FAT volumes are read. Raises BadImageError, IoError.
    """
    for pair in plan.targets:
        if pair.resectoring is not None:
            library = Library.open(Path(plan.library))
            content = Content.load(library, library.image(plan.image), pair.source)
            resectored_table(content, pair.resectoring, pair.target.size)
            with adapted(content, pair.resectoring, threading.Event()):
                pass


@contextmanager
def adapted(content: Content, resectoring: Resectoring, cancel: threading.Event) -> Iterator[Mapping[int, RebuiltFat]]:
    """The FAT volumes that are made anew, by the number of their partition; they can be read until the context ends.

    Raises RefusedError (code "other-sectors") where any partition cannot be on such sectors, BadImageError, IoError,
    CancelledError.
    """
    refuse_unless_able(resectoring.rebuilt)
    found = {}
    with ExitStack() as held:
        reader = DiskReader(content)
        for part in sorted(content.disk.table.partitions, key=lambda one: one.start):
            if not part.size:
                continue
            read = _reads(reader, part, cancel)
            if part.number not in resectoring.rebuilt:
                _judge(content, part, read, resectoring.after)
                continue
            try:
                made = rebuilt(read, part.size, part.start, resectoring.after)
                found[part.number] = held.enter_context(made)
            except RefusedError as error:
                raise _refused(part, f"its FAT cannot be made anew: {error.message}") from error
        yield found


def _reads(reader: DiskReader, part: Partition, cancel: threading.Event) -> Read:
    def read(at: int, size: int) -> bytes:
        if cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        return b"".join(reader.read(part.start + at, size))

    return read


def _judge(content: Content, part: Partition, read: Read, sector: int) -> None:
    """Raise RefusedError where what is on a partition cannot be on such sectors as it is."""
    volume = volume_of(content.disk, part.number)
    kind = volume.content.kind
    for inner in volume.inner:
        _judge_unit(part, inner.content.kind, Scattered(read, inner.pieces).read, sector)
    if not volume.inner:
        _judge_unit(part, kind, read, sector)
    if not kind and not is_raw(part) and not _is_zero(content, part):
        raise _refused(part, "it is not known what is on it")


def _judge_unit(part: Partition, kind: str, read: Read, sector: int) -> None:
    try:
        own = _unit(kind, read)
    except (IoError, struct.error) as error:
        raise _refused(part, f"its file system ({kind}) cannot be read") from error
    if own is not None and own < sector:
        raise _refused(part, f"its file system ({kind}) is made for sectors of at most {own} bytes")


def _unit(kind: str, read: Read) -> int | None:
    """Bytes of the largest sectors that a file system can be on; None where that is no matter."""
    if kind in _EXT:
        (shift,) = struct.unpack("<I", read(_EXT_SHIFT, 4))
        return 1024 << min(int(shift), 6)
    if kind == "btrfs":
        return int.from_bytes(read(_BTRFS_SECTOR, 4), "little")
    if kind == "xfs":
        own, log = (int.from_bytes(read(at, 2), "big") for at in (_XFS_SECTOR, _XFS_LOG_SECTOR))
        return min(own, log or own)
    return None


def _is_zero(content: Content, part: Partition) -> bool:
    first, last = content.index.find(part.start), content.index.find(part.end - 1)
    return all(content.is_zero(i) for i in range(first, last + 1))


def _refused(part: Partition, why: str) -> RefusedError:
    return refused(f"partition {part.number}: {why}")
