"""Plans: what a job is to do, in full, as values that can be shown, stored and compared."""

import msgspec

from imaging import levels
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, DiskId
from imaging.errors import UsageError
from imaging.manifest import ImagedDisk

VERSION = 1


class CapturePlan(msgspec.Struct, frozen=True, kw_only=True, tag="capture", tag_field="kind"):
    """Capture the used bytes of `disks` into the library at `library`, which is made where there is none."""

    library: str
    disks: tuple[Disk, ...]
    label: str = ""
    level: int = DEFAULT_LEVEL
    check: bool = False
    """Whether the file systems of the new image are checked once it is there."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        what = f"Back up {', '.join(disk.name for disk in self.disks)}"
        return what if self.level == DEFAULT_LEVEL else f"{what} ({levels.name(self.level)})"


class RestoreTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of the image and the disk that it goes to, as it was shown; all of it is erased.

    `create` is set where the target is a file that does not exist yet.
    """

    source: ImagedDisk
    target: Disk
    create: bool = False


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True, tag="restore", tag_field="kind"):
    """Restore whole disks of an image, each onto the disk that was confirmed for it."""

    library: str
    image: str
    targets: tuple[RestoreTarget, ...]
    label: str = ""
    read_back: bool = True
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Restore {self.label or self.image} to {', '.join(t.target.name for t in self.targets)}"


class VerifyPlan(msgspec.Struct, frozen=True, kw_only=True, tag="verify", tag_field="kind"):
    """Check every chunk of an image, or, with `against`, that a disk holds what the image says."""

    library: str
    image: str
    label: str = ""
    against: Disk | None = None
    disk: str = ""
    """Which of the image's disks is compared with `against`."""
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
