"""The process that carries out one plan: `python -m imaging.worker JOB`.

It holds the job's lock while it lives, appends events to the job's folder, and stops between two chunks on SIGTERM.
"""

import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from imaging import __version__, credentials, events, jobs, keyring, objects, owndisk
from imaging.bootcheck import refuse_if_damaged
from imaging.capture import capture
from imaging.check import check, refuse_unless_able
from imaging.copyimages import copy_images
from imaging.copyout import copy_files
from imaging.delete import delete
from imaging.disk import format_size
from imaging.errors import ExitStatus, RescueError, of_system
from imaging.events import (
    CaptureResult,
    Carried,
    CheckedVolume,
    CopyImagesResult,
    DeleteResult,
    ExportResult,
    FilesResult,
    Finished,
    ImportResult,
    InstallResult,
    MediaGrowResult,
    MediaIsoResult,
    MediaResult,
    PruneResult,
    RemoveResult,
    Renewed,
    RepairResult,
    RestoreResult,
    Result,
    Verdict,
    VerifyResult,
    VerifySetResult,
)
from imaging.export import export
from imaging.imageplans import (
    CapturePlan,
    CopyImagesPlan,
    DeletePlan,
    ExportPlan,
    FilesPlan,
    ImportPlan,
    PrunePlan,
    VerifyPlan,
    VerifySetPlan,
)
from imaging.importing import import_image
from imaging.keptfiles import KeptFiles
from imaging.mediagrow import grow
from imaging.mediaiso import write_iso
from imaging.mediawrite import make_medium
from imaging.pipeline import Reporter
from imaging.plan import Plan, kind
from imaging.profiles import NO_FILE
from imaging.prune import prune
from imaging.recoveryplans import InstallPlan, MediaGrowPlan, MediaIsoPlan, MediaPlan, RemovePlan
from imaging.repair import repair
from imaging.repairplans import RepairPlan
from imaging.restore import refuse_early, restore
from imaging.restoreplans import RestorePlan
from imaging.safety import let_go, save_first
from imaging.signatures import State
from imaging.startable import Answer, warnings
from imaging.startcheck import looked_at
from imaging.straight import restore_straight
from imaging.verify import verify_alone
from imaging.verifyset import verify_set

_RESERVE = 256 << 10
"""Bytes that no last event exceeds: a verification names a thousand chunks at most, a check details 64 volumes."""
_MOST_NAMED = 5
"""Volumes that a message names."""


def main(argv: list[str]) -> int:
    """Carry out the job in the folder `argv[1]`; returns its exit status."""
    objects.be_patient()
    os.umask(0o077)  # an image holds every secret of the disk, whoever may read the medium that it lies on
    folder = Path(argv[1])
    keyring.leave_no_core()
    keyring.take(folder)
    credentials.take(folder)
    cancel = threading.Event()
    _set_at_signals(cancel)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with jobs.claimed(folder) as out:
        if jobs.Job(folder).cancelled:
            cancel.set()
        with _reserve(folder) as release:
            report = Reporter(out.write, release)
            finished = carry_out(folder, report, cancel)
            report.send(finished)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(OSError):
        print(f"status {finished.status}; peak memory {peak} KiB", file=sys.stderr)
    return finished.status


def _set_at_signals(cancel: threading.Event) -> None:
    """Set `cancel` when the process is asked to end.

    Python runs its own handlers on the main thread alone, which may wait for the others until the job is over, and does
    not wake for a signal that came just before it began to: what the system writes down at once wakes a thread instead.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)

    def listen() -> None:
        heard.recv(1)
        cancel.set()

    threading.Thread(target=listen, daemon=True).start()
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # as jobs.submit has started it


@contextmanager
def _reserve(folder: Path) -> Iterator[Callable[[], None]]:
    """Room in the job's folder that is given back for the last event, should the state folder be full by then."""
    path = folder / "reserve"

    def release() -> None:
        with suppress(OSError):
            path.unlink(missing_ok=True)

    with suppress(OSError):
        path.write_bytes(bytes(_RESERVE))
    try:
        yield release
    finally:
        release()


