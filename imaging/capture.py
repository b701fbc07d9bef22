"""Capture disks into an image: read what is used, cut it, and store the chunks that the library does not have."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path

from imaging import chunk, groups, inventory, marks, media
from imaging.blockdev import opened
from imaging.disk import Disk
from imaging.errors import CancelledError, IoError, RefusedError
from imaging.events import CaptureResult
from imaging.extents import Extents
from imaging.index import DigestTable, Index, blank
from imaging.library import DiskFiles, Library
from imaging.manifest import Image, ImagedDisk, Volume
from imaging.pipeline import ChunkBuffer, Counter, Reporter, busy_chunks, run_all
from imaging.plan import CapturePlan
from imaging.planner import plan_capture
from imaging.previous import newest_capture
from imaging.salvage import Salvage
from imaging.stores import ChunkStore
from imaging.survey import cuts_of, survey, volumes_of
from imaging.writers import Writer

_ANNOUNCED = 8
"""Ranges of a chunk that the kernel is told of before they are read; a fragmented volume has hundreds."""
_LONGEST_NAME = 200
"""Bytes of a disk's name that leave room, of the 255 of a file's, for a suffix and a temporary one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What every step of one capture needs."""

    library: Library
    store: ChunkStore
    writer: Writer
    level: int
    report: Reporter
    cancel: threading.Event
    counts: Counter


def capture(plan: CapturePlan, report: Reporter, cancel: threading.Event, tool: str) -> CaptureResult:
    """Carry out a capture. The image exists only once everything of it is on the medium.

    Raises RefusedError where a disk is not as it was shown, IoError where source or library fails, CancelledError;
    then no image is listed, and what was stored of it is room that later captures use.
    """
    began = time.monotonic()
    _refuse_names(plan.disks)
    path = Path(plan.library)
    media.make_writable(path)
    disks = tuple(inventory.look(disk.path, [path]) for disk in plan.disks)
    for shown, now in zip(plan.disks, disks, strict=True):
        marks.refuse_if_changed(shown, now)
    plan_capture(disks, path, plan.label, plan.level, only=plan.only)
    library = Library.open_or_create(path)
    image_id, writer = _begin(library)
    job = _Job(
        library=library,
        store=library.store(writer.distrust_since),
        writer=writer,
        level=plan.level,
        report=report,
        cancel=cancel,
        counts=Counter(),
    )
    try:
        _heal(job)
        missing = groups.incomplete(
            (disk, part) for disk in disks for part in volumes_of(disk, plan.only.get(disk.path, ()))
        )
        for words in sorted(set(missing.values())):
            report.log(words[0].upper() + words[1:], "warning")
        imaged = tuple(_capture_disk(job, image_id, disk, plan.only.get(disk.path, ())) for disk in disks)
        imaged = tuple(replace(disk, volumes=groups.noted(disk.name, disk.volumes, missing)) for disk in imaged)
        report.step("Finishing")
        job.store.sync()
        image = Image(
            id=image_id,
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            disks=imaged,
            label=plan.label,
            machine=inventory.machine(),
            tool=tool,
            stored=job.counts["stored"],
        )
        library.commit(image)
    except BaseException:
        library.discard(image_id)
        _end_orderly(job)
        raise
    writer.end()
    return CaptureResult(
        image=image_id,
        used=image.used,
        chunks=job.counts["chunks"],
        new=job.counts["new"],
        stored=image.stored,
        unreadable=image.unreadable,
        seconds=time.monotonic() - began,
    )


def _refuse_names(disks: Sequence[Disk]) -> None:
    """The names of an image's files come from the disks', and a library can lie where letters' cases are one."""
    for disk in disks:
        if len(disk.name.encode(errors="surrogateescape")) > _LONGEST_NAME:
            raise RefusedError(
                f"{disk.path} cannot be captured: its name is longer than {_LONGEST_NAME} bytes",
                code="bad-name",
                hint="give it a shorter name",
            )
    if len({disk.name.casefold() for disk in disks}) != len(disks):
        raise RefusedError(
            f"the names {', '.join(disk.name for disk in disks)} are not different enough for one image",
            code="bad-name",
            hint="give them names that differ by more than capital letters",
        )


def _begin(library: Library) -> tuple[str, Writer]:
    """An image's id, and the mark and the folder that claim it; raises IoError."""
    while True:
        image_id = library.new_id()
        writer = Writer(library, image_id)
        try:
            if library.begin(image_id):
                return image_id, writer
        except IoError:
            writer.end()
            raise
        writer.end()


def _heal(job: _Job) -> None:
    """Remove what a writer that died left half-written, whichever disk it was of: each name is taken for a chunk."""
    since = job.writer.died_since
    if since is None:
        return
    job.report.step("Checking what a capture that died has left")
    suspects = job.store.named_since(since)
    unread: list[int] = []

    def work(i: int) -> None:
        try:
            if job.store.drop_unless_whole(suspects[i]):
                job.report.log(f"Removed chunk {suspects[i].hex()}, which was not whole", "warning")
        except IoError as error:
            unread.append(i)
            job.report.log(f"A chunk is not used: {error}", "warning")
        job.writer.beat()

    run_all(range(len(suspects)), lambda: work, job.cancel)
    job.store.sync()
    if not unread:  # else the next capture has to look at them again
        job.writer.settle()


