"""One line on a terminal that tells how far something is which is no job."""

import sys
import time

from rescue.formats import format_size
from rescue.language import _

_TELL_EVERY = 0.3


class ProgressLine:
    """One line on a terminal that tells how far it is."""

    def __init__(self, *, shown: bool) -> None:
        """Take whether there is anybody to read it."""
        self._shown = shown
        self._told = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Tell it, now and then."""
        if self._shown and time.monotonic() - self._told > _TELL_EVERY:
            self._told = time.monotonic()
            words = _("{done} of {total} read").format(done=format_size(done), total=format_size(total))
            print(f"\r{words}  ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self._told:
            print(f"\r{' ' * 40}\r", end="", file=sys.stderr, flush=True)