def carry_out(folder: Path, report: Reporter, cancel: threading.Event) -> Finished:
    """Read the plan and do it; every error becomes the last event, and a traceback goes to the log alone."""
    try:
        plan = jobs.read_plan(folder)
        report.send(events.Started(time=time.time(), job=folder.name, kind=kind(plan), title=plan.title))
        return _finished(_do(plan, folder, report, cancel))
    except RescueError as error:
        if error.__cause__ is not None:
            _log_traceback()
        return _failed(error)
    except OSError as error:
        _log_traceback()
        return _failed(of_system(error))
    except Exception as error:
        _log_traceback()
        return Finished(
            time=time.time(),
            status=ExitStatus.INTERNAL,
            message=f"an error in Rescue itself: {type(error).__name__}: {error}",
            code="internal",
            hint=f"the log {folder / 'log'} says where",
            state=getattr(error, "state", ""),
        )


def _failed(error: RescueError) -> Finished:
    return Finished(
        time=time.time(),
        status=error.exit_status,
        message=error.message,
        code=error.code,
        hint=error.hint or "",
        state=error.state,
    )


def _log_traceback() -> None:
    """The log can lie on a file system that is full: that must not keep the last event from being told."""
    with suppress(OSError):
        traceback.print_exc()


def _do(plan: Plan, folder: Path, report: Reporter, cancel: threading.Event) -> Result:
    match plan:
        case CapturePlan(check=True):
            refuse_unless_able()
            captured = capture(plan, report, cancel, f"rescue {__version__}")
            return replace(captured, checked=_check_new(plan, captured.image, report, cancel))
        case CapturePlan():
            return capture(plan, report, cancel, f"rescue {__version__}")
        case ImportPlan():
            return import_image(plan, report, cancel, f"rescue {__version__}")
        case RestorePlan():
            refuse_if_damaged(report, cancel)
            return looked_at(plan, _restore(plan, report, cancel), report, cancel)
        case VerifyPlan(check=True):
            refuse_unless_able()
            verified = verify_alone(plan, report, cancel, folder.name)
            return replace(verified, checked=check(Path(plan.library), plan.image, report, cancel))
        case VerifyPlan():
            return verify_alone(plan, report, cancel, folder.name)
        case VerifySetPlan():
            return verify_set(plan, report, cancel, folder.name)
        case DeletePlan():
            return delete(plan, report, cancel)
        case PrunePlan():
            return prune(plan, report, cancel)
        case MediaPlan():
            return make_medium(plan, report, cancel)
        case MediaGrowPlan():
            return grow(plan, report, cancel)
        case MediaIsoPlan():
            return write_iso(plan, report, cancel)
        case FilesPlan():
            return copy_files(plan, report, cancel)
        case ExportPlan():
            return export(plan, report, cancel)
        case CopyImagesPlan():
            return copy_images(plan, report, cancel)
        case InstallPlan():
            return owndisk.install(plan, report, cancel)
        case RemovePlan():
            return owndisk.remove(plan, report, cancel)
        case RepairPlan():
            return repair(plan, report, cancel, folder)


def _restore(plan: RestorePlan, report: Reporter, cancel: threading.Event) -> RestoreResult:
    saved = ""
    if plan.safety:
        if plan.foreign is None:
            refuse_early(plan)  # before minutes of saving
        saved = save_first(plan, report, cancel, f"rescue {__version__}")
    try:
        foreign, known = plan.foreign, replace(plan, saved=saved)
        done = restore_straight(known, foreign, report, cancel) if foreign else restore(known, report, cancel)
        if plan.keep is not None:
            _end_waiting(plan.keep, done, plan.keep.image or saved, report)
        return replace(done, safety=saved)
    except RescueError as error:
        safe = saved or (plan.keep.image if plan.keep else "")
        if safe:
            error.state = f"{error.state} What was there before is image {safe}.".strip()
        raise


def _end_waiting(kept: KeptFiles, done: RestoreResult, image: str, report: Reporter) -> None:
    """Let the safety image go, unless more than sockets and devices, which hold nothing, is in it alone."""
    lost = set(done.carried.not_kept if done.carried else ()) - {NO_FILE}
    if lost or kept.elsewhere:
        report.log(f"Image {image} stays pinned: it alone has what could not be kept. `rescue unpin` lets it go.")
    else:
        let_go(Path(kept.library), image, report)


