"""How a disk is doing, in a person's words: one word, one line, all figures, and a warning before it is used."""

from collections.abc import Iterable, Mapping

from imaging.disk import Disk
from imaging.health import Condition, Health
from rescue.formats import clean, format_size
from rescue.language import N_, _, ngettext
from rescue.telling import told

WORDS = {
    Condition.GOOD: N_("good"),
    Condition.WORN: N_("worn"),
    Condition.FAILING: N_("FAILING"),
    Condition.UNKNOWN: N_("unknown"),
}
"""Capitals tell without colour that a disk is failing."""

_HOURS_IN_YEAR = 8766


def health_word(health: Health) -> str:
    """`good`, `worn`, `FAILING`, `unknown`."""
    return _(WORDS[health.condition])


def health_line(health: Health) -> str:
    """One line with the gravest reason: `Health: FAILING (its spare blocks are used up)`."""
    reason = clean(told(health.reasons[0])) if health.reasons else ""
    said = _("Health: {word}").format(word=health_word(health))
    return f"{said} ({reason})" if reason else said


def is_failing(health: Health | None) -> bool:
    """Whether it is to be said in red."""
    return health is not None and health.condition is Condition.FAILING


def reason_lines(health: Health) -> list[str]:
    """Every reason, the gravest first."""
    return [clean(told(reason)) for reason in health.reasons]


def figure_rows(health: Health) -> list[list[str]]:
    """What a disk measures of itself, as rows of name and value; what it does not say is left out."""
    rows: list[tuple[str, str | None]] = [
        (_("Temperature"), _several(health.temperature, _("{count} degrees Celsius"))),
        (_("Switched on"), None if health.power_on_hours is None else _hours(health.power_on_hours)),
        (_("Times started"), _several(health.power_cycles, "{count}")),
        (_("Bad sectors replaced"), _several(health.reallocated, "{count}")),
        (_("Sectors unreadable now"), _several(health.pending, "{count}")),
        (_("Sectors ever unreadable"), _several(health.uncorrectable, "{count}")),
        (_("Errors of its medium"), _several(health.media_errors, "{count}")),
        (_("Life used"), _several(health.percentage_used, "{count} %")),
        (_("Spare blocks left"), _several(health.spare, "{count} %")),
        (_("Written in its life"), None if health.written is None else format_size(health.written)),
    ]
    return [[name, value] for name, value in rows if value is not None]


def _several(count: int | None, words: str) -> str | None:
    return None if count is None else words.format(count=f"{count:,}")


def _hours(hours: int) -> str:
    years = hours / _HOURS_IN_YEAR
    said = ngettext("{count} hour", "{count} hours", hours).format(count=f"{hours:,}")
    return _("{hours}, which is {years} years").format(hours=said, years=f"{years:.1f}") if years >= 1 else said


def source_warnings(disks: Iterable[Disk], healths: Mapping[str, Health]) -> list[str]:
    """What to know before failing disks are backed up."""
    advice = _("Save what matters most first. What cannot be read any more will be missing in the image.")
    return _warnings(disks, healths, advice)


def target_warnings(disks: Iterable[Disk], healths: Mapping[str, Health]) -> list[str]:
    """What to know before anything is restored onto failing disks."""
    return _warnings(disks, healths, _("What is written to it may be lost soon. Better restore to another disk."))


def _warnings(disks: Iterable[Disk], healths: Mapping[str, Health], advice: str) -> list[str]:
    lines = []
    for disk in disks:
        health = healths.get(disk.path)
        if health is None or not is_failing(health):
            continue
        reason = clean(told(health.reasons[0])) if health.reasons else ""
        lines.append(_("WARNING: {name} is FAILING: {reason}").format(name=clean(disk.name), reason=reason))
        lines.append(f"    {advice}")
    return lines
