"""What is kept of a system when another is restored over it, in words."""

from argparse import ArgumentTypeError

from imaging.disk import format_size
from imaging.events import Carried
from imaging.keptfiles import KeepRule, KeptFiles
from imaging.profiles import NO_FILE
from imaging.restoreplans import RestorePlan
from rescue.formats import clean, format_count, joined
from rescue.language import N_, _, ngettext

_INDENT = "  "
_MOST_SHOWN = 12
EXTRA = tuple(rule for rule in KeepRule if rule is not KeepRule.HOMES)
"""What is kept only where it is asked for."""


def rules_of(words: str) -> tuple[KeepRule, ...]:
    """The rules that were given with `--keep-files`, home folders first; raises ArgumentTypeError for what is none."""
    found = [KeepRule.HOMES]
    for word in filter(None, words.split(",")):
        if word not in list(KeepRule):
            said = _(
                "{word}: there is no such rule; there are {rules}. What follows --keep-files is taken for rules: give "
                "the image and the disks before it"
            )
            raise ArgumentTypeError(said.format(word=clean(word), rules=", ".join(EXTRA)))
        found.append(KeepRule(word))
    return tuple(dict.fromkeys(found))


def kept_lines(plan: RestorePlan) -> list[str]:
    """What of the old system will be in the new one, where it waits, and that the rest is lost.

    Or that files wait which a restore that was cut off was to keep, and this one does not.
    """
    return _waiting_lines(plan) if plan.keep is None else _kept_lines(plan.keep)


def _waiting_lines(plan: RestorePlan) -> list[str]:
    lines = []
    for pair in plan.targets:
        there = pair.target
        if there.keeps and plan.image != there.saved:
            words = _("NOT KEPT: files that an earlier restore of {disk} was to keep; they are in image {image}")
            lines.append(words.format(disk=clean(there.name), image=clean(there.saved)))
            extra = ",".join(rule for rule in there.keeps if rule in EXTRA)
            words = _("to carry them over: {option}")
            lines.append(_INDENT + words.format(option=joined("--keep-files", clean(extra), by=" ")))
    return lines


def _kept_lines(kept: KeptFiles) -> list[str]:
    words = ngettext("KEPT: {count} file, {size}", "KEPT: {count} files, {size}", kept.files)
    lines = [words.format(count=format_count(kept.files), size=format_size(kept.size))]
    for path in kept.paths[:_MOST_SHOWN]:
        lines.append(f"{_INDENT}{clean(path.path)}  {format_size(path.size)}")
    if len(kept.paths) > _MOST_SHOWN:
        lines.append(_INDENT + _("and {count} more").format(count=format_count(len(kept.paths) - _MOST_SHOWN)))
    if kept.accounts:
        lines.append(_INDENT + _("accounts: {names}").format(names=clean(", ".join(kept.accounts))))
    if kept.strangers:
        words = _("no account in the image: {names}; without one, what is kept of them belongs to nobody there")
        lines.append(_INDENT + words.format(names=clean(", ".join(kept.strangers))))
        words = _("to keep their accounts, too: {option}, or the box for accounts on the screen")
        extra = ",".join((*(rule for rule in EXTRA if rule in kept.rules), KeepRule.ACCOUNTS))
        lines.append(_INDENT + words.format(option=joined("--keep-files", extra, by=" ")))
    if kept.elsewhere:
        lines.append(_("NOT KEPT, for it lies elsewhere: {paths}").format(paths=clean(", ".join(kept.elsewhere))))
    lines += _left_lines(kept)
    where = _("image {image} in {library}") if kept.image else _("the image that is saved first in {library}")
    waits = where.format(image=clean(kept.image), library=clean(kept.library))
    lines.append(_INDENT + _("they wait in {place}, and stay there").format(place=waits))
    lines += _windows_lines(kept) if kept.windows else []
    lines.append(_INDENT + _("all else of the old system is lost: programs, settings, other files"))
    return lines


def _left_lines(kept: KeptFiles) -> list[str]:
    """What is not kept though it lies in what is: first that which holds something."""
    if not kept.left_out:
        return []
    lines = [_("NOT KEPT of them: {count}").format(count=format_count(kept.left_out))]
    left = sorted(kept.left, key=lambda one: one.why == NO_FILE)
    lines += [f"{_INDENT}{clean(one.path)}: {_(one.why)}" for one in left[:_MOST_SHOWN]]
    if kept.left_out > _MOST_SHOWN:
        lines.append(_INDENT + _("and {count} more").format(count=format_count(kept.left_out - _MOST_SHOWN)))
    return lines


def _windows_lines(kept: KeptFiles) -> list[str]:
    """What is different of Windows, where accounts are not carried over."""
    lines = []
    if kept.encrypted:
        words = ngettext(
            "{count} file is encrypted by Windows (EFS): only a key that was exported there opens it",
            "{count} files are encrypted by Windows (EFS): only a key that was exported there opens them",
            kept.encrypted,
        )
        lines.append(_INDENT + words.format(count=format_count(kept.encrypted)))
    if kept.settings:
        words = _("accounts there already: {names}; their settings are those of the image")
        lines.append(_INDENT + words.format(names=clean(", ".join(kept.settings))))
    if len(kept.settings) < len(kept.paths):
        lines.append(_INDENT + _("accounts are those of the image: an administrator opens the folders of others in"))
        lines.append(_INDENT + _("C:\\Users, and moves what is in them to the folder of a new account"))
    return lines


def carried_figures(carried: Carried | None) -> list[str]:
    """What was carried over, and what of it the new file system could not keep."""
    if carried is None:
        return []
    words = ngettext("Kept: {count} file, {size}", "Kept: {count} files, {size}", carried.files)
    lines = [words.format(count=format_count(carried.files), size=format_size(carried.bytes))]
    if carried.accounts:
        lines.append(_("Accounts kept: {names}").format(names=clean(", ".join(carried.accounts))))
    for what, count in carried.not_kept.items():
        lines.append(_("Not kept of them: {what} ({count})").format(what=_(what), count=format_count(count)))
    return lines


NOT_KEPT = (
    N_("devices and sockets"),
    N_("extended attributes"),
    N_("files that are only in the cloud"),
    N_("files that Windows alone can read"),
    N_("links in place of the restored system's folders of settings"),
    N_("snapshots that cannot be written to"),
)
"""What a new file system may not keep."""
