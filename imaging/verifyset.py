"""Verify several images of a library: each chunk is read once, however many of them need it."""

import threading
import time
from pathlib import Path

from imaging.errors import BadImageError, IoError, RescueError
from imaging.events import BadImage, VerifySetResult
from imaging.imageplans import VerifyPlan, VerifySetPlan
from imaging.library import Library
from imaging.pipeline import Reporter
from imaging.verify import Round, begin, verify_and_note, why_not_matching

_MOST_NAMED = 100
_MOST_VOLUMES = 8
_MOST_WORDS = 300
_WHAT = "several"
"""Whatever images are chosen: those that a verification which was cut off has noted are not chosen again."""


def verify_set(plan: VerifySetPlan, report: Reporter, cancel: threading.Event, job: str) -> VerifySetResult:
    """Carry out a verification of several images; one that is damaged does not keep the others from being looked at.

    Raises BadImageError where the library cannot be used, IoError where it is gone, CancelledError; the error's
    `state` says how far it was.
    """
    began = time.monotonic()
    with begin(plan, _WHAT, cancel) as shared:
        if shared.proven.resumed:
            report.log(f"Read already by a verification that was cut off, in chunks: {shared.proven.resumed}")
        work = _Set(plan, report, cancel, job, shared)
        work.run()
    return VerifySetResult(
        images=work.read,
        chunks=shared.counts["chunks"],
        bytes=shared.counts["bytes"],
        seconds=time.monotonic() - began,
        bad=tuple(work.bad[:_MOST_NAMED]),
        bad_count=len(work.bad),
        unread=sum(one.unread for one in work.bad),
        mended=work.mended,
        unreadable=work.unreadable,
        resumed=shared.proven.resumed,
    )


class _Set:
    """A verification of several images under way."""

    def __init__(self, plan: VerifySetPlan, report: Reporter, cancel: threading.Event, job: str, shared: Round) -> None:
        self._plan, self._report, self._cancel, self._job, self._shared = plan, report, cancel, job, shared
        self.bad: list[BadImage] = []
        self.read = self.mended = self.unreadable = 0

    def run(self) -> None:
        """Verify all, one after the other."""
        plan = self._plan
        for number, image in enumerate(plan.images):
            self._report.log(f"Image {image}, {number + 1} of {len(plan.images)}")
            one = VerifyPlan(
                library=plan.library, image=image, deep=plan.deep, repair_from=plan.repair_from, rate=plan.rate
            )
            try:
                self._verify(one)
            except RescueError as error:
                done = f"Images verified: {self.read} of {len(plan.images)}."
                error.state = f"{done} The next verification goes on from here."
                raise

    def _verify(self, plan: VerifyPlan) -> None:
        try:
            result = verify_and_note(plan, self._report, self._cancel, self._job, self._shared)
        except BadImageError as error:
            if error.code == "no-such-image":
                self._report.log(f"Image {plan.image} was deleted meanwhile")
                return
            self._note(BadImage(image=plan.image, problem=error.message[:_MOST_WORDS]))
        except IoError as error:
            # A bad sector of one image's is not the end of the others; a library that is gone is.
            if error.code != "read-failed":
                raise
            self._note(BadImage(image=plan.image, problem=error.message[:_MOST_WORDS], unread=True))
        else:
            self.mended += result.mended
            self.unreadable += result.unreadable
            if result.bad:
                count = max(result.bad_count, len(result.bad))
                self._note(BadImage(image=plan.image, chunks=count, volumes=result.volumes[:_MOST_VOLUMES]))
            elif why_not_matching(result):
                self._note(BadImage(image=plan.image, problem=why_not_matching(result)))
        self.read += 1

    def _note(self, bad: BadImage) -> None:
        """Keep what is wrong with one image; raises where it is the library that is gone, and not this image."""
        Library.open(Path(self._plan.library))
        self.bad.append(bad)
        self._report.log(f"Image {bad.image} is not right: {_words(bad)}", "warning")


def _words(bad: BadImage) -> str:
    return bad.problem or f"{bad.chunks} of its chunks are corrupt or missing"
