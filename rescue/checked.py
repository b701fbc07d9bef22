"""What the check of an image's file systems found, in words."""

from collections.abc import Sequence

from imaging.events import CheckedVolume
from rescue.formats import clean, columns

_INDENT = "    "


def checked_lines(checked: Sequence[CheckedVolume]) -> list[str]:
    """What the check of each file system said; nothing where there was none."""
    if not checked:
        return []
    rows = [[clean(volume.name), clean(volume.kind) or "-", str(volume.verdict)] for volume in checked]
    lines = ["File systems:"]
    for volume, row in zip(checked, columns(rows), strict=True):
        lines.append(_INDENT + row)
        if volume.detail:
            lines.append(f"{_INDENT}{_INDENT}({clean(volume.detail)})")
    return lines
