"""Looking elsewhere for images: the file systems of attached disks, and the libraries somewhere in a folder."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imaging import media, pack
from imaging.disk import Content, Disk, Role
from imaging.errors import BadImageError, RefusedError

_DEPTH = 4
"""Folders below the one that is looked in: a library in `Backups/office/2026` is found."""
_MOST_FOLDERS = 3000
"""Folders that are looked at: seconds, on a slow share."""
_PASSED_OVER = frozenset(
    {"chunks", "Windows", "proc", "sys", "dev", "usr", "node_modules", "System Volume Information"}
)
_CLOSED = {
    "crypto_LUKS": "it is encrypted",
    "BitLocker": "it is encrypted",
    "LVM2_member": "it is a part of a volume group",
    "linux_raid_member": "it is a part of a RAID",
    "zfs_member": "it is a part of a ZFS pool",
}
_OPEN_IT = "open and mount it in the shell, then name its folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A file system on an attached disk, in which images can be looked for."""

    disk: Disk
    number: int
    """The partition's; 0 where it stands on the bare disk."""
    size: int
    content: Content
    mounted_at: str = ""
    why_not: str = ""
    """Why it cannot be looked into, in words; empty where it can."""

    @property
    def name(self) -> str:
        """`sda2`, or the disk's own name."""
        return self.disk.partition_name(self.number) if self.number else self.disk.name

    @property
    def node(self) -> str:
        """Its device."""
        return f"{self.disk.path.rpartition('/')[0]}/{self.name}"


def attached(disks: Iterable[Disk], busy: Iterable[str] = ()) -> tuple[Attached, ...]:
    """The file systems of disks, those that can be looked into first; `busy` are paths of disks that a job is at."""
    taken = set(busy)
    found = [place for disk in disks if not disk.regular_file for place in _on(disk, disk.path in taken)]
    return tuple(sorted(found, key=lambda place: bool(place.why_not)))


def _on(disk: Disk, busy: bool) -> Iterator[Attached]:
    parts = [(p.number, p.size, p.content) for p in disk.table.partitions] or [(0, disk.size, disk.content)]
    for number, size, content in parts:
        bare = Attached(disk=disk, number=number, size=size, content=content)
        readable = media.can_be_read(content.kind)
        if not readable and content.kind not in _CLOSED:
            continue
        at = next((mount.where for mount in disk.mounts if mount.source == bare.node and mount.where != "[swap]"), "")
        yield Attached(
            disk=disk,
            number=number,
            size=size,
            content=content,
            mounted_at=at,
            why_not="" if at else _why_not(disk, content, busy, readable),
        )


def _why_not(disk: Disk, content: Content, busy: bool, readable: bool) -> str:
    if not readable:
        return f"{_CLOSED[content.kind]}: {_OPEN_IT}"
    if busy:
        return "a job is at work on this disk"
    if disk.holders:
        return f"it is in use by {', '.join(disk.holders)}: {_OPEN_IT}"
    if not media.on_live_system():
        return "it is not mounted: mount it, then look again"
    if Role.BOOT_MEDIUM in disk.roles and not disk.kept:
        return "this computer was started from it"
    return ""


def libraries_on(place: Attached) -> tuple[Path, ...]:
    """The libraries on a file system, which is mounted read-only where it has to be, and stays so if it has any.

    Raises RefusedError where it cannot be looked into, BadImageError where there are none, IoError.
    """
    if place.why_not:
        raise RefusedError(f"{place.name} cannot be looked into: {place.why_not}", code="not-readable")
    if place.mounted_at:
        return libraries_in(Path(place.mounted_at), place.name)
    where = media.open_for_a_look(place.node, place.content.kind)
    try:
        return libraries_in(where, place.name)
    except BadImageError:
        media.close_after_a_look(where)
        raise


def libraries_in(folder: Path, name: str = "") -> tuple[Path, ...]:
    """The libraries in a folder: itself, or those somewhere below it, and images in single files.

    Takes up to some seconds.
    Raises BadImageError where there are none; `name` is what to call the folder then.
    """
    found = tuple(_search(folder))
    if not found:
        there = name or (str(folder) if folder.is_dir() else "")
        raise BadImageError(
            f"no image library was found in {there}" if there else f"there is no folder {folder}",
            code="not-a-library",
            hint="a library is a folder that holds a file library.json",
        )
    return found


def _search(folder: Path) -> Iterator[Path]:
    """Breadth first, so that what is near is found before the limit; what cannot be read is passed over."""
    level, seen = [folder], 0
    for _ in range(_DEPTH + 1):
        below: list[Path] = []
        for path in level:
            seen += 1
            if seen > _MOST_FOLDERS:
                return
            if is_library(path):
                yield path
            else:
                yield from pack.in_folder(path)
                below += _folders(path)
        level = below


def is_library(path: Path) -> bool:
    """Whether a folder, or a file, looks like a library; not, where nobody can tell."""
    with suppress(OSError):
        return (path / "library.json").is_file() or pack.is_pack(path)
    return False


def _folders(path: Path) -> list[Path]:
    with suppress(OSError), os.scandir(path) as entries:
        return sorted(
            Path(entry.path)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and entry.name not in _PASSED_OVER and not entry.name.startswith(".")
        )
    return []
