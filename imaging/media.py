"""Media on which images may lie: those that are mounted, and, on the live system, those that can be.

On the live system nothing else mounts disks. Media are mounted read-only and without replaying a journal, so that
nothing is written to them; only a capture that was confirmed makes the one it needs writable.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging import sharemounts
from imaging.disk import Disk, Mount, Partition, Role
from imaging.errors import IoError, RefusedError
from imaging.mounts import device_number, kind_at, read_mounts
from imaging.pack import in_folder
from imaging.run import run

ROOT = Path("/run/rescue/media")
"""Where the live system mounts media, a folder for each."""
IMAGES = Path("/run/rescue/images")
"""Where the live system mounts the stick's own partition for images."""
DISC = Path("/run/rescue/medium")
"""Where the live system mounts the medium that it was started from: a disc can hold a library beside the system."""
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
_SAFE = "nosuid,nodev,noexec"
_DRIVERS = {"ntfs": "ntfs3"}
_NOT_MEDIA = ("/proc", "/sys", "/dev", "/boot", "/etc", "/usr", "/var", "/tmp", "/snap", "/run/rescue/", "/run/netns")
_DISKS, _LOOKS = ".lock", ".looks"
"""Locks in `ROOT`: of jobs that have disks for themselves, and of screens, one of which mounts at a time."""
_PATIENCE = 60.0
"""Seconds that a screen waits for what another one mounts; a disk that fails may take that long."""
_TRIES, _BETWEEN = 40, 0.05
"""How often it is tried to mount or unmount what somebody may be looking at just now, and the seconds between."""
_LIBRARY_MARKS = ("library.json", "rescue-library/library.json")


class _Patience:
    """How long the next look waits: where another screen hangs, on a disk that fails, one look does and not each."""

    seconds = _PATIENCE


_patience = _Patience()


def on_live_system() -> bool:
    """Whether this is the recovery system, which owns its disks' mounts."""
    return bool(os.environ.get("RESCUE_LIVE"))


def mounted(*, writable: bool = False) -> tuple[Path, ...]:
    """Where file systems of disks, and shares, are mounted, but for those that make the running system.

    `writable` leaves out those that cannot be written to; what the live system mounted read-only itself can be.
    """
    found = []
    for device, mount in read_mounts():
        where = Path(mount.where)
        ours = where == IMAGES or ROOT in where.parents
        share = where.parent == sharemounts.ROOT
        if (device.startswith("0:") and not share) or mount.where in ("/", "[swap]", "/home"):
            continue
        if share and writable and not sharemounts.is_writable(mount):
            continue
        known = ours or share or (where == DISC and not writable)
        if not known and (mount.where.startswith(_NOT_MEDIA) or (writable and not os.access(where, os.W_OK))):
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

    A removable medium stays mounted; a fixed disk only where a library is found on it, or an image in a single file, so
    that it can be a target otherwise.
    """
    if not on_live_system() or os.geteuid() != 0:
        return
    with _alone() as alone:
        if alone:
            _attach(disks)


@contextmanager
def undisturbed() -> Iterator[None]:
    """While a job takes disks for itself, no screen mounts anything to look for images on it."""
    if on_live_system() and os.geteuid() == 0:
        with _lock(_DISKS, fcntl.LOCK_SH):
            yield
    else:
        yield


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether this may mount, as no job has disks for itself.

    What another screen is just mounting is waited for: this one would say that there are no images.
    """
    with _lock(_LOOKS, fcntl.LOCK_EX, _patience.seconds) as alone, _lock(_DISKS, fcntl.LOCK_EX, 0) as free:
        _patience.seconds = _PATIENCE if alone else 0
        yield alone and free


@contextmanager
def _lock(name: str, kind: int, seconds: float | None = None) -> Iterator[bool]:
    """Whether a lock was got in time; None is a time without end."""
    ROOT.mkdir(parents=True, exist_ok=True)
    fd = os.open(ROOT / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _locked(fd, kind, seconds)
    finally:
        os.close(fd)


def _locked(fd: int, kind: int, seconds: float | None) -> bool:
    deadline = time.monotonic() + (seconds or 0)
    while True:
        try:
            fcntl.flock(fd, kind | (fcntl.LOCK_NB if seconds is not None else 0))
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_BETWEEN)
        else:
            return True


def _attach(disks: Iterable[Disk]) -> None:
    mounted_since = {mount.source for _, mount in read_mounts()}
    for disk in disks:
        if (Role.BOOT_MEDIUM in disk.roles and not disk.kept) or disk.holders:
            continue
        taken = mounted_since | {mount.source for mount in disk.mounts}
        for partition in disk.table.partitions:
            node = _node(disk, partition)
            if partition.content.kind in _OPTIONS and node not in taken and Path(node).exists():
                if partition.content.kind == "btrfs" and _is_mounted(node):
                    continue  # by another of its disks, just now; twice, it could not be made writable
                _try(disk, partition, node)


def _is_mounted(node: str) -> bool:
    number = device_number(node)
    return any(device == number for device, _ in read_mounts())


def _node(disk: Disk, partition: Partition) -> str:
    infix = "p" if disk.path[-1].isdigit() else ""
    return f"{disk.path}{infix}{partition.number}"


