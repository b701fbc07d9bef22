"""A progress bar of full and light blocks, the two that every console has."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget


class Bar(Widget):
    """How far something is; `fraction` is None while that is not known."""

    fraction: reactive[float | None] = reactive(None)

    def render(self) -> Content:
        """The bar as wide as there is room, the figure behind it."""
        width = max(1, self.size.width - 7)
        if self.fraction is None:
            return Content("░" * width)
        full = int(width * self.fraction)
        return Content(f"{'█' * full}{'░' * (width - full)} {int(100 * self.fraction):4d} %")