def _check_new(plan: CapturePlan, image: str, report: Reporter, cancel: threading.Event) -> tuple[CheckedVolume, ...]:
    try:
        return check(Path(plan.library), image, report, cancel)
    except RescueError as error:
        error.state = f"Image {image} was captured and is kept; the check of its file systems did not end."
        raise


def _finished(result: Result) -> Finished:
    if isinstance(result, DeleteResult):
        return _deleted(result)
    if isinstance(result, CopyImagesResult):
        message = f"Images copied: {result.images}. New there: {format_size(result.bytes)}."
        return Finished(time=time.time(), status=ExitStatus.DONE, message=message, result=result)
    if isinstance(result, ExportResult):
        message = f"{result.file} was written."
        return Finished(time=time.time(), status=ExitStatus.DONE, message=message, result=result)
    if isinstance(result, FilesResult):
        return _copied(result)
    if isinstance(result, ImportResult):
        return _imported(result)
    if isinstance(result, VerifySetResult):
        return _verified(result)
    if isinstance(result, PruneResult):
        return _pruned(result)
    if isinstance(result, MediaResult | MediaGrowResult | MediaIsoResult):
        return Finished(time=time.time(), status=ExitStatus.DONE, message=_made(result), result=result)
    if isinstance(result, RepairResult):
        return _repaired(result)
    if isinstance(result, InstallResult | RemoveResult):
        return Finished(time=time.time(), status=ExitStatus.DONE, message=_on_own_disk(result), result=result)
    status, message, code, hint = ExitStatus.DONE, "", "", ""
    match result:
        case CaptureResult(unreadable=lost) if lost:
            status, code = ExitStatus.DAMAGED, "source-unreadable"
            message = f"Image {result.image} was captured, but it is damaged: {lost:,} bytes could not be read."
            hint = (
                "the disk is failing: keep its earlier images, replace it, and look at what you restore from this one"
            )
        case CaptureResult():
            message = f"Image {result.image} was captured."
        case RestoreResult(grown=grown) if stuck := [one for one in grown if one.why_not]:
            status, code = ExitStatus.DAMAGED, "not-grown"
            message = f"Image {result.image} was restored, but {stuck[0].partition} did not grow: {stuck[0].why_not}."
            hint = "it is as it was in the image, and the disk can be used; enlarge it from the running system"
        case RestoreResult(renewed=Renewed(not_done=left)) if left:
            status, code = ExitStatus.DAMAGED, "not-renewed"
            message = f"Image {result.image} was restored with a new identity, but not in full: {left[0]}."
            hint = "start it without the original beside it, and set right there what is named here"
        case RestoreResult(unsanitized=unsanitized) if missed := [one.disk for one in unsanitized if not one.expected]:
            status, code = ExitStatus.DAMAGED, "not-sanitized"
            message = f"Image {result.image} was restored, but {missed[0]} did not erase itself as it was to."
            hint = "the disk can be used; what it keeps aside may still hold what was on it, and the log says why"
        case RestoreResult(carried=Carried() as carried) if carried.unannounced:
            status, code = ExitStatus.DAMAGED, "not-all-kept"
            message = f"Image {result.image} was restored, and files are kept, but not with all that belonged to them."
            hint = "the log says of which and what; the safety image, which stays pinned, has all of it"
        case RestoreResult(renewed=Renewed()):
            message = f"Image {result.image} was restored, and the disk has an identity of its own."
        case RestoreResult(grown=grown) if grown:
            message = f"Image {result.image} was restored, and {grown[0].partition} has grown."
        case RestoreResult(written=0, tables=tables) if tables:
            message = "Only the partition table had to be written: all else was there already."
        case RestoreResult(written=0, partitions=ends) if ends:
            message = "Only the ends of the partition had to be written: all else was there already."
        case RestoreResult(written=0):
            message = "The disk held everything already: no chunk was written."
        case RestoreResult(read_back=True):
            message = f"Image {result.image} was restored, read back and verified."
        case RestoreResult():
            message = f"Image {result.image} was restored."
        case VerifyResult(bad=bad, bad_count=count) if bad:
            status, code = ExitStatus.BAD_IMAGE, "corrupt-chunk"
            message = f"{max(count, len(bad))} of {result.chunks} chunks are corrupt or missing."
            hint = (
                "this image cannot be restored in full: mend it from another library that has it (--repair-from), or "
                "capture the disk again; keep other images, and check the disk that holds the library"
            )
        case VerifyResult(standing=standing) if standing.state is State.WRONG:
            status, code = ExitStatus.BAD_IMAGE, "bad-signature"
            message = f"The signature of image {result.image} does not match: do not trust it."
            hint = "somebody has changed its manifest or its signatures: take a copy of it from another library"
        case VerifyResult(mended=mended) if mended:
            message = f"Every chunk is right now: {mended} were bad and were mended."
        case VerifyResult(differing=differing) if differing:
            status, code = ExitStatus.DIFFERS, "differs"
            message = f"The disk differs from the image in {differing} places."
        case VerifyResult():
            # Zeros that stand for what could not be read are as they were stored, which is not to say right.
            message = "Every chunk is right." if result.checked or result.unreadable else "Everything is right."
    if result.unreadable and not isinstance(result, CaptureResult):
        message = f"{message} {_lost(result.unreadable)}"
    if isinstance(result, RestoreResult):
        message = " ".join([message, *warnings(result.starts)])
    checked = () if isinstance(result, RestoreResult) else result.checked
    if checked and not code:
        status, told, code, hint = _of_check(checked)
        message = f"{message} {told}"
    return Finished(time=time.time(), status=status, message=message, code=code, hint=hint, result=result)


