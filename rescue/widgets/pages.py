"""A list of any length, a page at a time: a slow line carries a page as soon as there is one, and never scrolls."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.message import Message

from rescue.widgets.choices import Choice, Choices

LAST = -1
"""The cursor is to stand on a page's last line."""


class Pages(Choices):
    """Lines of which the space bar marks some; moving past the first or the last turns the page."""

    BINDINGS: ClassVar[list[BindingType]] = [("space", "mark")]

    class Turned(Message):
        """Another page is wanted, from the entry `start` on, with the cursor on its line `cursor`."""

        def __init__(self, start: int, cursor: int) -> None:
            super().__init__()
            self.start = start
            self.cursor = cursor

    class Marked(Message):
        """The line `line` of the page is to be marked, or its mark taken away."""

        def __init__(self, line: int) -> None:
            super().__init__()
            self.line = line

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.start = 0
        self.total = 0
        self._turning: int | None = None
        """The page that is on its way."""

    @property
    def rows(self) -> int:
        """Lines of a page."""
        return max(1, self.size.height)

    @property
    def line(self) -> int:
        """The line of the page under the cursor."""
        return self.highlighted or 0

    def show_page(self, lines: Sequence[str], start: int, total: int, cursor: int) -> None:
        """Show entries from `start` on of `total`."""
        self.start, self.total, self._turning = start, total, None
        self.show([Choice(key=str(number), lines=(line,)) for number, line in enumerate(lines)])
        self.highlighted = (len(lines) - 1 if cursor == LAST else min(cursor, len(lines) - 1)) if lines else None

    def redraw(self, lines: Sequence[str]) -> None:
        """The same entries look different."""
        for number, line in enumerate(lines):
            if str(self.get_option_at_index(number).prompt) != line:
                self.replace_option_prompt_at_index(number, Content(line))

    def stay(self) -> None:
        """The page that was wanted does not come."""
        self._turning = None

    def turn(self, start: int, cursor: int) -> None:
        """Ask for a page."""
        self._turning = max(0, start)
        self.post_message(self.Turned(self._turning, cursor))

    @property
    def _from(self) -> int:
        """What PgUp and PgDn count from: pages that are still on their way count, too."""
        return self.start if self._turning is None else self._turning

    def action_cursor_up(self) -> None:
        """One line up, or to the page before."""
        if self.highlighted:
            self.highlighted -= 1
        elif self.start and self._turning is None:
            self.turn(self.start - self.rows, LAST)

    def action_cursor_down(self) -> None:
        """One line down, or to the next page."""
        if self.highlighted is None or self._turning is not None:
            return
        if self.highlighted + 1 < self.option_count:
            self.highlighted += 1
        elif self.start + self.option_count < self.total:
            self.turn(self.start + self.rows, 0)

    def action_page_up(self) -> None:
        """A page up; on the first one, to its beginning."""
        if self._from:
            self.turn(self._from - self.rows, self.line)
        else:
            self.action_first()

    def action_page_down(self) -> None:
        """A page down; on the last one, to its end."""
        if self._from + self.rows < self.total:
            self.turn(self._from + self.rows, self.line)
        else:
            self.action_last()

    def action_first(self) -> None:
        """To the beginning of all."""
        if self._from:
            self.turn(0, 0)
        elif self.option_count:
            self.highlighted = 0

    def action_last(self) -> None:
        """To the end of all."""
        last = (self.total - 1) // self.rows * self.rows if self.total else 0
        if self._from != last:
            self.turn(last, LAST)
        elif self.option_count:
            self.highlighted = self.option_count - 1

    def action_mark(self) -> None:
        """The space bar."""
        if self.highlighted is not None:
            self.post_message(self.Marked(self.highlighted))
