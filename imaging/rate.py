"""No more than so many bytes a second, over any number of threads."""

import threading
import time
from collections.abc import Callable


class Rate:
    """A bucket that bytes run out of at a steady rate; without a limit where that is 0."""

    def __init__(self, limit: float, wait: Callable[[float], object] = time.sleep) -> None:
        """Take bytes a second, and what waits for so many seconds, or until somebody asks to stop."""
        self.limit, self._wait, self._lock, self._free_at = limit, wait, threading.Lock(), 0.0

    def used(self, size: int) -> None:
        """Wait as long as so many bytes may take."""
        if self.limit <= 0:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + size / self.limit
            pause = self._free_at - now
        self._wait(pause)
