"""The newest image of a disk, asked for the names of chunks that did not change since.

Naming a chunk by SHA-512/256 costs more than all else but compression; where the same place held the same BLAKE3
before, the name is known. Index and digest table are read piece by piece: held in memory they would double what a
capture of a large disk needs.
"""

import contextlib
import os
from pathlib import Path
from types import TracebackType

from blake3 import blake3

from imaging.chunk import ID_SIZE
from imaging.disk import DiskId
from imaging.errors import BadImageError, IoError
from imaging.library import Library, most_bytes
from imaging.manifest import Image, ImagedDisk
from imaging.pipeline import Reporter
from imaging.regular import open_regular

_HEAD = 64
_ITEM = 40
_DIGESTS_HEAD = 24
_BLOCK = 1 << 20


class Previous:
    """An earlier capture of a disk, or none; use as a context manager, which closes its files."""

    def __init__(self, chunks: int = 0, index: int = -1, digests: int = -1) -> None:
        """Take the number of chunks and the open index and digest table, already proved to be whole."""
        self._chunks, self._index, self._digests = chunks, index, digests

    def __enter__(self) -> "Previous":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for fd in (self._index, self._digests):
            if fd >= 0:
                os.close(fd)

    def name_of(self, i: int, start: int, size: int, digest: bytes) -> bytes | None:
        """The name of the chunk at `start` if it held the same data then; `i` is where it is looked for first."""
        try:
            if not (0 <= i < self._chunks and self._end(i) == start + size):
                i = self._find(start + size)
            if i >= self._chunks or self._end(i) != start + size or self._end(i - 1) != start:
                return None
            if os.pread(self._digests, ID_SIZE, _DIGESTS_HEAD + ID_SIZE * i) != digest:
                return None
            name = os.pread(self._index, ID_SIZE, _HEAD + _ITEM * i + 8)
        except OSError:
            return None
        return name if len(name) == ID_SIZE else None

    def _end(self, i: int) -> int:
        return int.from_bytes(os.pread(self._index, 8, _HEAD + _ITEM * i), "little") if i >= 0 else 0

    def _find(self, end: int) -> int:
        low, high = 0, self._chunks
        while low < high:
            middle = (low + high) // 2
            if self._end(middle) < end:
                low = middle + 1
            else:
                high = middle
        return low


def newest_capture(library: Library, disk: DiskId, report: Reporter) -> Previous:
    """The newest image in the library that holds this disk; one whose files are damaged is passed over, with a word."""
    for image in library.images().images:
        for imaged in image.disks:
            if imaged.id.same_disk(disk):
                try:
                    return _open(library, image, imaged)
                except (OSError, IoError, BadImageError) as error:
                    report.log(f"Not compared with image {image.id}: {error}", "warning")
    return Previous()


def _open(library: Library, image: Image, disk: ImagedDisk) -> Previous:
    opened: list[int] = []
    try:
        for suffix, digest in (("caibx", disk.index_digest), ("blake3", disk.blake3_digest)):
            path = library.file(image.id, disk.name, suffix, most_bytes(disk, suffix))
            opened.append(_opened(library, path, most_bytes(disk, suffix)))
            if _digest(opened[-1]) != digest:
                raise IoError(f"{path} is damaged", code="bad-image-file")
        return Previous(disk.chunks, *opened)
    except BaseException:
        for fd in opened:
            with contextlib.suppress(OSError):
                os.close(fd)
        raise


def _opened(library: Library, path: Path, most: int) -> int:
    """A descriptor to read a file of an image by: of memory that has no name where the library is encrypted."""
    if library.seal is None:
        return open_regular(path, most)
    fd = os.memfd_create(path.name, os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(library.read(path, most))
    return fd


def _digest(fd: int) -> str:
    hasher, at = blake3(), 0
    while block := os.pread(fd, _BLOCK, at):
        hasher.update(block)
        at += len(block)
    return hasher.hexdigest()
