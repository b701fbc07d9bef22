"""The process that carries out one plan: `python -m imaging.worker JOB`.

It holds the job's lock while it lives, appends events to the job's folder, and stops between two chunks on SIGTERM.
"""

import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from imaging import __version__, events, jobs
from imaging.capture import capture
from imaging.check import check, refuse_unless_able
from imaging.errors import ExitStatus, RescueError, of_system
from imaging.events import CaptureResult, CheckedVolume, Finished, RestoreResult, Result, Verdict, VerifyResult
from imaging.pipeline import Reporter
from imaging.plan import CapturePlan, Plan, RestorePlan, VerifyPlan
from imaging.restore import restore
from imaging.verify import verify

_RESERVE = 256 << 10
"""Bytes that no last event exceeds: a verification names a thousand chunks at most, a check details 64 volumes."""
_MOST_NAMED = 5
"""Volumes that a message names."""


def main(argv: list[str]) -> int:
    """Carry out the job in the folder `argv[1]`; returns its exit status."""
    os.umask(0o077)  # an image holds every secret of the disk, whoever may read the medium that it lies on
    folder = Path(argv[1])
    cancel = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: cancel.set())
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
        return _finished(_do(plan, report, cancel))
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


def kind(plan: Plan) -> str:
    """The plan's kind, as events name it."""
    match plan:
        case CapturePlan():
            return "capture"
        case RestorePlan():
            return "restore"
        case VerifyPlan():
            return "verify"


def _do(plan: Plan, report: Reporter, cancel: threading.Event) -> Result:
    match plan:
        case CapturePlan(check=True):
            refuse_unless_able()
            captured = capture(plan, report, cancel, f"rescue {__version__}")
            return replace(captured, checked=_check_new(plan, captured.image, report, cancel))
        case CapturePlan():
            return capture(plan, report, cancel, f"rescue {__version__}")
        case RestorePlan():
            return restore(plan, report, cancel)
        case VerifyPlan(check=True):
            refuse_unless_able()
            verified = verify(plan, report, cancel)
            return replace(verified, checked=check(Path(plan.library), plan.image, report, cancel))
        case VerifyPlan():
            return verify(plan, report, cancel)


def _check_new(plan: CapturePlan, image: str, report: Reporter, cancel: threading.Event) -> tuple[CheckedVolume, ...]:
    try:
        return check(Path(plan.library), image, report, cancel)
    except RescueError as error:
        error.state = f"Image {image} was captured and is kept; the check of its file systems did not end."
        raise


def _finished(result: Result) -> Finished:
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
        case RestoreResult(written=0, tables=tables) if tables:
            message = "Only the partition table had to be written: all else was there already."
        case RestoreResult(written=0, partitions=ends) if ends:
            message = "Only the ends of the partition had to be written: all else was there already."
        case RestoreResult(written=0):
            message = "The disk held everything already: no chunk was written."
        case RestoreResult():
            message = f"Image {result.image} was restored" + (", read back and verified." if result.read_back else ".")
        case VerifyResult(bad=bad, bad_count=count) if bad:
            status, code = ExitStatus.BAD_IMAGE, "corrupt-chunk"
            message = f"{max(count, len(bad))} of {result.chunks} chunks are corrupt or missing."
            hint = "this image cannot be restored in full: keep other images, and check the disk that holds the library"
        case VerifyResult(differing=differing) if differing:
            status, code = ExitStatus.DIFFERS, "differs"
            message = f"The disk differs from the image in {differing} places."
        case VerifyResult():
            # Zeros that stand for what could not be read are as they were stored, which is not to say right.
            message = "Every chunk is right." if result.checked or result.unreadable else "Everything is right."
    if result.unreadable and not isinstance(result, CaptureResult):
        message = f"{message} {_lost(result.unreadable)}"
    checked = () if isinstance(result, RestoreResult) else result.checked
    if checked and not code:
        status, told, code, hint = _of_check(checked)
        message = f"{message} {told}"
    return Finished(time=time.time(), status=status, message=message, code=code, hint=hint, result=result)


def _lost(size: int) -> str:
    return f"{size:,} bytes could not be read when the image was captured: zeros stand for them."


def _of_check(checked: Sequence[CheckedVolume]) -> tuple[ExitStatus, str, str, str]:
    """Exit status, message, code and hint of a check of file systems."""

    def named(verdict: Verdict) -> str:
        names = [f"{volume.name} ({volume.kind})" for volume in checked if volume.verdict is verdict]
        return ", ".join(names[:_MOST_NAMED]) + (" and others" if len(names) > _MOST_NAMED else "")

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
