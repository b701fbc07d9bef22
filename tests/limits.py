"""How long a step of a test may take, and all of them: what hangs fails by name.

pytest-timeout's alarm is gone once a test has failed, so that a second try has none; it comes once, and what it raises
is one of a test's own failures to hypothesis, which tries it again.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from signal import setitimer as _set_timer  # tests put others in their modules
from time import time as _now
from types import FrameType
from typing import NoReturn

import pytest
from _pytest.outcomes import OutcomeException

_LONGEST, _LONGEST_WITH_MACHINES = 900.0, 1800.0
"""Seconds; they bound a hang, and are not what it takes."""
_AGAIN = 60.0
"""Seconds until the alarm comes again, where a callback or a handler has taken the first for its own."""
_PATIENCE = float(os.environ.get("RESCUE_TESTS_PATIENCE", "1"))
"""How many times as long, on a slow machine or for a long sweep."""
_UNTIL = float(os.environ.get("RESCUE_TESTS_UNTIL", "inf"))
"""Seconds of time.time() at which all tests are to be over."""
THOROUGH = os.environ.get("RESCUE_ALL") == "1"
"""Whether the longest tests with machines run as well, some of which try what no other does."""


class TooLongError(OutcomeException):
    """A step of a test took longer than it may; neither a test nor a fixture takes this for a failure to go on from."""


def refuse_to_begin_late() -> None:
    """Fail once the time for all tests is over."""
    if _now() > _UNTIL:
        pytest.fail("not begun: the time for all tests (RESCUE_TESTS_UNTIL) is over", pytrace=False)


def begin() -> None:
    """Hear the alarm from now on, in the main thread."""
    signal.signal(signal.SIGALRM, _too_long)


@contextmanager
def limited(item: pytest.Item) -> Iterator[None]:
    """A step of a test, which raises TooLongError in the main thread when its time is over."""
    longest = _PATIENCE * (_LONGEST_WITH_MACHINES if item.get_closest_marker("qemu") else _LONGEST)
    _set_timer(signal.ITIMER_REAL, max(1.0, min(longest, _UNTIL - _now())), _AGAIN)
    try:
        yield
    finally:
        _set_timer(signal.ITIMER_REAL, 0)


def _too_long(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TooLongError("it took longer than tests/limits.py lets it")