def _try(disk: Disk, partition: Partition, node: str) -> None:
    kind = partition.content.kind
    try:
        where = _mount(node, kind)
        if (
            not disk.removable
            and disk.transport != "usb"
            and not any(_answers((where / m).is_file) for m in _LIBRARY_MARKS)
            and not in_folder(where)
        ):
            close_after_a_look(where)
    except IoError:
        # What cannot be mounted holds no library that could be used; the inventory shows the disk all the same.
        return


def _mount(node: str, kind: str) -> Path:
    where = ROOT / node.rsplit("/", 1)[-1]
    where.mkdir(parents=True, exist_ok=True)
    _patiently("mount", "-t", _DRIVERS.get(kind, kind), "-o", f"{_OPTIONS[kind]},{_SAFE}", node, where)
    return where


def can_be_read(kind: str) -> bool:
    """Whether a file system can be mounted to look into it."""
    return kind in _OPTIONS


def open_for_a_look(node: str, kind: str) -> Path:
    """Mount one file system read-only, on the live system, to look for images in it.

    Raises RefusedError while a job takes disks for itself, IoError where it cannot be mounted.
    """
    with _alone() as alone:
        if not alone:
            raise RefusedError(
                f"{node}: another screen looks at disks, or a job is about to start",
                code="busy",
                hint="try again in a moment",
            )
        return _mount(node, kind)


def close_after_a_look(where: Path) -> None:
    """Let go of what was mounted to look into it, so that the disk can be used for something else.

    What somebody holds for longer stays mounted, as a medium does that holds a library: a job takes it away.
    """
    with suppress(IoError):
        if where.is_mount():
            _unmount(where)


def _unmount(where: str | Path) -> None:
    """Unmount; raises IoError. A screen that looks for images there holds it, but not for long."""
    _patiently("umount", where)


def _patiently(*argv: str | Path, outlive: bool = False) -> None:
    """Run mount or umount; raises IoError. Whoever looks whether a disk is in use has it for himself for a moment."""
    for _ in range(_TRIES):
        try:
            run(argv, outlive=outlive)
        except IoError as error:
            if "busy" not in error.message:
                raise
            time.sleep(_BETWEEN)
        else:
            return
    run(argv, outlive=outlive)


def read_only_mount(path: Path) -> Mount | None:
    """The mount that holds `path`, where this live system mounted it read-only itself; None where it did not."""
    if not on_live_system() or os.geteuid() != 0:
        return None
    beneath: list[Mount] = [m for _, m in read_mounts() if m.where != "[swap]" and path.is_relative_to(m.where)]
    holder = max(beneath, key=lambda m: len(m.where), default=None)
    if holder is None or not holder.read_only or not holder.source:
        return None
    where = Path(holder.where)
    return holder if where == IMAGES or ROOT in where.parents else None


def make_writable(mount: Mount) -> None:
    """Let a job write to a medium; it is away for a moment: imaging.access asks first whether anybody reads from it.

    Raises IoError where it cannot be made writable; then it is there as it was.
    """
    # While it is away, a screen that looks for images would take it for one that has just been plugged in.
    with _lock(_LOOKS, fcntl.LOCK_EX, _PATIENCE):
        _make_writable(mount)


def _make_writable(mount: Mount) -> None:
    kind = kind_at(mount.where)
    # A journal that was left alone until now is replayed only by a fresh mount.
    _unmount(mount.where)
    try:
        # --rw: what is write-protected, or mounted read-only elsewhere, would be mounted read-only, as if that were it.
        # NTFS is served by a process, with whose end the medium would be gone: it is not the job's.
        _patiently("mount", "--rw", "-o", _SAFE, mount.source, mount.where, outlive=True)
    except IoError:
        # A write-protected medium whose journal is not empty can be mounted in no other way than it was.
        known = {_DRIVERS.get(name, name): options for name, options in _OPTIONS.items()}
        driver = kind if kind in known else "auto"
        with suppress(IoError):
            _patiently("mount", "-t", driver, "-o", f"{known.get(kind, 'ro')},{_SAFE}", mount.source, mount.where)
        raise
    if any(now.where == mount.where and now.read_only for _, now in read_mounts()):
        # ntfs-3g does so by itself.
        raise IoError(
            f"{mount.source} can be mounted read-only alone: Windows was hibernated, shut down with fast start-up, or "
            "crashed",
            code="read-only",
            hint="start Windows with it and shut it down with Shift held, or with `shutdown /s /t 0`; or use another "
            "medium",
        )


def make_read_only(mount: Mount) -> None:
    """Let nobody write to a medium any more; raises IoError where somebody does now."""
    run(["mount", "-o", "remount,ro", mount.where])


_MOUNT_IMAGES = Path("/usr/lib/rescue/mount-images")
"""What the live system mounts its own stick's images partition with when it starts."""


def mount_images() -> None:
    """Mount the images partition of the medium that this live system runs from, as it does when it starts."""
    if _MOUNT_IMAGES.exists():
        with suppress(IoError):
            run([_MOUNT_IMAGES])


def detach(disk: Disk) -> None:
    """Let go of a disk that is about to be erased, where this live system mounted it; IoError where it is busy."""
    for mount in disk.mounts:
        # What lies on several disks has gone with the first of them.
        if ROOT in Path(mount.where).parents and kind_at(mount.where):
            _unmount(mount.where)
