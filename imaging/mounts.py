"""What the running system uses: mounts, swap, and which disks lie beneath a device or a path.

Sources: proc(5) for mountinfo and swaps, Linux Documentation/ABI for /sys/dev/block.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imaging.disk import Mount

_SYS = Path("/sys/dev/block")
_BTRFS = Path("/sys/fs/btrfs")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda m: chr(int(m[1], 8)), field)


def _lines() -> Iterator[tuple[list[str], list[str]]]:
    """The fields of each line of mountinfo: those before its optional ones end, and kind, source and options."""
    for line in _kernel_lines(Path("/proc/self/mountinfo")):
        before, _, after = line.partition(" - ")
        yield before.split(" "), after.split(" ", 2)


def _kernel_lines(path: Path) -> list[str]:
    """The lines of a file in /proc: names in them are any bytes, of which the kernel escapes ASCII's blanks alone.

    A folder that is called by a disk's label can have a no-break space, or what Unicode takes for the end of a line.
    """
    return [line for line in os.fsdecode(path.read_bytes()).split("\n") if line]


def _stands_on(fields: list[str], source: str) -> str:
    """The `major:minor` of the device; btrfs and overlay show a number of their own."""
    return (device_number(source) or fields[2]) if fields[2].startswith("0:") else fields[2]


def _together(device: str, kind: str) -> list[str]:
    """The `major:minor` of all devices of a file system that is mounted: of a btrfs, mountinfo shows one alone."""
    found = [device]
    if kind != "btrfs":
        return found
    for member in _BTRFS.glob(f"*/devices/{(_SYS / device).resolve().name}"):
        with suppress(OSError):  # one that is missing has no number
            found += [
                (other / "dev").read_text().strip() for other in sorted(member.parent.iterdir()) if other.exists()
            ]
    return list(dict.fromkeys(found))


def read_mounts() -> list[tuple[str, Mount]]:
    """Every mount and swap area, each with the `major:minor` of the device it stands on (0:N where on none).

    A btrfs on several devices is there once for each of them.
    """
    found: list[tuple[str, Mount]] = []
    for fields, tail in _lines():
        source = _unescape(tail[1])
        # A read-only bind of what is writable elsewhere changes all the same.
        read_only = "ro" in fields[5].split(",") and "ro" in tail[-1].split(",")
        where = Mount(source=source, where=_unescape(fields[4]), read_only=read_only)
        found.extend((device, where) for device in _together(_stands_on(fields, source), tail[0]))
    return [*found, *_read_swaps()]


def kind_at(where: str) -> str:
    """The kernel's name of the file system that is mounted in a folder; empty where none is."""
    kind = ""
    for fields, tail in _lines():
        if _unescape(fields[4]) == where:
            kind = tail[0]
    return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Beneath:
    """The mount that a path lies on: `device` is its `major:minor`, `root` the folder of it that stands at `where`."""

    device: str
    root: str
    where: str
    source: str
    kind: str


def beneath(path: Path) -> Beneath | None:
    """The mount that a path, there or not yet, lies on; None where it is mounted nowhere. Raises OSError.

    A path through a descriptor may lead to what no folder shows: another mount of the same device tells of it then.
    """
    there = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), Path("/"))
    number, device = _mount_id(there), there.stat().st_dev
    found = None
    for fields, tail in _lines():
        if fields[0] == number or (found is None and fields[2] == f"{os.major(device)}:{os.minor(device)}"):
            source = _unescape(tail[1])
            root, where = _unescape(fields[3]), _unescape(fields[4])
            found = Beneath(device=_stands_on(fields, source), root=root, where=where, source=source, kind=tail[0])
        if fields[0] == number:
            break
    return found


def kind_beneath(path: Path) -> str:
    """The kernel's name of the file system that a path, there or not yet, lies on; empty where it lies on none."""
    found = beneath(path)
    return found.kind if found else ""


def _mount_id(path: Path) -> str:
    """The number of the mount that a path lies on: proc_pid_fdinfo(5), mnt_id."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
    finally:
        os.close(fd)
    return next((line.split()[1] for line in facts.splitlines() if line.startswith("mnt_id:")), "")


def options_at(where: str) -> dict[str, str]:
    """What the file system that is mounted in a folder was given, as the kernel tells it; empty where none is."""
    found: dict[str, str] = {}
    for fields, tail in _lines():
        if _unescape(fields[4]) == where:
            found = parse_options(tail[-1])
    return found


def parse_options(words: str) -> dict[str, str]:
    """The options of one line of mountinfo by their names, with an empty value where one has none."""
    pairs = (word.partition("=") for word in words.split(","))
    return {name: _unescape(value) for name, _, value in pairs if name}


def _read_swaps() -> Iterator[tuple[str, Mount]]:
    try:
        lines = _kernel_lines(Path("/proc/swaps"))[1:]
    except OSError:
        return
    for line in lines:
        source = _unescape(line.partition(" ")[0].partition("\t")[0])
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
    return _beneath(device, whole=True)


def files_beneath(device: str) -> tuple[Path, ...]:
    """The files of the loop devices that the device at a path is or stands on."""
    nodes = [_SYS.parents[1] / "block" / name for name in sorted(disks_beneath(device_number(device)))]
    return tuple(file for node in nodes if (file := backing_file(node)) is not None)


def backing_file(node: Path) -> Path | None:
    """The file of a loop device, by its folder in sysfs; None where it has none, or has just lost it."""
    try:
        return Path(os.fsdecode((node / "loop/backing_file").read_bytes().removesuffix(b"\n")))
    except OSError:
        return None


def partitions_beneath(device: str) -> set[str]:
    """What it stands on in the end: names of partitions (`sda2`), or of disks where it is in no partition."""
    return _beneath(device, whole=False)


def _beneath(device: str, *, whole: bool) -> set[str]:
    node = (_SYS / device).resolve()
    if not node.exists():
        return set()
    if (node / "partition").exists():
        return _beneath_node(node.parent, whole=True) if whole else {node.name}
    return _beneath_node(node, whole=whole)


def disks_beneath_node(node: Path) -> set[str]:
    """The same for a folder in sysfs; the device itself counts as one where nothing is beneath it."""
    return _beneath_node(node, whole=True)


def _beneath_node(node: Path, *, whole: bool) -> set[str]:
    slaves = list((node / "slaves").glob("*")) if (node / "slaves").is_dir() else []
    backing = backing_file(node)
    found = {node.name} if whole or not (slaves or backing) else set()
    for slave in slaves:
        found |= _beneath((slave / "dev").read_text().strip(), whole=whole)
    if backing:
        found |= _beneath_path(backing, whole=whole)
    return found


def disks_beneath_path(path: Path) -> set[str]:
    """The disks that hold a file or folder; of a path that does not exist yet, those of its nearest parent."""
    return _beneath_path(path, whole=True)


def partitions_beneath_path(path: Path) -> set[str]:
    """The same, by partitions where they are known."""
    return _beneath_path(path, whole=False)


def _beneath_path(path: Path, *, whole: bool) -> set[str]:
    number = device_number(str(path))
    if number:
        return _beneath(number, whole=whole)
    while not path.exists() and path != path.parent:
        path = path.parent
    status = path.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    # btrfs gives its files a number of their own, and not that which the mount shows.
    found = beneath(path) if device.startswith("0:") else None
    devices = _together(found.device, found.kind) if found else [device]
    return set().union(*(_beneath(each, whole=whole) for each in devices))
