"""Prune a library: delete images that a rule does not keep, then every chunk that no image names.

Killed at any moment, no image that is listed lacks a chunk, and the next pruning goes on from there.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from imaging.access import make_writable
from imaging.errors import BadImageError, RefusedError, RescueError
from imaging.events import PruneResult
from imaging.imageplans import PrunePlan
from imaging.library import Library
from imaging.orphans import Orphan, Orphans
from imaging.pipeline import Reporter
from imaging.sweep import Sweep, refuse_if_changed, stop_if_asked
from imaging.withdrawn import withdraw
from imaging.writers import Deleter


def prune(plan: PrunePlan, report: Reporter, cancel: threading.Event) -> PruneResult:
    """Carry out a pruning.

    Raises RefusedError while anyone else is at work in the library or where an image is not as it was shown, IoError,
    CancelledError. The error's `state` says which images are gone.
    """
    began = time.monotonic()
    path = Path(plan.library)
    make_writable(path)
    library = Library.open(path)
    with Deleter(library) as mark:
        for image in plan.images:
            refuse_if_changed(library, image.id, image.created)
            why = library.why_unnoted(image.id)
            if why:
                # The rule was asked when they could be: a pin that came since would be overlooked.
                raise RefusedError(
                    f"whether image {image.id} is pinned cannot be known: {why}", code="pinned", hint="start anew"
                )
        work = _Prune(library, mark, report, cancel)
        try:
            work.delete(plan)
            work.clear(plan)
        except RescueError as error:
            gone = ", ".join(work.gone)
            error.state = f"These images are deleted: {gone}. Room is freed by the next pruning." if gone else ""
            raise
    swept = work.sweep.swept
    return PruneResult(
        images=tuple(work.gone),
        chunks=swept.chunks + work.orphans,
        freed=swept.bytes + work.freed,
        orphans=work.orphans,
        young=work.young,
        seconds=time.monotonic() - began,
        unfreed=swept.unfreed or work.unfreed,
    )


class _Prune:
    """A pruning under way."""

    def __init__(self, library: Library, mark: Deleter, report: Reporter, cancel: threading.Event) -> None:
        self._library, self._mark, self._report, self._cancel = library, mark, report, cancel
        self._store = library.store()
        self.sweep = Sweep(library, mark, report, cancel)
        self.gone: list[str] = []
        self.orphans = self.freed = self.young = 0
        self.unfreed = ""

    def delete(self, plan: PrunePlan) -> None:
        """Take the images from the list, and free what they alone named, and what earlier deletions left."""
        self._report.step("Taking images from the list")
        for image in plan.images:
            stop_if_asked(self._cancel)
            self._mark.beat()
            withdraw(self._library, image.id)
            self.gone.append(image.id)
        self.sweep.run()

    def clear(self, plan: PrunePlan) -> None:
        """Remove the chunks that no image names; none where it cannot be known what images name."""
        listed = self.sweep.listed()
        try:
            orphans = Orphans(self._library, time.time() - plan.grace)
            self._report.step("Looking for what no image uses", orphans.bytes_to_read)
            for first, end in orphans.parts():
                self._remove(orphans.within(first, end, self._advance), listed)
        except BadImageError as error:
            self.unfreed = error.message
            self._report.log(f"What no image uses cannot be known: {error.message}", "warning")
        self._store.sync()
        self._report.finish_step()

    def _advance(self, count: int) -> None:
        stop_if_asked(self._cancel)
        self._mark.beat()
        self._report.advance(count)

    def _remove(self, orphans: Iterator[Orphan], listed: list[str]) -> None:
        for size in self._store.remove_all(self._old(orphans, listed)):
            self.orphans += bool(size)
            self.freed += size

    def _old(self, orphans: Iterator[Orphan], listed: list[str]) -> Iterator[bytes]:
        """The orphans that may go; before the first of them, once more, whether the library is as it was."""
        checked = False
        for orphan in orphans:
            self._advance(0)
            if orphan.young:
                self.young += orphan.chunk.size
                continue
            if not checked:
                self.sweep.refuse_if_others_came(listed)
                checked = True
            yield orphan.chunk.id
