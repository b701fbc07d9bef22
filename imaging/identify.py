"""Make a disk known to a person: let its light blink by reading from it, and say where it is plugged in.

Nothing is written. Sources: Linux Documentation/ABI for /sys/block, udev's 60-persistent-storage.rules for by-path.
"""

import mmap
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imaging.blockdev import open_for_reading, size_of
from imaging.disk import Disk

BURST, PAUSE = 0.6, 0.6
"""Seconds of reading, and of none: a light that blinks so stands out from one that flickers with other work."""
_BLOCK = 256 << 10
_BY_PATH = Path("/dev/disk/by-path")
_SYS_BLOCK = Path("/sys/block")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """Where a disk is plugged in, and whether it spins."""

    port: str = ""
    """udev's name for the place, which stays when another disk comes into it: `pci-0000:00:17.0-ata-1`."""
    rotational: bool | None = None


def attachment(disk: Disk) -> Attachment:
    """Where a disk is plugged in, as far as is known; a file is nowhere."""
    if disk.regular_file:
        return Attachment()
    ports = sorted(_names_of(disk.path), key=lambda name: (len(name), name))
    return Attachment(port=ports[0] if ports else "", rotational=_rotational(disk.name))


def _names_of(path: str) -> list[str]:
    try:
        return [link.name for link in _BY_PATH.iterdir() if str(link.resolve()) == path]
    except OSError:
        return []


def _rotational(name: str) -> bool | None:
    try:
        return (_SYS_BLOCK / name / "queue/rotational").read_text().strip() == "1"
    except OSError:
        return None


def blink(disk: Disk, stop: threading.Event, burst: float = BURST, pause: float = PAUSE) -> None:
    """Read from all over a disk in bursts until `stop` is set; raises IoError or RefusedError where it cannot be read.

    What the kernel holds in memory would let no light blink: it is passed by. A place that cannot be read is no matter.
    """
    with _opened(disk) as fd:
        blocks = size_of(fd) // _BLOCK
        with mmap.mmap(-1, _BLOCK) as buffer:
            while not stop.is_set():
                end = time.monotonic() + burst
                while time.monotonic() < end and not stop.is_set():
                    with suppress(OSError):
                        os.preadv(fd, [buffer], random.randrange(max(1, blocks)) * _BLOCK)
                stop.wait(pause)


@contextmanager
def _opened(disk: Disk) -> Iterator[int]:
    fd = open_for_reading(disk.path)
    try:
        with suppress(OSError):
            direct = os.open(disk.path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            os.dup2(direct, fd, inheritable=False)
            os.close(direct)
        yield fd
    finally:
        os.close(fd)
