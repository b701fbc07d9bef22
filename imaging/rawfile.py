"""Raw disk files, plain or compressed, as foreign disks."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging import gpt
from imaging.blockdev import opened, read, size_of
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.extents import Extents
from imaging.foreign import PIECE, ForeignImage
from imaging.unpacking import Packing, packing_of, unpacked

_HEAD = 8 << 10
"""Bytes from which a disk's sector size is known."""
_NO_DISK = (
    (0, b"QFI\xfb", "a qcow2 disk"),
    (0, b"KDMV", "a VMware disk"),
    (0, b"COWD", "a VMware disk"),
    (0x40, b"\x7f\x10\xda\xbe", "a VirtualBox disk"),
    (0, b"conectix", "a VHD disk"),
    (0, b"vhdxfile", "a VHDX disk"),
    (257, b"ustar", "a tar archive"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"MSWIM\0\0\0", "a WIM archive"),
    (0, b"partclone-image", "one file system, saved by partclone"),
    (0, b"\0ntfsclone-image", "one file system, saved by ntfsclone"),
    (0, b"PaRtImAgE-VoLuMe", "one file system, saved by partimage"),
)
"""What is known by its magic, at an offset, not to be a raw disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDisk:
    """A disk file that is not compressed."""

    path: Path
    name: str
    size: int
    sector: int
    used: Extents | None = None
    left_out: frozenset[int] = frozenset()

    def pieces(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """As ForeignDisk, from `start` on; holes of the file are passed over."""
        with opened(str(self.path)) as fd:
            at = start
            while (at := _next_data(fd, at, self.path)) < self.size:
                size = min(PIECE, self.size - at)
                yield at, read(fd, size, at)
                at += size


def _next_data(fd: int, at: int, path: Path) -> int:
    """Where, from `at` on, a file holds something; a number past its end where nowhere."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return 1 << 63
        raise IoError(f"{path} cannot be read: {error.strerror}", code="read-failed") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedDisk:
    """A disk file that is compressed: its end alone tells its size."""

    path: Path
    name: str
    sector: int
    packing: Packing
    size: None = None
    used: Extents | None = None
    left_out: frozenset[int] = frozenset()

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """As ForeignDisk."""
        at = 0
        with opened(str(self.path)) as fd, unpacked(fd, self.packing, self.path.name) as stream:
            while data := stream.read(PIECE):
                yield at, data
                at += len(data)


def open_raw(path: Path) -> ForeignImage:
    """The disk that a regular file holds, compressed or not.

    Raises BadImageError where a compressed one is empty or cannot be unpacked, RefusedError where it holds what is
    known not to be a disk, IoError.
    """
    with opened(str(path)) as fd:
        size = size_of(fd)
        head = read(fd, min(_HEAD, size), 0)
        packing = packing_of(head)
        if packing is None:
            _refuse_other(head, path)
            disk = RawDisk(path=path, name=path.name, size=size, sector=gpt.sector_size(head))
            return ForeignImage(kind="raw disk", disks=(disk,))
        with unpacked(fd, packing, path.name) as stream:
            head = stream.read(_HEAD)
    _refuse_other(head, path)
    ending = f".{packing}"
    name = path.name.removesuffix(ending) if path.name != ending else path.name
    packed = PackedDisk(path=path, name=name, sector=gpt.sector_size(head), packing=packing)
    return ForeignImage(kind=f"raw disk ({packing})", disks=(packed,))


def _refuse_other(head: bytes, path: Path) -> None:
    if not head:
        raise BadImageError(f"{path.name} holds nothing", code="bad-stream")
    for at, magic, what in _NO_DISK:
        if head[at : at + len(magic)] == magic:
            raise RefusedError(
                f"{path.name} holds {what}",
                code="not-a-disk",
                hint="unpack it first, or restore it onto a disk with the program that made it",
            )
