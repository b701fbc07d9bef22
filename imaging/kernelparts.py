"""What the kernel is told of one partition, while others of the same disk may be in use.

Source: partx(8); BLKPG of linux/blkpg.h.
"""

from pathlib import Path

from imaging.disk import Disk
from imaging.errors import IoError, RefusedError
from imaging.run import find_tool, run

_TIMEOUT = 60.0


def known(disk: Disk, number: int) -> bool:
    """Whether the kernel has a device for a partition."""
    return not disk.regular_file and Path(f"/sys/class/block/{disk.partition_name(number)}/partition").exists()


def add(disk: Disk, number: int) -> None:
    """Have it read one more partition from the table; raises IoError."""
    if disk.regular_file or known(disk, number):
        return
    try:
        run(["partx", "--add", "--nr", str(number), disk.path], timeout=_TIMEOUT)
    except IoError:
        # udev reads the table of a disk that was written to and is not in use, and may have come first.
        if not known(disk, number):
            raise


def forget(disk: Disk, number: int) -> None:
    """Have it forget a partition, before the table does; raises RefusedError where that is in use."""
    if not known(disk, number):
        return
    try:
        run(["partx", "--delete", "--nr", str(number), disk.path], timeout=_TIMEOUT)
    except IoError as error:
        raise RefusedError(
            f"{disk.partition_name(number)} is in use", code="in-use", hint="unmount it, and try again"
        ) from error


def settle(disk: Disk) -> None:
    """Wait until udev knows what the kernel knows."""
    if not disk.regular_file and find_tool("udevadm") and Path("/run/udev/control").exists():
        run(["udevadm", "settle", "--timeout=30"], accept=(0, 1), timeout=_TIMEOUT)


def held_as_a_whole(disk: Disk) -> list[str]:
    """What stands on the disk itself, not on its partitions: RAID of a firmware, multipath."""
    folder = Path(f"/sys/class/block/{disk.name}/holders")
    return [] if disk.regular_file or not folder.is_dir() else sorted(holder.name for holder in folder.iterdir())
