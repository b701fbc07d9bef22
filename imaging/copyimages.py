"""Copy images to another library, such as one that is off site; see imaging.librarycopy."""

import threading
import time
from pathlib import Path

from imaging.access import make_writable
from imaging.encryption import refuse_to_unseal
from imaging.errors import BadImageError, RefusedError, RescueError
from imaging.events import CopyImagesResult
from imaging.imageplans import CopyImagesPlan
from imaging.library import Library
from imaging.librarycopy import copy_image
from imaging.pipeline import Counter, Reporter


def copy_images(plan: CopyImagesPlan, report: Reporter, cancel: threading.Event) -> CopyImagesResult:
    """Carry out a copying, the newest image first; what is there already is not copied again.

    Raises BadImageError where an image is damaged or not there, RefusedError where both are one library, IoError,
    CancelledError: `state` says how many images are in the other library then.
    """
    began = time.monotonic()
    target_path = Path(plan.target)
    make_writable(target_path)
    source = Library.open(Path(plan.library))
    listed = [image.id for image in source.images().images]
    missing = [image for image in plan.images if image not in listed]
    if missing:
        raise BadImageError(f"there is no image {missing[0]!r} in {plan.library}", code="no-such-image")
    target = Library.open_or_create(target_path)
    # An image in a single file bears the id of the library that it came from, and may go back there.
    if target.info.id == source.info.id and not source.single:
        raise RefusedError(f"{plan.library} and {plan.target} are one library", code="same-library")
    if not plan.unseal:
        refuse_to_unseal(source, target)
    counts = Counter()
    done = 0
    try:
        for image in plan.images or listed:
            copy_image(source, target, image, report, cancel, counts, unseal=plan.unseal)
            done += 1
    except RescueError as error:
        error.state = (
            f"Images that were copied before that: {done}. They are whole; the next copying goes on from there."
        )
        raise
    return CopyImagesResult(
        images=done,
        chunks=counts["chunks"],
        new=counts["new"],
        bytes=counts["bytes"],
        seconds=time.monotonic() - began,
    )
