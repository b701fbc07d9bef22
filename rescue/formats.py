"""Small values as a person reads them: sizes, times, names that came from a device, and tables of plain text."""

import unicodedata
from collections.abc import Sequence

from imaging.disk import format_size as format_size


def format_rate(bytes_per_second: float) -> str:
    """Bytes a second in decimal units."""
    return f"{format_size(int(bytes_per_second))}/s"


def format_duration(seconds: float) -> str:
    """Two figures at most: `8 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def format_estimate(seconds: float) -> str:
    """A forecast, no more exact than it deserves: `under a minute`, `about 4 min`, `about 1 h 20 min`."""
    if seconds < 50:
        return "under a minute"
    minutes = max(1, round(seconds / 60))
    if minutes > 20:
        minutes = 5 * round(minutes / 5)
    return f"about {format_duration(60 * minutes)}"


def format_when(created: str) -> str:
    """`2026-11-22 23:24` of an RFC 3339 time, which stays in UTC."""
    return clean(created[:16].replace("T", " "))


def plural(count: int, noun: str) -> str:
    """`1 chunk`, `1,024 chunks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def clean(text: str) -> str:
    """Text that came from a device or a file, safe to print: control and format characters become `?`.

    A volume's label may hold escape sequences, and a terminal would obey them.
    """
    return "".join("?" if unicodedata.category(char).startswith("C") else char for char in text)


def quoted(text: str) -> str:
    """A label in quotes; empty where there is none."""
    return f'"{clean(text)}"' if text else ""


def joined(*parts: str, by: str = "  ") -> str:
    """The parts that are not empty."""
    return by.join(part for part in parts if part)


def shortened(text: str, width: int) -> str:
    """Cut to `width` columns, the cut marked by two dots that every console can draw."""
    return text if len(text) <= width else f"{text[: max(0, width - 2)]}.."


def columns(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows of cells as lines with columns as wide as their widest cell; `right` names those set to the right."""
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return [line(row) for row in rows]
