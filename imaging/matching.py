"""From an order and what was found here to a plan: pure functions that find exactly one, or refuse and say why.

Nobody is there to ask, so what could mean two things means none: two disks, two images, two orders are refused alike.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn, Protocol

from msgspec import structs

from imaging import cloning, growth, levels, planner, wanted
from imaging.disk import Disk, Role, format_size
from imaging.errors import RefusedError, UsageError
from imaging.manifest import Image, Machine
from imaging.notes import NOTHING, Notes
from imaging.orders import NEWEST, Capture, DiskMatch, Match, Order, Restore, Verify, WhichImage
from imaging.partitions import plan_restore_but
from imaging.plan import Plan
from imaging.restoreplans import RestorePlan, RestoreTarget, Wipe
from imaging.wanted import Wanted

_BEFORE_WWN = re.compile(r"^(?:0x|naa\.|eui\.|wwn-)+")
_NO_DISK = re.compile(r"mmcblk\d+(?:boot\d|rpmb)")
"""Small areas of an eMMC that the kernel shows as disks beside it. Source: Documentation/driver-api/mmc."""
_MOST_NAMED = 4
_SERIAL = "{serial}"


class Damaged(Protocol):
    """An image that is there and cannot be used."""

    @property
    def id(self) -> str:
        """Its folder's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is on this computer: disks with their roles, those named as files, and what the library holds."""

    machine: Machine
    disks: tuple[Disk, ...]
    library: Path
    files: Mapping[str, Disk]
    """Regular files in disks' places, by the path that the order gives."""
    images: tuple[Image, ...] = ()
    """Newest first."""
    damaged: tuple[Damaged, ...] = ()
    notes: Mapping[str, Notes] = field(default_factory=dict)
    """What is noted of them, by their ids."""
    unnoted: frozenset[str] = frozenset()
    """The ids of those whose notes cannot be used: what they would say is not known."""

    def note(self, image: Image) -> Notes:
        """What is noted of one of the images."""
        return self.notes.get(image.id, NOTHING)


def is_for(match: Match, machine: Machine) -> bool:
    """Whether an order is for this computer; one that names none is for all."""
    known = ((match.vendor, machine.vendor), (match.product, machine.model), (match.serial, machine.serial))
    return all(not wanted or _meets(wanted, have) for wanted, have in known)


def exactness(match: Match) -> int:
    """How much a rule says of the computers that it is for."""
    return sum(bool(words) for words in (match.vendor, match.product, match.serial))


def _meets(wanted: str | tuple[str, ...], have: str) -> bool:
    """Whether what is known is one of the words, in whichever case; what is not known is none of them."""
    words = (wanted,) if isinstance(wanted, str) else wanted
    patterns = [word.strip().lower().replace("[", "[[]") for word in words]
    return bool(have.strip()) and any(fnmatchcase(have.strip().lower(), pattern) for pattern in patterns)


def plan_order(order: Order, found: Found) -> Plan:
    """What the order comes to on this computer; raises RefusedError or UsageError where that is not exactly one thing.

    The confirmation is the order itself: the plan holds the identities of the disks that were found.
    """
    match order.work:
        case Restore() as work:
            return _plan_restore(work, found)
        case Capture() as work:
            disks = _each(work.disk, found)
            level = levels.parse(str(work.level))
            return planner.plan_capture(disks, found.library, work.label, level, check=work.check)
        case Verify() as work:
            return planner.plan_verify(found.library, find_image(work, found), deep=work.deep, check=work.check)


