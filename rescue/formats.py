"""Small values as a person reads and types them: sizes, times, names that came from a device, tables of plain text."""

import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from imaging import address, remote, wanted
from imaging.disk import format_size as format_size
from imaging.errors import UsageError
from rescue.language import _, pgettext

_FURTHER_IN = "    "


def parse_size(words: str | None, option: str) -> int | None:
    """The bytes of `512M` or `4G`; None for no words. Raises UsageError that names the option."""
    if words is None:
        return None
    found = wanted.bytes_of(words)
    if found is None:
        raise UsageError(f"{option} {words}: a size such as 512M or 4G is needed", code="usage")
    return found


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
        return _("under a minute")
    minutes = max(1, round(seconds / 60))
    if minutes > 20:
        minutes = 5 * round(minutes / 5)
    return _("about {time}").format(time=format_duration(60 * minutes))


def format_so_far(seconds: float) -> str:
    """Time that goes by, told so that it seldom changes: by 5 s, past 1 min by 10 s, past 10 min by the minute."""
    grain = 5 if seconds < 60 else 10 if seconds < 600 else 60
    return format_duration(int(seconds) // grain * grain)


def format_when(created: str) -> str:
    """`2026-11-22 23:24` of an RFC 3339 time, which stays in UTC."""
    return clean(created[:16].replace("T", " "))


def format_count(count: int) -> str:
    """A number with its thousands set off: `1,024`."""
    return f"{count:,}".replace(",", pgettext("between thousands", ","))


def clean(text: str) -> str:
    """Text that came from a device or a file, safe to print: control and format characters become `?`.

    A volume's label may hold escape sequences, and a terminal would obey them.
    """
    return "".join("?" if unicodedata.category(char).startswith("C") else char for char in text)


def format_place(library: Path | str) -> str:
    """A library's address, or its folder."""
    return clean(remote.name_of(Path(library)))


def format_address(words: str) -> str:
    """An address as a person reads it, a bucket's with the server that it is at: `s3://office/images (https://nas:9000)`.

    No folder of an address can hold those brackets, and the server is named whole, for it is shown any key.
    """
    if not address.is_address(words):
        return clean(words)
    found = address.parse(words)
    server = found.option("endpoint")
    return joined(found.url.partition("?")[0], f"({server})" if server else "", by=" ")


def quoted(text: str) -> str:
    """A label in quotes; empty where there is none."""
    return f'"{clean(text)}"' if text else ""


def joined(*parts: str, by: str = "  ") -> str:
    """The parts that are not empty."""
    return by.join(part for part in parts if part)


def cells(text: str) -> int:
    """Columns that a text takes: two for a wide character, none for one that combines with another.

    rich.cells knows more of them, but the command line does not wait for that to be loaded.
    """
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if unicodedata.category(char).lower() in ("mn", "me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shortened(text: str, width: int) -> str:
    """Cut to `width` columns, the cut marked by two dots that every console can draw."""
    if cells(text) <= width:
        return text
    kept = ""
    for char in text:
        if cells(kept + char) > width - 2:
            break
        kept += char
    return f"{kept}.."


def padded(text: str, width: int) -> str:
    """Filled up with blanks to `width` columns."""
    return text + " " * (width - cells(text))


def columns(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows of cells as lines with columns as wide as their widest cell; `right` names those set to the right."""
    widths = [max((cells(cell) for cell in column), default=0) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        padded_cells = (
            " " * (width - cells(cell)) + cell if place in right else padded(cell, width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded_cells).rstrip()

    return [line(row) for row in rows]


def folded(line: str, width: int) -> list[str]:
    """A line of a plan in so many columns; what goes on below stands further in than where it began."""
    inner = line[: len(line) - len(line.lstrip())] + _FURTHER_IN
    if len(line) <= width or width <= 2 * len(inner):
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=inner, break_on_hyphens=False)
