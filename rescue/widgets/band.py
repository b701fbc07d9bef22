"""The title at the top of a screen, in reverse."""

from textual.content import Content
from textual.widgets import Static


class Band(Static):
    """As wide as its words: to fill a line up costs more bytes on a slow line than all that the line says."""

    def __init__(self, words: str, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self.words = words

    def render(self) -> Content:
        """The words, with a blank on either side."""
        return Content(f" {self.words} ")