def _plan_restore(work: Restore, found: Found) -> RestorePlan:
    image = find_factory_image(work, found) if work.factory else find_image(work, found)
    matches = work.disk or (_of_factory_image(image, found),)
    names = [disk.name for disk in image.disks]
    sources = [match.source or (names[0] if len(names) == 1 else "") for match in matches]
    if "" in sources:
        raise RefusedError(
            f"image {image.id} has {len(names)} disks ({', '.join(names)}): the order does not say which goes where",
            code="bad-order",
            hint="give source in each [[restore.disk]]",
        )
    if len(set(sources)) != len(sources):
        raise RefusedError("the order gives one disk of the image two targets", code="bad-order")
    disks = _each(matches, found)
    if not work.disk and not _is_internal(disks[0]):
        raise RefusedError(
            f"the rule of factory image {image.id} means {_named(disks[0])}, which is not built in",
            code="ambiguous-disk",
            hint="where that disk is meant, name it in the order: [[restore.disk]]",
        )
    pairs = dict(zip(sources, disks, strict=True))
    if work.keep and len(pairs) != 1:
        raise RefusedError("partitions stay on one disk, and the order means several", code="bad-order")
    if work.keep:
        ((name, target),) = pairs.items()
        plan = plan_restore_but(found.library, image, name, target, work.keep, read_back=work.read_back)
    else:
        less = _wanted(work.shrink)
        plan = planner.plan_restore(
            found.library,
            image,
            pairs,
            read_back=work.read_back,
            shrink=less.partition if less else None,
            shrink_to=less.size if less else None,
        )
    more = _wanted(work.grow)
    if more is not None and (more.size or not plan.shrinks):
        plan = growth.with_growth(plan, more.partition, more.size)
    if work.new_identity:
        plan = cloning.with_new_identity(plan, _host_name(work.host_name, found.machine))
    plan = planner.with_wipe(plan, Wipe(work.wipe))
    # After a power cut the same order completes what it had begun, which was saved before that.
    begun = all(_was_saved(pair, image, found) for pair in plan.targets)
    return structs.replace(plan, safety=str(found.library)) if work.save_first and not begun else plan


def _wanted(said: bool | int | str) -> Wanted | None:
    """Which partition an order wants to have another size, and which."""
    if isinstance(said, str):
        return wanted.parse(said)
    # True is 1, and is not meant as a number.
    return Wanted(partition=growth.LAST if said is True else said) if said else None


def _host_name(pattern: str, machine: Machine) -> str:
    """The name, with this computer's serial number in it; raises RefusedError where that is not known."""
    serial = re.sub(r"[^a-z0-9]+", "-", machine.serial.lower()).strip("-")
    if _SERIAL in pattern and not serial:
        raise RefusedError(
            f"the order names this computer by its serial number, and it has none: {pattern}", code="bad-order"
        )
    return pattern.replace(_SERIAL, serial)


def _was_saved(pair: RestoreTarget, image: Image, found: Found) -> bool:
    """Whether a restore of this image onto this target was cut off, and has saved all that it erases.

    The mark of the unfinished restore names what was saved. A partition without it was not come to yet, or was
    completed, and may hold something new by now.
    """
    into = {chosen.partition for chosen in pair.partitions}
    marked = [part for part in pair.target.table.partitions if part.number in into] if into else [pair.target]
    marks = {(one.unfinished, one.saved) for one in marked}
    if len(marks) != 1:
        return False
    ((begun, saved),) = marks
    safe = next((one for one in found.images if one.id == saved), None)
    if begun != image.id or safe is None or found.note(safe).before != image.id or found.note(safe).void:
        return False
    disks = [disk for disk in safe.disks if disk.id.same_disk(pair.target.id)]
    stored = {volume.number for disk in disks for volume in disk.volumes}
    return into <= stored if into else any(not disk.left_out for disk in disks)


def _of_factory_image(image: Image, found: Found) -> DiskMatch:
    state = found.note(image).factory
    rule = state.disk if state is not None else None
    if rule is None:
        raise RefusedError(
            f"neither the order nor factory image {image.id} says which disk it goes to",
            code="bad-order",
            hint="give a [[restore.disk]]",
        )
    return rule


def _each(matches: Sequence[DiskMatch], found: Found) -> list[Disk]:
    """One disk for each, no disk for two."""
    disks = [find_disk(match, found) for match in matches]
    if len({disk.path for disk in disks}) != len(disks):
        raise RefusedError("the order means one disk twice", code="same-disk-twice")
    return disks


