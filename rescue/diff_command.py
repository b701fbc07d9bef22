"""`rescue diff IMAGE IMAGE|TARGET`: which volumes differ, and by how much."""

import argparse
import sys
import threading
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from imaging import differences, inventory
from imaging.blockdev import real_path
from imaging.chunk import CHUNK_SIZE
from imaging.content import Content
from imaging.differences import DiskDifference, State, VolumeDifference
from imaging.disk import Disk
from imaging.errors import CancelledError, ExitStatus, RescueError
from imaging.planner import plan_verify
from rescue.commands import print_json, print_lines
from rescue.finding import Found, find
from rescue.formats import clean, columns, format_size, joined, quoted
from rescue.language import N_, _
from rescue.progressline import ProgressLine
from rescue.targeting import device_of

_STATES = {
    State.SAME: N_("the same"),
    State.DIFFERENT: N_("differs"),
    State.ADDED: N_("only in the second"),
    State.REMOVED: N_("only in the first"),
}


def add_diff(command: argparse.ArgumentParser) -> None:
    """The options of `rescue diff`."""
    command.add_argument("image", metavar="IMAGE")
    command.add_argument(
        "other", metavar="IMAGE|TARGET", help=_("another image, or a disk or disk file, which is read")
    )
    command.add_argument("--disk", default="", metavar="NAME", help=_("which disk of the image to compare"))
    command.set_defaults(run=diff)


def diff(options: Namespace) -> int:
    """`rescue diff`: 7 where anything differs."""
    first = find(options)
    second = _second(options)
    cancel = threading.Event()
    progress = ProgressLine(shown=sys.stderr.isatty() and not options.json)
    try:
        if isinstance(second, Disk):
            found = [_with_disk(first, second, options.disk, cancel, progress)]
        else:
            found = list(differences.between_images(first.library, first.image, second.library, second.image, cancel))
    except KeyboardInterrupt:
        cancel.set()
        raise CancelledError("stopped: nothing was written") from None
    finally:
        progress.end()
    same = all(disk.state is State.SAME for disk in found)
    if options.json:
        print_json({"state": State.SAME if same else State.DIFFERENT, "disks": [_value(disk) for disk in found]})
    else:
        print_lines(diff_lines(found, in_chunks=not isinstance(second, Disk)))
    return ExitStatus.DONE if same else ExitStatus.DIFFERS


def _second(options: Namespace) -> Found | Disk:
    """Another image, where there is one of that name; else what must be a disk."""
    try:
        return find(Namespace(library=options.library, image=options.other))
    except RescueError as error:
        path = device_of(options.other)
        if error.code != "no-such-image" or not real_path(path).exists():
            raise
        return inventory.look(path)


def _with_disk(first: Found, disk: Disk, name: str, cancel: threading.Event, progress: ProgressLine) -> DiskDifference:
    plan = plan_verify(Path(first.library.path), first.image, disk=name, against=disk)
    imaged = next(source for source in first.image.disks if source.name == plan.disk)
    return differences.with_disk(Content.load(first.library, first.image, imaged), disk, cancel, progress)


def _value(disk: DiskDifference) -> dict[str, Any]:
    volumes = [{**msgspec.to_builtins(volume), "equal": volume.equal} for volume in disk.volumes]
    return {**msgspec.to_builtins(disk), "volumes": volumes}


def diff_lines(found: Sequence[DiskDifference], *, in_chunks: bool) -> list[str]:
    """What differs; `in_chunks` where no more is known than which parts of a chunk's size do."""
    lines = []
    for disk in found:
        names = joined(clean(disk.disk), clean(disk.other) if disk.other != disk.disk else "", by=" / ")
        lines.append(_("{disk}: {state}").format(disk=names, state=_(_STATES[disk.state])))
        rows = [["", _("partition table"), "", _(_STATES[disk.table]), ""]]
        rows += [_row(volume) for volume in disk.volumes]
        if disk.outside is not None:
            rows.append(["", _("outside of volumes"), "", _(_STATES[disk.outside]), ""])
        lines += ["  " + line for line in columns(rows)]
    if any(volume.different for disk in found for volume in disk.volumes):
        size = format_size(CHUNK_SIZE)
        words = _("What differs is known in parts of {size}.").format(size=size)
        lines.append(words if in_chunks else _("{words} The disk was only read.").format(words=words))
    return lines


def _row(volume: VolumeDifference) -> list[str]:
    number = _("all of it") if not volume.number else str(volume.number)
    moved = f"{number} / {volume.other}" if volume.other != volume.number else number
    what = joined(clean(volume.kind), quoted(volume.label), by=" ")
    size = format_size(volume.compared)
    if volume.state is State.DIFFERENT:
        words = _("{different} of {size}").format(different=format_size(volume.different), size=size)
    else:
        words = size
    return ["", moved, what, _(_STATES[volume.state]), words]
