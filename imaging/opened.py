"""An image opened without being restored: its disks as files, and the file systems on them, mounted read-only.

Nothing of it is written, and no journal is replayed: a file system that was not unmounted is shown as it lay on the
disk. Mounts are attached nowhere unless that is asked for, so that they are gone with this process however it ends.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from imaging import newmounts, virtual
from imaging.blockdev import loop_over
from imaging.content import Content
from imaging.disk import Content as FileSystem
from imaging.disk import Size
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk, InnerVolume, Volume
from imaging.reader import CACHE, DiskReader
from imaging.run import run

_DRIVERS = {"ntfs": "ntfs3"}
"""What the kernel calls a file system, where blkid calls it something else."""
_FLAGS: dict[str, tuple[str, ...]] = {
    "ext2": (),
    "ext3": ("noload",),
    "ext4": ("noload",),
    # A copy of a disk that is mounted beside it has the same UUID.
    "xfs": ("norecovery", "nouuid"),
    "btrfs": (),
    "vfat": (),
    "exfat": (),
    "ntfs": (),
    "f2fs": ("norecovery",),
    "iso9660": (),
    "squashfs": (),
}
_SETTINGS = {"btrfs": {"rescue": "nologreplay"}}
_REASONS = {
    "": "nothing known stands on it",
    "swap": "it is swap space, which holds no files",
    "crypto_LUKS": "it is encrypted",
    "BitLocker": "it is encrypted",
    "LVM2_member": "it holds logical volumes, which are shown beside it",
    "linux_raid_member": "it is one member of an array",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVolume:
    """A volume of an image by the name that a person gives it: `sda2`, `sda` (a bare disk), `group-volume` (LVM).

    `pieces` are where its bytes lie on the disk, `(start, end)`, one after the other. `problem` says why it cannot be
    looked into, in words; empty where it can.
    """

    name: str
    disk: str
    size: Size
    content: FileSystem
    sector: Size
    pieces: tuple[tuple[Size, Size], ...]
    system: str = ""
    problem: str = ""


def volumes(image: Image) -> Sequence[OpenVolume]:
    """All volumes of an image, in the order of its disks."""
    found: list[OpenVolume] = []
    for disk in image.disks:
        for volume in disk.volumes:
            found.append(_volume(disk, volume))
            found += [_inner(disk, volume, inner) for inner in volume.inner]
    return found


def volume_name(disk: str, number: int) -> str:
    """What a volume of an image is called: as the kernel would name the partition; the disk's name for a bare one."""
    if not number:
        return disk
    return f"{disk}{'p' if disk[-1:].isdigit() else ''}{number}"


def find_volume(image: Image, name: str) -> OpenVolume:
    """The volume of that name; its number will do where the image has one disk, and no name where one has files.

    Raises BadImageError where there is none, RefusedError where it cannot be looked into.
    """
    known = volumes(image)
    chosen = [v for v in known if v.name == name]
    if not chosen and len(image.disks) == 1 and name.isdecimal():
        chosen = [v for v in known if v.name == volume_name(image.disks[0].name, int(name))]
    if not name:
        chosen = [v for v in known if not v.problem]
    names = ", ".join(v.name for v in known if not v.problem) or "none"
    if len(chosen) != 1:
        what = (
            f"no volume {name!r}" if name else "more than one volume with files" if chosen else "no volume with files"
        )
        raise BadImageError(
            f"image {image.id} has {what}", code="no-such-volume", hint=f"volumes that can be looked into: {names}"
        )
    if chosen[0].problem:
        raise RefusedError(
            f"{chosen[0].name} of image {image.id} cannot be looked into: {chosen[0].problem}",
            code="not-a-file-system",
            hint=f"volumes that can be looked into: {names}",
        )
    return chosen[0]


def _volume(disk: ImagedDisk, volume: Volume) -> OpenVolume:
    inside = 0 < volume.size <= disk.size - volume.start
    return OpenVolume(
        name=volume_name(disk.name, volume.number),
        disk=disk.name,
        size=volume.size,
        content=volume.content,
        sector=disk.logical_sector,
        pieces=((volume.start, volume.start + volume.size),) if inside else (),
        system=volume.system,
        problem=_why_not(volume.content) if inside else "it does not lie within the disk",
    )


def _inner(disk: ImagedDisk, volume: Volume, inner: InnerVolume) -> OpenVolume:
    pieces = tuple((volume.start + start, volume.start + end) for start, end in inner.pieces)
    whole = sum(end - start for start, end in pieces) == inner.size
    inside = all(volume.start <= start < end <= min(volume.start + volume.size, disk.size) for start, end in pieces)
    problem = (
        _why_not(inner.content)
        if whole and inside and pieces
        else inner.note or "it does not lie in plain pieces on this one disk"
    )
    return OpenVolume(
        name=inner.name.replace("/", "-"),
        disk=disk.name,
        size=inner.size,
        content=inner.content,
        sector=disk.logical_sector,
        pieces=pieces if not problem else (),
        problem=problem,
    )


def _why_not(content: FileSystem) -> str:
    if content.kind in _FLAGS:
        return ""
    return _REASONS.get(content.kind, f"{content.kind} cannot be mounted")


