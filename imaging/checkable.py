"""Which file systems of a disk can be checked in place, and why others cannot; nothing is written.

ext2 to ext4 and XFS are mended by their tools; of the others it is only said how they are.
"""

from collections.abc import Collection

from imaging import doubts
from imaging.blockdev import read
from imaging.disk import Disk, Partition, PartitionRole
from imaging.errors import IoError
from imaging.repairplans import FileSystemCheck
from imaging.run import find_tool

_MENDED = ("ext2", "ext3", "ext4", "xfs")
_LOOKED_AT = ("btrfs", "vfat", "exfat", "ntfs")
_TOOLS = {"xfs": "xfs_repair", "btrfs": "btrfs", "vfat": "fsck.vfat", "exfat": "fsck.exfat", "ntfs": "ntfsresize"}


def numbers(disk: Disk) -> tuple[int, ...]:
    """The partitions of a disk that can be checked, whatever may speak against it."""
    return tuple(part.number for part in disk.table.partitions if _is_checked(part) and not part.recovery)


def _is_checked(part: Partition) -> bool:
    return part.role is not PartitionRole.EXTENDED and part.content.kind in (*_MENDED, *_LOOKED_AT)


def plan_checks(disk: Disk, fd: int, chosen: Collection[int], barred: str) -> tuple[list[FileSystemCheck], list[str]]:
    """The checks of partitions of a disk that is open, and why others are not checked, in words.

    `barred` is why nothing may be written to its file systems; empty where it may.
    """
    checks, notes = [], []
    for part in disk.table.partitions:
        if part.number not in chosen:
            continue
        why = _why_not(disk, part, fd, barred)
        if why:
            notes.append(f"{disk.partition_name(part.number)} is not checked: {why}")
            continue
        kind = part.content.kind
        checks.append(
            FileSystemCheck(
                number=part.number, start=part.start, size=part.size, kind=kind, only_looks=kind in _LOOKED_AT
            )
        )
    return checks, notes


def _why_not(disk: Disk, part: Partition, fd: int, barred: str) -> str:
    kind = part.content.kind
    if not _is_checked(part) or not 0 < part.size <= disk.size - part.start:
        return "what stands on it cannot be checked here"
    if part.recovery:
        return "it is the recovery system's own"
    tool = _TOOLS.get(kind, "e2fsck")
    if find_tool(tool) is None:
        return f"{tool} is not installed"
    if kind in _MENDED and barred:
        return barred
    try:
        apart = doubts.lies_elsewhere(kind, lambda at, size: read(fd, size, part.start + at))
    except IoError as error:
        return error.message
    return "a part of it, such as its journal, lies on another device" if apart else ""
