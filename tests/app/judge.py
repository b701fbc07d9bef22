"""pyte as the judge: what a terminal shows after our bytes, against what it shows after the application's own."""

import pyte
from pyte.screens import Char

from rescue.console.cells import BLANK, DEFAULT, Cell, Row, Style
from rescue.console.dialect import Dialect

_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
_COLOURS = {"default": DEFAULT, **{name: place for place, name in enumerate(_NAMES)}}
_COLOURS |= {"bright" + name: place + 8 for place, name in enumerate(_NAMES)} | {"bfightmagenta": 13}


class Terminal:
    """A terminal of a certain size, fed with bytes."""

    def __init__(self, columns: int, rows: int, *, utf8: bool = True) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        # Only without UTF-8 does it know other character sets, as many a terminal.
        self._stream.use_utf8 = utf8
        self.bytes = 0

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self.bytes += len(data)
        self._stream.feed(data)

    def resize(self, columns: int, rows: int) -> None:
        """A window that is made larger or smaller, its text where a terminal may leave it."""
        self.screen.resize(rows, columns)

    @property
    def cursor(self) -> tuple[int, int]:
        """Column and row."""
        return min(self.screen.cursor.x, self.screen.columns - 1), self.screen.cursor.y

    @property
    def rows(self) -> list[list[Cell]]:
        """All cells."""
        lines = range(self.screen.lines)
        return [[_cell(self.screen.buffer[y][x]) for x in range(self.screen.columns)] for y in lines]

    def seen(self, dialect: Dialect) -> list[Row]:
        """What a person sees, after the mapping of a dialect; the last cell of the screen does not count."""
        rows = [dialect.row(row) for row in self.rows]
        return [*rows[:-1], (*rows[-1][:-1], BLANK)]


def _cell(char: Char) -> Cell:
    style = Style(
        fg=_COLOURS[char.fg],
        bg=_COLOURS[char.bg],
        bold=char.bold,
        underline=char.underscore,
        reverse=char.reverse,
    )
    return char.data, style
