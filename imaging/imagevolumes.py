"""The volumes of an image by the names that a person gives them, and why one cannot be looked into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

from imaging.disk import Content as FileSystem
from imaging.disk import Size
from imaging.errors import BadImageError, RefusedError
from imaging.manifest import Image, ImagedDisk, InnerVolume, Volume

LUKS = "crypto_LUKS"
LVM = "LVM2_member"
"""What blkid calls them."""
NO_NAMES = ("", ".", "..", "disks")
"""What no folder of a volume can be called; the last holds the disks."""
UNLOCKED = "-open"
"""The end of the name under which a volume's plain data stands beside it."""
FLAGS: dict[str, tuple[str, ...]] = {
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
"""The file systems that can be looked into, each with what keeps the kernel from writing to it."""
_REASONS = {
    "": "nothing known stands on it",
    "swap": "it is swap space, which holds no files",
    LUKS: "it is encrypted",
    "BitLocker": "it is encrypted",
    LVM: "it holds logical volumes, which are shown beside it",
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

    @property
    def locked(self) -> bool:
        """Whether LUKS encrypts it, and its passphrase opens it."""
        return self.content.kind == LUKS and bool(self.pieces)


def volumes(image: Image) -> Sequence[OpenVolume]:
    """All volumes of an image, in the order of its disks; no two bear the same name."""
    found: list[OpenVolume] = []
    taken = {*NO_NAMES, *(disk.name for disk in image.disks)}
    for disk in image.disks:
        for volume in disk.volumes:
            whole = _volume(disk, volume)
            found += [whole] if not volume.number else apart([whole], taken)
            end = min(volume.start + volume.size, disk.size)
            inner = [
                inner_volume(one, disk=disk.name, sector=disk.logical_sector, start=volume.start, end=end)
                for one in volume.inner
            ]
            found += apart(inner, taken)
    return found


def apart(found: Sequence[OpenVolume], taken: set[str]) -> list[OpenVolume]:
    """Volumes with a number behind each name that is taken, and from now on theirs are."""
    renamed = []
    for volume in found:
        names = chain((volume.name,), (f"{volume.name}-{number}" for number in count(2)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        renamed.append(replace(volume, name=name))
    return renamed


def volume_name(disk: str, number: int) -> str:
    """What a volume of an image is called: as the kernel would name the partition; the disk's name for a bare one."""
    if not number:
        return disk
    return f"{disk}{'p' if disk[-1:].isdigit() else ''}{number}"


def find_volume(image: Image, name: str, known: Sequence[OpenVolume] = ()) -> OpenVolume:
    """The volume of that name; its number will do where the image has one disk, and no name where one has files.

    `known` are those to choose from, where encrypted ones were opened. Raises BadImageError where there is none,
    RefusedError where it cannot be looked into.
    """
    known = known or volumes(image)
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
        name = chosen[0].name
        openable = f"open it with its passphrase: --unlock {name}" if chosen[0].locked else ""
        raise RefusedError(
            f"{name} of image {image.id} cannot be looked into: {chosen[0].problem}",
            code="not-a-file-system",
            hint=openable or f"volumes that can be looked into: {names}",
        )
    return chosen[0]


def find_locked(known: Sequence[OpenVolume], name: str, image_id: str) -> OpenVolume:
    """The volume of that name, which LUKS encrypts. Raises BadImageError where there is none."""
    locked = {volume.name: volume for volume in known if volume.locked}
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
        problem=why_not(volume.content) if inside else "it does not lie within the disk",
    )


def inner_volume(inner: InnerVolume, *, disk: str, sector: int, start: int, end: int) -> OpenVolume:
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
        problem=why_not(inner.content) if plain else inner.note or "it does not lie in plain pieces on this one disk",
    )


def why_not(content: FileSystem) -> str:
    """Why what stands on a volume cannot be looked into; empty where it can."""
    if content.kind in FLAGS:
        return ""
    return _REASONS.get(content.kind, f"{content.kind} cannot be mounted")
