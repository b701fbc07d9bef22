"""Which images of a library stay by a rule such as "the last three, and one of each of the last four weeks"."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from imaging.disk import Size
from imaging.errors import UsageError
from imaging.manifest import Image, ImagedDisk
from imaging.notes import NOTHING, Notes

Group = tuple[str, ...]
"""Whose images they are: rules count those of one computer's disks apart from those of another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How many images of each computer stay: the newest, and the newest of each of the last days, weeks and so on."""

    last: Size = 0
    daily: Size = 0
    weekly: Size = 0
    monthly: Size = 0
    yearly: Size = 0
    within_days: Size = 0
    """All that are not older than so many days stay."""

    @property
    def empty(self) -> bool:
        """Whether it says nothing; then nothing may be deleted by it."""
        return not any((self.last, self.daily, self.weekly, self.monthly, self.yearly, self.within_days))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule says of one image: it stays for each of `reasons`, and goes where there is none."""

    image: Image
    reasons: tuple[str, ...]

    @property
    def stays(self) -> bool:
        """Whether the image stays."""
        return bool(self.reasons)


def judge(
    images: Iterable[Image],
    notes: Callable[[str], Notes],
    rule: Rule,
    now: datetime,
    *,
    unnoted: Collection[str] = (),
) -> Sequence[Verdict]:
    """What becomes of each image, in the order given.

    Pinned images and factory images stay and count for nothing else, and so do those that may be: the `unnoted`, whose
    notes cannot be used. One that is damaged (its last verification found it bad, or its disk could not be read in
    full) takes no other's place: it goes only where it would have gone as a whole one; so does one that was captured
    for safety, of a state that somebody replaced. Images whose date cannot be read stay. Days, weeks (ISO 8601) and so
    on are those of UTC.

    Raises UsageError where the rule is empty.
    """
    if rule.empty:
        raise UsageError(
            "a rule that keeps nothing would delete every image",
            code="usage",
            hint="say what is to stay, such as --keep-last 3",
        )
    given = list(images)
    reasons: dict[str, list[str]] = {image.id: [] for image in given}
    groups: dict[Group, list[tuple[datetime, Image]]] = {}
    real = {group_of(image) for image in given if _counts(image, notes(image.id))}
    for image in given:
        noted = notes(image.id)
        if noted.pinned or noted.factory is not None:
            reasons[image.id].append("pinned" if noted.pinned else "factory")
            continue
        if image.id in unnoted:
            reasons[image.id].append("unnoted")
            continue
        when = _when(image)
        if when is None:
            reasons[image.id].append("undated")
            continue
        # Those that are no backups, where all of a kind are, are told by the backups of the whole disks.
        own = group_of(image)
        groups.setdefault(own if own in real else group_of(image, parts=False), []).append((when, image))
    for members in groups.values():
        members.sort(key=lambda pair: (pair[0], pair[1].id), reverse=True)
        for image_id, reason in _kept(members, notes, rule, now):
            reasons[image_id].append(reason)
    return [Verdict(image=image, reasons=tuple(reasons[image.id])) for image in given]


def group_of(image: Image, *, parts: bool = True) -> Group:
    """Whose image it is: the computer by its serial number, else its name and model; then its disks.

    One of chosen partitions is none of the whole disk, nor one of others, unless `parts` are not told apart.
    """
    machine = image.machine
    computer = (machine.vendor, machine.model, machine.serial or machine.hostname)
    return (*computer, *sorted(_disk(disk, parts=parts) for disk in image.disks))


def _disk(disk: ImagedDisk, *, parts: bool) -> str:
    name = disk.id.wwn or f"{disk.id.model} {disk.id.serial}".strip() or disk.name
    return " ".join([name, *(f"-{part.number}" for part in disk.left_out if parts)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The newest image of one computer's disks that is a backup, None where none is; and how many newer ones are not.

    `of` is the newest of all, which says whose they are.
    """

    of: Image
    backup: Image | None
    when: datetime | None
    bad: Size


def latest(
    images: Iterable[Image], notes: Callable[[str], Notes], now: datetime, *, unnoted: Collection[str] = ()
) -> Sequence[Latest]:
    """The newest backup of each computer's disks, the newest first; those without any come last.

    What is damaged is no backup, nor is a factory image or what was saved before a restore: these count for nothing.
    Nor is one of the `unnoted`, whose notes cannot be used, or one that is dated more than a day later than `now`: by a
    clock that was wrong. Images of chosen partitions do where there are none of the whole disks. One whose date cannot
    be read is passed over.
    """
    tomorrow = now + timedelta(days=1)
    given = [image for image in images if notes(image.id).factory is None and not notes(image.id).before]
    whole = {group_of(image) for image in given if not any(disk.left_out for disk in image.disks)}
    groups: dict[Group, list[tuple[datetime, Image]]] = {}
    for image in given:
        when, group = _when(image), group_of(image)
        if when is not None and (group in whole or group_of(image, parts=False) not in whole):
            groups.setdefault(group, []).append((when, image))
    found = []
    for members in groups.values():
        members.sort(key=lambda pair: (pair[0], pair[1].id), reverse=True)
        good = [
            place
            for place, (when, image) in enumerate(members)
            if when <= tomorrow and image.id not in unnoted and _counts(image, notes(image.id))
        ]
        when, backup = members[good[0]] if good else (None, None)
        found.append(Latest(of=members[0][1], backup=backup, when=when, bad=good[0] if good else len(members)))
    return sorted(found, key=lambda one: one.when or datetime.min.replace(tzinfo=UTC), reverse=True)


def _kept(
    members: Sequence[tuple[datetime, Image]], notes: Callable[[str], Notes], rule: Rule, now: datetime
) -> Iterable[tuple[str, str]]:
    """The images of one group that stay, newest first, each with a reason."""
    periods: tuple[tuple[str, int, Callable[[datetime], object]], ...] = (
        ("last", rule.last, lambda when: when),
        ("daily", rule.daily, lambda when: when.date()),
        ("weekly", rule.weekly, lambda when: when.isocalendar()[:2]),
        ("monthly", rule.monthly, lambda when: (when.year, when.month)),
        ("yearly", rule.yearly, lambda when: when.year),
    )
    for name, most, period in periods:
        seen: set[object] = set()
        for number, (when, image) in enumerate(members):
            if len(seen) == most:
                break
            # Two captures of one second are two images for `last`.
            key = number if name == "last" else period(when)
            if key in seen:
                continue
            yield image.id, name
            if _counts(image, notes(image.id)):
                seen.add(key)
    oldest = now - timedelta(days=rule.within_days)
    for when, image in members:
        if rule.within_days and when >= oldest:
            yield image.id, "within"


def _counts(image: Image, noted: Notes = NOTHING) -> bool:
    return not image.unreadable and not noted.before and (noted.verified is None or noted.verified.good)


def _when(image: Image) -> datetime | None:
    try:
        when = datetime.fromisoformat(image.created)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
