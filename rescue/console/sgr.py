"""SGR, the sequences that say how text is drawn: taken apart, and put together in as few bytes as can be.

Source: ECMA-48, 8.3.117; console_codes(4); for the 256 colours, xterm's ctlseqs.
"""

from collections.abc import Iterator

from rescue.console.cells import DEFAULT, PLAIN, Style

_SWITCHES: dict[int, dict[str, bool]] = {
    1: {"bold": True},
    2: {"dim": True},
    4: {"underline": True},
    7: {"reverse": True},
    22: {"bold": False, "dim": False},
    24: {"underline": False},
    27: {"reverse": False},
}

_RGB = (
    (0, 0, 0),
    (170, 0, 0),
    (0, 170, 0),
    (170, 85, 0),
    (0, 0, 170),
    (170, 0, 170),
    (0, 170, 170),
    (170, 170, 170),
    (85, 85, 85),
    (255, 85, 85),
    (85, 255, 85),
    (255, 255, 85),
    (85, 85, 255),
    (255, 85, 255),
    (85, 255, 255),
    (255, 255, 255),
)
"""The 16 colours as the Linux console draws them."""


def restyled(style: Style, parameters: str) -> Style:
    """The style after `CSI parameters m`; what no terminal of ours draws (italics, blinking) is left out."""
    codes = iter([int(code or 0) for code in parameters.replace(":", ";").split(";")])
    for code in codes:
        if code == 0:
            style = PLAIN
        elif code in _SWITCHES:
            style = style._replace(**_SWITCHES[code])
        elif code in (38, 48):
            colour = _extended(codes)
            style = style._replace(fg=colour) if code == 38 else style._replace(bg=colour)
        elif 30 <= code <= 37 or code == 39:
            style = style._replace(fg=DEFAULT if code == 39 else code - 30)
        elif 40 <= code <= 47 or code == 49:
            style = style._replace(bg=DEFAULT if code == 49 else code - 40)
        elif 90 <= code <= 97:
            style = style._replace(fg=code - 82)
        elif 100 <= code <= 107:
            style = style._replace(bg=code - 92)
    return style


def _extended(codes: Iterator[int]) -> int:
    """The colour after 38 or 48, as the nearest of the 16."""
    kind = next(codes, 0)
    if kind == 5:
        number = next(codes, 0)
        if number < 16:
            return number
        if number >= 232:
            grey = 8 + 10 * (number - 232)
            return nearest(grey, grey, grey)
        steps = (0, 95, 135, 175, 215, 255)
        number -= 16
        return nearest(steps[number // 36 % 6], steps[number // 6 % 6], steps[number % 6])
    if kind == 2:
        return nearest(next(codes, 0), next(codes, 0), next(codes, 0))
    return DEFAULT


def nearest(red: int, green: int, blue: int) -> int:
    """The one of the 16 colours that is nearest to this one."""

    def distance(colour: int) -> int:
        r, g, b = _RGB[colour]
        return (red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2

    return min(range(16), key=distance)


def change(before: Style | None, after: Style) -> str:
    """The shortest sequence from one style to another; `before` is None where it is not known."""
    if before == after:
        return ""
    anew = _sequence(["", *_codes(PLAIN, after)])
    if before is None or _loses(before, after):
        return anew
    return min(_sequence(_codes(before, after)), anew, key=len)


def _sequence(codes: list[str]) -> str:
    # An empty parameter is 0, which draws everything plainly again.
    return f"\x1b[{';'.join(codes)}m"


def _loses(before: Style, after: Style) -> bool:
    """Whether an attribute has to go: there, only drawing plainly again is known to every terminal."""
    return (
        (before.bold and not after.bold)
        or (before.dim and not after.dim)
        or (before.underline and not after.underline)
        or (before.reverse and not after.reverse)
    )


def _codes(before: Style, after: Style) -> list[str]:
    """What is to be switched on, and the colours that differ."""
    codes = []
    for code, was, now in (
        ("1", before.bold, after.bold),
        ("2", before.dim, after.dim),
        ("4", before.underline, after.underline),
        ("7", before.reverse, after.reverse),
    ):
        if now and not was:
            codes.append(code)
    if after.fg != before.fg:
        codes.append(_colour(after.fg, 30, 82))
    if after.bg != before.bg:
        codes.append(_colour(after.bg, 40, 92))
    return codes


def _colour(colour: int, dark: int, bright: int) -> str:
    if colour == DEFAULT:
        return str(dark + 9)
    return str(colour + (dark if colour < 8 else bright))
