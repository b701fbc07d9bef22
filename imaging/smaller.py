"""A file system that is made smaller on a copy-on-write view of its image: neither the image nor a disk is written to.

Its own tool does that, in memory, before anything is written to the target; what it has not touched is restored from
the image's chunks as always, and what it has changed or moved is read from the view. How small a file system can be
its tool is asked in the same way, for plans; of btrfs that is tried.
Sources: e2fsck(8), resize2fs(8), ntfsresize(8); for btrfs, imaging.btrfs.
"""

import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imaging import allocation, btrfs, ntfsmap, views
from imaging.bitmap import marked
from imaging.blockdev import loop_over, read
from imaging.changes import Shrinkage
from imaging.content import Content
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError, RefusedError, RescueError
from imaging.ext import BIGALLOC, BITS_64
from imaging.extents import Extents
from imaging.library import Library
from imaging.manifest import ImagedDisk
from imaging.overlay import PAGE, most_written
from imaging.placement import GRAIN
from imaging.planner import needed_size
from imaging.relocating import GROUP, Trouble
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.run import Completed, run_cancellable
from imaging.shrinking import not_small_enough, plan_shrinkage, refuse_unless_able, too_small
from imaging.usedmap import HEAD, TAIL

_SUPER, _BLOCK_SHIFT = 1024, 24
"""Where the super block of ext2 to ext4 lies, and in it the logarithm of the block's KiB."""
_HEAD = btrfs.HEAD
"""Bytes at the start of a file system that say how large it is."""
_TRIES = 256
"""How small btrfs can be is found out to this part of the room that is asked of it, or to GRAIN."""
_EXT = ("ext2", "ext3", "ext4")
_SIGNATURE_AT = 510
_EXT_LEAST = re.compile(r"minimum size of the filesystem: (\d+)")
_NTFS_LEAST = re.compile(r"You might resize at (\d+) bytes")
_NTFS_FULL = "Volume is full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """A file system that was made smaller: `file` reads as it is now, offsets count from the volume's start.

    `used` is what it uses, the ends of the volume included, and `changed` what of that is not as in the image.
    """

    file: int
    used: Extents
    changed: Extents


def refuse_unless_fits(plan: RestorePlan) -> None:
    """Raise RefusedError where a file system cannot be made as small as the plan has it, by its own tool.

    Takes seconds, or minutes for a large one, which is checked; needs root. Raises BadImageError, IoError.
    """
    for pair in plan.targets:
        if pair.shrinkage is None:
            continue
        refuse_unless_able(pair.shrinkage)
        _refuse_by_image(plan, pair, pair.shrinkage)
        least = least_size(Path(plan.library), plan.image, pair.source, pair.shrinkage)
        if least > pair.shrinkage.size:
            raise _not_so_small(pair, pair.shrinkage, least)


def _not_so_small(pair: RestoreTarget, shrinkage: Shrinkage, least: int) -> RefusedError:
    """The error for a target that is too small, or for a size that a person wanted."""
    size, needed = pair.target.size, needed_size(pair.source)
    if size < needed and plan_shrinkage(pair.source, size, needed, shrinkage.partition) == shrinkage:
        return too_small(size, size + least - shrinkage.size, shrinkage.partition)
    return not_small_enough(shrinkage, least)


def _refuse_by_image(plan: RestorePlan, pair: RestoreTarget, shrinkage: Shrinkage) -> None:
    """Refuse what the image's own bytes forbid: its partition table, how large the file system is, what has to move."""
    library = Library.open(Path(plan.library))
    content = Content.load(library, library.image(plan.image), pair.source)
    content.table_pieces(pair.target.size, shrinkage)
    head = content.bytes_at(shrinkage.start, shrinkage.start + min(_HEAD, shrinkage.old_size))
    _refuse_unless_fills(head, shrinkage)
    if shrinkage.kind == "btrfs":
        found = btrfs.parse_super(head[BTRFS_SUPER:])
        if found.devices != 1 or found.seed:
            raise _refused(shrinkage, "it lies on several devices, or is a seed for others")
    if shrinkage.kind in _EXT and head[_SIGNATURE_AT : _SIGNATURE_AT + 2] == b"\x55\xaa":
        raise _refused(shrinkage, "its boot sector can name blocks of a file, which would be moved")
    above = content.used.clipped(shrinkage.end, shrinkage.old_end).total
    # What is moved by less than a page cannot be told from what is new, and stays in memory.
    if _shape(head, shrinkage.kind).block < PAGE and above > most_written():
        raise _no_memory(shrinkage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What a file system says of itself, in bytes; `grain` is by how much less than its partition it can have."""

    size: int
    block: int
    grain: int


def _shape(head: bytes, kind: str) -> _Shape:
    if kind == "ntfs":
        sector, each = struct.unpack_from("<HB", head, 0x0B)
        cluster = sector * each if each <= 0x80 else sector << min(0x100 - each, 32)
        (sectors,) = struct.unpack_from("<Q", head, 0x28)
        # Behind it lies the copy of the boot sector; ntfsresize keeps a cluster for that.
        return _Shape(size=sectors * sector, block=cluster, grain=2 * cluster)
    if kind == "btrfs":
        found = btrfs.parse_super(head[BTRFS_SUPER:])
        return _Shape(size=found.size, block=found.sector, grain=found.sector)
    raw = head[_SUPER:]
    (low,), (shift, more) = struct.unpack_from("<I", raw, 4), struct.unpack_from("<II", raw, _BLOCK_SHIFT)
    wide, clustered = struct.unpack_from("<II", raw, 0x60)
    (high,) = struct.unpack_from("<I", raw, 0x150) if wide & BITS_64 else (0,)
    block = 1024 << min(shift, 6)
    grain = 1024 << min(more, 32) if clustered & BIGALLOC else block
    return _Shape(size=(high << 32 | low) * block, block=block, grain=max(block, grain))


def _refuse_unless_fills(head: bytes, shrinkage: Shrinkage) -> None:
    """What lies behind the file system, in its partition, would be lost: a mark, or what another program keeps."""
    shape = _shape(head, shrinkage.kind)
    behind = shrinkage.old_size - shape.size
    if behind >= max(1, shape.grain):
        raise _refused(shrinkage, f"{behind} bytes of its partition lie behind it, and may hold something else")


def _no_memory(shrinkage: Shrinkage) -> RefusedError:
    return RefusedError(
        f"the file system of partition {shrinkage.partition} cannot be made smaller: it takes more memory than is free",
        code="no-space",
        hint="restore it to a larger disk, or on a computer with more memory",
    )


def least_size(library: Path, image: str, source: ImagedDisk, shrinkage: Shrinkage) -> int:
    """Bytes that its tool says are the least for the file system; raises as `refuse_unless_fits`."""
    _refuse_unless_root()
    never = threading.Event()
    if shrinkage.kind == "btrfs":
        return _least_btrfs(library, image, source, shrinkage, never)
    view = views.of_image(library, image, source.name, shrinkage.start, shrinkage.old_size)
    with (
        views.opened(view) as file,
        _device(file, shrinkage.old_size, source.logical_sector) as loop,
    ):
        if shrinkage.kind == "ntfs":
            done = _tool(["ntfsresize", "--info", "--no-progress-bar", loop], shrinkage, never, full=_NTFS_FULL)
            found = _NTFS_LEAST.search(done.stdout)
            return int(found[1]) if found else shrinkage.old_size
        _tool(["e2fsck", "-f", "-p", loop], shrinkage, never, accept=(0, 1))
        found = _EXT_LEAST.search(_tool(["resize2fs", "-P", loop], shrinkage, never).stdout)
        if found is None:
            raise _refused(shrinkage, "resize2fs does not say how small it can be")
        (shift,) = struct.unpack("<I", read(file, 4, _SUPER + _BLOCK_SHIFT))
        # What it says can be more than there is: of clusters of several blocks it counts too many.
        return min(int(found[1]) << (10 + min(int(shift), 6)), shrinkage.old_size)


def _least_btrfs(library: Path, image: str, source: ImagedDisk, shrinkage: Shrinkage, cancel: threading.Event) -> int:
    """The size that is wanted where that can be, else one that can be, tried on a view of its own."""
    wanted, old_size = shrinkage.size, shrinkage.old_size
    step = max(GRAIN, (old_size - wanted) // _TRIES // GRAIN * GRAIN)
    with (
        views.opened_to_shrink(_view_of(library, image, source, shrinkage)) as (file, changes),
        _memory_told(changes, shrinkage, cancel),
        _device(file, old_size, source.logical_sector) as loop,
        _mounted(loop, file, shrinkage) as (where, own_id),
    ):
        return btrfs.least(lambda size: btrfs.resized(where, own_id, size, cancel), wanted, old_size, step)


@contextmanager
def _mounted(loop: str, file: int, shrinkage: Shrinkage) -> Iterator[tuple[str, int]]:
    """A btrfs, mounted: a path, and the number of its device. What the kernel or its tool refuses refuses all of it."""
    own_id = btrfs.parse_super(read(file, _HEAD, 0)[BTRFS_SUPER:]).own_id
    with _refusing(shrinkage), btrfs.mounted(loop, own_id) as where:
        yield where, own_id


@contextmanager
def _refusing(shrinkage: Shrinkage) -> Iterator[None]:
    """Raise RefusedError for what a tool says against it."""
    try:
        yield
    except IoError as error:
        raise _refused(shrinkage, error.message) from error


def _view_of(library: Path, image: str, source: ImagedDisk, shrinkage: Shrinkage) -> views.View:
    """The view in which it is made smaller; btrfs moves chunks whole, also what of them lies before the new end."""
    moved_from = 0 if shrinkage.kind == "btrfs" else None
    start, old_size, size = shrinkage.start, shrinkage.old_size, shrinkage.size
    return views.of_image(library, image, source.name, start, old_size, size, moved_from)


@contextmanager
def shrunk(
    library: Path, image: str, source: ImagedDisk, shrinkage: Shrinkage, cancel: threading.Event
) -> Iterator[Shrunk]:
    """Make it smaller, which takes up to minutes; it can be read until the end of the context.

    Raises RefusedError where that cannot be done, BadImageError where the image cannot be used, IoError,
    CancelledError; nothing was written anywhere then.
    """
    _refuse_unless_root()
    sector = source.logical_sector
    view = _view_of(library, image, source, shrinkage)
    with views.opened_to_shrink(view) as (file, changes):
        with _memory_told(changes, shrinkage, cancel):
            used, changed = _shrink(file, changes, shrinkage, sector, cancel)
        yield Shrunk(file=file, used=used, changed=changed)


def _shrink(
    file: int, changes: int, shrinkage: Shrinkage, sector: int, cancel: threading.Event
) -> tuple[Extents, Extents]:
    """What the small file system uses, and what of that is not as in the image."""
    size = shrinkage.size
    _refuse_unless_fills(read(file, min(_HEAD, shrinkage.old_size), 0), shrinkage)
    with _device(file, shrinkage.old_size, sector) as loop:
        _make_smaller(loop, file, shrinkage, sector, cancel)
    if shrinkage.kind == "ntfs":
        # Where a boot sector is damaged, this copy is looked for at the end of the partition.
        os.pwrite(file, read(file, sector, 0), size - sector)
    used = _mapped(file, shrinkage)
    with _device(file, size, sector, writable=False) as loop:
        _check(loop, shrinkage, cancel)
    changed = Extents.rising((low * PAGE, high * PAGE) for low, high in _marked(changes, size))
    return used, Extents(r for low, high in changed for r in used.within(low, high))


@contextmanager
def _memory_told(changes: int, shrinkage: Shrinkage, cancel: threading.Event) -> Iterator[None]:
    """Raise RefusedError where the view has refused to keep something, whatever the tool says of that."""
    try:
        yield
    except (RescueError, OSError) as error:
        if not cancel.is_set() and _trouble(changes, shrinkage.size) is Trouble.FULL:
            raise _no_memory(shrinkage) from error
        raise
    match _trouble(changes, shrinkage.size):
        case Trouble.FULL:
            raise _no_memory(shrinkage)
        case Trouble.FAILED:
            raise IoError("the view of the file system is not whole: a write to it failed", code="write-failed")


def _trouble(changes: int, size: int) -> Trouble:
    pages = -(-size // PAGE)
    return Trouble(read(changes, 1, pages - (-pages // GROUP))[0])


def _refuse_unless_root() -> None:
    if os.geteuid() != 0:
        raise RefusedError("a file system can be made smaller by root alone", code="needs-root", hint="run as root")


@contextmanager
def _device(file: int, size: int, sector: int, *, writable: bool = True) -> Iterator[str]:
    """A device over the view's first bytes; what was written to it is in the view afterwards."""
    with loop_over(file, offset=0, size=size, sector=sector, writable=writable) as loop:
        yield loop
        if writable:
            fd = os.open(loop, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            except OSError as error:
                raise IoError(f"the view of the file system is not whole: {error.strerror}", code="no-space") from error
            finally:
                os.close(fd)


def _make_smaller(loop: str, file: int, shrinkage: Shrinkage, sector: int, cancel: threading.Event) -> None:
    if shrinkage.kind == "btrfs":
        with _mounted(loop, file, shrinkage) as (where, own_id):
            if not btrfs.resized(where, own_id, shrinkage.size, cancel):
                raise _refused(shrinkage, "what it holds does not fit into so little room")
        return
    if shrinkage.kind in _EXT:
        _tool(["e2fsck", "-f", "-p", loop], shrinkage, cancel, accept=(0, 1))
        _tool(["resize2fs", loop, f"{shrinkage.size // 512}s"], shrinkage, cancel)
        return
    # Its question is answered by the end of its input; with --force it would take a volume that is not in order.
    size = shrinkage.size // sector * sector
    _tool(["ntfsresize", "--no-progress-bar", "--size", str(size), loop], shrinkage, cancel)


def _check(loop: str, shrinkage: Shrinkage, cancel: threading.Event) -> None:
    """Have its own tool say that the small file system is whole."""
    if shrinkage.kind == "btrfs":
        with _refusing(shrinkage):
            btrfs.check(loop, cancel)
        return
    if shrinkage.kind in _EXT:
        _tool(["e2fsck", "-f", "-n", loop], shrinkage, cancel)
        return
    argv = ["ntfsresize", "--info", "--force", "--no-progress-bar", loop]
    _tool(argv, shrinkage, cancel, full=_NTFS_FULL)


def _mapped(file: int, shrinkage: Shrinkage) -> Extents:
    """What the small file system uses, and the ends of its partition; nothing old can be found at the last of them."""
    size = shrinkage.size

    def bytes_of(at: int, count: int) -> bytes:
        return read(file, count, at)

    try:
        # ntfsresize has Windows check the volume when it next starts: it is marked for that, and whole all the same.
        match shrinkage.kind:
            case "ntfs":
                used: Extents | None = ntfsmap.used(bytes_of, size, to_be_checked=True)
            case kind:
                used = allocation.read_map(kind, bytes_of, size)
    except IoError as error:
        raise _refused(shrinkage, f"afterwards {error.message}") from error
    if used is None:
        raise _refused(shrinkage, f"{shrinkage.kind} is of no kind that can be read")
    tail = Extents([(max(0, size - TAIL), size)])
    for low, high in tail.minus(used):
        os.pwrite(file, bytes(high - low), low)
    return used.union(tail, Extents([(0, min(HEAD, size))]))


def _marked(changes: int, size: int) -> Iterator[tuple[int, int]]:
    """The runs of pages that were written to."""
    pages = -(-size // PAGE)
    for group, any_ in enumerate(read(changes, -(-pages // GROUP), pages)):
        if any_:
            at = group * GROUP
            flags = read(changes, min(GROUP, pages - at), at)
            yield from ((at + low, at + high) for low, high in marked(flags))


def _tool(
    argv: list[str], shrinkage: Shrinkage, cancel: threading.Event, *, accept: tuple[int, ...] = (0,), full: str = ""
) -> Completed:
    """What the tool ends with; `full` is what it says where its status is no matter."""
    done, name = run_cancellable(argv, cancel), argv[0]
    if done.status in accept or (full and full in done.stdout):
        return done
    said = [line.strip().replace(argv[-1], "it") for line in done.stdout.splitlines() if line.strip()]
    words = f": {said[-1]}" if said else ""
    raise _refused(shrinkage, f"{name} ended with status {done.status}{words}")


def _refused(shrinkage: Shrinkage, why: str) -> RefusedError:
    return RefusedError(
        f"the file system of partition {shrinkage.partition} cannot be made smaller: {why}",
        code="cannot-shrink",
        hint="restore it to a disk that all of it fits on",
    )
