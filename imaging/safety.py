"""A safety image: what is on a restore's targets, saved before it is erased, so that the restore can be undone."""

import threading
from dataclasses import replace
from pathlib import Path

from imaging.access import make_writable, writable
from imaging.capture import capture
from imaging.disk import Disk, TableKind
from imaging.errors import BadImageError, CancelledError, IoError, RescueError
from imaging.imageplans import CapturePlan, VerifyPlan
from imaging.library import Library
from imaging.notes import NOTHING
from imaging.pipeline import Reporter
from imaging.restoreplans import RestorePlan
from imaging.safetyplan import plan_safety
from imaging.verify import verify

_PIECE = 4 << 20
"""Bytes that are read at a time."""
_ANEW = "start it once more: what is bad was set aside, and is stored anew; check the disk of that library"
_GONE = (
    "nothing is left of it on the disk, which is empty: restore without a safety image; check the disk of that library"
)
"""What there was before the disk erased itself cannot be stored anew, however often it is started."""


def save_first(plan: RestorePlan, report: Reporter, cancel: threading.Event, tool: str) -> str:
    """Capture the targets as they are into the library `plan.safety`; returns the image's id, with which that is noted.

    All of it is read back: what the library had already is not stored anew, and may be bad by now. Raises what a
    capture raises, and IoError where some of it could not be read, there or here; `state` says that nothing was erased.
    """
    library = Path(plan.safety)
    try:
        wanted = plan_safety(plan, library)
        if (earlier := _of_erased(wanted, library)) and all(_is_empty(disk, report, cancel) for disk in wanted.disks):
            make_writable(library)
            report.log(f"What was there before it was erased is image {earlier}: nothing is saved anew.")
            _refuse_bad(library, earlier, _GONE, report, cancel)
            return earlier
        captured = capture(wanted, report, cancel, tool)
        if captured.unreadable:
            raise IoError(
                f"image {captured.image} of what is there lacks {captured.unreadable:,} bytes that could not be read",
                code="source-unreadable",
                hint="see what of it can be saved, or restore without a safety image",
            )
        # Noted before it is read back: cut off in that, it is no backup that somebody might take for the newest. That
        # it undoes something is noted as the first byte is about to be written: imaging.heldtarget.
        Library.open(library).annotate(captured.image, lambda noted: replace(noted, before=plan.image, void=True))
        _refuse_bad(library, captured.image, _ANEW, report, cancel)
    except RescueError as error:
        error.state = "Nothing was erased: what is there could not be saved first."
        raise
    report.log(f"What was there is image {captured.image}: restoring that undoes this.")
    return captured.image


def _of_erased(wanted: CapturePlan, library: Path) -> str:
    """The image of what the disks held before they began to erase themselves; empty where they hold anything known.

    Cut off in that they have lost their marks, too. Saved anew, nothing would be the newest that `rescue undo` finds.
    """
    if wanted.only or not all(_may_be_empty(disk) for disk in wanted.disks):
        return ""
    try:
        listing = Library.open(library).images()
    except BadImageError as error:
        if error.code == "not-a-library":
            return ""  # it is made only now
        raise
    for image in listing.images:
        noted = listing.notes.get(image.id, NOTHING)
        same = all(any(source.id.same_disk(disk.id) for source in image.disks) for disk in wanted.disks)
        if noted.erasing and not noted.void and same:
            return image.id
    return ""


def _may_be_empty(disk: Disk) -> bool:
    """Whether nothing is known to be on it; and by its mark it can be no other of the same kind."""
    known = disk.id.wwn or disk.id.serial or disk.regular_file
    return bool(known) and not disk.problem and disk.table.kind is TableKind.NONE and not disk.content.kind


def _is_empty(disk: Disk, report: Reporter, cancel: threading.Event) -> bool:
    """Whether it holds one byte over and over, from its first to its last: what is encrypted bears no mark either.

    Of a drive that has thrown its key away the rest reads as anything: that is saved anew.
    """
    report.step(f"Reading whether {disk.name} holds anything", disk.id.size)
    found = b""
    try:
        with Path(disk.path).open("rb", buffering=0) as file:
            while data := file.read(_PIECE):
                if cancel.is_set():
                    raise CancelledError("stopped because somebody asked")
                found = found or data[:1]
                if data.count(found) != len(data):
                    return False
                report.advance(len(data))
    except OSError:
        return False
    report.finish_step()
    return True


def _refuse_bad(library: Path, image: str, hint: str, report: Reporter, cancel: threading.Event) -> None:
    found = verify(VerifyPlan(library=str(library), image=image), report, cancel)
    count = max(found.bad_count, len(found.bad))
    if count:
        raise IoError(
            f"image {image} of what is there is damaged in its library: chunks that are not right: {count}",
            code="corrupt-chunk",
            hint=hint,
        )


def let_go(library: Path, image: str, report: Reporter) -> None:
    """Nothing waits in a safety image any more: it can be deleted, as others can. Whatever comes of that."""
    try:
        # What completes a restore finds it mounted read-only, and has captured nothing into it.
        with writable(library):
            Library.open(library).annotate(image, lambda noted: replace(noted, pinned=False))
    except (RescueError, OSError) as error:
        report.log(f"that image {image} can be deleted now could not be noted: {error}", "warning")
