"""The one check of the medium that this live system was started from, and what came of it, for whoever restores.

`<state>/medium-check.json` is written by rescue-check-medium.service while it works; `rescue.check=no` on the kernel's
command line keeps it from being started.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from imaging import inventory, media, medium, mediumcheck
from imaging.disk import Size
from imaging.durable import write_file
from imaging.errors import CancelledError, ExitStatus, RefusedError, RescueError
from imaging.mediumcheck import Examined, Kind
from imaging.mounts import kind_at
from imaging.pipeline import Reporter
from imaging.state import state_folder

NAME = "medium-check.json"
OFF = "rescue.check=no"
_TELL_EVERY = 0.5
"""Seconds between two writes of the progress."""
_LOOK_EVERY = 0.5
_BEGINS_WITHIN = 300.0
"""Seconds since the start of the machine within which the check begins, however slow that is."""
_ISO = "iso9660"


class State(StrEnum):
    """UNKNOWN: nothing was checked, because it was switched off or the medium cannot be found any more."""

    CHECKING = "checking"
    GOOD = "good"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"


class BootState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the running medium. `done` of `total` bytes were read; `problems` are in words.

    `built` is when it was built (RFC 3339, UTC), empty where that is not known; `old` whether that is over a year ago.
    """

    state: State = State.UNKNOWN
    done: Size = 0
    total: Size = 0
    problems: tuple[str, ...] = ()
    built: str = ""
    old: bool = False
    pid: Size = 0


UNKNOWN = BootState()
_decoder = msgspec.json.Decoder(BootState)


def boot_state() -> BootState:
    """What is known of the medium now; a look at one small file."""
    if not media.on_live_system():
        return UNKNOWN
    try:
        state = _decoder.decode((state_folder() / NAME).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return BootState(state=State.CHECKING) if _will_begin() else UNKNOWN
    died = state.state is State.CHECKING and not Path(f"/proc/{state.pid}").exists()
    return msgspec.structs.replace(state, state=State.UNKNOWN) if died else state


def is_off() -> bool:
    """Whether the kernel's command line says that the medium is not to be checked."""
    with suppress(OSError):
        return OFF in Path("/proc/cmdline").read_text(encoding="utf-8", errors="replace").split()
    return False


def _will_begin() -> bool:
    return not is_off() and time.clock_gettime(time.CLOCK_BOOTTIME) < _BEGINS_WITHIN


def refuse_if_damaged(report: Reporter, cancel: threading.Event) -> None:
    """Wait for the check's end, and raise RefusedError (code "bad-medium") where the medium is damaged.

    Nothing is written to a disk by a program that may be damaged itself. Raises CancelledError.
    """
    done, total = 0, -1
    while (now := boot_state()).state is State.CHECKING:
        if now.total != total:
            report.step("Checking the recovery medium", now.total)
            done, total = 0, now.total
        report.advance(now.done - done)
        done = now.done
        if cancel.wait(_LOOK_EVERY):
            raise CancelledError("stopped because somebody asked")
    refuse_where_damaged(now)


def refuse_where_damaged(now: BootState) -> None:
    """Raise RefusedError (code "bad-medium") where the check has found the medium damaged."""
    if now.state is State.DAMAGED and not is_off():
        raise RefusedError(
            f"the recovery medium that this computer was started from is damaged: {'; '.join(now.problems)}",
            code="bad-medium",
            hint="make a new recovery medium; to restore all the same, start it with rescue.check=no on the kernel's "
            "command line",
        )


def check_running(advance: mediumcheck.Advance | None = None, cancel: threading.Event | None = None) -> Examined:
    """Check the medium that this system was started from: the stick or disc itself, or the copy of it in memory.

    Raises BadImageError (code "not-a-medium") where there is none to check, IoError, CancelledError.
    """
    mounted = Path(inventory.MEDIUM)
    disk = inventory.medium()
    if disk is not None and kind_at(inventory.MEDIUM) == _ISO:
        return mediumcheck.check(disk.path, advance, cancel, installed="")
    return mediumcheck.check_folder(mounted, advance, cancel, installed="")


def main() -> int:
    """Check the running medium, and tell of it in the state folder."""
    path = state_folder() / NAME
    about = medium.folder_about(Path(inventory.MEDIUM))
    built = about.built if about else ""
    base = BootState(state=State.CHECKING, built=built, old=_is_old(built), pid=os.getpid())
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_EVERY:
            told = time.monotonic()
            _write(path, msgspec.structs.replace(base, done=done, total=total))

    _write(path, base)
    try:
        examined = check_running(tell)
    except RescueError as error:
        known = error.code in ("damaged-medium", "unfinished-medium", "read-failed")
        state = State.DAMAGED if known else State.UNKNOWN
        _write(path, msgspec.structs.replace(base, state=state, problems=(error.message,)))
        print(f"{state}: {error.message}", file=sys.stderr)
        return ExitStatus.BAD_IMAGE if known else ExitStatus.DONE
    bad = tuple(one.message for one in examined.findings if one.kind in (Kind.DAMAGED, Kind.CUT_OFF))
    state = State.DAMAGED if bad else State.GOOD
    _write(path, msgspec.structs.replace(base, state=state, done=examined.bytes, total=examined.bytes, problems=bad))
    print("\n".join([state, *bad]), file=sys.stderr)
    return ExitStatus.BAD_IMAGE if bad else ExitStatus.DONE


def _is_old(built: str) -> bool:
    """Whether that is more than a year ago; not, where it is no date: the check tells what is wrong."""
    try:
        when = datetime.strptime(built, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return (datetime.now(UTC) - when).days > mediumcheck.MOST_DAYS


def _write(path: Path, state: BootState) -> None:
    with suppress(RescueError):
        write_file(path, msgspec.json.encode(state) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
