"""A restore that was cut off, in words: on the main menu, and where it is offered to be completed or undone."""

from collections.abc import Sequence

from imaging.resuming import CutOff
from rescue.formats import clean
from rescue.language import _

COMPLETE, UNDO = "complete-", "undo-"
"""What the keys of the two choices begin with, before the restore's place in the list."""


def menu_words(found: Sequence[CutOff]) -> str:
    """A line for each, which says what can be done; empty where nothing was cut off."""
    return "\n".join(_menu_line(cut) for cut in found)


def _menu_line(cut: CutOff) -> str:
    names = _names(cut)
    if not cut.can_be_undone:
        return _("The restore of {disk} was CUT OFF. Press f to complete it.").format(disk=names)
    if cut.keeps:
        return _("The reset of {disk} was CUT OFF. Press f to complete it, or to undo it.").format(disk=names)
    return _("The restore of {disk} was CUT OFF. Press f to complete it, or to undo it.").format(disk=names)


def completing(cut: CutOff) -> tuple[str, ...]:
    """What completing it does, for a list."""
    title = _("Complete the restore of {disk}, which was cut off").format(disk=_names(cut))
    words = _("with image {image}: only what is missing is written")
    if cut.manner.wipe:
        words = _("with image {image}: the disk is erased first, as it was to be")
    lines = [words.format(image=clean(cut.image))]
    if cut.keeps:
        lines.append(_("the files to be kept come from image {image}").format(image=clean(cut.saved)))
    return (title, *lines)


def undoing(cut: CutOff) -> tuple[str, ...]:
    """What undoing it does, for a list."""
    title = _("Undo it: bring back what was on {disk} before").format(disk=_names(cut))
    return (title, _("from image {image}, which was saved first").format(image=clean(cut.saved)))


def _names(cut: CutOff) -> str:
    return clean(", ".join(cut.names))
