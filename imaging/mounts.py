"""What the running system uses: mounts, swap, and which disks lie beneath a device or a path.

Sources: proc(5) for mountinfo and swaps, Linux Documentation/ABI for /sys/dev/block.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from imaging.disk import Mount

_SYS = Path("/sys/dev/block")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1], 8)), field)


def read_mounts() -> list[tuple[str, Mount]]:
    """Every mount and swap area, each with the `major:minor` of the device it stands on (0:N where on none)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        source = _unescape(tail[1]) if len(tail) > 1 else ""
        device = fields[2]
        if device.startswith("0:"):  # btrfs and overlay show a number of their own
            device = device_number(source) or device
        # A read-only bind of what is writable elsewhere changes all the same.
        read_only = "ro" in fields[5].split(",") and "ro" in tail[-1].split(",")
        where = Mount(source=source, where=_unescape(fields[4]), read_only=read_only)
        found.append((device, where))
    return [*found, *_read_swaps()]


def _read_swaps() -> Iterator[tuple[str, Mount]]:
    try:
        lines = Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        source = _unescape(line.split()[0])
        device = device_number(source)
        if device:
            yield device, Mount(source=source, where="[swap]")


def device_number(path: str) -> str:
    """`major:minor` of a device node; empty for anything else."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return ""
    if not status.st_rdev or not Path(path).is_block_device():
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


def disks_beneath(device: str) -> set[str]:
    """The kernel's names (`sda`) of the whole disks that a `major:minor` stands on, through dm, md, loop devices."""
    node = (_SYS / device).resolve()
    if not node.exists():
        return set()
    if (node / "partition").exists():
        return disks_beneath_node(node.parent)
    return disks_beneath_node(node)


def disks_beneath_node(node: Path) -> set[str]:
    """The same for a folder in sysfs; the device itself counts as one where nothing is beneath it."""
    slaves = list((node / "slaves").glob("*")) if (node / "slaves").is_dir() else []
    found = {node.name}
    for slave in slaves:
        found |= disks_beneath((slave / "dev").read_text().strip())
    backing = node / "loop" / "backing_file"
    if backing.exists():
        found |= disks_beneath_path(Path(backing.read_text().strip()))
    return found


def disks_beneath_path(path: Path) -> set[str]:
    """The disks that hold a file or folder; of a path that does not exist yet, those of its nearest parent."""
    number = device_number(str(path))
    if number:
        return disks_beneath(number)
    while not path.exists() and path != path.parent:
        path = path.parent
    status = path.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    if not device.startswith("0:"):
        return disks_beneath(device)
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2] == device:
            number = device_number(_unescape(after.split()[1]))
            return disks_beneath(number) if number else set()
    return set()
