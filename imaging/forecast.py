"""What a capture will store and take, forecast from a survey and a sample of the data. Reads only, in a few seconds."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging import chunk
from imaging.blockdev import opened, read_exactly
from imaging.disk import Disk
from imaging.errors import BadImageError, CancelledError, IoError
from imaging.estimate import Estimate, Population, Probe, Trial, estimate, spread, total
from imaging.extents import Extents
from imaging.index import Index, blank
from imaging.library import Library
from imaging.manifest import Volume
from imaging.pipeline import ChunkBuffer, Reporter, busy_chunks, run_all
from imaging.plan import CapturePlan
from imaging.previous import Previous, newest_capture
from imaging.survey import survey

_PROBES = 48
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
    for disk in plan.disks:
        sampler = _Sampler(library=library, base=base, levels=levels, seconds=_SECONDS / len(plan.disks), cancel=cancel)
        one, estimates, beside = _of_disk(disk, sampler)
        found.append(one)
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


def _of_disk(disk: Disk, sampler: "_Sampler") -> tuple[DiskForecast, list[Estimate], int]:
    """The disk's forecast, its estimates, and the bytes that are stored beside its chunks."""
    with opened(disk.path) as fd:
        began = time.monotonic()
        found = survey(disk, fd, stop_if_asked=sampler.stop_if_asked)
        surveying = time.monotonic() - began
        edges = [edge for volume in found.volumes for edge in (volume.start, volume.start + volume.size)]
        index = blank(chunk.cuts(disk.size, edges))
        busy = busy_chunks(index, found.used)
        probes = sampler.take(disk, fd, index, busy, found.used)
    population = Population(chunks=len(busy), used=found.used.total, threads=os.cpu_count() or 1)
    estimates = [_later(estimate(level, sampler.base, population, probes), surveying) for level in sampler.levels]
    known = sum(probe.known for probe in probes)
    new = len(busy) * (len(probes) - known) // len(probes) if probes else 0
    beside = len(index) * _BESIDE_CHUNK + len(found.used) * _BESIDE_RANGE + new * _BESIDE_FILE
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
    return Estimate(
        level=found.level, stored=found.stored, least=found.least, most=found.most, seconds=found.seconds + seconds
    )


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

    def stop_if_asked(self) -> None:
        """Raise CancelledError where somebody asked."""
        if self._cancel.is_set():
            raise CancelledError("stopped because somebody asked")

    def take(self, disk: Disk, fd: int, index: Index, busy: Sequence[int], used: Extents) -> list[Probe]:
        """The probes; chunks that cannot be read are left out: the capture tells of them."""
        order = spread(len(busy), _PROBES, _SEED)
        probes: list[Probe] = []
        deadline = time.monotonic() + self._seconds * (1 + sum(level != self.base for level in self.levels))

        def make_worker() -> Callable[[int], None]:
            buffer = ChunkBuffer()

            def work(turn: int) -> None:
                if turn >= _LEAST_PROBES and time.monotonic() > deadline:
                    return
                i = busy[order[turn]]
                start, size = index.start(i), index.length(i)
                ranges = [(low - start, high - start) for low, high in used.within(start, start + size)]
                began = time.monotonic()
                view = buffer.prepare(size, ranges)
                try:
                    for low, high in ranges:
                        read_exactly(fd, view[low:high], start + low)
                except IoError:
                    return
                known = self._knows(previous, i, start, view)
                probes.append(
                    self._probe(
                        order[turn], view, sum(high - low for low, high in ranges), known, time.monotonic() - began
                    )
                )

            return work

        with self._previous(disk) as previous:
            run_all(range(len(order)), make_worker, self._cancel)
        self.stop_if_asked()
        return probes

    def _previous(self, disk: Disk) -> Previous:
        if self._library is None:
            return Previous()
        return newest_capture(self._library, disk.id, Reporter(len))

    def _knows(self, previous: Previous, i: int, start: int, view: memoryview) -> bool:
        """Whether a capture would find the chunk in the library: unchanged at its place, or anybody's."""
        name = previous.name_of(i, start, len(view), chunk.digest(view)) or chunk.chunk_id(view)
        return self._library is not None and self._library.store().has(name)

    def _probe(self, number: int, view: memoryview, used: int, known: bool, seconds: float) -> Probe:
        if known:
            return Probe(number=number, size=len(view), used=used, known=True, other_seconds=seconds)
        base, base_seconds = _compressed(view, self.base)
        return Probe(
            number=number,
            size=len(view),
            used=used,
            base=base,
            other_seconds=seconds,
            base_seconds=base_seconds,
            trials=tuple(
                self._trial(level, view, base) for level in self.levels if level != self.base and self._has_time(level)
            ),
        )

    def _has_time(self, level: int) -> bool:
        """Whether the level may be tried once more; each thread has its second."""
        with self._lock:
            return self._spent.get(level, 0.0) < self._seconds * (os.cpu_count() or 1)

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
