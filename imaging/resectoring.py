"""An image on a disk whose sectors have another size: whether its table and its partitions allow that. Pure.

The table is written anew; partitions stay at their bytes. FAT counts in sectors all over, so a new one with the same
files takes its place; other file systems are asked what sectors they take: imaging.resectored. What is known to fail,
and what is not known, is refused.
"""

from collections.abc import Sequence
from itertools import pairwise

from imaging import gpt
from imaging.changes import Resectoring
from imaging.disk import Partition, PartitionRole, TableKind
from imaging.errors import RefusedError
from imaging.manifest import ImagedDisk, Volume
from imaging.restoreplans import RestoreTarget
from imaging.run import find_tool
from imaging.sectortable import refused, why_misplaced

FAT = "vfat"
LVM = "LVM2_member"
_ABLE = ("ext2", "ext3", "ext4", "xfs", "btrfs", "swap", FAT)
"""What can be on sectors of another size, as far as its kind says."""
_WHY = {
    "ntfs": "Windows starts no NTFS whose sectors are not those of the disk",
    "exfat": "exFAT has to have the sectors of its disk",
    "BitLocker": "it is encrypted by BitLocker, which counts in sectors",
    "crypto_LUKS": "it is encrypted, and it cannot be known whether what is in it allows that",
    "linux_raid_member": "it belongs to a RAID, whose other disks have sectors of the old size",
    "f2fs": "f2fs has to be made for the sectors of its disk",
}
_RAW = (
    "21686148-6449-6e6f-744e-656564454649",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae",
)
"""Types of partitions without a file system: GRUB's for a BIOS, which starts no sectors of 4096 bytes anyway, and
Microsoft's, in which nothing is."""
MAKES_FAT = "mkfs.fat"
_SECTORS = (512, 1024, 2048, 4096)
"""Bytes; FAT knows no larger ones."""
_LARGEST = max(_SECTORS)


def plan_resectoring(source: ImagedDisk, sector: int) -> Resectoring:
    """How the image of a disk is to come onto one with sectors of `sector` bytes.

    Raises RefusedError (code "other-sectors") with the partition and the reason.
    """
    if why := why_not(source, sector):
        raise refused(why)
    rebuilt = tuple(v.number for v in source.volumes if v.content.kind == FAT)
    return Resectoring(before=source.logical_sector, after=sector, rebuilt=rebuilt)


def why_not(source: ImagedDisk, sector: int) -> str:
    """Why an image cannot be on sectors of this size, in words, by table and manifest; empty where it may be."""
    if sector not in _SECTORS:
        return f"sectors of {sector} bytes are not known"
    if source.table.kind is TableKind.NONE:
        return "it has no partition table"
    if source.left_out:
        return "the image leaves out partitions, which stay where they are"
    if source.table.dynamic:
        return "it is a dynamic disk of Windows, which keeps a table of its own"
    parts = sorted((p for p in source.table.partitions if p.size), key=lambda p: (p.start, p.end))
    for part, behind in pairwise(parts):
        if behind.start < part.end and PartitionRole.EXTENDED not in (part.role, behind.role):
            return f"the partitions {part.number} and {behind.number} overlap"
    return next(filter(None, (_why_not(source, part, sector) for part in parts)), "")


def _why_not(source: ImagedDisk, part: Partition, sector: int) -> str:
    volume = next((v for v in source.volumes if v.number == part.number), None)
    if part.role is not PartitionRole.PRIMARY or volume is None:
        return f"partition {part.number} lies in an extended one, or is one"
    if why := why_misplaced(part.number, part.start, part.size, sector):
        return why
    if part.recovery:
        return f"partition {part.number} is the recovery partition of the computer that was captured"
    if (volume.start, volume.size) != (part.start, part.size):
        return f"what the image has of partition {part.number} lies elsewhere"
    kind = volume.content.kind
    if kind == LVM:
        return _why_not_lvm(volume)
    # Where nothing was found on it, it may be empty, which its bytes say.
    if kind and kind not in _ABLE:
        why = _why_kind(kind)
        return f"partition {part.number}: {why}"
    if kind == FAT and source.unreadable_in([part.number]):
        return f"parts of partition {part.number} could not be read when it was captured"
    return ""


def _why_kind(kind: str) -> str:
    if not kind:
        return "it is not known what is on it"
    return _WHY.get(kind, f"it is not known whether what is on it ({kind}) allows that")


def _why_not_lvm(volume: Volume) -> str:
    """LVM itself takes disks of either kind; its logical volumes have to lie on whole sectors, and allow it as well."""
    if not volume.inner:
        return f"partition {volume.number}: it is not known what is in its LVM group"
    number = volume.number
    for inner in volume.inner:
        kind = inner.content.kind
        if kind not in _ABLE or kind == FAT:
            why = _why_kind(kind)
            return f"partition {number}, logical volume {inner.name}: {why}"
        if not inner.pieces or sum(end - start for start, end in inner.pieces) != inner.size:
            return (
                f"partition {number}, logical volume {inner.name}: not all of it lies on this partition, one piece "
                "behind the other"
            )
        if any((volume.start + at) % _LARGEST for piece in inner.pieces for at in piece):
            return (
                f"partition {number}, logical volume {inner.name}: it does not begin and end at multiples of "
                f"{_LARGEST} bytes"
            )
    return ""


def is_raw(part: Partition) -> bool:
    """Whether no file system is to be found in a partition of this type."""
    return part.type.lower() in _RAW


def needed_size(source: ImagedDisk, sector: int, entries: int) -> int:
    """The least bytes that such a disk must have, with a table of so many bytes of entries."""
    end = max((p.end for p in source.table.partitions), default=0)
    room = gpt.room_at_end(entries, sector) if source.table.kind is TableKind.GPT else 0
    return end + room


def refuse_unless_same(pair: RestoreTarget) -> None:
    """Raise RefusedError where what was shown is not what image and target give, or no tool is here."""
    if pair.resectoring is None:
        return
    if plan_resectoring(pair.source, pair.target.logical_sector) != pair.resectoring:
        raise RefusedError("the disk would not get other sectors as it was shown", code="disk-changed")
    refuse_unless_able(pair.resectoring.rebuilt)


def refuse_unless_able(rebuilt: Sequence[int]) -> None:
    """Raise RefusedError where FAT volumes are to be made anew, and what makes them is not installed here."""
    if rebuilt and find_tool(MAKES_FAT) is None:
        raise RefusedError(
            f"partition {rebuilt[0]} cannot be made anew: {MAKES_FAT} is not installed",
            code="other-sectors",
            hint="start the computer from the recovery stick, which has it",
        )
