"""`rescue status`: the newest backup of this computer, and whether it is older than it may be."""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imaging import inventory
from imaging.errors import ExitStatus
from imaging.manifest import Image
from imaging.notes import NOTHING, Notes
from imaging.retention import Latest, latest
from rescue import commands
from rescue.care import verified_words
from rescue.finding import libraries
from rescue.formats import clean, columns, format_when, joined
from rescue.language import _, ngettext
from rescue.shelf import is_of

_DAY = 86400.0


def add_status(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """The command `status`."""
    words = _("say when this computer was backed up last; ends with 10 where that is overdue")
    parser = found.add_parser("status", parents=list(parents), help=words)
    words = _("a backup may be so many days old (default: any age will do, as long as there is one)")
    parser.add_argument("--overdue", type=_days, metavar="DAYS", help=words)
    words = _("look at the backups of all computers in the library")
    parser.add_argument("--all-computers", action="store_true", help=words)
    parser.set_defaults(run=status)


def _days(words: str) -> float:
    try:
        days = float(words)
    except ValueError:
        days = 0.0
    if not 0 < days < 1e6:
        raise argparse.ArgumentTypeError(_("{words} is not a number of days").format(words=words))
    return days


def status(options: Namespace) -> int:
    """`rescue status`."""
    here, now = inventory.machine(), datetime.now(UTC)
    places: dict[str, Path] = {}
    images: list[Image] = []
    notes: dict[str, Notes] = {}
    for library in libraries(options):
        listing = library.images()
        for image in listing.images:
            ours = options.all_computers or is_of(here, image) or image.machine == here
            # A copy in another library is the same image.
            if ours and image.id not in places:
                places[image.id], notes[image.id] = library.path, listing.notes.get(image.id, NOTHING)
                images.append(image)
    found = latest(images, lambda name: notes[name])
    judged = found if options.all_computers else _of_disks_here(found)
    late = [one for one in judged if _is_late(one, options.overdue, now)]
    if options.json:
        values = [_value(one, places, notes, now, overdue=one in late) for one in found]
        commands.print_json({"machine": here, "overdue": bool(late) or not found, "computers": values})
    elif not found:
        print(_("There is no backup of this computer.") if not options.all_computers else _("There is no backup."))
    else:
        heads = [_("Backed up"), _("Age"), _("Computer"), _("Disks"), _("Image"), _("Verified")]
        commands.print_lines(columns([heads, *(_row(one, notes, now, late=one in late) for one in found)]))
    return ExitStatus.OUTDATED if late or not found else ExitStatus.DONE


def _of_disks_here(found: Sequence[Latest]) -> Sequence[Latest]:
    """Those of disks that are here: nobody backs up again what was taken out. All of them where none is here."""
    there = [disk.id for disk in inventory.scan()]
    here = [one for one in found if all(any(disk.id.same_disk(other) for other in there) for disk in one.of.disks)]
    return here or found


def _is_late(one: Latest, days: float | None, now: datetime) -> bool:
    if one.when is None:
        return True
    return days is not None and _age(one.when, now) > days


def _age(when: datetime, now: datetime) -> float:
    """Days; what is dated later than now is as new as can be."""
    return max((now - when).total_seconds(), 0.0) / _DAY


def _row(one: Latest, notes: dict[str, Notes], now: datetime, *, late: bool) -> list[str]:
    machine = one.of.machine
    computer = joined(clean(machine.model), clean(machine.serial) or clean(machine.hostname))
    disks = ", ".join(clean(disk.name) for disk in one.of.disks)
    if one.backup is None or one.when is None:
        count = one.bad
        words = ngettext("none: {count} image is damaged", "none: {count} images are damaged", count)
        return [words.format(count=count), _("OVERDUE"), computer, disks, "", ""]
    days = int(_age(one.when, now))
    age = ngettext("{days} day", "{days} days", days).format(days=days)
    marked = _("{age}, OVERDUE").format(age=age) if late else age
    verified = verified_words(notes[one.backup.id])
    return [format_when(one.backup.created), marked, computer, disks, clean(one.backup.id), verified]


def _value(
    one: Latest, places: dict[str, Path], notes: dict[str, Notes], now: datetime, *, overdue: bool
) -> dict[str, Any]:
    backup = one.backup
    return {
        "machine": one.of.machine,
        "disks": [disk.id for disk in one.of.disks],
        "overdue": overdue,
        "image": backup.id if backup else None,
        "library": str(places[backup.id]) if backup else None,
        "created": backup.created if backup else None,
        "age_days": round(_age(one.when, now), 2) if one.when else None,
        "verified": notes[backup.id].verified if backup else None,
        "newer_damaged": one.bad,
    }
