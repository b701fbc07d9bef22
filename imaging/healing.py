"""Chunks that a verification found bad: mended from another library, or set aside so that a later capture stores them.

A chunk is set aside under another name rather than removed: what is left of it may be all that there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging.access import make_writable
from imaging.chunk import MAX_CHUNK_SIZE, is_whole
from imaging.errors import BadImageError, IoError, RescueError
from imaging.library import Library
from imaging.naming import indexes_of, key_of, keys_of
from imaging.pipeline import Reporter

_MOST_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """What became of bad chunks: those that are `mended`, and other images that name what is still bad."""

    mended: frozenset[bytes]
    hurt: tuple[str, ...]


def heal(library: Library, image_id: str, bad: Sequence[bytes], other: Library | None, report: Reporter) -> Healed:
    """Mend chunks from another library, where one is given and has them; set aside the rest, and say whom it hurts.

    What cannot be written is told, and harms nothing. Raises IoError where the other library fails.
    """
    if not bad:
        return Healed(mended=frozenset(), hurt=())
    mended = frozenset(_mend(library, bad, other, report) if other is not None else ())
    left = [chunk for chunk in bad if chunk not in mended]
    _set_aside(library, left, report)
    return Healed(mended=mended, hurt=_hurt(library, image_id, left, report))


def _mend(library: Library, bad: Sequence[bytes], other: Library, report: Reporter) -> list[bytes]:
    make_writable(library.path)
    report.step(f"Mending from {other.path}", len(bad))
    source, target = other.store(from_medium=True), library.store()
    mended = []
    for chunk in bad:
        report.advance(1)
        try:
            frame = bytes(source.get(chunk, MAX_CHUNK_SIZE))
        except BadImageError:
            continue  # the other library does not have it
        if not is_whole(frame, chunk):
            continue  # or has it bad, too
        target.put(chunk, frame)
        mended.append(chunk)
    target.sync()
    report.finish_step()
    report.log(f"Chunks mended: {len(mended)} of {len(bad)}")
    return mended


def _set_aside(library: Library, bad: Sequence[bytes], report: Reporter) -> None:
    store, count = library.store(), 0
    try:
        for chunk in bad:
            count += store.set_aside(chunk)
    except RescueError as error:
        report.log(f"Bad chunks are left where they are: {error.message}", "warning")
    if count:
        report.log(f"Chunks set aside, which the next capture of the same data stores anew: {count}", "warning")


def _hurt(library: Library, image_id: str, bad: Sequence[bytes], report: Reporter) -> tuple[str, ...]:
    """The other images that name one of the chunks, as far as that can be known."""
    store = library.store()
    wanted = {key_of(store.name(chunk)) for chunk in bad}
    if not wanted:
        return ()
    found = []
    for image in library.images().images:
        if image.id == image_id:
            continue
        try:
            if any(not wanted.isdisjoint(keys) for file in indexes_of(library, image.id) for keys in keys_of(file)):
                found.append(image.id)
        except (BadImageError, IoError) as error:
            report.log(f"Whether image {image.id} is hurt, too, cannot be known: {error.message}", "warning")
    for image_id_ in found[:_MOST_TOLD]:
        report.log(f"Image {image_id_} needs a bad chunk, too", "warning")
    return tuple(found)


def library_to_mend_from(path: str) -> Library | None:
    """The library that was given for mending; None where none was. Raises BadImageError, IoError."""
    return Library.open(Path(path)) if path else None
