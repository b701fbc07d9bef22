"""Make an image of what another program has made one of, as if the disk itself were captured.

What can be read at any place is captured as a disk is. What only streams by is stored whole, chunk by chunk; then it is
read from the library to find what of it is used, and the rest is left out.
"""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from imaging import gpt, groups, inventory, sfdisk
from imaging.access import make_writable
from imaging.blockdev import opened, read
from imaging.capture import capture_disk, keep_files, refuse_names, tell_notes
from imaging.content import Content
from imaging.disk import Disk, DiskId, PartitionTable, TableKind
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.events import ImportResult
from imaging.extents import Extents
from imaging.foreign import ForeignDisk, ForeignImage
from imaging.foreignfiles import open_foreign
from imaging.foreignlook import mark_of
from imaging.imageplans import ImportPlan
from imaging.library import DiskFiles, Library
from imaging.machinedisk import MachineDisk
from imaging.manifest import ImagedDisk, Volume
from imaging.pipeline import Reporter, busy_chunks
from imaging.planner import why_not_source
from imaging.presented import MODEL, presented
from imaging.rawfile import RawDisk
from imaging.reader import DiskReader
from imaging.storing import Storing, storing
from imaging.streaming import Stream, store_stream
from imaging.survey import Survey, survey, volumes_of
from imaging.systems import Search
from imaging.trimming import free, trim

