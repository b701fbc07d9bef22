"""The data of one file, copied into another: holes stay holes."""

import errno
import os
from collections.abc import Callable, Iterator

from imaging.durable import write_all

_BLOCK = 4 << 20
_HOLE = 64 << 10
"""Bytes of zeros that become a hole, as Windows has them on NTFS."""


class SourceError(Exception):
    """Reading failed at byte `at`, and not writing; the OSError is its cause."""

    def __init__(self, at: int) -> None:
        """Take where."""
        super().__init__(at)
        self.at = at


def copy(source: int, out: int, passed: Callable[[int, int], None], *, zeros_are_holes: bool = False) -> int:
    """Copy all of an open file to another that is empty; returns the bytes that were written.

    `zeros_are_holes` is for a file system that does not tell where its holes are: zeros become some.

    `passed` is told of each step: so many bytes were gone through, and so many of them written. Raises OSError where
    writing fails, SourceError where reading does, and whatever `passed` raises.
    """
    at, end, total = 0, os.fstat(source).st_size, 0
    while at < end:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # the rest is a hole
            start = at
        passed(start - at, 0)
        try:
            data = os.pread(source, _BLOCK, start)
        except OSError as error:
            raise SourceError(start) from error
        if not data:
            break
        written = 0
        for offset, piece in _pieces(data) if zeros_are_holes else ((0, data),):
            os.lseek(out, start + offset, os.SEEK_SET)
            write_all(out, piece)
            written += len(piece)
        at = start + len(data)
        total += written
        passed(len(data), written)
    os.ftruncate(out, end)
    return total


def _pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that are not all zeros, each with where it begins."""
    if data.count(0) == len(data):
        return
    for offset in range(0, len(data), _HOLE):
        piece = data[offset : offset + _HOLE]
        if piece.count(0) != len(piece):
            yield offset, piece


def same(one: int, other: int, passed: Callable[[int], None]) -> bool:
    """Whether two open files hold the same bytes, holes being zeros; `passed` is told how many were compared.

    Raises SourceError where the first cannot be read, OSError where the other cannot.
    """
    end = os.fstat(one).st_size
    if end != os.fstat(other).st_size:
        return False
    at = 0
    while at < end:
        start = min(_data_from(one, at, end), _data_from(other, at, end))
        passed(start - at)
        size = min(_BLOCK, end - start)
        try:
            data = os.pread(one, size, start)
        except OSError as error:
            raise SourceError(start) from error
        if len(data) != size or data != os.pread(other, size, start):
            return False
        passed(size)
        at = start + size
    return True


def _data_from(fd: int, at: int, end: int) -> int:
    """Where data begins from `at` on; the end where the rest is a hole, `at` where that is not known."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        return end if error.errno == errno.ENXIO else at


def data_size(fd: int) -> int:
    """The bytes of an open file that are no holes."""
    at, end, total = 0, os.fstat(fd).st_size, 0
    while (start := _data_from(fd, at, end)) < end:
        at = os.lseek(fd, start, os.SEEK_HOLE)
        total += at - start
    return total
