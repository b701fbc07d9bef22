"""Making a disk that was stored whole one of which only the used bytes are stored, as a capture would have it."""

import threading
from collections.abc import Callable

from imaging import chunk
from imaging.content import Content
from imaging.errors import RescueError
from imaging.extents import Extents
from imaging.index import DigestTable, Index
from imaging.library import DiskFiles, Library
from imaging.pipeline import Reporter, busy_chunks, run_all
from imaging.storing import Storing
from imaging.sweep import Sweep
from imaging.withdrawn import leave_behind
from imaging.writers import Deleter


def trim(job: Storing, whole: Content, used: Extents, stored: Callable[[int], int]) -> tuple[DiskFiles, bool]:
    """Have zeros where nothing is used; `stored` says how many bytes were stored for a chunk of this very disk.

    Says, too, whether chunks that no image came to name are left to `free`. Raises BadImageError, IoError,
    CancelledError.
    """
    index = Index(bytearray(whole.index.encoded))
    digests = DigestTable(bytearray(whole.digests.encoded))
    busy = busy_chunks(index, used)
    job.fill_unused(index, digests, busy)
    parts = [i for i in busy if used.within(index.start(i), index.end(i)) != [(index.start(i), index.end(i))]]
    if parts:
        job.report.step(f"Leaving out what is not used on {whole.disk.name}", sum(index.length(i) for i in parts))

    def work(i: int) -> None:
        data = bytearray(whole.plain(i))
        _blank(data, used, index.start(i))
        proof = chunk.digest(data)
        if proof != whole.digests[i]:
            name = chunk.chunk_id(data)
            moved = len(data) if job.keep(name, data) else 0
            index.name(i, name)
            digests.set(i, proof)
        else:
            moved = 0
        job.report.advance(len(data), moved)
        job.writer.beat()

    run_all(parts, lambda: work, job.cancel, whole.announce, whole.store.lead)
    job.report.finish_step()
    job.counts.add("chunks", len(busy))
    return DiskFiles(index=index, used=used, digests=digests), _leave_behind(job, whole, index, stored)


def _blank(data: bytearray, used: Extents, start: int) -> None:
    at = 0
    for low, high in (*used.within(start, start + len(data)), (start + len(data), start + len(data))):
        data[at : low - start] = bytes(low - start - at)
        at = high - start


def _leave_behind(job: Storing, whole: Content, index: Index, stored: Callable[[int], int]) -> bool:
    """Note what was stored and is not named any more, for a deletion to free; it does not count as stored."""
    renamed = (i for i in range(len(index)) if stored(i) and index.id(i) != whole.index.id(i))
    gone = {whole.index.id(i): stored(i) for i in renamed}
    for i in range(len(index)) if gone else ():
        gone.pop(index.id(i), None)
    if gone:
        leave_behind(job.library, whole.disk.name, whole.index)
        job.counts.add("new", -len(gone))
        job.counts.add("stored", -sum(gone.values()))
    return bool(gone)


def free(library: Library, report: Reporter, cancel: threading.Event) -> None:
    """Free what trimming has left behind, if nobody else is at work in the library; else the next deletion does."""
    try:
        with Deleter(library) as mark:
            Sweep(library, mark, report, cancel).run()
    except RescueError as error:
        report.log(f"The room of what is not used is freed by the next deletion: {error.message}", "warning")
