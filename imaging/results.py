"""What came of orders: a JSON document each, kept on the medium beside the orders, and sent to whoever asked for it."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from imaging import access, media
from imaging.disk import DiskId
from imaging.durable import write_file, written
from imaging.errors import IoError, RefusedError, RescueError
from imaging.imageplans import CapturePlan
from imaging.jobs import JobState
from imaging.manifest import Machine
from imaging.plan import Plan
from imaging.regular import read_regular
from imaging.restoreplans import RestorePlan

VERSION = 1
FOLDER = "results"
"""On the images partition."""
REFUSED = "refused"
STOPPED = "stopped"
"""What a result says beside the states in which a job ends (imaging.jobs.JobState)."""
_MOST_BYTES = 1 << 20
_MOST_FILES = 2000
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_TRIES = 5
"""A screen that looks at the images holds the partition for a moment."""


class OrderNote(msgspec.Struct, frozen=True, kw_only=True):
    """Which order it was; nothing of it that is secret."""

    name: str = ""
    source: str = ""
    """The file, or the address without what may be secret."""
    digest: str = ""


class DiskNote(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of this computer that the order meant; `source` is the image's, where it was restored."""

    path: str
    id: DiskId
    source: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One result. `status` is an imaging.errors.ExitStatus, `code`, `message` and `hint` are those of an event."""

    version: int = VERSION
    result: str
    """"done", "refused", "stopped", "failed", "cancelled", "died", or another state of imaging.jobs.JobState."""
    order: OrderNote
    machine: Machine
    started: str
    ended: str
    rescue: str
    status: int
    kind: str = ""
    """"restore", "capture" or "verify"; empty where it did not come so far."""
    title: str = ""
    image: str = ""
    disks: tuple[DiskNote, ...] = ()
    job: str = ""
    code: str = ""
    message: str = ""
    hint: str = ""
    state: str = ""
    """What state a target is left in, in words, where the work did not end well."""
    figures: dict[str, Any] = {}
    problems: tuple[str, ...] = ()
    """What could not be written or sent, in words."""


_decoder = msgspec.json.Decoder(Result)


def encode(result: Result) -> bytes:
    """Render as JSON."""
    return msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"


def now() -> str:
    """RFC 3339, in UTC, by this computer's clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def disks_of(plan: Plan) -> tuple[DiskNote, ...]:
    """The disks that a plan is about."""
    match plan:
        case RestorePlan():
            return tuple(DiskNote(path=t.target.path, id=t.target.id, source=t.source.name) for t in plan.targets)
        case CapturePlan():
            return tuple(DiskNote(path=disk.path, id=disk.id) for disk in plan.disks)
    return ()


def place() -> Path | None:
    """The folder for results on the medium that this system was started from; None where it has no place for any."""
    return media.IMAGES / FOLDER if media.IMAGES in media.mounted() else None


def file_name(result: Result) -> str:
    """`20261125-214105-ABC1234.json`: when it ended, in UTC, and the computer's serial number, name or nothing."""
    which = _ODD.sub("-", result.machine.serial or result.machine.hostname).strip("-.")[:40]
    when = re.sub(r"[-:Z]", "", result.ended).replace("T", "-")
    return f"{when}-{which}.json" if which else f"{when}.json"


def keep(
    result: Result, folder: Path, *, over: Path | None = None, pause: Callable[[float], None] = time.sleep
) -> Path:
    """Write a result into the folder, down to the medium, and return its file: a new one, or `over` an earlier one.

    A medium that the live system mounted read-only is made writable for that. Raises IoError, RefusedError where it
    cannot be.
    """
    mount = media.read_only_mount(folder)
    for left in reversed(range(_TRIES)):
        try:
            access.make_writable(folder)
            break
        except (IoError, RefusedError):
            if not left:
                raise
        pause(1.0)
    try:
        with written(folder):
            folder.mkdir(mode=0o755, exist_ok=True)
        path = over or _free(folder / file_name(result))
        write_file(path, encode(result))
        with suppress(OSError):  # not every medium knows of modes
            path.chmod(0o644)
        return path
    finally:
        if mount is not None:
            with suppress(IoError):  # all of it is on the medium already
                media.make_read_only(mount)


def _free(path: Path) -> Path:
    """A name that no earlier result has."""
    others = (path.with_stem(f"{path.stem}-{number}") for number in range(2, 100))
    return next((name for name in (path, *others) if not name.exists()), path)


def kept(folder: Path) -> list[Result]:
    """The results in a folder, the newest first; what is none, or cannot be read, is passed over."""
    found = []
    with suppress(OSError):
        for path in sorted(folder.glob("*.json"), reverse=True)[:_MOST_FILES]:
            with suppress(OSError, RescueError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                found.append(_decoder.decode(read_regular(path, _MOST_BYTES)))
    return found


def done_before(folder: Path, digest: str, machine: Machine, plan: Plan) -> Result | None:
    """The good end of the same order, on the same computer and with the same disks; None where there was none."""
    disks = [(note.id, note.source) for note in disks_of(plan)]
    for result in kept(folder):
        same = (result.order.digest, result.machine) == (digest, machine)
        if same and result.result == JobState.DONE and [(n.id, n.source) for n in result.disks] == disks:
            return result
    return None