def find_disk(match: DiskMatch, found: Found) -> Disk:
    """The one disk that is meant; raises RefusedError where none is, or several are."""
    if match.file:
        return found.files[match.file]
    disks = [disk for disk in found.disks if not _NO_DISK.fullmatch(disk.name)]
    if match.only_internal:
        disks = [disk for disk in disks if _is_internal(disk)]
        if len(disks) != 1:
            _refuse("no internal disk was found", "several internal disks were found", disks)
    meant = [disk for disk in disks if _fits(match, disk)]
    # One that is protected is left to the planner, which refuses it in its own words.
    meant = [disk for disk in meant if not _stands_apart(disk)] or meant
    if len(meant) != 1:
        _refuse("no disk is as the order describes it", "several disks are as the order describes", meant)
    return meant[0]


def _is_internal(disk: Disk) -> bool:
    return not (disk.removable or _stands_apart(disk) or disk.regular_file or disk.transport == "usb")


def _stands_apart(disk: Disk) -> bool:
    """Whether it is the recovery medium, or was brought for the library: no disk that an order may mean.

    A disk of the computer from whose own recovery partition it was started is one of two that could be meant.
    """
    return not disk.kept and (Role.BOOT_MEDIUM in disk.roles or Role.LIBRARY in disk.roles)


def _fits(match: DiskMatch, disk: Disk) -> bool:
    least, most = match.sizes or (0, disk.size)
    return (
        least <= disk.size <= most
        and (not match.serial or _meets(match.serial, disk.id.serial))
        and (not match.model or _meets(match.model, disk.id.model))
        and (not match.wwn or _meets(_wwns(match.wwn), _wwn(disk.id.wwn)))
    )


def _wwns(words: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_wwn, (words,) if isinstance(words, str) else words))


def _wwn(word: str) -> str:
    """The digits alone: udev, lsblk and labels put different things before them."""
    return _BEFORE_WWN.sub("", word.strip().lower())


def _refuse(none: str, several: str, disks: Sequence[Disk]) -> NoReturn:
    if not disks:
        raise RefusedError(none, code="no-such-disk", hint="compare the order with the disks that are here")
    named = ", ".join(_named(disk) for disk in disks[:_MOST_NAMED]) + (", .." if len(disks) > _MOST_NAMED else "")
    raise RefusedError(
        f"{several}: {named}",
        code="ambiguous-disk",
        hint="name the disk by its serial number or WWN in the order, or unplug the other",
    )


def _named(disk: Disk) -> str:
    marks = (disk.id.model, disk.id.serial, format_size(disk.size))
    return f"{disk.name} ({'; '.join(filter(None, marks))})"


def find_image(which: WhichImage, found: Found) -> Image:
    """The one image that is meant; raises RefusedError where none is, or several are, or it is damaged."""
    if which.image not in ("", NEWEST):
        return _by_id(which, found)
    ours = [image for image in found.images if not found.note(image).before]
    fitting = [image for image in ours if _is_one_of(image, which, found.machine)]
    if not fitting:
        _refuse_none(which, found)
    if which.image != NEWEST and len(fitting) > 1:
        ids = ", ".join(image.id for image in fitting[:_MOST_NAMED])
        raise RefusedError(
            f"{len(fitting)} images are called {which.label!r}: {ids}",
            code="ambiguous-image",
            hint='give the id of one, or image = "newest"',
        )
    image = fitting[0]
    if len(fitting) > 1 and fitting[1].created == image.created:
        raise RefusedError(f"two images were captured at {image.created}: none is the newest", code="ambiguous-image")
    later = [bad.id for bad in found.damaged if bad.id > image.id]
    if later and which.image == NEWEST:
        raise RefusedError(
            f"image {later[0]} is damaged, and may be the newest",
            code="ambiguous-image",
            hint="delete it, or give the id of the image that is meant",
        )
    if isinstance(which, Restore) or image.unreadable:
        _refuse_doubtful(image, found)
    return image


def _refuse_doubtful(image: Image, found: Found) -> None:
    """Raise RefusedError where an image that nobody named by its id is damaged, or may not be what it seems."""
    why, verified = "", found.note(image).verified
    if image.unreadable:
        why = f"image {image.id} is damaged: parts of its disk could not be read when it was captured"
    elif verified is not None and not verified.good:
        why = f"image {image.id} is damaged: its last verification found that"
    elif image.id in found.unnoted:
        why = f"the notes of image {image.id} cannot be read: what it was captured for is not known"
    if why:
        raise RefusedError(why, code="damaged-image", hint="give its id where it is meant all the same")


