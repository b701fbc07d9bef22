"""A library of images: a folder with the chunks of all images and a folder for each image."""

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from imaging import extents, index, manifest, media
from imaging.chunk import CHUNK_SIZE
from imaging.disk import Size
from imaging.durable import sync_folder, write_file, written
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.extents import Extents
from imaging.index import DigestTable, Index
from imaging.manifest import Image, ImagedDisk
from imaging.stores import LocalStore

FORMAT = 1
FOLDER = "rescue-library"
"""The folder that holds a library at the root of a medium."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OURS_TO_BE = re.compile(r"lost\+found|\.library\.json\.[0-9a-f]+\.tmp")
"""What may stand in a folder that becomes a library: a first capture that was killed leaves such a file."""
_MOST_JSON = 16 << 20
"""Bytes that no manifest exceeds."""
_MOST_FILE = 1 << 30
"""Bytes that no file beside a manifest exceeds, for it is held in memory: chunks for 100 TB, 60 million ranges."""
_SMALLEST_BLOCK = 512
_FEW = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryInfo:
    """`library.json`."""

    format: Size
    id: str
    digest: str
    chunk_size: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedImage:
    """An image's folder whose manifest cannot be used, and why."""

    id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The images of a library, newest first, and those that are damaged."""

    images: tuple[Image, ...]
    damaged: tuple[DamagedImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFiles:
    """What lies beside the manifest for one disk."""

    index: Index
    used: Extents
    digests: DigestTable


class Library:
    """An open library. Nothing is written but by a capture."""

    def __init__(self, path: Path, info: LibraryInfo) -> None:
        """Use `open` or `open_or_create`."""
        self.path = path
        self.info = info

    @classmethod
    def open(cls, path: Path) -> "Library":
        """Open the library in the folder `path`; raises BadImageError where there is none or it is too new."""
        name = path / "library.json"
        try:
            data = read_regular(name, _MOST_JSON, "not-a-library")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BadImageError(
                f"{path} is not an image library: there is no library.json in it",
                code="not-a-library",
                hint="give the folder that an earlier capture made, with --library",
            ) from error
        except OSError as error:
            raise IoError(f"{name} cannot be read: {error.strerror}", code="read-failed") from error
        try:
            document: Any = msgspec.json.decode(data)
            if isinstance(document, dict) and document.get("format") != FORMAT:
                raise BadImageError(
                    f"{path}: library format version {document.get('format')} is not known to this program "
                    f"(it reads {FORMAT})",
                    code="unknown-version",
                    hint="use a newer version of Rescue",
                )
            info = msgspec.convert(document, LibraryInfo)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadImageError(f"{name} is damaged: {error}", code="not-a-library") from error
        if info.digest != "sha512-256":
            raise BadImageError(
                f"{path}: chunks named by {info.digest} are not known to this program", code="unknown-version"
            )
        return cls(path, info)

    @classmethod
    def open_or_create(cls, path: Path) -> "Library":
        """Open a library, or make one in an empty or absent folder; raises RefusedError where it holds other files."""
        if _is_there(path / "library.json"):
            return cls.open(path)
        refuse_to_create(path)
        info = LibraryInfo(format=FORMAT, id=secrets.token_hex(16), digest="sha512-256", chunk_size=CHUNK_SIZE)
        with written(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in ("images", "chunks", "writers"):
                (path / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path / "library.json", msgspec.json.format(msgspec.json.encode(info), indent=1) + b"\n")
        return cls(path, info)

    def images(self) -> Listing:
        """All images; a folder without a manifest is a capture that never ended, and is no image."""
        images, damaged = [], []
        for folder in self._folders():
            try:
                images.append(self.image(folder.name))
            except (BadImageError, IoError) as error:
                damaged.append(DamagedImage(id=folder.name, problem=error.message))
        images.sort(key=lambda image: (image.created, image.id), reverse=True)
        return Listing(images=tuple(images), damaged=tuple(sorted(damaged, key=lambda d: d.id)))

    def _folders(self) -> Sequence[Path]:
        try:
            return [f for f in (self.path / "images").iterdir() if _may_be_there(f / "manifest.json")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise IoError(f"{self.path} cannot be read: {error.strerror}", code="read-failed") from error

    def image(self, image_id: str) -> Image:
        """One image; raises BadImageError where there is none of that id or its manifest cannot be used."""
        name = self.path / "images" / image_id / "manifest.json"
        if not _ID.fullmatch(image_id) or not _is_there(name):
            raise BadImageError(
                f"there is no image {image_id!r} in {self.path}",
                code="no-such-image",
                hint="`rescue images` lists them",
            )
        image = manifest.decode(_read(name, _MOST_JSON), str(name))
        if image.id != image_id:
            raise BadImageError(f"{name}: the manifest is of another image, {image.id!r}", code="bad-manifest")
        return image

    def files(self, image: Image, disk: ImagedDisk) -> DiskFiles:
        """Index, used map and digest table of a disk; raises BadImageError where they are not those of the manifest."""

        def read(suffix: str, digest: str) -> tuple[bytes, str]:
            name = self.file(image.id, disk.name, suffix)
            data = _read(name, most_bytes(disk, suffix))
            if blake3(data).hexdigest() != digest:
                raise BadImageError(
                    f"{name} is damaged: it is not the file that the manifest names", code="bad-image-file"
                )
            return data, str(name)

        chunks = index.decode(*_with_size(read("caibx", disk.index_digest), disk.size))
        used = extents.decode(*_with_size(read("used", disk.used_digest), disk.size))
        digests = index.decode_digests(*_with_size(read("blake3", disk.blake3_digest), len(chunks)))
        return DiskFiles(index=chunks, used=used, digests=digests)

    def file(self, image_id: str, disk: str, suffix: str) -> Path:
        """Where the index ("caibx"), used map ("used") or digest table ("blake3") of an image's disk lies."""
        return self.path / "images" / image_id / f"{disk}.{suffix}"

    def store(self, distrust_since: float | None = None, *, from_medium: bool = False) -> LocalStore:
        """Where the chunks lie; with `from_medium` none is taken from memory."""
        return LocalStore(self.path / "chunks", distrust_since, from_medium=from_medium)

    def write_disk(self, image_id: str, name: str, files: DiskFiles) -> tuple[str, str, str]:
        """Write what stands beside the manifest; returns the digests of index, used map and digest table, in hex."""
        folder = self.path / "images" / image_id
        parts = {
            "caibx": files.index.encoded,
            "used": extents.encode(files.used, files.index.size),
            "blake3": files.digests.encoded,
        }
        for suffix, data in parts.items():
            if len(data) > _MOST_FILE:
                raise RefusedError(f"{name} has too many chunks or used ranges for an image", code="too-large")
            write_file(folder / f"{name}.{suffix}", data)
        index_digest, used_digest, blake3_digest = (blake3(data).hexdigest() for data in parts.values())
        return index_digest, used_digest, blake3_digest

    def commit(self, image: Image) -> None:
        """Write the manifest: from here on, the image exists."""
        folder = self.path / "images" / image.id
        try:
            write_file(folder / "manifest.json", manifest.encode(image))
            with written(folder):
                sync_folder(folder.parent)
        except IoError:
            # A capture that fails must not leave an image that the next start of the machine may not find.
            with suppress(OSError):
                (folder / "manifest.json").unlink(missing_ok=True)
            raise

    def discard(self, image_id: str) -> None:
        """Remove the folder of a capture that did not end; one with a manifest is never touched."""
        folder = self.path / "images" / image_id
        if _ID.fullmatch(image_id) and not _may_be_there(folder / "manifest.json"):
            shutil.rmtree(folder, ignore_errors=True)

    def new_id(self) -> str:
        """An id for a new image: the time, and a few letters against two captures in one second."""
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"

    def begin(self, image_id: str) -> bool:
        """Make the folder of a new image; False where another capture has taken the id. Raises IoError."""
        folder = self.path / "images" / image_id
        with written(folder):
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                return False
        return True


