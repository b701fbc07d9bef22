"""Where chunks lie: a folder in casync's store layout."""

import mmap
import os
import re
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imaging.behind import WriteBehind, announce, forget
from imaging.chunk import ID_SIZE, MAX_CHUNK_SIZE, Buffer, is_whole
from imaging.durable import create, reading, sync_all, write_all, written
from imaging.errors import BadImageError, IoError
from imaging.temporary import remove_remains, temporary

_BEHIND = 8
"""Chunks that may be on their way to the medium at once, each an open file."""
_SUFFIX = ".cacnk"
_NAME = 2 * ID_SIZE + len(_SUFFIX)
"""Letters of a chunk's file name."""
_BAD = ".bad"
"""What is behind the name of a chunk that was set aside."""
FRAME_SLACK = 1 << 16
"""zstd's worst case is some KiB more than the data."""
FOLDERS = 1 << 16
"""How many values the first two bytes of a name can have: a store's folders."""
_FOLDER = re.compile("[0-9a-f]{4}")


Whole = Callable[[Buffer, bytes], bool]
"""Whether what lies in a store under a name is the chunk of that name."""


Passed = Callable[[bytes], bool]
"""Whether a chunk of that name is of no interest."""


def none_of(_: bytes) -> bool:
    """Every chunk is of interest."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A chunk as it lies in a store: its id, its compressed bytes, and when it was stored (seconds since the epoch)."""

    id: bytes
    size: int
    stored: float


class ChunkStore(Protocol):
    """A place for chunks; frames are zstd frames.

    A chunk is asked for by its id. What is looked at or removed whoever it belongs to goes by the name that it has in
    the store: in an encrypted library that is another, see `name`.
    """

    def name(self, chunk: bytes) -> bytes:
        """The name that the chunk of this id has in the store: its id, or what a key makes of that."""

    def has(self, chunk: bytes) -> bool:
        """Whether the chunk of this id is there."""

    def get(self, chunk: bytes, size: int) -> Buffer:
        """The frame of a chunk of `size` plain bytes; raises BadImageError where it is missing.

        It is good until the same thread asks for the next.
        """

    def announce(self, chunk: bytes) -> None:
        """The chunk of this id will be asked for soon; nothing happens where it is not there."""

    @property
    def lead(self) -> int:
        """By how many chunks at least `announce` should be ahead of `get`."""

    def put(self, chunk: bytes, frame: bytes) -> None:
        """Store a frame; raises IoError."""

    def sync(self) -> None:
        """Return once all that was put is on the medium; raises IoError."""

    @property
    def lost(self) -> bool:
        """Whether the medium ever said that it lost something that was put."""

    def named_since(self, when: float) -> Sequence[bytes]:
        """The names of the chunks that were stored since `when` (seconds since the epoch); raises IoError."""

    def remove_unfinished(self, owners: Collection[str]) -> None:
        """Remove what processes that are dead were just storing; see imaging.temporary for their names. IoError."""

    def drop_unless_whole(self, name: bytes) -> bool:
        """Remove a chunk that does not hold what its name says; whether it was removed. Raises IoError."""

    def set_aside(self, chunk: bytes) -> bool:
        """Rename a chunk that does not hold what its name says to one ending in `.bad`; whether it was. IoError."""

    def listed(self, first: int, end: int, but: Passed = none_of) -> Iterator[Listed]:
        """The chunks that are there whose names begin with `first` to `end` - 1 (two bytes, as numbers). IoError.

        Those whose name `but` holds of are passed over without a look at their sizes, which is most of the work.
        """

    def strays(self) -> Iterator[tuple[str, int]]:
        """What lies in the store and is no chunk: its path there, and its bytes. Raises IoError."""

    def room_of(self, name: bytes) -> int:
        """Bytes that a chunk takes in the store; 0 where it is not there. Raises IoError."""

    def stamp(self, name: bytes) -> tuple[int, bytes] | None:
        """A chunk's bytes in the store, and what changes whenever the chunk does, empty where that is not known.

        None where it is not there. Raises IoError.
        """

    def remove(self, name: bytes) -> int:
        """Remove a chunk that no image names any more; the bytes that it took, 0 where it was not there. IoError."""

    def remove_all(self, names: Iterable[bytes]) -> Iterator[int]:
        """As `remove`, for each in its turn; several at once where that is quicker. Raises IoError."""


