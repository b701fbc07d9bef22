"""A library of images: a folder with the chunks of all images and a folder for each image."""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from blake3 import blake3

from imaging import extents, index, keyring, libraryinfo, manifest, media, mounts, notebook, remote
from imaging.address import is_address
from imaging.chunk import CHUNK_SIZE, is_whole
from imaging.durable import reading, sync_folder, write_file, written
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.extents import Extents
from imaging.factory import factory_image
from imaging.index import DigestTable, Index
from imaging.keyslots import KeySlots
from imaging.libraryinfo import FORMAT, LibraryInfo
from imaging.manifest import Image, ImagedDisk
from imaging.notes import NAME as NOTES
from imaging.notes import FactoryState, Notes
from imaging.pack import Pack, in_folder
from imaging.packstore import PackStore
from imaging.regular import read_regular
from imaging.remote import Mirror
from imaging.remotestore import RemoteStore, cache_here
from imaging.sealedstore import SealedStore
from imaging.sealing import FILE_OVERHEAD, Seal, opened, sealed
from imaging.settling import settle
from imaging.stores import ChunkStore, LocalStore

FOLDER = "rescue-library"
"""The folder that holds a library at the root of a medium."""
_IN_MEMORY = ("overlay", "tmpfs", "ramfs", "rootfs", "devtmpfs")
"""File systems that the live system has in memory."""
WITHDRAWN = "manifest.deleted"
"""What a manifest is called once its image was deleted, as long as the image's folder is there."""
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
class DamagedImage:
    """An image's folder whose manifest cannot be used, and why."""

    id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The images of a library, newest first, and those that are damaged."""

    images: tuple[Image, ...]
    damaged: tuple[DamagedImage, ...]
    notes: Mapping[str, Notes] = field(default_factory=dict)
    """What is noted of each image, by its id."""
    ignored: tuple[str, ...] = ()
    """Notes that cannot be used, and why, in words: their images are none the worse for it."""
    unnoted: frozenset[str] = frozenset()
    """The ids of these images: whether one is pinned is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFiles:
    """What lies beside the manifest for one disk."""

    index: Index
    used: Extents
    digests: DigestTable


