"""Pieces of an image that have their names already when their export is killed: what is noted of them, so that they go.

They are nothing without the first one, which is named last; but the next export would not take their names.
"""

import glob
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from imaging import outfile, packformat
from imaging.durable import create, write_all
from imaging.errors import BadImageError
from imaging.packformat import MARKED, MOST_PIECES
from imaging.regular import open_regular, read_regular

_NOTE = "pieces"
_MOST = 256 * MOST_PIECES
_LARGEST = 1 << 62


def note(target: Path, heads: Sequence[bytes]) -> Path:
    """Note beside the target how its pieces begin, before any has its name; the note. Raises OSError."""
    path = outfile.unfinished(target.with_name(f"{target.name}.{_NOTE}"))
    fd = create(path)
    try:
        write_all(fd, msgspec.json.encode([packformat.mark(head) for head in heads]))
        os.fsync(fd)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return path


def sweep(target: Path) -> None:
    """Remove pieces that a killed export has left, where its first one never got its name. Raises OSError."""
    first = target.with_name(f"{target.name}.001")
    for noted in target.parent.glob(f".{glob.escape(target.name)}.{_NOTE}.*-*.part"):
        unnamed = noted.with_name(f".{first.name}{noted.name.removeprefix(f'.{target.name}.{_NOTE}')}")
        if outfile.is_left(noted) and unnamed.exists() and not os.path.lexists(first):
            with suppress(BadImageError, msgspec.DecodeError):
                marks = msgspec.json.decode(read_regular(noted, _MOST), type=list[str])
                for number, mark in enumerate(marks, 1):
                    _remove(target.with_name(f"{target.name}.{number:03}"), mark)


def _remove(piece: Path, mark: str) -> None:
    """Remove a piece that begins as it was noted: no other export writes the same, for its members bear its time."""
    with suppress(FileNotFoundError, BadImageError):
        fd = open_regular(piece, _LARGEST)
        try:
            same = packformat.mark(os.pread(fd, MARKED, 0)) == mark
        finally:
            os.close(fd)
        if same:
            piece.unlink()
