"""An image opened without being restored: its disks as files, and the file systems on them, mounted read-only.

Nothing of it is written, and no journal is replayed: a file system that was not unmounted is shown as it lay on the
disk. Mounts are attached nowhere unless that is asked for, so that they are gone with this process however it ends.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

from imaging import luks, lvmmap, newmounts, virtual
from imaging.blockdev import loop_over
from imaging.blockdev import opened as opened_device
from imaging.chunk import Buffer
from imaging.content import Content
from imaging.errors import IoError, RefusedError, RescueError
from imaging.extents import Extents
from imaging.filesystems import probe
from imaging.fuse import Reply, VirtualFile
from imaging.imagevolumes import (
    FLAGS,
    LVM,
    NO_NAMES,
    UNLOCKED,
    OpenVolume,
    apart,
    find_locked,
    inner_volume,
    volumes,
    why_not,
)
from imaging.library import Library
from imaging.manifest import Image, InnerVolume
from imaging.reader import CACHE, DiskReader
from imaging.run import run

_DRIVERS = {"ntfs": "ntfs3"}
"""What the kernel calls a file system, where blkid calls it something else."""
_SETTINGS = {
    "btrfs": {"rescue": "nologreplay"},
    # Names are kept in UTF-16, and shown in ASCII or Latin-1 where nothing else is asked for.
    "iso9660": {"iocharset": "utf8"},
    "jfs": {"iocharset": "utf8"},
}


def _forget(device: str) -> None:
    with suppress(IoError):
        run(["btrfs", "device", "scan", "--forget", device])


class Pieces:
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
        self.volumes = list(volumes(image))
        """Those that are known: what is in an encrypted one is among them once that is open."""
        self._files, self._stack = dict(files), stack
        self._sources: dict[str, VirtualFile] = dict(readers)
        self._mounts: dict[str, int] = {}
        self._taken = {*NO_NAMES, *readers, *(volume.name for volume in self.volumes)}

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
            mount = newmounts.detached(_DRIVERS.get(kind, kind), settings, FLAGS[kind], what, execute=False)
            self._stack.callback(os.close, mount)
            self._mounts[volume.name] = mount
        return self._mounts[volume.name]

    def _device(self, volume: OpenVolume) -> AbstractContextManager[str]:
        alone = len(volume.pieces) == 1
        file, offset = self._files[volume.disk if alone else volume.name], volume.pieces[0][0] if alone else 0
        return loop_over(file, offset=offset, size=volume.size, sector=volume.sector)

    def key(self, name: str, passphrase: str) -> bytes:
        """The key of a volume that LUKS encrypts, which `unlock` takes; seconds, and much memory.

        Raises BadImageError where there is no such volume, or it is damaged; RefusedError where it is encrypted in a
        way that is not known, with the code "wrong-passphrase" where that is not its passphrase; IoError.
        """
        volume = find_locked(self.volumes, name, self.image.id)
        with _naming(volume), self._device(volume) as path:
            luks.segment(path)
            return luks.volume_key(path, passphrase)

    def unlock(self, name: str, key: bytes) -> Sequence[OpenVolume]:
        """Open a volume that LUKS encrypts with its key: what is in it, and among `volumes` from now on.

        That is its plain data, and the logical volumes where it holds some. Raises as `key`.
        """
        volume = find_locked(self.volumes, name, self.image.id)
        with _naming(volume):
            with self._device(volume) as path:
                where = luks.segment(path)
            plain = luks.Decrypted(Pieces(self._sources[volume.disk], volume.pieces), where, key)
            found = self._inside(volume, plain)
        self.volumes += found
        return found

    def _inside(self, volume: OpenVolume, plain: luks.Decrypted) -> Sequence[OpenVolume]:
        (whole,) = apart([replace(volume, name=f"{volume.name}{UNLOCKED}", size=plain.size, problem="")], self._taken)
        name = whole.name
        self._serve({name: plain})
        whole = replace(whole, disk=name, pieces=((0, plain.size),))
        with self._device(whole) as path:
            content = probe(path)
            inner: Sequence[InnerVolume] = ()
            if content.kind == LVM:
                with opened_device(path) as fd:
                    inner = lvmmap.physical_map(path, fd, 0, plain.size, _all_used, _all_used).inner
        parts = [inner_volume(one, disk=name, sector=volume.sector, start=0, end=plain.size) for one in inner]
        found = apart(parts, self._taken)
        self._serve({one.name: Pieces(plain, one.pieces) for one in found if len(one.pieces) > 1})
        return [replace(whole, content=content, problem=why_not(content)), *found]

    def _serve(self, files: Mapping[str, VirtualFile]) -> None:
        """Have more files beside the disks."""
        if files:
            self._files |= self._stack.enter_context(virtual.opened(files))
            self._sources |= files


@contextmanager
def _naming(volume: OpenVolume) -> Iterator[None]:
    """What goes wrong in here names the volume."""
    try:
        yield
    except RescueError as error:
        error.message = f"{volume.name}: {error.message}"
        raise


@contextmanager
def open_image(library: Library, image: Image, *, cache: int = CACHE) -> Iterator[OpenImage]:
    """Open all disks of an image; needs root. `cache` is how many bytes of each disk's chunks are kept in memory.

    Raises BadImageError where index, used map or digests cannot be used, RefusedError without root, IoError.
    """
    readers = {disk.name: DiskReader(Content.load(library, image, disk), cache=cache) for disk in image.disks}
    parts = {v.name: Pieces(readers[v.disk], v.pieces) for v in volumes(image) if len(v.pieces) > 1}
    with ExitStack() as ahead:
        for reader in readers.values():
            ahead.enter_context(reader)
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
    words; empty where it is. Raises as `open_image` and `OpenImage.key`, and RefusedError where the folder is not
    empty.
    """
    newmounts.clear(where / "disks")
    _refuse_unless_empty(where)
    with open_image(library, image, cache=cache) as opened, ExitStack() as stack:
        for name, words in passphrases.items():
            opened.unlock(name, opened.key(name, words))
        disks = _made(where / "disks", stack)
        stack.enter_context(virtual.mounted({f"{name}.img": r for name, r in opened.readers.items()}, disks))
        known = opened.volumes
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
