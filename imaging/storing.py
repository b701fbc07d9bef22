"""Storing a new image: the mark and the folder that claim it, its chunks, each stored once, and its end, good or bad.

The image exists only once everything of it is on the medium.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from imaging import chunk, manifest, signatures, vouching
from imaging.errors import CancelledError, IoError
from imaging.index import DigestTable, Index
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk, Machine
from imaging.pipeline import Counter, Reporter, run_all
from imaging.signingkeys import PrivateKey
from imaging.stores import ChunkStore
from imaging.writers import Writer


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Storing:
    """What every step of storing one image needs; use `storing`.

    `counts` has "chunks" with data, those of them that are "new" to the library, and their compressed bytes, "stored".
    """

    library: Library
    image_id: str
    store: ChunkStore
    writer: Writer
    level: int
    report: Reporter
    cancel: threading.Event
    counts: Counter = field(default_factory=Counter)
    _at_work: _AtWork = field(default_factory=_AtWork)

    def stop_if_asked(self) -> None:
        """Raise CancelledError where the job is to stop."""
        if self.cancel.is_set():
            raise CancelledError("stopped because somebody asked")

    def keep(self, name: bytes, data: chunk.Buffer) -> int:
        """Store a chunk, unless the library has it; the compressed bytes that it took, 0 where it was there."""
        if not self._at_work.take(name):
            return 0
        if self.store.has(name):
            self._at_work.done(name)
            return 0
        frame = chunk.compress(data, self.level)
        self.store.put(name, frame)
        self._at_work.done(name)
        self.counts.add("new")
        self.counts.add("stored", len(frame))
        return len(frame)

    def fill_unused(self, index: Index, digests: DigestTable, busy: Sequence[int]) -> None:
        """Chunks without a used byte are all zero, and need not be read. casync wants their chunk stored, too."""
        zeros: dict[int, tuple[bytes, bytes]] = {}
        following = 0
        for stop in chain(busy, (len(index),)):
            for first, end in index.equal_runs(following, stop):
                size = index.length(first)
                if size not in zeros:
                    zeros[size] = self.zeros(size)
                index.name_run(first, end, zeros[size][0])
                digests.set_run(first, end, zeros[size][1])
            following = stop + 1

    def zeros(self, size: int) -> tuple[bytes, bytes]:
        """Name and digest of a chunk of zeros, which is stored; it counts for nothing."""
        data = bytes(size)
        name = chunk.chunk_id(data)
        if not self.store.has(name):
            self.store.put(name, chunk.compress(data, self.level))
        return name, chunk.digest(data)

    def commit(
        self,
        disks: tuple[ImagedDisk, ...],
        *,
        label: str,
        machine: Machine,
        tool: str,
        created: str = "",
        signer: PrivateKey | None = None,
    ) -> Image:
        """Have everything on the medium, and then the image on the list, signed; `created` is now where it is empty."""
        self.report.step("Finishing the image")
        self.store.sync()
        image = Image(
            id=self.image_id,
            created=created or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            disks=disks,
            label=label,
            machine=machine,
            tool=tool,
            stored=self.counts["stored"],
        )
        self.writer.beat()
        data = manifest.encode(image)
        if signer is not None:
            vouching.write(self.library, image.id, signatures.signed(None, image.id, data, signer))
        self.library.commit(image.id, data)
        return image


@contextmanager
def storing(library: Library, level: int, report: Reporter, cancel: threading.Event) -> Iterator[Storing]:
    """Begin an image, which `commit` completes. Where that fails, none is listed, and what was stored is room that
    later images use. Raises RefusedError where the library is busy, IoError.
    """
    image_id, writer = _begin(library)
    job = Storing(
        library=library,
        image_id=image_id,
        store=library.store(writer.distrust_since),
        writer=writer,
        level=level,
        report=report,
        cancel=cancel,
    )
    try:
        _heal(job)
        yield job
    except BaseException:
        # What failed first is what is told; where nothing can be removed now the mark stays, for whoever comes next.
        with suppress(IoError):
            library.discard(image_id)
            _end_orderly(job)
        raise
    writer.end()


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


def _heal(job: Storing) -> None:
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
    if job.writer.dead_owners:
        job.store.remove_unfinished(job.writer.dead_owners)
    if not unread:  # else the next capture has to look at them again
        job.writer.settle()


def _end_orderly(job: Storing) -> None:
    """After a failure the mark may go only if what was stored is on the medium; else a later writer must look twice."""
    try:
        job.store.sync()
    except IoError:
        return
    if not job.store.lost:
        job.writer.end()
