"""How much may be sent now, so that little waits in queues where nothing can overtake it any more."""

BURST = 0.1
"""Seconds of line time that are sent at once."""
AHEAD = 0.03
"""Seconds before a burst has left at which the next may follow, so that the line never rests."""
SLACK = 16
"""Bytes in the kernel's queue that do not count: a serial port has as many in its own."""


class Pacer:
    """The line's clock. Times are seconds of any clock that only goes forward; `rate` is bytes a second, or None."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._busy_until = 0.0

    @property
    def burst(self) -> int | None:
        """Bytes of a burst; None where nothing limits it."""
        return None if self.rate is None else max(16, int(self.rate * BURST))

    def sent(self, now: float, count: int) -> None:
        """So many bytes were written."""
        if self.rate is not None:
            self._busy_until = max(now, self._busy_until) + count / self.rate

    def wait(self, now: float, queued: int) -> float:
        """Seconds until the next burst may go; 0 where it may now."""
        if self.rate is None:
            return 0.0
        by_clock = self._busy_until - now - AHEAD
        by_queue = (queued - SLACK) / self.rate - AHEAD
        return max(0.0, by_clock, by_queue)
