"""Chunks of an encrypted library: another store, in which each lies sealed and under a name that tells nothing."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from imaging.chunk import Buffer
from imaging.sealing import OVERHEAD, Seal
from imaging.stores import ChunkStore, Listed, Passed, none_of


class SealedStore:
    """Seals what is put into a store and opens what is got; see imaging.stores.ChunkStore.

    The store beneath must look into what lies there with the seal's `is_whole`.
    """

    def __init__(self, store: ChunkStore, seal: Seal) -> None:
        """Take the store in which everything lies."""
        self._store, self._seal = store, seal

    @property
    def lead(self) -> int:
        """The store's."""
        return self._store.lead

    @property
    def lost(self) -> bool:
        """The store's."""
        return self._store.lost

    def name(self, chunk: bytes) -> bytes:
        """Under which name the chunk of this id lies."""
        return self._seal.name(chunk)

    def has(self, chunk: bytes) -> bool:
        """Whether the chunk of this id is there."""
        return self._store.has(self.name(chunk))

    def get(self, chunk: bytes, size: int) -> Buffer:
        """The frame of a chunk of `size` plain bytes; raises BadImageError where it is missing or not as it was put."""
        name = self.name(chunk)
        return self._seal.open_chunk(name, self._store.get(name, size + OVERHEAD))

    def announce(self, chunk: bytes) -> None:
        """The chunk of this id will be asked for soon."""
        self._store.announce(self.name(chunk))

    def put(self, chunk: bytes, frame: bytes) -> None:
        """Store a frame; raises IoError."""
        name = self.name(chunk)
        self._store.put(name, self._seal.seal_chunk(name, frame))

    def sync(self) -> None:
        """Return once all that was put is on the medium; raises IoError."""
        self._store.sync()

    def set_aside(self, chunk: bytes) -> bool:
        """Rename a chunk that does not hold what its id says to one ending in `.bad`; whether it was. IoError."""
        return self._store.set_aside(self.name(chunk))

    def named_since(self, when: float) -> Sequence[bytes]:
        """The names of the chunks that were stored since `when` (seconds since the epoch); raises IoError."""
        return self._store.named_since(when)

    def remove_unfinished(self, owners: Collection[str]) -> None:
        """Remove what processes that are dead were just storing. Raises IoError."""
        self._store.remove_unfinished(owners)

    def drop_unless_whole(self, name: bytes) -> bool:
        """Remove what does not hold what its name says; whether it was removed. Raises IoError."""
        return self._store.drop_unless_whole(name)

    def listed(self, first: int, end: int, but: Passed = none_of) -> Iterator[Listed]:
        """What is there, by name. Raises IoError."""
        return self._store.listed(first, end, but)

    def strays(self) -> Iterator[tuple[str, int]]:
        """What is no chunk. Raises IoError."""
        return self._store.strays()

    def room_of(self, name: bytes) -> int:
        """Bytes that what has this name takes. Raises IoError."""
        return self._store.room_of(name)

    def stamp(self, name: bytes) -> tuple[int, bytes] | None:
        """What has this name: its bytes, and what changes whenever it does. Raises IoError."""
        return self._store.stamp(name)

    def remove(self, name: bytes) -> int:
        """Remove what has this name; the bytes that it took. Raises IoError."""
        return self._store.remove(name)

    def remove_all(self, names: Iterable[bytes]) -> Iterator[int]:
        """As `remove`, for each in its turn. Raises IoError."""
        return self._store.remove_all(names)
