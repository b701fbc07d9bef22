"""Which volumes of an image bad chunks hurt: those that have used bytes in one."""

from collections.abc import Collection

from imaging.imagevolumes import volume_name
from imaging.library import DiskFiles, Library
from imaging.manifest import Image, ImagedDisk

_MOST = 64


def volumes_hurt(library: Library, image: Image, bad: Collection[bytes]) -> tuple[str, ...]:
    """The volumes, each as `sda2 (ext4)`, of which bytes that are used lie in one of these chunks; 64 at most.

    A partition table is named by its disk. Which files lie there is for the file system's own tools to say. Raises
    BadImageError, IoError.
    """
    if not bad:
        return ()
    found: dict[str, None] = {}
    for disk in image.disks:
        files = library.files(image, disk)
        for i in range(len(files.index)):
            if files.index.id(i) in bad:
                found |= dict.fromkeys(_within(disk, files, i))
    return tuple(found)[:_MOST]


def _within(disk: ImagedDisk, files: DiskFiles, i: int) -> list[str]:
    start, end = files.index.start(i), files.index.end(i)
    names = []
    for volume in disk.volumes:
        low, high = max(start, volume.start), min(end, volume.start + volume.size)
        if files.used.overlaps(low, high):
            name, kind = volume_name(disk.name, volume.number), volume.content.kind
            names.append(f"{name} ({kind})" if kind else name)
    if any(low < end and high > start for low, high in disk.table_extents):
        names.append(disk.name)
    return names
