"""The tools that the matrix needs, and what says so loudly where one is missing."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.disks import detach, run

_PACKAGES = {
    "casync": "casync",
    "partclone.ext4": "partclone",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "ntfs-3g": "ntfs-3g",
    "mkntfs": "ntfs-3g",
    "mkfs.vfat": "dosfstools",
    "mkfs.exfat": "exfatprogs",
    "mount.exfat-fuse": "exfat-fuse",
    "mcopy": "mtools",
    "fusermount3": "fuse3",
    "sfdisk": "fdisk",
    "vgcreate": "lvm2",
    "cryptsetup": "cryptsetup-bin",
}
OURS = f"rescue-matrix-{os.getpid()}-"
"""How the folders of mounts begin that this process made: other tests run at the same time."""
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def require(tools: Iterable[str] = tuple(_PACKAGES)) -> None:
    """Skip, naming every tool and package that is missing."""
    missing = [f"{tool} (package {_PACKAGES[tool]})" for tool in tools if shutil.which(tool, path=_PATH) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    kernel = Path("/proc/filesystems").read_text().split()
    unknown = [kind for kind in ("ext4", "xfs", "btrfs", "fuseblk") if kind not in kernel]
    if unknown:
        pytest.skip(f"this kernel has no {', '.join(unknown)}")


def said(*argv: object, accept: tuple[int, ...] = (0,)) -> str:
    """Run a checking tool; all that it said, or an AssertionError where its status is not in `accept`."""
    done = subprocess.run(
        [str(word) for word in argv],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8"},
        check=False,
        errors="replace",
    )
    if done.returncode not in accept:
        raise AssertionError(f"{argv}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a volume lies: in bytes of a disk file of `sector`-byte sectors."""

    path: Path
    start: int
    size: int
    sector: int = 512

    def on(self, path: Path) -> "Place":
        """The same place on another disk."""
        return Place(path=path, start=self.start, size=self.size, sector=self.sector)


@contextmanager
def attached(place: Place, *, read_only: bool = False) -> Iterator[str]:
    """A loop device over a volume; when it ends, all that was written is in the file."""
    mode = ["--read-only"] if read_only else []
    size = [f"--sizelimit={place.size}"] if place.size else []
    words = [*mode, *size, f"--offset={place.start}", f"--sector-size={place.sector}"]
    loop = run("losetup", "--find", "--show", *words, place.path).strip()
    try:
        yield loop
        run("blockdev", "--flushbufs", loop)
    finally:
        detach(loop)


@contextmanager
def mounted(command: Iterable[str], loop: str) -> Iterator[Path]:
    """A file system of a loop device, mounted by `command` with the device and a folder as its last words."""
    with TemporaryDirectory(prefix=OURS, ignore_cleanup_errors=True) as name:
        folder = Path(name, "mnt")
        folder.mkdir()
        said(*command, loop, folder)
        try:
            yield folder
        finally:
            said("umount", folder)


def copied(source: Path, target: Path) -> Path:
    """A sparse copy of a disk file."""
    run("cp", "--sparse=always", "--reflink=auto", source, target)
    return target
