"""Write an image as a single file, or in pieces of one, for media that hold no library; see imaging.packformat.

Every chunk is proved on the way, also what its name says. In an encrypted library all stays sealed. The file appears
under its name once all of it is on the medium; of pieces the first one does so last, and without it the others are
nothing.
"""

import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from blake3 import blake3

from imaging import leftpieces, outfile, packformat
from imaging.access import make_writable
from imaging.behind import WriteBehind
from imaging.chunk import Buffer
from imaging.content import Content
from imaging.durable import create, reading, write_all, written
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.events import ExportResult
from imaging.imageplans import ExportPlan
from imaging.library import Library, most_bytes
from imaging.manifest import Image
from imaging.notes import MOST_BYTES as MOST_NOTES
from imaging.notes import NAME as NOTES
from imaging.outfile import InOrder
from imaging.packformat import BLOCK, FIRST, INDEX, MARKED, MOST_PIECES, PackedFile, Table, padded
from imaging.packroom import piece_size, refuse_if_there, refuse_without_room, too_many
from imaging.pipeline import Reporter, run_all
from imaging.regular import read_regular
from imaging.sealing import FILE_OVERHEAD, opened
from imaging.settling import settle
from imaging.signatures import MOST_BYTES as MOST_SIGNATURES
from imaging.signatures import NAME as SIGNATURES

_BEHIND = 8
"""Chunks that may be on their way to the medium at once."""
_AT_ONCE = 16
"""Chunks whose size is asked for at once."""
_SLACK = 128 << 10
"""Bytes of the index's table, at most as much as 999 pieces need."""
_MOST_MANIFEST = 16 << 20
_MOST_JSON = 1 << 20
_RECORDS = 16384
"""Records that are written at once."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk to be written: number `i` of a disk."""

    content: Content
    i: int


