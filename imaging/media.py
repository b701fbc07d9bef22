"""Media on which images may lie: those that are mounted, and, on the live system, those that can be.

On the live system nothing else mounts disks. Media are mounted read-only and without replaying a journal, so that
nothing is written to them; only a capture that was confirmed makes the one it needs writable.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging.disk import Disk, Mount, Partition, Role
from imaging.errors import IoError
from imaging.mounts import read_mounts
from imaging.run import run

ROOT = Path("/run/rescue/media")
"""Where the live system mounts media, a folder for each."""
IMAGES = Path("/run/rescue/images")
"""Where the live system mounts the stick's own partition for images."""
_OPTIONS = {
    "ext2": "ro",
    "ext3": "ro,noload",
    "ext4": "ro,noload",
    "xfs": "ro,norecovery",
    "btrfs": "ro,rescue=nologreplay",
    "vfat": "ro",
    "exfat": "ro",
    "ntfs": "ro",
}
_DRIVERS = {"ntfs": "ntfs3"}
_NOT_MEDIA = ("/proc", "/sys", "/dev", "/boot", "/etc", "/usr", "/var", "/tmp", "/snap", "/run/rescue/")
_LIBRARY_MARKS = ("library.json", "rescue-library/library.json")


def on_live_system() -> bool:
    """Whether this is the recovery system, which owns its disks' mounts."""
    return bool(os.environ.get("RESCUE_LIVE"))


def mounted(*, writable: bool = False) -> tuple[Path, ...]:
    """Where file systems of disks are mounted, but for those that make the running system.

    `writable` leaves out those that cannot be written to; what the live system mounted read-only itself can be.
    """
    found = []
    for device, mount in read_mounts():
        where = Path(mount.where)
        ours = where == IMAGES or ROOT in where.parents
        if device.startswith("0:") or mount.where in ("/", "[swap]", "/home"):
            continue
        if not ours and (mount.where.startswith(_NOT_MEDIA) or (writable and not os.access(where, os.W_OK))):
            continue
        if _answers(where.is_dir) and os.access(where, os.R_OK | os.X_OK):
            found.append(where)
    return tuple(dict.fromkeys(found))


def _answers(look: Callable[[], bool]) -> bool:
    """What a look says; False where the medium fails even at that, for it must not hide the others."""
    try:
        return look()
    except OSError:
        return False


def attach(disks: Iterable[Disk]) -> None:
    """Mount what may hold images: on the live system only, read-only.

    A removable medium stays mounted; a fixed disk only where a library is found on it, so that it can be a target
    otherwise.
    """
    if not on_live_system() or os.geteuid() != 0:
        return
    with _lock(fcntl.LOCK_EX) as alone:
        if alone:
            _attach(disks)


@contextmanager
def undisturbed() -> Iterator[None]:
    """While a job takes disks for itself, no screen mounts anything to look for images on it."""
    if on_live_system() and os.geteuid() == 0:
        with _lock(fcntl.LOCK_SH, wait=True):
            yield
    else:
        yield


@contextmanager
def _lock(kind: int, *, wait: bool = False) -> Iterator[bool]:
    ROOT.mkdir(parents=True, exist_ok=True)
    fd = os.open(ROOT / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, kind | (0 if wait else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def _attach(disks: Iterable[Disk]) -> None:
    for disk in disks:
        if Role.BOOT_MEDIUM in disk.roles or disk.holders:
            continue
        taken = {mount.source for mount in disk.mounts}
        for partition in disk.table.partitions:
            node = _node(disk, partition)
            if partition.content.kind in _OPTIONS and node not in taken and Path(node).exists():
                _try(disk, partition, node)


def _node(disk: Disk, partition: Partition) -> str:
    infix = "p" if disk.path[-1].isdigit() else ""
    return f"{disk.path}{infix}{partition.number}"


def _try(disk: Disk, partition: Partition, node: str) -> None:
    kind = partition.content.kind
    where = ROOT / node.rsplit("/", 1)[-1]
    where.mkdir(parents=True, exist_ok=True)
    try:
        run(["mount", "-t", _DRIVERS.get(kind, kind), "-o", f"{_OPTIONS[kind]},nosuid,nodev,noexec", node, where])
        if (
            not disk.removable
            and disk.transport != "usb"
            and not any(_answers((where / m).is_file) for m in _LIBRARY_MARKS)
        ):
            run(["umount", where])
    except IoError:
        # What cannot be mounted holds no library that could be used; the inventory shows the disk all the same.
        return


def make_writable(path: Path) -> None:
    """Let a capture write to the medium that holds `path`, where this live system mounted it read-only.

    Raises IoError where it cannot be made writable.
    """
    if not on_live_system() or os.geteuid() != 0:
        return
    beneath: list[Mount] = [m for _, m in read_mounts() if m.where != "[swap]" and path.is_relative_to(m.where)]
    holder = max(beneath, key=lambda m: len(m.where), default=None)
    if holder is None or not holder.read_only:
        return
    where = Path(holder.where)
    if where != IMAGES and ROOT not in where.parents:
        return
    if holder.source:
        # A journal that was left alone until now is replayed only by a fresh mount.
        run(["umount", where])
        run(["mount", "-o", "rw,nosuid,nodev,noexec", holder.source, where])


def detach(disk: Disk) -> None:
    """Let go of a disk that is about to be erased, where this live system mounted it; IoError where it is busy."""
    for mount in disk.mounts:
        if ROOT in Path(mount.where).parents:
            run(["umount", mount.where])
