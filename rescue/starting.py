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
    return [*lines, *_notes(starts)]


def _notes(starts: Starts) -> list[str]:
    return [_("Note: {what}").format(what=clean(told(note))) for note in starts.notes]


def start_figures(found: Sequence[Starts]) -> list[str]:
    """What a restore's result tells beside its warnings: how the disks can be started, and notes."""
    lines = []
    for starts in found:
        lines += [clean(told(sentence(starts.disk, way))) for way in starts.ways if way.answer is Answer.STARTS]
        if starts.warned or starts.answer is Answer.STARTS:
            lines += _notes(starts)
    return lines
