"""What the running system does with each partition of a disk, and with a device: mounts, swap, what stands on it.

Source: Linux Documentation/ABI for /sys/dev/block; mounts as imaging.mounts reads them.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging.disk import Disk, PartitionRole
from imaging.errors import IoError
from imaging.mounts import device_number, read_mounts
from imaging.stillness import WHOLE, Use, refused

_SYS = Path("/sys/dev/block")
_SYS_SECTOR = 512
_SECTORS_WRITTEN, _SECTORS_DISCARDED = 6, 13


def node_of(disk: Disk, number: int) -> str:
    """The kernel's device of a partition."""
    return f"{disk.path.rpartition('/')[0]}/{disk.partition_name(number)}"


def of_disk(disk: Disk) -> dict[int, Use]:
    """What is done with each partition, by its number, and with all of the disk.

    Raises RefusedError (code "not-still") where the kernel knows other partitions than the table: of one that it does
    not know, no use can be told.
    """
    found = {WHOLE: of_device(disk.path)}
    for part in disk.table.partitions:
        node = node_of(disk, part.number)
        if part.role is not PartitionRole.EXTENDED and place_of(node) != (part.start, part.size):
            raise refused(
                disk.partition_name(part.number),
                "the kernel does not know it as it is in the partition table: start the computer anew",
            )
        found[part.number] = of_device(node)
    return found


def place_of(path: str) -> tuple[int, int] | None:
    """Where the kernel has a partition on its disk, and its size, both in bytes; None where it knows none."""
    folder = _SYS / device_number(path)
    try:
        start, size = (int((folder / name).read_text()) * _SYS_SECTOR for name in ("start", "size"))
    except (OSError, ValueError):
        return None
    return start, size


def counted(disk: Disk, number: int) -> bool:
    """Whether the kernel counts what is written to a partition: not where that was turned off, or never done.

    Source: Linux Documentation/ABI, queue/iostats; before Linux 6.2 NVMe with several paths has none.
    """
    folder = (_SYS / device_number(node_of(disk, number))).resolve()
    queue = (folder.parent if (folder / "partition").exists() else folder) / "queue/iostats"
    try:
        return queue.read_text().strip() != "0" and (folder / "stat").exists()
    except OSError:
        return False


def of_device(path: str) -> Use:
    """What is done with a device."""
    number = device_number(path)
    if not number:
        return Use()
    mounts = tuple(mount for device, mount in read_mounts() if device == number)
    folder = _SYS / number / "holders"
    holders = tuple(sorted(_called(node) for node in folder.iterdir())) if folder.is_dir() else ()
    return Use(mounts=mounts, holders=holders, held=_is_held(path))


def _called(node: Path) -> str:
    """What device-mapper calls a device, else the kernel."""
    try:
        return (node / "dm/name").read_text().strip()
    except OSError:
        return node.name


def _is_held(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def marks(disk: Disk, numbers: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
    """What differs once anything was written to a partition: its counters. None of one without a device of its own.

    Only to be compared with those of the same start of the computer. Raises IoError. Source: block/stat.rst.
    """
    found = {}
    for number in numbers:
        device = device_number(node_of(disk, number))
        if not device:
            continue
        try:
            words = (_SYS / device / "stat").read_text(encoding="ascii").split()
            found[number] = tuple(int(words[i]) for i in (_SECTORS_WRITTEN, _SECTORS_DISCARDED) if i < len(words))
        except (OSError, ValueError) as error:
            raise IoError(f"{node_of(disk, number)} cannot be looked at: {error}", code="read-failed") from error
    return found
