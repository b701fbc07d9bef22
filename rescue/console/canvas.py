"""The screen as the application means it to be: what Textual writes, taken as a grid of cells.

Nothing of it passes straight to the terminal. Textual writes few kinds of sequences: text, SGR, and moves to a place;
the others that change a screen are understood as well, and all the rest is left out.
Source: ECMA-48; textual/_compositor.py and textual/app.py, App._display.
"""

import re
import unicodedata
from collections.abc import Callable

from rich.cells import split_graphemes

from rescue.console.cells import BLANK, PLAIN, Cell, Style
from rescue.console.sgr import restyled

_TOKEN = re.compile(
    r"""
    \x1b\[ (?P<private>[<=>?]?) (?P<parameters>[0-9;:]*) [\ -/]* (?P<final>[@-~])
    | \x1b\] [^\x07\x1b]* (?: \x07 | \x1b\\ )        # a title, the clipboard, a link
    | \x1b [\ -/]* [0-Z\\^-~]
    | (?P<control>[\x00-\x1f\x7f-\x9f])
    | (?P<text>[^\x00-\x1f\x7f-\x9f]+)
    """,
    re.VERBOSE,
)
_UNFINISHED = re.compile(r"\x1b(?:\[[<=>?0-9;: -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)\Z")
"""The beginning of a sequence whose end is still to come."""


class Canvas:
    """A grid of cells that is written to as a terminal is; `changed` holds the rows that were."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.rows: list[list[Cell]] = [[BLANK] * columns for _ in range(rows)]
        self.changed: set[int] = set(range(rows))
        self.x = 0
        self.y = 0
        self.bells = 0
        self._style = PLAIN
        self._kept: dict[tuple[str, Style], Cell] = {}
        self._styles: dict[tuple[Style, str], Style] = {}
        self._rest = ""
        self._acts: dict[str, Callable[[list[int]], None]] = {
            "A": lambda p: self._go(self.x, self.y - _first(p)),
            "B": lambda p: self._go(self.x, self.y + _first(p)),
            "C": lambda p: self._go(self.x + _first(p), self.y),
            "D": lambda p: self._go(self.x - _first(p), self.y),
            "G": lambda p: self._go(_first(p) - 1, self.y),
            "d": lambda p: self._go(self.x, _first(p) - 1),
            "H": lambda p: self._go((p[1] if len(p) > 1 and p[1] else 1) - 1, _first(p) - 1),
            "J": self._erase_screen,
            "K": self._erase_line,
        }

    def resize(self, columns: int, rows: int) -> None:
        """Another size: what does not fit is cut off, and the application draws the rest anew."""
        kept = [(row + [BLANK] * columns)[:columns] for row in self.rows[:rows]]
        self.rows = kept + [[BLANK] * columns for _ in range(rows - len(kept))]
        self.columns = columns
        self.changed = set(range(rows))
        self._go(self.x, self.y)

    def feed(self, data: str) -> None:
        """Take what the application writes."""
        data = self._rest + data
        partial = _UNFINISHED.search(data)
        self._rest = partial.group() if partial else ""
        for token in _TOKEN.finditer(data[: len(data) - len(self._rest)]):
            if text := token["text"]:
                self._write(text)
            elif final := token["final"]:
                if not token["private"]:
                    self._sequence(final, token["parameters"])
            elif control := token["control"]:
                self._control(control)

    def _sequence(self, final: str, parameters: str) -> None:
        if final == "m":
            key = (self._style, parameters)
            style = self._styles.get(key)
            if style is None:
                style = self._styles[key] = restyled(*key)
            self._style = style
        elif final in self._acts:
            self._acts[final]([int(number or 0) for number in parameters.replace(":", ";").split(";")])

    def _control(self, control: str) -> None:
        match control:
            case "\n":
                self._go(0, self.y + 1)
            case "\r":
                self._go(0, self.y)
            case "\b":
                self._go(self.x - 1, self.y)
            case "\a":
                self.bells += 1

    def _go(self, x: int, y: int) -> None:
        self.x = max(0, min(x, self.columns - 1))
        self.y = max(0, min(y, len(self.rows) - 1))

    def _cell(self, character: str) -> Cell:
        key = (character, self._style)
        return self._kept.setdefault(key, key)

    def _write(self, text: str) -> None:
        """Text at the cursor; as with a terminal that does not wrap, what is too long ends up in the last column."""
        if text.isascii() and self.x + len(text) <= self.columns:
            self._put([self._cell(character) for character in text])
            return
        # As Textual counts columns: by what is drawn as one, which may be several characters.
        for start, end, width in split_graphemes(text)[0]:
            character = text[start:end]
            if width == 0:
                self._combine(character)
                continue
            self.x = min(self.x, self.columns - 1)
            if self.x + width <= self.columns:
                cell = self._cell(unicodedata.normalize("NFC", character))
                self._put([cell, *[self._cell("")] * (width - 1)])

    def _put(self, cells: list[Cell]) -> None:
        row, start, end = self.rows[self.y], self.x, self.x + len(cells)
        # Half of a wide character that is written over is gone as a whole.
        if start and row[start][0] == "":
            row[start - 1] = (" ", row[start - 1][1])
        if end < self.columns and row[end][0] == "":
            row[end] = (" ", row[end][1])
        row[start:end] = cells
        self.changed.add(self.y)
        self.x = end

    def _combine(self, character: str) -> None:
        row = self.rows[self.y]
        x = self.x - 1
        while x > 0 and row[x][0] == "":
            x -= 1
        if x >= 0:
            before, style = row[x]
            row[x] = (unicodedata.normalize("NFC", before + character), style)
            self.changed.add(self.y)

    def _erase_line(self, parameters: list[int]) -> None:
        row = self.rows[self.y]
        start, end = _span(parameters[0], self.x, self.columns)
        row[start:end] = [self._erased] * (end - start)
        self.changed.add(self.y)

    def _erase_screen(self, parameters: list[int]) -> None:
        self._erase_line(parameters)
        above, below = range(self.y), range(self.y + 1, len(self.rows))
        for y in {0: [*below], 1: [*above], 2: [*above, *below]}.get(parameters[0], []):
            self.rows[y] = [self._erased] * self.columns
            self.changed.add(y)

    @property
    def _erased(self) -> Cell:
        return (" ", Style(bg=self._style.bg))


def _first(parameters: list[int]) -> int:
    return max(1, parameters[0])


def _span(which: int, x: int, columns: int) -> tuple[int, int]:
    """What an erasure takes of a line: from the cursor on, up to it, or all."""
    return {0: (x, columns), 1: (0, x + 1)}.get(which, (0, columns))
