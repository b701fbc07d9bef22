"""Pictures of a text console: what is drawn can be read again."""

import struct
import zlib

import pyte
import pytest

from tests import vga

WORDS = "Restore: ─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬▒░ äöüß 100%"


def screen_with(words: str) -> pyte.Screen:
    screen = pyte.Screen(80, 24)
    pyte.Stream(screen).feed(words)
    return screen


@pytest.mark.parametrize("attributes", ["", "1", "7", "1;7", "31", "32;7", "44;97"])
def test_what_was_drawn_is_read(attributes: str) -> None:
    picture = vga.draw(screen_with(f"\x1b[{attributes}m{WORDS}\x1b[m\r\n  plain"))
    assert (picture.width, picture.height) == (640, 384)
    assert vga.read(picture)[:3] == [WORDS, "  plain", ""]


def test_a_glyph_that_the_rom_lacks_is_seen_as_missing() -> None:
    assert vga.read(vga.draw(screen_with("a…b")))[0] == "a?b"


def test_a_picture_of_qemu_is_read() -> None:
    drawn = vga.draw(screen_with(WORDS))
    data = b"P6\n640 384\n255\n" + drawn.pixels
    assert vga.read_ppm(data) == drawn
    with pytest.raises(ValueError, match="binary PPM"):
        vga.read_ppm(b"P5 1 1 255 \0")


def test_a_png_holds_the_same_pixels() -> None:
    drawn = vga.draw(screen_with(WORDS))
    png = drawn.png()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    (length,) = struct.unpack(">I", png[33:37])
    rows = zlib.decompress(png[41 : 41 + length])
    stride = 3 * drawn.width + 1
    assert b"".join(rows[y * stride + 1 : (y + 1) * stride] for y in range(drawn.height)) == drawn.pixels
