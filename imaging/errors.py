"""The tree of errors, each with a stable code, an exit status and, where there is one, a hint.

    RescueError
    ├── UsageError            2   the command or the order cannot be understood
    ├── RefusedError          3   refused for safety: nothing was written
    ├── BadImageError         4   a library, an image, an index or a chunk is damaged, missing or too new
    ├── IoError               5   a device, a file system or a tool failed in the middle of the work
    │   └── WorkerDiedError   5   the process that carried out the job is gone without a word
    └── CancelledError        6   stopped because somebody asked

`DIFFERS` (7) is no error: `verify --against`, or `diff`, ended and found differences. Nor is `DAMAGED` (8): a capture
ended, and parts of the source could not be read, or a restore ended, and a partition that was to grow did not, or a
drive that was to erase itself, or files that were to be kept are there, but not with all that belonged to them. Nor is
`FILE_SYSTEM_ERRORS` (9): `--check` ended, the image is whole, and a file system in it has errors that it had on its
disk. Nor is `OUTDATED` (10): a recovery medium is whole, but old, or a backup is. Nor are `CANNOT_START` (11) and
`START_UNKNOWN` (12): a look at a disk ended, and no computer starts from it, or nobody can tell.
"""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of the command and of the worker; documented in `rescue --help`."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    REFUSED = 3
    BAD_IMAGE = 4
    IO_FAILURE = 5
    CANCELLED = 6
    DIFFERS = 7
    DAMAGED = 8
    FILE_SYSTEM_ERRORS = 9
    OUTDATED = 10
    CANNOT_START = 11
    START_UNKNOWN = 12


class RescueError(Exception):
    """Base of all errors that are reported to a person.

    `code` is stable and meant for scripts, `hint` says what to do next.
    """

    exit_status = ExitStatus.INTERNAL
    default_code = "internal"

    state = ""
    """What state a target is left in, in words, where the work had begun."""

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint


def of_system(error: OSError) -> "IoError":
    """What the operating system refused, where nobody nearer to it has said what that means."""
    what = f"{error.filename}: " if error.filename else ""
    return IoError(f"{what}{error.strerror or error}", code="io")


class UsageError(RescueError):
    """The command or the order cannot be understood."""

    exit_status = ExitStatus.USAGE
    default_code = "usage"


class RefusedError(RescueError):
    """Refused for safety, before anything was written."""

    exit_status = ExitStatus.REFUSED
    default_code = "refused"


class BadImageError(RescueError):
    """A library, image, index or chunk is damaged, missing, or of an unknown version."""

    exit_status = ExitStatus.BAD_IMAGE
    default_code = "bad-image"


class IoError(RescueError):
    """A device, a file system or a tool failed in the middle of the work."""

    exit_status = ExitStatus.IO_FAILURE
    default_code = "io"


class WorkerDiedError(IoError):
    """The worker is gone without having reported an end."""

    default_code = "worker-died"


class CancelledError(RescueError):
    """Stopped between two chunks because somebody asked."""

    exit_status = ExitStatus.CANCELLED
    default_code = "cancelled"
