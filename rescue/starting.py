"""Whether a computer can start from a disk, in lines of text; see imaging.startable."""

from collections.abc import Sequence

from imaging.startable import NAMES, Answer, Starts, sentence
from rescue.formats import clean
from rescue.language import _
from rescue.telling import told


def start_lines(starts: Starts) -> list[str]:
    """All that is known of one disk."""
    lines = [clean(told(sentence(starts.disk, way))) for way in starts.ways]
    if starts.firmware:
        words = _("This computer was started by {firmware}.")
        lines.append(words.format(firmware=next(name for one, name in NAMES.items() if one == starts.firmware)))
    return [*lines, *(_("Note: {what}").format(what=clean(told(note))) for note in starts.notes)]


def start_figures(found: Sequence[Starts]) -> list[str]:
    """What a restore's result tells of disks that start; that one does not is a warning, and the rest is in the log."""
    lines = []
    for starts in found:
        ways = ", ".join(NAMES[way.firmware] for way in starts.ways if way.answer is Answer.STARTS)
        if ways:
            lines.append(_("Can start a computer: {disk} on {ways}").format(disk=clean(starts.disk), ways=ways))
    return lines
