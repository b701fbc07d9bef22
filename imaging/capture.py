"""Capture disks into an image: read what is used, cut it, and store the chunks that the library does not have."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from imaging import chunk, groups, inventory, keyring, marks, still
from imaging.access import make_writable
from imaging.blockdev import opened
from imaging.disk import Disk
from imaging.errors import CancelledError, IoError, RefusedError
from imaging.events import CaptureResult
from imaging.extents import Extents
from imaging.imageplans import CapturePlan
from imaging.index import DigestTable, blank
from imaging.library import DiskFiles, Library
from imaging.manifest import ImagedDisk, Volume
from imaging.pipeline import ChunkBuffer, Reporter, busy_chunks, run_all
from imaging.planner import plan_capture
from imaging.previous import newest_capture
from imaging.salvage import Salvage
from imaging.signingkeys import PrivateKey
from imaging.storing import Storing, storing
from imaging.survey import Survey, cuts_of, survey, volumes_of
from imaging.systems import Search

_ANNOUNCED = 8
"""Ranges of a chunk that the kernel is told of before they are read; a fragmented volume has hundreds."""
_LONGEST_NAME = 200
"""Bytes of a disk's name that leave room, of the 255 of a file's, for a suffix and a temporary one."""


def capture(plan: CapturePlan, report: Reporter, cancel: threading.Event, tool: str) -> CaptureResult:
    """Carry out a capture. The image exists only once everything of it is on the medium.

    Raises RefusedError where a disk is not as it was shown, IoError where source or library fails, CancelledError;
    then no image is listed, and what was stored of it is room that later captures use.
    """
    began = time.monotonic()
    signer = _signer(plan)
    refuse_names([disk.name for disk in plan.disks])
    path = Path(plan.library)
    make_writable(path)
    disks = tuple(inventory.look(disk.path, [path]) for disk in plan.disks)
    for shown, now in zip(plan.disks, disks, strict=True):
        (still.refuse_if_another if plan.running else marks.refuse_if_changed)(shown, now)
    plan_capture(disks, path, plan.label, plan.level, only=plan.only, running=plan.running)
    library = Library.open_or_create(path)
    with storing(library, plan.level, report, cancel) as job:
        missing = groups.incomplete(
            (disk, part) for disk in disks for part in volumes_of(disk, plan.only.get(disk.path, ()))
        )
        for words in sorted(set(missing.values())):
            report.log(words[0].upper() + words[1:], "warning")
        if plan.running:
            imaged = _capture_running(job, disks)
        else:
            imaged = tuple(capture_disk(job, disk, plan.only.get(disk.path, ())) for disk in disks)
        imaged = tuple(replace(disk, volumes=groups.noted(disk.name, disk.volumes, missing)) for disk in imaged)
        image = job.commit(imaged, label=plan.label, machine=inventory.machine(), tool=tool, signer=signer)
    return CaptureResult(
        image=image.id,
        used=image.used,
        chunks=job.counts["chunks"],
        new=job.counts["new"],
        stored=image.stored,
        unreadable=image.unreadable,
        seconds=time.monotonic() - began,
    )


def _capture_running(job: Storing, disks: Sequence[Disk]) -> tuple[ImagedDisk, ...]:
    """Capture disks of the running system as they are at one moment; raises as `capture` and still.held do.

    What a snapshot could not hold any more reads as if the disk failed there: that is an end, and no damaged image.
    """
    with still.held(disks, job.report, job.cancel) as held:
        try:
            imaged = tuple(capture_disk(job, disk) for disk in held.disks)
        except (CancelledError, IoError) as error:
            if held.broken:
                raise still.full(held.broken) from error
            raise
        job.report.step("Proving that nothing has changed meanwhile")
        held.prove()
    return imaged


def _signer(plan: CapturePlan) -> PrivateKey | None:
    """The key that signs the image; raises RefusedError where this process was not given the one of the plan."""
    if not plan.signer:
        return None
    seed = keyring.signing_key(plan.signer)
    if seed is None or (signer := PrivateKey(seed=seed)).public.id != plan.signer:
        raise RefusedError(
            f"the key {plan.signer} that is to sign the image was not given", code="no-key", hint="start anew"
        )
    return signer


def refuse_names(names: Sequence[str]) -> None:
    """The names of an image's files come from the disks', and a library can lie where letters' cases are one."""
    for name in names:
        if len(name.encode(errors="surrogateescape")) > _LONGEST_NAME:
            raise RefusedError(
                f"{name} cannot be stored: it is longer than {_LONGEST_NAME} bytes",
                code="bad-name",
                hint="give it a shorter name",
            )
    if len({name.casefold() for name in names}) != len(names):
        raise RefusedError(
            f"the names {', '.join(names)} are not different enough for one image",
            code="bad-name",
            hint="give them names that differ by more than capital letters",
        )


