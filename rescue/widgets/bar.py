"""A progress bar of full and light blocks, the two that every console has."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class Bar(Widget):
    """How far something is; `fraction` is None while that is not known."""

    fraction: reactive[float | None] = reactive(None)

    def approach(self, fraction: float | None, cells: int) -> bool:
        """Go there, by so many cells at most; whether anything is seen of that."""
        before = self.drawn
        if fraction is not None:
            fraction = min(fraction, (self.fraction or 0.0) + cells / self._width)
        self.fraction = fraction
        return self.drawn != before

    def render(self) -> Content:
        """The bar and its figure."""
        return Content(self.drawn)

    @property
    def drawn(self) -> str:
        """The bar as wide as there is room, the figure behind it."""
        width = self._width
        if self.fraction is None:
            return "░" * width
        full = int(width * self.fraction)
        return f"{'█' * full}{'░' * (width - full)} {round(100 * self.fraction):4d} %"

    @property
    def _width(self) -> int:
        return max(1, self.size.width - 7)
