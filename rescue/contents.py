"""What stands on volumes and in partitions, in a person's words."""

from collections.abc import Iterable, Mapping

from imaging.disk import Content, Partition, PartitionRole
from rescue.formats import clean, format_size, joined, quoted
from rescue.language import N_, _

KINDS = {
    "vfat": "FAT",
    "ntfs": "NTFS",
    "LVM2_member": "LVM",
    "crypto_LUKS": N_("LUKS, encrypted"),
    "BitLocker": N_("BitLocker, encrypted"),
    "linux_raid_member": N_("RAID member"),
    "zfs_member": "ZFS",
    "apfs": "APFS",
    "hfsplus": "HFS+",
}
"""Words for blkid's TYPE where that is not a word of its own."""

TYPES = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": N_("EFI system"),
    "21686148-6449-6e6f-744e-656564454649": N_("BIOS boot"),
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": N_("Microsoft reserved"),
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": N_("Windows recovery"),
}
"""Words for GPT partition types that a person can do something with (UEFI specification, systemd's gpt.h)."""

NO_SYSTEMS: Mapping[int, str] = {}


def content_words(content: Content) -> str:
    """What stands on a volume, in a person's words; empty where nothing is known."""
    kind = _(KINDS[content.kind]) if content.kind in KINDS else clean(content.kind)
    return joined(kind, quoted(content.label), by=" ")


def system_words(system: str, content: Content) -> str:
    """The operating system before the file system that it stands on; either where there is no other."""
    return joined(clean(system), content_words(content), by=", ")


def partition_rows(partitions: Iterable[Partition], systems: Mapping[int, str] = NO_SYSTEMS) -> list[list[str]]:
    """Number, size, content, and what the table calls it, for each partition but extended ones.

    `systems` are the operating systems that are known, by the numbers of their partitions.
    """
    return [
        [
            str(partition.number),
            format_size(partition.size),
            system_words(systems.get(partition.number, ""), partition.content)
            or _(TYPES.get(partition.type.lower(), N_("unknown content"))),
            _called(partition),
        ]
        for partition in partitions
        if partition.role is not PartitionRole.EXTENDED
    ]


def _called(partition: Partition) -> str:
    """What the table calls it, and what is left of an earlier restore."""
    name = f"({clean(partition.name)})" if partition.name not in ("", partition.content.label) else ""
    left = _("unfinished restore of {image}").format(image=clean(partition.unfinished)) if partition.unfinished else ""
    return joined(name, left)
