"""Plans: what a job is to do, in full, as values that can be shown, stored and compared."""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from imaging import levels
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, DiskId, Partition, PartitionTable, Size
from imaging.errors import UsageError
from imaging.identities import NewIdentity
from imaging.keptfiles import KeptFiles
from imaging.manifest import ImagedDisk
from imaging.sanitize import Sanitizer
from imaging.signatures import UNSIGNED, Standing
from imaging.signingkeys import PublicKey
from imaging.startable import Firmware, Starts

DAY = 24 * 3600
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
    signer: str = ""
    """The id of the key that signs the new image, which the worker is given apart; empty for none."""
    running: bool = False
    """Whether the running system uses the disks: they are captured as they are at one moment, by imaging.still."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        what = f"Back up {', '.join(self._part(disk) for disk in self.disks)}"
        return what if self.level == DEFAULT_LEVEL else f"{what} ({levels.name(self.level)})"

    def _part(self, disk: Disk) -> str:
        return ", ".join(disk.partition_name(number) for number in self.only.get(disk.path, ())) or disk.name


class ImportPlan(msgspec.Struct, frozen=True, kw_only=True, tag="import", tag_field="kind"):
    """Make an image of what another program has made one of, the file or folder `source`, in the library at `library`.

    The library is made where there is none.
    """

    library: str
    source: str
    label: str = ""
    level: int = DEFAULT_LEVEL
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Import {self.source}"


class PartitionTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of an imaged disk, and the partition of the target that it goes into, as it was shown.

    `volume` 0 is an image's bare disk without a table. `start` and `size` are the partition's, in bytes.
    """

    volume: Size
    partition: Size
    start: Size
    size: Size


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that goes to another place than it had in the image, as it is; in bytes."""

    partition: Size
    start: Size
    size: Size
    to: Size


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of the image that is larger on the target than it was: from `old_size` to `size` bytes at `start`.

    `kind` is what stands in it, by blkid's name. With `filesystem` its file system grows with it; else the partition
    alone does. `moved` is the swap partition that stood behind it and goes to the end of the disk.
    """

    partition: Size
    start: Size
    old_size: Size
    size: Size
    kind: str
    filesystem: bool = True
    moved: Moved | None = None


