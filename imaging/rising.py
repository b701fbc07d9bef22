"""Streams of pieces that rise, each known beforehand by where its bytes lie: moved, and put beside one another."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import pairwise

from imaging.extents import Extents

Pieces = Generator[tuple[int, bytes], None, None]
"""Offset and bytes, rising, never overlapping; whoever stops before the end closes it."""
Run = tuple[int, int, int]
"""What lies from a start to an end, and where the start is to be instead."""

_ZEROS = 1 << 20
"""Bytes of the largest piece of zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What there is, and a way to read it, from its beginning each time."""

    used: Extents
    pieces: Callable[[], Pieces]


def fixed(pieces: Sequence[tuple[int, bytes]]) -> Source:
    """Pieces that are at hand."""

    def given() -> Pieces:
        yield from sorted(pieces)

    return Source(used=Extents((at, at + len(data)) for at, data in pieces), pieces=given)


def zeros(where: Extents) -> Source:
    """Zeros that are to be written, not passed over."""

    def given() -> Pieces:
        for start, end in where:
            for at in range(start, end, _ZEROS):
                yield at, bytes(min(_ZEROS, end - at))

    return Source(used=where, pieces=given)


def beside(*sources: Source) -> Source:
    """All of them by where their bytes lie: none may have what another has. One is opened when its first byte is due,
    and those that lie between one another are open together.
    """
    return Source(used=Extents().union(*(source.used for source in sources)), pieces=partial(_beside, sources))


def _beside(sources: Sequence[Source]) -> Pieces:
    waiting = sorted(((next(iter(source.used))[0], i) for i, source in enumerate(sources) if source.used), reverse=True)
    due: list[tuple[int, int, bytes, Iterator[tuple[int, bytes]]]] = []
    with ExitStack() as stack:
        while waiting or due:
            if waiting and (not due or waiting[-1][0] <= due[0][0]):
                i = waiting.pop()[1]
                pieces: Iterator[tuple[int, bytes]] = stack.enter_context(closing(sources[i].pieces()))
            else:
                at, i, data, pieces = heappop(due)
                yield at, data
            following = next(pieces, None)
            if following is not None:
                heappush(due, (following[0], i, following[1], pieces))


def moved(source: Source, runs: Sequence[Run]) -> Source:
    """What the runs have of a source, where they put it; the runs follow one another in the source.

    Where they go back and forth the source is read once for each stretch in which they rise: it cannot be wound back.
    """
    breaks = [i for i, (before, after) in enumerate(pairwise(runs), 1) if after[2] < before[2]]
    stretches = [runs[first:end] for first, end in pairwise([0, *breaks, len(runs)])]
    return beside(*(_moved(source, stretch) for stretch in stretches))


def _moved(source: Source, runs: Sequence[Run]) -> Source:
    used = Extents().union(*(source.used.clipped(start, end).shifted(to - start) for start, end, to in runs))
    return Source(used=used, pieces=partial(_pieces_moved, source, runs))


def _pieces_moved(source: Source, runs: Sequence[Run]) -> Pieces:
    """To the end of the source, whatever is wanted of it: it is proved only there."""
    first = 0
    with closing(source.pieces()) as pieces:
        for at, data in pieces:
            end = at + len(data)
            while first < len(runs) and runs[first][1] <= at:
                first += 1
            for i in range(first, len(runs)):
                low, high, to = runs[i]
                if low >= end:
                    break
                start, stop = max(low, at), min(high, end)
                yield to + start - low, data[start - at : stop - at]
