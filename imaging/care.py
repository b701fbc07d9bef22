"""What a person changes of a library, beside what it holds: an empty one is made, an image's label, notes, marks."""

from dataclasses import replace
from pathlib import Path

from imaging import notes
from imaging.access import make_writable
from imaging.factory import unmark_factory_image
from imaging.library import Library
from imaging.notes import FactoryState, Notes


def init(library: Path) -> Library:
    """Make an empty library. Raises RefusedError where it cannot be made there, IoError."""
    make_writable(library)
    return Library.create(library)


def rename(library: Path, image_id: str, label: str) -> Notes:
    """Give an image another label. Raises UsageError where it cannot be one, BadImageError, IoError."""
    words = notes.label(label)
    make_writable(library)
    return Library.open(library).annotate(image_id, lambda noted: replace(noted, label=words))


def note(library: Path, image_id: str, text: str) -> Notes:
    """Replace an image's notes. Raises UsageError where they are too long, BadImageError, IoError."""
    words = notes.text(text)
    make_writable(library)
    return Library.open(library).annotate(image_id, lambda noted: replace(noted, text=words))


def pin(library: Path, image_id: str, *, pinned: bool) -> Notes:
    """Keep an image from being deleted, or allow it again. Raises BadImageError, IoError."""
    make_writable(library)
    return Library.open(library).annotate(image_id, lambda noted: replace(noted, pinned=pinned))


def mark_factory(library: Path, image_id: str, state: FactoryState | None) -> Notes:
    """Make an image a factory image, or with None an ordinary one again. Raises BadImageError, IoError."""
    make_writable(library)
    there = Library.open(library)
    noted = there.annotate(image_id, lambda noted: replace(noted, factory=state))
    if state is None:
        unmark_factory_image(there.root, image_id)
    return noted
