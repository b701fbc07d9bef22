"""What a capture will store and take, forecast from a survey and a sample of the data. Reads only, in a few seconds."""

import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from imaging import chunk, groups, remote
from imaging.blockdev import opened, read_exactly
from imaging.disk import Disk
from imaging.errors import BadImageError, CancelledError, IoError
from imaging.estimate import Estimate, Population, Probe, Trial, estimate, spread, total
from imaging.extents import Extents
from imaging.imageplans import CapturePlan
from imaging.library import Library
from imaging.manifest import Volume
from imaging.pipeline import ChunkBuffer, Reporter, busy_chunks, run_all, threads
from imaging.previous import Previous, newest_capture
from imaging.survey import cuts_of, survey, volumes_of

_PROBES = 48
"""New ones: when so many were compressed, it is enough."""
_MOST_PROBES = 4 * _PROBES
"""With those that need only reading; the first quarter of them is spread as evenly as all."""
_LEAST_PROBES = 6
"""Taken however long they last."""
_SECONDS = 1.5
"""For reading and compressing the probes of all disks, and as much again for each further level."""
_SEED = 20
_CHEAP = 3
"""Up to this level all probes are compressed at the level itself; at slower ones as many as time allows."""
_SLOW = 9
_SLICE = 1 << 20
"""Bytes of a chunk that are tried at levels above `_SLOW`."""
_BESIDE_CHUNK = 72
"""Bytes of index and digest table for each chunk of the disk, used or not."""
_BESIDE_RANGE = 16
_BESIDE_FILE = 6 << 10
"""What a file system spends on a chunk's file beside its data: half a block, a name, often a folder of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskForecast:
    """One disk: what is used of its volumes, and how much of a sample of `sampled` chunks the library has (`known`)."""

    name: str
    volumes: tuple[Volume, ...]
    used: int
    chunks: int
    sampled: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Of a whole plan: an estimate for each level asked for, and the room there is (None where that is not known)."""

    disks: tuple[DiskForecast, ...]
    estimates: tuple[Estimate, ...]
    overhead: int
    """Bytes beside the chunks."""
    room: int | None

    @property
    def used(self) -> int:
        """Bytes that hold data."""
        return sum(disk.used for disk in self.disks)

    @property
    def known(self) -> float:
        """The share of the data that the library has already."""
        return sum(disk.used * disk.known / disk.sampled for disk in self.disks if disk.sampled) / max(1, self.used)

    def at(self, level: int) -> Estimate | None:
        """The estimate for a level, if it was asked for."""
        return next((e for e in self.estimates if e.level == level), None)


def forecast(plan: CapturePlan, levels: Sequence[int], cancel: threading.Event) -> Forecast:
    """Survey the plan's disks and sample them; what is there when the capture runs is what it stores, not this.

    Writing to the library is not measured: a slow one makes it longer. Raises RefusedError, IoError, CancelledError.
    """
    library = _library(Path(plan.library))
    base = min(min(levels), _CHEAP)
    found: list[DiskForecast] = []
    parts: dict[int, list[Estimate]] = {level: [] for level in levels}
    overhead = 0
    missing = groups.incomplete(
        (disk, part) for disk in plan.disks for part in volumes_of(disk, plan.only.get(disk.path, ()))
    )
    for disk in plan.disks:
        sampler = _Sampler(library=library, base=base, levels=levels, seconds=_SECONDS / len(plan.disks), cancel=cancel)
        one, estimates, beside = _of_disk(disk, plan.only.get(disk.path, ()), sampler)
        found.append(replace(one, volumes=groups.noted(disk.name, one.volumes, missing)))
        overhead += beside
        for each in estimates:
            parts[each.level].append(each)
    return Forecast(
        disks=tuple(found),
        estimates=tuple(total(parts[level]) for level in levels),
        overhead=overhead,
        room=free_room(Path(plan.library)),
    )


def free_room(path: Path) -> int | None:
    """Free bytes where `path` is or would be made; None where that cannot be told, as on some network shares."""
    if remote.address_of(path) is not None:
        return None  # what a bucket may hold nobody knows
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize if status.f_blocks else None


def _library(path: Path) -> Library | None:
    """The library, if there is one that can be read: the capture says what is wrong with it."""
    try:
        return Library.open(path)
    except (BadImageError, IoError):
        return None


def _of_disk(disk: Disk, only: Sequence[int], sampler: "_Sampler") -> tuple[DiskForecast, list[Estimate], int]:
    """The disk's forecast, its estimates, and the bytes that are stored beside its chunks."""
    with opened(disk.path) as fd:
        began = time.monotonic()
        found = survey(disk, fd, only, stop_if_asked=sampler.stop_if_asked)
        surveying = time.monotonic() - began
        cuts = _Cuts(cuts_of(disk))
        busy = busy_chunks(cuts, found.used)
        probes = sampler.take(disk, fd, cuts, busy, found.used)
    population = Population(chunks=len(busy), used=found.used.total, threads=threads())
    estimates = [_later(estimate(level, sampler.base, population, probes), surveying) for level in sampler.levels]
    known = sum(probe.known for probe in probes)
    new = len(busy) * sum(probe.new for probe in probes) // len(probes) if probes else 0
    beside = len(cuts.ends) * _BESIDE_CHUNK + len(found.used) * _BESIDE_RANGE + new * _BESIDE_FILE
    one = DiskForecast(
        name=disk.name,
        volumes=found.volumes,
        used=found.used.total,
        chunks=len(busy),
        sampled=len(probes),
        known=known,
    )
    return one, estimates, beside


