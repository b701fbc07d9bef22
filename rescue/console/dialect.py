"""What a terminal understands, and how a cell is drawn with that."""

from dataclasses import dataclass, field
from enum import StrEnum

from rescue.console.cells import BLANK, DEFAULT, PLAIN, Cell, Row, Style
from rescue.console.glyphs import Glyphs, shown


class Look(StrEnum):
    """How much the screen is dressed up."""

    PLAIN = "plain"
    RICH = "rich"


class Mode(StrEnum):
    """What kind of terminal it is: over a line, the screen of this computer, or an emulator that knows everything."""

    SERIAL = "serial"
    VGA = "vga"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a terminal understands beyond text, bold, underline, reverse and moves of the cursor."""

    glyphs: Glyphs = Glyphs.ASCII
    utf8: bool = False
    colours: bool = False
    bright: bool = False
    """Whether it has eight more colours, 90 to 97; bold stands for them otherwise."""
    dim: bool = False
    fades: bool = False
    """Whether bold in reverse is dark grey on light grey, as on the Linux console: build_attr in its vt.c."""
    erases_characters: bool = False
    """Whether it knows ECH, `CSI n X`."""
    vt100: bool = True
    """Whether it has the modes and character sets of a VT100."""
    hides_cursor: bool = False
    """Whether its cursor can be hidden, `CSI ? 25 l`, so that it has to be shown."""
    _cells: dict[Cell, Cell] = field(default_factory=dict, compare=False, repr=False)

    def row(self, cells: list[Cell]) -> Row:
        """A row as this terminal can show it."""
        known = self._cells
        return tuple([known.get(cell) or self._learn(cell) for cell in cells])

    def _learn(self, cell: Cell) -> Cell:
        character = shown(cell[0], self.glyphs, utf8=self.utf8)
        style = self.style(cell[1])
        if character == " ":
            style = blank_style(style)
        made = (character, style)
        return self._cells.setdefault(cell, BLANK if made == BLANK else made)

    def style(self, style: Style) -> Style:
        """A style as this terminal can draw it; on a monochrome one, a background is drawn in reverse."""
        dim = style.dim and self.dim and not style.reverse
        if not self.colours:
            reverse = style.reverse or style.bg not in (DEFAULT, 0)
            return Style(bold=style.bold, underline=style.underline, reverse=reverse, dim=dim)
        style = style._replace(dim=dim, bold=style.bold and not (self.fades and style.reverse))
        if self.bright:
            return style
        bold = style.bold or style.fg >= 8
        return style._replace(bold=bold, fg=_dark(style.fg), bg=_dark(style.bg))


def _dark(colour: int) -> int:
    return colour - 8 if colour >= 8 else colour


def blank_style(style: Style) -> Style:
    """Of a style, what is seen on a blank: its background, an underline, or its colour in reverse."""
    fg = style.fg if style.reverse or style.underline else DEFAULT
    if not style.reverse and not style.underline and style.bg == DEFAULT:
        return PLAIN
    return Style(fg=fg, bg=style.bg, underline=style.underline, reverse=style.reverse)


def dialect(mode: Mode, term: str, look: Look, *, utf8: bool = False) -> Dialect:
    """What is known of a terminal of that TERM on a serial line or on this computer's own screen.

    On a line nothing is known for sure: the plain look uses ASCII there, and the rich one UTF-8 where the terminal was
    found to understand it, or a VT100's own line drawing. Of one whose TERM tells nothing, no more is known in the rich
    look: colours and line drawing would end up as letters on it.
    """
    if mode is Mode.VGA:
        return Dialect(
            glyphs=Glyphs.VGA,
            utf8=True,
            colours=True,
            bright=True,
            dim=True,
            fades=True,
            erases_characters=True,
            hides_cursor=True,
        )
    emulator = not is_plain(term)
    rich = look is Look.RICH
    lines = (
        (Glyphs.ALL if emulator and utf8 else Glyphs.VGA if utf8 else Glyphs.DEC)
        if rich and (utf8 or term not in (*_ANSI, *_UNKNOWN))
        else Glyphs.ASCII
    )
    return Dialect(
        glyphs=lines,
        utf8=utf8,
        colours=(rich and term not in _UNKNOWN) or term in ("linux", "ansi"),
        bright=emulator or term == "linux",
        dim=emulator and rich,
        erases_characters=term.startswith(_WITH_ECH),
        vt100=term not in _ANSI,
        hides_cursor=emulator or term.startswith(_WITH_ECH),
    )


EMULATORS = ("xterm", "screen", "tmux", "rxvt", "alacritty", "foot", "kitty", "wezterm", "ghostty", "konsole", "gnome")
"""Beginnings of TERM for terminals that have a mouse and know the escape sequences of xterm."""

_WITH_ECH = (
    "vt2",
    "vt3",
    "vt4",
    "vt51",
    "linux",
    "xterm",
    "rxvt",
    "alacritty",
    "foot",
    "kitty",
    "konsole",
    "gnome",
    "putty",
)
"""Beginnings of TERM for terminals that can erase characters and hide their cursor, by terminfo(5); `screen` and `tmux`
cannot erase."""

_ANSI = ("ansi", "pcansi", "ansi.sys", "cygwin")
"""Terminals that have colours and moves of ECMA-48, and would show anything else as text."""

_UNKNOWN = ("", "dumb")
"""What TERM is where nobody knows what the terminal can do."""


def is_plain(term: str) -> bool:
    """Whether TERM names no terminal emulator: a text console, a VT100, or nothing that is known."""
    return not term.startswith(EMULATORS)
