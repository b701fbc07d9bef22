"""Plans to restore: which disks or partitions of an image go where, and what becomes of what is there."""

from enum import StrEnum

import msgspec

from imaging.changes import Growth, Resectoring, Shrinkage
from imaging.disk import Disk, Partition, Size
from imaging.identities import NewIdentity
from imaging.keptfiles import KeptFiles
from imaging.manifest import ImagedDisk
from imaging.planversion import VERSION
from imaging.sanitize import Sanitizer
from imaging.signatures import UNSIGNED, Standing


class PartitionTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of an imaged disk, and the partition of the target that it goes into, as it was shown.

    `volume` 0 is an image's bare disk without a table. `start` and `size` are the partition's, in bytes.
    """

    volume: Size
    partition: Size
    start: Size
    size: Size


class RestoreTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of the image and the disk that it goes to, as it was shown.

    All of it is erased, unless `partitions` names some: then nothing outside of these is written. `create` is set where
    the target is a file that does not exist yet.
    """

    source: ImagedDisk
    target: Disk
    create: bool = False
    partitions: tuple[PartitionTarget, ...] = ()
    growth: Growth | None = None
    """The partition that takes room which the image's disk did not have; None where all keep their sizes."""
    shrinkage: Shrinkage | None = None
    """The partition that gives the room which the target does not have; None where all keep their sizes."""
    sanitizer: Sanitizer | None = None
    """How the drive can erase itself, where it is to; None where nobody has asked it yet."""
    resectoring: Resectoring | None = None
    """What changes because the target's sectors have another size; None where they have the same."""

    @property
    def sector(self) -> int:
        """Bytes of a sector, as the table on the target counts; a file has those of the image."""
        return self.resectoring.after if self.resectoring is not None else self.source.logical_sector

    @property
    def named_partitions(self) -> tuple[tuple[str, PartitionTarget], ...]:
        """The partitions, each with the name by which it is confirmed."""
        return tuple((self.target.partition_name(p.partition), p) for p in self.partitions)

    @property
    def names(self) -> tuple[str, ...]:
        """What is erased, as it is confirmed: the disk, or each of its partitions."""
        return tuple(name for name, _ in self.named_partitions) or (self.target.name,)

    @property
    def kept(self) -> tuple[Partition, ...]:
        """The partitions that the image leaves out and the target has at the very same place: their data stay."""
        there = {(p.number, p.start, p.size) for p in self.target.table.partitions}
        return tuple(p for p in self.source.left_out if (p.number, p.start, p.size) in there)

    @property
    def may_stay(self) -> tuple[Partition, ...]:
        """Those kept; of a disk whose table a restore has taken away, all that the image leaves out may be there."""
        return self.source.left_out if self.target.unfinished else self.kept


class ForeignSource(msgspec.Struct, frozen=True, kw_only=True):
    """What another program has made, a file or a folder, and of what `kind` it is, in words.

    `mark` differs once anybody has written to it: imaging.foreignlook.
    """

    path: str
    kind: str
    mark: str


class Wipe(StrEnum):
    """How what a disk holds is erased before something is restored to it."""

    NONE = ""
    """What is not needed for the new content stays where it is, and can be found there."""
    DISCARD = "discard"
    """The drive is told that it can forget all of it; one that cannot is overwritten."""
    OVERWRITE = "overwrite"
    """Zeros are written to every sector."""
    SANITIZE = "sanitize"
    """The drive erases itself, with what it keeps aside; one that cannot is told to forget all."""


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True, tag="restore", tag_field="kind"):
    """Restore disks of an image, or partitions of one, each onto what was confirmed for it.

    With `foreign` there is no library: whole disks are restored straight from that, and `image` is what it is called.
    """

    library: str
    image: str
    targets: tuple[RestoreTarget, ...]
    label: str = ""
    read_back: bool = True
    standing: Standing = UNSIGNED
    """What the image's signatures said when the plan was made."""
    doubt: str = ""
    """Why the image is not to be used, in words, unless a person accepts that; empty where it may be."""
    accept_unsigned: bool = False
    """Whether a person has accepted that."""
    foreign: ForeignSource | None = None
    safety: str = ""
    """The library in which what the targets hold is saved before it is erased; empty where it is not."""
    saved: str = ""
    """The image in which what the targets hold was saved by now."""
    saved_in: str = ""
    """The library that has what a restore that was cut off has saved of the targets; empty where that is not known."""
    wipe: Wipe = Wipe.NONE
    """How whole disks are erased before."""
    boot_entry: bool = False
    """Whether this computer's firmware gets an entry for what was restored, where it finds no loader there without."""
    keep: KeptFiles | None = None
    """What of the system on the one target is carried over to the one that is restored; None for nothing."""
    identity: NewIdentity | None = None
    """What the one disk, and the system on it, is known by from then on; None for what the image has."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Restore {self.label or self.image} to {', '.join(name for t in self.targets for name in t.names)}"

    @property
    def shrinks(self) -> bool:
        """Whether a partition becomes smaller."""
        return any(pair.shrinkage is not None for pair in self.targets)
