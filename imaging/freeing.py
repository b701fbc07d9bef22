"""What deleting images, or pruning, will free, and how large a library is: looks only."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from imaging.errors import BadImageError, CancelledError, IoError
from imaging.imageplans import DAY, DeletePlan, DoomedImage, PrunePlan
from imaging.library import Library
from imaging.manifest import Image
from imaging.naming import indexes_in, indexes_of_all, key_of, named_between, named_only_by
from imaging.notes import NOTHING
from imaging.orphans import Orphans
from imaging.remote import mirror_of, refuse_unless_removable
from imaging.retention import Rule, Verdict, judge
from imaging.stores import FOLDERS
from imaging.withdrawn import refuse_pinned, withdrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What a deletion frees: chunks and their compressed bytes; `shared` chunks stay, for other images name them."""

    chunks: int = 0
    bytes: int = 0
    shared: int = 0
    problem: str = ""
    """Why nothing will be freed though the image goes, in words."""


def plan_delete(library: Path, image_id: str) -> DeletePlan:
    """Plan to delete an image, damaged or not.

    Raises BadImageError where there is none of that id, RefusedError where it is pinned.
    """
    found = Library.open(library)
    refuse_unless_removable(found.mirror)
    refuse_pinned(found, image_id)
    try:
        image: Image | None = found.image(image_id)
    except (BadImageError, IoError) as error:
        if error.code == "no-such-image":
            raise
        image = None
    return DeletePlan(
        library=str(library),
        image=image_id,
        created=image.created if image else "",
        label=image.label if image else "",
    )


def freed_by(plan: DeletePlan, cancel: threading.Event) -> Freed:
    """What a deletion will free, as the library is now; takes seconds, or until `cancel`.

    Raises BadImageError, IoError, CancelledError.
    """
    library = Library.open(Path(plan.library))
    store = library.store()
    chunks = size = shared = 0
    try:
        listing = library.images()
        others = indexes_of_all(library, listing, but=(plan.image,))
        doomed = indexes_in(library, plan.image)
        for batch in named_only_by(doomed, others, _stopping(cancel)):
            shared += batch.named - len(batch.alone)
            for chunk in batch.alone:
                _stopping(cancel)(0)
                room = store.room_of(chunk)
                chunks += bool(room)
                size += room
    except BadImageError as error:
        return Freed(problem=error.message)
    return Freed(chunks=chunks, bytes=size, shared=shared)


def plan_prune(
    library: Path, rule: Rule | None, now: datetime, grace: int = DAY
) -> tuple[PrunePlan, Sequence[Verdict]]:
    """Plan a pruning by a rule, or, without one, of chunks that no image names alone; and what becomes of each image.

    Raises UsageError where the rule is empty, BadImageError, IoError.
    """
    opened = Library.open(library)
    refuse_unless_removable(opened.mirror)
    listing = opened.images()
    notes = listing.notes
    verdicts: Sequence[Verdict] = []
    if rule is not None:
        verdicts = judge(listing.images, lambda name: notes.get(name, NOTHING), rule, now, unnoted=listing.unnoted)
    doomed = tuple(
        DoomedImage(id=v.image.id, created=v.image.created, label=v.image.label) for v in verdicts if not v.stays
    )
    return PrunePlan(library=str(library), images=doomed, grace=grace), verdicts


def freed_by_pruning(plan: PrunePlan, cancel: threading.Event) -> Freed:
    """What a pruning will free, as the library is now; takes seconds to minutes, or until `cancel`.

    Raises IoError, CancelledError.
    """
    library = Library.open(Path(plan.library))
    stop = _stopping(cancel)
    chunks = size = 0
    try:
        doomed_chunks = _named(library, plan, stop)
        orphans = Orphans(library, time.time() - plan.grace, [image.id for image in plan.images])
        for first, end in orphans.parts():
            for orphan in orphans.within(first, end, stop):
                if not orphan.young or key_of(orphan.chunk.id) in doomed_chunks:
                    chunks += 1
                    size += orphan.chunk.size
    except BadImageError as error:
        return Freed(problem=error.message)
    return Freed(chunks=chunks, bytes=size)


def _named(library: Library, plan: PrunePlan, stop: Callable[[int], None]) -> set[int]:
    """What the images that go name, and those that went: of that, nothing is too young to be freed."""
    names = [image.id for image in plan.images] + [folder.name for folder in withdrawn(library)]
    files = [file for name in names for file in indexes_in(library, name)]
    return named_between(files, 0, FOLDERS, stop)


def size_of(library: Path, cancel: threading.Event) -> int:
    """Compressed bytes of all chunks, 0 where a web server does not tell; takes seconds, or until `cancel`.

    Raises IoError, CancelledError.
    """
    total = 0
    mirror = mirror_of(library)
    if mirror is not None:
        if mirror.read_only:
            return 0
        for one in mirror.objects.list("chunks"):
            _stopping(cancel)(0)
            total += one.size
        return total
    try:
        with os.scandir(library / "chunks") as folders:
            for folder in folders:
                _stopping(cancel)(0)
                if folder.is_dir(follow_symlinks=False):
                    with os.scandir(folder) as files:
                        total += sum(file.stat(follow_symlinks=False).st_size for file in files)
    except FileNotFoundError:
        return total
    except OSError as error:
        raise IoError(f"{library} cannot be read: {error.strerror}", code="read-failed") from error
    return total


def _stopping(cancel: threading.Event) -> Callable[[int], None]:
    def stop_if_asked(_: int) -> None:
        if cancel.is_set():
            raise CancelledError("stopped")

    return stop_if_asked
