"""What stands on volumes and in partitions, in a person's words."""

from collections.abc import Iterable

from imaging.disk import Content, Partition, PartitionRole
from rescue.formats import clean, format_size, joined, quoted

KINDS = {
    "vfat": "FAT",
    "ntfs": "NTFS",
    "LVM2_member": "LVM",
    "crypto_LUKS": "LUKS, encrypted",
    "BitLocker": "BitLocker, encrypted",
    "linux_raid_member": "RAID member",
    "zfs_member": "ZFS",
    "apfs": "APFS",
    "hfsplus": "HFS+",
}
"""Words for blkid's TYPE where that is not a word of its own."""

TYPES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
}
"""Words for GPT partition types that a person can do something with (UEFI specification, systemd's gpt.h)."""


def content_words(content: Content) -> str:
    """What stands on a volume, in a person's words; empty where nothing is known."""
    return joined(KINDS.get(content.kind, clean(content.kind)), quoted(content.label), by=" ")


def partition_rows(partitions: Iterable[Partition]) -> list[list[str]]:
    """Number, size, content, and what the table calls it, for each partition but extended ones."""
    return [
        [
            str(partition.number),
            format_size(partition.size),
            content_words(partition.content) or TYPES.get(partition.type.lower(), "unknown content"),
            _called(partition),
        ]
        for partition in partitions
        if partition.role is not PartitionRole.EXTENDED
    ]


def _called(partition: Partition) -> str:
    """What the table calls it, and what is left of an earlier restore."""
    name = f"({clean(partition.name)})" if partition.name not in ("", partition.content.label) else ""
    left = f"unfinished restore of {clean(partition.unfinished)}" if partition.unfinished else ""
    return joined(name, left)