class Library:
    """An open library."""

    def __init__(self, path: Path, info: LibraryInfo, mirror: Mirror | None = None, seal: Seal | None = None) -> None:
        """Use `open` or `open_or_create`."""
        self.path = path
        self.info = info
        self.seal = seal
        """Where the library is encrypted: every file of an image, and every chunk, passes through it."""
        self.mirror = mirror
        """Where the library is not in this folder but at an address."""

    @property
    def root(self) -> Path:
        """The folder in which its files are read: its own, or that which stands for it here."""
        return self.path if self.mirror is None else self.mirror.folder

    @property
    def single(self) -> bool:
        """Whether it is an image in a single file."""
        return self.mirror is not None and isinstance(self.mirror.objects, Pack)

    @property
    def where(self) -> str:
        """Its folder, or its address."""
        return str(self.path) if self.mirror is None else self.mirror.objects.address.url

    @classmethod
    def open(cls, path: Path, *, from_medium: bool = False) -> "Library":
        """Open the library in the folder `path`, or the image in that file; `from_medium` is as in remote.mirror_of.

        Raises BadImageError where there is none or it is too new.

        Raises RefusedError with code "passphrase-needed" or "wrong-passphrase" where it is encrypted: see
        imaging.keyring.
        """
        mirror = remote.mirror_of(path, from_medium=from_medium)
        info = cls.look(path, mirror)
        return cls(path, info, mirror, keyring.seal_of(info, mirror.objects.address.url if mirror else str(path), path))

    @classmethod
    def look(cls, path: Path, mirror: Mirror | None = None) -> LibraryInfo:
        """What `library.json` says, which needs no passphrase; raises as `open` does."""
        mirror = mirror or remote.mirror_of(path)
        file, name = path / "library.json", str(path / "library.json")
        if mirror is not None:
            mirror.pull("library.json")
            file, name = mirror.folder / "library.json", f"{mirror.objects.address.url}: library.json"
        try:
            data = read_regular(file, _MOST_JSON, "not-a-library", name)
        except (FileNotFoundError, NotADirectoryError) as error:
            where = mirror.objects.address.url if mirror else path
            raise BadImageError(
                f"{where} is not an image library: there is no library.json in it",
                code="not-a-library",
                hint="give the folder that an earlier capture made, with --library",
            ) from error
        except OSError as error:
            raise IoError(f"{name} cannot be read: {error.strerror}", code="read-failed") from error
        return libraryinfo.decode(data, name, str(path))

    @classmethod
    def open_or_create(cls, path: Path, *, lasting: bool = True) -> "Library":
        """Open a library, or make one in an empty or absent folder; raises RefusedError where it holds other files.

        One that is to last is not made in the memory of the live system, either.
        """
        mirror = remote.mirror_of(path)
        if _has_one(path, mirror):
            return cls.open(path)
        return cls._made(path, mirror, lasting=lasting) or cls.open(path)

    @classmethod
    def create(
        cls, path: Path, features: Sequence[str] = (), slots: Callable[[str], KeySlots] | None = None
    ) -> "Library":
        """Make an empty library, which requires these features, in an empty or absent folder.

        `slots` makes the key slots of one that is encrypted, from its id; its key is in the keyring then. Raises
        RefusedError where there is anything, IoError.
        """
        mirror = remote.mirror_of(path)
        there = _has_one(path, mirror)
        library = None if there else cls._made(path, mirror, lasting=True, features=features, slots=slots)
        if library is None:
            where = mirror.objects.address.url if mirror else path
            raise RefusedError(f"{where} is an image library already", code="library-there")
        return library

    @classmethod
    def _made(
        cls,
        path: Path,
        mirror: Mirror | None,
        *,
        lasting: bool,
        features: Sequence[str] = (),
        slots: Callable[[str], KeySlots] | None = None,
    ) -> "Library | None":
        """A library that was made; None where somebody else has made it at the same moment."""
        where = mirror.objects.address.url if mirror else str(path)
        keyring.refuse_another("", where, path)
        if mirror is None:
            try:
                refuse_to_create(path)
            except RefusedError:
                if _is_there(path / "library.json"):  # since it was looked for
                    return None
                raise
            if lasting:
                _refuse_memory(path)
        else:
            mirror.refuse_to_create()
        library_id = secrets.token_hex(16)
        info = LibraryInfo(
            format=FORMAT,
            id=library_id,
            digest="sha512-256",
            chunk_size=CHUNK_SIZE,
            features=tuple(features),
            needs=libraryinfo.needed(features),
            encryption=slots(library_id) if slots is not None else None,
        )
        with written(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in ("images", "chunks", "writers"):
                (path / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path / "library.json", libraryinfo.encode(info))
        if mirror is not None and not mirror.push(path / "library.json", new=True):
            return None
        return cls(path, info, mirror, keyring.seal_of(info, where, path))

    def images(self) -> Listing:
        """All images; a folder without a manifest is a capture that never ended, and is no image."""
        if self.mirror is not None:
            self.mirror.refresh_images()
        images, damaged, ignored = [], [], []
        noted: dict[str, Notes] = {}
        unnoted: set[str] = set()
        marked = self._marked()
        for name in self._names():
            try:
                image = self.captured(name)
            except (BadImageError, IoError) as error:
                damaged.append(DamagedImage(id=name, problem=error.message))
                continue
            found, problem = notebook.read(self.root.joinpath("images", name), self.seal)
            noted[image.id] = _with_mark(found) if image.id == marked else found
            images.append(_labelled(image, noted[image.id]))
            if problem:
                ignored.append(problem)
                unnoted.add(image.id)
        images.sort(key=lambda image: (image.created, image.id), reverse=True)
        return Listing(
            images=tuple(images),
            damaged=tuple(sorted(damaged, key=lambda d: d.id)),
            notes=noted,
            ignored=tuple(sorted(ignored)),
            unnoted=frozenset(unnoted),
        )

    def _names(self) -> Sequence[str]:
        """The folders that have a manifest, or of which nobody can tell."""
        try:
            with os.scandir(self.root / "images") as found:
                return [entry.name for entry in found if _may_be_there(f"{entry.path}/manifest.json")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise IoError(f"{self.path} cannot be read: {error.strerror}", code="read-failed") from error

    def image(self, image_id: str) -> Image:
        """One image, with the label that it bears now.

        Raises BadImageError where there is none of that id or its manifest cannot be used.
        """
        return self.image_of(image_id, self.manifest(image_id))

    def image_of(self, image_id: str, data: bytes) -> Image:
        """The image that a manifest is of, with the label that it bears now; raises BadImageError."""
        return _labelled(self._decoded(image_id, data), self.notes(image_id))

    def captured(self, image_id: str) -> Image:
        """One image as it was captured, with the label that it had then; raises as `image` does."""
        return self._decoded(image_id, self.manifest(image_id))

    def manifest(self, image_id: str) -> bytes:
        """An image's manifest, byte for byte; raises BadImageError where there is no such image, IoError."""
        name = self._manifest(image_id)
        if self.mirror is not None and not name.exists():
            self.mirror.pull_image(image_id)
        if not _ID.fullmatch(image_id) or not _is_there(name):
            raise BadImageError(
                f"there is no image {image_id!r} in {self.path}",
                code="no-such-image",
                hint="`rescue images` lists them",
            )
        return self.read(name, _MOST_JSON)

    def _manifest(self, image_id: str) -> Path:
        return self.root.joinpath("images", image_id, "manifest.json")

    def _decoded(self, image_id: str, data: bytes) -> Image:
        name = self._shown(self._manifest(image_id))
        image = manifest.decode(data, name)
        if image.id != image_id:
            raise BadImageError(f"{name}: the manifest is of another image, {image.id!r}", code="bad-manifest")
        return image

    def notes(self, image_id: str) -> Notes:
        """What is noted of an image; nothing where the file is missing or cannot be used."""
        noted = notebook.read(self.root / "images" / image_id, self.seal)[0]
        return _with_mark(noted) if image_id == self._marked() else noted

    def _marked(self) -> str:
        """The image that this medium was made with as the factory image; empty where that cannot be read, too."""
        with suppress(BadImageError, IoError):
            return factory_image(self.root)
        return ""

    def why_unnoted(self, image_id: str) -> str:
        """Why what is noted of an image cannot be used, in words; empty where it can."""
        return notebook.read(self.root / "images" / image_id, self.seal)[1]

    def annotate(self, image_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change what is noted of an image, as notebook.change does; BadImageError where there is no such image."""
        self.captured(image_id)
        folder = self.root / "images" / image_id
        remote.refuse_unless_writable(self.mirror)
        if self.mirror is not None:
            self.mirror.pull_image(image_id)
        noted = notebook.change(folder, change, self.seal)
        if self.mirror is None:
            settle(folder)
        elif (folder / NOTES).exists():
            try:
                self.mirror.push(folder / NOTES)
            except RescueError:
                # What the library did not take must not be read here.
                (folder / NOTES).unlink(missing_ok=True)
                raise
        return noted

    def files(self, image: Image, disk: ImagedDisk) -> DiskFiles:
        """Index, used map and digest table of a disk; raises BadImageError where they are not those of the manifest."""

        def read(suffix: str, digest: str) -> tuple[bytes, str]:
            most = most_bytes(disk, suffix)
            path = self.file(image.id, disk.name, suffix, most)
            data, name = self.read(path, most), self._shown(path)
            if blake3(data).hexdigest() != digest:
                raise BadImageError(
                    f"{name} is damaged: it is not the file that the manifest names", code="bad-image-file"
                )
            return data, name

        chunks = index.decode(*_with_size(read("caibx", disk.index_digest), disk.size))
        used = extents.decode(*_with_size(read("used", disk.used_digest), disk.size))
        digests = index.decode_digests(*_with_size(read("blake3", disk.blake3_digest), len(chunks)))
        return DiskFiles(index=chunks, used=used, digests=digests)

    def file(self, image_id: str, disk: str, suffix: str, most: int = _MOST_FILE) -> Path:
        """Where the index ("caibx"), used map ("used") or digest table ("blake3") of an image's disk lies.

        What is longer than `most` is not brought here, and is damaged for whoever reads it.
        """
        path = self.root / "images" / image_id / f"{disk}.{suffix}"
        if self.mirror is not None:
            self.mirror.ensure(path, most + FILE_OVERHEAD)
        return path

    def read(self, name: Path, most: int) -> bytes:
        """What a file of an image holds, at most so many bytes. Raises BadImageError, IoError."""
        data = _read(name, most if self.seal is None else most + FILE_OVERHEAD, self._shown(name))
        return data if self.seal is None else opened(self.seal, self._place(name), data)

    def _shown(self, path: Path) -> str:
        """What a person calls a file of an image: the folder in which a remote one is read says nothing to anyone."""
        return str(path) if self.mirror is None else f"{self.where}: {self._place(path)}"

    def _place(self, name: Path) -> str:
        return name.relative_to(self.root).as_posix()

    def folder(self, image_id: str) -> Path:
        """An image's folder, with all that is in it. Raises IoError."""
        if self.mirror is not None:
            self.mirror.pull_folder(image_id)
        return self.root / "images" / image_id

    def store(self, distrust_since: float | None = None, *, from_medium: bool = False) -> ChunkStore:
        """Where the chunks lie; with `from_medium` none is taken from memory or from a cache."""
        whole = is_whole if self.seal is None else self.seal.is_whole
        store: ChunkStore
        objects = self.mirror.objects if self.mirror is not None else None
        if isinstance(objects, Pack):
            store = PackStore(objects, from_medium=from_medium)
        elif objects is not None:
            store = RemoteStore(objects, None if from_medium else cache_here(whole), whole)
        else:
            store = LocalStore(self.path / "chunks", distrust_since, from_medium=from_medium, whole=whole)
        return store if self.seal is None else SealedStore(store, self.seal)

    def write_disk(self, image_id: str, name: str, files: DiskFiles) -> tuple[str, str, str]:
        """Write what stands beside the manifest; returns the digests of index, used map and digest table, in hex."""
        parts = {
            "caibx": files.index.encoded,
            "used": extents.encode(files.used, files.index.size),
            "blake3": files.digests.encoded,
        }
        for suffix, data in parts.items():
            if len(data) > _MOST_FILE:
                raise RefusedError(f"{name} has too many chunks or used ranges for an image", code="too-large")
            self.write_beside(image_id, name, suffix, data)
        index_digest, used_digest, blake3_digest = (blake3(data).hexdigest() for data in parts.values())
        return index_digest, used_digest, blake3_digest

    def write_beside(self, image_id: str, disk: str, suffix: str, data: bytes | bytearray) -> None:
        """Write one of the files that stand beside the manifest. Raises IoError."""
        self.write(self.root / "images" / image_id / f"{disk}.{suffix}", data)

    def write(self, name: Path, data: bytes | bytearray) -> None:
        """Write a file of an image, in place of an earlier one. Raises IoError."""
        write_file(name, sealed(self.seal, self._place(name), data))
        if self.mirror is not None:
            self.mirror.push(name)

    def commit(self, image_id: str, data: bytes) -> None:
        """Write the manifest, of these bytes: from here on, the image exists."""
        folder = self.root / "images" / image_id
        try:
            write_file(folder / "manifest.json", sealed(self.seal, self._place(folder / "manifest.json"), data))
            with written(folder):
                sync_folder(folder.parent)
            if self.mirror is None:
                settle(folder)
            elif not self._published(self.mirror, folder / "manifest.json"):
                raise IoError(f"there is an image {image_id} already", code="write-failed", hint="start anew")
        except (IoError, RefusedError):
            # A capture that fails must not leave an image that the next start of the machine may not find.
            with suppress(OSError):
                (folder / "manifest.json").unlink(missing_ok=True)
            raise

    def _published(self, mirror: Mirror, path: Path) -> bool:
        """Write a manifest to where the library is; whether it is there now, and no other under its name."""
        if mirror.push(path, new=True):
            return True
        # The answer to the first attempt may have been lost: it was repeated, and found what it had written.
        return mirror.holds(path)

    def discard(self, image_id: str) -> None:
        """Remove the folder of a capture that did not end; one with a manifest, or that had one, is never touched.

        Nor is one that a link leads to: it may be anybody's, and what names it came with the library. Raises IoError
        where nobody can tell.
        """
        folder = self.root / "images" / image_id
        with reading(folder.parent):
            link = folder.parent.is_symlink()
        if link:
            return
        if _ID.fullmatch(image_id) and not any(_may_be_there(folder / f) for f in ("manifest.json", WITHDRAWN)):
            shutil.rmtree(folder, ignore_errors=True)
            if self.mirror is not None:
                with suppress(IoError, RefusedError):
                    # Another computer may have stored this very image meanwhile: copies bear the id of the original.
                    if not any(self.mirror.is_there(folder / f) for f in ("manifest.json", WITHDRAWN)):
                        self.mirror.remove_all(folder)

    def new_id(self) -> str:
        """An id for a new image: the time, and a few letters against two captures in one second."""
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"

    def begin(self, image_id: str) -> bool:
        """Make the folder of a new image; False where another capture has taken the id. Raises IoError."""
        folder = self.root / "images" / image_id
        with written(folder):
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                return False
        return True


def _with_mark(noted: Notes) -> Notes:
    return noted if noted.factory is not None else replace(noted, factory=FactoryState())


def _labelled(image: Image, noted: Notes) -> Image:
    return image if noted.label is None else replace(image, label=noted.label)


def _has_one(path: Path, mirror: Mirror | None) -> bool:
    """Whether there is a library; what the mirror of one holds may be of yesterday."""
    return mirror.pull("library.json") if mirror is not None else _is_there(path / "library.json")


def _is_there(path: Path | str) -> bool:
    """Whether a file exists; raises IoError where that cannot be known, which is not the same as no."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise IoError(f"{path} cannot be looked at: {error.strerror}", code="read-failed") from error
    return True


def _may_be_there(path: Path | str) -> bool:
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


def _read(path: Path, most: int, name: str) -> bytes:
    try:
        return read_regular(path, most, shown=name)
    except FileNotFoundError as error:
        raise BadImageError(f"{name} is missing", code="bad-image-file") from error
    except OSError as error:
        raise IoError(f"{name} cannot be read: {error.strerror}", code="read-failed") from error


def refuse_to_create(path: Path) -> None:
    """Raise RefusedError unless a library can be made in the folder: it is absent or empty.

    Nor is one made over chunks and images that have lost theirs: it would take those of an encrypted one for damaged.
    """
    try:
        others = [entry.name for entry in path.iterdir() if not _OURS_TO_BE.fullmatch(entry.name)]
        left = [name for name in ("chunks", "images") if name in others and any((path / name).iterdir())]
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
    if left:
        raise RefusedError(
            f"{path} is a library that has lost its library.json: {left[0]!r} in it is not empty",
            code="not-a-library",
            hint="put back a copy of library.json, or give another folder; remove nothing",
        )


def _refuse_memory(path: Path) -> None:
    """On the live system a folder on which nothing is mounted is gone when the computer is switched off."""
    if media.on_live_system() and mounts.kind_beneath(path) in _IN_MEMORY:
        raise RefusedError(
            f"{path} lies in this computer's memory: what is stored there is lost when it is switched off",
            code="in-memory",
            hint="mount the disk or share that is meant, and start anew",
        )


def discover() -> tuple[Path, ...]:
    """Libraries that can be used at once: `$RESCUE_LIBRARY`, then those at the root of mounted media."""
    given = os.environ.get("RESCUE_LIBRARY", "")
    found = [remote.folder_for(given) if is_address(given) else Path(given)] if given else []
    for root in media.mounted():
        found.extend(p for p in (root, root / FOLDER) if _may_be_there(p / "library.json"))
    return tuple(dict.fromkeys(found))


def single_files() -> tuple[Path, ...]:
    """Images in single files at the root of mounted media."""
    return tuple(path for root in media.mounted() for path in in_folder(root))


def candidates() -> tuple[Path, ...]:
    """Folders on attached media where a library is, or could be made."""
    roots = media.mounted(writable=True)
    here = [path for path in discover() if os.access(path, os.W_OK) or any(path.is_relative_to(root) for root in roots)]
    new = [root / FOLDER for root in roots if not any(path.is_relative_to(root) for path in here)]
    return (*here, *new)
