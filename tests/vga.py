"""The screen of a PC in text: draws a terminal's screen as a picture, and reads a picture of a text console back.

The glyphs are those of the kernel's console until somebody loads another font: 8 by 16 pixels in code page 437, as the
VGA ROM has them, which QEMU's SeaBIOS carries. What they lack is drawn as a box with a cross in it.
"""

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyte

ROM = Path("/usr/share/seabios/vgabios-stdvga.bin")
"""From Debian's seabios, which comes with QEMU."""
WIDTH, HEIGHT = 8, 16

_LETTER_A = bytes.fromhex("000010386cc6c6fec6c6c6c600000000")
_CROSSED = bytes.fromhex("0000ff81c3a599999999a5c381ff0000")
_KERNEL = {
    "0": "0000386cc6c6d6d6c6c66c3800000000",
    "M": "0000c6eefefed6c6c6c6c6c600000000",
    "T": "00007e7e5a1818181818183c00000000",
    "V": "0000c6c6c6c6c6c6c66c381000000000",
    "W": "0000c6c6c6c6d6d6d6feee6c00000000",
    "X": "0000c6c66c7c38387c6cc6c600000000",
    "Y": "0000666666663c181818183c00000000",
    "Z": "0000fec6860c183060c2c6fe00000000",
    "`": "0030180c000000000000000000000000",
    "f": "00001c36323078303030307800000000",
    "m": "0000000000ecfed6d6d6d6c600000000",
    "v": "0000000000c6c6c6c6c66c3800000000",
    "w": "0000000000c6c6d6d6d6fe6c00000000",
    "x": "0000000000c66c3838386cc600000000",
    "|": "00001818181818181818181800000000",
    "~": "0076dc00000000000000000000000000",
}
"""ASCII that Linux draws in another way. Source: lib/fonts/font_8x16.c of the kernel."""
_CONTROLS = "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
"""What the ROM shows for the codes below the space."""

# The sixteen colours of the Linux console, by pyte's names.
_COLOURS = {
    "black": (0, 0, 0),
    "red": (170, 0, 0),
    "green": (0, 170, 0),
    "brown": (170, 85, 0),
    "blue": (0, 0, 170),
    "magenta": (170, 0, 170),
    "cyan": (0, 170, 170),
    "white": (170, 170, 170),
}

Colour = tuple[int, int, int]


@cache
def glyphs() -> dict[str, bytes]:
    """The 16 rows of each character that the font has."""
    rom = ROM.read_bytes()
    start = rom.index(_LETTER_A) - ord("A") * HEIGHT
    names = _CONTROLS + bytes(range(32, 127)).decode() + "⌂" + bytes(range(128, 256)).decode("cp437")
    found = {name: rom[start + code * HEIGHT :][:HEIGHT] for code, name in enumerate(names)}
    return found | {name: bytes.fromhex(rows) for name, rows in _KERNEL.items()}


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels, three bytes each, row by row."""

    width: int
    height: int
    pixels: bytes

    def png(self) -> bytes:
        """As a PNG file. Source: the PNG specification, third edition."""
        stride = 3 * self.width
        rows = b"".join(b"\0" + self.pixels[y * stride : (y + 1) * stride] for y in range(self.height))
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )


def read_ppm(data: bytes) -> Picture:
    """A picture as QEMU's screendump writes it: binary PPM without comments."""
    kind, width, height, deepest, pixels = re.split(rb"\s", data, maxsplit=4)
    if kind != b"P6" or deepest != b"255":
        raise ValueError("expected a binary PPM of 255 levels")
    return Picture(int(width), int(height), pixels)


def colours(cell: pyte.screens.Char) -> tuple[Colour, Colour]:
    """Foreground and background of a cell as the Linux console shows them.

    Reverse swaps the colours, but bold stays with the foreground: bold in reverse is dark grey on light grey. What is
    underlined is cyan.
    Source: build_attr in the kernel's drivers/tty/vt/vt.c.
    """
    front = _COLOURS["white"] if cell.fg == "default" else _colour(cell.fg)
    back = _COLOURS["black"] if cell.bg == "default" else _colour(cell.bg)
    if cell.reverse:
        front, back = back, front
    elif cell.underscore:
        front = _COLOURS["cyan"]
    return (_bright(front) if cell.bold else front), back


def _bright(colour: Colour) -> Colour:
    red, green, blue = (value if value > 170 else value + 85 for value in colour)
    return red, green, blue


def _colour(name: str) -> Colour:
    if name.startswith("bright"):
        return _bright(_COLOURS[name.removeprefix("bright")])
    if name in _COLOURS:
        return _COLOURS[name]
    red, green, blue = bytes.fromhex(name)
    return red, green, blue


def draw(screen: pyte.Screen) -> Picture:
    """A terminal's screen as a PC would show it."""
    out = bytearray()
    for y in range(screen.lines):
        cells = [screen.buffer[y][x] for x in range(screen.columns)]
        rows = [glyphs().get(cell.data, _CROSSED) for cell in cells]
        paints = [colours(cell) for cell in cells]
        for line in range(HEIGHT):
            for rows_of_cell, (front, back) in zip(rows, paints, strict=True):
                bits = rows_of_cell[line]
                out += b"".join(bytes(front if bits >> (7 - x) & 1 else back) for x in range(WIDTH))
    return Picture(screen.columns * WIDTH, screen.lines * HEIGHT, bytes(out))


def read(picture: Picture) -> list[str]:
    """The rows of text on a picture of a text console in this font.

    A cell of one colour is a space, whatever the colour: a full block cannot be told from a space in reverse. What is
    no glyph becomes `?`.
    """
    known = {rows: name for name, rows in reversed(glyphs().items())} | {bytes(HEIGHT): " "}
    return [
        "".join(_character(picture, column, row, known) for column in range(picture.width // WIDTH)).rstrip()
        for row in range(picture.height // HEIGHT)
    ]


def _character(picture: Picture, column: int, row: int, known: Mapping[bytes, str]) -> str:
    """The glyph is what differs from one of the cell's two colours; which is the background is found by trying."""
    lines = []
    for y in range(row * HEIGHT, (row + 1) * HEIGHT):
        start = 3 * (y * picture.width + column * WIDTH)
        lines.append([picture.pixels[start + 3 * x : start + 3 * x + 3] for x in range(WIDTH)])
    corner = lines[0][WIDTH - 1]
    bits = bytes(sum(1 << (7 - x) for x, pixel in enumerate(line) if pixel != corner) for line in lines)
    return known.get(bits) or known.get(bytes(255 - line for line in bits)) or "?"
