"""What a terminal shows of the application, through the console driver: its text, its marks, the cells of a picture."""

from collections.abc import Iterator
from itertools import groupby

import pyte
from rich.console import Console

from rescue.application import RescueApp
from rescue.console.canvas import Canvas
from rescue.console.cells import Frame
from rescue.console.dialect import Dialect, Look, Mode, dialect
from rescue.console.painter import Painter

SERIAL = dialect(Mode.SERIAL, "vt220", Look.PLAIN)
VGA = dialect(Mode.VGA, "linux", Look.PLAIN)

_CONSOLE = Console(color_system="standard", force_terminal=True, legacy_windows=False)


def painted(app: RescueApp, terminal: Dialect) -> pyte.Screen:
    """The screen of a terminal to which the driver has sent what the application shows now."""
    width, height = app.size
    canvas = Canvas(width, height)
    for row, strip in enumerate(app.screen._compositor.render_strips()):
        canvas.feed(f"\x1b[{row + 1}H{strip.render(_CONSOLE)}")
    frame = Frame(rows=tuple(terminal.row(row) for row in canvas.rows), cursor=(0, 0))
    screen = pyte.Screen(width, height)
    pyte.Stream(screen).feed(Painter(terminal).burst(frame))
    return screen


def described(screen: pyte.Screen) -> str:
    """A screen as a text file: its rows, then which columns of them are bold, reverse, underlined or coloured."""
    rows = [row.rstrip() for row in screen.display]
    marks = [f"{row + 1:>2}: {runs}" for row in range(screen.lines) if (runs := " | ".join(_runs(screen, row)))]
    return "\n".join([*rows, "-" * screen.columns, *marks, ""])


def _runs(screen: pyte.Screen, row: int) -> Iterator[str]:
    columns = range(screen.columns)
    for marks, group in groupby(columns, key=lambda column: _marks(screen.buffer[row][column])):
        run = list(group)
        if marks:
            yield f"{run[0] + 1}-{run[-1] + 1} {marks}"


def _marks(cell: pyte.screens.Char) -> str:
    named = [
        ("bold", cell.bold),
        ("reverse", cell.reverse),
        # On a blank it is a field to type in.
        ("underlined", cell.underscore),
        (cell.fg, cell.fg != "default"),
        (f"on {cell.bg}", cell.bg != "default"),
    ]
    return " ".join(name for name, here in named if here)
