"""What a job says while it works: one JSON object a line, the same for the screen, `--json` and scripts.

Every line has `event` (its kind) and `time` (seconds since the epoch). Kinds that a reader does not know are to be
skipped: later versions add some. `rescue capture --json --forecast` prints one of the kind `forecast` before those of
the job: an imaging.forecast.Forecast, and in `fit` an imaging.estimate.Fit. Where a command fails before its job
begins, the last line is of the kind `error`, with `code`, `message`, `hint` and `status` in its `error`.
"""

from enum import StrEnum

import msgspec

VERSION = 1


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of all events."""

    time: float


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """The worker has begun; the first event of every job."""

    job: str
    kind: str
    """"capture", "restore" or "verify"."""
    title: str
    version: int = VERSION


class Step(Event, frozen=True, kw_only=True, tag="step"):
    """A step begins; `total` is the bytes it has to go through, 0 where that is not known."""

    name: str
    total: int = 0


class Progress(Event, frozen=True, kw_only=True, tag="progress"):
    """How far the present step is: bytes gone through, and of them those moved, not just compared."""

    done: int
    total: int
    moved: int = 0


class Log(Event, frozen=True, kw_only=True, tag="log"):
    """A line for the person who watches. `level` is "info" or "warning"."""

    message: str
    level: str = "info"


class Verdict(StrEnum):
    """What came of the check of a file system. UNREADABLE: the image itself is damaged there."""

    CLEAN = "clean"
    ERRORS = "errors"
    NOT_CHECKED = "not checked"
    UNREADABLE = "unreadable"


class CheckedVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of an image after `--check`: `number` is 0 for a bare disk, `name` names both in words.

    `detail` is what the checker said, or why there was no check; empty where the volume is clean.
    """

    disk: str
    number: int
    name: str
    kind: str
    verdict: Verdict
    detail: str = ""


class CaptureResult(msgspec.Struct, frozen=True, kw_only=True, tag="capture"):
    """What a capture made. `chunks` counts those with data, `new` those the library did not have.

    `unreadable` counts the bytes that the disks did not give: where there are any, the image is damaged.
    """

    image: str
    used: int
    chunks: int
    new: int
    stored: int
    seconds: float
    unreadable: int = 0
    checked: tuple[CheckedVolume, ...] = ()


class RestoreResult(msgspec.Struct, frozen=True, kw_only=True, tag="restore"):
    """What a restore did, in chunks: `compared` were looked at on the target, `skipped` of them held the right bytes.

    On a disk that holds something else not every chunk is compared before it is written.

    `written_bytes` counts plain bytes. `tables` counts disks whose partition table had to be written,
    `partitions` the partitions restored alone whose ends had to be. `read_back` says whether what was written was read
    back and found right. `unreadable` counts the bytes of what was restored that the capture could not read: zeros.
    """

    image: str
    compared: int
    skipped: int
    written: int
    written_bytes: int
    read_back: bool
    seconds: float
    tables: int = 0
    partitions: int = 0
    unreadable: int = 0


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True, tag="verify"):
    """What a verification found: `bad` names chunks that are corrupt or missing, the first thousand of `bad_count`;
    `differing` counts those that a target holds otherwise, `unreadable` the bytes of what was verified that the capture
    could not read: zeros stand for them, and are right.
    """

    image: str
    chunks: int
    bytes: int
    bad: tuple[str, ...]
    differing: int
    seconds: float
    bad_count: int = 0
    unreadable: int = 0
    checked: tuple[CheckedVolume, ...] = ()


Result = CaptureResult | RestoreResult | VerifyResult


class Finished(Event, frozen=True, kw_only=True, tag="finished"):
    """The last event. `status` is an imaging.errors.ExitStatus; `state` says what state a target is in."""

    status: int
    message: str
    code: str = ""
    hint: str = ""
    state: str = ""
    result: Result | None = None


AnyEvent = Started | Step | Progress | Log | Finished

_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def encode(event: AnyEvent) -> bytes:
    """Render as one line, with its newline."""
    return msgspec.json.encode(event) + b"\n"


def decode(line: bytes) -> AnyEvent | None:
    """Parse one line; None where it is of an unknown kind or was cut short by a crash."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