class _Chunks:
    """Each chunk that an image names, once, in the order of its disks."""

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents
        self._disks, self._numbers = array("I"), array("Q")
        seen: set[bytes] = set()
        for number, content in enumerate(contents):
            for i in range(len(content.index)):
                name = content.index.id(i)
                if name not in seen:
                    seen.add(name)
                    self._disks.append(number)
                    self._numbers.append(i)

    @property
    def lead(self) -> int:
        """By how many chunks they are to be announced."""
        return max((content.store.lead for content in self._contents), default=0)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, at: int) -> _Chunk:
        return _Chunk(self._contents[self._disks[at]], self._numbers[at])


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the image that is no chunk: where it lies, its path in the library, and what it must be."""

    source: Path
    path: str
    most: int
    digest: str = ""


class _Out:
    """The file, or its pieces of `limit` bytes, under names that show that they are not whole."""

    def __init__(self, target: Path, limit: int) -> None:
        self._target, self._limit = target, limit
        self.at = 0
        self.made: list[Path] = []
        self.heads: list[bytearray] = []
        self.taken = 0
        """Bytes that the finished pieces take on their medium."""
        self._placed: list[Path] = []
        self._fd, self._in_piece = -1, 0
        self._behind = WriteBehind(_BEHIND)

    def append(self, *parts: Buffer) -> None:
        """Write what follows. Raises OSError."""
        for part in parts:
            left = memoryview(part)
            while left:
                if self._fd < 0:
                    self._begin()
                size = min(len(left), self._limit - self._in_piece) if self._limit else len(left)
                self._write(left[:size])
                left = left[size:]
                if self._limit and self._in_piece == self._limit:
                    self._end()

    def _write(self, data: memoryview) -> None:
        write_all(self._fd, data)
        head = self.heads[-1]
        head += data[: max(0, MARKED - len(head))]
        self._behind.wrote(self._fd, self._in_piece, len(data), lambda _: None)
        self._in_piece += len(data)
        self.at += len(data)

    def _name(self, number: int) -> Path:
        return self._target.with_name(f"{self._target.name}.{number:03}") if self._limit else self._target

    def _begin(self) -> None:
        if len(self.made) == MOST_PIECES:
            raise too_many()
        path = outfile.unfinished(self._name(len(self.made) + 1))
        self._fd, self._in_piece = create(path), 0
        self.made.append(path)
        self.heads.append(bytearray())

    def _end(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._behind.drain()
                os.fsync(fd)
                self.taken += os.fstat(fd).st_blocks * 512
            finally:
                os.close(fd)

    def finish(self) -> Path:
        """Bring all down to the medium and give it its names, the first piece last; that one. IoError, RefusedError."""
        with written(self._target):
            self._end()
            if self._limit:
                self.made.append(leftpieces.note(self._target, [bytes(head) for head in self.heads]))
        for number in range(len(self.heads), 0, -1):
            outfile.finish(self.made[number - 1], self._name(number))
            self._placed.append(self._name(number))
        self._placed.clear()
        settle(self._target.parent)
        return self._name(1)

    def close(self) -> None:
        """Remove what is not whole."""
        if self._fd >= 0:
            with suppress(OSError):
                self._behind.drain()
            with suppress(OSError):
                os.close(self._fd)
        for path in (*self._placed, *self.made):
            with suppress(OSError):
                path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """An image that has room as a single file: at most `total` bytes, in pieces of `limit` where that is not 0."""

    library: Library
    image: Image
    chunks: _Chunks
    files: Sequence[_File]
    total: int
    limit: int


def prepare(plan: ExportPlan, report: Reporter) -> Ready:
    """Look at all that an export to a single file needs; nothing is written. Raises as `pack_image`."""
    target = Path(plan.target)
    library = Library.open(Path(plan.library))
    manifest = library.manifest(plan.image)
    image = library.image_of(plan.image, manifest)
    chunks = _Chunks([Content.load(library, image, disk) for disk in image.disks])
    files = _files(library, image, blake3(manifest).hexdigest(), report)
    refuse_if_there(target)
    total = _total(library, chunks, files, report)
    limit = piece_size(target, plan.piece_size, total)
    refuse_without_room(target, total)
    return Ready(library=library, image=image, chunks=chunks, files=files, total=total, limit=limit)


def pack_image(plan: ExportPlan, report: Reporter, cancel: threading.Event) -> ExportResult:
    """Carry out an export to a single file.

    Raises BadImageError where image or chunks cannot be used, RefusedError where there is a file of that name or no
    room, IoError, CancelledError: nothing that could be taken for an image is left then.
    """
    began = time.monotonic()
    target = Path(plan.target)
    make_writable(target.parent)
    with written(target):
        leftpieces.sweep(target)
        outfile.sweep(target)
    ready = prepare(plan, report)
    library, image, files = ready.library, ready.image, ready.files
    when = int(time.time())
    out = _Out(target, ready.limit)
    try:
        with written(target):
            packed = [_append(out, library, files[0], when)]
            records = _write_chunks(out, library, ready.chunks, image.label or image.id, when, report, cancel)
            packed += [_append(out, library, file, when) for file in files[1:]]
            report.step("Finishing the file")
            _append_index(out, records, packed, when, ready.limit)
        first = out.finish()
    finally:
        out.close()
    return ExportResult(
        image=image.id,
        file=str(first),
        disk_size=sum(disk.size for disk in image.disks),
        size=out.taken,
        pieces=len(out.heads),
        seconds=time.monotonic() - began,
    )


def _files(library: Library, image: Image, manifest: str, report: Reporter) -> Sequence[_File]:
    """All files of an image that are no chunks, `library.json` first, the manifest, of that digest, last.

    Signatures or notes that cannot be used stay behind. Raises RefusedError, IoError.
    """
    folder, place = library.folder(image.id), f"images/{image.id}"
    found = [_File(library.root / FIRST, FIRST, _MOST_JSON)]
    for disk in image.disks:
        digests = {"caibx": disk.index_digest, "used": disk.used_digest, "blake3": disk.blake3_digest}
        for suffix, digest in digests.items():
            source = library.file(image.id, disk.name, suffix, most_bytes(disk, suffix))
            found.append(_File(source, f"{place}/{source.name}", most_bytes(disk, suffix), digest))
    for name, most in ((SIGNATURES, MOST_SIGNATURES), (NOTES, MOST_NOTES)):
        file = _File(folder / name, f"{place}/{name}", most)
        try:
            if os.path.lexists(file.source):
                _data(library, file)
                found.append(file)
        except (BadImageError, IoError) as error:
            report.log(f"{name} of image {image.id} is not taken along: {error.message}", "warning")
    found.append(_File(folder / "manifest.json", f"{place}/manifest.json", _MOST_MANIFEST, manifest))
    for file in found:
        try:
            packformat.header(file.path, 0, 0)
        except ValueError as error:
            raise RefusedError(
                f"{file.source.name} is too long a name for this form of an image",
                code="bad-name",
                hint="copy the image into a library on that medium: rescue copy-images",
            ) from error
    return found


def _data(library: Library, file: _File) -> bytes:
    """A file as it lies in the library, proved to be what the manifest says. Raises BadImageError, IoError."""
    name = file.source
    with reading(name):
        data = read_regular(name, file.most + FILE_OVERHEAD)
    if file.path != FIRST:
        plain = opened(library.seal, file.path, data)
        if file.digest and blake3(plain).hexdigest() != file.digest:
            raise BadImageError(f"{name} is damaged: it is not the file that the manifest names", code="bad-image-file")
    return data


def _append(out: _Out, library: Library, file: _File, when: int) -> PackedFile:
    data, at = _data(library, file), out.at
    out.append(packformat.header(file.path, len(data), when), data, bytes(padded(len(data)) - len(data)))
    return PackedFile(file.path, at, len(data))


def _total(library: Library, chunks: _Chunks, files: Sequence[_File], report: Reporter) -> int:
    """The bytes that all will take; at most so many."""
    report.step("Measuring the image")
    store = library.store()

    def size_of(at: int) -> int:
        chunk = chunks[at]
        return store.room_of(store.name(chunk.content.index.id(chunk.i)))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        rooms = _in_turns(pool, size_of, len(chunks))
        sizes = chain(rooms, (file.source.stat().st_size for file in files))
        members = sum(BLOCK + padded(size) for size in sizes)
    report.finish_step()
    return members + 2 * BLOCK + len(chunks) * packformat.RECORD_SIZE + _SLACK


def _in_turns(pool: ThreadPoolExecutor, ask: Callable[[int], int], count: int) -> Iterator[int]:
    """What is answered for each number: a few at a time, for there may be millions."""
    for start in range(0, count, 64 * _AT_ONCE):
        yield from pool.map(ask, range(start, min(count, start + 64 * _AT_ONCE)))


def _write_chunks(
    out: _Out,
    library: Library,
    chunks: _Chunks,
    name: str,
    when: int,
    report: Reporter,
    cancel: threading.Event,
) -> Sequence[bytes]:
    """Write all chunks in the order of the disks; their records."""
    lengths = (chunk.content.index.length(chunk.i) for chunk in map(chunks.__getitem__, range(len(chunks))))
    report.step(f"Writing image {name}", sum(lengths))
    order, seal = InOrder(cancel), library.seal
    records: list[bytes] = []

    def work(at: int) -> None:
        chunk = chunks[at]
        try:
            frame = chunk.content.proved_frame(chunk.i)
            stored = chunk.content.index.id(chunk.i)
            if seal is not None:
                stored = seal.name(stored)
                frame = seal.seal_chunk(stored, frame)
            header = packformat.header(packformat.chunk_path(stored), len(frame), when)
            with order.turn(at):
                records.append(packformat.record(stored, out.at, len(frame)))
                out.append(header, frame, bytes(padded(len(frame)) - len(frame)))
        except BaseException as error:
            order.fail(error)
            raise
        report.advance(chunk.content.index.length(chunk.i), len(frame))

    def ahead(at: int) -> None:
        chunks[at].content.announce(chunks[at].i)

    run_all(range(len(chunks)), lambda: work, cancel, ahead, chunks.lead)
    report.finish_step()
    records.sort()
    return records


def _append_index(out: _Out, records: Sequence[bytes], files: Sequence[PackedFile], when: int, limit: int) -> None:
    at = out.at
    first, *others = (packformat.mark(bytes(head)) for head in out.heads)
    table = Table(files=tuple(files), marks=tuple(others), first=first)
    out.append(packformat.header(INDEX, packformat.size_of_index(len(records), table), when))
    for start in range(0, len(records), _RECORDS):
        out.append(b"".join(records[start : start + _RECORDS]))
    out.append(packformat.end_of_index(len(records), table, at, limit))
