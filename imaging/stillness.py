"""How each partition of a disk in use can be captured as it is at one moment, or why it cannot: pure.

A file system that is mounted changes while it is read, and an image of it may be good for nothing. What is still is
what nobody uses, a snapshot that LVM holds, and a small file system that is frozen while it is copied.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from imaging.disk import Disk, Mount, Partition, PartitionRole, TableKind
from imaging.errors import RefusedError
from imaging.freezer import How

HINT = "have the next start of the computer capture it: rescue schedule set --next-boot"
_BOOT = ("/boot", "/boot/efi", "/efi", "/boot/firmware")
"""Where file systems are small, and nothing waits that is needed to let go of them again."""
_FREEZABLE = ("ext2", "ext3", "ext4", "xfs", "btrfs")
_REMOUNTABLE = ("vfat",)
_IN_SNAPSHOTS = ("ext2", "ext3", "ext4", "xfs", "vfat", "")
"""What may stand on a logical volume of which a snapshot is taken.

Not btrfs: of two copies of one that it sees at once, the kernel may take one for the other. Source: btrfs(5).
"""
_LVM = "LVM2_member"


class Way(StrEnum):
    """How a partition, or a logical volume, is read."""

    APART = "apart"
    """As it is: nobody writes to it, which is proved at the end."""
    SWAP = "swap"
    """Its ends alone: what is swapped out is not stored."""
    HELD = "held"
    """From a copy, for which it is held still."""
    SNAPSHOTS = "snapshots"
    """An LVM physical volume: from snapshots of its logical volumes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What the running system does with a partition or a logical volume: its mounts, and the kernel's names of the
    devices that stand on it. `held` says that somebody has it for himself, as the kernel tells without a name."""

    mounts: tuple[Mount, ...] = ()
    holders: tuple[str, ...] = ()
    held: bool = False

    @property
    def swap(self) -> bool:
        """Whether it is swapped to."""
        return any(mount.where == "[swap]" for mount in self.mounts)

    @property
    def writable(self) -> tuple[str, ...]:
        """Where it is mounted and can be written to."""
        return tuple(mount.where for mount in self.mounts if not mount.read_only and mount.where != "[swap]")


NOBODY = Use()
WHOLE = 0
"""The number by which `decide` is told what is done with all of a disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """How one partition is captured; `where` and `how` are those of one that is held."""

    number: int
    way: Way
    where: str = ""
    how: How = How.FREEZE


def decide(disk: Disk, uses: Mapping[int, Use]) -> Sequence[Still]:
    """How each partition that holds data is captured; `uses` go by their numbers. Raises RefusedError ("not-still").

    What stands on all of a disk (multipath, RAID of the firmware) may use its partitions by names of its own.
    """
    whole = uses.get(WHOLE, NOBODY)
    if whole.holders or whole.mounts:
        users = ", ".join((*whole.holders, *(mount.where for mount in whole.mounts)))
        raise refused(disk.name, f"{users} stands on all of it, and partitions are used by other names")
    if disk.table.kind is TableKind.NONE:
        raise refused(disk.name, "it has no partition table: of a bare disk in use no part can be told from another")
    return [
        _of_partition(disk, part, uses.get(part.number, NOBODY))
        for part in disk.table.partitions
        if part.role is not PartitionRole.EXTENDED
    ]


def _of_partition(disk: Disk, part: Partition, use: Use) -> Still:
    name, kind = disk.partition_name(part.number), part.content.kind
    if kind == _LVM and use.holders:
        return Still(number=part.number, way=Way.SNAPSHOTS)
    if use.swap or (kind == "swap" and not use.mounts):
        return Still(number=part.number, way=Way.SWAP)
    if use.holders:
        raise refused(name, f"{', '.join(use.holders)} stands on it, of which no snapshot can be had")
    if not use.writable:
        if use.held and not use.mounts:
            raise refused(name, "a program or a file system of several devices uses it")
        return Still(number=part.number, way=Way.APART)
    outside = [where for where in use.writable if where not in _BOOT]
    if outside:
        raise refused(name, f"{kind or 'a file system'} without LVM beneath it is mounted at {outside[0]}")
    if kind not in (*_FREEZABLE, *_REMOUNTABLE):
        raise refused(name, f"{kind or 'what is on it'}, mounted at {use.writable[0]}, cannot be held still")
    how = How.FREEZE if kind in _FREEZABLE else How.READ_ONLY
    return Still(number=part.number, way=Way.HELD, where=use.writable[0], how=how)


def decide_volume(name: str, kind: str, use: Use) -> Way:
    """How a logical volume, `group/volume`, is captured; `kind` is blkid's. Raises RefusedError ("not-still")."""
    if use.swap or (kind == "swap" and not use.mounts):
        return Way.SWAP
    if use.holders:
        raise refused(name, f"{', '.join(use.holders)} stands on it, which a snapshot would not have at rest")
    if use.held and not use.mounts:
        raise refused(name, "a program or a file system of several devices uses it")
    if kind == "btrfs":
        raise refused(name, "it holds btrfs, of which the kernel must not see a second copy, as a snapshot is one")
    if kind not in _IN_SNAPSHOTS:
        raise refused(name, f"no snapshot is taken of {kind}")
    return Way.SNAPSHOTS


def refused(name: str, why: str) -> RefusedError:
    """The refusal of a partition or a volume, in words."""
    return RefusedError(f"{name} cannot be captured while it is in use: {why}", code="not-still", hint=HINT)