def _forget(device: str) -> None:
    with suppress(IoError):
        run(["btrfs", "device", "scan", "--forget", device])


class _Pieces:
    """A volume in several pieces of a disk, as one file."""

    def __init__(self, reader: DiskReader, pieces: Sequence[tuple[int, int]]) -> None:
        self._reader, self._pieces = reader, pieces
        *self._firsts, self.size = accumulate((end - start for start, end in pieces), initial=0)

    def read(self, offset: int, size: int) -> Sequence[memoryview]:
        """As DiskReader.read."""
        found: list[memoryview] = []
        end = min(self.size, offset + size)
        while offset < end:
            i = bisect_right(self._firsts, offset) - 1
            start, stop = self._pieces[i]
            at = start + offset - self._firsts[i]
            length = min(stop - at, end - offset)
            found += self._reader.read(at, length)
            offset += length
        return found


class OpenImage:
    """An image whose disks can be read as files; use `open_image`."""

    def __init__(self, image: Image, readers: Mapping[str, DiskReader], files: Mapping[str, int], stack: ExitStack):
        """Take the disks by name, and a descriptor of each and of each volume in pieces."""
        self.image = image
        self.readers = readers
        self._files, self._stack = files, stack
        self._mounts: dict[str, int] = {}

    def mount(self, volume: OpenVolume) -> int:
        """A volume's file system, mounted read-only and attached nowhere: a descriptor of its root (O_PATH).

        It is good as long as the image is open. Raises RefusedError where it cannot be looked into or without root,
        IoError where the kernel cannot mount it or the library fails.
        """
        if volume.problem:
            raise RefusedError(f"{volume.name}: {volume.problem}", code="not-a-file-system")
        if volume.name not in self._mounts:
            alone = len(volume.pieces) == 1
            file, offset = self._files[volume.disk if alone else volume.name], volume.pieces[0][0] if alone else 0
            loop = self._stack.enter_context(loop_over(file, offset=offset, size=volume.size, sector=volume.sector))
            kind = volume.content.kind
            if kind == "btrfs":
                # The kernel remembers the device of each file system, and a copy of it bears the same identity.
                self._stack.callback(_forget, loop)
            settings = {"source": loop, **_SETTINGS.get(kind, {})}
            what = f"{volume.name} of image {self.image.id}"
            mount = newmounts.detached(_DRIVERS.get(kind, kind), settings, _FLAGS[kind], what, execute=False)
            self._stack.callback(os.close, mount)
            self._mounts[volume.name] = mount
        return self._mounts[volume.name]


@contextmanager
def open_image(library: Library, image: Image, *, cache: int = CACHE) -> Iterator[OpenImage]:
    """Open all disks of an image; needs root. `cache` is how many bytes of each disk's chunks are kept in memory.

    Raises BadImageError where index, used map or digests cannot be used, RefusedError without root, IoError.
    """
    readers = {disk.name: DiskReader(Content.load(library, image, disk), cache=cache) for disk in image.disks}
    parts = {v.name: _Pieces(readers[v.disk], v.pieces) for v in volumes(image) if len(v.pieces) > 1}
    with virtual.opened({**readers, **parts}) as files, ExitStack() as stack:
        yield OpenImage(image, readers, files, stack)


@contextmanager
def mounted_image(library: Library, image: Image, where: Path, *, cache: int = CACHE) -> Iterator[Mapping[str, str]]:
    """Show an image in an empty folder: `disks/<name>.img`, and a folder for each file system; needs root.

    Yields, by volume, why one is not there, in words; empty where it is. Raises as `open_image`, and RefusedError where
    the folder is not empty.
    """
    newmounts.clear(where / "disks")
    _refuse_unless_empty(where)
    with open_image(library, image, cache=cache) as opened, ExitStack() as stack:
        disks = _made(where / "disks", stack)
        stack.enter_context(virtual.mounted({f"{name}.img": r for name, r in opened.readers.items()}, disks))
        found: dict[str, str] = {}
        for volume in volumes(image):
            found[volume.name] = volume.problem or _attached(opened, volume, where / volume.name, stack)
        yield found


def _attached(opened: OpenImage, volume: OpenVolume, where: Path, stack: ExitStack) -> str:
    """Attach a volume at a folder of its own; why that cannot be, in words, where it cannot."""
    try:
        mount = opened.mount(volume)
    except RescueError as error:
        return error.message
    newmounts.attach(mount, _made(where, stack), volume.name)
    stack.callback(newmounts.release, where)
    return ""


def _made(folder: Path, stack: ExitStack) -> Path:
    folder.mkdir()
    stack.callback(folder.rmdir)
    return folder


def _refuse_unless_empty(where: Path) -> None:
    try:
        found = sorted(entry.name for entry in where.iterdir())
    except OSError as error:
        raise RefusedError(f"{where} cannot be used: {error.strerror}", code="not-a-folder") from error
    if found:
        raise RefusedError(
            f"{where} is not empty: it holds {found[0]!r}", code="not-empty", hint="give an empty folder"
        )
