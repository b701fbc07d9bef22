"""Orders: work that is to be done without a key press, as a document in TOML that a person writes.

An order says one thing to do (restore, capture or verify), with which disks of which computers, and what comes after.
What it does not know is refused, with the key and its line: a word that was misspelt must not become a disk erased.
Format: TOML 1.0; live-image/README.md has the keys and examples.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from blake3 import blake3
from msgspec import Meta

from imaging import documents, levels, wanted
from imaging.decodable import decodable
from imaging.errors import UsageError
from imaging.keptfiles import KeepRule

VERSION = 1
MOST_BYTES = 64 << 10
"""Bytes that no order exceeds: some hundred serial numbers."""
NEWEST = "newest"
"""Of the images that are left, the one that was captured last."""
STICK = "stick"
"""The library on the medium that the computer was started from."""
ATTACHED = "attached"
"""The one library on all media that are attached."""

_DECIMAL, _BINARY = ("B", "kB", "MB", "GB", "TB"), ("KiB", "MiB", "GiB", "TiB")
_UNITS = {unit: 1000**i for i, unit in enumerate(_DECIMAL)} | {unit: 1024**i for i, unit in enumerate(_BINARY, 1)}
_SIZE = re.compile(r"(\d{1,7}(?:\.\d{1,3})?) ?([A-Za-z]{1,3})")
_NEAR = 0.01
"""A disk sold as 500 GB has 500.1 of them: a size with a unit is met within 1 %."""

Word = Annotated[str, Meta(min_length=1, max_length=200)]
Words = Annotated[str, Meta(min_length=1, max_length=200)] | Annotated[tuple[Word, ...], Meta(min_length=1)]
"""One, or several of which any will do."""
Bytes = Annotated[int, Meta(ge=1, le=2**63 - 1)] | Annotated[str, Meta(max_length=20)]
"""Bytes, or words such as "500 GB"."""


class After(StrEnum):
    """What comes when an order has ended."""

    REBOOT = "reboot"
    POWER_OFF = "power-off"
    MENU = "menu"


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of an order: what it does not know is refused."""


