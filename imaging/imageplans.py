"""Plans for the images of a library, but for restoring them: made, verified, given out, and deleted."""

from enum import StrEnum

import msgspec

from imaging import levels
from imaging.chunk import DEFAULT_LEVEL
from imaging.disk import Disk, Size
from imaging.planversion import VERSION
from imaging.restoreplans import PartitionTarget

DAY = 24 * 3600


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
