"""From a sample of a disk's chunks to what a capture of all of them stores and how long it takes: arithmetic only."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

_ERRORS = 2.0
"""Standard errors on either side of what is expected: 19 times of 20 the truth lies between."""
_LEAST_DOUBT = 0.01
"""Share by which a forecast from part of the data can always be wrong."""
_LONE_DOUBT = 0.1
"""The same, of a level that was tried on one chunk alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Some bytes of a chunk compressed twice: at the level that every probe is compressed at, and at another."""

    level: int
    plain: int
    base: int
    stored: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One chunk of the sample; sizes are bytes."""

    number: int
    """Its place among the chunks that hold data."""
    size: int
    used: int
    known: bool = False
    """The library has it: nothing is stored."""
    repeated: bool = False
    """The same as another of the sample, or all zero: stored once for all."""
    base: int = 0
    """Its frame at the level of all probes; 0 where nothing is stored."""
    other_seconds: float = 0.0
    """Of one thread, for all but compression: reading, digesting, naming."""
    base_seconds: float = 0.0
    trials: tuple[Trial, ...] = ()

    @property
    def new(self) -> bool:
        """Whether it is compressed and stored."""
        return not (self.known or self.repeated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """What the sample stands for: `chunks` that hold data, `used` bytes in them, worked on by so many `threads`."""

    chunks: int
    used: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a capture at one level adds to the library, in bytes, and the seconds it takes if the library keeps up.

    `least` and `most` hold the truth between them 19 times of 20.
    """

    level: int
    stored: int
    least: int
    most: int
    seconds: float


class Fit(StrEnum):
    """Whether an image has room in its library's file system."""

    FITS = "fits"
    TIGHT = "tight"
    """Perhaps not."""
    TOO_LARGE = "too large"


def fit(estimate: Estimate, overhead: int, room: int | None) -> Fit:
    """Compare with the free bytes `room`, None where that is not known; `overhead` is stored beside the chunks."""
    if room is None or estimate.most + overhead <= room:
        return Fit.FITS
    return Fit.TOO_LARGE if estimate.stored + overhead > room else Fit.TIGHT


def spread(count: int, wanted: int, seed: int) -> Sequence[int]:
    """Numbers below `count`, one at random of each of `wanted` equal parts, such that any beginning is spread, too.

    The order is van der Corput's: whoever runs out of time has seen all parts of the disk all the same.
    """
    wanted = min(count, wanted)
    source = random.Random(seed)
    edges = [count * part // wanted for part in range(wanted + 1)] if wanted else [0]
    picks = [source.randrange(low, high) for low, high in pairwise(edges)]
    bits = max(1, (wanted - 1).bit_length())
    order = sorted(range(wanted), key=lambda part: int(f"{part:0{bits}b}"[::-1], 2))
    return [picks[part] for part in order]


def estimate(level: int, base_level: int, population: Population, probes: Iterable[Probe]) -> Estimate:
    """What capturing all chunks at `level` stores and takes, from probes that were compressed at `base_level`.

    A level that no probe was tried at (none was new) costs what the base level does.
    """
    found = sorted(probes, key=lambda probe: probe.number)
    if not found:
        return Estimate(level=level, stored=0, least=0, most=population.used, seconds=0.0)
    trials = [t for probe in found for t in probe.trials if t.level == level] if level != base_level else []
    stored, doubt = _stored_at_base(population, found)
    if trials:
        factor = sum(t.stored for t in trials) / max(1, sum(t.base for t in trials))
        doubt = math.hypot(doubt * factor, stored * _doubt_of_factor(trials, factor))
        stored *= factor
    if trials or len(found) < population.chunks:
        doubt = max(doubt, stored * _LEAST_DOUBT)
    most = stored + doubt
    if len(found) < population.chunks and not any(probe.new for probe in found):
        # The rule of three: of n chunks none is new, so 3/n of all may be, 19 times of 20.
        most = max(most, population.used * min(1.0, 3 / len(found)))
    return Estimate(
        level=level,
        stored=round(stored),
        least=max(0, round(stored - doubt)),
        most=round(most),
        seconds=_seconds(population, found, trials),
    )


def _stored_at_base(population: Population, probes: Sequence[Probe]) -> tuple[float, float]:
    """Bytes of all frames by the ratio to used bytes, and how far off that may be.

    The variance is that of neighbours' differences, for a sample that is spread evenly: what varies slowly along the
    disk is no doubt. Source: K. Wolter, Introduction to Variance Estimation, chapter 8, estimator v2.
    """
    count = len(probes)
    ratio = sum(probe.base for probe in probes) / max(1, sum(probe.used for probe in probes))
    stored = ratio * population.used
    if count >= population.chunks:
        return stored, 0.0
    if count == 1:
        return stored, float(max(stored, population.used - stored))
    rests = [probe.base - ratio * probe.used for probe in probes]
    steps = sum((after - before) ** 2 for before, after in pairwise(rests))
    variance = (1 - count / population.chunks) * steps / (2 * (count - 1)) / count
    return stored, _ERRORS * population.chunks * math.sqrt(variance)


def _doubt_of_factor(trials: Sequence[Trial], factor: float) -> float:
    """The relative doubt in how much smaller (or larger) frames of another level are: of a ratio of two means."""
    mean = sum(t.base for t in trials) / len(trials)
    if len(trials) == 1 or not mean or not factor:
        return _LONE_DOUBT
    squares = sum((t.stored - factor * t.base) ** 2 for t in trials)
    return _ERRORS * math.sqrt(squares / (len(trials) * (len(trials) - 1))) / (mean * factor)


def _seconds(population: Population, probes: Sequence[Probe], trials: Sequence[Trial]) -> float:
    """Of all threads together: each does all of a chunk's work, one step after the other."""
    new = [probe for probe in probes if probe.new]
    if trials:
        pace = sum(t.seconds for t in trials) / max(1, sum(t.plain for t in trials))
        compressing = pace * sum(probe.size for probe in new)
    else:
        compressing = sum(probe.base_seconds for probe in new)
    sampled = compressing + sum(probe.other_seconds for probe in probes)
    return sampled / len(probes) * population.chunks / max(1, min(population.threads, population.chunks))


def total(parts: Sequence[Estimate]) -> Estimate:
    """Several disks of one image, one after the other, at one level; their doubts are independent."""
    stored = sum(part.stored for part in parts)
    below = math.hypot(*(part.stored - part.least for part in parts))
    above = math.hypot(*(part.most - part.stored for part in parts))
    return Estimate(
        level=parts[0].level,
        stored=stored,
        least=max(0, round(stored - below)),
        most=round(stored + above),
        seconds=sum(part.seconds for part in parts),
    )
