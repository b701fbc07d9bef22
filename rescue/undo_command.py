"""`rescue undo`: bring back what was on a disk before the last restore, from the safety image that it made."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from imaging import inventory
from imaging.disk import DISK_FILE, Disk, DiskId, format_size
from imaging.errors import BadImageError, RefusedError, RescueError, UsageError
from imaging.manifest import Image, ImagedDisk
from imaging.partitions import of_some, put_back
from rescue import factory_commands
from rescue.factories import all_saved, saved_disk
from rescue.finding import libraries
from rescue.language import _
from rescue.report import identity
from rescue.targeting import device_of, named, targets


def add_undo(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """The command `undo`."""
    words = _("bring back what was there before the last restore that was made with --save-first")
    parser = found.add_parser("undo", parents=list(parents), help=words)
    words = _("the disk to erase (default: the one that was saved); for one disk of several: NAME=TARGET")
    parser.add_argument("--to", action="append", default=[], metavar="TARGET", help=words)
    factory_commands.add_confirmation(parser)
    parser.set_defaults(run=undo, keep=[], keep_files=None, no_keep_files=False)


def undo(options: Namespace) -> int:
    """`rescue undo`: a restore of the newest safety image of this computer, or of the disk that is named."""
    there = []
    for library in libraries(options):
        listing = library.images()
        there += [(library.path, image, listing.notes[image.id]) for image in listing.images]
    found = [(path, image) for path, image, _noted in all_saved(there, inventory.machine())]
    if not found:
        raise BadImageError(
            "there is no safety image of this computer",
            code="no-such-image",
            hint="a restore makes one with --save-first; `rescue images` lists all images",
        )
    path, image = _of_targets(found, options.to) if options.to else found[0]
    words = options.to or _named(found, inventory.scan([path for path, _image in found]))
    return factory_commands.restore(options, path, image, words, _partitions(image, words, path))


def _of_targets(found: Sequence[tuple[Path, Image]], words: Sequence[str]) -> tuple[Path, Image]:
    """The newest one of the very disks that are named; of others the newest of all, with a warning."""
    look = cache(_identity)
    for path, image in found:
        try:
            there = named(words, image.disks)
        except UsageError:
            # An older one is not to come back in its place, unasked.
            if any(_is(disk, look(place)) for disk in image.disks for place in _paths(words)):
                raise
            continue
        if all(_is(disk, look(there[disk.name])) for disk in image.disks if disk.name in there):
            return path, image
        only = image.disks[0]
        if len(image.disks) == 1 and any(_is(only, look(place)) for place in _paths(words)):
            raise UsageError(
                f"image {image.id}, which is newer, calls that disk {only.name}",
                code="usage",
                hint="give the target without a name",
            )
    path, image = found[0]
    named(words, image.disks)
    saved = "; ".join(identity(disk.id) for disk in image.disks)
    warning = _("warning: what comes back was saved from another disk: {disk}").format(disk=saved)
    print(f"rescue: {warning}", file=sys.stderr)
    return path, image


def _paths(words: Sequence[str]) -> list[str]:
    """What may be the targets' paths in TARGET... or NAME=TARGET..., whatever the names are."""
    return [path for word in words for path in (word, word.partition("=")[2]) if path]


def _identity(path: str) -> DiskId | None:
    """Which disk is at a path; None where it cannot be looked at."""
    with suppress(RescueError):
        return inventory.look(device_of(path)).id
    return None


def _is(disk: ImagedDisk, there: DiskId | None) -> bool:
    return there is not None and disk.id.same_disk(there)


def _partitions(image: Image, words: Sequence[str], library: Path) -> Collection[int]:
    """The partitions that come back where no others were saved: what was kept stays as it is, and so does the table."""
    (target, _new), *_others = targets(words, image.disks, [library]).values()
    return put_back(image.disks[0], target) if of_some(image, target) else ()


def _named(found: Sequence[tuple[Path, Image]], there: Sequence[Disk]) -> list[str]:
    """The disks of the newest one, as a restore's targets; raises RefusedError where one is not here any more."""
    words = []
    (_path, image), *older = found
    for disk in image.disks:
        target = saved_disk(disk, there)
        if target is None:
            raise _missing(disk, [saved_disk(one, there) for _path, image in older for one in image.disks])
        words.append(f"{disk.name}={target.path}")
    return words


def _missing(disk: ImagedDisk, others: Sequence[Disk | None]) -> RefusedError:
    """Of `others` earlier restores can be undone; to none of them goes what was saved of the disk."""
    sure = disk.id.model != DISK_FILE and (disk.id.wwn or disk.id.serial)
    other = next((one for one in others if one is not None), None)
    path = other.path if other is not None else ""
    model, serial, size = disk.id.model or "-", disk.id.serial or "-", format_size(disk.size)
    return RefusedError(
        f"the disk that was saved is not here: model {model}, serial number {serial}, {size}",
        code="no-such-disk",
        hint="it is known by no serial number: name it with --to"
        if not sure
        else f"plug it in; the last restore to {path}, which is another disk, is undone with --to {path}"
        if path
        else "plug it in, and give the same command again",
    )