class LocalStore:
    """Chunks in a folder: `<first 4 hex>/<64 hex>.cacnk`.

    Chunks are renamed into place without a sync each; `sync` does that once for all. So a chunk that was written just
    before a crash may have its name and not its data: `distrust_since` makes `has` look into such.
    """

    def __init__(
        self,
        root: Path,
        distrust_since: float | None = None,
        *,
        from_medium: bool = False,
        whole: Whole = is_whole,
    ) -> None:
        """Take the folder and, after a writer that died, when that one began (seconds since the epoch).

        With `from_medium` chunks are read from the medium itself, though memory may hold them. `whole` says whether
        what lies under a name is the chunk of that name.
        """
        self._whole = whole
        self._root = root
        self._information = root.with_name("library.json")
        self._in_library = not _is_absent(self._information)
        self._distrust_since = distrust_since
        self._not_counted: set[bytes] = set()
        self._from_medium = from_medium
        self._lock = threading.Lock()
        self._announced: set[bytes] = set()
        self._behind = WriteBehind(_BEHIND)
        self._lost = False

    @property
    def lead(self) -> int:
        """None beyond the usual: a disk is read ahead by the kernel."""
        return 0

    def name(self, chunk: bytes) -> bytes:
        """Its id."""
        return chunk

    def path(self, chunk: bytes) -> Path:
        """Where the chunk of this id lies."""
        name = chunk.hex()
        return self._root / name[:4] / (name + _SUFFIX)

    def has(self, chunk: bytes) -> bool:
        """Whether the chunk of this id is there; an empty file, left by a crash, does not count."""
        path, status = self.path(chunk), self._status(chunk)
        if status is None or status.st_size == 0 or chunk in self._not_counted:
            return False
        if self._distrust_since is None or status.st_mtime < self._distrust_since:
            return True
        try:
            return self._is_whole(path, chunk)
        except OSError:
            return False  # storing it anew mends it

    def get(self, chunk: bytes, size: int) -> Buffer:
        """The frame of a chunk of `size` plain bytes; it is good until the same thread asks for the next.

        Raises BadImageError where it is missing or far too long, IoError where the medium fails.
        """
        path = self.path(chunk)
        try:
            frame = _read(path, size + FRAME_SLACK, from_medium=self._from_medium and not self._is_fresh(chunk))
        except FileNotFoundError as error:
            if not self._root.is_dir():
                raise self._gone() from error
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
        new = temporary(path)
        with written(path):
            fd = self._create(new)
            try:
                write_all(fd, frame)
                new.replace(path)
            except OSError:
                os.close(fd)
                new.unlink(missing_ok=True)
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
                        found.append(_id_of(path.name))
        except OSError as error:
            raise IoError(f"{self._root} cannot be read: {error.strerror}", code="read-failed") from error
        return [chunk for chunk in found if chunk]

    def remove_unfinished(self, owners: Collection[str]) -> None:
        """Remove the temporary files of processes that are dead; one that cannot be removed stays. Raises IoError."""
        with reading(self._root):
            folders = self._folders(0, FOLDERS)
        for folder in folders:
            remove_remains(Path(folder), owners)

    def drop_unless_whole(self, chunk: bytes) -> bool:
        """Remove a chunk that does not hold what its name says; whether it was removed. Raises IoError.

        One that cannot be read may be another image's and readable tomorrow: it stays, and `has` does not count it.
        """
        path = self.path(chunk)
        try:
            looked_at = path.stat()
            # Twice, for an image may need it: a bit can flip on the way.
            if self._is_whole(path, chunk) or self._is_whole(path, chunk, from_medium=True):
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

    def set_aside(self, chunk: bytes) -> bool:
        """Give a chunk that does not hold what its name says another name, `.bad` behind it; whether it was.

        One that cannot be read stays: it may be readable tomorrow. Raises IoError.
        """
        path = self.path(chunk)
        try:
            # Twice, for a bit can flip on the way.
            if self._is_whole(path, chunk) or self._is_whole(path, chunk, from_medium=True):
                return False
        except FileNotFoundError:
            return False
        except OSError as error:
            raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
        with written(path):
            path.rename(path.with_name(path.name + _BAD))
        return True

    def listed(self, first: int, end: int, but: Passed = none_of) -> Iterator[Listed]:
        """The chunks that are there whose names begin with `first` to `end` - 1 (two bytes, as numbers).

        What is no chunk's file is passed over, and so is what a link leads to, and what lies in another folder than
        its own: whoever removes a chunk by its name would remove the good one. Raises IoError.
        """
        try:
            for folder in self._folders(first, end):
                own = Path(folder).name
                with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as files:
                    for file in files:
                        # As long as it must be, and in small letters: other ways to write an id are other files.
                        if len(file.name) != _NAME or not file.name.islower() or not file.name.startswith(own):
                            continue
                        chunk = _id_of(file.name) if file.name.endswith(_SUFFIX) else b""
                        if len(chunk) == ID_SIZE and not but(chunk) and file.is_file(follow_symlinks=False):
                            status = file.stat(follow_symlinks=False)
                            yield Listed(id=chunk, size=status.st_size, stored=status.st_mtime)
        except OSError as error:
            raise IoError(f"{self._root} cannot be read: {error.strerror}", code="read-failed") from error

    def _folders(self, first: int, end: int) -> list[str]:
        """Those that are there: to try all 65536 takes a second on a disk in memory, and minutes over a network."""
        # What lies behind a link may be another library's: what is listed here may be removed.
        if not self._root.is_symlink():
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._root) as found:
                folders = {int(one.name, 16): one for one in found if _FOLDER.fullmatch(one.name)}
                chosen = sorted(number for number in folders if first <= number < end)
                return [folders[number].path for number in chosen if folders[number].is_dir(follow_symlinks=False)]
        return []

    def strays(self) -> Iterator[tuple[str, int]]:
        """What lies in the store and is no chunk: its path there, and its bytes; links are not followed. IoError."""
        with reading(self._root), suppress(FileNotFoundError):
            for folder in sorted(self._root.iterdir()):
                if folder.is_symlink() or not folder.is_dir():
                    yield folder.name, folder.lstat().st_size
                    continue
                with suppress(FileNotFoundError), os.scandir(folder) as files:
                    for file in files:
                        chunk = _id_of(file.name) if file.name.endswith(_SUFFIX) else b""
                        if len(chunk) != ID_SIZE or chunk.hex()[:4] != folder.name:
                            yield f"{folder.name}/{file.name}", file.stat(follow_symlinks=False).st_size

    def room_of(self, chunk: bytes) -> int:
        """Bytes that a chunk's file holds; 0 where it is not there. Raises IoError."""
        status = self._status(chunk)
        return status.st_size if status is not None else 0

    def stamp(self, name: bytes) -> tuple[int, bytes] | None:
        """A chunk's bytes, and what changes whenever its file does: size and times. None where there is none. IoError.

        Not the number of the file: on FAT and some shares that is another after each mount.
        """
        status = self._status(name)
        if status is None:
            return None
        return status.st_size, b"%d %d %d" % (status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def remove(self, chunk: bytes) -> int:
        """Remove a chunk that no image names any more, and its folder with the last; the bytes that it took.

        Raises IoError.
        """
        size, path = self.room_of(chunk), self.path(chunk)
        with written(path):
            try:
                path.unlink()
            except FileNotFoundError:
                return 0
        with suppress(OSError):
            path.parent.rmdir()
        return size

    def remove_all(self, chunks: Iterable[bytes]) -> Iterator[int]:
        """As `remove`, for each in its turn. Raises IoError."""
        return map(self.remove, chunks)

    def _status(self, chunk: bytes) -> os.stat_result | None:
        """Of a chunk's file; None where there is none. Raises IoError."""
        path = self.path(chunk)
        try:
            return path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IoError(f"{path} cannot be looked at: {error.strerror}", code="read-failed") from error

    def _is_whole(self, path: Path, chunk: bytes, *, from_medium: bool = False) -> bool:
        """Whether a file holds the chunk; raises OSError where it cannot be read."""
        return self._whole(_read(path, MAX_CHUNK_SIZE + FRAME_SLACK, from_medium=from_medium), chunk)

    def _create(self, path: Path) -> int:
        try:
            return create(path)
        except FileNotFoundError:
            self._refuse_where_gone()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return create(path)

    def _refuse_where_gone(self) -> None:
        """Raise IoError where the library was unmounted: what its folder stands on then must not be filled."""
        if self._in_library and _is_absent(self._information):
            raise self._gone()

    def _gone(self) -> IoError:
        return IoError(
            f"{self._root} is gone: the library's disk is no longer there",
            code="library-gone",
            hint="attach the disk that holds the library again, and start anew",
        )

    def sync(self) -> None:
        """One syncfs(2) for all chunks; raises IoError where the medium reports that it lost any."""
        with written(self._root):
            self._refuse_where_gone()
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


def _is_absent(path: Path) -> bool:
    """Whether there is no such file, for certain."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _sync_all(folder: Path) -> None:
    """Bring the file system that holds a folder down to its medium; raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_all(fd)
    finally:
        os.close(fd)


def _id_of(name: str) -> bytes:
    """The id that a file's name states; empty where it states none."""
    try:
        return bytes.fromhex(name.removesuffix(_SUFFIX))
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