def _imported(result: ImportResult) -> Finished:
    status, code, hint = ExitStatus.DONE, "", ""
    message = f"Image {result.image} was imported."
    if result.unreadable:
        status, code = ExitStatus.DAMAGED, "source-unreadable"
        message = f"Image {result.image} was imported, but it is damaged. {_lost(result.unreadable)}"
        hint = "look at the disk that holds the file, and import another copy of it"
    return Finished(time=time.time(), status=status, message=message, code=code, hint=hint, result=result)


def _verified(result: VerifySetResult) -> Finished:
    status, code, hint = ExitStatus.DONE, "", ""
    message = f"Images verified, and every chunk is right: {result.images}."
    if result.bad_count > result.unread:
        status, code = ExitStatus.BAD_IMAGE, "corrupt-chunk"
        message = f"Images that are not right: {result.bad_count} of {result.images}."
        hint = (
            "these cannot be restored in full: mend them from another library that has them (--repair-from), or "
            "capture the disks again; keep the others, and check the disk that holds the library"
        )
    elif result.unread:
        status, code = ExitStatus.IO_FAILURE, "read-failed"
        message = f"Images that could not be read to their end: {result.unread} of {result.images}."
        hint = "check the disk that holds the library, and its cable, and verify them again"
    elif result.mended:
        message = f"{message} Chunks that were bad and were mended: {result.mended}."
    if result.unreadable:
        message = f"{message} {_lost_in_all(result.unreadable)}"
    return Finished(time=time.time(), status=status, message=message, code=code, hint=hint, result=result)


def _lost_in_all(size: int) -> str:
    return f"{size:,} bytes could not be read when the images were captured: zeros stand for them."


def _deleted(result: DeleteResult) -> Finished:
    code = hint = ""
    message = f"Image {result.image} was deleted, which freed {format_size(result.freed)}."
    if result.unfreed:
        code, message = "not-freed", f"Image {result.image} was deleted, but no room was freed: {result.unfreed}."
        hint = "delete that other image, too, if it cannot be mended: then the room of both is freed"
    return Finished(time=time.time(), status=ExitStatus.DONE, message=message, code=code, hint=hint, result=result)


def _pruned(result: PruneResult) -> Finished:
    freed = format_size(result.freed)
    message, code, hint = f"The library was pruned. Images deleted: {len(result.images)}. Freed: {freed}.", "", ""
    if result.unfreed:
        code, message = "not-freed", f"{message} Some room is not freed: {result.unfreed}."
        hint = "delete that image, if it cannot be mended, and prune once more"
    return Finished(time=time.time(), status=ExitStatus.DONE, message=message, code=code, hint=hint, result=result)


