"""Reads the lists of this folder: one item a line, "#" starts a comment."""

from pathlib import Path

LIVE_IMAGE = Path(__file__).resolve().parent.parent
CHECKOUT = LIVE_IMAGE.parent


def read_list(path: Path) -> list[str]:
    """The items of a list file in their order."""
    items = (line.split("#", 1)[0].strip() for line in path.read_text().splitlines())
    return [item for item in items if item]
