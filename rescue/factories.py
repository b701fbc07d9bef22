"""Which factory images were made for this computer, and which image undoes the last restore."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging import matching
from imaging.disk import Disk
from imaging.errors import BadImageError, RefusedError
from imaging.manifest import Image, ImagedDisk, Machine
from imaging.notes import FactoryState, Notes
from rescue.formats import clean
from rescue.report import label_words
from rescue.shelf import is_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One factory image, and whether it was made for this computer."""

    library: Path
    image: Image
    state: FactoryState
    fits: bool

    @property
    def name(self) -> str:
        """What it is called to a person."""
        return clean(self.state.name) or (label_words(self.image) if self.image.label else clean(self.image.id))

    @property
    def exactness(self) -> int:
        """How much it says of the computers that it was made for."""
        return matching.exactness(self.state.match)


def offers(found: Iterable[tuple[Path, Image, FactoryState]], here: Machine) -> list[Offer]:
    """Those that were made for this computer first, of these the ones that name it most exactly, then the newest."""
    all_ = [
        Offer(library=library, image=image, state=state, fits=matching.is_for(state.match, here))
        for library, image, state in found
    ]
    return sorted(
        sorted(all_, key=lambda offer: (offer.image.created, offer.image.id), reverse=True),
        key=lambda offer: (not offer.fits, -offer.exactness),
    )


def only_one(found: Sequence[Offer]) -> Offer:
    """The factory image that is meant where nobody says which; raises BadImageError or RefusedError."""
    fitting = [offer for offer in found if offer.fits]
    if not found:
        raise BadImageError(
            "no image here is marked as a factory image",
            code="no-factory-image",
            hint="`rescue factory set IMAGE` marks one",
        )
    if not fitting:
        raise RefusedError(
            f"none of the factory images here was made for this computer: {_named(found)}",
            code="not-here",
            hint="name one, with --other-computer, where it is meant all the same",
        )
    best = [offer for offer in fitting if offer.exactness == fitting[0].exactness]
    if len(best) > 1:
        raise RefusedError(
            f"several factory images were made for this computer: {_named(best)}",
            code="ambiguous-image",
            hint="name the one that is meant",
        )
    return best[0]


def _named(found: Sequence[Offer]) -> str:
    return ", ".join(f"{offer.image.id} ({offer.name})" for offer in found[:4]) + (", .." if len(found) > 4 else "")


def target_by_rule(offer: Offer, here: Machine, disks: Iterable[Disk]) -> Disk | None:
    """The disk that the mark's own rule means; None where it has none, or the image has several disks.

    Raises RefusedError where no disk is as the rule says, or several are.
    """
    if offer.state.disk is None or len(offer.image.disks) != 1:
        return None
    found = matching.Found(machine=here, disks=tuple(disks), library=offer.library, files={})
    return matching.find_disk(offer.state.disk, found)


def newest_saved(found: Iterable[tuple[Path, Image, Notes]], here: Machine) -> tuple[Path, Image, Notes] | None:
    """The newest safety image of this computer that undoes something; None where there is none."""
    return next(iter(all_saved(found, here)), None)


def all_saved(found: Iterable[tuple[Path, Image, Notes]], here: Machine) -> list[tuple[Path, Image, Notes]]:
    """The safety images of this computer that undo something, the newest first."""
    mine = [
        (library, image, noted)
        for library, image, noted in found
        if noted.before and not noted.void and (is_of(here, image) or image.machine == here)
    ]
    return sorted(mine, key=lambda one: (one[1].created, one[1].id), reverse=True)


def saved_disk(disk: ImagedDisk, there: Iterable[Disk]) -> Disk | None:
    """The disk that was saved; None where it is not here any more, or where two bear its identity."""
    same = [one for one in there if (one.id.wwn or one.id.serial) and disk.id.same_disk(one.id)]
    return same[0] if len(same) == 1 else None
