"""What the check of an image's file systems found, in words."""

from collections.abc import Sequence

from imaging.events import CheckedVolume, Verdict
from rescue.formats import clean, columns
from rescue.language import N_, _
from rescue.telling import told

_INDENT = "    "

_VERDICTS = {
    Verdict.CLEAN: N_("clean"),
    Verdict.ERRORS: N_("errors"),
    Verdict.NOT_CHECKED: N_("not checked"),
    Verdict.UNREADABLE: N_("unreadable"),
}


def checked_lines(checked: Sequence[CheckedVolume]) -> list[str]:
    """What the check of each file system said; nothing where there was none."""
    if not checked:
        return []
    rows = [[clean(told(volume.name)), clean(volume.kind) or "-", _(_VERDICTS[volume.verdict])] for volume in checked]
    lines = [_("File systems:")]
    for volume, row in zip(checked, columns(rows), strict=True):
        lines.append(_INDENT + row)
        if volume.detail:
            lines.append(f"{_INDENT}{_INDENT}({clean(told(volume.detail))})")
    return lines
