"""Reading chunks ahead of whoever goes through a disk from one end to the other; who jumps about is left alone."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

_MOST_STREAMS = 16
"""How many readers are followed at once; of more, the one that was not heard of for the longest time is forgotten."""
_RUN = 3
"""How many chunks somebody has to read one after the other to be taken for a reader of all of them."""
_MOST_WAITING = 2
"""How many chunks wait for each thread."""
_BACK = 2
"""By how many chunks requests may be out of order: the kernel has several under way, answered by several threads."""


@dataclass(slots=True)
class _Stream:
    """Somebody who reads on: the chunk that is expected next, how many came in order, what was foreseen so far."""

    next: int
    run: int = 1
    foreseen: int = 0


class Foresight:
    """Tells from the chunks that are read which will be read soon. One thread at a time."""

    def __init__(self, depth: int) -> None:
        """Take how many chunks are foreseen of each reader."""
        self._depth = depth
        self._streams: list[_Stream] = []

    def after(self, i: int) -> Sequence[int]:
        """The chunks that will be read soon now that chunk `i` is; each is told of once."""
        for at, stream in enumerate(self._streams):
            if stream.next - _BACK <= i <= stream.next:
                if at:
                    self._streams.insert(0, self._streams.pop(at))
                return self._step(stream) if i == stream.next else ()
        self._streams.insert(0, _Stream(next=i + 1))
        del self._streams[_MOST_STREAMS:]
        return ()

    def _step(self, stream: _Stream) -> Sequence[int]:
        stream.next += 1
        stream.run += 1
        if stream.run < _RUN:
            return ()
        first = max(stream.next, stream.foreseen)
        stream.foreseen = stream.next + self._depth
        return range(first, stream.foreseen)


class ReadAhead:
    """Threads that fetch what is foreseen, until `close`.

    Where more is foreseen than they can fetch, by many readers at once, the oldest is left to whoever reads it.
    """

    def __init__(self, fetch: Callable[[int], object], hands: int) -> None:
        """Take what fetches a chunk, and by how many threads, for each reader as many chunks ahead.

        What `fetch` raises is lost: whoever reads the chunk finds out.
        """
        self._fetch = fetch
        self._foresight = Foresight(hands)
        self._waiting: deque[int] = deque(maxlen=_MOST_WAITING * hands)
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, name="ahead", daemon=True) for _ in range(hands)]
        self._closed = False

    def reads(self, i: int) -> int | None:
        """Somebody reads chunk `i`; never waits. Returns the chunk that he has left behind now, where he reads on."""
        with self._changed:
            soon = self._foresight.after(i)
            if not soon or self._closed:
                return None
            self._waiting.extend(soon)
            self._changed.notify(len(soon))
            # Where there is no room for a thread, fewer will do.
            with suppress(RuntimeError):
                for thread in self._threads:
                    if thread.ident is None:
                        thread.start()
        return i - _BACK

    def close(self) -> None:
        """Fetch no more; waits for what is being fetched, so that nothing of the library is in use any more."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self) -> None:
        while (i := self._next()) is not None:
            with suppress(Exception):
                self._fetch(i)

    def _next(self) -> int | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popleft()
