"""The targets that are named on the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging import inventory
from imaging.blockdev import real_path
from imaging.disk import DISK_FILE, Disk, DiskId, PartitionTable, TableKind
from imaging.errors import UsageError
from imaging.manifest import ImagedDisk


def device_of(name: str) -> str:
    """A path; the kernel's bare name of a disk (`sda`) is one, too, where there is no file of that name."""
    real_path(name)
    if "/" not in name and not Path(name).exists() and Path("/dev", name).exists():
        return f"/dev/{name}"
    return name


def targets(
    words: Sequence[str], disks: Sequence[ImagedDisk], libraries: Sequence[Path]
) -> Mapping[str, tuple[Disk, bool]]:
    """For each disk of an image that is restored: the target, and whether it is a new file; `words` are TARGET...

    A disk that holds one of `libraries` is marked so. Raises UsageError.
    """
    sizes = {disk.name: disk.size for disk in disks}
    return {name: _look_at_target(path, sizes[name], libraries) for name, path in named(words, disks).items()}


def named(words: Sequence[str], disks: Sequence[ImagedDisk]) -> Mapping[str, str]:
    """The path of the target for each disk of an image that is restored, by its name there; raises UsageError."""
    names = [disk.name for disk in disks]
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (equals and name in names):
            if len(names) != 1 or len(words) != 1:
                raise UsageError(
                    f"this image has {len(names)} disks ({', '.join(names)}): say which goes where, as NAME=TARGET",
                    code="usage",
                )
            name, path = names[0], word
        if name in pairs:
            raise UsageError(f"disk {name} was given two targets", code="usage")
        pairs[name] = path
    return pairs


def _among_devices(folder: Path) -> bool:
    """Whether a folder is where device nodes live: what is not there is a disk that is missing, not a new file."""
    return folder.stat().st_dev == Path("/dev").stat().st_dev


def _look_at_target(path: str, size: int, libraries: Sequence[Path]) -> tuple[Disk, bool]:
    real = real_path(device_of(path))
    if not real.exists() and real.parent.is_dir() and not _among_devices(real.parent):
        new = Disk(
            path=str(real),
            id=DiskId(size=size, model=DISK_FILE),
            table=PartitionTable(kind=TableKind.NONE),
            transport="file",
            regular_file=True,
        )
        return new, True
    return inventory.look(str(real), libraries), False