class Match(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """The computers that an order is for; all that is given has to hold. `*` and `?` stand for any characters."""

    vendor: Words = ()
    product: Words = ()
    serial: Words = ()


class Login(_Strict, frozen=True, kw_only=True):
    """Who asks a Windows share, or a bucket: its key and its secret."""

    user: Word
    password: Annotated[str, Meta(max_length=500)] = ""
    domain: str = ""

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


class DiskMatch(_Strict, frozen=True, kw_only=True, omit_defaults=True):
    """A disk of this computer, by what is known of it; all that is given has to hold, of one disk alone."""

    source: str = ""
    """Which disk of the image goes there; may be left out where the image has one."""
    serial: Words = ()
    wwn: Words = ()
    model: Words = ()
    size: Bytes | None = None
    min_size: Bytes | None = None
    max_size: Bytes | None = None
    only_internal: bool = False
    file: Annotated[str, Meta(max_length=4096)] = ""
    """A regular file that stands in a disk's place, such as a virtual machine's."""

    @property
    def sizes(self) -> tuple[int, int] | None:
        """The least and the most bytes; None where any size will do."""
        if self.size is not None:
            size = bytes_of(self.size)
            slack = 0 if isinstance(self.size, int) else int(size * _NEAR)
            return size - slack, size + slack
        if self.min_size is None and self.max_size is None:
            return None
        least = 0 if self.min_size is None else bytes_of(self.min_size)
        return least, 2**63 - 1 if self.max_size is None else bytes_of(self.max_size)


class WhichImage(_Strict, frozen=True, kw_only=True):
    """An image: its id, or "newest" of those that bear the label and, if asked for, are of this computer."""

    library: Word = STICK
    image: Annotated[str, Meta(max_length=100)] = ""
    label: Annotated[str, Meta(max_length=200)] = ""
    this_computer: bool = False


class Restore(WhichImage, frozen=True, kw_only=True):
    """Put an image onto disks."""

    disk: Annotated[tuple[DiskMatch, ...], Meta(max_length=64)] = ()
    """Left out where a factory image says itself which disk it goes to."""
    factory: bool = False
    """The factory image of this computer; `image` and `label` can be left out then, or narrow it down."""
    keep: Annotated[tuple[Annotated[int, Meta(ge=1, le=128)], ...], Meta(max_length=128)] = ()
    """Partitions of the one target that stay as they are."""
    grow: bool | Annotated[int, Meta(ge=1, le=128)] | Annotated[str, Meta(pattern=wanted.PATTERN)] = False
    """A partition that takes the room of a larger disk: true for the last one, or its number; "2:20G": that size."""
    shrink: bool | Annotated[int, Meta(ge=1, le=128)] | Annotated[str, Meta(pattern=wanted.PATTERN)] = False
    """A partition that becomes smaller on a disk that is too small: true for one that can, or its number; "2:20G": it
    has that size, on any disk."""
    new_identity: bool = False
    """New ids of the disk and of what stands on it, and a new machine id: for a disk beside its original."""
    host_name: Annotated[str, Meta(max_length=100)] = ""
    """With `new_identity`: what the computer is called; {serial} stands for its serial number."""
    wipe: Literal["", "discard", "overwrite", "sanitize"] = ""
    """How the disks are erased before."""
    boot_entry: bool = True
    """Whether this computer's firmware may get an entry for what is restored, where it needs one."""
    save_first: bool = False
    """Save what is there as an image in the same library, which undoes the restore."""
    keep_files: Annotated[tuple[KeepRule, ...], Meta(max_length=16)] = ()
    """What of the system that is there is carried over; that is saved first, then."""
    read_back: bool = True


class Capture(_Strict, frozen=True, kw_only=True):
    """Make an image of disks."""

    disk: Annotated[tuple[DiskMatch, ...], Meta(min_length=1, max_length=64)]
    library: Word = STICK
    label: Annotated[str, Meta(max_length=200)] = ""
    level: str | int = "normal"
    check: bool = False


class Verify(WhichImage, frozen=True, kw_only=True):
    """Check every chunk of an image."""

    deep: bool = False
    check: bool = False


@decodable
class Order(_Strict, frozen=True, kw_only=True):
    """An order as it was written."""

    version: int
    name: Annotated[str, Meta(max_length=100)] = ""
    match: Match = Match()
    restore: Restore | None = None
    capture: Capture | None = None
    verify: Verify | None = None
    login: Login | None = None
    countdown: Annotated[int, Meta(ge=0, le=3600)] = 30
    """Seconds in which anyone can stop it; 0 begins at once."""
    after: After = After.MENU
    on_failure: After = After.MENU
    """A restart only with `one_start`."""
    report: Annotated[str, Meta(max_length=2000)] = ""
    """Where the result is sent, http:// or https://."""
    one_start: bool = False
    """Whether it is for one start alone: it is taken off the medium before anything else is done."""
    once: bool = True
    """Whether one good end, of which the medium keeps the result, is enough for a computer."""

    @property
    def work(self) -> Restore | Capture | Verify:
        """The one thing to do."""
        work = self.restore or self.capture or self.verify
        if work is None:
            raise ValueError("an order that was parsed has work")
        return work


def parse(data: bytes, name: str) -> Order:
    """Understand an order; `name` is what messages call it. Raises UsageError (code "bad-order")."""
    form = documents.Form(
        version=VERSION,
        versions=f"this program reads orders that say version = {VERSION}",
        most=MOST_BYTES,
        convert=lambda document: msgspec.convert(document, Order),
        why_not=_why_not,
        bad=_bad,
    )
    return documents.parse(data, name, form)


def _bad(where: str, what: str) -> UsageError:
    return UsageError(
        f"the order {where} cannot be understood: {what}",
        code="bad-order",
        hint="nothing was done; live-image/README.md lists the keys of an order",
    )


def digest(data: bytes) -> str:
    """What tells one order from another, and from itself once it was changed."""
    return blake3(data).hexdigest()


def bytes_of(size: int | str) -> int:
    """Bytes of a size such as "500 GB" (decimal) or "32 GiB"; raises ValueError."""
    if isinstance(size, int):
        return size
    found = _SIZE.fullmatch(size.strip())
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{size!r} is not a size: write it as 500 GB, 32 GiB, or in bytes without quotes")
    # Decimal digits times whole units: no rounding that a person would notice.
    return int(float(found[1]) * _UNITS[found[2]])


def _why_not(order: Order) -> tuple[str, str] | None:
    """The key that is wrong, and what is wrong with it; None for a good order."""
    given = [name for name in ("restore", "capture", "verify") if getattr(order, name) is not None]
    if len(given) != 1:
        which = " and ".join(given) or "none"
        return given[-1] if given else "", f"it needs one of [restore], [capture] and [verify], and has {which}"
    if order.report and not re.fullmatch(r"https?://[^/@\s]+(?:/\S*)?", order.report):
        return "report", "report is not an address that begins with http:// or https:// and holds no password"
    if order.on_failure is After.REBOOT and not order.one_start:
        return "on_failure", "on_failure cannot be reboot: what failed or was refused once would be so without end"
    if order.one_start and isinstance(order.work, Restore):
        return "one_start", "one_start is not for restores: one that was cut off is completed at the next start"
    factory = isinstance(order.work, Restore) and order.work.factory
    if isinstance(order.work, WhichImage) and not (order.work.image or order.work.label or factory):
        return given[0], f"[{given[0]}] does not say which image: give image or label"
    if isinstance(order.work, Restore) and (wrong := _why_not_restore(order.work)):
        return wrong
    if isinstance(order.work, Capture):
        try:
            levels.parse(str(order.work.level))
        except UsageError as error:
            return "capture.level", error.message
    disks = () if isinstance(order.work, Verify) else order.work.disk
    for place, disk in enumerate(disks):
        what = why_not_disk(disk, is_restore=order.restore is not None)
        if what:
            return f"{given[0]}.disk[{place}]", what
    return None


def _why_not_restore(work: Restore) -> tuple[str, str] | None:
    if work.label and not work.label.strip():
        return "restore.label", "label is empty: leave it out, or give the image's"
    if work.factory and work.image == NEWEST:
        return "restore.image", "of factory images none is the newest one: give an id, or leave image out"
    if not work.disk and not work.factory:
        return "restore", "[restore] does not say which disk: give a [[restore.disk]]"
    if work.keep and (work.grow or work.shrink or work.wipe):
        return "restore.keep", "where partitions stay, none grows or becomes smaller and no disk is wiped"
    if isinstance(work.shrink, str) and (work.grow or len(work.disk) > 1):
        return "restore.shrink", "one partition of one disk gets another size: give no grow, and one disk"
    if work.host_name and not work.new_identity:
        return "restore.host_name", "host_name is for a restore with new_identity = true"
    if work.new_identity and (work.keep or work.keep_files or len(work.disk) > 1):
        return "restore.new_identity", "a new identity is given where one whole disk is restored, and no files are kept"
    if work.keep and len(work.disk) > 1:
        return "restore.keep", "partitions stay on one disk: give one [[restore.disk]]"
    if work.keep_files and work.wipe == "sanitize":
        return "restore.wipe", "where files are kept, no drive erases itself: take discard or overwrite"
    if work.keep_files and (work.keep or len(work.disk) > 1):
        return "restore.keep_files", "files are kept where one whole disk is restored: give one disk, and no keep"
    if (work.save_first or work.keep_files) and work.image == NEWEST and not work.label:
        # Cut off before that is noted, what was saved would be the newest image of all.
        return (
            "restore.save_first",
            'where what is there is saved, image = "newest" needs a label, too: what is saved is newer',
        )
    if (work.save_first or work.keep_files) and re.match(r"\s*https?://", work.library, re.IGNORECASE):
        return (
            "restore.save_first",
            "a web server takes no image: what is there is saved in a library that can be written to",
        )
    return None


def why_not_disk(disk: DiskMatch, *, is_restore: bool) -> str:
    """Why a rule means no disk, in words; empty where it can mean one."""
    if disk.source and not is_restore:
        return "source is a key of [[restore.disk]] alone"
    if disk.size is not None and (disk.min_size is not None or disk.max_size is not None):
        return "give size, or min_size and max_size, not both"
    try:
        least, most = disk.sizes or (0, 0)
    except ValueError as error:
        return str(error)
    if least > most:
        return "min_size is more than max_size"
    by = (disk.serial, disk.wwn, disk.model, disk.sizes, disk.only_internal)
    if disk.file:
        return "a file is named by its path alone" if any(by) else _why_not_path(disk.file)
    return "" if any(by) else "it does not say which disk: give serial, wwn, model, size or only_internal = true"


def _why_not_path(path: str) -> str:
    return "" if path.startswith("/") and "\0" not in path else "file needs a whole path, which begins with /"
