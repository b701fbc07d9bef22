"""The disk that is measured with: how it is made, and how a small part of its files' bytes comes to differ."""

import fcntl
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.disks import MIB, blank, looped, partition, run

FIRST = 1 * MIB
"""Where the partition begins."""
_BLOCK = 4096
_FIEMAP = 0xC020660B
"""FS_IOC_FIEMAP. Source: linux/fs.h, linux/fiemap.h."""
_HEAD = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQQQIIII")
_MOST_EXTENTS = 64
_NOT_IN_PLACE = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x800
"""Flags of extents that have no place, are encoded, shared with metadata or not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A disk file with one ext4 partition; `used` is bytes, `data` are offsets of blocks that hold files' data."""

    path: Path
    size: int
    used: int
    data: tuple[int, ...]

    @property
    def volume_size(self) -> int:
        """Bytes of the partition."""
        return volume_size(self.size)


def volume_size(disk_size: int) -> int:
    """Bytes of the partition of a disk of so many bytes."""
    return disk_size - FIRST - MIB


def disk_size(used: int) -> int:
    """Bytes of a disk that `used` bytes of files fill to a bit more than a half."""
    return -(-used * 16 // 9 // (256 * MIB)) * 256 * MIB


def build(path: Path, tree: Path, size: int, used: int, *, lazy: bool = False, usage: str = "") -> Source:
    """A disk with one ext4 partition that holds `used` bytes of files, copied from `tree`.

    With `lazy` the inode tables stay unwritten, as on a disk that was formatted a moment ago. `usage` is a type of
    mke2fs.conf(5), which decides how many inodes there are.
    """
    blank(path, size)
    partition(path, f"label: gpt\nstart={FIRST // 512}, size={volume_size(size) // 512}\n")
    mode = 1 if lazy else 0
    words = ["-E", f"lazy_itable_init={mode},lazy_journal_init={mode}", *(["-T", usage] if usage else [])]
    with looped(path, FIRST, volume_size(size)) as loop:
        run("mkfs.ext4", "-q", *words, loop)
    with mounted(path, path.with_suffix(".mnt")) as where:
        copied = 0
        while copied < used:  # a small tree is copied more than once
            more = copy_tree(tree, where / f"copy{copied}", used - copied)
            if not more:
                raise SystemExit(f"{tree} holds no files to fill a disk with")
            copied += more
        os.sync()
        data = tuple(sorted(FIRST + at for at in data_blocks(where)))
        filled = shutil.disk_usage(where).used
    return Source(path=path, size=size, used=filled, data=data)


@contextmanager
def mounted(path: Path, where: Path) -> Iterator[Path]:
    """The disk's one partition, mounted for filling it; the kernel writes no inode tables behind our back."""
    where.mkdir(exist_ok=True)
    with looped(path, FIRST, volume_size(path.stat().st_size)) as loop:
        run("mount", "-o", "noinit_itable", loop, where)
        try:
            yield where
        finally:
            run("umount", where)


def copy_tree(tree: Path, to: Path, budget: int) -> int:
    """Copy regular files of a tree until `budget` bytes are copied; returns how many were."""
    copied = 0
    for folder, _, names in os.walk(tree):
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            target = to / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            copied += path.stat().st_size
            if copied >= budget:
                return copied
    return copied


def data_blocks(folder: Path) -> Iterator[int]:
    """Where on their volume files' data lie: a block at each extent's start and at each MiB of it.

    Changing these changes files and not the file system, so that it stays one that can be read.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            for start, length in _extents(path):
                yield from range(start, start + length - _BLOCK + 1, MIB)


def _extents(path: Path) -> list[tuple[int, int]]:
    """A file's first extents: `(offset on the volume, length)`."""
    request = bytearray(_HEAD.size + _EXTENT.size * _MOST_EXTENTS)
    _HEAD.pack_into(request, 0, 0, (1 << 64) - 1, 1, 0, _MOST_EXTENTS, 0)
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _FIEMAP, request)
    finally:
        os.close(fd)
    count = _HEAD.unpack_from(request)[3]
    found = []
    for i in range(count):
        _, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(request, _HEAD.size + _EXTENT.size * i)
        if not flags & _NOT_IN_PLACE:
            found.append((physical, length))
    return found


def choose(data: Sequence[int], chunk_of: Callable[[int], int], busy: int, seed: int, share: float = 0.02) -> list[int]:
    """Blocks to change: one in each of `share` of the `busy` chunks, at random by the seed, rising.

    `data` are the blocks that may be changed, `chunk_of` tells a block's chunk. Raises ValueError where they lie in
    too few chunks.
    """
    pick = random.Random(seed)
    by_chunk: dict[int, list[int]] = {}
    for at in data:
        by_chunk.setdefault(chunk_of(at), []).append(at)
    count = max(1, round(busy * share))
    if count > len(by_chunk):
        raise ValueError(f"data lie in {len(by_chunk)} chunks, {count} are to be changed")
    return sorted(pick.choice(by_chunk[chunk]) for chunk in pick.sample(sorted(by_chunk), count))


@contextmanager
def changed(path: Path, blocks: Iterable[int], seed: int) -> Iterator[None]:
    """Other bytes in these blocks of a disk; what was there comes back at the end."""
    with path.open("r+b", buffering=0) as file:
        before = {at: os.pread(file.fileno(), _BLOCK, at) for at in blocks}
        try:
            change(path, before, seed)
            yield
        finally:
            for at, data in before.items():
                os.pwrite(file.fileno(), data, at)


def change(path: Path, blocks: Iterable[int], seed: int) -> None:
    """Other bytes in these blocks of a disk, for good."""
    fill = random.Random(seed)
    with path.open("r+b", buffering=0) as file:
        for at in blocks:
            os.pwrite(file.fileno(), fill.randbytes(_BLOCK), at)
