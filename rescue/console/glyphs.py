"""Which characters a terminal can show, and what stands for those that it cannot.

Every stand-in takes one cell, as what it stands for does. Sources: the VT100 user guide, table 3-9 (special graphics);
code page 437, the font in every VGA ROM.
"""

import unicodedata
from enum import StrEnum


class Glyphs(StrEnum):
    """What a terminal is known to draw lines and bars with."""

    ASCII = "ascii"
    DEC = "dec"
    VGA = "vga"
    ALL = "all"


SIMPLE = {
    **dict.fromkeys("╌╍┄┅┈┉━╼╾", "─"),
    **dict.fromkeys("╎╏┆┇┊┋┃╽╿", "│"),
    **dict.fromkeys("╭┏┍┎", "┌"),
    **dict.fromkeys("╮┓┑┒", "┐"),
    **dict.fromkeys("╰┗┕┖", "└"),
    **dict.fromkeys("╯┛┙┚", "┘"),
    **dict.fromkeys("┣┝┠", "├"),
    **dict.fromkeys("┫┥┨", "┤"),
    **dict.fromkeys("┳┯┰", "┬"),
    **dict.fromkeys("┻┷┸", "┴"),
    **dict.fromkeys("╋┿╂", "┼"),
    **dict.fromkeys("▀▄▌▐▇▆▅▊▋▉▛▜▙▟■▮", "█"),
    **dict.fromkeys("▓▚▞", "▒"),
    **dict.fromkeys("▁▂▃▔▏▎▍▕", "░"),
    **dict.fromkeys("▶►▸❯›→⏵", ">"),
    **dict.fromkeys("◀◄◂❮‹←⏴", "<"),
    **dict.fromkeys("▲▴↑", "^"),
    **dict.fromkeys("▼▾↓", "v"),
    **dict.fromkeys("●⬤⭘○◉•∙·", "*"),
    **dict.fromkeys("✓✔☑✗✘☒", "x"),
    **dict.fromkeys("–—―−‐‑", "-"),
    **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("“”„″«»", '"'),
    "…": ".",
    "⏎": "<",
    "€": "E",
    "\u00a0": " ",
}
"""Glyphs that many fonts lack, and the nearest that every console has."""

_LINES = "─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬"
_TO_SINGLE = dict(zip("═║╔╗╚╝╠╣╦╩╬", "─│┌┐└┘├┤┬┴┼", strict=True))
_TO_ASCII = {
    **dict(zip(_LINES, "-|+++++++++=|+++++++++", strict=True)),
    "█": "#",
    "▒": ":",
    "░": ".",
}
SAFE = frozenset(_LINES + "█▒░")
"""Beyond ASCII, what the VGA ROM and all of Debian's console fonts have."""

DEC_GRAPHICS = dict(zip("─│┌┐└┘├┤┬┴┼▒", "qxlkmjtuwvna", strict=True))
"""The special graphics of a VT100, and the characters that stand for them there."""


def _known(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def shown(character: str, glyphs: Glyphs, *, utf8: bool) -> str:
    """What the terminal is to show for a character, which may be followed by what combines with it; one cell each.

    `utf8` says whether letters beyond ASCII can be sent. The second half of a wide character is empty, and stays so
    only where the whole can be shown.
    """
    if character.isascii():
        return character or ("" if glyphs is Glyphs.ALL or (utf8 and glyphs is not Glyphs.VGA) else " ")
    if glyphs is Glyphs.ALL:
        return character
    character = SIMPLE.get(character, character)
    if glyphs is Glyphs.VGA and (character in SAFE or (_known(character, "cp437") and _known(character, "latin-1"))):
        return character
    if glyphs is Glyphs.DEC:
        character = _TO_SINGLE.get(character, character)
        if character in DEC_GRAPHICS:
            return character
    if character in SAFE:
        return _TO_ASCII[character]
    if character.isascii() or (utf8 and glyphs is not Glyphs.VGA):
        return character
    base = unicodedata.normalize("NFKD", character)[0]
    return {"ß": "s", "ø": "o", "Ø": "O", "æ": "a", "Æ": "A", "ð": "d", "þ": "p", "ł": "l", "Ł": "L"}.get(
        base, base if base.isascii() and base.isprintable() else "?"
    )
