"""The schedule of regular images: what is captured into which library and how often, as a document in TOML. Pure.

`rescue schedule set` writes it, each run reads it, and nothing else decides what a run does. It holds no secret: a
passphrase stays in a file that it names. Format: TOML 1.0.
"""

import json
import re
from dataclasses import fields
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from imaging import documents, levels
from imaging.decodable import decodable
from imaging.disk import DiskId, Size
from imaging.errors import UsageError
from imaging.orders import ATTACHED
from imaging.retention import Rule

VERSION = 1
_MOST_BYTES = 64 << 10
_OVERDUE = {"daily": 3, "weekly": 9, "monthly": 35}
"""Days after which an image of such a schedule is overdue: one that was left out for a day off is not."""
_CALENDAR = re.compile(r"[A-Za-z0-9*,:./~ +-]{1,200}")
"""What a calendar event of systemd consists of. Source: systemd.time(7)."""

Word = Annotated[str, Meta(min_length=1, max_length=4096)]
Count = Annotated[int, Meta(ge=0, le=100_000)]


class Way(StrEnum):
    """How the disks of a running system are captured."""

    SNAPSHOT = "snapshot"
    """From snapshots; where none can be had, it fails."""
    EITHER = "either"
    """From snapshots; where none can be had, at the next start, by the recovery partition."""


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the document: what it does not know is refused."""


class ScheduledDisk(_Strict, frozen=True, kw_only=True):
    """A disk by its identity; the kernel may call it otherwise tomorrow."""

    size: Size
    model: str = ""
    serial: str = ""
    wwn: str = ""

    @property
    def id(self) -> DiskId:
        """As the inventory has it."""
        return DiskId(size=self.size, model=self.model, serial=self.serial, wwn=self.wwn)


class Keep(_Strict, frozen=True, kw_only=True):
    """How many images stay, as `rescue prune` has it."""

    last: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0
    within_days: Count = 0

    @property
    def rule(self) -> Rule | None:
        """The rule; None where nothing is ever deleted."""
        rule = Rule(**{one.name: getattr(self, one.name) for one in fields(Rule)})
        return None if rule.empty else rule


@decodable
class Schedule(_Strict, frozen=True, kw_only=True):
    """What is captured, where to and how often. `overdue_days` after the last success the computer is overdue."""

    version: int = VERSION
    library: Word
    every: Annotated[str, Meta(min_length=1, max_length=200)] = "weekly"
    """"daily", "weekly", "monthly", or another calendar event of systemd."""
    overdue_days: Annotated[int, Meta(ge=1, le=10_000)] = 9
    since: Annotated[str, Meta(max_length=40)] = ""
    """When it was set, RFC 3339 in UTC: before the first success, that is what it can be overdue from."""
    label: Annotated[str, Meta(max_length=200)] = ""
    level: str | int = "normal"
    check: bool = False
    way: Way = Way.SNAPSHOT
    next_boot_library: Annotated[str, Meta(max_length=4096)] = ATTACHED
    """What the recovery system calls the library, as orders have it."""
    passphrase_file: Annotated[str, Meta(max_length=4096)] = ""
    disk: Annotated[tuple[ScheduledDisk, ...], Meta(min_length=1, max_length=64)]
    keep: Keep = Keep()


def parse(data: bytes, name: str) -> Schedule:
    """Understand the document; `name` is what messages call it. Raises UsageError (code "bad-schedule")."""
    form = documents.Form(
        version=VERSION,
        versions=f"this program reads schedules that say version = {VERSION}",
        most=_MOST_BYTES,
        convert=lambda document: msgspec.convert(document, Schedule),
        why_not=_why_not,
        bad=_bad,
    )
    return documents.parse(data, name, form)


def _bad(where: str, what: str) -> UsageError:
    return UsageError(
        f"the schedule {where} cannot be understood: {what}",
        code="bad-schedule",
        hint="set it anew: rescue schedule set",
    )


def _why_not(schedule: Schedule) -> tuple[str, str] | None:
    """The key that is wrong, and what is wrong with it; None for a good schedule."""
    if not _CALENDAR.fullmatch(schedule.every):
        return "every", f"{schedule.every!r} is not a calendar event of systemd"
    try:
        levels.parse(str(schedule.level))
    except UsageError as error:
        return "level", error.message
    for key in ("library", "passphrase_file"):
        path = getattr(schedule, key)
        if path and "://" not in path and not path.startswith("/"):
            return key, f"{key} needs a whole path, which begins with /"
    return None


def overdue_days(every: str) -> int | None:
    """Days after which an image by such a schedule is overdue; None where that has to be said."""
    return _OVERDUE.get(every)


def render(schedule: Schedule) -> str:
    """The document that says this; raises UsageError (code "bad-schedule") where `parse` would refuse it."""
    lines = ["# Written by `rescue schedule set`; each run of the schedule does what stands here."]
    plain = {name: getattr(schedule, name) for name in Schedule.__struct_fields__ if name not in ("disk", "keep")}
    lines += _lines(plain)
    lines += ["", "[keep]", *_lines({name: getattr(schedule.keep, name) for name in Keep.__struct_fields__})]
    for disk in schedule.disk:
        lines += ["", "[[disk]]", *_lines({name: getattr(disk, name) for name in ScheduledDisk.__struct_fields__})]
    text = "\n".join(lines) + "\n"
    parse(text.encode(), "rescue schedule set")
    return text


def _lines(values: dict[str, str | int | bool]) -> list[str]:
    return [f"{name} = {quoted(value)}" for name, value in values.items() if value != ""]


def quoted(value: str | int | bool) -> str:
    """A value as TOML writes it: JSON's strings are TOML's basic ones, but for one character."""
    if isinstance(value, str):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)