def _later(found: Estimate, seconds: float) -> Estimate:
    """The capture surveys the disk once more."""
    return replace(found, seconds=found.seconds + seconds)


class _Cuts:
    """Where the chunks of a disk begin and end: an index without names, which costs seconds on a large disk."""

    def __init__(self, ends: Sequence[int]) -> None:
        self.ends = ends

    def start(self, i: int) -> int:
        """First byte of chunk `i`."""
        return self.ends[i - 1] if i else 0

    def find(self, offset: int, low: int = 0) -> int:
        """The number of the chunk that covers the byte at `offset`, at least `low`."""
        return bisect_right(self.ends, offset, low)


class _Sampler:
    """Takes probes of one disk as a capture would go about its chunks: by as many threads, with the same steps."""

    def __init__(
        self, *, library: Library | None, base: int, levels: Sequence[int], seconds: float, cancel: threading.Event
    ) -> None:
        self.base = base
        self.levels = levels
        self._library = library
        self._seconds = seconds
        self._cancel = cancel
        self._lock = threading.Lock()
        self._spent: dict[int, float] = {}
        self._seen = {chunk.digest(bytes(chunk.CHUNK_SIZE))}

    def stop_if_asked(self) -> None:
        """Raise CancelledError where somebody asked."""
        if self._cancel.is_set():
            raise CancelledError("stopped because somebody asked")

    def take(self, disk: Disk, fd: int, cuts: _Cuts, busy: Sequence[int], used: Extents) -> list[Probe]:
        """The probes; chunks that cannot be read are left out: the capture tells of them."""
        order = spread(len(busy), _MOST_PROBES, _SEED)
        probes: list[Probe] = []
        deadline = time.monotonic() + self._seconds * (1 + sum(level != self.base for level in self.levels))

        def make_worker() -> Callable[[int], None]:
            buffer = ChunkBuffer()

            def work(turn: int) -> None:
                enough = time.monotonic() > deadline or sum(probe.new for probe in probes) >= _PROBES
                if turn >= _LEAST_PROBES and enough:
                    return
                i = busy[order[turn]]
                start, size = cuts.start(i), cuts.ends[i] - cuts.start(i)
                ranges = [(low - start, high - start) for low, high in used.within(start, start + size)]
                began = time.monotonic()
                view = buffer.prepare(size, ranges)
                with suppress(IoError):
                    for low, high in ranges:
                        read_exactly(fd, view[low:high], start + low)
                    known, repeated = self._found(previous, i, start, view)
                    handled = Probe(
                        number=order[turn],
                        size=size,
                        used=sum(high - low for low, high in ranges),
                        known=known,
                        repeated=repeated,
                        other_seconds=time.monotonic() - began,
                    )
                    probes.append(self._compressed(handled, view) if handled.new else handled)

            return work

        with self._previous(disk) as previous:
            run_all(range(len(order)), make_worker, self._cancel)
        self.stop_if_asked()
        return probes

    def _previous(self, disk: Disk) -> Previous:
        if self._library is None:
            return Previous()
        return newest_capture(self._library, disk.id, Reporter(len))

    def _found(self, previous: Previous, i: int, start: int, view: memoryview) -> tuple[bool, bool]:
        """Whether the library has the chunk, unchanged at its place or anybody's; whether the disk has it twice."""
        digest = chunk.digest(view)
        name = previous.name_of(i, start, len(view), digest) or chunk.chunk_id(view)
        with self._lock:
            repeated = digest in self._seen
            self._seen.add(digest)
        return self._library is not None and self._library.store().has(name), repeated

    def _compressed(self, probe: Probe, view: memoryview) -> Probe:
        base, seconds = _compressed(view, self.base)
        tried = [level for level in self.levels if level != self.base and self._has_time(level)]
        trials = tuple(self._trial(level, view, base) for level in tried)
        return replace(probe, base=base, base_seconds=seconds, trials=trials)

    def _has_time(self, level: int) -> bool:
        """Whether the level may be tried once more; each thread has its second."""
        with self._lock:
            return self._spent.get(level, 0.0) < self._seconds * threads()

    def _trial(self, level: int, view: memoryview, base: int) -> Trial:
        part = view[:_SLICE] if level > _SLOW else view
        if len(part) < len(view):
            base, _ = _compressed(part, self.base)
        stored, seconds = _compressed(part, level)
        with self._lock:
            self._spent[level] = self._spent.get(level, 0.0) + seconds
        return Trial(level=level, plain=len(part), base=base, stored=stored, seconds=seconds)


def _compressed(data: memoryview, level: int) -> tuple[int, float]:
    """Bytes of the frame, and the seconds it took."""
    began = time.monotonic()
    return len(chunk.compress(data, level)), time.monotonic() - began
