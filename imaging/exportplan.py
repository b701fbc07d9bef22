"""Planning to save an image as a single file: where it can go, under which name, and what it takes there."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from imaging import media, packing, packroom
from imaging.access import refuse_in_library
from imaging.blockdev import real_path
from imaging.errors import RefusedError
from imaging.fileplan import Place, place
from imaging.imageplans import ExportFormat, ExportPlan
from imaging.manifest import Image
from imaging.pack import SUFFIX
from imaging.pipeline import Reporter

_LONGEST = 60
"""Characters of a name, which leaves room for a number and an end on any file system."""
_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleFile:
    """What an image takes as a single file: `size` bytes at most, in so many `pieces`; whether it stays `encrypted`."""

    plan: ExportPlan
    place: Place
    size: int
    pieces: int
    encrypted: bool


def places() -> tuple[Place, ...]:
    """Each disk, stick and share that is mounted and can be written to: at its root a single file is found again."""
    return tuple(place(root) for root in media.mounted(writable=True))


def plan_single_file(library: Path, image: Image, where: Path) -> SingleFile:
    """Save an image in a folder, under a name of its own, or as the file that `where` names. Takes seconds.

    Raises RefusedError where the folder is not there or lies in the library, where the file is there already or has no
    room; UsageError where its path leads nowhere; BadImageError where image or chunks cannot be used; IoError.
    """
    where = real_path(where)
    folder = where.parent if where.name.endswith(SUFFIX) else where
    if not folder.is_dir():
        raise RefusedError(f"there is no folder {folder}", code="not-a-folder", hint="give a folder that is there")
    refuse_in_library(folder, library)
    target = where if folder != where else _free_name(folder, image)
    plan = ExportPlan(
        library=str(library), image=image.id, target=str(target), format=ExportFormat.RESCUE, label=image.label
    )
    ready = packing.prepare(plan, Reporter(len))
    return SingleFile(
        plan=plan,
        place=place(folder),
        size=ready.total,
        pieces=-(-ready.total // ready.limit) if ready.limit else 1,
        encrypted=ready.library.seal is not None,
    )


def _free_name(folder: Path, image: Image) -> Path:
    """The image's label, or its id, as a name that any file system takes and that is free. Raises RefusedError."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", image.label).strip("-.")[:_LONGEST] or image.id
    numbered = (f"{stem}-{number}" for number in range(2, _MOST_NAMES))
    for name in itertools.chain((stem,), numbered):
        target = folder / f"{name}{SUFFIX}"
        try:
            packroom.refuse_if_there(target)
        except RefusedError:
            continue
        return target
    raise RefusedError(f"{folder} has too many files of that name", code="exists", hint="give another name")
