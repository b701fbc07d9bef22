"""All images of all libraries that are attached, with what is noted of each: what the lists of images show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import RescueError
from imaging.manifest import Image, Machine
from imaging.notes import NOTHING, Notes
from imaging.signatures import UNSIGNED, Standing
from rescue.backend import Backend
from rescue.care import INDENT, fact_line, verified_words
from rescue.formats import clean, format_place, format_size
from rescue.language import _
from rescue.telling import told


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image, and the library that it stands in; without `image` it is damaged, and `problem` says how."""

    library: Path
    id: str
    image: Image | None = None
    notes: Notes = NOTHING
    problem: str = ""
    factory: bool = False
    """Whether it is marked as the library's factory image."""
    standing: Standing = UNSIGNED
    """What its signatures say."""

    @property
    def key(self) -> str:
        """Its own wherever it stands in a list: one that is read again may have others before it."""
        return f"{self.library}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """One library: how many images, and the free room on its medium, None where that cannot be told."""

    library: Path
    count: int
    room: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """All that was found: this computer's images first, the newest first, and the damaged ones last."""

    here: Machine
    libraries: tuple[Path, ...]
    """All that were asked for, also those that could not be read."""
    stands: tuple[Stand, ...]
    items: tuple[Item, ...]
    problems: tuple[str, ...]
    """What could not be read, in words."""
    locked: tuple[Path, ...] = ()
    """Encrypted libraries whose passphrase nobody has given yet."""
    ignored: tuple[str, ...] = ()
    """Notes and marks that cannot be used, in words."""

    @property
    def good(self) -> Sequence[Item]:
        """Those that can be used."""
        return [item for item in self.items if item.image is not None]

    @property
    def damaged(self) -> Sequence[Item]:
        """Those that can not."""
        return [item for item in self.items if item.image is None]

    def item(self, key: str | None) -> Item | None:
        """The image of that key."""
        return next((item for item in self.items if item.key == key), None)


def is_of(machine: Machine, image: Image) -> bool:
    """Whether an image was captured on a computer: by its serial number or, where none has one, by all else."""
    there = image.machine
    if there.serial or machine.serial:
        return there.serial == machine.serial
    names = (there.vendor, there.model, there.hostname)
    return bool(there.model) and names == (machine.vendor, machine.model, machine.hostname)


def gather(backend: Backend, libraries: Sequence[Path]) -> Shelf:
    """Read all libraries; one that cannot be read does not hide the others."""
    here = backend.machine()
    stands, good, damaged, problems, ignored, locked = [], [], [], [], [], []
    for library in libraries:
        try:
            listing = backend.images(library)
        except RescueError as error:
            if error.code == "passphrase-needed":
                locked.append(library)
                continue
            place = format_place(library)
            named = "" if str(library) in error.message or place in error.message else f"{place}: "
            problems.append(clean(named + told(error.message)))
            continue
        marked = ""
        try:
            marked = backend.factory_image(library)
        except RescueError as error:
            ignored.append(clean(told(error.message)))
        signed: Mapping[str, Standing] = {}
        try:
            signed = backend.signatures(library, [image.id for image in listing.images])
        except RescueError as error:
            ignored.append(clean(told(error.message)))
        good += [
            Item(
                library=library,
                id=image.id,
                image=image,
                notes=listing.notes.get(image.id, NOTHING),
                factory=image.id == marked or listing.notes.get(image.id, NOTHING).factory is not None,
                standing=signed.get(image.id, UNSIGNED),
            )
            for image in listing.images
        ]
        damaged += [Item(library=library, id=bad.id, problem=bad.problem) for bad in listing.damaged]
        ignored += [clean(told(words)) for words in listing.ignored]
        count = len(listing.images) + len(listing.damaged)
        stands.append(Stand(library=library, count=count, room=backend.free_room(library)))
    good.sort(key=lambda item: _order(item, here), reverse=True)
    return Shelf(
        here=here,
        libraries=tuple(libraries),
        stands=tuple(stands),
        items=(*good, *damaged),
        problems=tuple(problems),
        locked=tuple(locked),
        ignored=tuple(ignored),
    )


def _order(item: Item, here: Machine) -> tuple[bool, str, str]:
    image = item.image
    return (image is not None and is_of(here, image), image.created if image else "", item.id)


def locked_lines(shelf: Shelf) -> list[str]:
    """What there is to say of libraries that are still closed."""
    return [_("{library} is encrypted: press u to open it").format(library=clean(str(path))) for path in shelf.locked]


def noted_lines(item: Item) -> list[str]:
    """What is noted of an image, in a few lines."""
    if item.image is None:
        return [fact_line(_("DAMAGED"), clean(told(item.problem))), fact_line(_("Library"), format_place(item.library))]
    lines = [fact_line(_("Image"), clean(item.id)), fact_line(_("Verified"), verified_words(item.notes))]
    if item.notes.pinned:
        lines.append(fact_line(_("Pinned"), _("yes: it is not deleted")))
    return [*lines, fact_line(_("Note"), clean(item.notes.text))] if item.notes.text else lines


def lost_lines(item: Item) -> list[str]:
    """What can no longer be done once an image is deleted, in plain words."""
    if item.image is None:
        return [_("LOST: whatever could still be saved of it"), INDENT + clean(told(item.problem))]
    disks = ", ".join(f"{clean(disk.name)} ({format_size(disk.size)})" for disk in item.image.disks)
    words = _("LOST: {disks} can no longer be put back as on that day").format(disks=disks)
    note = [INDENT + _("Note: {text}").format(text=clean(item.notes.text))] if item.notes.text else []
    return [words, INDENT + _("this cannot be undone"), *note]


def others_of(backend: Backend, item: Item) -> int | None:
    """How many other sound images there are of the computer that an image was captured on; takes seconds.

    None where the image does not say which one that was.
    """
    if item.image is None or not item.image.machine.serial:
        return None
    shelf = gather(backend, backend.libraries())
    same = [one for one in shelf.items if one.image is not None and is_of(item.image.machine, one.image)]
    return sum(one.id != item.id for one in same)
