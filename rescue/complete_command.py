"""`rescue complete`: go on with a restore that was cut off, as it was to be, without its image and options named."""

import argparse
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from imaging import inventory, resuming, vouching
from imaging.disk import Disk
from imaging.errors import RefusedError, UsageError
from imaging.restoreplans import RestorePlan
from imaging.resuming import CutOff
from rescue import commands, passphrases
from rescue.accepting import add_accept, add_erase
from rescue.factory_commands import add_yes_on, refuse_names
from rescue.finding import known_libraries, libraries, library_at
from rescue.language import _
from rescue.targeting import device_of


def add_complete(
    found: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: Sequence[argparse.ArgumentParser]
) -> None:
    """The command `complete`."""
    words = _(
        "complete a restore or a reset that was cut off, as it was to be; `rescue undo` brings back what was there"
    )
    parser = found.add_parser("complete", parents=list(parents), help=words)
    words = _("a disk that is only partly restored (default: the one that is)")
    parser.add_argument("disk", metavar="DISK", nargs="?", help=words)
    words = _("the library in which what was there was saved, where that is another than the image's")
    parser.add_argument("--saved-in", metavar="DIR", help=words)
    parser.add_argument("--plan", action="store_true", help=_("show what would be done, and end"))
    add_yes_on(parser)
    add_erase(parser)
    words = _("do not bring back files that a restore which was cut off was to keep: they stay in their image")
    parser.add_argument("--no-keep-files", action="store_true", help=words)
    add_accept(parser)
    parser.set_defaults(run=complete)


def complete(options: Namespace) -> int:
    """`rescue complete [DISK]`: a restore's plan and confirmation; only what is missing is written."""
    known = known_libraries(options)
    cut = _chosen(options.disk, known)
    refuse_names(options.yes_on, cut.disks)
    plan = _plan(options, cut, [library.path for library in libraries(options)])
    parts = [f":{into}" for _volume, into in cut.manner.partitions] or [""]
    confirmed = [f"{serial}{part}" for serial in options.yes_on for part in parts]
    return commands.show_and_restore(plan, Namespace(**{**vars(options), "erase": [*options.erase, *confirmed]}))


def _chosen(word: str | None, known: Sequence[Path]) -> CutOff:
    """The restore that is meant; raises RefusedError where none was cut off, UsageError where it is not clear which."""
    disks: Sequence[Disk] = inventory.scan(known)
    asked = None
    if word is not None:
        asked = inventory.look(device_of(word), known)
        disks = [asked, *(disk for disk in disks if disk.path != asked.path)]
    found = resuming.cut_off(disks)
    if asked is not None:
        found = [cut for cut in found if asked in cut.disks]
    if not found:
        if asked is None:
            raise RefusedError("no restore to a disk of this computer was cut off", code="nothing-cut-off")
        raise RefusedError(
            f"no restore to {asked.name} was cut off: there is nothing to complete", code="nothing-cut-off"
        )
    if len(found) > 1:
        names = ", ".join(name for cut in found for name in cut.names)
        raise UsageError(
            f"several disks are only partly restored: {names}", code="usage", hint="name the one that is meant"
        )
    return found[0]


def _plan(options: Namespace, cut: CutOff, paths: Sequence[Path]) -> RestorePlan:
    also = [library_at(options.saved_in)] if options.saved_in else []
    for library in also:
        passphrases.refuse_plain(library, options)
    known, files = [*paths, *also], not options.no_keep_files
    plan = resuming.plan_completion(cut, known, files=files, accept_unsigned=options.accept_unsigned)
    plan = vouching.refuse_doubtful(plan)
    return resuming.with_files(plan, cut, known) if files else plan
