"""btrfs on one device, which the kernel makes smaller while it is mounted where no other process sees it.

The mount writes, too: its log is replayed, and what was deleted may be cleared away. So it is only ever done to a view
that nothing else can reach. Sources: Linux fs/btrfs/ctree.h, include/uapi/linux/btrfs.h; btrfs-filesystem(8),
btrfs-check(8).
"""

import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imaging import peek
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError
from imaging.run import run, run_cancellable

HEAD = BTRFS_SUPER + 4096
"""Bytes from the start of a volume in which its first super block lies."""
_MAGIC, _MAGIC_AT, _LEAST = b"_BHRfS_M", 0x40, 1024
_FLAGS, _DEVICES, _SECTOR = 0x38, 0x88, 0x90
_OWN_ID, _OWN_SIZE = 0xC9, 0xD1
"""In the super block: its flags, how many devices there are, the sector, and the number and bytes of this device."""
_SEED = 1 << 32
_DEVICE_INFO, _INFO_SIZE, _INFO_PATH = 0xD000941E, 4096, 3072
"""BTRFS_IOC_DEV_INFO, which tells the path of the device of a number."""
_OPTIONS = ("skip_balance", "nodiscard")
"""No balance that was cut off goes on, and nothing is told to be forgotten."""
_FULL = os.strerror(28)
"""What the kernel says where what lies behind the new end has no room before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Super:
    """What the super block says of its device, in bytes; `devices` is how many there are."""

    devices: int
    own_id: int
    size: int
    sector: int
    seed: bool


def parse_super(block: bytes) -> Super:
    """The super block, which lies at BTRFS_SUPER of a volume; `block` has at least its first KiB.

    Raises IoError where it is none.
    """
    if len(block) < _LEAST or block[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        raise IoError("there is no btrfs super block", code="bad-super-block")
    (flags,), (devices,), (sector,), (own_id, size) = (
        struct.unpack_from(form, block, at)
        for form, at in (("<Q", _FLAGS), ("<Q", _DEVICES), ("<I", _SECTOR), ("<QQ", _OWN_ID))
    )
    return Super(devices=devices, own_id=own_id, size=size, sector=sector, seed=bool(flags & _SEED))


@contextmanager
def mounted(loop: str, own_id: int) -> Iterator[str]:
    """The file system of a loop device, mounted read-write: a path by which tools reach it, and nobody finds it.

    Raises IoError where the kernel cannot mount it, or has mounted another device that bears the same identity.
    """
    with _known_no_more(loop):
        try:
            mount = _mounted(loop)
        except OSError as error:
            raise IoError(f"the kernel cannot mount it: {error.strerror}", code="cannot-mount") from error
        try:
            _refuse_another(mount, loop, own_id)
            yield f"/proc/{os.getpid()}/fd/{mount}"
        finally:
            os.close(mount)


@contextmanager
def _known_no_more(loop: str) -> Iterator[None]:
    """The kernel remembers the device of each file system, and this one is about to be gone."""
    try:
        yield
    finally:
        _scan("--forget", loop)


def _mounted(loop: str) -> int:
    """Before Linux 6.7 a newer copy that is known, such as on the disk to be restored, keeps an older one away."""
    try:
        return peek.mounted("btrfs", loop, writable=True, options=_OPTIONS)
    except FileExistsError:
        _scan("--forget")
        try:
            return peek.mounted("btrfs", loop, writable=True, options=_OPTIONS)
        finally:
            # Whoever mounts what lies on several devices relies on their being known.
            _scan()


def _scan(*words: str) -> None:
    run(["btrfs", "device", "scan", *words], accept=range(-64, 256))


def _refuse_another(mount: int, loop: str, own_id: int) -> None:
    """A copy of it can be attached to this computer, or even mounted: it must be the very device that was meant."""
    info = bytearray(struct.pack(f"=Q{_INFO_SIZE - 8}x", own_id))
    try:
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        try:
            fcntl.ioctl(root, _DEVICE_INFO, info)
        finally:
            os.close(root)
    except OSError as error:
        raise IoError(f"the kernel does not tell its device: {error.strerror}", code="cannot-mount") from error
    found = bytes(info[_INFO_PATH:]).split(b"\0")[0]
    if found != loop.encode():
        raise IoError(f"the kernel has mounted {os.fsdecode(found)} in its place", code="cannot-mount")


def resized(where: str, own_id: int, size: int, cancel: threading.Event) -> bool:
    """Make what is mounted at a path as large as `size` bytes; False where what it holds does not fit into that.

    Takes up to minutes: what lies behind the new end is moved. Raises IoError, CancelledError.
    """
    done = run_cancellable(["btrfs", "filesystem", "resize", f"{own_id}:{size}", where], cancel)
    if done.status and _FULL in done.stdout:
        return False
    if done.status:
        raise IoError(_said("btrfs filesystem resize", done.status, done.stdout), code="tool-failed")
    return True


def least(fits: Callable[[int], bool], size: int, old_size: int, step: int) -> int:
    """The least size, by halves from `size` up to `old_size`, that `fits` says yes to; a multiple of `step` more.

    What btrfs itself tells of that counts every chunk that is begun as full.
    """
    low, high = -1, -(-(old_size - size) // step)
    while high - low > 1:
        middle = 0 if low < 0 else (low + high) // 2
        if fits(min(size + middle * step, old_size)):
            high = middle
        else:
            low = middle
    return min(size + high * step, old_size)


def check(loop: str, cancel: threading.Event) -> None:
    """Have its own tool say that a file system is whole: its trees, and each block of data by its checksum.

    Takes as long as reading all of it. Raises IoError where it is not, CancelledError.
    """
    done = run_cancellable(["btrfs", "check", "--readonly", "--check-data-csum", loop], cancel)
    if done.status:
        raise IoError(_said("btrfs check", done.status, done.stdout), code="tool-failed")


def _said(name: str, status: int, words: str) -> str:
    """The first line that tells of an error, or else the last one."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    told = next((line for line in lines if "error" in line.lower() or "csum" in line.lower()), lines[-1:] and lines[-1])
    return f"{name} ended with status {status}" + (f": {told}" if told else "")
