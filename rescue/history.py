"""The rate of the last minutes as one line of characters that every console has.

The line fills from the left and begins anew at its end, as the trace of a monitor does: a new reading changes two
characters, where a line that moves would be drawn anew on a slow line each time.
"""

SECONDS = 5.0
"""What one character stands for."""

LEVELS = "_.:-=+*#"
"""From nothing at all to the top of the scale."""

GAP = "  "
"""Between the newest reading and the oldest ones."""

MOST = 1000
"""Characters without a reading that are drawn; a clock that was set forward would make millions."""


class History:
    """Takes bytes as they move, in the order of their times."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._cells: list[int] = []
        self._current = 0

    def note(self, time: float, moved: int) -> None:
        """So many more bytes at that time, in seconds since whenever."""
        if self._began is None or time - self._began > SECONDS * (len(self._cells) + MOST):
            self._began, self._cells, self._current = time, [], 0
        for _ in range(min(MOST, int((time - self._began) / SECONDS) - len(self._cells))):
            self._cells.append(self._current)
            self._current = 0
        self._current += moved

    @property
    def top(self) -> int:
        """The top of the scale in bytes a second: 1, 2 or 5 with noughts, so that it seldom changes."""
        most = max(self._cells, default=0) / SECONDS
        size = 1
        while size < most:
            size = size * 5 // 2 if str(size).startswith("2") else size * 2
        return size

    def line(self, width: int) -> str:
        """As many characters as `width`; spaces where there is no reading yet."""
        cells = [self._level(cell) for cell in self._cells]
        if len(cells) <= width - len(GAP):
            return "".join(cells).ljust(width)
        line, first = [" "] * width, max(0, len(cells) - (width - len(GAP)))
        for place in range(first, len(cells)):
            line[place % width] = cells[place]
        return "".join(line)

    def _level(self, cell: int) -> str:
        if not cell:
            return LEVELS[0]
        steps = len(LEVELS) - 1
        return LEVELS[max(1, min(steps, round(steps * cell / SECONDS / self.top)))]