def capture_disk(job: Storing, disk: Disk, only: Sequence[int] = ()) -> ImagedDisk:
    """Store what is used of a disk, or of `only` these partitions, and the files that stand beside the manifest.

    Raises IoError where source or library fails or the source was written to meanwhile, RefusedError, CancelledError.
    """
    with opened(disk.path) as fd:
        mark = marks.write_mark(fd)
        job.report.step(f"Reading what is used on {disk.name}")
        found = survey(disk, fd, only, stop_if_asked=job.stop_if_asked)
        tell_notes(job.report, disk, found.volumes)
        ends = cuts_of(disk)
        job.report.step(f"Capturing {disk.name}", found.used.total)
        salvage = Salvage(
            fd, disk.name, disk.physical_sector, job.stop_if_asked, partial(job.report.log, level="warning")
        )
        with Search([disk]) as search:
            files = _store_chunks(job, disk, ends, found.used, salvage)
            names = search.names()[disk.path]
        job.report.finish_step()
        fingerprint, failing = marks.ends(fd)
        changed = fingerprint != disk.fingerprint and failing == disk.failing
        if changed or marks.write_mark(fd) != mark:
            raise IoError(
                f"{disk.name} was written to while it was captured",
                code="source-changed",
                hint="make sure that nothing writes to it, and capture it again",
            )
    return keep_files(job, disk, found, names, files, salvage.unreadable)


def keep_files(
    job: Storing,
    disk: Disk,
    found: Survey,
    systems: Mapping[int, str],
    files: DiskFiles,
    unreadable: Iterable[tuple[int, int]] = (),
) -> ImagedDisk:
    """Store the files that stand beside the manifest, and say what it says of them and of the disk. Raises IoError.

    `systems` are the names of the operating systems, by the numbers of their volumes.
    """
    digests = job.library.write_disk(job.image_id, disk.name, files)
    return ImagedDisk(
        name=disk.name,
        id=disk.id,
        logical_sector=disk.logical_sector,
        physical_sector=disk.physical_sector,
        table=disk.table,
        volumes=tuple(replace(volume, system=systems.get(volume.number, "")) for volume in found.volumes),
        table_extents=tuple(found.table),
        used=found.used.total,
        chunks=len(files.index),
        index_digest=digests[0],
        used_digest=digests[1],
        blake3_digest=digests[2],
        unreadable=tuple(unreadable),
    )


def tell_notes(report: Reporter, disk: Disk, volumes: Sequence[Volume]) -> None:
    """Warn of what is stored whole, and say why."""
    for volume in volumes:
        if volume.note:
            report.log(f"Partition {volume.number} of {disk.name} counts as wholly used: {volume.note}", "warning")
        for inner in volume.inner:
            if inner.note:
                report.log(f"{inner.name} on {disk.name} counts as wholly used: {inner.note}", "warning")


def _store_chunks(job: Storing, disk: Disk, ends: Sequence[int], used: Extents, source: Salvage) -> DiskFiles:
    previous = newest_capture(job.library, disk.id, job.report)
    index, digests = blank(ends), DigestTable.blank(len(ends))
    busy = busy_chunks(index, used)
    job.fill_unused(index, digests, busy)

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
            stored = job.keep(name, view)
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
