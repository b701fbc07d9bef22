"""Chunks in object storage or on a web server: many requests at once, and, where wanted, a cache on a disk here."""

import os
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from imaging.chunk import ID_SIZE, MAX_CHUNK_SIZE, Buffer, is_whole
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.objects import MAY_NOT_REPLACE, Objects
from imaging.stores import FOLDERS, FRAME_SLACK, Listed, LocalStore, Passed, Whole, none_of

_AT_ONCE = 16
"""Requests under way at once."""
_MOST_COMING = 24
"""Frames that wait in memory to be asked for."""
_BATCH = 128
"""Chunks that are removed before anybody is asked whether to go on."""
_SUFFIX = ".cacnk"
_CACHE_SIZE = 20 << 30
"""Bytes that a cache takes by default."""


class RemoteStore:
    """Chunks below an address, as `chunks/<first 4 hex>/<64 hex>.cacnk`."""

    def __init__(self, objects: Objects, cache: "ChunkCache | None" = None, whole: Whole = is_whole) -> None:
        """Take the address's files, where there is one a cache on a disk, and what says if a chunk is whole."""
        self._objects, self._cache, self._whole = objects, cache, whole
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="chunks")
        self._lock = threading.Lock()
        self._coming: dict[bytes, Future[bytes | None]] = {}
        self._going: set[Future[bool]] = set()
        self._room = threading.Semaphore(_AT_ONCE)
        self._failed: RescueError | None = None

    @property
    def lead(self) -> int:
        """How many chunks ahead are asked for: a request takes long, and many take hardly longer."""
        return _AT_ONCE

    def name(self, chunk: bytes) -> bytes:
        """Its id."""
        return chunk

    def _path(self, chunk: bytes) -> str:
        name = chunk.hex()
        return f"chunks/{name[:4]}/{name}{_SUFFIX}"

    def has(self, chunk: bytes) -> bool:
        """Whether the chunk of this id is there. Raises IoError."""
        return bool(self._objects.size(self._path(chunk)))

    def get(self, chunk: bytes, size: int) -> Buffer:
        """The frame of a chunk of `size` plain bytes; raises BadImageError where it is missing, IoError."""
        with self._lock:
            coming = self._coming.pop(chunk, None)
        frame = coming.result() if coming is not None else self._fetch(chunk)
        if frame is None:
            raise BadImageError(f"chunk {chunk.hex()} is missing from the library", code="missing-chunk")
        if not frame or len(frame) > size + FRAME_SLACK:
            raise BadImageError(
                f"chunk {chunk.hex()} is corrupt: its file has {len(frame)} bytes", code="corrupt-chunk"
            )
        return frame

    def announce(self, chunk: bytes) -> None:
        """Begin to fetch a chunk that will be asked for soon."""
        with self._lock:
            if chunk not in self._coming and len(self._coming) < _MOST_COMING:
                self._coming[chunk] = self._pool.submit(self._fetch, chunk)

    def _fetch(self, chunk: bytes) -> bytes | None:
        if self._cache is not None and (kept := self._cache.get(chunk)) is not None:
            return kept
        frame = self._objects.get(self._path(chunk), MAX_CHUNK_SIZE + FRAME_SLACK)
        if frame and self._cache is not None:
            self._cache.put(chunk, frame)
        return frame

    def put(self, chunk: bytes, frame: bytes) -> None:
        """Begin to store a frame; waits while too many are under way. Raises the error of an earlier one."""
        self._raise_failure()
        self._room.acquire()
        going = self._pool.submit(self._store, chunk, bytes(frame))
        with self._lock:
            self._going.add(going)
        going.add_done_callback(self._gone)

    def _store(self, chunk: bytes, frame: bytes) -> bool:
        try:
            return self._objects.put(self._path(chunk), frame)
        except RefusedError as error:
            # Somebody else has stored it meanwhile, and these credentials may replace nothing.
            if error.code != MAY_NOT_REPLACE or not self._is_whole_there(chunk):
                raise
            return False
        finally:
            self._room.release()

    def _is_whole_there(self, chunk: bytes) -> bool:
        frame = self._objects.get(self._path(chunk), MAX_CHUNK_SIZE + FRAME_SLACK)
        return frame is not None and self._whole(frame, chunk)

    def _gone(self, going: "Future[bool]") -> None:
        self._note(going.exception())
        with self._lock:
            self._going.discard(going)

    def _note(self, error: BaseException | None) -> None:
        """Keep the first failure."""
        with self._lock:
            if isinstance(error, RescueError) and self._failed is None:
                self._failed = error
            elif error is not None and self._failed is None:
                self._failed = IoError(f"a chunk could not be stored: {error}", code="write-failed")

    def _raise_failure(self) -> None:
        if self._failed is not None:
            raise self._failed

    def sync(self) -> None:
        """Return once all that was put is stored; raises IoError where anything could not be."""
        while True:
            with self._lock:
                waiting = list(self._going)
            if not waiting:
                break
            for going in waiting:
                # Whoever waits for it may be woken before `_gone` is called.
                self._note(going.exception())
            with self._lock:
                self._going.difference_update(waiting)
        self._raise_failure()

    @property
    def lost(self) -> bool:
        """Never: a server that says that it has stored something has."""
        return False

    def named_since(self, when: float) -> Sequence[bytes]:
        """The ids of the chunks that were stored since `when` (seconds since the epoch); raises IoError."""
        return [one.id for one in self.listed(0, FOLDERS) if one.stored >= when]

    def remove_unfinished(self, owners: Collection[str]) -> None:
        """Nothing: an object is there whole or not at all."""

    def drop_unless_whole(self, chunk: bytes) -> bool:
        """Remove a chunk that does not hold what its name says; whether it was removed. Raises IoError."""
        if self._certainly_bad(chunk) is None:
            return False
        self._objects.delete(self._path(chunk))
        return True

    def set_aside(self, chunk: bytes) -> bool:
        """Rename a chunk that does not hold what its name says to one ending in `.bad`; whether it was. IoError."""
        frame = self._certainly_bad(chunk)
        if frame is None:
            return False
        self._objects.put(f"{self._path(chunk)}.bad", frame)
        self._objects.delete(self._path(chunk))
        return True

    def _certainly_bad(self, chunk: bytes) -> bytes | None:
        """A frame that does not hold what its chunk's name says; None for any other.

        It is fetched twice: on the way, or in a memory that lies, a bit can flip, and what is there may be whole.
        """
        frames = [self._objects.get(self._path(chunk), MAX_CHUNK_SIZE + FRAME_SLACK) for _ in range(2)]
        first, second = frames
        return None if first is None or first != second or self._whole(first, chunk) else first

    def listed(self, first: int, end: int, but: Passed = none_of) -> Iterator[Listed]:
        """The chunks that are there whose names begin with `first` to `end` - 1 (two bytes, as numbers). IoError."""
        for one in self._objects.list("chunks", after=f"chunks/{first:04x}" if first else ""):
            path = one.path.removeprefix("chunks/")
            if end < FOLDERS and path.partition("/")[0] >= f"{end:04x}":
                return
            if (chunk := _id_of(path)) and not but(chunk):
                yield Listed(id=chunk, size=one.size, stored=one.modified)

    def strays(self) -> Iterator[tuple[str, int]]:
        """What lies there and is no chunk: its path below `chunks`, and its bytes. Raises IoError."""
        for one in self._objects.list("chunks"):
            path = one.path.removeprefix("chunks/")
            if not _id_of(path):
                yield path, one.size

    def room_of(self, chunk: bytes) -> int:
        """Bytes that a chunk takes; 0 where it is not there. Raises IoError."""
        return self._objects.size(self._path(chunk)) or 0

    def stamp(self, name: bytes) -> tuple[int, bytes] | None:
        """A chunk's bytes there, and what changes whenever it does; None where it is not there. Raises IoError."""
        return self._objects.stamp(self._path(name))

    def remove(self, chunk: bytes) -> int:
        """Remove a chunk that no image names any more; the bytes that it took. Raises IoError."""
        size = self.room_of(chunk)
        if size:
            self._objects.delete(self._path(chunk))
        return size

    def remove_all(self, chunks: Iterable[bytes]) -> Iterator[int]:
        """As `remove`, some at once; what was begun when somebody stops is finished. Raises IoError."""
        waiting = iter(chunks)
        while batch := list(islice(waiting, _BATCH)):
            yield from self._pool.map(self.remove, batch)


