"""Planning to copy files out of an image: where they can go, and what a file system there cannot keep."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imaging import media
from imaging.access import refuse_in_library
from imaging.errors import RefusedError, of_system
from imaging.fileview import Tally
from imaging.forecast import free_room
from imaging.imageplans import FilesPlan
from imaging.imagevolumes import OpenVolume
from imaging.manifest import Image
from imaging.mounts import kind_beneath

FOLDER = "rescue-files"
"""The folder that is made for files on a disk, a stick or a share."""


class Loss(StrEnum):
    """What a file system cannot keep: owners and rights, symbolic links, files of 4 GiB, names as Windows forbids."""

    OWNERS = "owners"
    LINKS = "links"
    LARGE = "large"
    NAMES = "names"


_FAT = frozenset({Loss.OWNERS, Loss.LINKS, Loss.NAMES})
_LOSSES: dict[str, frozenset[Loss]] = {
    **dict.fromkeys(("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay"), frozenset()),
    **dict.fromkeys(("vfat", "msdos"), _FAT | {Loss.LARGE}),
    **dict.fromkeys(("exfat", "cifs", "smb3"), _FAT),
    "ntfs3": frozenset({Loss.OWNERS}),
}
"""By the kernel's name of the file system. Of others it is found out when they are written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where files can go: a folder, there or not yet. `kind` is the kernel's name of its file system."""

    path: Path
    free: int | None
    kind: str


def place(folder: Path) -> Place:
    """What there is to know of a folder that is there, or would be made."""
    try:
        return Place(path=folder, free=free_room(folder), kind=kind_beneath(folder))
    except OSError as error:
        raise of_system(error) from error


def places() -> tuple[Place, ...]:
    """A folder on each disk, stick and share that is mounted and can be written to; `FOLDER` is made there."""
    return tuple(place(root / FOLDER) for root in media.mounted(writable=True))


def losses(kind: str, tally: Tally) -> frozenset[Loss] | None:
    """What of all that is to be copied the file system cannot keep; None where that is not known before."""
    known = _LOSSES.get(kind)
    if known is None:
        return None
    there = {Loss.OWNERS: True, Loss.LINKS: tally.links, Loss.LARGE: tally.large, Loss.NAMES: tally.odd}
    return frozenset(loss for loss in known if there[loss])


def plan_files(
    library: Path,
    image: Image,
    volume: OpenVolume,
    paths: Iterable[Sequence[bytes]],
    target: Path,
    unlock: Sequence[str] = (),
) -> FilesPlan:
    """Copy what is at these paths of a volume into a folder, which is made where the one above it is there.

    `unlock` are the encrypted volumes that were opened for it, in that order. Raises RefusedError where the folder
    cannot be one, or where it lies in the library.
    """
    target = Path(os.path.realpath(target))
    new = not target.is_dir()
    if new and (os.path.lexists(target) or not target.parent.is_dir()):
        what = f"{target} is no folder" if os.path.lexists(target) else f"there is no folder {target.parent}"
        raise RefusedError(what, code="not-a-folder", hint="give a folder that is there")
    refuse_in_library(target, library)
    joined = [b"/".join(path) for path in paths]
    return FilesPlan(
        library=str(library),
        image=image.id,
        volume=volume.name,
        unlock=tuple(dict.fromkeys(unlock)),  # opened twice, what is in it would have other names
        paths=tuple(path.decode() for path in joined if _is_text(path)),
        raw_paths=tuple(path for path in joined if not _is_text(path)),
        target=str(target),
        create=new,
        label=image.label,
    )


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
