"""What a job says while it works: one JSON object a line, the same for the screen, `--json` and scripts.

Every line has `event` (its kind) and `time` (seconds since the epoch). Kinds that a reader does not know are to be
skipped: later versions add some. `rescue capture --json --forecast` prints one of the kind `forecast` before those of
the job: an imaging.forecast.Forecast, and in `fit` an imaging.estimate.Fit. Where a command fails before its job
begins, the last line is of the kind `error`, with `code`, `message`, `hint` and `status` in its `error`.
"""

from enum import StrEnum

import msgspec

from imaging.signatures import UNSIGNED, Standing
from imaging.startable import Starts

VERSION = 1

READING_BACK = "Reading back"
"""How the name of a step begins that reads what a step before it has written."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of all events."""

    time: float


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """The worker has begun; the first event of every job."""

    job: str
    kind: str
    """"capture", "restore", "verify", "delete", "media", "media-grow", "media-iso",
    "install-partition" or "remove-partition"."""
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


class ImportResult(msgspec.Struct, frozen=True, kw_only=True, tag="import"):
    """What an import made; see CaptureResult. `kind` says of what kind the foreign image was, in words."""

    image: str
    kind: str
    used: int
    chunks: int
    new: int
    stored: int
    seconds: float
    unreadable: int = 0


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that was to take the room that a larger disk has: from `before` to `size` bytes.

    With `filesystem` its file system grew with it. `why_not` says why it did not grow, in words: it is then as it was
    in the image, and so is the table.
    """

    partition: str
    before: int
    size: int
    filesystem: bool
    why_not: str = ""


class Smaller(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that gave the room which a smaller disk lacks, with its file system: `before` bytes became `size`."""

    partition: str
    before: int
    size: int


class Carried(msgspec.Struct, frozen=True, kw_only=True):
    """What of the system that was there before was carried over: files, and bytes of their data that were written.

    `not_kept` counts, in words, what of them could not be kept; so many of these the plan had told are `announced`.
    """

    files: int
    bytes: int
    accounts: tuple[str, ...] = ()
    not_kept: dict[str, int] = {}
    announced: int = 0

    @property
    def unannounced(self) -> int:
        """How many losses the plan had not told."""
        return sum(self.not_kept.values()) - self.announced


class Renewed(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that got an identity of its own: so many ids, and the files, by their paths, that were changed for that.

    `not_done` says in words what may still name the original.
    """

    ids: int
    files: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()


class Unsanitized(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that was to erase itself, and did not: it was erased otherwise. `expected` where the plan had said so."""

    disk: str
    expected: bool


class RestoreResult(msgspec.Struct, frozen=True, kw_only=True, tag="restore"):
    """What a restore did, in chunks: `compared` were looked at on the target, `skipped` of them held the right bytes.

    On a disk that holds something else not every chunk is compared before it is written.

    `written_bytes` counts plain bytes. `tables` counts disks whose partition table had to be written,
    `partitions` the partitions restored alone whose ends had to be. `read_back` says whether what was written was read
    back and found right. `unreadable` counts the bytes of what was restored that the capture could not read: zeros.
    `starts` says, of each disk that was restored whole, whether a computer can start from it; nothing where that was
    not found out.
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
    grown: tuple[Grown, ...] = ()
    smaller: tuple[Smaller, ...] = ()
    safety: str = ""
    """The image of what was there before; empty where it was not saved."""
    starts: tuple[Starts, ...] = ()
    boot_entries: tuple[str, ...] = ()
    """The labels of entries that this computer's firmware was given, for what was restored."""
    wiped: str = ""
    """How the disks were erased before, a plan's Wipe; empty where they were not."""
    unsanitized: tuple[Unsanitized, ...] = ()
    carried: Carried | None = None
    """The files that were kept; None where none were to be."""
    renewed: Renewed | None = None
    """What came of the new identity; None where the disk has that of the image."""


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True, tag="verify"):
    """What a verification found: `bad` names chunks that are corrupt or missing, the first thousand of `bad_count`;
    `differing` counts those that a target holds otherwise, `unreadable` the bytes of what was verified that the capture
    could not read: zeros stand for them, and are right. Of the chunks that were bad, `mended` were mended and count as
    good; `hurt` are other images that name one that is bad.
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
    mended: int = 0
    hurt: tuple[str, ...] = ()
    resumed: int = 0
    """Of the chunks, those that a verification that was cut off had read already."""
    volumes: tuple[str, ...] = ()
    """Those of the image that have used bytes in a bad chunk, such as "sda2 (ext4)"; a table is named by its disk."""
    standing: Standing = UNSIGNED
    """What the image's signatures say."""


class BadImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is not right: so many of its chunks are bad, or, in words, what else is wrong with it.

    One that is `unread` could not be read to its end: what is the matter with it is not known.
    """

    image: str
    chunks: int = 0
    volumes: tuple[str, ...] = ()
    """As in VerifyResult, the first eight."""
    problem: str = ""
    unread: bool = False


class VerifySetResult(msgspec.Struct, frozen=True, kw_only=True, tag="verify-set"):
    """What a verification of several images found: `bad` are the first hundred of `bad_count` that are not right.

    `chunks` and `bytes` (before compression) were read now, `resumed` chunks by one that was cut off.
    """

    images: int
    chunks: int
    bytes: int
    seconds: float
    bad: tuple[BadImage, ...] = ()
    bad_count: int = 0
    unread: int = 0
    """Of those that are not right, the ones that could not be read to their end."""
    mended: int = 0
    unreadable: int = 0
    resumed: int = 0


class DeleteResult(msgspec.Struct, frozen=True, kw_only=True, tag="delete"):
    """What a deletion freed: `chunks` that no other image names, `freed` compressed bytes.

    `shared` counts the chunks that stay because others name them. `unfreed` says, in words, why no room was freed
    though the image is gone; empty where that is not so.
    """

    image: str
    chunks: int
    freed: int
    shared: int
    seconds: float
    unfreed: str = ""


class PruneResult(msgspec.Struct, frozen=True, kw_only=True, tag="prune"):
    """What a pruning did: `images` are the ids of those that were deleted, in their order.

    `chunks` and `freed` (compressed bytes) count all that went; of these, `orphans` were named by no image at all.
    `young` bytes are named by no image either, and stay for they were stored a short while ago. `unfreed` is as in
    DeleteResult.
    """

    images: tuple[str, ...]
    chunks: int
    freed: int
    orphans: int
    young: int
    seconds: float
    unfreed: str = ""


class ExportResult(msgspec.Struct, frozen=True, kw_only=True, tag="export"):
    """What an export wrote: `file`, of which `size` bytes are taken on its medium, and the disk's size in it.

    Of an image in pieces, `file` is the first.
    """

    image: str
    file: str
    disk_size: int
    size: int
    seconds: float
    pieces: int = 1


class CopyImagesResult(msgspec.Struct, frozen=True, kw_only=True, tag="copy-images"):
    """What a copying of images did: how many are in the other library now, and the chunks that they name.

    `new` chunks were not there before; `bytes` are what these take, compressed.
    """

    images: int
    chunks: int
    new: int
    bytes: int
    seconds: float


class FilesResult(msgspec.Struct, frozen=True, kw_only=True, tag="files"):
    """What a copying of files did: how many were copied, and `bytes` of data; `there` were on the target already.

    `failed` could not be read or written; `not_kept` counts, by what it is, what the target could not keep.
    """

    files: int
    folders: int
    links: int
    bytes: int
    there: int
    failed: int
    not_kept: dict[str, int]
    seconds: float


class MediaResult(msgspec.Struct, frozen=True, kw_only=True, tag="media"):
    """What became a recovery medium: `system` bytes of it were written, of `chunks` that its images name `new` ones.

    `images` names what it got; `room` is what is free on its images partition, in bytes, 0 where it has none.
    """

    target: str
    build: str
    system: int
    images: tuple[str, ...]
    chunks: int
    new: int
    copied: int
    """Bytes of files that were copied into its library."""
    room: int
    seconds: float
    updated: bool = False


class MediaGrowResult(msgspec.Struct, frozen=True, kw_only=True, tag="media-grow"):
    """How large the images partition of a medium is now, and was before, in bytes; 0 where there was none."""

    target: str
    size: int
    before: int
    seconds: float


class MediaIsoResult(msgspec.Struct, frozen=True, kw_only=True, tag="media-iso"):
    """What a disc's image holds; `size` is the file's, in bytes."""

    output: str
    build: str
    size: int
    images: tuple[str, ...]
    seconds: float


class InstallResult(msgspec.Struct, frozen=True, kw_only=True, tag="install-partition"):
    """The recovery partition of a computer's own disk: `partition` is its name, `size` its bytes.

    `starts` says, in words, where the recovery system can be chosen now. `replaced` is set where there was one before.
    """

    target: str
    partition: str
    size: int
    build: str
    starts: tuple[str, ...]
    seconds: float
    replaced: bool = False
    entries: bool = False
    """Whether only what starts it was written anew."""


class RemoveResult(msgspec.Struct, frozen=True, kw_only=True, tag="remove-partition"):
    """A recovery partition that is gone: `freed` bytes of the disk belong to no partition now."""

    target: str
    partition: str
    freed: int
    seconds: float


class RepairResult(msgspec.Struct, frozen=True, kw_only=True, tag="repair"):
    """What was repaired on a disk, and whether a computer starts from it now.

    `saved` is the folder with what was written over, empty where nothing was. `failed` says, in words, what could not
    be repaired.
    """

    target: str
    starts: Starts
    seconds: float
    table: bool = False
    checked: tuple[CheckedVolume, ...] = ()
    mended: tuple[str, ...] = ()
    """The file systems that were changed by their check, by the names of their partitions."""
    loaders: tuple[str, ...] = ()
    """The kinds of firmware for which the boot loader was put back."""
    menu: bool = False
    boot_entries: tuple[str, ...] = ()
    saved: str = ""
    failed: tuple[str, ...] = ()


Result = (
    CaptureResult
    | ImportResult
    | RestoreResult
    | VerifyResult
    | VerifySetResult
    | DeleteResult
    | PruneResult
    | FilesResult
    | ExportResult
    | CopyImagesResult
    | MediaResult
    | MediaGrowResult
    | MediaIsoResult
    | InstallResult
    | RemoveResult
    | RepairResult
)


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
