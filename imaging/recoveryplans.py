"""Plans for the recovery system: on a stick, a disc, and a partition of the computer's own disk."""

import msgspec

from imaging.disk import Disk, Size
from imaging.planversion import VERSION
from imaging.signingkeys import PublicKey


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
