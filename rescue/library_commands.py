"""`rescue library`: making a library, saying what it is, and going through what it consists of."""

import argparse
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from imaging import care, structure
from imaging.backlog import unverified
from imaging.errors import CancelledError, ExitStatus, UsageError
from imaging.forecast import free_room
from imaging.library import Library
from imaging.structure import Examined
from rescue import encryption_commands
from rescue.commands import print_json, print_lines
from rescue.finding import libraries, library_at
from rescue.formats import clean
from rescue.language import _
from rescue.library_words import check_lines, info_lines
from rescue.progressline import ProgressLine

T = TypeVar("T")


def add_library(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]", json: Sequence[argparse.ArgumentParser]
) -> None:
    """The command `library` and those beneath it."""
    top = found.add_parser("library", help=_("make, describe and check image libraries"))
    under = top.add_subparsers(metavar="COMMAND", dest="library_command", required=True)
    init = under.add_parser("init", parents=list(json), help=_("make an empty library"))
    init.add_argument("library", metavar="DIR", help=_("an empty or a new folder, or an address"))
    encryption_commands.add_init(init)
    init.set_defaults(run=init_library)
    encryption_commands.add_passphrases(under, json)
    words = _("the library (default: that of $RESCUE_LIBRARY, or all that are attached)")
    info = under.add_parser("info", parents=list(json), help=_("say what a library is, and what it holds"))
    info.add_argument("library", metavar="DIR", nargs="?", help=words)
    info.set_defaults(run=library_info)
    check = under.add_parser(
        "check", parents=list(json), help=_("check that all is there that images need, without reading their data")
    )
    check.add_argument("library", metavar="DIR", nargs="?", help=words)
    check.set_defaults(run=check_library)


def init_library(options: Namespace) -> int:
    """`rescue library init DIR`."""
    if options.encrypt:
        return encryption_commands.init_encrypted(options)
    if options.passphrase_file:
        raise UsageError("a passphrase was given, but not --encrypt", code="usage")
    library = care.init(library_at(options.library))
    if options.json:
        print_json(_about(library))
    else:
        print(_("An empty library was made: {path}").format(path=clean(library.where)))
    return ExitStatus.DONE


def _about(library: Library) -> dict[str, Any]:
    """What a library is, for scripts; who can open an encrypted one is not told."""
    info = library.info
    return {
        "library": library.where,
        "id": info.id,
        "format": info.format,
        "features": info.features,
        "needs": info.needs,
        "digest": info.digest,
        "chunk_size": info.chunk_size,
    }


def library_info(options: Namespace) -> int:
    """`rescue library info [DIR]`."""
    values: list[dict[str, Any]] = []
    for library in libraries(options):
        listing, room = library.images(), free_room(library.path)
        stock = _interruptible(partial(structure.stock, library))
        if not options.json:
            print_lines(info_lines(library.where, library.info, listing, stock, room))
        waiting = unverified(listing)
        values.append(
            {
                **_about(library),
                "images": len(listing.images),
                "damaged": len(listing.damaged),
                "chunks": stock.chunks if stock else None,
                "bytes": stock.bytes if stock else None,
                "room": room,
                "unverified": len(waiting),
                "oldest_unverified": waiting[0].id if waiting else None,
            }
        )
    if options.json:
        print_json({"libraries": values})
    return ExitStatus.DONE


def check_library(options: Namespace) -> int:
    """`rescue library check [DIR]`: 4 where anything is damaged or missing."""
    found = []
    for library in libraries(options):
        examined = _check(library, shown=sys.stderr.isatty() and not options.json)
        found.append((library, examined))
        if not options.json:
            print_lines(check_lines(library.where, examined))
    if options.json:
        print_json({"libraries": [_value(*one) for one in found]})
    return ExitStatus.DONE if all(examined.whole for _, examined in found) else ExitStatus.BAD_IMAGE


def _value(library: Library, found: Examined) -> dict[str, Any]:
    state = "good" if found.whole else "damaged"
    return {"library": library.where, "state": state, "data_read": False, **msgspec.to_builtins(found)}


def _check(library: Library, *, shown: bool) -> Examined:
    progress = ProgressLine(shown=shown)
    try:
        return _interruptible(partial(structure.check, library, progress))
    finally:
        progress.end()


def _interruptible(look: Callable[[threading.Event], T]) -> T:
    cancel = threading.Event()
    try:
        return look(cancel)
    except KeyboardInterrupt:
        cancel.set()
        raise CancelledError("stopped: nothing was written") from None
