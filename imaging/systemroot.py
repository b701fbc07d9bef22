"""The root of a system on Linux, on a disk or in an image, with its files as they would be after a start.

Each file system is mounted in a copy-on-write view, where its journal is replayed: nothing on the disk or in the
library changes. The mounts are attached nowhere, and are gone with this process.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from imaging import mounttabs, newmounts, systems, tree, virtual
from imaging.blockdev import loop_over, opened
from imaging.content import Content
from imaging.disk import Content as FileSystem
from imaging.disk import Disk
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.fuse import VirtualFile
from imaging.imagevolumes import volumes
from imaging.keptfiles import RootPlace
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk
from imaging.opened import Pieces
from imaging.overlay import Overlay, Range
from imaging.reader import DiskReader
from imaging.run import run

FLAGS: dict[str, tuple[str, ...]] = {"ext2": (), "ext3": (), "ext4": (), "xfs": ("nouuid",), "btrfs": ()}
"""The file systems that a system can be looked for on, each with what it takes to be mounted beside a copy."""
_FOLDERS = ((), (b"@",), (b"@rootfs",), (b"root",))
"""Where the root folder is: distributions with btrfs name its subvolume so."""
_RELEASES = ((b"usr", b"lib", b"os-release"), (b"etc", b"os-release"))
_FSTAB = (b"etc", b"fstab")
MOST_READ = 4 << 20
"""Bytes of a configuration file that are read."""
_CODE = "cannot-keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRoot:
    """A system's root that is mounted: `mount` is a descriptor of its file system's own root."""

    place: RootPlace
    mount: int

    @property
    def path(self) -> tuple[bytes, ...]:
        """Where the system's root folder is in its file system."""
        return tuple(tree.parts(self.place.folder))

    @property
    def homes(self) -> tuple[bytes, ...]:
        """Where its /home is."""
        return tuple(tree.parts(self.place.homes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    number: int
    start: int
    size: int
    content: FileSystem
    file: VirtualFile


@contextmanager
def on_disk(disk: Disk) -> Iterator[SystemRoot]:
    """The one system on a disk; needs root.

    Raises RefusedError (code "cannot-keep") where there is none, or more than one, or its /home lies elsewhere;
    IoError.
    """
    with opened(disk.path) as fd:
        found = [
            _Candidate(
                number=place.number,
                start=place.start,
                size=place.size,
                content=place.content,
                file=Range(fd, place.start, place.size),
            )
            for place in systems.places(disk, fd)
        ]
        with _only_one(found, disk.name, disk.logical_sector) as root:
            yield root


@contextmanager
def in_image(library: Library, image: Image, disk: ImagedDisk) -> Iterator[SystemRoot]:
    """The one system on a disk of an image; needs root. Raises as `on_disk`, and BadImageError."""
    with DiskReader(Content.load(library, image, disk)) as reader:
        numbers = [(v.start, v.start + v.size, v.number) for v in disk.volumes]
        found = [
            _Candidate(
                number=next(number for low, high, number in numbers if low <= start < high),
                start=start,
                size=end - start,
                content=volume.content,
                file=Pieces(reader, ((start, end),)),
            )
            for volume in volumes(image)
            if volume.disk == disk.name and len(volume.pieces) == 1 and not volume.problem
            for start, end in volume.pieces
        ]
        with _only_one(found, f"{disk.name} in image {image.id}", disk.logical_sector) as root:
            yield root


@contextmanager
def at_place(library: Library, image: Image, name: str, place: RootPlace) -> Iterator[SystemRoot]:
    """A root whose place on a disk of an image is known. Raises RefusedError without root, BadImageError, IoError."""
    disk = next((one for one in image.disks if one.name == name), None)
    if disk is None or not 0 <= place.start < place.start + place.size <= disk.size:
        raise BadImageError(f"image {image.id} does not hold the files that were to be kept", code=_CODE)
    with DiskReader(Content.load(library, image, disk)) as reader:
        file = Pieces(reader, ((place.start, place.start + place.size),))
        with _viewed(file, place.kind, disk.logical_sector, f"{name} of image {image.id}") as mount:
            yield SystemRoot(place=place, mount=mount)


@contextmanager
def _only_one(found: Iterable[_Candidate], what: str, sector: int) -> Iterator[SystemRoot]:
    with ExitStack() as stack:
        roots: list[SystemRoot] = []
        problems: list[str] = []
        for one in found:
            if one.content.kind not in FLAGS:
                continue
            with ExitStack() as trying:
                try:
                    mount = trying.enter_context(_viewed(one.file, one.content.kind, sector, what))
                    folder = _root_folder(mount)
                except IoError as error:
                    problems.append(error.message)
                    continue
                if folder is None:
                    continue
                stack.enter_context(trying.pop_all())
                roots.append(SystemRoot(place=_place(one, mount, folder, what), mount=mount))
        if len(roots) != 1:
            which = "more than one system on Linux" if roots else "no system on Linux whose files could be kept"
            words = f"{what} has {which}{': ' if problems else ''}{'; '.join(problems)}"
            raise RefusedError(
                words, code=_CODE, hint="back it up first (--save-first), and copy the files out of that"
            )
        yield roots[0]


@contextmanager
def _viewed(file: VirtualFile, kind: str, sector: int, what: str) -> Iterator[int]:
    """A file system, mounted read-only in a view that takes what a replay of its journal writes."""
    if kind not in FLAGS:
        raise RefusedError(f"{what}: {kind or 'what stands on it'} cannot be looked into", code=_CODE)
    with (
        virtual.opened({"volume": Overlay(file)}) as files,
        loop_over(files["volume"], offset=0, size=file.size, sector=sector, writable=True) as loop,
    ):
        mount = newmounts.detached(kind, {"source": loop}, FLAGS[kind], what, execute=False)
        try:
            yield mount
        finally:
            os.close(mount)
            forget(kind, loop)


def forget(kind: str, loop: str) -> None:
    """The kernel remembers the device of each btrfs, and a copy of it on another disk bears the same identity."""
    if kind == "btrfs":
        with suppress(RescueError):
            run(["btrfs", "device", "scan", "--forget", loop], accept=range(-64, 256))


def _root_folder(mount: int) -> tuple[bytes, ...] | None:
    """Where a system's root folder is in a file system; None where there is none."""
    for folder in _FOLDERS:
        if _is_there(mount, (*folder, b"etc", b"passwd")) and any(_is_there(mount, (*folder, *r)) for r in _RELEASES):
            return folder
    return None


def _is_there(mount: int, path: Sequence[bytes]) -> bool:
    try:
        return not tree.entry_at(mount, path).problem
    except (BadImageError, IoError):
        return False


def _place(one: _Candidate, mount: int, folder: tuple[bytes, ...], what: str) -> RootPlace:
    return RootPlace(
        number=one.number,
        start=one.start,
        size=one.size,
        kind=one.content.kind,
        folder="/".join(map(os.fsdecode, folder)),
        homes=_homes(mount, folder, one.content, what),
    )


def _homes(mount: int, folder: tuple[bytes, ...], content: FileSystem, what: str) -> str:
    """Where /home is in the root's own file system; raises RefusedError where any of it lies elsewhere."""
    default = "/".join(map(os.fsdecode, (*folder, b"home")))
    fstab = (text_of(mount, (*folder, *_FSTAB)) or b"").decode(errors="surrogateescape")
    for device, where, options in mounttabs.mounts_at(fstab, "/home"):
        named = mounttabs.device(device)
        subvolume = next((option.removeprefix("subvol=") for option in options if option.startswith("subvol=")), "")
        same = named is not None and named.value in (content.uuid, content.label) and named.tag in ("UUID", "LABEL")
        if where != "/home" or not same or content.kind != "btrfs" or not subvolume.strip("/"):
            raise RefusedError(
                f"{where} of {what} lies on a file system of its own ({device}), which is not carried over",
                code=_CODE,
                hint="restore with --keep and the number of its partition: then that stays as it is",
            )
        default = subvolume.strip("/")
    return default


def text_of(mount: int, path: Sequence[bytes]) -> bytes | None:
    """What a small file holds; None where there is no regular file of that path. Raises IoError."""
    try:
        with tree.folder(mount, path[:-1]) as parent:
            fd = os.open(path[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            try:
                return os.read(fd, MOST_READ)
            finally:
                os.close(fd)
    except (BadImageError, FileNotFoundError):
        return None
    except OSError as error:
        raise IoError(f"{tree.shown(path)} cannot be read: {error.strerror}", code="read-failed") from error
