"""The chunks of an image in a single file, read where they are; see imaging.pack."""

import threading
from collections.abc import Collection, Iterable, Iterator, Sequence

from imaging.chunk import Buffer
from imaging.errors import BadImageError, RefusedError
from imaging.pack import Pack
from imaging.packformat import BLOCK, chunk_path
from imaging.stores import FOLDERS, FRAME_SLACK, Listed, Passed, none_of

_MOST = (1 << 62) - 1


class _Scratch(threading.local):
    """Memory of each thread that a chunk is read into."""

    def __init__(self) -> None:
        """Called in each thread: what the class held would be the same for all."""
        self.memory = bytearray()


_scratch = _Scratch()


class PackStore:
    """A store that nothing can be put into; see imaging.stores.ChunkStore."""

    def __init__(self, pack: Pack, *, from_medium: bool = False) -> None:
        """Take the file; with `from_medium` chunks are read from the medium itself, though memory may hold them."""
        self._pack, self._from_medium = pack, from_medium
        self._lock = threading.Lock()
        self._announced: set[bytes] = set()

    @property
    def lead(self) -> int:
        """None beyond the usual: a disk is read ahead by the kernel."""
        return 0

    @property
    def lost(self) -> bool:
        """Never: nothing is put."""
        return False

    def name(self, chunk: bytes) -> bytes:
        """Its id."""
        return chunk

    def has(self, chunk: bytes) -> bool:
        """Whether the index names the chunk of this id. Raises BadImageError, IoError."""
        return bool(self.room_of(chunk))

    def get(self, chunk: bytes, size: int) -> Buffer:
        """The frame of a chunk of `size` plain bytes; it is good until the same thread asks for the next.

        Raises BadImageError where it is missing, or not where the index says, IoError where the medium fails.
        """
        found = self._pack.place_of(chunk, _MOST)
        if found is None:
            raise BadImageError(f"chunk {chunk.hex()} is missing from the image's file", code="missing-chunk")
        at, length = found
        if not length or length > size + FRAME_SLACK:
            raise BadImageError(f"chunk {chunk.hex()} is corrupt: its file has {length} bytes", code="corrupt-chunk")
        if len(_scratch.memory) < BLOCK + length:
            _scratch.memory = bytearray(BLOCK + length)
        view = memoryview(_scratch.memory)[: BLOCK + length]
        self._pack.pieces.read_into(view, at, from_medium=self._from_medium and not self._is_fresh(chunk))
        self._pack.refuse_other(bytes(view[:BLOCK]), chunk_path(chunk), length)
        return view[BLOCK:]

    def announce(self, chunk: bytes) -> None:
        """Have the kernel read the chunk meanwhile; where it is to come from the medium, memory lets go of it first."""
        try:
            found = self._pack.place_of(chunk, _MOST)
        except BadImageError:
            return  # whoever asks for it is told
        if found is not None:
            at, length = found
            self._pack.pieces.announce(at, BLOCK + length, from_medium=self._from_medium)
            if self._from_medium:
                with self._lock:
                    self._announced.add(chunk)

    def _is_fresh(self, chunk: bytes) -> bool:
        """Whether what memory holds of a chunk was read from the medium since it was announced; once for each."""
        with self._lock:
            known = chunk in self._announced
            self._announced.discard(chunk)
            return known

    def listed(self, first: int, end: int, but: Passed = none_of) -> Iterator[Listed]:
        """The chunks whose names begin with `first` to `end` - 1 (two bytes, as numbers). BadImageError, IoError."""
        for name, _at, size in self._pack.records.all(first.to_bytes(2, "big") if first < FOLDERS else b"\xff" * 33):
            if int.from_bytes(name[:2], "big") >= end:
                return
            if not but(name):
                yield Listed(id=name, size=size, stored=0.0)

    def strays(self) -> Iterator[tuple[str, int]]:
        """None: the index names chunks alone."""
        return iter(())

    def room_of(self, name: bytes) -> int:
        """Bytes that a chunk has; 0 where it is not there. Raises BadImageError, IoError."""
        found = self._pack.place_of(name, _MOST)
        return found[1] if found is not None else 0

    def stamp(self, name: bytes) -> tuple[int, bytes] | None:
        """A chunk's bytes, and what changes whenever the whole file does; None where it is not there."""
        found = self._pack.place_of(name, _MOST)
        return None if found is None else (found[1], f"{self._pack.stamp} {found[0]}".encode())

    def put(self, chunk: bytes, frame: bytes) -> None:
        """Refused: raises RefusedError."""
        raise self._refused(chunk, len(frame))

    def sync(self) -> None:
        """Nothing was put."""

    def named_since(self, when: float) -> Sequence[bytes]:
        """The names of the chunks that were stored since `when`: when that was is not known of them."""
        return [one.id for one in self.listed(0, FOLDERS) if one.stored >= when]

    def remove_unfinished(self, owners: Collection[str]) -> None:
        """Nothing: nobody stores here."""

    def drop_unless_whole(self, name: bytes) -> bool:
        """Refused: raises RefusedError."""
        raise self._refused(name, self.room_of(name))

    def set_aside(self, chunk: bytes) -> bool:
        """Refused: raises RefusedError."""
        raise self._refused(chunk, self.room_of(chunk))

    def remove(self, name: bytes) -> int:
        """Refused: raises RefusedError."""
        raise self._refused(name, self.room_of(name))

    def remove_all(self, names: Iterable[bytes]) -> Iterator[int]:
        """Refused: raises RefusedError."""
        return map(self.remove, names)

    def _refused(self, name: bytes, size: int) -> RefusedError:
        return RefusedError(
            f"chunk {name.hex()} ({size} bytes) can be neither stored nor removed: {self._pack.address.url} is an "
            "image in a single file",
            code="read-only",
            hint=self._pack.refused().hint,
        )
