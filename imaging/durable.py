"""Writing files so that a crash leaves the old or the whole new one, and failures that say what failed."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging.errors import IoError
from imaging.temporary import temporary

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def written(what: Path | str) -> Iterator[None]:
    """Turn failures of writing into IoErrors that say what a person can do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise IoError(
                f"{what} cannot be written: the disk is full",
                code="no-space",
                hint="free some room, or use a larger disk",
            ) from error
        if error.errno == errno.EROFS:
            raise IoError(
                f"{what} cannot be written: the file system is read-only",
                code="read-only",
                hint="a disk that turned read-only by itself may be failing: check it",
            ) from error
        raise IoError(f"{what} cannot be written: {error.strerror or error}", code="write-failed") from error


@contextmanager
def reading(what: Path | str) -> Iterator[None]:
    """Turn failures of reading, or of looking at what is there, into IoErrors that name it."""
    try:
        yield
    except OSError as error:
        name = error.filename or what
        raise IoError(f"{name} cannot be read: {error.strerror or error}", code="read-failed") from error


def beneath(folder: Path, *, all_of_it: bool = True) -> Iterator[Path]:
    """What lies in a folder, at any depth; links are not followed.

    Raises OSError where a folder that is there cannot be listed; without `all_of_it` that one is passed over.
    Path.rglob does either, by the version of Python.
    """

    def failed(error: OSError) -> None:
        if all_of_it and not isinstance(error, FileNotFoundError):
            raise error

    for where, folders, files in os.walk(folder, onerror=failed):
        for name in (*folders, *files):
            yield Path(where, name)


def write_file(path: Path, data: bytes | bytearray) -> None:
    """Write a small file whole or not at all, and its folder's entry, down to the medium; raises IoError."""
    new = temporary(path)
    with written(path):
        try:
            fd = create(new)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            _rename(new, path)
            sync_folder(path.parent)
        except OSError:
            with suppress(PermissionError):
                new.unlink(missing_ok=True)
            raise


def _rename(new: Path, path: Path) -> None:
    """Give a file its name; one more where none may be taken away, as in a folder to which files may only be added."""
    try:
        new.replace(path)
    except PermissionError as error:
        try:
            os.link(new, path)
        except OSError:
            raise error from None


def create(path: Path) -> int:
    """Make a file that only its owner reads; raises OSError where anything, also a link, bears that name already."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of the data where the file stands; raises OSError at the first failure."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def sync_folder(path: Path) -> None:
    """Bring a folder's entries down to the medium."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_all(fd: int) -> None:
    """Bring the file system of an open file down to its medium; raises OSError, also where that has lost anything."""
    if _libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def give_name(made: Path, path: Path) -> None:
    """Give a whole file its name; raises FileExistsError where anything bears that already, and OSError."""
    try:
        os.link(made, path)  # unlike a rename, this never replaces a file that was made meanwhile
    except FileExistsError:
        raise
    except OSError as error:
        # FAT and exFAT know no hard links.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        made.rename(path)
