"""A line of text in reverse over the whole width: the title, and the keys at the foot."""

from textual.content import Content
from textual.widget import Widget


class Band(Widget):
    """Textual fills lines by colour alone; without colour only spaces in reverse fill them."""

    def __init__(self, words: str, *, id: str) -> None:
        super().__init__(id=id)
        self.words = words

    def render(self) -> Content:
        """The words, filled up to the width."""
        return Content(self.words.ljust(self.size.width)[: self.size.width])
