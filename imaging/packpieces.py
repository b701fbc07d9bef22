"""The bytes of an image in a single file, or in pieces of one; see imaging.pack."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from imaging import packformat
from imaging.behind import announce, forget
from imaging.durable import reading
from imaging.errors import BadImageError, IoError
from imaging.regular import open_regular

LARGEST = 1 << 62


class Pieces:
    """Files one after the other, as one."""

    def __init__(self, paths: Sequence[Path], *, from_medium: bool = False) -> None:
        """Take the files; `from_medium` is for all of `read`.

        Raises BadImageError where one is not a regular file, IoError.
        """
        self.paths = paths
        self._from_medium = from_medium
        self.sizes = []
        stamps = []
        for path in paths:
            with reading(path):
                fd = open_regular(path, LARGEST)
                status = os.fstat(fd)
                os.close(fd)
            self.sizes.append(status.st_size)
            stamps.append((str(path), status.st_size, status.st_mtime_ns))
        self.size = sum(self.sizes)
        self.stamp = repr(stamps).encode()
        """What changes whenever a file does."""

    def _parts(self, at: int, size: int) -> Iterator[tuple[Path, int, int]]:
        """The file, offset and length of each part of a range."""
        for path, length in zip(self.paths, self.sizes, strict=True):
            if size <= 0:
                return
            if at < length:
                part = min(size, length - at)
                yield path, at, part
                at, size = 0, size - part
            else:
                at -= length

    def path_at(self, at: int) -> Path:
        """The file that holds an offset; the last one for any behind all."""
        return next((path for path, _, _ in self._parts(at, 1)), self.paths[-1])

    def read_into(self, view: memoryview, at: int, *, from_medium: bool = False) -> None:
        """Fill a view from an offset. Raises BadImageError where the files end before that, IoError."""
        done = 0
        for path, offset, size in self._parts(at, len(view)):
            with self._open(path) as fd:
                if from_medium:
                    forget(fd, offset, size)
                end = done + size
                while done < end:
                    got = os.preadv(fd, [view[done:end]], offset)
                    if not got:
                        raise packformat.not_whole(str(path), "it has become shorter")
                    done, offset = done + got, offset + got
        if done < len(view):
            path = self.paths[0]
            raise BadImageError(f"{path}: its index points beyond its end", code="bad-image-file")

    def read(self, at: int, size: int) -> bytes:
        """So many bytes; raises as `read_into`."""
        data = bytearray(size)
        self.read_into(memoryview(data), at, from_medium=self._from_medium)
        return bytes(data)

    def announce(self, at: int, size: int, *, from_medium: bool) -> None:
        """Have the kernel read a range meanwhile; where it is to come from the medium, memory lets go of it first."""
        for path, offset, part in self._parts(at, size):
            with suppress(IoError), self._open(path) as fd:
                if from_medium:
                    forget(fd, offset, part)
                announce(fd, offset, part)

    @staticmethod
    def _open(path: Path) -> "_Opened":
        return _Opened(path)


class _Opened:
    """A file that is read, closed at the end; what fails says that the image's medium does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> int:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise IoError(
                f"{self._path} is gone: the disk with the image is no longer there",
                code="library-gone",
                hint="attach the disk that holds it again, and start anew",
            ) from error
        except OSError as error:
            raise IoError(f"{self._path} cannot be read: {error.strerror}", code="read-failed") from error
        return self._fd

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with suppress(OSError):
            os.close(self._fd)
        if isinstance(error, OSError):
            raise IoError(f"{self._path} cannot be read: {error.strerror}", code="read-failed") from error
