"""What came of the schedule's runs: the last success, the last failure, and what the next start is to capture."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from imaging.decodable import decodable
from imaging.durable import reading, write_file, written
from imaging.errors import BadImageError, IoError
from imaging.regular import read_regular
from imaging.schedules import Schedule, parse
from imaging.trust import config_folder

VERSION = 1
_MOST_BYTES = 64 << 10


class Success(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is there; `when` it was done, RFC 3339 in UTC."""

    when: str
    image: str
    library: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is none, as an error says it."""

    when: str
    code: str
    message: str
    hint: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The next start is to capture the disks; `boot` is the id of the start in which that was asked for."""

    when: str
    boot: str
    by: str
    """"efi" or "grub": what was told to start the recovery system once."""
    disk: str
    """The disk with the recovery partition, by its identity: `wwn`, or model and serial number."""
    partition: str
    """The UUID in the mark of the recovery partition."""
    known: tuple[str, ...] = ()
    """The images of these disks that were there before: the clock of the recovery system may be an hour off."""


@decodable
class State(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known."""

    version: int = VERSION
    success: Success | None = None
    failure: Failure | None = None
    """The last one, where nothing was captured since."""
    asked: Asked | None = None


def now() -> str:
    """RFC 3339, in UTC, by this computer's clock."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def boot_id() -> str:
    """What tells this start of the computer from others. Source: random(4)."""
    with reading("/proc/sys/kernel/random/boot_id"):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def configuration() -> Path:
    """The file that says what is captured, where to and how often."""
    return config_folder() / "schedule.toml"


def configured() -> Schedule | None:
    """The schedule of this computer; None where there is none. Raises UsageError, IoError."""
    path = configuration()
    try:
        data = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
    return parse(data, str(path))


def _path() -> Path:
    """One for the computer, whoever asks: root's runs write it, and `rescue status` may be anybody's."""
    return Path(os.environ.get("RESCUE_STATE") or "/var/lib/rescue") / "schedule.json"


def read() -> State:
    """What is known; raises IoError, BadImageError where it is damaged or of another version of this program."""
    path = _path()
    try:
        data = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error
    try:
        state = msgspec.json.decode(data, type=State)
    except msgspec.DecodeError as error:
        raise BadImageError(f"{path} is damaged: {error}", code="bad-state", hint="remove it") from error
    if state.version != VERSION:
        raise BadImageError(f"{path} is of another version of this program", code="unknown-version")
    return state


def write(state: State) -> None:
    """Keep it. Raises IoError."""
    path = _path()
    with written(path.parent):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_file(path, msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
    with written(path):
        path.chmod(0o644)


def forget() -> None:
    """Know nothing any more. Raises IoError."""
    with written(_path()):
        _path().unlink(missing_ok=True)


def is_overdue(schedule: Schedule, state: State, at: datetime) -> bool:
    """Whether the last success, or the day on which the schedule was set, is too long ago."""
    said = state.success.when if state.success else schedule.since
    try:
        last = datetime.fromisoformat(said)
    except ValueError:
        return True
    last = last if last.tzinfo else last.replace(tzinfo=UTC)
    # By a clock that was wrong: nobody knows how old that is, and it would keep quiet for as long.
    if last > at + timedelta(days=1):
        return True
    return at - last > timedelta(days=schedule.overdue_days)
