"""Files of a library, which can come from anyone: only a regular file of a sane length is read."""

import errno
import os
import stat
from pathlib import Path

from imaging.errors import BadImageError


def open_regular(path: Path | str, most: int, code: str = "bad-image-file", shown: str = "") -> int:
    """Open a file of a library for reading: a library can come from anyone, with links and pipes for files.

    Raises OSError, and BadImageError with `code` where it is not a regular file or longer than `most` bytes; it is
    called `shown` then, where another name says more to a person.
    """
    name = shown or path
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadImageError(f"{name} is a link, not a file", code=code) from error
        raise
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return fd
    os.close(fd)
    if not stat.S_ISREG(status.st_mode):
        raise BadImageError(f"{name} is not a regular file", code=code)
    raise BadImageError(f"{name} has {status.st_size} bytes, more than the {most} it can need", code=code)


def read_regular(path: Path | str, most: int, code: str = "bad-image-file", shown: str = "") -> bytes:
    """A file of a library, of `most` bytes at most; raises as `open_regular` does."""
    fd, parts = open_regular(path, most, code, shown), []
    try:
        # A byte more than there is: an end that was not reached shows itself, and the last look finds nothing.
        while most > 0 and (part := os.read(fd, min(most, os.fstat(fd).st_size + 1))):
            parts.append(part)
            most -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts)
