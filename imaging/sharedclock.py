"""The time by the clock that dates the files of a library: on a share, or at an address, its computer's own.

Two machines at work in one library judge each other by how long ago a file of the other's was renewed; the clocks of
both can be days apart, and neither is asked.
"""

import os
import time
from contextlib import suppress
from pathlib import Path


def since_boot() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedClock:
    """That clock; this machine's own as long as no file has told another."""

    def __init__(self) -> None:
        """Begin with this machine's clock."""
        self._ahead = time.time() - since_boot()

    def learn(self, file: Path) -> None:
        """Take the time from a file that was just written. One that is gone tells nothing."""
        with suppress(OSError):
            self._ahead = file.stat().st_mtime - since_boot()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._ahead + since_boot()

    def renew(self, file: Path) -> None:
        """Date a file of that now: left to itself, SMB would take this machine's clock. Raises OSError."""
        now = self.now()
        os.utime(file, (now, now))
