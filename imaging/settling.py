"""Having what was written stand in its place in a file system, and not in the journal alone.

The recovery system mounts media without replaying a journal, so that it writes nothing to them. Once a computer lost
its power such a mount shows a folder as it was before the last changes, although each of them was flushed: an image
that had just been stored would not be there. Sources: Linux's Documentation/filesystems/ext4/journal.rst,
EXT4_IOC_CHECKPOINT, since Linux 5.14; btrfs(5), nologreplay.
"""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

from imaging.durable import sync_all
from imaging.mounts import kind_beneath

_CHECKPOINT = 0x4004662B
"""EXT4_IOC_CHECKPOINT, _IOW('f', 43, __u32): its argument are flags, of which none is needed."""


def settle(folder: Path) -> None:
    """Have all that was written to a folder's file system, and flushed, be there without its journal.

    Best effort, and never raises: nothing is lost where the kernel cannot, as for XFS. A mount that replays the journal
    shows all of it.
    """
    with suppress(OSError):
        kind = kind_beneath(folder)
        if kind not in ("ext3", "ext4", "btrfs"):
            return
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if kind == "btrfs" or not _checkpoint(fd):
                sync_all(fd)
        finally:
            os.close(fd)


def _checkpoint(fd: int) -> bool:
    """Whether ext4 has emptied its journal; root alone may ask, and an older kernel does not know it.

    What syncfs(2) brings down is as good, but all that anybody has written there goes with it.
    """
    try:
        fcntl.ioctl(fd, _CHECKPOINT, struct.pack("=I", 0))
    except OSError:
        return False
    return True
