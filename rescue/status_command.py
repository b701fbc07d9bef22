"""`rescue status`: the newest backup of this computer, and whether it is older than it may be."""

import argparse
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imaging import inventory, schedulestate
from imaging.disk import Disk, Role
from imaging.errors import ExitStatus
from imaging.manifest import Image, Machine
from imaging.notes import NOTHING, Notes
from imaging.retention import Latest, latest
from rescue import commands, schedule_commands
from rescue.care import verified_words
from rescue.finding import each, libraries, warn_unless_alone
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
    listed, bad = each(libraries(options), lambda library: (library.path, library.images()))
    warn_unless_alone(listed, bad)
    copies: dict[str, _Copy] = {}
    for path, listing in listed:
        for image in listing.images:
            copy = _Copy(path, image, listing.notes.get(image.id, NOTHING), noted=image.id not in listing.unnoted)
            # Of an image that is in several libraries the best copy counts.
            copies[image.id] = max(copy, copies.get(image.id, copy), key=lambda one: one.rank)
    never: list[str] = []
    if options.all_computers:
        found = _latest(copies, list(copies), now)
    else:
        found = []
        for disk in filter(_counts, inventory.scan()):
            with_it = [name for name, copy in copies.items() if _has(copy.image, disk, here)]
            best = max(_latest(copies, with_it, now), key=_goodness, default=None)
            if best is None:
                never.append(disk.name)
            else:
                found.append(best)
    late = [one for one in found if _is_late(one, options.overdue, now)]
    damaged = sum(len(listing.damaged) for _, listing in listed)
    schedule = schedulestate.configured()
    scheduled = schedule_commands.value_of(schedule, now)
    overdue = bool(late) or not found or scheduled["overdue"]
    if options.json:
        values = [_value(one, copies, now, overdue=one in late) for one in found]
        value = {"machine": here, "overdue": overdue, "backups": values, "never": never, "damaged": damaged}
        commands.print_json({**value, "schedule": scheduled})
    else:
        _print(found, copies, now, late)
        for name in never:
            print(_("{disk} is in no image.").format(disk=clean(name)))
        if damaged:
            words = ngettext("{count} image is damaged", "{count} images are damaged", damaged)
            print(_("{images}: `rescue images` names them.").format(images=words.format(count=damaged)))
        if schedule is not None:
            lines = schedule_commands.lines_of(schedule, schedulestate.read(), now)
            commands.print_lines(["", _("Regular images:"), *lines])
    return ExitStatus.OUTDATED if overdue else ExitStatus.DONE


def _latest(copies: "Mapping[str, _Copy]", names: Sequence[str], now: datetime) -> Sequence[Latest]:
    unnoted = [name for name in names if not copies[name].noted]
    return latest([copies[name].image for name in names], lambda name: copies[name].notes, now, unnoted=unnoted)


def _goodness(one: Latest) -> tuple[bool, datetime]:
    """A backup of whole disks is better than one of some partitions, and a newer one than an older."""
    return one.backup is not None and is_whole(one.of), one.when or datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Copy:
    """An image in one library; `noted` is False where its notes cannot be used."""

    library: Path
    image: Image
    notes: Notes
    noted: bool

    @property
    def rank(self) -> tuple[bool, bool]:
        """The more of it is known to be good, the better."""
        last = self.notes.verified
        return self.noted and (last is None or last.good), last is not None


def _print(found: Sequence[Latest], copies: Mapping[str, _Copy], now: datetime, late: Sequence[Latest]) -> None:
    if found:
        heads = [_("Backed up"), _("Age"), _("Computer"), _("Disks"), _("Image"), _("Verified")]
        commands.print_lines(columns([heads, *(_row(one, copies, now, late=one in late) for one in found)]))
    else:
        print(_("There is no backup of a disk of this computer."))
        hint = _("rescue capture DISK --library DIR makes one, rescue schedule set DISK regular ones")
        print(_("What to do: {hint}").format(hint=hint))


def _has(image: Image, disk: Disk, here: Machine) -> bool:
    """Whether a disk is in an image: one without a number of its own only in those of this computer."""
    same = any(one.id.same_disk(disk.id) for one in image.disks)
    return same and (bool(disk.id.wwn or disk.id.serial) or is_of(here, image) or image.machine == here)


def _counts(disk: Disk) -> bool:
    """Whether a disk is one that a person would back up: built in, with something on it, and not for the images."""
    aside = disk.removable or disk.transport == "usb" or {Role.BOOT_MEDIUM, Role.LIBRARY} & set(disk.roles)
    return not aside and bool(disk.table.partitions or disk.content.kind)


def _is_late(one: Latest, days: float | None, now: datetime) -> bool:
    if one.when is None:
        return True
    return days is not None and _age(one.when, now) > days


def _age(when: datetime, now: datetime) -> float:
    """Days; what is dated later than now is as new as can be."""
    return max((now - when).total_seconds(), 0.0) / _DAY


def _row(one: Latest, copies: Mapping[str, _Copy], now: datetime, *, late: bool) -> list[str]:
    machine = one.of.machine
    computer = joined(clean(machine.model), clean(machine.serial) or clean(machine.hostname))
    disks = ", ".join(clean(disk.name) for disk in one.of.disks)
    if not is_whole(one.of):
        disks = _("{disks}, some partitions").format(disks=disks)
    if one.backup is None or one.when is None:
        words = ngettext("none: {count} image cannot be relied on", "none: {count} images cannot be relied on", one.bad)
        return [words.format(count=one.bad), _("OVERDUE"), computer, disks, "", ""]
    days = int(_age(one.when, now))
    age = ngettext("{days} day", "{days} days", days).format(days=days)
    marked = _("{age}, OVERDUE").format(age=age) if late else age
    verified = verified_words(copies[one.backup.id].notes)
    return [format_when(one.backup.created), marked, computer, disks, clean(one.backup.id), verified]


def is_whole(image: Image) -> bool:
    """Whether all partitions of its disks are stored."""
    return not any(disk.left_out for disk in image.disks)


def _value(one: Latest, copies: Mapping[str, _Copy], now: datetime, *, overdue: bool) -> dict[str, Any]:
    backup = one.backup
    copy = copies[backup.id] if backup else None
    return {
        "machine": one.of.machine,
        "disks": [disk.id for disk in one.of.disks],
        "whole": is_whole(one.of),
        "overdue": overdue,
        "image": backup.id if backup else None,
        "library": str(copy.library) if copy else None,
        "created": backup.created if backup else None,
        "age_days": round(_age(one.when, now), 2) if one.when else None,
        "verified": copy.notes.verified if copy else None,
        "newer_damaged": one.bad,
    }
