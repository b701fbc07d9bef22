"""A scroll bar of glyphs that every console has, seen without colour."""

from typing import ClassVar

from rich.color import Color
from rich.segment import Segment, Segments
from rich.style import Style
from textual.scrollbar import ScrollBarRender

THUMB = "█"
TRACK = {True: "│", False: "─"}
"""By whether it is vertical."""


class PlainScrollBar(ScrollBarRender):
    """Whole cells only, for text consoles lack the eighth blocks; a thin track, and a thumb on it."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]

    @classmethod
    def render_bar(
        cls,
        size: int = 25,
        virtual_size: float = 50,
        window_size: float = 20,
        position: float = 0,
        thickness: int = 1,
        vertical: bool = True,
        back_color: Color = Color.default(),  # noqa: B008
        bar_color: Color = Color.default(),  # noqa: B008
    ) -> Segments:
        """Textual's bar, told apart by glyphs and not by colours; what the mouse does there stays."""
        drawn = super().render_bar(
            size, virtual_size, window_size, position, thickness, vertical, back_color, bar_color
        )
        plain = []
        for text, style, _ in drawn.segments:
            thumb = style is not None and bool(style.reverse)
            glyph = THUMB if thumb else TRACK[vertical]
            plain.append(Segment(glyph * len(text), Style(meta=style.meta if style else None)))
        return Segments(plain, new_lines=drawn.new_lines)