def _end_orderly(job: _Job) -> None:
    """After a failure the mark may go only if what was stored is on the medium; else a later writer must look twice."""
    try:
        job.store.sync()
    except IoError:
        return
    if not job.store.lost:
        job.writer.end()


def _capture_disk(job: _Job, image_id: str, disk: Disk, only: Sequence[int]) -> ImagedDisk:
    with opened(disk.path) as fd:
        mark = marks.write_mark(fd)
        job.report.step(f"Reading what is used on {disk.name}")
        found = survey(disk, fd, only, stop_if_asked=partial(_stop_if_asked, job))
        _tell_notes(job, disk, found.volumes)
        ends = cuts_of(disk)
        job.report.step(f"Capturing {disk.name}", found.used.total)
        salvage = Salvage(
            fd, disk.name, disk.physical_sector, partial(_stop_if_asked, job), partial(job.report.log, level="warning")
        )
        files = _store_chunks(job, disk, ends, found.used, salvage)
        job.report.finish_step()
        fingerprint, failing = marks.ends(fd)
        changed = fingerprint != disk.fingerprint and failing == disk.failing
        if changed or marks.write_mark(fd) != mark:
            raise IoError(
                f"{disk.name} was written to while it was captured",
                code="source-changed",
                hint="make sure that nothing writes to it, and capture it again",
            )
    digests = job.library.write_disk(image_id, disk.name, files)
    return ImagedDisk(
        name=disk.name,
        id=disk.id,
        logical_sector=disk.logical_sector,
        physical_sector=disk.physical_sector,
        table=disk.table,
        volumes=found.volumes,
        table_extents=tuple(found.table),
        used=found.used.total,
        chunks=len(files.index),
        index_digest=digests[0],
        used_digest=digests[1],
        blake3_digest=digests[2],
        unreadable=tuple(salvage.unreadable),
    )


def _stop_if_asked(job: _Job) -> None:
    if job.cancel.is_set():
        raise CancelledError("stopped because somebody asked")


def _tell_notes(job: _Job, disk: Disk, volumes: Sequence[Volume]) -> None:
    for volume in volumes:
        if volume.note:
            job.report.log(f"Partition {volume.number} of {disk.name} counts as wholly used: {volume.note}", "warning")
        for inner in volume.inner:
            if inner.note:
                job.report.log(f"{inner.name} on {disk.name} counts as wholly used: {inner.note}", "warning")


def _store_chunks(job: _Job, disk: Disk, ends: Sequence[int], used: Extents, source: Salvage) -> DiskFiles:
    previous = newest_capture(job.library, disk.id, job.report)
    index, digests = blank(ends), DigestTable.blank(len(ends))
    busy = busy_chunks(index, used)
    _fill_unused(job, index, digests, busy)
    at_work = _AtWork()

    def make_worker() -> Callable[[int], None]:
        buffer = ChunkBuffer()

        def work(i: int) -> None:
            start, size = index.start(i), index.length(i)
            ranges = [(low - start, high - start) for low, high in used.within(start, start + size)]
            view = buffer.prepare(size, ranges)
            for low, high in ranges:
                source.read(view[low:high], start + low)
            source.forget(start, size)
            digest = chunk.digest(view)
            name = previous.name_of(i, start, size, digest) or chunk.chunk_id(view)
            index.name(i, name)
            digests.set(i, digest)
            stored = _store(job, at_work, name, view)
            job.counts.add("chunks")
            job.report.advance(sum(high - low for low, high in ranges), size if stored else 0)
            job.writer.beat()

        return work

    def ahead(i: int) -> None:
        for low, high in used.within(index.start(i), index.end(i))[:_ANNOUNCED]:
            source.announce(low, high - low)

    with previous:
        run_all(busy, make_worker, job.cancel, ahead)
    return DiskFiles(index=index, used=used, digests=digests)


class _AtWork:
    """The names of chunks that some thread is compressing, so that equal chunks are compressed once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[bytes] = set()

    def take(self, name: bytes) -> bool:
        """Whether this thread is the one to do it."""
        with self._lock:
            if name in self._names:
                return False
            self._names.add(name)
            return True

    def done(self, name: bytes) -> None:
        with self._lock:
            self._names.discard(name)


def _store(job: _Job, at_work: _AtWork, name: bytes, data: memoryview) -> bool:
    """Store a chunk that the library does not have; whether it had to be."""
    if not at_work.take(name):
        return False
    if job.store.has(name):
        at_work.done(name)
        return False
    frame = chunk.compress(data, job.level)
    job.store.put(name, frame)
    at_work.done(name)
    job.counts.add("new")
    job.counts.add("stored", len(frame))
    return True


def _fill_unused(job: _Job, index: Index, digests: DigestTable, busy: Sequence[int]) -> None:
    """Chunks without a used byte are all zero, and need not be read. casync wants their chunk stored, too."""
    zeros: dict[int, tuple[bytes, bytes]] = {}
    following = 0
    for stop in chain(busy, (len(index),)):
        for first, end in index.equal_runs(following, stop):
            size = index.length(first)
            if size not in zeros:
                data = bytes(size)
                zeros[size] = chunk.chunk_id(data), chunk.digest(data)
                if not job.store.has(zeros[size][0]):
                    job.store.put(zeros[size][0], chunk.compress(data, job.level))
            index.name_run(first, end, zeros[size][0])
            digests.set_run(first, end, zeros[size][1])
        following = stop + 1
