"""`rescue restore SOURCE TARGET`: straight from what another program has made of a disk, without a library."""

import os
import sys
import threading
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from imaging import address, foreignlook, pack
from imaging.blockdev import real_path
from imaging.errors import CancelledError, RescueError, UsageError
from imaging.foreignplan import plan_straight, refuse_doubtful
from imaging.library import Library
from imaging.restoreplans import RestorePlan
from rescue.finding import Found, find
from rescue.progressline import ProgressLine
from rescue.targeting import targets

_NO_IMAGE = ("no-such-image", "not-a-library")


def source_or_image(options: Namespace) -> Found | Path:
    """The image that was named; the file or folder of another program where the word is a path, or there is no image.

    Raises UsageError where it can be both.
    """
    word = Path(options.image)
    if "/" in options.image:
        return _single(real_path(word))
    try:
        found = find(options)
    except RescueError as error:
        if error.code in _NO_IMAGE and word.exists():
            return _single(real_path(word))
        raise
    if word.exists():
        raise UsageError(
            f"{word} is an image in the library, and a file or folder here",
            code="usage",
            hint=f"for the latter give ./{word}; for the image, start the command elsewhere",
        )
    return found


def _single(path: Path) -> Found | Path:
    """The image in a single file, or the path of anything else. Raises BadImageError, RefusedError, UsageError."""
    first = pack.first_piece(path)
    if not pack.is_pack(first):
        return path
    library = Library.open(first)
    listing = library.images()
    found = [*(image.id for image in listing.images), *(image.id for image in listing.damaged), ""]
    return Found(library, library.image(found[0]))


def plan(options: Namespace, source: Path) -> RestorePlan:
    """Look at a foreign image and at the targets; takes as long as reading a compressed file through."""
    if options.partition:
        raise UsageError(
            "single partitions are restored from an image in a library", code="usage", hint="import it first"
        )
    progress = ProgressLine(shown=sys.stderr.isatty() and not options.json)
    try:
        seen = foreignlook.look(source, threading.Event(), progress)
    except KeyboardInterrupt:
        raise CancelledError("stopped: nothing was written") from None
    finally:
        progress.end()
    library = _library(options)
    pairs = targets(options.targets, seen.disks, [source, *library])
    create = [name for name, (_, new) in pairs.items() if new]
    if create and len(create) != len(pairs):
        raise UsageError("give either disks that exist or new files, not both", code="usage")
    made = plan_straight(
        seen,
        {name: target for name, (target, _) in pairs.items()},
        read_back=not options.no_read_back,
        create=bool(create),
        accept_unsigned=options.accept_unsigned,
        library=next(iter(library), None),
    )
    refuse_doubtful(made)
    return made


def _library(options: Namespace) -> Sequence[Path]:
    """A library that was named is not needed, but its disk is none to be erased either."""
    given = str(options.library or os.environ.get("RESCUE_LIBRARY") or "")
    return [real_path(given)] if given and not address.is_address(given) and Path(given).exists() else []
