"""The terminal's cursor and pen: the shortest sequences that move the one and change the other.

Only what every terminal since the VT100 has is used. A line feed is sent after a carriage return alone, as some
terminals make both of it. After the last column it is not known where the cursor stands: some wrap at once, some later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rescue.console.cells import BLANK, PLAIN, Cell, Style
from rescue.console.dialect import blank_style
from rescue.console.glyphs import DEC_GRAPHICS, SAFE
from rescue.console.sgr import change

SHIFT_OUT, SHIFT_IN = "\x0e", "\x0f"
"""To the line drawing that START put into G1, and back."""


@dataclass(slots=True)
class Pen:
    """Where the terminal's cursor is and how it would draw, None where that is not known."""

    columns: int
    dec: bool = False
    """Whether lines are drawn in the VT100's way."""
    x: int | None = None
    y: int | None = None
    style: Style | None = None
    graphics: bool = False

    def copy(self) -> "Pen":
        """To try something out."""
        return replace(self)

    def move(self, x: int, y: int) -> str:
        """Move the cursor."""
        said = self._shortest(x, y)
        self.x, self.y = x, y
        return said

    def _shortest(self, x: int, y: int) -> str:
        here = None if self.x is None or self.y is None else (self.x, self.y)
        if here == (x, y):
            return ""
        ways = [_address(x, y)]
        if here is not None:
            down = y - here[1]
            if down >= 0:
                ways.append("\r" + "\n" * down + _across(0, x))
            ways.append(_vertical(down) + _across(here[0], x))
        return min(ways, key=len)

    def draw(self, y: int, x: int, cells: Sequence[Cell]) -> str:
        """Draw cells of a row from column `x` on."""
        said = [self.move(x, y)]
        for place, (character, style) in enumerate(cells, x):
            if character == "":
                continue
            if self.x is None:
                said.append(self.move(place, y))
            if character != " " or self.style is None or blank_style(self.style) != style:
                said.append(change(self.style, style))
                self.style = style
            said.append(self._character(character))
            self._advance(character, place)
        return "".join(said)

    def _character(self, character: str) -> str:
        graphic = DEC_GRAPHICS.get(character) if self.dec else None
        # A blank is one in either set.
        if character == " " or (graphic is not None) == self.graphics:
            return graphic or character
        self.graphics = graphic is not None
        return f"{SHIFT_OUT}{graphic}" if graphic is not None else f"{SHIFT_IN}{character}"

    def _advance(self, character: str, place: int) -> None:
        # How wide others than the common ones are is for each terminal to say.
        if place + 1 >= self.columns:
            self.x = self.y = None
        elif len(character) > 1 or not (character < "\u0300" or character in SAFE):
            self.x = None
        else:
            self.x = place + 1

    def plainly(self) -> str:
        """Draw plainly from now on: what is erased takes the colour of the pen."""
        said = change(self.style, PLAIN)
        self.style = PLAIN
        return said

    def blanks(self, y: int, x: int, count: int, *, erases: bool) -> str:
        """Blanks without a colour, in the shorter way."""
        erased = self.copy()
        erasing = f"{erased.move(x, y)}{erased.plainly()}\x1b[{count}X"
        drawn = self.copy()
        drawing = drawn.draw(y, x, [BLANK] * count)
        # What follows stands behind them, and costs a move after an erasure.
        chosen, said = (erased, erasing) if erases and len(erasing) + 4 < len(drawing) else (drawn, drawing)
        self.x, self.y, self.style, self.graphics = chosen.x, chosen.y, chosen.style, chosen.graphics
        return said


def _address(x: int, y: int) -> str:
    if x:
        return f"\x1b[{y + 1};{x + 1}H"
    return f"\x1b[{y + 1}H" if y else "\x1b[H"


def _across(before: int, after: int) -> str:
    """Within a row."""
    if after == before:
        return ""
    if after > before:
        return _relative("C", after - before)
    back = before - after
    ways = ["\b" * back, _relative("D", back)]
    if before:
        ways.append("\r" + _across(0, after))
    return min(ways, key=len)


def _vertical(down: int) -> str:
    if not down:
        return ""
    return _relative("B", down) if down > 0 else _relative("A", -down)


def _relative(letter: str, count: int) -> str:
    return f"\x1b[{letter}" if count == 1 else f"\x1b[{count}{letter}"