_EDGE = 8 << 10
"""Bytes of a disk's beginning, and of its end, that tell whether its GPT is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Imported:
    """A disk as it is in the image now, and as it could be looked at."""

    imaged: ImagedDisk
    disk: Disk
    only: Sequence[int] = ()
    """The numbers of its partitions that are in the image; empty for all."""
    trimmed: bool = False
    """Whether anything was stored that is not needed any more."""


def import_image(plan: ImportPlan, report: Reporter, cancel: threading.Event, tool: str) -> ImportResult:
    """Carry out an import. The image exists only once everything of it is on the medium.

    What only streams by needs root. Raises UsageError, BadImageError or RefusedError where the source cannot be used,
    IoError where source or library fails, CancelledError; then no image is listed.
    """
    began = time.monotonic()
    path, source = Path(plan.library), Path(plan.source)
    make_writable(path)
    foreign = open_foreign(source, cancel)
    refuse_names([disk.name for disk in foreign.disks])
    _refuse_without_root(foreign)
    mark = mark_of(source)
    library = Library.open_or_create(path)
    with storing(library, plan.level, report, cancel) as job, ExitStack() as stack:
        imported = [_import_disk(job, disk, path, stack) for disk in foreign.disks]
        if mark_of(source) != mark:
            raise IoError(
                f"{source} was written to while it was imported",
                code="source-changed",
                hint="make sure that nothing writes to it, and import it again",
            )
        image = job.commit(
            _noted(imported, report),
            label=plan.label or foreign.label,
            machine=foreign.machine,
            tool=f"{tool}, imported from {source.name}: {foreign.kind}",
            created=foreign.created,
        )
    if any(one.trimmed for one in imported):
        free(library, report, cancel)
    return ImportResult(
        image=image.id,
        kind=foreign.kind,
        used=image.used,
        chunks=job.counts["chunks"],
        new=job.counts["new"],
        stored=image.stored,
        unreadable=image.unreadable,
        seconds=time.monotonic() - began,
    )


def _refuse_without_root(foreign: ForeignImage) -> None:
    """Before anything is stored: what is used of a stream is found out through a loop device."""
    if os.geteuid() != 0 and not all(isinstance(disk, RawDisk) for disk in foreign.disks):
        raise RefusedError(f"importing a {foreign.kind} needs root", code="no-permission", hint="run as root")


def _noted(imported: Sequence[_Imported], report: Reporter) -> tuple[ImagedDisk, ...]:
    """The disks, with what is missing beside their volumes."""
    missing = groups.incomplete((one.disk, part) for one in imported for part in volumes_of(one.disk, one.only))
    for words in sorted(set(missing.values())):
        report.log(words[0].upper() + words[1:], "warning")
    return tuple(
        replace(one.imaged, volumes=groups.noted(one.imaged.name, one.imaged.volumes, missing)) for one in imported
    )


def _import_disk(job: Storing, disk: ForeignDisk, library: Path, stack: ExitStack) -> _Imported:
    if isinstance(disk, RawDisk):
        found = inventory.look(str(disk.path), [library])
        _refuse_unless_source(found, library)
        return _Imported(imaged=capture_disk(job, found), disk=found)
    if isinstance(disk, MachineDisk):
        return _import_machine(job, disk, stack)
    return _import_stream(job, disk, stack)


def _import_machine(job: Storing, foreign: MachineDisk, stack: ExitStack) -> _Imported:
    """What can be read at any place is captured as a disk is, and what of it cannot be read is an end of that."""
    served = stack.enter_context(foreign.served())
    disk = stack.enter_context(presented(served, foreign.name, foreign.sector))
    _refuse_unless_source(disk)
    imaged = capture_disk(job, disk)
    if imaged.unreadable:
        lost = Extents(imaged.unreadable).total
        raise BadImageError(f"{foreign.path.name} is damaged: {lost:,} bytes cannot be read", code="bad-stream")
    return _Imported(imaged=imaged, disk=disk)


def _refuse_unless_source(disk: Disk, library: Path | None = None) -> None:
    why = why_not_source(disk, library)
    if why:
        raise RefusedError(f"{disk.name} cannot be imported: {why}", code="not-a-source")
    with opened(disk.path) as fd:
        head, tail = (read(fd, min(_EDGE, disk.size), at) for at in (0, max(0, disk.size - _EDGE)))
    if not gpt.is_whole(head, tail, disk.size):
        raise BadImageError(
            f"{disk.name} is cut short or damaged: its partition table does not fit its {disk.size:,} bytes",
            code="bad-stream",
            hint="copy it once more from where it came from",
        )


def _import_stream(job: Storing, foreign: ForeignDisk, stack: ExitStack) -> _Imported:
    stream = store_stream(job, foreign)
    whole = _as_stored(job, foreign, stream)
    reader = DiskReader(whole)
    disk = stack.enter_context(presented(reader, foreign.name, foreign.sector))
    _refuse_unless_source(disk)
    job.report.step(f"Reading what is used on {disk.name}")
    with Search([disk]) as search:
        only = _stored(disk, foreign)
        found = _within(_surveyed(job, disk, only), disk.size)
        names = search.names()[disk.path]
    if reader.bad:
        raise reader.bad[0].error  # what was found was not all that there is
    if foreign.used is None:
        tell_notes(job.report, disk, found.volumes)
        files, trimmed = trim(job, whole, found.used, stream.stored)
    else:
        used = foreign.used.clipped(0, disk.size).union(
            found.table, sfdisk.guarded_head(disk.table).clipped(0, disk.size)
        )
        found = Survey(volumes=tuple(_measured(v, used) for v in found.volumes), table=found.table, used=used)
        files, trimmed = DiskFiles(index=whole.index, used=used, digests=whole.digests), False
        job.counts.add("chunks", len(busy_chunks(whole.index, used)))
    imaged = keep_files(job, disk, found, names, files)
    return _Imported(imaged=imaged, disk=disk, only=only, trimmed=trimmed)


def _stored(disk: Disk, foreign: ForeignDisk) -> Sequence[int]:
    """The numbers of the partitions that the image has; empty where it has all of them."""
    return [part.number for part in volumes_of(disk) if part.number not in foreign.left_out] if foreign.left_out else ()


def _surveyed(job: Storing, disk: Disk, only: Sequence[int]) -> Survey:
    with opened(disk.path) as fd:
        return survey(disk, fd, only, stop_if_asked=job.stop_if_asked)


def _within(found: Survey, size: int) -> Survey:
    """Without what lies behind the end of a disk whose last sector is not whole."""
    volumes = tuple(replace(v, size=min(v.size, size - v.start)) for v in found.volumes)
    return Survey(volumes=volumes, table=found.table.clipped(0, size), used=found.used.clipped(0, size))


def _measured(volume: Volume, used: Extents) -> Volume:
    """A volume of which the foreign image says what is used."""
    return replace(volume, used=used.clipped(volume.start, volume.start + volume.size).total, note="")


def _as_stored(job: Storing, foreign: ForeignDisk, stream: Stream) -> Content:
    """All of a disk, as the chunks that were just stored have it."""
    whole = Extents([(0, stream.size)])
    imaged = ImagedDisk(
        name=foreign.name,
        id=DiskId(size=stream.size, model=MODEL),
        logical_sector=foreign.sector,
        physical_sector=foreign.sector,
        table=PartitionTable(kind=TableKind.NONE),
        volumes=(),
        table_extents=(),
        used=stream.size,
        chunks=0,
        index_digest="",
        used_digest="",
        blake3_digest="",
    )
    return Content(
        disk=imaged,
        index=stream.index(),
        digests=stream.digests(),
        used=whole,
        table=Extents(),
        body=whole,
        store=job.store,
    )
