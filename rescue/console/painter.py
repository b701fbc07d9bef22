"""Makes the terminal show a frame, with the fewest bytes, in bursts of which each may belong to a newer frame."""

from itertools import groupby

from rescue.console.cells import BLANK, Cell, Frame, Row, blank_frame
from rescue.console.dialect import Dialect
from rescue.console.glyphs import Glyphs
from rescue.console.pen import Pen

CLEAR = "\x1b[H\x1b[J"
"""Everything erased; drawn plainly before that."""

RESET = "\x1b[m"
"""What other programs may have left behind on any terminal: a pen."""
RESET_VT100 = "\x1b(B\x0f\x1b[?6l\x1b[?7h\x1b[r\x1b[4;20l"
"""On a VT100: character sets, an origin that moves, lines that do not wrap, a scrolling region, insert mode, line feeds
that return."""
RESET_VT220 = "\x1b[?25h"
"""On a VT220: a cursor that is not seen."""
RESET_UTF8 = "\x1b%G"
"""On the Linux console: letters that are not UTF-8."""
START_DEC = "\x1b)0"
"""Line drawing as the other character set."""

MANY_ROWS = 6
"""Rows that have to change before it is worth a look whether to begin with an empty screen."""


class Painter:
    """Knows what the terminal shows, and says what to send so that it shows something else.

    The last cell of the screen is never drawn: it would make many a terminal scroll.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.shown: Frame | None = None
        """None where that is not known."""
        self._pen = Pen(columns=0)
        self._next = 0
        self._begun = False

    def forget(self) -> None:
        """What the terminal shows is not known any more."""
        self.shown = None

    def speak(self, dialect: Dialect) -> None:
        """Draw in another way from now on, the whole screen anew."""
        self.dialect = dialect
        self.forget()

    def done(self, frame: Frame) -> bool:
        """Whether the terminal shows that frame, with the cursor in its place."""
        return self.shown is not None and _same(self.shown, frame) and (self._pen.x, self._pen.y) == frame.cursor

    def burst(self, frame: Frame, limit: int | None = None) -> str:
        """The next bytes to send: about `limit`, all that is needed where there is none, nothing once all is shown.

        A row is always sent as a whole.
        """
        said = []
        if self.shown is None or self.shown.columns != frame.columns or len(self.shown.rows) != len(frame.rows):
            said.append(self._begin(frame))
        elif limit is not None and self._next == 0:
            said.append(self._clear_where_shorter(frame))
        assert self.shown is not None
        rows = list(self.shown.rows)
        count = len(rows)
        size = sum(map(len, said))
        for y in [*range(self._next, count), *range(self._next)]:
            if limit is not None and size >= limit:
                self._next = y
                break
            row = self._row(self._pen, rows[y], frame.rows[y], y, last=y == count - 1)
            if row:
                said.append(row)
                size += len(row)
            rows[y] = frame.rows[y]
        else:
            self._next = 0
            said.append(self._pen.move(*frame.cursor))
        self.shown = Frame(rows=tuple(rows), cursor=frame.cursor)
        return "".join(said)

    def _begin(self, frame: Frame) -> str:
        dec = self.dialect.glyphs is Glyphs.DEC
        self._pen = Pen(columns=frame.columns, dec=dec)
        self._pen.plainly()
        self._pen.move(0, 0)
        self.shown = blank_frame(frame.columns, len(frame.rows))
        self._next = 0
        return reset(self.dialect) + (START_DEC if dec else "") + CLEAR

    def _clear_where_shorter(self, frame: Frame) -> str:
        """Erase everything first, where drawing all that there is costs less than changing what stands there."""
        assert self.shown is not None
        differ = [y for y, (old, new) in enumerate(zip(self.shown.rows, frame.rows, strict=True)) if old != new]
        if len(differ) < MANY_ROWS:
            return ""
        empty = blank_frame(frame.columns, len(frame.rows))
        cleared = self._pen.copy()
        clearing = cleared.plainly() + CLEAR
        cleared.x, cleared.y = 0, 0
        if len(clearing) + self._cost(cleared, empty, frame) >= self._cost(self._pen.copy(), self.shown, frame):
            return ""
        self._pen.plainly()
        self._pen.move(0, 0)
        self.shown = empty
        return clearing

    def _cost(self, pen: Pen, before: Frame, after: Frame) -> int:
        last = len(after.rows) - 1
        return sum(
            len(self._row(pen, old, new, y, last=y == last))
            for y, (old, new) in enumerate(zip(before.rows, after.rows, strict=True))
        )

    def _row(self, pen: Pen, old: Row, new: Row, y: int, *, last: bool) -> str:
        """What turns a row into another: its changes, or its end erased and drawn anew, whichever is shorter."""
        if old == new:
            return ""
        width = len(new) - last
        first = next((x for x in range(width) if old[x] != new[x]), None)
        if first is None:
            return ""
        changing = pen.copy()
        changes = self._changes(changing, old, new, y, width)
        erasing = pen.copy()
        start = _whole(new, _whole(old, first))
        erased = erasing.move(start, y) + erasing.plainly() + "\x1b[K"
        anew = erased + self._changes(erasing, old[:start] + (BLANK,) * (len(old) - start), new, y, width)
        better, said = (erasing, anew) if len(anew) < len(changes) else (changing, changes)
        pen.x, pen.y, pen.style, pen.graphics = better.x, better.y, better.style, better.graphics
        return said

    def _changes(self, pen: Pen, old: Row, new: Row, y: int, width: int) -> str:
        end = next((x + 1 for x in range(width - 1, -1, -1) if new[x] != BLANK), 0)
        said = []
        for start, stop in _runs(old, new, end):
            said.append(self._stretch(pen, new, y, start, stop))
        tail = [x for x in range(end, width) if old[x] != BLANK]
        if tail:
            said.append(self._erase_tail(pen, y, tail, width))
        return "".join(said)

    def _stretch(self, pen: Pen, new: Row, y: int, start: int, stop: int) -> str:
        """Draw a stretch; what lies between it and the cursor is drawn again where that is shorter than a move."""
        said = []
        if pen.y == y and pen.x is not None and pen.x < start:
            again, moved = pen.copy(), pen.copy()
            drawn = again.draw(y, pen.x, new[pen.x : start])
            if again.x == start and again.style == pen.style and len(drawn) <= len(moved.move(start, y)):
                said.append(drawn)
                pen.x, pen.graphics = again.x, again.graphics
        for blank, cells in groupby(new[start:stop], key=BLANK.__eq__):
            some: list[Cell] = list(cells)
            if blank:
                said.append(pen.blanks(y, start, len(some), erases=self.dialect.erases_characters))
            else:
                said.append(pen.draw(y, start, some))
            start += len(some)
        return "".join(said)

    def _erase_tail(self, pen: Pen, y: int, tail: list[int], width: int) -> str:
        erasing, drawing = pen.copy(), pen.copy()
        erased = erasing.move(tail[0], y) + erasing.plainly() + "\x1b[K"
        count = tail[-1] - tail[0] + 1
        drawn = drawing.draw(y, tail[0], [BLANK] * count) if tail[-1] < width else erased
        better, said = (drawing, drawn) if len(drawn) < len(erased) else (erasing, erased)
        pen.x, pen.y, pen.style, pen.graphics = better.x, better.y, better.style, better.graphics
        return said


def reset(dialect: Dialect) -> str:
    """Makes a terminal draw plainly, whatever other programs have left behind, and sends it nothing that it lacks."""
    ways = (
        (RESET_UTF8, dialect.fades),
        (RESET_VT100, dialect.vt100),
        (RESET_VT220, dialect.hides_cursor),
        (RESET, True),
    )
    return "".join(words for words, known in ways if known)


def _same(one: Frame, other: Frame) -> bool:
    """Whether two frames show the same, but for the last cell."""
    return (
        one.columns == other.columns
        and one.rows[:-1] == other.rows[:-1]
        and one.rows[-1][:-1] == other.rows[-1][:-1]
        and len(one.rows) == len(other.rows)
    )


def _whole(row: Row, x: int) -> int:
    """Where the character begins of which this cell is a part."""
    while x > 0 and row[x][0] == "":
        x -= 1
    return x


def _runs(old: Row, new: Row, end: int) -> list[tuple[int, int]]:
    """Stretches of cells that differ, up to `end`; a wide character is never taken apart."""
    runs = []
    x = 0
    while x < end:
        if old[x] == new[x]:
            x += 1
            continue
        start = _whole(new, x)
        while x < end and (old[x] != new[x] or new[x][0] == ""):
            x += 1
        runs.append((start, x))
    return runs
