"""The file systems of the matrix: how each is made, filled, read and checked, by its own tools."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.disks import MIB, run
from tests.matrix.sample import fingerprint
from tests.matrix.tools import OURS, Place, attached, mounted, said

LABEL = "MATRIX"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """One kind of file system; `make` renders the command that makes one on a device of so many bytes a sector."""

    name: str
    size: int
    make: Callable[[str, int], list[str]]
    mount: tuple[str, ...]
    mount_read_only: tuple[str, ...]
    check: tuple[str, ...]
    links: bool = True
    size_of_4k: int = 0
    """What its tools need at least with sectors of 4096 bytes, where that is more."""
    gpt_type: str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
    mbr_type: str = "83"
    map_origin: str = "rescue"
    """Who says what is used of it."""

    def size_at(self, sector: int) -> int:
        """Bytes of a volume on a disk of such sectors."""
        return self.size_of_4k if sector == 4096 and self.size_of_4k else self.size


_MICROSOFT = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
EXT4 = FileSystem(
    name="ext4",
    size=48 * MIB,
    make=lambda loop, _: ["mkfs.ext4", "-q", "-F", "-L", LABEL, loop],
    mount=("mount", "-t", "ext4"),
    mount_read_only=("mount", "-t", "ext4", "-o", "ro"),
    check=("e2fsck", "-f", "-n"),
)
XFS = FileSystem(
    name="xfs",
    size=300 * MIB,
    make=lambda loop, sector: ["mkfs.xfs", "-q", "-f", "-L", LABEL, "-s", f"size={sector}", loop],
    mount=("mount", "-t", "xfs"),
    mount_read_only=("mount", "-t", "xfs", "-o", "ro,nouuid"),
    check=("xfs_repair", "-n"),
    map_origin="partclone",
)
BTRFS = FileSystem(
    name="btrfs",
    size=128 * MIB,
    make=lambda loop, _: ["mkfs.btrfs", "-q", "-f", "-L", LABEL, loop],
    mount=("mount", "-t", "btrfs"),
    mount_read_only=("mount", "-t", "btrfs", "-o", "ro"),
    check=("btrfs", "check", "--readonly"),
)
NTFS = FileSystem(
    name="ntfs",
    size=48 * MIB,
    make=lambda loop, sector: ["mkntfs", "-Q", "-F", "-q", "-L", LABEL, "-s", str(sector), loop],
    mount=("ntfs-3g",),
    mount_read_only=("ntfs-3g", "-o", "ro"),
    check=("ntfsfix", "-n"),
    gpt_type=_MICROSOFT,
    mbr_type="7",
)
FAT32 = FileSystem(
    name="vfat",
    size=48 * MIB,
    # FAT32 has at least 65525 clusters, and none is smaller than a sector.
    size_of_4k=272 * MIB,
    # -I: a loop device can have partitions of a disk that it was before.
    make=lambda loop, sector: ["mkfs.vfat", "-I", "-F", "32", "-s", "1", "-S", str(sector), "-n", LABEL, loop],
    mount=(),
    mount_read_only=(),
    check=("fsck.vfat", "-n"),
    links=False,
    gpt_type=_MICROSOFT,
    mbr_type="c",
)
EXFAT = FileSystem(
    name="exfat",
    size=48 * MIB,
    make=lambda loop, _: ["mkfs.exfat", "-L", LABEL, loop],
    mount=("mount.exfat-fuse",),
    mount_read_only=("mount.exfat-fuse", "-o", "ro"),
    check=("fsck.exfat", "-n"),
    links=False,
    gpt_type=_MICROSOFT,
    mbr_type="7",
)
FILE_SYSTEMS = (EXT4, XFS, BTRFS, NTFS, FAT32, EXFAT)
SWAP_SIZE = 16 * MIB


def make(kind: FileSystem, place: Place) -> None:
    """Make an empty file system."""
    with attached(place) as loop:
        said(*kind.make(loop, place.sector))


def fill(kind: FileSystem, place: Place, files: Path) -> None:
    """Copy the sample's files in and delete those that are meant to leave their data in free space."""
    if kind.name == FAT32.name:
        return _fill_with_mtools(place, files)
    with attached(place) as loop, mounted(kind.mount, loop) as folder:
        run("cp", "-r", files / "stale", folder)
        run("cp", "-r", files / "keep", folder)
        run("sync", "-f", folder)
        run("rm", "-r", folder / "stale")
        if kind.links:
            run("cp", "-r", files / "links", folder)
    return None


def _fill_with_mtools(place: Place, files: Path) -> None:
    image = f"{place.path}@@{place.start}"
    said("mcopy", "-s", "-i", image, files / "stale", "::/")
    said("mcopy", "-s", "-i", image, files / "keep", "::/")
    said("mdeltree", "-i", image, "::/stale")


def entries(kind: FileSystem, place: Place) -> dict[str, str]:
    """What is in the file system, through a device or tool that cannot write."""
    with opened(kind, place) as folder:
        return fingerprint(folder)


@contextmanager
def opened(kind: FileSystem, place: Place) -> Iterator[Path]:
    """The file system's files in a folder, read-only."""
    if kind.name == FAT32.name:
        with TemporaryDirectory(prefix=OURS) as name:
            said("mcopy", "-s", "-n", "-i", f"{place.path}@@{place.start}", "::/keep", name)
            yield Path(name)
        return
    with attached(place, read_only=True) as loop:
        with mounted(kind.mount_read_only, loop) as folder:
            yield folder
        if kind is BTRFS:
            # The kernel remembers the device of each file system, and the next copy bears the same identity.
            run("btrfs", "device", "scan", "--forget", loop)


def check(kind: FileSystem, place: Place) -> str:
    """Run the file system's own check, read-only; what it said, or an AssertionError where it found anything."""
    with attached(place, read_only=True) as loop:
        return said(*kind.check, loop)


def swap_identity(place: Place) -> str:
    """What blkid sees of a swap area."""
    argv = ["blkid", "--probe", "--output", "export", f"--offset={place.start}", f"--size={place.size}"]
    found = said(*argv, place.path)
    return "\n".join(line for line in found.splitlines() if not line.startswith("DEVNAME"))


def listed(place: Place) -> str:
    """Names, short ones too, times and attributes of all files of a FAT volume."""
    image = f"{place.path}@@{place.start}"
    found = said("mdir", "-/", "-a", "-i", image, "::/")
    lines = [line for line in found.splitlines() if "bytes free" not in line]
    return "\n".join([*lines, said("mattrib", "-/", "-i", image, "::/")])
