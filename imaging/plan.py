"""Plans: what a job is to do, in full, as values that can be shown, stored and compared."""

import msgspec

from imaging import levels
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, DiskId, Size
from imaging.errors import UsageError
from imaging.manifest import ImagedDisk

VERSION = 2
"""2: a restore can be of chosen partitions, which a program that reads 1 would take for one of whole disks."""


class CapturePlan(msgspec.Struct, frozen=True, kw_only=True, tag="capture", tag_field="kind"):
    """Capture the used bytes of `disks` into the library at `library`, which is made where there is none.

    `only` names, by a disk's path, the partitions to capture of it; a disk that is not in it is captured whole.
    """

    library: str
    disks: tuple[Disk, ...]
    only: dict[str, tuple[Size, ...]] = {}
    label: str = ""
    level: int = DEFAULT_LEVEL
    check: bool = False
    """Whether the file systems of the new image are checked once it is there."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        what = f"Back up {', '.join(self._part(disk) for disk in self.disks)}"
        return what if self.level == DEFAULT_LEVEL else f"{what} ({levels.name(self.level)})"

    def _part(self, disk: Disk) -> str:
        return ", ".join(disk.partition_name(number) for number in self.only.get(disk.path, ())) or disk.name


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

    @property
    def named_partitions(self) -> tuple[tuple[str, PartitionTarget], ...]:
        """The partitions, each with the name by which it is confirmed."""
        return tuple((self.target.partition_name(p.partition), p) for p in self.partitions)

    @property
    def names(self) -> tuple[str, ...]:
        """What is erased, as it is confirmed: the disk, or each of its partitions."""
        return tuple(name for name, _ in self.named_partitions) or (self.target.name,)


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True, tag="restore", tag_field="kind"):
    """Restore disks of an image, or partitions of one, each onto what was confirmed for it."""

    library: str
    image: str
    targets: tuple[RestoreTarget, ...]
    label: str = ""
    read_back: bool = True
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Restore {self.label or self.image} to {', '.join(name for t in self.targets for name in t.names)}"


class VerifyPlan(msgspec.Struct, frozen=True, kw_only=True, tag="verify", tag_field="kind"):
    """Check every chunk of an image, or, with `against`, that a disk holds what the image says."""

    library: str
    image: str
    label: str = ""
    against: Disk | None = None
    disk: str = ""
    """Which of the image's disks is compared with `against`."""
    partitions: tuple[PartitionTarget, ...] = ()
    """The partitions that are compared; all of the disk where there are none."""
    deep: bool = False
    """Whether each chunk's SHA-512/256, its name, is computed, too."""
    check: bool = False
    """Whether the image's file systems are checked, too."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        what = f"Verify {self.label or self.image}"
        return f"{what} against {self.against.name}" if self.against else what


Plan = CapturePlan | RestorePlan | VerifyPlan

_decoder: msgspec.json.Decoder[Plan] = msgspec.json.Decoder(Plan)


def encode(plan: Plan) -> bytes:
    """Render as JSON."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"


def decode(data: bytes) -> Plan:
    """Parse a plan; raises UsageError where it is not one, or of another version."""
    try:
        plan = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"this is not a plan: {error}", code="bad-plan") from error
    if plan.version != VERSION:
        raise UsageError(f"plan version {plan.version} is not known to this program", code="bad-plan")
    return plan


def disks_used(plan: Plan) -> tuple[tuple[DiskId, str, bool], ...]:
    """The disks that the plan touches: identity, path, and whether it writes to them."""
    match plan:
        case CapturePlan():
            return tuple((disk.id, disk.path, False) for disk in plan.disks)
        case RestorePlan():
            return tuple((t.target.id, t.target.path, True) for t in plan.targets)
        case VerifyPlan():
            return ((plan.against.id, plan.against.path, False),) if plan.against else ()
