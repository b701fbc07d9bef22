"""What is mounted by ntfs-3g is gone with whoever used it, however that ended: nothing is left that hangs."""

import multiprocessing
import os
import signal
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from imaging import blockdev, ntfsmount
from tests.disks import MIB, blank, lines_of
from tests.faults.world import told_of_processes, until
from tests.matrix.tools import require, said

pytestmark = pytest.mark.root
SIZE = 16 * MIB
_ROUNDS = 2


def use(disk: Path, told: Connection) -> None:
    """Write to a volume, say by which process it is served, and wait to be killed."""
    file = os.open(disk, os.O_RDWR)
    with (
        blockdev.loop_over(file, offset=0, size=SIZE, sector=512, writable=True) as loop,
        ntfsmount.mounted(loop, writable=True) as mount,
    ):
        out = os.open("written", os.O_WRONLY | os.O_CREAT, dir_fd=mount)
        os.write(out, bytes(MIB))
        told.send((server_of(loop), loop))
        signal.pause()


def server_of(loop: str) -> int:
    """The ntfs-3g that has a device mounted."""
    for file, line in told_of_processes().items():
        words = line.split(b"\0")
        if words[0] == b"ntfs-3g" and loop.encode() in words:
            return int(file.parent.name)
    raise AssertionError(f"nobody has {loop} mounted")


def kinds_of(server: int, loop: str) -> set[str]:
    """As what kinds of file system a device is mounted where a process is."""
    ends = [line.split(" - ")[1].split(" ") for line in lines_of(Path(f"/proc/{server}/mountinfo"))]
    return {kind for kind, source, *_ in ends if source == loop}


def gone(path: Path) -> bool:
    """Whether nothing is there any more."""
    return not path.exists()


@pytest.mark.parametrize("victims", ["user", "server", "both"])
def test_a_kill_leaves_nothing_that_hangs(tmp_path: Path, victims: str) -> None:
    require()
    disk = blank(tmp_path / "volume.img", SIZE)
    said("mkntfs", "-Q", "-q", "-F", str(disk))
    spawning: Any = multiprocessing.get_context("spawn")
    for _ in range(_ROUNDS):
        here, there = spawning.Pipe()
        user = spawning.Process(target=use, args=(disk, there))
        user.start()
        there.close()  # it has its own: where it ends before it has said anything, nobody waits for that
        server, loop = here.recv()
        assert kinds_of(server, loop) == {"fuse"}, "one of the kind fuseblk may wait for itself, and sync(2) for it"
        for pid in {"user": [user.pid], "server": [server], "both": [server, user.pid]}[victims]:
            os.kill(pid, signal.SIGKILL)
        if victims == "server":
            user.kill()
        user.join()
        served = Path(f"/proc/{server}")
        until(partial(gone, served), what="the end of ntfs-3g")
        os.sync()
