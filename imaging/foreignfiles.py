"""What kind of foreign image stands at a path."""

import threading
from itertools import islice
from pathlib import Path

from imaging.blockdev import is_block_device, real_path
from imaging.clonezilla import is_clonezilla, open_clonezilla
from imaging.durable import reading
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.foreign import MOST_BYTES, ForeignImage
from imaging.machinedisk import format_of, open_machine, parts_of
from imaging.pack import SUFFIX, first_piece, is_pack
from imaging.packformat import ends_as_index, piece_of
from imaging.rawfile import open_raw

_MOST_FILES = 1 << 16


def open_foreign(path: Path, cancel: threading.Event) -> ForeignImage:
    """Find out what an image is, and open it; nothing of it is changed.

    Raises UsageError where there is none, BadImageError where it is damaged, RefusedError where it is not handled,
    IoError, and CancelledError once `cancel` is set.
    """
    found = _opened(path, cancel)
    for disk in found.disks:
        if disk.size is not None and disk.size > MOST_BYTES:
            raise RefusedError(
                f"{disk.name} has {disk.size:,} bytes; {MOST_BYTES:,} are the most that can be imported",
                code="too-large",
            )
    return found


def files_of(path: Path) -> tuple[Path, ...]:
    """What a foreign image consists of: a file and those that it names, or a folder and its files. Raises IoError."""
    real = real_path(path)
    with reading(real):
        if real.is_dir():
            return (path, *sorted(islice(path.iterdir(), _MOST_FILES)))
        return (path, *(parts_of(real) if real.is_file() else ()))


def _opened(path: Path, cancel: threading.Event) -> ForeignImage:
    real = real_path(path)
    with reading(real):
        if is_block_device(str(real)):
            raise UsageError(f"{path} is a disk, not an image of one", code="not-a-file", hint="use rescue capture")
        if is_clonezilla(real):
            return open_clonezilla(real)
        if real.is_dir():
            raise UsageError(
                f"{path} is a folder, and none that Clonezilla saved",
                code="not-a-file",
                hint="an image in a library is named by its id: rescue images --library DIR",
            )
        if not real.is_file():
            raise UsageError(f"{path}: there is no such file", code="no-such-file")
        if is_pack(first_piece(real)):
            raise UsageError(
                f"{path} is an image of Rescue in a single file, not a disk",
                code="not-foreign",
                hint="give it as a library: --library FILE",
            )
        kind = format_of(real)
        if kind is None:
            _refuse_part_of_ours(real)
    return open_raw(real) if kind is None else open_machine(real, kind, cancel)


def _refuse_part_of_ours(path: Path) -> None:
    """Raise BadImageError for a piece of an image in a single file: what it holds is no disk, however it is called."""
    if piece_of(path.name)[0].endswith(SUFFIX) or ends_as_index(path):
        raise BadImageError(
            f"{path} is a piece of an image of Rescue, or what is left of one, and no copy of a disk",
            code="bad-image-file",
            hint=f"put it beside its first piece, whose name ends in {SUFFIX}.001; a copy of a disk needs another name",
        )