def find_factory_image(which: WhichImage, found: Found) -> Image:
    """The factory image for this computer, of those the one that names it most exactly.

    Raises RefusedError where none is, or several are that name it alike.
    """
    states = {image.id: found.note(image).factory for image in found.images}
    marks = {name: state for name, state in states.items() if state is not None}
    marked = [image for image in found.images if image.id in marks]
    named = [image for image in marked if which.image in ("", image.id) and _is_one_of(image, which, found.machine)]
    fitting = [image for image in named if is_for(marks[image.id].match, found.machine)]
    if not fitting:
        path = found.library
        what = f"no image in {path} is marked as a factory image"
        if marked:
            what = f"no factory image in {path} is as the order says"
        if named:
            what = f"no factory image in {path} was made for this computer"
        raise RefusedError(what, code="no-factory-image", hint="`rescue factory list` lists them")
    most = max(exactness(marks[image.id].match) for image in fitting)
    best = [image for image in fitting if exactness(marks[image.id].match) == most]
    if len(best) > 1:
        named_ids = ", ".join(image.id for image in best[:_MOST_NAMED])
        raise RefusedError(
            f"several factory images were made for this computer: {named_ids}",
            code="ambiguous-image",
            hint="give the id of the one that is meant",
        )
    if not which.image:
        _refuse_doubtful(best[0], found)
        lost = [*sorted(found.unnoted), *(bad.id for bad in found.damaged)]
        if lost:
            raise RefusedError(
                f"image {lost[0]} or its notes are damaged, and may be the factory image for this computer",
                code="ambiguous-image",
                hint="delete it, or give the id of the image that is meant",
            )
    return best[0]


def _by_id(which: WhichImage, found: Found) -> Image:
    image = next((image for image in found.images if image.id == which.image), None)
    if image is None:
        _refuse_none(which, found)
    if not _is_one_of(image, which, found.machine):
        raise RefusedError(
            f"image {image.id} is called {image.label!r}, which is not what the order says", code="no-such-image"
        )
    return image


def _is_one_of(image: Image, which: WhichImage, machine: Machine) -> bool:
    if which.label and image.label.strip() != which.label.strip():
        return False
    return not which.this_computer or _same_computer(image.machine, machine)


def _same_computer(one: Machine, other: Machine) -> bool:
    """By the serial number: two of the same model are two computers."""
    return bool(one.serial) and (one.vendor, one.model, one.serial) == (other.vendor, other.model, other.serial)


def _refuse_none(which: WhichImage, found: Found) -> NoReturn:
    image_id, path = which.image, found.library
    if image_id not in ("", NEWEST):
        what = f"there is no image {image_id!r} in {path}"
    elif which.label:
        what = f"no image in {path} is called {which.label!r}"
    else:
        what = f"{path} holds no image"
    if which.this_computer:
        what = f"{what}; only images of this computer were looked at"
    if found.damaged:
        what = f"{what}; damaged images: {len(found.damaged)}"
    raise RefusedError(what, code="no-such-image", hint="`rescue images` lists them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An order and where it came from: the name is for messages, the digest for what was done already."""

    name: str
    digest: str
    order: Order


def choose(orders: Iterable[Named], machine: Machine) -> Named | None:
    """The one order that is for this computer; None where there is none. Raises RefusedError where several are."""
    ours = [one for one in orders if is_for(one.order.match, machine)]
    if len(ours) > 1:
        raise RefusedError(
            f"several orders are for this computer: {', '.join(one.name for one in ours)}",
            code="ambiguous-order",
            hint="let each say in [match] which computers it is for",
        )
    return ours[0] if ours else None


def files_of(order: Order) -> tuple[str, ...]:
    """The regular files that the order names in disks' places."""
    match order.work:
        case Restore(disk=disks) | Capture(disk=disks):
            return tuple(match.file for match in disks if match.file)
        case Verify():
            return ()


def refuse_unless_file(path: str, disk: Disk) -> Disk:
    """A file that an order names is one; a device is named by what it is, not by where it is today."""
    if not disk.regular_file:
        raise UsageError(
            f"{path} is a disk, not a file", code="bad-order", hint="name it by serial, wwn, model or size"
        )
    return disk
