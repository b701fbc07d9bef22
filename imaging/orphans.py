"""Chunks that no image names: what captures that never ended have stored, and what was left of deletions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imaging.library import Library
from imaging.naming import Advance, indexes_of_all, key_of, named_between, parts_of
from imaging.stores import ChunkStore, Listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A chunk that no image names; `young` where it was stored so lately that somebody may be about to name it."""

    chunk: Listed
    young: bool


class Orphans:
    """All chunks of a library that none of its images names."""

    def __init__(self, library: Library, since: float, doomed: Sequence[str] = ()) -> None:
        """Look at what images name, but for `doomed`; chunks stored after `since` (seconds) are young.

        Raises IoError, and BadImageError where what an image names cannot be known: nothing is an orphan then.
        """
        self._kept = indexes_of_all(library, library.images(), but=frozenset(doomed))
        self._store: ChunkStore = library.store()
        self._since = since

    @property
    def bytes_to_read(self) -> int:
        """Bytes of indexes that `within` goes, for all parts, through."""
        return len(self.parts()) * sum(file.size for file in self._kept)

    def within(self, first: int, end: int, advance: Advance) -> Iterator[Orphan]:
        """The orphans in one of the `parts`; `advance` is told of the bytes of indexes that were gone through.

        What images name is read before the first is yielded. Two chunks that are alike in the first eight bytes of
        their names both stay where one is named. Raises BadImageError, IoError.
        """
        named = named_between(self._kept, first, end, advance)
        for chunk in self._store.listed(first, end, lambda name: key_of(name) in named):
            yield Orphan(chunk=chunk, young=chunk.stored > self._since)

    def parts(self) -> list[tuple[int, int]]:
        """The parts of the store that are looked at in one go: names are evenly spread over its folders."""
        return parts_of(self._kept)
