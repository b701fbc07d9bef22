"""The root of a system, on a disk or in an image, with its files as they would be after a start.

Each file system is mounted in a copy-on-write view, where its journal is replayed: nothing on the disk or in the
library changes. The mounts are attached nowhere, and are gone with this process.
"""

import errno
import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from imaging import doubts, mounttabs, newmounts, ntfsmount, profiles, systems, tree, views, windowsstate
from imaging.blockdev import loop_over, opened, read
from imaging.disk import Content as FileSystem
from imaging.disk import Disk, PartitionTable
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.imagevolumes import LVM
from imaging.imagevolumes import volumes as volumes_of
from imaging.keptfiles import WINDOWS, RootPlace
from imaging.library import Library
from imaging.manifest import Image, ImagedDisk
from imaging.run import run
from imaging.tree import Entry, EntryKind
from imaging.views import View

FLAGS: dict[str, tuple[str, ...]] = {"ext2": (), "ext3": (), "ext4": (), "xfs": ("nouuid",), "btrfs": ()}
"""The file systems that a system can be looked for on, each with what it takes to be mounted beside a copy."""
_SETTINGS: dict[str, dict[str, str]] = {"btrfs": {"subvolid": "5"}}
"""Of btrfs its top, from which fstab counts subvolumes, whichever of them is mounted by default."""
_FOLDERS = ((), (b"@",), (b"@rootfs",), (b"root",))
"""Where the root folder is: distributions with btrfs name its subvolume so."""
_RELEASES = ((b"usr", b"lib", b"os-release"), (b"etc", b"os-release"))
_FSTAB = (b"etc", b"fstab")
_HOME_UNITS = (b"home.mount", b"home.automount")
_NOT_A_DISK = ("tmpfs", "proc", "sysfs", "devpts", "nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "swap", "overlay")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MOST_READ = 4 << 20
"""Bytes of a configuration file that are read."""
_TRIES, _PAUSE = 3, 0.3
"""How often a btrfs is to be mounted, and the seconds in between."""
_BITLOCKER = "BitLocker"
HOME_TYPE = "933AC7E1-2EB4-4F13-B844-0E14E2AEF915"
"""The type of a GPT partition that systemd mounts as /home by itself. Source: systemd-gpt-auto-generator(8)."""
_HINT = "back it up first (--save-first), and copy the files out of that"
_CODE = "cannot-keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRoot:
    """A system's root that is mounted: `mount` is a descriptor of its file system's own root."""

    place: RootPlace
    mount: int
    apart: tuple[str, ...] = ()
    """Folders on which the system mounts other file systems of this computer's disks."""
    without_settings: frozenset[str] = frozenset()
    """Names of people, as imaging.profiles.folded has them, whose part of the registry is passed over."""

    @property
    def windows(self) -> bool:
        """Whether it is Windows."""
        return self.place.kind == WINDOWS

    def is_apart(self, path: str) -> bool:
        """Whether a path, or some of what is in it, is on another file system when the system runs."""
        return any(path == one or path.startswith(f"{one}/") or one.startswith(f"{path}/") for one in self.apart)

    @property
    def path(self) -> tuple[bytes, ...]:
        """Where the system's root folder is in its file system."""
        return tuple(tree.parts(self.place.folder))

    @property
    def homes(self) -> tuple[bytes, ...]:
        """Where its /home is, or C:\\Users."""
        return tuple(tree.parts(self.place.homes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    number: int
    start: int
    size: int
    content: FileSystem
    view: View


@contextmanager
def on_disk(disk: Disk, *, windows: bool | None = False) -> Iterator[SystemRoot]:
    """The one system on Linux on a disk, or the one Windows; needs root.

    Where it is not said (None) which of the two, it is Windows where there is no other. Raises RefusedError (code
    "cannot-keep") where there is none, or more than one, or its /home lies elsewhere; IoError.
    """
    with opened(disk.path) as fd:
        found = [
            _Candidate(
                number=place.number,
                start=place.start,
                size=place.size,
                content=place.content,
                view=views.of_disk(disk.path, place.start, place.size),
            )
            for place in systems.places(disk, fd)
        ]
    with _only_one(found, disk.name, disk.logical_sector, windows=windows, table=disk.table, stays=True) as root:
        yield root


@contextmanager
def in_image(
    library: Library, image: Image, disk: ImagedDisk, *, writable: bool = False, windows: bool | None = False
) -> Iterator[SystemRoot]:
    """The one system on a disk of an image; needs root. Raises as `on_disk`, and BadImageError.

    `writable` asks for a view that can be written to, as the file system itself will have to be.
    """
    numbers = [(v.start, v.start + v.size, v.number) for v in disk.volumes]
    found = [
        _Candidate(
            number=next(number for low, high, number in numbers if low <= start < high),
            start=start,
            size=end - start,
            content=volume.content,
            view=views.of_image(library.path, image.id, disk.name, start, end - start),
        )
        for volume in volumes_of(image)
        if volume.disk == disk.name and len(volume.pieces) == 1 and not volume.problem
        for start, end in volume.pieces
    ]
    what = f"{disk.name} in image {image.id}"
    with _only_one(found, what, disk.logical_sector, writable=writable, windows=windows, table=disk.table) as root:
        yield root


def may_be_windows(image: Image, name: str) -> bool | None:
    """Whether the system on a disk of an image is Windows, as far as its file systems tell; None where they do not."""
    kinds = {volume.content.kind for volume in volumes_of(image) if volume.disk == name}
    if WINDOWS not in kinds:
        return False
    return None if kinds & FLAGS.keys() else True


@contextmanager
def at_place(library: Library, image: Image, name: str, place: RootPlace) -> Iterator[SystemRoot]:
    """A root whose place on a disk of an image is known. Raises RefusedError without root, BadImageError, IoError."""
    disk = next((one for one in image.disks if one.name == name), None)
    if disk is None or not 0 <= place.start < place.start + place.size <= disk.size:
        raise BadImageError(f"image {image.id} does not hold the files that were to be kept", code=_CODE)
    view = views.of_image(library.path, image.id, name, place.start, place.size)
    what, windows = f"{name} of image {image.id}", place.kind == WINDOWS
    with _viewed(view, place.kind, disk.logical_sector, what, writable=windows) as mount:
        yield looked_into(place, mount)


def looked_into(place: RootPlace, mount: int) -> SystemRoot:
    """A root that is mounted, with what its fstab says. Raises IoError."""
    fstab = _fstab(mount, tuple(tree.parts(place.folder)))
    apart = (one for one in mounttabs.mounts(fstab) if one.kind not in _NOT_A_DISK)
    return SystemRoot(place=place, mount=mount, apart=tuple(one.where for one in apart if one.where != "/"))


@contextmanager
def _only_one(
    found: Sequence[_Candidate],
    what: str,
    sector: int,
    *,
    windows: bool | None,
    writable: bool = False,
    table: PartitionTable,
    stays: bool = False,
) -> Iterator[SystemRoot]:
    """`stays`: the partitions are there, and can stay; of an image's nothing says whether they are on another disk."""
    with ExitStack() as stack:
        roots: list[SystemRoot] = []
        apart: list[RefusedError] = []
        problems: list[str] = []
        for one in found if not windows else ():
            if one.content.kind not in FLAGS:
                continue
            with ExitStack() as trying:
                try:
                    mount = trying.enter_context(_viewed(one.view, one.content.kind, sector, what, writable=writable))
                    folder = root_folder(mount)
                except IoError as error:
                    problems.append(error.message)
                    continue
                if folder is None:
                    continue
                try:
                    place = _place(one, mount, folder, what, table)
                except RefusedError as error:
                    apart.append(error)
                    continue
                stack.enter_context(trying.pop_all())
                roots.append(looked_into(place, mount))
        if len(apart) == 1 and not roots and not problems:
            raise apart[0] if stays else RefusedError(apart[0].message, code=_CODE, hint=_HINT)
        if windows or (windows is None and not roots and not apart and not problems):
            roots += _windows_among(found, what, sector, stack)
        if len(roots) != 1 or apart or problems:
            words = f"{what} has {_count_of(roots, windows) if not apart else 'more than one system on Linux'}"
            if problems:
                words = f"{what} has a file system that cannot be looked into: {'; '.join(problems)}"
            raise RefusedError(words, code=_CODE, hint=_HINT)
        yield roots[0]


def _count_of(roots: Sequence[SystemRoot], windows: bool | None) -> str:
    """What there is in place of the one system, in words."""
    if roots:
        return "more than one Windows" if roots[0].windows else "more than one system on Linux"
    if windows is None:
        return "no system, on Linux or Windows, whose files could be kept"
    return "no Windows whose files could be kept" if windows else "no system on Linux whose files could be kept"


def _windows_among(found: Iterable[_Candidate], what: str, sector: int, stack: ExitStack) -> Iterator[SystemRoot]:
    """Those of the volumes on which Windows is, each mounted as long as the stack.

    Raises RefusedError where one is encrypted or was not closed, IoError.
    """
    locked, count = False, 0
    for one in found:
        locked |= one.content.kind == _BITLOCKER
        if one.content.kind != WINDOWS or not windowsstate.holds_windows(one.view, sector):
            continue
        mount = stack.enter_context(_viewed(one.view, WINDOWS, sector, what, writable=True))
        users = next((name for name in tree.names_in(mount, ()) if profiles.folded(name) == profiles.USERS), b"")
        if users:
            count += 1
            place = RootPlace(number=one.number, start=one.start, size=one.size, kind=WINDOWS, homes=os.fsdecode(users))
            yield SystemRoot(place=place, mount=mount)
    if locked and not count:
        raise RefusedError(
            f"{what} has no Windows whose files could be kept, and a volume that BitLocker encrypts",
            code=_CODE,
            hint="turn BitLocker off in Windows and wait until it has ended, or copy the files to another disk",
        )


@contextmanager
def _viewed(view: View, kind: str, sector: int, what: str, *, writable: bool = False) -> Iterator[int]:
    """A file system, mounted read-only by default, in a view that takes what is written, such as a journal's replay."""
    if kind not in FLAGS and kind != WINDOWS:
        raise RefusedError(f"{what}: {kind or 'what stands on it'} cannot be looked into", code=_CODE)
    with views.opened(view) as file:
        if kind == WINDOWS:
            windowsstate.refuse_unclean(file, view.size, what)
        _refuse_more_devices(file, kind, what)
        with (
            loop_over(file, offset=0, size=view.size, sector=sector, writable=True) as loop,
            mounted(loop, kind, what, writable=writable) as mount,
        ):
            if kind == WINDOWS:
                windowsstate.refuse_hibernated(mount, what)
            yield mount


@contextmanager
def mounted(loop: str, kind: str, what: str, *, writable: bool, top: bool = True) -> Iterator[int]:
    """A file system of a loop device, attached nowhere; of btrfs its top, or else the subvolume that is its default.

    Raises RefusedError without root, IoError.
    """
    if kind == WINDOWS:
        with ntfsmount.mounted(loop, writable=writable) as mount:
            yield mount
        return
    settings = {"source": loop, **(_SETTINGS.get(kind, {}) if top else {})}
    mount = _detached(loop, kind, settings, what, writable=writable)
    try:
        yield mount
    finally:
        os.close(mount)
        forget(kind, loop)


def _detached(loop: str, kind: str, settings: Mapping[str, str], what: str, *, writable: bool) -> int:
    """Of btrfs once more, and again: the kernel was seen to refuse one whose copy it had just let go, and not again."""
    for _ in range(_TRIES - 1 if kind == "btrfs" else 0):
        with suppress(IoError):
            return newmounts.detached(kind, settings, FLAGS[kind], what, execute=False, writable=writable)
        forget(kind, loop)
        time.sleep(_PAUSE)
    return newmounts.detached(kind, settings, FLAGS[kind], what, execute=False, writable=writable)


def _refuse_more_devices(file: int, kind: str, what: str) -> None:
    """The kernel would open, and a replay would write to, the other devices themselves: they are in no view."""
    # XFS names its other devices when it is mounted, and is not told of any.
    apart = kind != "xfs" and doubts.lies_elsewhere(kind, lambda at, size: read(file, size, at))
    if apart:
        raise RefusedError(
            f"{what} has a file system that lies on several devices ({kind}): its files cannot be kept",
            code=_CODE,
            hint="copy the files to another disk first",
        )


def _fstab(mount: int, folder: tuple[bytes, ...]) -> str:
    return (text_of(mount, (*folder, *_FSTAB)) or b"").decode(errors="surrogateescape")


def forget(kind: str, loop: str) -> None:
    """The kernel remembers the device of each btrfs, and a copy of it on another disk bears the same identity."""
    if kind == "btrfs":
        with suppress(RescueError):
            run(["btrfs", "device", "scan", "--forget", loop], accept=range(-64, 256))


def root_folder(mount: int) -> tuple[bytes, ...] | None:
    """Where a system's root folder is in a file system; None where there is none."""
    for folder in _FOLDERS:
        if is_there(mount, (*folder, b"etc", b"passwd")) and any(is_there(mount, (*folder, *r)) for r in _RELEASES):
            return folder
    return None


def is_there(mount: int, path: Sequence[bytes]) -> bool:
    """Whether anything is at a path; raises IoError where that cannot be told."""
    return entry_at(mount, path) is not None


def entry_at(mount: int, path: Sequence[bytes]) -> Entry | None:
    """What is at a path, no link in it followed; None where nothing is. Raises IoError where that cannot be told."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
    try:
        for depth, name in enumerate(path, start=1):
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if depth == len(path):
                    return tree.look(fd, name)
                if not stat.S_ISDIR(status.st_mode):
                    return None
                inner = os.open(name, _FOLDER, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise IoError(f"{tree.shown(path)} cannot be read: {error.strerror}", code="read-failed") from error
            os.close(fd)
            fd = inner
        return Entry(name=b"", kind=EntryKind.FOLDER)
    finally:
        os.close(fd)


def _place(one: _Candidate, mount: int, folder: tuple[bytes, ...], what: str, table: PartitionTable) -> RootPlace:
    return RootPlace(
        number=one.number,
        start=one.start,
        size=one.size,
        kind=one.content.kind,
        folder="/".join(map(os.fsdecode, folder)),
        homes=_homes(mount, folder, one, what, table),
    )


def _homes(mount: int, folder: tuple[bytes, ...], root: _Candidate, what: str, table: PartitionTable) -> str:
    """Where /home is in the root's own file system; raises RefusedError where any of it lies elsewhere."""
    default, content = "/".join(map(os.fsdecode, (*folder, b"home"))), root.content
    there = [one for one in mounttabs.mounts(_fstab(mount, folder)) if one.kind not in _NOT_A_DISK]
    lines = [one for one in there if one.where == "/home" or one.where.startswith("/home/")]
    typed = [part.number for part in table.partitions if part.type.upper() == HOME_TYPE]
    volumes = any(part.number == root.number and part.content.kind == LVM for part in table.partitions)

    def apart(where: str, by: str, partitions: Collection[int] = ()) -> RefusedError:
        message = f"{where} of {what} lies on a file system of its own ({by}), which is not carried over"
        if not partitions or root.number in partitions:
            return RefusedError(message, code=_CODE, hint=_HINT)
        found: dict[int, set[str]] = {}
        for one in there:
            number = _partition_of(one.device, table)
            if number is None and volumes and mounttabs.device(one.device) is not None:
                number = root.number  # it may be a volume beside the root
            if number is not None:
                found.setdefault(number, set()).add(one.where)
        return HomesApartError(message, partitions, root.number, found)

    for one in lines:
        named = mounttabs.device(one.device)
        subvolume = one.option("subvol").strip("/")
        same = named is not None and named.value in (content.uuid, content.label) and named.tag in ("UUID", "LABEL")
        if one.where != "/home" or not same or content.kind != "btrfs" or not subvolume:
            raise apart(one.where, one.device, _partitions_of(lines, table, typed))
        if not is_there(mount, tree.parts(subvolume)):
            raise apart(one.where, subvolume)
        default = subvolume
    for unit in _HOME_UNITS:
        if is_there(mount, (*folder, b"etc", b"systemd", b"system", unit)):
            raise apart("/home", os.fsdecode(unit))
    if typed and not lines:
        # systemd mounts it unless something is there.
        home = entry_at(mount, (*folder, b"home"))
        empty = home is None or (home.kind is EntryKind.FOLDER and not tree.entries(mount, (*folder, b"home")))
        raise apart("/home", f"partition {typed[0]}", typed if len(typed) == 1 and empty else ())
    return default


class HomesApartError(RefusedError):
    """All of /home lies on whole partitions of the disk, which can stay as they are."""

    def __init__(
        self, message: str, partitions: Collection[int], root: int, mounts: Mapping[int, Collection[str]]
    ) -> None:
        """The partitions' numbers, that of the root's, and where fstab mounts what of which partition of the disk."""
        numbers = " --keep ".join(map(str, sorted(partitions)))
        super().__init__(message, code=_CODE, hint=f"restore with --keep {numbers}: then that stays as it is")
        self.partitions, self.root, self.mounts = frozenset(partitions), root, dict(mounts)


def _partitions_of(
    lines: Sequence[mounttabs.Mounted], table: PartitionTable, typed: Collection[int]
) -> Collection[int]:
    """The partitions of this disk on which all of /home is, by these lines of fstab; none where that is not so.

    Whole partitions alone can stay as they are. `typed` are those that systemd would mount as /home.
    """
    numbers = {_partition_of(one.device, table) for one in lines}
    kinds = {part.number: part.content.kind for part in table.partitions}
    known = {number for number in numbers if number is not None and kinds[number] in FLAGS}
    if len(known) != len(numbers) or all(one.where != "/home" for one in lines) or not known.issuperset(typed):
        return ()
    return known


def _partition_of(words: str, table: PartitionTable) -> int | None:
    """The number of the one partition whose file system fstab names so; None where it is not known to be one."""
    named = mounttabs.device(words)
    if named is None or not named.value:
        return None
    found = []
    for part in table.partitions:
        names = {
            "UUID": part.content.uuid,
            "LABEL": part.content.label,
            "PARTUUID": part.uuid.lower(),
            "PARTLABEL": part.name,
        }
        value = named.value.lower() if named.tag == "PARTUUID" else named.value
        if value == names.get(named.tag):
            found.append(part)
    return found[0].number if len(found) == 1 else None


def text_of(mount: int, path: Sequence[bytes]) -> bytes | None:
    """What a small file holds; None where there is no regular file of that path. Raises IoError."""
    try:
        with tree.folder(mount, path[:-1]) as parent:
            fd = os.open(path[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            try:
                return os.read(fd, MOST_READ) if stat.S_ISREG(os.fstat(fd).st_mode) else None
            finally:
                os.close(fd)
    except (BadImageError, FileNotFoundError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise IoError(f"{tree.shown(path)} cannot be read: {error.strerror}", code="read-failed") from error