def _id_of(path: str) -> bytes:
    """The id that a chunk's path states; empty where it states none."""
    folder, _, name = path.partition("/")
    try:
        chunk = bytes.fromhex(name.removesuffix(_SUFFIX))
    except ValueError:
        return b""
    return chunk if len(chunk) == ID_SIZE and f"{chunk.hex()}{_SUFFIX}" == name and chunk.hex()[:4] == folder else b""


class ChunkCache:
    """Chunks that were fetched, kept in a folder, the oldest given up for new ones; what is in it is proved as any."""

    def __init__(self, folder: Path, most: int, whole: Whole = is_whole) -> None:
        """Take a folder of its own, how many bytes it may take, and what says if a chunk is whole."""
        self._whole = whole
        self._store = LocalStore(folder)
        self._folder, self._most = folder, most
        self._lock = threading.Lock()
        self._size = sum(path.stat().st_size for path in folder.glob(f"*/*{_SUFFIX}"))

    def get(self, chunk: bytes) -> bytes | None:
        """A frame that is kept, or None."""
        path = self._store.path(chunk)
        try:
            frame = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if not self._whole(frame, chunk):
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        return frame

    def put(self, chunk: bytes, frame: bytes) -> None:
        """Keep a frame; nothing happens where there is no room, for a cache is a help and no duty."""
        with suppress(RescueError, OSError):
            with self._lock:
                self._size += len(frame)
                if self._size > self._most:
                    self._give_up()
            self._store.put(chunk, frame)

    def _give_up(self) -> None:
        """Remove the chunks that were not used for the longest time, a tenth of all."""
        files = sorted(self._folder.glob(f"*/*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in files:
            if self._size <= self._most * 9 // 10:
                return
            with suppress(OSError):
                size = path.stat().st_size
                path.unlink()
                self._size -= size


def cache_here(whole: Whole = is_whole) -> ChunkCache | None:
    """The cache that the environment names: RESCUE_CHUNK_CACHE, a folder, and RESCUE_CHUNK_CACHE_SIZE, bytes."""
    folder = os.environ.get("RESCUE_CHUNK_CACHE")
    if not folder:
        return None
    path = Path(folder)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ChunkCache(path, int(os.environ.get("RESCUE_CHUNK_CACHE_SIZE") or _CACHE_SIZE), whole)
    except (OSError, ValueError) as error:
        raise IoError(f"{folder} cannot be used as a cache: {error}", code="bad-cache") from error
