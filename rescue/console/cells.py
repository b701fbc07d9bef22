"""What one place of a screen shows: a character, and how it is drawn."""

from dataclasses import dataclass
from typing import NamedTuple

DEFAULT = -1
"""The terminal's own colour; the others are 0 to 15, as in ECMA-48 and xterm."""


class Style(NamedTuple):
    """How a character is drawn; a tuple, as cells are compared and looked up by the thousand."""

    fg: int = DEFAULT
    bg: int = DEFAULT
    bold: bool = False
    dim: bool = False
    underline: bool = False
    reverse: bool = False


Cell = tuple[str, Style]
"""A character with what combines with it; the second half of a wide one is empty."""
Row = tuple[Cell, ...]

PLAIN = Style()
BLANK: Cell = (" ", PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A whole screen, and where its cursor stands: column and row, counted from 0."""

    rows: tuple[Row, ...]
    cursor: tuple[int, int] = (0, 0)

    @property
    def columns(self) -> int:
        """Its width."""
        return len(self.rows[0])


def blank_frame(columns: int, rows: int) -> Frame:
    """An empty screen."""
    return Frame(rows=((BLANK,) * columns,) * rows)
