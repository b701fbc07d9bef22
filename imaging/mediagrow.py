"""Let the images partition of a recovery medium take the rest of it, also of the one that this system runs from.

Nothing outside of the partition table and the images partition is written, and the medium works at any moment: a new
file system is whole before the table names it, and one that grows gets its larger partition first and then grows by
ext4's own journal, as it does while it is mounted. The table's copy at the end is on the medium before the table.
"""

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from msgspec import structs

from imaging import inventory, marks, media, mediatable, medium, peek, writer
from imaging.access import refuse_while_read
from imaging.blockdev import loop_over
from imaging.disk import Disk, Mount, Role
from imaging.errors import CancelledError, IoError, RefusedError, RescueError
from imaging.events import MediaGrowResult
from imaging.mediafs import make_filesystem
from imaging.mediaplan import plan_grow
from imaging.pipeline import Reporter
from imaging.planner import why_not_in_use
from imaging.recoveryplans import MediaGrowPlan
from imaging.run import run
from imaging.writer import Target

_RESIZE = 0x40086610
"""EXT4_IOC_RESIZE_FS of Linux fs/ext4/ext4.h: blocks as 64 bits; what resize2fs asks of a mounted file system."""


def grow(plan: MediaGrowPlan, report: Reporter, cancel: threading.Event) -> MediaGrowResult:
    """Carry out a growth. Raises RefusedError where the medium is not as it was shown, IoError, CancelledError.

    Each with `state` set; whatever happens the medium starts a computer, and keeps its images.
    """
    began = time.monotonic()
    try:
        with media.undisturbed():
            return _grow(plan, report, cancel, began)
    except RescueError as error:
        name = plan.target.name
        error.state = f"{name} works, and what is on it is there; its images partition may have its old size."
        raise


def _grow(plan: MediaGrowPlan, report: Reporter, cancel: threading.Event, began: float) -> MediaGrowResult:
    if os.geteuid() != 0:
        raise RefusedError("an images partition can be enlarged by root alone", code="needs-root", hint="run as root")
    now = inventory.look(plan.target.path)
    marks.refuse_if_changed(plan.target, now)
    found = medium.look(plan.target.path)
    if structs.replace(plan_grow(now, found), target=plan.target) != plan:
        raise RefusedError(f"{now.name} is not as it was when this was planned", code="disk-changed")
    booted = Role.BOOT_MEDIUM in now.roles
    with ExitStack() as held:
        held.callback(_let_go(now, booted))
        if cancel.is_set():
            raise CancelledError("stopped because somebody asked")
        target = held.enter_context(
            writer.opened(plan.target.path, regular_file=plan.target.regular_file, shared=booted)
        )
        if plan.old_size:
            report.step(f"Enlarging the images partition of {now.name}")
            _write_table(plan, target)
            _enlarge(plan, target)
        else:
            report.step(f"Making the images partition of {now.name}")
            make_filesystem(target, plan.start, plan.size, plan.filesystem)
            target.sync()
            _write_table(plan, target)
        _tell_kernel(plan, now, target, booted=booted)
    return MediaGrowResult(target=now.name, size=plan.size, before=plan.old_size, seconds=time.monotonic() - began)


def _let_go(disk: Disk, booted: bool) -> Callable[[], None]:
    """Unmount the images partition, which nobody may read from, and return what mounts it again.

    Raises RefusedError where another use of the disk is in the way.
    """
    ours = [mount for mount in disk.mounts if mount.where == str(media.IMAGES)]
    others = tuple(m for m in disk.mounts if m not in ours and not (booted and _is_system(disk, m)))
    why = why_not_in_use(replace(disk, mounts=others, holders=() if booted else disk.holders))
    if why:
        raise RefusedError(f"the images partition of {disk.name} cannot be enlarged: {why}", code="in-use")
    for mount in ours:
        refuse_while_read(mount)
        run(["umount", mount.where])
    media.detach(disk)
    return media.mount_images if booted else _nothing


def _is_system(disk: Disk, mount: Mount) -> bool:
    """Whether a mount is of the system that runs, whose part of the medium is not written to: it, and its layers."""
    return mount.read_only and mount.source.rpartition("/")[2] != disk.partition_name(3)


def _nothing() -> None:
    pass


def _write_table(plan: MediaGrowPlan, target: Target) -> None:
    """The same table with another third partition, in an order in which one of its copies is whole at any moment."""
    with medium.volume_of(plan.target.path) as volume:
        before = medium.partitions(volume)
        first = volume(0, medium.SECTOR)
    kept = [entry for entry in before if entry.number in (1, 2)]
    own = next((entry.uuid for entry in before if entry.number == 3), "")
    images = mediatable.images_entry(plan.start, plan.size, plan.filesystem, own)
    table = mediatable.render([*kept, images], target.size, first, plan.target.table.table_id)
    for at, data in table.pieces:
        target.write(data, at)
        target.sync()


def _enlarge(plan: MediaGrowPlan, target: Target) -> None:
    """While it is mounted, by its own journal; where this process may not, as in a container, by resize2fs."""
    with loop_over(target.fileno(), offset=plan.start, size=plan.size, writable=True) as loop:
        try:
            _enlarge_mounted(plan, loop)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise IoError(
                    f"the images partition of {plan.target.name} did not grow: {error.strerror}",
                    code="not-grown",
                    hint="start another computer from another medium and check it: e2fsck -f",
                ) from error
            run(["e2fsck", "-f", "-p", loop], accept=(0, 1))
            run(["resize2fs", loop])
    target.sync()


def _enlarge_mounted(plan: MediaGrowPlan, loop: str) -> None:
    mount = peek.mounted(plan.filesystem, loop, writable=True)
    try:
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        try:
            fcntl.ioctl(root, _RESIZE, struct.pack("=Q", plan.size // os.fstatvfs(root).f_bsize))
        finally:
            os.close(root)
    finally:
        os.close(mount)


def _tell_kernel(plan: MediaGrowPlan, disk: Disk, target: Target, *, booted: bool) -> None:
    """Others of the disk's partitions are mounted where it runs this system: then the kernel is told of the third."""
    if not booted:
        target.reread_table()
        return
    number = "3"
    if plan.old_size:
        run(["partx", "--update", "--nr", number, disk.path])
    else:
        run(["partx", "--add", "--nr", number, disk.path], accept=(0, 1))
    inventory.settle()
