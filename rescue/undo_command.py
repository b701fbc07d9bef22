"""`rescue undo`: bring back what was on a disk before the last restore, from the safety image that it made."""

import argparse
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path

from imaging import inventory
from imaging.disk import Disk
from imaging.errors import BadImageError, RefusedError
from imaging.manifest import Image, ImagedDisk
from imaging.partitions import of_some, put_back
from rescue import factory_commands
from rescue.factories import newest_saved, saved_disk
from rescue.finding import libraries
from rescue.language import _
from rescue.targeting import targets


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
    """`rescue undo`: a restore of the newest safety image of this computer."""
    there = []
    for library in libraries(options):
        listing = library.images()
        there += [(library.path, image, listing.notes[image.id]) for image in listing.images]
    saved = newest_saved(there, inventory.machine())
    if saved is None:
        raise BadImageError(
            "there is no safety image of this computer",
            code="no-such-image",
            hint="a restore makes one with --save-first; `rescue images` lists all images",
        )
    path, image, _noted = saved
    words = options.to or _named(image.disks, inventory.scan([path]))
    return factory_commands.restore(options, path, image, words, _partitions(image, words, path))


def _partitions(image: Image, words: Sequence[str], library: Path) -> Collection[int]:
    """The partitions that come back where no others were saved: what was kept stays as it is, and so does the table."""
    (target, new), *_others = targets(words, image.disks, [library]).values()
    return put_back(image.disks[0], target) if of_some(image, target) and not new else ()


def _named(disks: Sequence[ImagedDisk], there: Sequence[Disk]) -> list[str]:
    """The disks that were saved, as a restore's targets; raises RefusedError where one is not here any more."""
    words = []
    for disk in disks:
        target = saved_disk(disk, there)
        if target is None:
            raise RefusedError(
                f"the disk that was saved, {disk.name} (serial {disk.id.serial or 'not known'}), is not here",
                code="no-such-disk",
                hint="plug it in, or name another with --to",
            )
        words.append(f"{disk.name}={target.path}")
    return words