class Shrinkage(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of the image that is smaller on the target than it was: `size` bytes at `start`, not `old_size`.

    `kind` is what stands in it, by blkid's name: its file system is made smaller. `moved` are the partitions behind it,
    which come nearer by as much, in the disk's order.
    """

    partition: Size
    start: Size
    old_size: Size
    size: Size
    kind: str
    moved: tuple[Moved, ...] = ()

    @property
    def old_end(self) -> int:
        """Where the partition ends in the image."""
        return self.start + self.old_size

    @property
    def end(self) -> int:
        """Where it ends on the target."""
        return self.start + self.size

    def placed(self, start: int, size: int) -> tuple[int, int]:
        """Where a partition that has this place in the image lies on the target."""
        if (start, size) == (self.start, self.old_size):
            return start, self.size
        return next((one.to for one in self.moved if (one.start, one.size) == (start, size)), start), size


Change = Growth | Shrinkage
"""What is other on the target than in the image."""


class Resectoring(msgspec.Struct, frozen=True, kw_only=True):
    """The target's sectors have `after` bytes, those of the image `before`: the table is written anew for them.

    The FAT volumes on the partitions `rebuilt` are made anew with the same files; all others stay as they are.
    """

    before: Size
    after: Size
    rebuilt: tuple[Size, ...] = ()


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
    repair_from: str = ""
    """Another library, from which chunks that are found bad are mended."""
    rate: Size = 0
    """Bytes a second that are read from the library at most; 0 for no limit."""
    anew: bool = False
    """Whether what a verification that was cut off has read is read again."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        what = f"Verify {self.label or self.image}"
        return f"{what} against {self.against.name}" if self.against else what


class VerifySetPlan(msgspec.Struct, frozen=True, kw_only=True, tag="verify-set", tag_field="kind"):
    """Check every chunk of several images, one after the other, each chunk once; the rest is as in VerifyPlan."""

    library: str
    images: tuple[str, ...]
    deep: bool = False
    repair_from: str = ""
    rate: Size = 0
    anew: bool = False
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Verify images of {self.library}: {len(self.images)}"


class DeletePlan(msgspec.Struct, frozen=True, kw_only=True, tag="delete", tag_field="kind"):
    """Delete an image, and the chunks that no other image names.

    `created` is when it was captured, as it was shown; empty for one that was shown as damaged.
    """

    library: str
    image: str
    created: str
    label: str = ""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Delete image {self.label or self.image}"

    @property
    def names(self) -> tuple[str, ...]:
        """What a person may type to have it deleted: its label, where it has one, the end of its id, or all of that."""
        end = self.image.rpartition("-")[2]
        return tuple(dict.fromkeys(filter(None, (self.label.strip(), end, self.image))))

    @property
    def short_names(self) -> tuple[str, ...]:
        """Those of the names that are offered: a whole id is long to type."""
        return self.names[: 2 if self.label.strip() else 1]

    def confirmed_by(self, answer: str) -> bool:
        """Whether what a person typed names the image."""
        return answer.strip() in self.names


class DoomedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a rule does not keep; `created` is when it was captured, as it was shown."""

    id: str
    created: str
    label: str = ""


class PrunePlan(msgspec.Struct, frozen=True, kw_only=True, tag="prune", tag_field="kind"):
    """Delete images of a library, and then whatever chunks no image names.

    Chunks that were stored in the last `grace` seconds stay, though no image names them: a capture that left no mark
    may be about to.
    """

    library: str
    images: tuple[DoomedImage, ...] = ()
    grace: Size = DAY
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        count = len(self.images)
        return f"Prune {self.library}, images to delete: {count}" if count else f"Prune {self.library}"


class ExportFormat(StrEnum):
    """What a disk of an image is written as."""

    RAW = "raw"
    ZSTD = "raw.zst"
    """Seekable: one frame for each chunk, and a table of them at the end, which `zstd -d` passes over."""
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHDX = "vhdx"
    VDI = "vdi"
    RESCUE = "rescue"
    """The image itself, with all of its disks, as a single file: see imaging.packformat."""


LEAST_PIECE = 1 << 20
"""Bytes that a piece of an image has at least."""


class ExportPlan(msgspec.Struct, frozen=True, kw_only=True, tag="export", tag_field="kind"):
    """Write one disk of an image (the only one, for no name) as the file `target`, which must not be there.

    As a single file the whole image is written, in pieces of `piece_size` bytes at most where that is not 0, or where
    the file system holds no larger files: `target`.001, and so on.
    """

    library: str
    image: str
    target: str
    format: ExportFormat
    disk: str = ""
    label: str = ""
    piece_size: int = 0
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Export {self.label or self.image} as {self.target}"


class CopyImagesPlan(msgspec.Struct, frozen=True, kw_only=True, tag="copy-images", tag_field="kind"):
    """Copy images, all of them where none is named, from a library to the one at `target`, which is made if need be."""

    library: str
    target: str
    images: tuple[str, ...] = ()
    unseal: bool = False
    """Whether what is encrypted in the one may lie open in the other."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        what = f"Unseal {self.library} as {self.target}"
        return what if self.unseal else f"Copy images from {self.library} to {self.target}"


class FilesPlan(msgspec.Struct, frozen=True, kw_only=True, tag="files", tag_field="kind"):
    """Copy files and folders of one volume of an image into the folder `target`; nothing that is there is overwritten.

    `paths` begin at the volume's root; an empty one, or "/", stands for all that is in it. `raw_paths` are those that
    are not UTF-8. With `create` the target is made where it is not there, in a folder that is. `unlock` are the
    encrypted volumes that are opened first, in that order: their keys are handed over to whoever carries it out.
    """

    library: str
    image: str
    volume: str
    paths: tuple[str, ...]
    target: str
    raw_paths: tuple[bytes, ...] = ()
    unlock: tuple[str, ...] = ()
    create: bool = False
    label: str = ""
    version: int = VERSION

    @property
    def all_paths(self) -> tuple[str, ...]:
        """All of them, bytes that are not UTF-8 kept as os.fsdecode does."""
        return (*self.paths, *(path.decode(errors="surrogateescape") for path in self.raw_paths))

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Copy files of {self.label or self.image} to {self.target}"


class MediaSystem(msgspec.Struct, frozen=True, kw_only=True):
    """The live system that a recovery medium gets, and where it is read from: a device, or an image file.

    `size` is the bytes of its system region, from the medium's first byte to the end of its EFI partition. `build` is
    the id of its build, `built` an RFC 3339 date in UTC.
    """

    path: str
    build: str
    version: str
    built: str
    size: Size
    flavour: str = ""
    booted: bool = False
    """Whether it is the medium that this very system was started from."""


class MediaImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image that is copied to a recovery medium. `size` is the bytes of its files, those that others share, too."""

    library: str
    image: str
    created: str
    manifest: str = ""
    """The digest of its manifest's bytes, in hexadecimal; empty where that is not known."""
    label: str = ""
    size: Size = 0


class MediaPlan(msgspec.Struct, frozen=True, kw_only=True, tag="media", tag_field="kind"):
    """Make `target` a recovery medium, or with `update` replace the system of one and keep its images.

    All of the target is erased; with `update` nothing of its images partition is, but images that are given are added
    to it. `images_start` and `images_size` are that partition's place, in bytes; both are 0 where the medium gets none.
    `needed` is the least bytes that the target must have.
    """

    target: Disk
    system: MediaSystem
    images: tuple[MediaImage, ...] = ()
    factory: str = ""
    """The id of the one of the images that is marked as the factory image; empty for none."""
    update: bool = False
    filesystem: str = "ext4"
    """That of the images partition: "ext4" or "exfat"."""
    images_start: Size = 0
    images_size: Size = 0
    needed: Size = 0
    trusted: tuple[PublicKey, ...] = ()
    """The keys that it trusts once it is made."""
    doubt: str = ""
    """Why images are not to be used, a line each, unless a person accepts that; empty where all may be."""
    accept_unsigned: bool = False
    """Whether a person has accepted that."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        name = self.target.name
        return f"Update the recovery medium {name}" if self.update else f"Create the recovery medium {name}"

    @property
    def keeps_images(self) -> bool:
        """Whether the target's images partition is there already, and stays."""
        return self.update and any(part.start == self.images_start for part in self.target.table.partitions)


class MediaGrowPlan(msgspec.Struct, frozen=True, kw_only=True, tag="media-grow", tag_field="kind"):
    """Let the images partition of a recovery medium take the rest of it; makes one where there is none (`old_size` 0).

    The one plan whose target may be the medium that this system was started from: nothing outside of the partition
    table and the images partition is written. Sizes and offsets are bytes.
    """

    target: Disk
    start: Size
    old_size: Size
    size: Size
    filesystem: str = "ext4"
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        name = self.target.name
        return f"Enlarge the images partition of {name}" if self.old_size else f"Add an images partition to {name}"


class MediaIsoPlan(msgspec.Struct, frozen=True, kw_only=True, tag="media-iso", tag_field="kind"):
    """Write a disc's image to the file `output`, which does not exist yet: the system, and images in it."""

    output: str
    system: MediaSystem
    images: tuple[MediaImage, ...] = ()
    factory: str = ""
    trusted: tuple[PublicKey, ...] = ()
    """The keys that it trusts once it is made."""
    doubt: str = ""
    """Why images are not to be used, a line each, unless a person accepts that; empty where all may be."""
    accept_unsigned: bool = False
    """Whether a person has accepted that."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Write the recovery disc {self.output.rsplit('/', 1)[-1]}"


class BootMenu(msgspec.Struct, frozen=True, kw_only=True):
    """A GRUB menu on a disk: the number of the partition, and the folder on it that holds grub.cfg."""

    partition: Size
    folder: str


class InstallPlan(msgspec.Struct, frozen=True, kw_only=True, tag="install-partition", tag_field="kind"):
    """Put the recovery system on a partition of its own of `target`, the computer's own disk, and make it start.

    `start` and `size` are the partition's, in bytes, and `uuid` that of its file system. With `present` it is in the
    table already: one that was begun is completed, and of one that is whole the system alone is replaced.
    """

    target: Disk
    system: MediaSystem
    content: Size
    """Bytes of the system's files."""
    number: Size
    start: Size
    size: Size
    uuid: str
    present: bool = False
    entries: bool = False
    """Whether only what starts it is written anew, from the files of the partition itself."""
    library: bool = False
    """Whether it gets an image library."""
    images: tuple[MediaImage, ...] = ()
    """Those that are copied to it."""
    factory: str = ""
    """The id of the one of the images that is marked as the factory image; empty for none."""
    efi: Size = 0
    """The number of the EFI system partition that gets the boot loader; 0 for none."""
    efi_uuid: str = ""
    """That of its file system."""
    menus: tuple[BootMenu, ...] = ()
    firmware: bool = False
    """Whether this computer's firmware gets a boot entry, behind all others."""
    doubt: str = ""
    """Why images are not to be used, a line each, unless a person accepts that; empty where all may be."""
    accept_unsigned: bool = False
    """Whether a person has accepted that."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        what = "Add the boot entries of the recovery system of" if self.entries else "Install the recovery system on"
        return f"{what} {self.target.name}"


class RemovePlan(msgspec.Struct, frozen=True, kw_only=True, tag="remove-partition", tag_field="kind"):
    """Take the recovery partition away again, with its boot entries and files, and nothing else."""

    target: Disk
    number: Size
    start: Size
    size: Size
    uuid: str
    efi: Size = 0
    menus: tuple[BootMenu, ...] = ()
    firmware: bool = False
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Remove the recovery partition of {self.target.name}"


class RepairWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair may do: each of it can be left out, and file systems are checked where that is asked for alone."""

    table: bool = True
    loader: bool = True
    boot_entry: bool = True
    check: tuple[Size, ...] = ()
    """The partitions whose file systems are checked by their own tools, which mend what they can without a question."""
    check_all: bool = False
    """Whether that is all of them."""
    mend: bool = False
    """Whether these may also decide for themselves what to throw away (e2fsck -y, xfs_repair)."""
    system: Size = 0
    """The partition of the system whose boot loader is put back; 0 for the only one."""


class TableRepair(msgspec.Struct, frozen=True, kw_only=True):
    """What of a GPT is written anew from its copy at the disk's `kept` ("start", "end", or "both"), in this order."""

    kept: str
    writes: tuple[tuple[Size, bytes], ...]
    """Offsets in bytes, and what goes there."""


class FileSystemCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A file system that is checked; `only_looks` where its tool is not let write."""

    number: Size
    start: Size
    size: Size
    kind: str
    only_looks: bool


class RepairedSystem(msgspec.Struct, frozen=True, kw_only=True):
    """The system whose own programs put its boot loader back; `number` is the partition of its root."""

    number: Size
    name: str
    program: str
    """The path of grub-install in it."""
    subvolume: str = ""
    mounts: tuple[tuple[Size, str], ...] = ()
    """Other partitions of the disk, and where the system has them: /boot, /boot/efi."""
    efi: str = ""
    """Where its EFI system partition is mounted; empty where it has none."""


class RepairPlan(msgspec.Struct, frozen=True, kw_only=True, tag="repair", tag_field="kind"):
    """Repair what keeps a computer from starting from a disk, from what is on that disk alone."""

    target: Disk
    wishes: RepairWishes
    layout: PartitionTable
    """The partitions, as they are once the table is repaired."""
    before: Starts
    table: TableRepair | None = None
    checks: tuple[FileSystemCheck, ...] = ()
    system: RepairedSystem | None = None
    loaders: tuple[Firmware, ...] = ()
    removable: bool = False
    """Whether the loader also goes to the one path that all firmware knows, where nothing is."""
    menu: bool = False
    """Whether the system's boot menu is made anew."""
    boot_entry: bool = False
    """Whether this computer's firmware gets an entry, should that be all that is missing."""
    notes: tuple[str, ...] = ()
    """What cannot be repaired, and why, in words: with any of them the repair is at most a part of one."""
    left: tuple[str, ...] = ()
    """What is left as it is because that was asked for, or is in order, in words."""
    keep: str = ""
    """The folder in which what is written over is kept; empty for the job's own."""
    version: int = VERSION

    @property
    def title(self) -> str:
        """One line for lists of jobs."""
        return f"Repair {self.target.name}"

    @property
    def writes(self) -> bool:
        """Whether there is anything to be done."""
        return bool(self.table or self.checks or self.loaders or self.menu or self.boot_entry)


Plan = (
    CapturePlan
    | ImportPlan
    | RestorePlan
    | VerifyPlan
    | VerifySetPlan
    | DeletePlan
    | PrunePlan
    | FilesPlan
    | ExportPlan
    | CopyImagesPlan
    | MediaPlan
    | MediaGrowPlan
    | MediaIsoPlan
    | InstallPlan
    | RemovePlan
    | RepairPlan
)

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


def kind(plan: Plan) -> str:
    """The plan's kind, as events and the plan's own JSON name it."""
    return str(plan.__struct_config__.tag)


def disks_used(plan: Plan) -> tuple[tuple[DiskId, str, bool], ...]:
    """The disks that the plan touches: identity, path, and whether it writes to them."""
    match plan:
        case CapturePlan():
            return tuple((disk.id, disk.path, False) for disk in plan.disks)
        case RestorePlan():
            return tuple((t.target.id, t.target.path, True) for t in plan.targets)
        case VerifyPlan():
            return ((plan.against.id, plan.against.path, False),) if plan.against else ()
        case VerifySetPlan() | DeletePlan() | PrunePlan():
            return ()
        case FilesPlan() | ExportPlan() | ImportPlan() | CopyImagesPlan():
            return ()
        case MediaPlan():
            return ((plan.target.id, plan.target.path, True), *_read(plan.system))
        case InstallPlan():
            return ((plan.target.id, plan.target.path, True), *_read(plan.system))
        case MediaGrowPlan() | RemovePlan() | RepairPlan():
            return ((plan.target.id, plan.target.path, True),)
        case MediaIsoPlan():
            return tuple(_read(plan.system))


def _read(system: MediaSystem) -> Iterator[tuple[DiskId, str, bool]]:
    """The disk that a system is read from, where it is one; what is known of it here is its path."""
    if system.path.startswith("/dev/"):
        yield DiskId(size=0), system.path, False


class LibraryUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does with a library: `image` names the one that it reads, empty where it reads none, or all."""

    library: str
    image: str = ""
    writes: bool = False
    deletes: bool = False


def files_written(plan: Plan) -> tuple[str, ...]:
    """The files and folders that the plan writes, beside those of libraries."""
    match plan:
        case FilesPlan() | ExportPlan():
            return (plan.target,)
        case MediaIsoPlan():
            return (plan.output,)
        case RepairPlan(keep=folder) if folder:
            return (folder,)
        case _:
            return ()


def files_read(plan: Plan) -> tuple[str, ...]:
    """The files and folders that the plan reads, beside libraries and systems."""
    match plan:
        case ImportPlan():
            return (plan.source,)
        case RestorePlan(foreign=ForeignSource(path=path)):
            return (path,)
        case _:
            return ()


def disks_erased(plan: Plan) -> tuple[str, ...]:
    """The paths of the devices of which nothing stays, whatever was on them."""
    match plan:
        case MediaPlan():
            targets = [plan.target]
        case RestorePlan():
            targets = [pair.target for pair in plan.targets if not pair.partitions]
        case _:
            targets = []
    return tuple(target.path for target in targets if not target.regular_file)


def libraries_used(plan: Plan) -> tuple[LibraryUse, ...]:
    """The libraries that the plan reads from or writes to, once for each image."""
    match plan:
        case CapturePlan() | ImportPlan():
            return (LibraryUse(library=plan.library, writes=True),)
        case CopyImagesPlan():
            read = tuple(LibraryUse(library=plan.library, image=image) for image in plan.images or ("",))
            return (*read, LibraryUse(library=plan.target, writes=True))
        case VerifyPlan(repair_from=other) if other:
            return (LibraryUse(library=plan.library, image=plan.image), LibraryUse(library=other))
        case VerifySetPlan():
            read = tuple(LibraryUse(library=plan.library, image=image) for image in plan.images)
            return (*read, LibraryUse(library=plan.repair_from)) if plan.repair_from else read
        case RestorePlan():
            read = () if plan.foreign is not None else (LibraryUse(library=plan.library, image=plan.image),)
            saved = (LibraryUse(library=plan.safety, writes=True),) if plan.safety else ()
            waits = (plan.keep,) if plan.keep is not None and plan.keep.image else ()
            return (*read, *saved, *(LibraryUse(library=kept.library, image=kept.image) for kept in waits))
        case VerifyPlan() | FilesPlan() | ExportPlan():
            return (LibraryUse(library=plan.library, image=plan.image),)
        case DeletePlan():
            return (LibraryUse(library=plan.library, image=plan.image, deletes=True),)
        case PrunePlan():
            gone = [image.id for image in plan.images] or [""]
            return tuple(LibraryUse(library=plan.library, image=image, deletes=True) for image in gone)
        case MediaPlan() | MediaIsoPlan() | InstallPlan():
            return tuple(LibraryUse(library=one.library, image=one.image) for one in plan.images)
        case MediaGrowPlan() | RemovePlan() | RepairPlan():
            return ()
