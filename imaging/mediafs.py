"""The file system of a medium's images partition: made and mounted by its place on the medium, which is held meanwhile.

So no other process meets it half made, whatever the kernel knows of the medium's partitions.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging import peek
from imaging.blockdev import loop_over
from imaging.errors import IoError, RefusedError, RescueError
from imaging.medium import IMAGES_LABEL
from imaging.run import run
from imaging.writer import Target

_EXT4 = ("-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^metadata_csum_seed,^orphan_file")
"""Without what older Linuxes, and GRUB, cannot read."""
_OWNER = "root_owner=0:0"
_SHORT_LABEL = "RESCUE-IMGS"
"""exFAT's labels have 11 letters; the partition bears the whole name."""
_JOURNAL = ("-J", "size=64")
_LARGE = 1 << 30
"""From here on ext4's journal gets 64 MiB, whatever the size: a GiB of it, as large sticks would get, serves nobody."""


def make_filesystem(target: Target, start: int, size: int, filesystem: str) -> None:
    """An empty file system in a range of a medium that is held; raises IoError.

    Root makes it on a loop device; others in a file at its offset, where mke2fs can and exFAT's program cannot.
    """
    label = ("-L", IMAGES_LABEL if filesystem == "ext4" else _SHORT_LABEL)
    journal = _JOURNAL if size >= _LARGE else ()
    if os.geteuid() != 0:
        if filesystem != "ext4":
            raise RefusedError("only root can make an images partition with exFAT", code="needs-root")
        run(["mke2fs", *_EXT4, "-E", f"{_OWNER},offset={start}", *journal, *label, target.path, str(size >> 12)])
        return
    target.write(bytes(min(size, 1 << 20)), start)
    with loop_over(target.fileno(), offset=start, size=size, writable=True) as loop:
        if filesystem == "ext4":
            run(["mke2fs", *_EXT4, "-E", _OWNER, *journal, *label, loop])
        else:
            run(["mkfs.exfat", *label, loop])


@contextmanager
def mounted_images(
    target: Target, start: int, size: int, filesystem: str, name: str, *, writable: bool = True
) -> Iterator[Path]:
    """The root folder of the images partition, in no other process's sight; it is unmounted at the end.

    What fails in it is told as the images partition's. Raises IoError.
    """
    with loop_over(target.fileno(), offset=start, size=size, writable=writable) as loop:
        try:
            fd = peek.mounted(filesystem, loop, writable=writable)
        except OSError as error:
            raise IoError(
                f"the images partition of {name} cannot be mounted: {error.strerror}", code="cannot-mount"
            ) from error
        root = Path(f"/proc/self/fd/{fd}")
        try:
            yield root
        except RescueError as error:
            error.message = error.message.replace(str(root), f"the images partition of {name}: ", 1)
            raise
        finally:
            os.close(fd)
