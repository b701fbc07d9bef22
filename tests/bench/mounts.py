"""What is measured of `rescue mount`: the disk of a mounted image, read as one file."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.bench import machine

READ = ("dd", "of=/dev/null", "bs=1M", "status=none", "if={}")
"""From end to end, what is empty, too."""
COPY = ("cp", "{}", "/dev/null")
"""As whoever copies a sparse file: the file says where it is empty, and that is passed over."""


def read_mounted(library: Path, image: str, where: Path, words: tuple[str, ...]) -> float:
    """Mount an image, read its only disk with a command, unmount it; returns the seconds of the reading.

    Nothing of it is in the kernel's memory then: each mount is a file system of its own. The memory that takes it was
    used a moment ago, as that of the limit's loop.
    """
    where.mkdir()
    argv = [sys.executable, "-m", "rescue", "mount", image, str(where), "--library", str(library)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as mount:
        try:
            assert mount.stdout is not None
            # All is there before anything is said.
            mount.stdout.readline()
            (disk,) = (where / "disks").iterdir()
            machine.touch_memory(where.parent, disk.stat().st_size)
            began = time.perf_counter()
            subprocess.run([word.format(disk) for word in words], check=True)
            seconds = time.perf_counter() - began
        finally:
            mount.send_signal(signal.SIGINT)
    if mount.returncode:
        raise AssertionError(f"the mount ended with status {mount.returncode}")
    where.rmdir()
    return seconds
