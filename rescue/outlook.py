"""A capture before it starts, as lines: what is stored of each partition and why, how much room and time it takes.

The same for the command line and the screens; see rescue.report.
"""

import textwrap
from collections.abc import Sequence

from imaging.disk import Disk
from imaging.estimate import Estimate, Fit, fit
from imaging.forecast import DiskForecast, Forecast
from imaging.imageplans import CapturePlan
from imaging.manifest import Volume
from rescue import report
from rescue.contents import content_words, partition_rows
from rescue.formats import columns, format_estimate, format_size, joined
from rescue.language import _
from rescue.report import INDENT, level_words

_WIDTH = 76
"""Columns for a note, which may be long."""


def plan_lines(plan: CapturePlan, forecast: Forecast | None, seconds: float, *, every_level: bool = False) -> list[str]:
    """A plan with its forecast; where there is none, as rescue.report has it, with a guess of the `seconds`."""
    if forecast is None:
        return report.plan_lines(plan, seconds)
    lines = [*capture_lines(plan, forecast), *forecast_lines(forecast, plan.level)]
    if every_level:
        rows = level_rows(forecast, [estimate.level for estimate in forecast.estimates])
        lines += [_("Levels:"), *(INDENT + row for row in rows)]
    return lines


def capture_lines(plan: CapturePlan, forecast: Forecast) -> list[str]:
    """A plan as rescue.report has it, with what is used of each partition beside its size."""
    found = {disk.name: disk for disk in forecast.disks}
    return report.capture_lines(plan, lambda disk: volume_lines(disk, found[disk.name]))


def volume_lines(disk: Disk, found: DiskForecast) -> list[str]:
    """Each volume with its size, what stands on it and what of it is stored, and below it why it is stored raw."""
    rows = columns([_row(disk, volume) for volume in found.volumes], right=frozenset({0, 1, 3}))
    lines: list[str] = []
    for volume, row in zip(found.volumes, rows, strict=True):
        lines.append(row)
        for note in report.volume_note(volume):
            lines += textwrap.wrap(note.strip(), _WIDTH - 12, initial_indent=INDENT, subsequent_indent=INDENT + " ")
        lines += report.inner_lines(volume)
    return lines


def _row(disk: Disk, volume: Volume) -> list[str]:
    part = next((p for p in disk.table.partitions if p.number == volume.number), None)
    if part is None:
        what = content_words(volume.content) or _("unknown content")
        number, size, content, name = "-", format_size(volume.size), what, ""
    else:
        number, size, content, name = partition_rows([part])[0]
    return [number, size, content, _("{size} used").format(size=format_size(volume.used)), name]


def forecast_lines(forecast: Forecast, level: int) -> list[str]:
    """What a level comes to, and a warning where that does not fit; nothing where the level was not asked for."""
    found = forecast.at(level)
    if found is None:
        return []
    words = _("EXPECTED: {size} for {used} of data")
    lines = [words.format(size=_size_words(found), used=format_size(forecast.used))]
    if known := known_words(forecast):
        lines.append(INDENT + known)
    if forecast.room is not None:
        lines.append(INDENT + _("{size} are free there").format(size=format_size(forecast.room)))
    lines += warning_lines(forecast, level)
    words = _("Time: {time}, if the library's disk keeps up")
    return [*lines, words.format(time=format_estimate(found.seconds))]


def most_expected(forecast: Forecast, level: int) -> str:
    """How much room a level takes at most; empty where it was not asked for."""
    found = forecast.at(level)
    return format_size(found.most) if found else ""


def fits(forecast: Forecast, level: int) -> bool:
    """Whether there is room for it, as far as can be known."""
    found = forecast.at(level)
    return found is None or forecast.room is None or fit(found, forecast.overhead, forecast.room) is not Fit.TOO_LARGE


def expected_words(forecast: Forecast) -> str:
    """What the forecast's sizes and times are of, on one line."""
    data = _("Expected for {size} of data").format(size=format_size(forecast.used))
    share = _("{share} of it in the library already").format(share=_much(forecast)) if forecast.known else ""
    free = "" if forecast.room is None else _("{size} are free").format(size=format_size(forecast.room))
    return joined(joined(data, share, by=", "), free, by="; ")


def known_words(forecast: Forecast) -> str:
    """How much of the data the library has already; empty where it has none."""
    words = _("{share} of the data is in the library already")
    return words.format(share=_much(forecast)) if forecast.known else ""


def _much(forecast: Forecast) -> str:
    share = 100 * forecast.known
    if share > 99:
        return _("nearly all")
    return _("less than 1 %") if share < 1 else _("about {share} %").format(share=f"{share:.0f}")


def warning_lines(forecast: Forecast, level: int) -> list[str]:
    """Whether the image will have room, where that is in doubt."""
    found = forecast.at(level)
    if found is None or forecast.room is None:
        return []
    room = format_size(forecast.room)
    match fit(found, forecast.overhead, forecast.room):
        case Fit.FITS:
            return []
        case Fit.TIGHT:
            need = format_size(found.most + forecast.overhead)
            return [_("WARNING: this may not fit: it can take {need}, {room} are free").format(need=need, room=room)]
        case Fit.TOO_LARGE:
            need = format_size(found.stored + forecast.overhead)
            words = _("WARNING: this will not fit: about {need} are needed, {room} are free")
            return [words.format(need=need, room=room)]


def level_rows(forecast: Forecast | None, known: Sequence[int]) -> list[str]:
    """One line for each level: its name and, once there is a forecast, the room and the time it takes."""
    rows = []
    for level in known:
        found = forecast.at(level) if forecast else None
        cells = [_size_words(found), format_estimate(found.seconds)] if found else ["", ""]
        rows.append([level_words(level), *cells])
    return columns(rows)


def _size_words(found: Estimate) -> str:
    low, high = format_size(found.least), format_size(found.most)
    if low == high:
        return high
    if not found.stored:
        return _("next to nothing ({size} at most)").format(size=high)
    return _("about {size} ({low} to {high})").format(size=format_size(found.stored), low=low, high=high)
