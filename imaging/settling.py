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

    Best effort, and never raises: where the kernel cannot, as for XFS, or where somebody else than root asks, nothing
    is lost by that. A mount that replays the journal shows all of it.
    """
    kind = kind_beneath(folder)
    if kind not in ("ext3", "ext4", "btrfs"):
        return
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if kind == "btrfs":
                sync_all(fd)
            else:
                fcntl.ioctl(fd, _CHECKPOINT, struct.pack("=I", 0))
        finally:
            os.close(fd)
