"""What a disk is: its identity, its partition table, what stands on it. Plain values; sizes and offsets are bytes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from imaging.unfinished import NOTHING, Manner

Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A size or an offset in bytes."""


_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_DYNAMIC = ("42", "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad")
"""Types of the partitions of Windows' dynamic disks."""


def format_size(size: int) -> str:
    """Bytes in decimal units, as disks are sold: `500.1 GB` is 500,100,000,000 bytes."""
    value = float(size)
    for unit in _UNITS:
        if round(value, 1) < 1000 or unit == _UNITS[-1]:
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the loop always returns")


def exact(size: int) -> str:
    """A size for a person, and to the byte: disks that differ by little look alike otherwise."""
    return f"{format_size(size)} ({size:,} bytes)"


DISK_FILE = "disk file"
"""The model of a regular file that stands in a disk's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskId:
    """A disk's identity, whatever the kernel calls it today. A regular file's is its place in its file system."""

    size: Size
    model: str = ""
    serial: str = ""
    wwn: str = ""

    def same_disk(self, other: "DiskId") -> bool:
        """Whether both name one and the same disk: the strongest mark that both have decides."""
        if self.wwn and other.wwn:
            return self.wwn == other.wwn and self.size == other.size
        return (self.serial, self.model, self.size) == (other.serial, other.model, other.size)


class TableKind(StrEnum):
    """How a disk is divided."""

    GPT = "gpt"
    MBR = "dos"
    NONE = "none"


class PartitionRole(StrEnum):
    """Where a partition stands in its table."""

    PRIMARY = "primary"
    EXTENDED = "extended"
    LOGICAL = "logical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a probe finds on a volume: `kind` is blkid's TYPE ("ext4", "swap", "LVM2_member"), empty where unknown."""

    kind: str = ""
    usage: str = ""
    label: str = ""
    uuid: str = ""
    block_size: Size = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One entry of a table, with what stands on it."""

    number: Size
    start: Size
    size: Size
    type: str
    role: PartitionRole = PartitionRole.PRIMARY
    name: str = ""
    uuid: str = ""
    bootable: bool = False
    content: Content = Content()
    unfinished: str = ""
    """The id of the image whose restore into this partition was begun and never completed, else empty."""
    saved: str = ""
    """The id of the image in which that restore has saved what was there before; empty where it has not."""
    recovery: str = ""
    """The UUID in the mark of the computer's own recovery partition (imaging.ownmark); empty on any other."""

    @property
    def end(self) -> int:
        """The first byte past the partition."""
        return self.start + self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTable:
    """A table as sfdisk reads it; `table_id` is the disk GUID or the MBR's 32-bit signature."""

    kind: TableKind
    table_id: str = ""
    partitions: tuple[Partition, ...] = ()

    @property
    def dynamic(self) -> bool:
        """Whether it is that of a dynamic disk of Windows, which keeps a table of its own, unknown to us."""
        return any(part.type.lower() in _DYNAMIC for part in self.partitions)


class Role(StrEnum):
    """Why a disk is never a target, whatever stands on it."""

    BOOT_MEDIUM = "boot medium"
    SYSTEM = "running system"
    LIBRARY = "image library"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file system or swap area of this disk that the running system uses; `where` is "[swap]" for swap."""

    source: str
    where: str
    read_only: bool = False
    beneath: tuple[str, ...] = ()
    """The kernel's names of the partitions that it stands on, through loop devices; empty where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk as the inventory finds it. `path` is today's name for it; a regular file can stand in its place.

    `fingerprint` is a digest of the first and last MiB: it tells if the disk was changed since it was looked at.
    `unfinished` is the id of the image whose restore onto this disk was begun and never completed, else empty, and
    `saved` that of the image in which it has saved what was there before, and `keeps` the rules by which it carries
    files over from that.
    """

    path: str
    id: DiskId
    table: PartitionTable
    content: Content = Content()
    """What stands on the bare disk where there is no table."""
    transport: str = ""
    logical_sector: Size = 512
    physical_sector: Size = 512
    removable: bool = False
    read_only: bool = False
    regular_file: bool = False
    mounts: tuple[Mount, ...] = ()
    holders: tuple[str, ...] = ()
    """Devices that stand on this disk or its partitions: LVM, LUKS, md, loop."""
    roles: tuple[Role, ...] = ()
    kept: Size = 0
    """The number of the recovery partition that all of the roles come from: only it, and the table, must stay. Else 0.
    """
    fingerprint: str = ""
    unfinished: str = ""
    saved: str = ""
    keeps: tuple[str, ...] = ()
    manner: Manner = NOTHING
    """How that restore was to be done; where it is one of partitions alone, from the mark in the first of them."""
    failing: str = ""
    """Why parts of the first or last MiB cannot be read, in words: it can be saved, and is no target."""
    problem: str = ""
    """Why the disk could not be looked at in full, in words; empty where it could."""

    @property
    def name(self) -> str:
        """What a person types to confirm: `sda`, or a file's base name."""
        return self.path.rsplit("/", 1)[-1]

    def partition_name(self, number: int) -> str:
        """What a person types to confirm one partition: `sda2`, `nvme0n1p2`, `disk.img:2`; never the disk's name."""
        infix = ":" if self.regular_file else "p" if self.name[-1:].isdigit() else ""
        return f"{self.name}{infix}{number}"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.id.size
