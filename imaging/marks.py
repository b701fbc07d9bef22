"""What tells whether a disk is the one that was shown, and unchanged since."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from imaging.blockdev import read, size_of, status_of
from imaging.disk import Disk, DiskId
from imaging.errors import IoError, RefusedError

_MIB = 1 << 20
_SMALL = 4096
_SECTORS_WRITTEN, _SECTORS_DISCARDED = 6, 13
"""Fields of a block device's `stat` in sysfs; the count of requests would count flushes, too."""


def fingerprint(fd: int) -> str:
    """A digest of the first and last MiB of an open disk: it changes where the disk's table or first files do."""
    return ends(fd)[0]


def ends(fd: int) -> tuple[str, str]:
    """The fingerprint of an open disk, and why parts of what it is of cannot be read, in words; empty where all can."""
    size = size_of(fd)
    hasher, failing = blake3(), ""
    for first in (0, max(0, size - _MIB)):
        stop = first + min(_MIB, size)
        try:
            hasher.update(read(fd, stop - first, first))
        except IoError as error:
            # Bad sectors there must not hide the rest of a disk that is to be saved.
            failing = failing or error.message
            for at in range(first, stop, _SMALL):
                hasher.update(_or_a_mark(fd, min(_SMALL, stop - at), at))
    return hasher.hexdigest(), failing


def _or_a_mark(fd: int, size: int, offset: int) -> bytes:
    try:
        return read(fd, size, offset)
    except IoError:
        return b"cannot be read"


def write_mark(fd: int) -> tuple[int, ...]:
    """What differs once anything was written to an open disk, and is not changed by reading it.

    A device's counters of sectors written and discarded, after what waits in memory was written; a file's size and
    times. Only to be compared with a mark of the same disk. Source: Linux Documentation/block/stat.rst.
    """
    status = status_of(fd)
    if not stat.S_ISBLK(status.st_mode):
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns
    with suppress(OSError):  # a failure of what others wrote is theirs; what cannot be read is noticed when it is
        os.fsync(fd)
    node = Path(f"/sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}/stat")
    try:
        counters = [int(word) for word in node.read_text(encoding="ascii").split()]
    except (OSError, ValueError) as error:
        raise IoError(f"{node} cannot be read: {error}", code="read-failed") from error
    return tuple(counters[i] for i in (_SECTORS_WRITTEN, _SECTORS_DISCARDED) if i < len(counters))


def refuse_if_changed(shown: Disk, now: Disk) -> None:
    """Raise RefusedError unless `now` is the disk that was shown, as it was shown, and can still be read."""
    hint = "look at the disks again and make a new plan"
    if not shown.id.same_disk(now.id):
        what = f"{now.name} is not the disk that was shown: {_called(now.id)}, not {_called(shown.id)}"
        raise RefusedError(what, code="disk-changed", hint=hint)
    if now.problem and not shown.problem:
        raise RefusedError(f"{now.name} cannot be used any more: {now.problem}", code="unreadable-disk", hint=hint)
    # Bad sectors at a disk's ends answer now and then; such a disk is no target.
    answered_otherwise = shown.failing and now.failing
    if (shown.fingerprint != now.fingerprint and not answered_otherwise) or (shown.table, shown.content) != (
        now.table,
        now.content,
    ):
        raise RefusedError(f"{now.name} was written to since the plan was shown", code="disk-changed", hint=hint)


def _called(identity: DiskId) -> str:
    return " ".join(filter(None, (identity.model, identity.serial or identity.wwn, f"{identity.size} bytes")))
