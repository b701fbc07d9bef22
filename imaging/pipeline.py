"""Work on many chunks at once, by as many threads as the machine has cores, and the events that tell of it.

The heavy calls (read, write, digest, zstd) release Python's lock, so threads keep all cores busy.
"""

import mmap
import os
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Protocol

from imaging import events
from imaging.errors import CancelledError
from imaging.extents import Extents

_EVERY = 0.25
"""Seconds between two progress events."""
_LEAD = 2
"""How many items for each thread lie between the one that is announced and the one that is worked on."""
_MOST_THREADS = 16
"""Each needs some 12 MiB."""

WorkerFactory = Callable[[], Callable[[int], None]]
"""Called once in each thread; what it returns is called with each item."""


class Reporter:
    """Writes events, from any thread, and keeps progress to a few lines a second.

    An event that cannot be written, because the state folder is full, is lost: work on a disk never ends for that.
    """

    def __init__(self, append: Callable[[memoryview], int | None], release: Callable[[], None] = lambda: None) -> None:
        """Take a function that appends bytes and returns how many, and one that makes room for the last event."""
        self._append = append
        self._release = release
        self._torn = False
        self._lock = threading.Lock()
        self._done = self._moved = self._total = 0
        self._told = 0.0

    def send(self, event: events.AnyEvent) -> None:
        """Write one event; for the last one room is made where there is none."""
        with self._lock:
            if not self._write(event) and isinstance(event, events.Finished):
                self._release()
                self._write(event)

    def log(self, message: str, level: str = "info") -> None:
        """A line for the person who watches."""
        self.send(events.Log(time=time.time(), message=message, level=level))

    def step(self, name: str, total: int = 0) -> None:
        """A step begins, with `total` bytes to go through."""
        with self._lock:
            self._done = self._moved = 0
            self._total = total
            self._told = 0.0
            self._write(events.Step(time=time.time(), name=name, total=total))

    def total(self, total: int) -> None:
        """The step that has begun has so many bytes to go through, as it turns out."""
        with self._lock:
            self._total = total

    def advance(self, done: int, moved: int = 0) -> None:
        """So many more bytes were gone through, and so many of them moved."""
        with self._lock:
            self._done += done
            self._moved += moved
            now = time.monotonic()
            if now - self._told >= _EVERY:
                self._told = now
                self._progress()

    def finish_step(self) -> None:
        """Tell the last state of the step."""
        with self._lock:
            self._progress()

    def _progress(self) -> None:
        self._write(events.Progress(time=time.time(), done=self._done, total=self._total, moved=self._moved))

    def _write(self, event: events.AnyEvent) -> bool:
        """Append a line; whether all of it was. What was left of a line before ends first, so that readers skip it."""
        data = (b"\n" if self._torn else b"") + events.encode(event)
        left = memoryview(data)
        try:
            while left:
                count = self._append(left)
                if not count:
                    break
                left = left[count:]
        except OSError:
            pass
        self._torn = bool(left) and (self._torn or len(left) < len(data))
        return not left


def run_all(
    items: Sequence[int],
    make_worker: WorkerFactory,
    cancel: threading.Event,
    ahead: Callable[[int], object] | None = None,
    lead: int = 0,
) -> None:
    """Call a worker with every item; the first error stops all threads and is raised here.

    `ahead` is called with each item some time before its turn, to have the kernel read what it will need; `lead` says
    by how many items where the usual few are not enough.

    Raises CancelledError where `cancel` was set before the last item was taken.
    """
    lock = threading.Lock()
    count = max(1, min(threads(), len(items)))
    position = iter(range(len(items)))
    errors: list[BaseException] = []

    distance = max(lead, _LEAD * count)

    def loop() -> None:
        try:
            work = make_worker()
            while not errors and not cancel.is_set():
                with lock:
                    at = next(position, None)
                if at is None:
                    return
                if ahead is not None and at + distance < len(items):
                    ahead(items[at + distance])
                work(items[at])
        except BaseException as error:
            errors.append(error)

    if ahead is not None and lead:
        for item in items[:distance]:
            ahead(item)
    hands = [threading.Thread(target=loop) for _ in range(count)]
    for thread in hands:
        thread.start()
    for thread in hands:
        thread.join()
    if errors:
        raise errors[0]
    if next(position, None) is not None or (cancel.is_set() and not items):
        raise CancelledError("stopped because somebody asked")


def threads() -> int:
    """How many threads work: one for each core; while they compute, the kernel reads what was announced."""
    return min(os.cpu_count() or 1, _MOST_THREADS)


class Cut(Protocol):
    """A disk cut into chunks; imaging.index.Index is one."""

    def find(self, offset: int, low: int = 0) -> int:
        """The number of the chunk that covers the byte at `offset`, at least `low`."""


def busy_chunks(index: Cut, used: Extents) -> Sequence[int]:
    """The numbers, rising, of the chunks in which any byte is used."""
    found = array("Q")
    following = 0
    for start, end in used:
        # The last chunk of the range before can be the first of this one, too.
        first = index.find(start, max(0, following - 1))
        stop = index.find(end - 1, first) + 1
        found.extend(range(max(first, following), stop))
        following = stop
    return found


class ChunkBuffer:
    """One chunk's plain data, with unused bytes zero; reused for chunk after chunk.

    Whole pages: the kernel copies up to ten times as slowly to where a bytearray begins, 16 bytes off one of 32.
    """

    def __init__(self) -> None:
        """Start without memory; `prepare` takes what the chunk needs."""
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._zeros = bytes(mmap.PAGESIZE)

    def prepare(self, size: int, ranges: Sequence[tuple[int, int]]) -> memoryview:
        """A view of `size` bytes, zero outside `ranges`, which are offsets in the chunk that will be filled."""
        if len(self._memory) < size:
            self._memory = mmap.mmap(-1, size)
            self._zeros = bytes(size)
        view = memoryview(self._memory)[:size]
        zeros = memoryview(self._zeros)
        at = 0
        for start, end in ranges:
            view[at:start] = zeros[: start - at]
            at = end
        view[at:] = zeros[: size - at]
        return view


class Counter:
    """Counts that several threads add to."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, name: str, by: int = 1) -> None:
        """Add to one count."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + by

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)
