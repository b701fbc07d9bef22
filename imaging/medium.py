"""What a recovery medium is, and whether a disk, a disc or an image file is one; nothing is mounted or written.

Its layout (format 1): a hybrid of ISO 9660 and GPT. Partition 1 is the ISO with the whole live system, partition 2 the
EFI system partition, partition 3 the images, where it has any. `rescue/media.json` in the ISO says what it is.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from imaging import gpt, iso, unfinished
from imaging.behind import forget
from imaging.blockdev import is_block_device, opened, read, size_of
from imaging.bounded import Bounded
from imaging.decodable import decodable
from imaging.disk import Size
from imaging.errors import BadImageError, IoError, UsageError
from imaging.gpt import Entry
from imaging.iso import Iso, IsoFile
from imaging.unfinished import MEDIUM

FORMAT = 1
SECTOR = 512
"""Bytes of the sectors that its partition table counts in, whatever the medium's own are."""
IMAGES_LABEL = "RESCUE-IMAGES"
"""The name of the images partition in the table, and the label of its file system."""
FOLDERS = ("rescue", "boot", "EFI", "eltorito")
"""The folders of the ISO that make the system."""
LIBRARY = "rescue-library"
"""The folder of the ISO that holds images, on a disc that was made with some."""
SUMS = "rescue/SHA256SUMS"
_NOT_KEPT = 256 << 10
"""Bytes of a read from which on it is a check that reads on: a live system has little memory, and others' to keep."""
_ABOUT = "rescue/media.json"
_MOST_ABOUT = 64 << 10
_EFI_SYSTEM = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
_BUILT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_IMAGES = 3
"""The number of the images partition."""


@decodable
class About(msgspec.Struct, frozen=True, kw_only=True):
    """`rescue/media.json`: what a medium says of itself; `system_bytes` is the end of its EFI partition."""

    format: Size
    version: str
    build: str
    built: str
    flavour: str = ""
    system_bytes: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One partition: where it lies on the medium, and the first byte past it."""

    number: int
    start: int
    end: int
    name: str

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """A recovery medium, by what it says of itself; whether that is true, imaging.mediumcheck finds out.

    `size` is the bytes of the device or file, `needed` those that it must have by its own table and system.
    """

    path: str
    size: int
    about: About
    needed: int
    system: int
    """Bytes of the system region: from the first one to the end of the EFI partition, or of the ISO without one."""
    efi: Part | None
    images: Part | None
    filled: int = 0
    """Bytes of the images partition that its ext4 knows of: fewer than it has where its growth was cut off."""
    holds_library: bool = False
    """Whether images lie in the ISO itself, as on a disc that was made with some."""

    @property
    def cut_off(self) -> bool:
        """Whether the device or file ends before the system does, or before its last partition."""
        return self.size < self.needed


@contextmanager
def volume_of(path: str) -> Iterator[Bounded]:
    """A disk or file, to be read within its bounds; raises UsageError for a partition, IoError, RefusedError."""
    name = os.path.realpath(path).rpartition("/")[2]
    if is_block_device(path) and Path("/sys/class/block", name, "partition").exists():
        raise UsageError(f"{path} is a partition; give the whole disk", code="not-a-whole-disk")
    with opened(path) as fd:
        yield bounded(fd)


def bounded(fd: int) -> Bounded:
    """An open device or file, to be read within its bounds; what was read of it is not kept in memory."""

    def read_and_forget(at: int, size: int) -> bytes:
        data = read(fd, size, at)
        if size >= _NOT_KEPT:
            forget(fd, at, size)
        return data

    return Bounded(read=read_and_forget, size=size_of(fd))


def look(path: str) -> Medium:
    """What recovery medium a device, a disc or an image file is; takes a moment.

    Raises BadImageError with code "not-a-medium" where it is none, "unfinished-medium" where one was begun and not
    completed, "damaged-medium" where it is one whose description cannot be read, "unknown-version"; IoError where the
    device fails, RefusedError where it may not be read.
    """
    with volume_of(path) as volume:
        return examine(volume, path)


def examine(volume: Bounded, path: str) -> Medium:
    """As `look`, of what is open already; `path` is for words."""
    if volume.size >= SECTOR and unfinished.parse(volume(0, SECTOR)) == MEDIUM:
        raise BadImageError(
            f"{path} is a recovery medium that was only partly made",
            code="unfinished-medium",
            hint="make it again: rescue media create; with --update the images on it are kept",
        )
    if not iso.is_iso(volume):
        raise _no_medium(path)
    try:
        image = iso.open_iso(volume)
        about = _about(image, path)
    except IoError as error:
        if error.code != "bad-map":
            raise
        if not _may_be_ours(volume):
            raise _no_medium(path) from error
        raise _damaged(path, _cut_off(volume) or error.message) from error
    parts = partitions(volume)
    efi = next((_part(e) for e in parts if e.type == _EFI_SYSTEM), None)
    images = next((_part(e) for e in parts if e.number == _IMAGES and _holds_images(volume, e)), None)
    system = max(image.size if efi is None else efi.end, about.system_bytes or 0)
    return Medium(
        path=path,
        size=volume.size,
        about=about,
        system=system,
        needed=max(system, images.end if images else 0),
        efi=efi,
        images=images,
        filled=_ext4_size(volume, images.start) if images else 0,
        holds_library=iso.has_folder(image, LIBRARY),
    )


def _no_medium(path: str) -> BadImageError:
    return BadImageError(
        f"{path} is not a recovery medium", code="not-a-medium", hint="give the stick, the disc, or its image file"
    )


def _damaged(path: str, why: str) -> BadImageError:
    return BadImageError(
        f"the recovery medium {path} is damaged: {why}", code="damaged-medium", hint="make a new recovery medium"
    )


def _cut_off(volume: Bounded) -> str:
    """Why the system of a medium cannot be read where it ends too early, in words; empty where it does not."""
    size = int.from_bytes(volume(16 * iso.BLOCK, iso.BLOCK)[80:84], "little") * iso.BLOCK
    return f"it is cut off: it has {volume.size} bytes of {size}" if size > volume.size else ""


def _may_be_ours(volume: Bounded) -> bool:
    """Whether the label says so, where nothing else can be read."""
    return b"RESCUE" in volume(16 * iso.BLOCK, iso.BLOCK)[40:72].upper()


def _about(image: Iso, path: str) -> About:
    found = iso.files(image, ("rescue",)).get(_ABOUT)
    if found is None:
        raise _no_medium(path)
    return parse_about(iso.read_file(image, found, _MOST_ABOUT), path)


def parse_about(data: bytes, path: str) -> About:
    """Parse `rescue/media.json`; raises BadImageError where it is damaged or of an unknown format."""
    try:
        document: Any = msgspec.json.decode(data)
        if isinstance(document, dict) and document.get("format") != FORMAT:
            raise BadImageError(
                f"{path}: a recovery medium of format {document.get('format')} is not known to this program "
                f"(it knows {FORMAT})",
                code="unknown-version",
                hint="use a newer version of Rescue",
            )
        about = msgspec.convert(document, About)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(path, f"{_ABOUT} cannot be understood: {error}") from error
    if not _BUILT.fullmatch(about.built):
        raise _damaged(path, f"{_ABOUT} names no date on which it was built")
    return about


def partitions(volume: Bounded) -> tuple[Entry, ...]:
    """The partitions of the medium's table, by the copy at its start; none where that cannot be read."""
    try:
        header = gpt.parse_header(volume(SECTOR, SECTOR))
        return gpt.parse_entries(header, volume(header.entries_at * SECTOR, header.entries_bytes))
    except (BadImageError, IoError):
        return ()


