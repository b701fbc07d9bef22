"""Where chunks lie: a folder in casync's store layout."""

import ctypes
import mmap
import os
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import zstandard

from imaging.behind import WriteBehind, announce, forget
from imaging.chunk import MAX_CHUNK_SIZE, Buffer, chunk_id
from imaging.durable import create, write_all, written
from imaging.errors import BadImageError, IoError

_BEHIND = 8
"""Chunks that may be on their way to the medium at once, each an open file."""
_SUFFIX = ".cacnk"
_FRAME_SLACK = 1 << 16
"""zstd's worst case is some KiB more than the data."""
_libc = ctypes.CDLL(None, use_errno=True)


class ChunkStore(Protocol):
    """A place for chunks; frames are zstd frames as they lie in the store."""

    def has(self, chunk: bytes) -> bool:
        """Whether the chunk of this id is there."""

    def get(self, chunk: bytes, size: int) -> Buffer:
        """The frame of a chunk of `size` plain bytes; raises BadImageError where it is missing.

        It is good until the same thread asks for the next.
        """

    def announce(self, chunk: bytes) -> None:
        """The chunk of this id will be asked for soon; nothing happens where it is not there."""

    def put(self, chunk: bytes, frame: bytes) -> None:
        """Store a frame; raises IoError."""

    def sync(self) -> None:
        """Return once all that was put is on the medium; raises IoError."""

    @property
    def lost(self) -> bool:
        """Whether the medium ever said that it lost something that was put."""

    def named_since(self, when: float) -> Sequence[bytes]:
        """The ids of the chunks that were stored since `when` (seconds since the epoch); raises IoError."""

    def drop_unless_whole(self, chunk: bytes) -> bool:
        """Remove a chunk that does not hold what its name says; whether it was removed. Raises IoError."""


