"""File systems and volume groups that span several devices: whether all of them are captured together.

An image with some of the devices of one restores nothing that works. Sources: Linux fs/btrfs/ctree.h (super block and
device item); for LVM, the modules that read it.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from imaging import lvm, lvmgroup
from imaging.blockdev import opened, read
from imaging.disk import Disk, Partition
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError, RescueError
from imaging.manifest import Volume

_BTRFS_MAGIC = b"_BHRfS_M"
_BTRFS_HEAD = struct.Struct("<32x16s16x8s")
_BTRFS_DEVICES = 0x88
_BTRFS_DEVICE_ID = 0xC9 + 66
_BTRFS_LABEL = 0x12B


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One device of something that spans `needed` devices."""

    group: str
    """The UUID of the whole."""
    what: str
    """The whole, in words."""
    device: str
    """The UUID of this device in it."""
    needed: int


def incomplete(parts: Iterable[tuple[Disk, Partition]]) -> dict[tuple[str, int], str]:
    """What is missing beside these volumes, in words, by the disk's name and the volume's number.

    Volumes that cannot be read or understood are passed over: the capture says so of each.
    """
    found = {(disk.name, part.number): member for disk, part in parts if (member := _member(disk, part)) is not None}
    together: dict[str, set[str]] = {}
    for member in found.values():
        together.setdefault(member.group, set()).add(member.device)
    return {
        place: f"{member.what} spans {member.needed} devices, and only {len(together[member.group])} of them "
        "is captured here: without the others it cannot be used after a restore"
        for place, member in found.items()
        if len(together[member.group]) < member.needed
    }


def noted(name: str, volumes: Iterable[Volume], missing: Mapping[tuple[str, int], str]) -> tuple[Volume, ...]:
    """The volumes of the disk of this name, with what is missing beside each in its note."""
    told = []
    for volume in volumes:
        words = (volume.note, missing.get((name, volume.number), ""))
        told.append(replace(volume, note="; ".join(word for word in words if word)))
    return tuple(told)


def _member(disk: Disk, part: Partition) -> Member | None:
    try:
        match part.content.kind:
            case "btrfs":
                with opened(disk.path) as fd:
                    return btrfs_member(read(fd, 4096, part.start + BTRFS_SUPER))
            case "LVM2_member":
                with opened(disk.path) as fd:
                    return lvm_member(partial(_read, fd, part.start), part.size)
    except RescueError:
        return None
    return None


def _read(fd: int, offset: int, at: int, size: int) -> bytes:
    return read(fd, size, offset + at)


def btrfs_member(super_block: bytes) -> Member:
    """What a btrfs super block says; raises IoError where it is none."""
    fsid, magic = _BTRFS_HEAD.unpack_from(super_block)
    if magic != _BTRFS_MAGIC:
        raise IoError("there is no btrfs super block", code="bad-super-block")
    label = super_block[_BTRFS_LABEL : _BTRFS_LABEL + 256].split(b"\0")[0].decode("utf-8", errors="replace")
    return Member(
        group=fsid.hex(),
        what=f"btrfs {label}".rstrip(),
        device=super_block[_BTRFS_DEVICE_ID : _BTRFS_DEVICE_ID + 16].hex(),
        needed=struct.unpack_from("<Q", super_block, _BTRFS_DEVICES)[0],
    )


def lvm_member(reader: lvm.Read, size: int) -> Member:
    """What a physical volume says of its volume group; raises IoError where it is not understood."""
    label = lvm.read_label(reader, size)
    group = lvmgroup.parse_group(lvm.committed_text(reader, label))
    return Member(group=group.id, what=f"volume group {group.name}", device=label.id, needed=len(group.physical))
