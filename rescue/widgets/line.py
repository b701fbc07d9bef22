"""A line to type into."""

from textual.reactive import reactive
from textual.widgets import Input


class Line(Input):
    """Textual's, whose cursor stands still: a blinking one would send bytes twice a second, over a serial line, too."""

    cursor_blink = reactive(False, init=False)