def _repaired(result: RepairResult) -> Finished:
    """It starts, or is not meant to; what could not be repaired, or is not known, is never told as success."""
    status, code, hint = ExitStatus.DONE, "", ""
    done = result.table or result.mended or result.loaders or result.menu or result.boot_entries
    message = f"{result.target} was repaired." if done else f"Nothing of {result.target} was changed."
    answers = {way.answer for way in result.starts.warned}
    if Answer.FAILS in answers:
        status, code = ExitStatus.CANNOT_START, "cannot-start"
        hint = "the log says what was tried; restore an image, or single partitions of it"
    elif result.failed:
        status, code = ExitStatus.DAMAGED, "partly-repaired"
        message = f"{result.target} was only partly repaired."
        hint = "the log says why; save what is on the disk before anything else is tried"
    elif Answer.UNKNOWN in answers:
        status, code = ExitStatus.START_UNKNOWN, "start-unknown"
    message = " ".join([message, *warnings([result.starts])])
    return Finished(time=time.time(), status=status, message=message, code=code, hint=hint, result=result)


def _on_own_disk(result: InstallResult | RemoveResult) -> str:
    match result:
        case InstallResult(entries=True):
            return f"What starts the recovery system on {result.partition} was added again."
        case InstallResult(replaced=True):
            return f"The recovery system on {result.partition} was written anew, read back and compared."
        case InstallResult():
            return f"The recovery system was installed on {result.partition}, read back and compared."
        case RemoveResult():
            return f"The recovery partition {result.partition} was removed, with its boot entries."


def _made(result: MediaResult | MediaGrowResult | MediaIsoResult) -> str:
    match result:
        case MediaResult(updated=True):
            return f"The recovery medium {result.target} was updated, read back and checked."
        case MediaResult():
            return f"The recovery medium {result.target} was made, read back and checked."
        case MediaGrowResult(before=0):
            return f"The recovery medium {result.target} has an images partition of {format_size(result.size)} now."
        case MediaGrowResult():
            return f"The images partition of {result.target} has {format_size(result.size)} now."
        case MediaIsoResult():
            return f"The disc's image {result.output} was written and checked."


def _copied(result: FilesResult) -> Finished:
    status, code, hint = ExitStatus.DONE, "", ""
    message = f"Files copied: {result.files}."
    if result.there:
        message = f"{message} There already: {result.there}."
    if result.not_kept:
        message = f"{message} Not all of their owners, rights, names or links could be kept."
    if result.failed:
        status, code = ExitStatus.BAD_IMAGE, "not-all-copied"
        message = f"{message} Not copied: {result.failed}, for they could not be read or written."
        hint = "the log names them; verify the image, and try another image of the same computer"
    return Finished(time=time.time(), status=status, message=message, code=code, hint=hint, result=result)


def _lost(size: int) -> str:
    return f"{size:,} bytes could not be read when the image was captured: zeros stand for them."


def _of_check(checked: Sequence[CheckedVolume]) -> tuple[ExitStatus, str, str, str]:
    """Exit status, message, code and hint of a check of file systems."""

    def named(verdict: Verdict) -> str:
        names = [f"{volume.name} ({volume.kind})" for volume in checked if volume.verdict is verdict]
        some = ", ".join(names[:_MOST_NAMED])
        return f"{some} and others" if len(names) > _MOST_NAMED else some

    if names := named(Verdict.UNREADABLE):
        hint = "capture the disk again, and check the disk that holds the library: rescue verify names the bad chunks"
        return ExitStatus.BAD_IMAGE, f"The image is damaged in {names}.", "corrupt-chunk", hint
    if names := named(Verdict.ERRORS):
        hint = "the image is kept; its file systems are as they were on the disk: mend them there, and capture it again"
        return ExitStatus.FILE_SYSTEM_ERRORS, f"There are file system errors in {names}.", "file-system-errors", hint
    count = sum(volume.verdict is Verdict.CLEAN for volume in checked)
    skipped = len(checked) - count
    told = f"File systems checked and found clean: {count}; not checked: {skipped}."
    return ExitStatus.DONE, told, "", ""


if __name__ == "__main__":
    sys.exit(main(sys.argv))
