"""Whether comparing a chunk before it is written is worth the reading."""

import threading

_SURE_AFTER = 8
"""Chunks in a row that differ before any is written unread: far more than where a few per cent differ."""
_MOST_UNREAD = 32


class Probing:
    """On a disk that held something else every compare is lost time, on one that held nearly the same it is a gain.

    So after many chunks in a row that differ, more and more are written unread between two that are compared; one that
    holds the right bytes ends that at once.
    """

    def __init__(self) -> None:
        """Start with comparing everything."""
        self._lock = threading.Lock()
        self._differing = self._unread = 0

    def worth_it(self) -> bool:
        """Whether to compare the next chunk."""
        with self._lock:
            if self._unread:
                self._unread -= 1
                return False
            return True

    @property
    def differing(self) -> bool:
        """Whether the last chunk that was compared differed."""
        return self._differing > 0

    def saw(self, *, differs: bool) -> None:
        """Tell what a compare found."""
        with self._lock:
            self._differing = self._differing + 1 if differs else 0
            beyond = self._differing - _SURE_AFTER
            self._unread = min(_MOST_UNREAD, 1 << beyond) if beyond >= 0 else 0
