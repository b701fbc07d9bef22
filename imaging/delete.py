"""Delete an image: first it disappears from the list, then the chunks go that no other image names.

Killed at any moment, no image that is listed lacks a chunk, and the next deletion frees what this one did not.
"""

import threading
import time
from pathlib import Path

from imaging.access import make_writable
from imaging.errors import RescueError
from imaging.events import DeleteResult
from imaging.imageplans import DeletePlan
from imaging.library import Library
from imaging.pipeline import Reporter
from imaging.sweep import Sweep, refuse_if_changed, stop_if_asked
from imaging.withdrawn import withdraw
from imaging.writers import Deleter


def delete(plan: DeletePlan, report: Reporter, cancel: threading.Event) -> DeleteResult:
    """Carry out a deletion.

    Raises RefusedError while anyone else is at work in the library or where the image is not as it was shown, IoError,
    CancelledError. Once the image is gone the error's `state` says so.
    """
    path = Path(plan.library)
    make_writable(path)
    library = Library.open(path)
    with Deleter(library) as mark:
        refuse_if_changed(library, plan.image, plan.created)
        stop_if_asked(cancel)
        report.step("Taking the image from the list")
        began = time.monotonic()
        withdraw(library, plan.image)
        try:
            swept = Sweep(library, mark, report, cancel).run()
        except RescueError as error:
            error.state = (
                f"The image {plan.image} is deleted. Room that only it used is freed by the next deletion in this "
                "library."
            )
            raise
    return DeleteResult(
        image=plan.image,
        chunks=swept.chunks,
        freed=swept.bytes,
        shared=swept.shared,
        seconds=time.monotonic() - began,
        unfreed=swept.unfreed,
    )