class LocalStore:
    """Chunks in a folder: `<first 4 hex>/<64 hex>.cacnk`.

    Chunks are renamed into place without a sync each; `sync` does that once for all. So a chunk that was written just
    before a crash may have its name and not its data: `distrust_since` makes `has` look into such.
    """

    def __init__(self, root: Path, distrust_since: float | None = None, *, from_medium: bool = False) -> None:
        """Take the folder and, after a writer that died, when that one began (seconds since the epoch).

        With `from_medium` chunks are read from the medium itself, though memory may hold them.
        """
        self._root = root
        self._distrust_since = distrust_since
        self._not_counted: set[bytes] = set()
        self._from_medium = from_medium
        self._lock = threading.Lock()
        self._announced: set[bytes] = set()
        self._behind = WriteBehind(_BEHIND)
        self._lost = False

    def path(self, chunk: bytes) -> Path:
        """Where the chunk of this id lies."""
        name = chunk.hex()
        return self._root / name[:4] / (name + _SUFFIX)

    def has(self, chunk: bytes) -> bool:
        """Whether the chunk of this id is there; an empty file, left by a crash, does not count."""
        path = self.path(chunk)
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise IoError(f"{path} cannot be looked at: {error.strerror}", code="read-failed") from error
        if status.st_size == 0 or chunk in self._not_counted:
            return False
        if self._distrust_since is None or status.st_mtime < self._distrust_since:
            return True
        try:
            return _is_whole(path, chunk)
        except OSError:
            return False  # storing it anew mends it

    def get(self, chunk: bytes, size: int) -> Buffer:
        """The frame of a chunk of `size` plain bytes; it is good until the same thread asks for the next.

        Raises BadImageError where it is missing or far too long, IoError where the medium fails.
        """
        path = self.path(chunk)
        try:
            frame = _read(path, size + _FRAME_SLACK, from_medium=self._from_medium and not self._is_fresh(chunk))
        except FileNotFoundError as error:
            if not self._root.is_dir():
                raise IoError(
                    f"{self._root} is gone: the library's disk is no longer there",
                    code="library-gone",
                    hint="attach the disk that holds the library again, and start anew",
                ) from error
            raise BadImageError(f"chunk {chunk.hex()} is missing from the library", code="missing-chunk") from error
        except OSError as error:
            raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
        if not frame:
            raise BadImageError(f"chunk {chunk.hex()} is corrupt: its file is empty", code="corrupt-chunk")
        return frame

    def announce(self, chunk: bytes) -> None:
        """Have the kernel read the chunk meanwhile; where it is to come from the medium, memory lets go of it first."""
        with suppress(OSError):
            fd = os.open(self.path(chunk), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if self._from_medium:
                    forget(fd, 0, 0)
                    with self._lock:
                        self._announced.add(chunk)
                announce(fd, 0, 0)
            finally:
                os.close(fd)

    def _is_fresh(self, chunk: bytes) -> bool:
        """Whether what memory holds of a chunk was read from the medium since it was announced; once for each."""
        with self._lock:
            known = chunk in self._announced
            self._announced.discard(chunk)
            return known

    def put(self, chunk: bytes, frame: bytes) -> None:
        """Store a frame under a temporary name in the same folder, then rename it; raises IoError."""
        path = self.path(chunk)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        with written(path):
            fd = self._create(temporary)
            try:
                write_all(fd, frame)
                temporary.replace(path)
            except OSError:
                os.close(fd)
                temporary.unlink(missing_ok=True)
                raise
            with self._noted():
                self._behind.wrote(fd, 0, len(frame), lambda _: os.close(fd))
        self._not_counted.discard(chunk)

    def named_since(self, when: float) -> Sequence[bytes]:
        """The ids of the chunks that were stored since `when` (seconds since the epoch); raises IoError."""
        found: list[bytes] = []
        try:
            for path in self._root.glob(f"*/*{_SUFFIX}"):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime >= when:
                        found.append(_id_of(path))
        except OSError as error:
            raise IoError(f"{self._root} cannot be read: {error.strerror}", code="read-failed") from error
        return [chunk for chunk in found if chunk]

    def drop_unless_whole(self, chunk: bytes) -> bool:
        """Remove a chunk that does not hold what its name says; whether it was removed. Raises IoError.

        One that cannot be read may be another image's and readable tomorrow: it stays, and `has` does not count it.
        """
        path = self.path(chunk)
        try:
            looked_at = path.stat()
            # Twice, for an image may need it: a bit can flip on the way.
            if _is_whole(path, chunk) or _is_whole(path, chunk, from_medium=True):
                return False
            if not os.path.samestat(looked_at, path.stat()):
                return False  # stored anew by another capture while it was looked at
        except FileNotFoundError:
            return False
        except OSError as error:
            self._not_counted.add(chunk)
            raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
        self._not_counted.add(chunk)
        with written(path):
            path.unlink(missing_ok=True)
        return True

    @staticmethod
    def _create(path: Path) -> int:
        try:
            return create(path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return create(path)

    def sync(self) -> None:
        """One syncfs(2) for all chunks; raises IoError where the medium reports that it lost any."""
        with written(self._root):
            self._root.mkdir(parents=True, exist_ok=True)
            with self._noted():
                self._behind.drain()
                _sync_all(self._root)

    @property
    def lost(self) -> bool:
        """Whether the medium ever said that it lost something: the kernel says so once, a later sync finds all well."""
        return self._lost

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._lost = True
            raise


def _sync_all(folder: Path) -> None:
    """Bring the file system that holds a folder down to its medium; raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)


def _id_of(path: Path) -> bytes:
    """The id that a file's name states; empty where it states none."""
    try:
        return bytes.fromhex(path.stem)
    except ValueError:
        return b""


class _Scratch(threading.local):
    """Memory of each thread that a frame is read into, whole pages: see imaging.pipeline.ChunkBuffer."""

    def __init__(self) -> None:
        """Called in each thread: what the class held would be the same for all."""
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)


_scratch = _Scratch()


def _read(path: Path, most: int, *, from_medium: bool = False) -> memoryview:
    """At most so many bytes of a file that may be none: a pipe is not waited for, an endless device not read out.

    What is returned is good until this thread reads the next.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            most = min(most, status.st_size)
            if from_medium:
                forget(fd, 0, 0)
        if len(_scratch.memory) < most:
            _scratch.memory = mmap.mmap(-1, most)
        view, done = memoryview(_scratch.memory)[:most], 0
        # A file system may give less than what was asked for, and the rest, or an error, only when asked again.
        while done < most and (count := os.readv(fd, [view[done:]])):
            done += count
    finally:
        with suppress(OSError):
            os.close(fd)
    return view[:done]


def _is_whole(path: Path, chunk: bytes, *, from_medium: bool = False) -> bool:
    """Whether a file holds the chunk; raises OSError where it cannot be read."""
    frame = _read(path, MAX_CHUNK_SIZE + _FRAME_SLACK, from_medium=from_medium)
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 < size <= MAX_CHUNK_SIZE:
            return False
        data = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError:
        return False
    return chunk_id(data) == chunk
