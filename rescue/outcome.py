"""A job's events and its end as plain lines of text, for the command line and the screens alike; see rescue.report."""

from typing import assert_never

from imaging.errors import ExitStatus
from imaging.events import (
    AnyEvent,
    CaptureResult,
    Finished,
    Log,
    Progress,
    RestoreResult,
    Result,
    Started,
    Step,
    VerifyResult,
)
from rescue.checked import checked_lines
from rescue.formats import clean, format_duration, format_rate, format_size, joined, plural
from rescue.report import INDENT


def result_lines(finished: Finished) -> list[str]:
    """The end of a job: what was done or what happened, the state of the target, figures, and what to do next."""
    good = finished.status == ExitStatus.DONE
    lines = [clean(finished.message)]
    if finished.state:
        lines.append(f"State: {clean(finished.state)}")
    if finished.result is not None:
        lines += figures(finished.result)
    if finished.hint:
        lines.append(f"{'Next' if good else 'What to do'}: {clean(finished.hint)}")
    return lines


def figures(result: Result) -> list[str]:
    """The figures of a result."""
    match result:
        case CaptureResult():
            return capture_figures(result)
        case RestoreResult():
            return restore_figures(result)
        case VerifyResult():
            return verify_figures(result)
        case _:
            assert_never(result)


def pace(size: int, seconds: float) -> str:
    """How long it took, and the rate where that says something."""
    rate = f", {format_rate(size / seconds)}" if size and seconds >= 1 else ""
    return f"Time: {format_duration(seconds)}{rate}"


def lost_figure(result: Result) -> list[str]:
    """What the capture could not read, where that is so."""
    return [f"Could not be read: {result.unreadable:,} bytes; zeros stand for them"] if result.unreadable else []


def capture_figures(result: CaptureResult) -> list[str]:
    """A capture's figures."""
    known = result.chunks - result.new
    return [
        f"Data: {format_size(result.used)} in {plural(result.chunks, 'chunk')}",
        f"New to the library: {plural(result.new, 'chunk')}, {format_size(result.stored)} compressed; "
        f"{known:,} were there already",
        *lost_figure(result),
        *checked_lines(result.checked),
        pace(result.used, result.seconds),
    ]


def restore_figures(result: RestoreResult) -> list[str]:
    """A restore's figures."""
    lines = [
        f"Compared: {plural(result.compared, 'chunk')}, of which {result.skipped:,} held the right bytes already",
        f"Written: {plural(result.written, 'chunk')}, {format_size(result.written_bytes)}"
        + (f", and {plural(result.tables, 'partition table')}" if result.tables else "")
        + (f", and the ends of {plural(result.partitions, 'partition')}" if result.partitions else ""),
    ]
    if result.read_back and result.written:
        lines.append("Checked: everything written was read back and is right")
    elif result.written:
        lines.append("Not checked: what was written was not read back")
    lines += lost_figure(result)
    return [*lines, pace(0 if result.skipped else result.written_bytes, result.seconds)]


def verify_figures(result: VerifyResult) -> list[str]:
    """A verification's figures; at most eight bad chunks are named."""
    lines = [f"Checked: {plural(result.chunks, 'chunk')}, {format_size(result.bytes)}"]
    if result.bad:
        count = max(result.bad_count, len(result.bad))
        lines.append(f"Corrupt or missing: {plural(count, 'chunk')}")
        lines += [INDENT + clean(name) for name in result.bad[:8]]
        if count > 8:
            lines.append(f"{INDENT}and {count - 8:,} more")
    if result.differing:
        lines.append(f"Different on the disk: {plural(result.differing, 'chunk')}")
    lines += lost_figure(result)
    return [*lines, *checked_lines(result.checked), pace(result.bytes, result.seconds)]


def event_line(event: AnyEvent) -> str:
    """An event as one line, for output that is not a terminal."""
    match event:
        case Started():
            return f"{clean(event.title)} (job {clean(event.job)})"
        case Step():
            return joined(clean(event.name), f"({format_size(event.total)})" if event.total else "", by=" ")
        case Progress():
            share = f"{100 * event.done // event.total:3d} %" if event.total else "  - %"
            return f"{share}  {format_size(event.done)} of {format_size(event.total)}, {format_size(event.moved)} moved"
        case Log():
            return clean(event.message) if event.level == "info" else f"{clean(event.level)}: {clean(event.message)}"
        case Finished():
            return f"{END_WORDS.get(event.status, 'failed')}: {clean(event.message)}"
        case _:
            assert_never(event)


END_WORDS: dict[int, str] = {
    ExitStatus.DONE: "done",
    ExitStatus.CANCELLED: "cancelled",
    ExitStatus.DIFFERS: "differs",
    ExitStatus.FILE_SYSTEM_ERRORS: "file system errors",
    ExitStatus.REFUSED: "refused",
    ExitStatus.DAMAGED: "done, with damage",
}
