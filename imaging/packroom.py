"""Whether an image has room as a single file, in how many pieces, and whether its name is free."""

import os
import re
from pathlib import Path

from imaging import mounts, outfile
from imaging.disk import format_size
from imaging.durable import written
from imaging.errors import RefusedError
from imaging.packformat import MOST_PIECES, piece_of

_FAT = ("vfat", "msdos")
FAT_PIECE = (4 << 30) - (64 << 10)
"""Bytes of a piece on FAT, where no file has 4 GiB: a whole number of the largest clusters."""


def piece_size(target: Path, wanted: int, total: int) -> int:
    """Bytes of a piece; 0 where one file will do. Raises RefusedError where there would be too many."""
    most = FAT_PIECE if mounts.kind_beneath(target) in _FAT else 0
    limit = min(wanted or most, most or wanted)
    if not limit or total <= limit:
        return 0
    if total > limit * MOST_PIECES:
        raise too_many()
    return limit


def too_many() -> RefusedError:
    """More pieces than the names of pieces count."""
    return RefusedError(
        f"the image would need more than {MOST_PIECES} pieces",
        code="too-large",
        hint="choose larger pieces with --piece-size, or a medium with exFAT",
    )


def refuse_if_there(target: Path) -> None:
    """Raise RefusedError where the file is there already, or a piece of one of that name."""
    outfile.refuse_if_there(target)
    piece = re.compile(re.escape(target.name) + r"\.[0-9]{3}")
    with written(target), os.scandir(target.parent) as entries:
        there = sorted(entry.name for entry in entries if piece.fullmatch(entry.name))
    if there and piece_of(there[0])[1] != 1:
        raise RefusedError(
            f"{target.with_name(there[0])} is there already, without a first piece",
            code="exists",
            hint="it is of no use where an export was cut off: remove it then, or give another name",
        )
    if there:
        outfile.refuse_if_there(target.with_name(there[0]))


def refuse_without_room(target: Path, total: int) -> None:
    """Raise RefusedError where so many bytes are not free there; IoError."""
    with written(target):
        status = os.statvfs(target.parent)
    room = status.f_bavail * status.f_frsize
    if status.f_blocks and room < total:
        raise RefusedError(
            f"there is not enough room for {target}: it needs {format_size(total)}, and {format_size(room)} are free",
            code="no-space",
            hint="free some room, or use a larger disk",
        )
