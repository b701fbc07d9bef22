"""How fast a job goes and how long it still takes, from the progress that it reports: figures that do not jump."""

from collections import deque
from dataclasses import dataclass

WINDOW = 15.0
"""Seconds over which the rate is taken: shorter jumps with every burst, longer hides a stall."""

LONG_WINDOW = 60.0
"""The same for the forecast of a whole job, which passes over places that are quick or slow."""

SETTLED = 3.0
"""Seconds of a step before a forecast is worth showing."""

STEADY = 0.15
"""A new forecast within this share of the shown one only lets the shown one count down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is shown: bytes a second, and seconds left, None while neither is known."""

    rate: float | None = None
    left: float | None = None


class Pace:
    """Takes `(time, done, total)` of one step, gives a Reading. Times are seconds, the rest bytes."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._points: deque[tuple[float, int]] = deque()
        self._began: float | None = None
        self._shown: tuple[float, float] | None = None
        """When the shown forecast was made, and what it said."""

    def note(self, time: float, done: int, total: int) -> Reading:
        """Take one report of progress."""
        if self._began is None or (self._points and done < self._points[-1][1]):
            self._points.clear()
            self._began, self._shown = time, None
        self._points.append((time, done))
        while len(self._points) > 2 and time - self._points[1][0] >= self._window:
            self._points.popleft()
        first_time, first_done = self._points[0]
        if time - first_time < 1:
            return Reading()
        rate = (done - first_done) / (time - first_time)
        if time - self._began < SETTLED or rate <= 0 or not total:
            return Reading(rate=rate)
        return Reading(rate=rate, left=self._steady(time, (total - done) / rate))

    def _steady(self, time: float, left: float) -> float:
        """The forecast to show: the one shown before, counted down, while the new one does not say otherwise."""
        if self._shown is not None:
            made, said = self._shown
            expected = max(0.0, said - (time - made))
            if abs(left - expected) <= STEADY * max(left, expected) or abs(left - expected) < 3:
                return expected
        self._shown = (time, left)
        return left