def _is_there(path: Path) -> bool:
    """Whether a file exists; raises IoError where that cannot be known, which is not the same as no."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise IoError(f"{path} cannot be looked at: {error.strerror}", code="read-failed") from error
    return True


def _may_be_there(path: Path) -> bool:
    """Whether a file exists, or nobody can tell."""
    try:
        return _is_there(path)
    except IoError:
        return True


def _with_size(part: tuple[bytes, str], size: int) -> tuple[bytes, int, str]:
    return part[0], size, part[1]


def most_bytes(disk: ImagedDisk, suffix: str) -> int:
    """The length that no file beside the manifest exceeds: what a disk of that size can need, and what is held."""
    match suffix:
        case "used":
            ranges = disk.size // _SMALLEST_BLOCK // 2 + len(disk.volumes) + _FEW
            return min(_MOST_FILE, _FEW + 16 * ranges)
        case _:
            regions = len(disk.volumes) + len(disk.left_out)
            chunks = disk.size // CHUNK_SIZE + 2 * regions + _FEW
            return min(_MOST_FILE, _FEW + 40 * chunks)


def open_regular(name: Path, most: int, code: str = "bad-image-file") -> int:
    """Open a file of a library for reading: a library can come from anyone, with links and pipes for files.

    Raises OSError, and BadImageError with `code` where it is not a regular file or longer than `most` bytes.
    """
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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


def read_regular(name: Path, most: int, code: str = "bad-image-file") -> bytes:
    """A file of a library, of `most` bytes at most; raises as `open_regular` does."""
    with os.fdopen(open_regular(name, most, code), "rb") as file:
        return file.read(most)


def _read(name: Path, most: int) -> bytes:
    try:
        return read_regular(name, most)
    except FileNotFoundError as error:
        raise BadImageError(f"{name} is missing", code="bad-image-file") from error
    except OSError as error:
        raise IoError(f"{name} cannot be read: {error.strerror}", code="read-failed") from error


def refuse_to_create(path: Path) -> None:
    """Raise RefusedError unless a library can be made in the folder: it is absent or empty."""
    try:
        others = [entry.name for entry in path.iterdir() if not _OURS_TO_BE.fullmatch(entry.name)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise RefusedError(f"{path} cannot be used for a library: {error.strerror}", code="not-a-library") from error
    if others and not set(others) <= {"images", "chunks", "writers"}:
        raise RefusedError(
            f"{path} is neither an image library nor empty: it holds {sorted(others)[0]!r}",
            code="not-a-library",
            hint="give an empty or a new folder",
        )


def discover() -> tuple[Path, ...]:
    """Libraries that can be used at once: `$RESCUE_LIBRARY`, then those at the root of mounted media."""
    found = [Path(os.environ["RESCUE_LIBRARY"])] if os.environ.get("RESCUE_LIBRARY") else []
    for root in media.mounted():
        found.extend(p for p in (root, root / FOLDER) if _may_be_there(p / "library.json"))
    return tuple(dict.fromkeys(found))


def candidates() -> tuple[Path, ...]:
    """Folders on attached media where a library is, or could be made."""
    roots = media.mounted(writable=True)
    here = [path for path in discover() if os.access(path, os.W_OK) or any(path.is_relative_to(root) for root in roots)]
    new = [root / FOLDER for root in roots if not any(path.is_relative_to(root) for path in here)]
    return (*here, *new)