def _part(entry: Entry) -> Part:
    return Part(number=entry.number, start=entry.first * SECTOR, end=(entry.last + 1) * SECTOR, name=entry.name)


def _holds_images(volume: Bounded, entry: Entry) -> bool:
    return entry.name == IMAGES_LABEL or label_at(volume, entry.first * SECTOR) == IMAGES_LABEL


def label_at(volume: Bounded, start: int) -> str:
    """The label of the ext4 file system that begins there; empty where there is none. See ext4(5), superblock."""
    block = _superblock(volume, start)
    return block[120:136].split(b"\0", 1)[0].decode("ascii", "replace")


def _superblock(volume: Bounded, start: int) -> bytes:
    """The first bytes of the superblock of ext4; empty where there is none."""
    at = start + 1024
    block = volume(at, 1024) if at + 1024 <= volume.size else b""
    return block if block[56:58] == b"\x53\xef" else b""


def _ext4_size(volume: Bounded, start: int) -> int:
    block = _superblock(volume, start)
    if not block or block[24] > 6:
        return 0
    low, high = int.from_bytes(block[4:8], "little"), int.from_bytes(block[336:340], "little")
    wide = int.from_bytes(block[96:100], "little") & 0x80
    return (low | (high << 32 if wide else 0)) << (10 + block[24])


def system_files(volume: Bounded) -> tuple[Iso, dict[str, IsoFile]]:
    """The files that make the system, by their paths; raises IoError (code "bad-map")."""
    image = iso.open_iso(volume)
    return image, iso.files(image, FOLDERS)


def folder_about(folder: Path) -> About | None:
    """What the medium mounted in a folder says of itself; None where it says nothing. Raises BadImageError."""
    try:
        data = (folder / _ABOUT).read_bytes()[:_MOST_ABOUT]
    except OSError:
        return None
    return parse_about(data, str(folder))
