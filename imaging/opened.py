"""An image opened without being restored: its disks as files, and the file systems on them, mounted read-only.

Nothing of it is written, and no journal is replayed: a file system that was not unmounted is shown as it lay on the
disk. Mounts are attached nowhere unless that is asked for, so that they are gone with this process however it ends.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain, count
from pathlib import Path
from types import MappingProxyType

from imaging import luks, lvmmap, newmounts, virtual
from imaging.blockdev import loop_over
from imaging.blockdev import opened as opened_device
from imaging.chunk import Buffer
from imaging.content import Content
from imaging.disk import Content as FileSystem
from imaging.disk import Size
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.extents import Extents
from imaging.filesystems import probe
from imaging.fuse import Reply, VirtualFile
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk, InnerVolume, Volume
from imaging.reader import CACHE, DiskReader
from imaging.run import run

LUKS = "crypto_LUKS"
_LVM = "LVM2_member"
_NO_NAMES = ("", ".", "..", "disks")
"""What no folder of a volume can be called; the last holds the disks."""
UNLOCKED = "-open"
"""The end of the name under which a volume's plain data stands beside it."""
_DRIVERS = {"ntfs": "ntfs3"}
"""What the kernel calls a file system, where blkid calls it something else."""
_FLAGS: dict[str, tuple[str, ...]] = {
    "ext2": (),
    "ext3": ("noload",),
    "ext4": ("noload",),
    # A copy of a disk that is mounted beside it has the same UUID.
    "xfs": ("norecovery", "nouuid"),
    "btrfs": (),
    "vfat": ("utf8",),
    "exfat": (),
    "ntfs": (),
    "f2fs": ("norecovery",),
    "iso9660": (),
    "squashfs": (),
    "udf": (),
    "hfsplus": (),
    "nilfs2": ("norecovery",),
    "jfs": (),
    "reiserfs": (),
    "minix": (),
    "erofs": (),
}
_SETTINGS = {
    "btrfs": {"rescue": "nologreplay"},
    # Names are kept in UTF-16, and shown in ASCII or Latin-1 where nothing else is asked for.
    "iso9660": {"iocharset": "utf8"},
    "jfs": {"iocharset": "utf8"},
}
_REASONS = {
    "": "nothing known stands on it",
    "swap": "it is swap space, which holds no files",
    LUKS: "it is encrypted",
    "BitLocker": "it is encrypted",
    _LVM: "it holds logical volumes, which are shown beside it",
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
    """All volumes of an image, in the order of its disks; no two bear the same name."""
    found: list[OpenVolume] = []
    taken = {*_NO_NAMES, *(disk.name for disk in image.disks)}
    for disk in image.disks:
        for volume in disk.volumes:
            whole = _volume(disk, volume)
            found += [whole] if not volume.number else _apart([whole], taken)
            end = min(volume.start + volume.size, disk.size)
            inner = [
                _inner(one, disk=disk.name, sector=disk.logical_sector, start=volume.start, end=end)
                for one in volume.inner
            ]
            found += _apart(inner, taken)
    return found


def _apart(found: Sequence[OpenVolume], taken: set[str]) -> list[OpenVolume]:
    """Volumes with a number behind each name that is taken, and from now on theirs are."""
    apart = []
    for volume in found:
        names = chain((volume.name,), (f"{volume.name}-{number}" for number in count(2)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        apart.append(replace(volume, name=name))
    return apart


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


def find_locked(known: Sequence[OpenVolume], name: str, image_id: str) -> OpenVolume:
    """The volume of that name, which LUKS encrypts. Raises BadImageError where there is none."""
    locked = {volume.name: volume for volume in known if volume.content.kind == LUKS and volume.pieces}
    if name not in locked:
        raise BadImageError(
            f"image {image_id} has no volume {name!r} that LUKS encrypts",
            code="no-such-volume",
            hint=f"volumes that LUKS encrypts: {', '.join(locked) or 'none'}",
        )
    return locked[name]


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


def _inner(inner: InnerVolume, *, disk: str, sector: int, start: int, end: int) -> OpenVolume:
    """A logical volume of the physical one that lies from `start` to `end` on a disk."""
    pieces = tuple((start + first, start + last) for first, last in inner.pieces)
    whole = bool(pieces) and sum(last - first for first, last in pieces) == inner.size
    plain = whole and all(start <= first < last <= end for first, last in pieces)
    return OpenVolume(
        name=inner.name.replace("/", "-"),
        disk=disk,
        size=inner.size,
        content=inner.content,
        sector=sector,
        pieces=pieces if plain else (),
        problem=_why_not(inner.content) if plain else inner.note or "it does not lie in plain pieces on this one disk",
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

    def __init__(self, reader: VirtualFile, pieces: Sequence[tuple[int, int]]) -> None:
        self._reader, self._pieces = reader, pieces
        *self._firsts, self.size = accumulate((end - start for start, end in pieces), initial=0)

    def read(self, offset: int, size: int) -> Reply:
        """As DiskReader.read."""
        found: list[Buffer] = []
        end = min(self.size, offset + size)
        while offset < end:
            i = bisect_right(self._firsts, offset) - 1
            start, stop = self._pieces[i]
            at = start + offset - self._firsts[i]
            length = min(stop - at, end - offset)
            found += self._reader.read(at, length)
            offset += length
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unmapped:
    """Of a logical volume that is only looked into it does not matter what is used."""

    used: Extents = field(default_factory=Extents)
    origin: str = ""
    note: str = ""


def _all_used(*_: object) -> _Unmapped:
    return _Unmapped()


class OpenImage:
    """An image whose disks can be read as files; use `open_image`."""

    def __init__(self, image: Image, readers: Mapping[str, DiskReader], files: Mapping[str, int], stack: ExitStack):
        """Take the disks by name, and a descriptor of each and of each volume in pieces."""
        self.image = image
        self.readers = readers
        self._files, self._stack = dict(files), stack
        self._sources: dict[str, VirtualFile] = dict(readers)
        self._mounts: dict[str, int] = {}
        self._taken = {*_NO_NAMES, *readers, *(volume.name for volume in volumes(image))}

    def mount(self, volume: OpenVolume) -> int:
        """A volume's file system, mounted read-only and attached nowhere: a descriptor of its root (O_PATH).

        It is good as long as the image is open. Raises RefusedError where it cannot be looked into or without root,
        IoError where the kernel cannot mount it or the library fails.
        """
        if volume.problem:
            raise RefusedError(f"{volume.name}: {volume.problem}", code="not-a-file-system")
        if volume.name not in self._mounts:
            loop = self._stack.enter_context(self._device(volume))
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

    def _device(self, volume: OpenVolume) -> AbstractContextManager[str]:
        alone = len(volume.pieces) == 1
        file, offset = self._files[volume.disk if alone else volume.name], volume.pieces[0][0] if alone else 0
        return loop_over(file, offset=offset, size=volume.size, sector=volume.sector)

    def unlock(self, volume: OpenVolume, passphrase: str) -> Sequence[OpenVolume]:
        """Open a volume that LUKS encrypts: what is in it, the file system or the logical volumes, to be mounted.

        Raises RefusedError where it is no such volume, or is encrypted in a way that is not known; with the code
        "wrong-passphrase" where it does not open. BadImageError where it is damaged, IoError.
        """
        if volume.content.kind != LUKS or not volume.pieces:
            raise RefusedError(f"{volume.name} is not encrypted with LUKS", code="not-encrypted")
        try:
            with self._device(volume) as path:
                where = luks.segment(path)
                key = luks.volume_key(path, passphrase)
            plain = luks.Decrypted(_Pieces(self._sources[volume.disk], volume.pieces), where, key)
            return self._inside(volume, plain)
        except RescueError as error:
            error.message = f"{volume.name}: {error.message}"
            raise

    def _inside(self, volume: OpenVolume, plain: luks.Decrypted) -> Sequence[OpenVolume]:
        (whole,) = _apart([replace(volume, name=f"{volume.name}{UNLOCKED}", size=plain.size, problem="")], self._taken)
        name = whole.name
        self._serve({name: plain})
        whole = replace(whole, disk=name, pieces=((0, plain.size),))
        with self._device(whole) as path:
            content = probe(path)
            inner: Sequence[InnerVolume] = ()
            if content.kind == _LVM:
                with opened_device(path) as fd:
                    inner = lvmmap.physical_map(path, fd, 0, plain.size, _all_used, _all_used).inner
        parts = [_inner(one, disk=name, sector=volume.sector, start=0, end=plain.size) for one in inner]
        found = _apart(parts, self._taken)
        self._serve({one.name: _Pieces(plain, one.pieces) for one in found if len(one.pieces) > 1})
        return [replace(whole, content=content, problem=_why_not(content)), *found]

    def _serve(self, files: Mapping[str, VirtualFile]) -> None:
        """Have more files beside the disks."""
        if files:
            self._files |= self._stack.enter_context(virtual.opened(files))
            self._sources |= files


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
def mounted_image(
    library: Library,
    image: Image,
    where: Path,
    *,
    passphrases: Mapping[str, str] = MappingProxyType({}),
    cache: int = CACHE,
) -> Iterator[Sequence[tuple[OpenVolume, str]]]:
    """Show an image in an empty folder: `disks/<name>.img`, and a folder for each file system; needs root.

    `passphrases` open volumes that LUKS encrypts, by their names. Yields each volume, and why it is not there, in
    words; empty where it is. Raises as `open_image` and `OpenImage.unlock`, and RefusedError where the folder is not
    empty.
    """
    newmounts.clear(where / "disks")
    _refuse_unless_empty(where)
    with open_image(library, image, cache=cache) as opened, ExitStack() as stack:
        known = list(volumes(image))
        for name, words in passphrases.items():
            known += opened.unlock(find_locked(known, name, image.id), words)
        disks = _made(where / "disks", stack)
        stack.enter_context(virtual.mounted({f"{name}.img": r for name, r in opened.readers.items()}, disks))
        yield [(volume, volume.problem or _attached(opened, volume, where / volume.name, stack)) for volume in known]


def _attached(opened: OpenImage, volume: OpenVolume, where: Path, stack: ExitStack) -> str:
    """Attach a volume at a folder of its own; why that cannot be, in words, where it cannot."""
    try:
        mount = opened.mount(volume)
    except RescueError as error:
        return error.message
    try:
        newmounts.attach(mount, _made(where, stack), volume.name)
    except OSError as error:
        return f"{where} cannot be made: {error.strerror}"
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
