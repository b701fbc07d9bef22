"""NTFS volumes mounted by ntfs-3g, which keeps what the kernel's driver does not: streams, rights, encrypted files.

The mount stands in a mount namespace of ntfs-3g's own, and is reached by that process's root: no path leads to it from
elsewhere, and it is gone when that process or this one ends, however that happens.

It is of the kind `fuse`, though it stands on a device. One of the kind `fuseblk` asks ntfs-3g to close it when it goes,
and waits for that: where ntfs-3g was killed, its own end takes the mount away, so it would wait for itself for ever,
and with it whoever calls sync(2). ntfs-3g takes `fuse` where /proc/filesystems has no other.
Sources: ntfs-3g(8), its src/ntfs-3g.c (get_fuse_fstype) and its wiki on extended attributes (system.ntfs_*);
mount_namespaces(7); proc(5), /proc/pid/root; Linux fs/fuse/inode.c (fuse_conn_destroy), kernel/exit.c (do_exit).
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging.errors import IoError
from imaging.run import Server, serving

_FOLDER = Path("/mnt")
"""A folder that every Debian has; nobody else sees what is mounted on it."""
_SCRIPT = r"""
mount -t tmpfs -o size=64k none /media && printf 'nodev\tfuse\n' > /media/filesystems &&
mount --bind /media/filesystems /proc/filesystems && exec ntfs-3g "$@"
"""
"""What is done in the namespace; /media is another folder that every Debian has."""
_OPTIONS = ("no_detach", "streams_interface=windows", "efs_raw", "norecover", "noatime", "big_writes")
"""A stream is `file:stream`. What Windows encrypts is read and written as it lies there."""
_PATIENCE, _LOOK_EVERY = 300.0, 0.01
"""Seconds in which ntfs-3g has to answer, and between two looks."""


@contextmanager
def mounted(device: str, *, writable: bool) -> Iterator[int]:
    """The root of an NTFS volume on a device, a descriptor that can be read.

    When this ends, all that was written has been handed to the device. Needs root. Raises IoError where ntfs-3g does
    not mount it, or does not end well.
    """
    options = ",".join(_OPTIONS if writable else ("ro", *_OPTIONS))
    alone = ("unshare", "--mount", "--propagation", "private")
    argv = (*alone, "sh", "-c", _SCRIPT, "ntfs-3g", "-o", options, device, _FOLDER)
    with serving(argv, "ntfs-3g") as tool:
        root = _root(tool)
        try:
            yield root
        finally:
            os.close(root)


def _root(tool: Server) -> int:
    """The root folder of what ntfs-3g has mounted, once it has."""
    where = f"/proc/{tool.pid}/root{_FOLDER}"
    here, end = _FOLDER.stat().st_dev, time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            root = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            root = -1  # it has just ended, or does not answer yet
        if root >= 0 and os.fstat(root).st_dev != here:
            return root
        if root >= 0:
            os.close(root)
        tool.refuse_if_ended()
        time.sleep(_LOOK_EVERY)
    raise IoError(f"ntfs-3g did not answer within {_PATIENCE:.0f} s", code="tool-hung")
