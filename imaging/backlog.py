"""Which images of a library wait for a verification."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from imaging.imageplans import VerifySetPlan
from imaging.library import Library, Listing
from imaging.manifest import Image
from imaging.notes import NOTHING, Notes


def unverified(listing: Listing) -> Sequence[Image]:
    """The images that nobody has ever verified, the oldest first."""
    found = [image for image in listing.images if listing.notes.get(image.id, NOTHING).verified is None]
    return sorted(found, key=lambda image: (image.created, image.id))


def plan_verify_set(library: Library, now: datetime, older_than: int | None = None) -> VerifySetPlan:
    """Plan to verify all images, or those that were not found right in the last `older_than` days.

    Damaged ones are among them. Those that nobody has verified come first, then those that wait the longest. Raises
    IoError.
    """
    listing = library.images()
    waiting = [image.id for image in _by_wait(listing.images, listing.notes)]
    if older_than is not None:
        since = now - timedelta(days=older_than)
        waiting = [image for image in waiting if not _right_since(listing.notes.get(image, NOTHING), since, now)]
    damaged = [image.id for image in listing.damaged]
    return VerifySetPlan(library=str(library.path), images=(*waiting, *damaged))


def _by_wait(images: Sequence[Image], notes: Mapping[str, Notes]) -> Sequence[Image]:
    def when(image: Image) -> str:
        last = notes.get(image.id, NOTHING).verified
        return last.when if last is not None else ""

    return sorted(images, key=lambda image: (when(image), image.created, image.id))


def _right_since(notes: Notes, since: datetime, now: datetime) -> bool:
    """Whether an image was found right since then; a date that cannot be, or that cannot be read, says nothing."""
    last = notes.verified
    if last is None or not last.good:
        return False
    try:
        when = datetime.fromisoformat(last.when)
    except ValueError:
        return False
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return since <= when <= now
