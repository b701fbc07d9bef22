"""What starts the systems of a disk: the menus of GRUB and the EFI system partition, found, and reached for writing.

What is mounted is used where it is mounted. Anything else is mounted where no other process sees it, for a look
read-only and without replaying a journal; for writing as the system that it belongs to would do it. Needs root.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imaging import efientries, filesystems, grubmenu, peek
from imaging.blockdev import loop_over, open_for_reading, opened
from imaging.disk import Disk, Mount, Partition, PartitionRole
from imaging.errors import IoError, RefusedError, RescueError
from imaging.ownplan import Boot
from imaging.recoveryplans import BootMenu
from imaging.run import run

_KINDS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs")
_NAMES = ("boot/grub/grub.cfg", "boot/grub2/grub.cfg", "grub/grub.cfg", "grub2/grub.cfg")
_PATIENCE = 20.0


def look(disk: Disk) -> Boot:
    """What could start a recovery system on a disk; takes up to a second for each partition."""
    if os.geteuid() != 0:
        return Boot(closed=("its boot menus can be looked at by root alone",))
    menus: list[BootMenu] = []
    closed: list[str] = []
    for part in disk.table.partitions:
        if part.content.kind not in _KINDS or part.recovery or part.role is PartitionRole.EXTENDED:
            continue
        found = _menu(disk, part)
        if found is None:
            continue
        path, text = found
        why = _why_closed(disk, part, text)
        if why:
            closed.append(f"the menu {path} on {disk.partition_name(part.number)}: {why}")
        else:
            menus.append(BootMenu(partition=part.number, folder=path.rpartition("/")[0]))
    return Boot(menus=tuple(menus), closed=tuple(closed), firmware=efientries.can_be_changed())


def _menu(disk: Disk, part: Partition) -> tuple[str, str] | None:
    """The path of a GRUB menu on a partition, and its text."""
    try:
        where = _mounted_at(disk, part)
        if where is not None:
            return _peeked("dir", where.where)
        with device_of(disk, part, writable=False) as device:
            return _peeked(part.content.kind, device)
    except RescueError:
        return None


def _peeked(kind: str, where: str) -> tuple[str, str] | None:
    argv = [sys.executable, "-I", peek.__file__, kind, where, *_NAMES]
    done = run(argv, accept=range(-64, 256), timeout=_PATIENCE)
    path, _, text = done.stdout.partition("\n")
    return (path, text) if done.status == 0 else None


def _why_closed(disk: Disk, part: Partition, text: str) -> str:
    if not grubmenu.reads_custom(text):
        return "it does not read custom.cfg, as /etc/grub.d/41_custom would have it"
    where = _mounted_at(disk, part)
    if where is not None:
        return f"it is mounted read-only at {where.where}" if where.read_only else ""
    if any(other.content.kind == "swsuspend" for other in disk.table.partitions):
        return "its system is hibernated: start it, and shut it down"
    with opened(disk.path) as fd:
        doubt = filesystems.doubt(fd, part.start, part.content)
    return "" if doubt is None or doubt.passes else doubt.why


def _mounted_at(disk: Disk, part: Partition) -> Mount | None:
    """Where the running system has it mounted, writable if anywhere; what was mounted to look for images is none."""
    node = f"/dev/{disk.partition_name(part.number)}"
    found = [
        mount
        for mount in disk.mounts
        if mount.source == node and mount.where.startswith("/") and not mount.where.startswith("/run/rescue/media/")
    ]
    return min(found, key=lambda mount: (mount.read_only, len(mount.where)), default=None)


@contextmanager
def device_of(disk: Disk, part: Partition, *, writable: bool) -> Iterator[str]:
    """The kernel's device for a partition, or a loop device over it where it has none."""
    node = f"/dev/{disk.partition_name(part.number)}"
    if not disk.regular_file and Path(node).exists():
        yield node
        return
    fd = os.open(disk.path, os.O_RDWR | os.O_CLOEXEC) if writable else open_for_reading(disk.path)
    try:
        with loop_over(fd, offset=part.start, size=part.size, sector=disk.logical_sector, writable=writable) as loop:
            yield loop
        if writable:
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def reached(disk: Disk, number: int, *, writable: bool = True) -> Iterator[Path]:
    """The root folder of the file system on a partition, to be written to, or only read, while this lasts.

    Raises RefusedError where it is to be written to and mounted read-only, IoError where it cannot be mounted.
    """
    part = next((p for p in disk.table.partitions if p.number == number), None)
    if part is None:
        raise RefusedError(f"{disk.name} has no partition {number} any more", code="disk-changed")
    where = _mounted_at(disk, part)
    if where is not None:
        if where.read_only and writable:
            raise RefusedError(f"{where.source} is mounted read-only at {where.where}", code="in-use")
        yield Path(where.where)
        return
    with ExitStack() as held:
        device = held.enter_context(device_of(disk, part, writable=writable))
        root = mount(part.content.kind, device, disk.partition_name(number), writable=writable)
        held.callback(os.close, root)
        yield Path(f"/proc/self/fd/{root}")


def mount(kind: str, device: str, name: str, *, writable: bool = True) -> int:
    """A descriptor of the root of a file system that is mounted nowhere; closing it unmounts. Raises IoError."""
    try:
        return peek.mounted(kind, device, writable=writable)
    except OSError as error:
        raise IoError(
            f"{name} ({kind}) cannot be mounted: {error.strerror}",
            code="cannot-mount",
            hint="have its file system checked by its own system",
        ) from error


def names_of(disk: Disk, menus: Sequence[BootMenu]) -> str:
    """The partitions that hold menus, for words."""
    return ", ".join(dict.fromkeys(disk.partition_name(menu.partition) for menu in menus))
