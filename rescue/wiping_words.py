"""How disks are erased before something is restored to them, in words."""

from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.sanitize import Obstacle
from rescue.formats import clean, format_count
from rescue.language import _, ngettext

_INDENT = "  "


def wipe_lines(plan: RestorePlan) -> list[str]:
    """How disks are erased before, and what that does not reach."""
    match plan.wipe:
        case Wipe.NONE:
            return []
        case Wipe.SANITIZE:
            return [line for pair in plan.targets for line in _sanitize_lines(pair)]
        case Wipe.DISCARD:
            words = _("WIPED FIRST: the drive is told to forget all; one that cannot is overwritten")
        case Wipe.OVERWRITE:
            words = _("WIPED FIRST: zeros are written to all of the disk")
    aside = _("then samples are read; what a drive keeps aside by itself (SSDs do) cannot be reached")
    return [words, _INDENT + aside]


def _sanitize_lines(pair: RestoreTarget) -> list[str]:
    """How one drive erases itself, or what is done where it does not."""
    found, name = pair.sanitizer, clean(pair.target.name)
    if found is None:
        return [_("WIPED FIRST: {disk} erases itself; if it cannot, it is told to forget all").format(disk=name)]
    if found.method is None:
        words = _("WIPED FIRST: {disk} is told to forget all, or is overwritten")
        return [words.format(disk=name), _INDENT + _obstacle(found.obstacle)]
    words = _("WIPED FIRST: {disk} erases itself, with what it keeps aside ({how}); then samples are read")
    lines = [words.format(disk=name, how=found.method)]
    if found.minutes:
        words = ngettext("it takes {count} minute, it says", "it takes {count} minutes, it says", found.minutes)
        lines.append(_INDENT + words.format(count=format_count(found.minutes)))
    lines.append(_INDENT + _("once begun it cannot be stopped; its table and all else are gone then, at any moment"))
    if found.method.sets_password:
        words = _("cut off meanwhile it stays locked: `hdparm --user-master u --security-disable rescue {path}`")
        lines.append(_INDENT + words.format(path=clean(pair.target.path)))
    return lines


def _obstacle(why: Obstacle) -> str:
    """Why a drive does not erase itself."""
    match why:
        case Obstacle.SHARED:
            return _("it does not erase itself: there are other disks (namespaces) on the same drive")
        case Obstacle.FROZEN:
            return _(
                "it does not erase itself: the firmware has locked that; let the computer sleep and wake, then again"
            )
        case Obstacle.LOCKED:
            return _("it does not erase itself: it has a password")
        case Obstacle.UNKNOWN:
            return _("whether it can erase itself could not be asked (nvme-cli, hdparm)")
        case Obstacle.NONE | Obstacle.UNABLE:
            return _("it cannot erase itself; what it keeps aside (SSDs do) cannot be reached")
