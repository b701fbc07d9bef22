"""A FAT volume made anew in memory, for sectors of another size: the same files, label and id. No disk is written to.

FAT counts in its own sectors, which have to be those of the disk: neither Linux nor UEFI mounts another one there. With
larger sectors come larger clusters, and with fewer clusters, by the specification, tables of fewer bits: of FAT32 FAT16
can become, where no smaller clusters keep it what it was. mkfs.fat makes it, empty; the records are brought over as
they are (imaging.fattree), and all of it is read again and compared with the old one.
Sources: Microsoft's FAT specification (1.03), mkfs.fat(8), Linux fs/fat/inode.c, edk2 FatPkg.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

from imaging.blockdev import read
from imaging.bounded import Bounded, Read
from imaging.errors import IoError, RefusedError
from imaging.extents import Extents
from imaging.fatfiles import FatShape, FatVolume
from imaging.fatfill import Filling, clusters_needed, info_places, kind_for, told
from imaging.fattree import RECORD, Item, proof, read_tree
from imaging.overlay import most_written
from imaging.resectoring import MAKES_FAT
from imaging.run import run
from imaging.usedmap import HEAD, TAIL

_BOOT = 512
_MOST_CLUSTER = 128
"""Sectors."""
_ROOT_RECORDS = 512
_MOST_HIDDEN = 0xFFFFFFFF
"""Of the sectors before it, which nobody counts where they are so many."""
_KINDS = (32, 16, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltFat:
    """A FAT volume that was made anew: `file` reads as it is, offsets count from the volume's start.

    `old_size` bytes of the partition were the old volume's; `used` is what has to be written of them.
    """

    file: int
    old_size: int
    used: Extents


@contextmanager
def rebuilt(read_old: Read, size: int, start: int, sector: int) -> Iterator[RebuiltFat]:
    """Make the FAT of a partition of `size` bytes, at byte `start` of its disk, anew for such sectors.

    It takes as much memory as its files have, until the context ends. Raises RefusedError (code
    "cannot-rebuild") with the reason, and what reading raises.
    """
    old = Bounded(read=read_old, size=size)
    try:
        volume = FatVolume(old)
        _refuse_unequal(volume, old)
        tree = read_tree(volume)
    except IoError as error:
        if error.code != "bad-map":
            raise
        raise _cannot(f"its file system is not in order: {error.message}") from error
    shape = volume.shape
    tables = shape.copies * shape.table
    if tables + clusters_needed(tree, shape.cluster, root=True) * shape.cluster > most_written():
        raise _cannot("its files take more memory than is free")
    held = min(shape.size, size)
    file = os.memfd_create("rescue-fat", os.MFD_CLOEXEC)
    try:
        new = _empty(file, held, shape, tree, start, sector)
        end = _fill(file, new, volume, old, tree)
        if proof(tree, old) != _proof(file, new.shape.size):
            raise _cannot("the new file system does not hold what the old one does")
        # What the old one had beyond the last whole sector is zero: nothing else is written there.
        os.ftruncate(file, held)
        whole = Extents([(0, end), (0, HEAD), (max(0, size - TAIL), size)])
        yield RebuiltFat(file=file, old_size=held, used=whole.clipped(0, held))
    finally:
        os.close(file)


def _refuse_unequal(volume: FatVolume, old: Bounded) -> None:
    """Where the tables differ nobody knows which of them is right."""
    shape = volume.shape
    if not shape.mirrored:
        raise _cannot("only one of its tables is in use")
    first, *others = (shape.tables_at + i * shape.table for i in range(shape.copies))
    used = min(shape.table, -(-(shape.clusters + 2) * shape.bits // 8))
    for other in others:
        for at in range(0, used, 1 << 20):
            length = min(1 << 20, used - at)
            # The first two entries tell if it was unmounted, which Linux notes in one table alone.
            skip = shape.bits // 4 if not at else 0
            if old(first + at, length)[skip:] != old(other + at, length)[skip:]:
                raise _cannot("its file system is not in order: its two tables differ")


def _empty(file: int, size: int, old: FatShape, tree: Sequence[Item], start: int, sector: int) -> FatVolume:
    """An empty volume of `size` bytes, with room for the tree."""
    size = size // sector * sector
    cluster = min(max(old.cluster, sector), _MOST_CLUSTER * sector)
    each = sector // RECORD
    root = max(_ROOT_RECORDS, -(-len(tree) // each) * each)
    full = ""
    # The kind that it was, if need be with smaller clusters: not all firmware takes any kind for its own partition.
    for bits, per_cluster in product(sorted(_KINDS, key=lambda one: one != old.bits), _halves(cluster // sector)):
        kind = ["-F", bits] if bits == 32 else ["-F", bits, "-r", root]
        shape = ["-S", sector, "-s", per_cluster, "-f", old.copies, *kind]
        words = [*shape, "-h", min(start // sector, _MOST_HIDDEN), "-i", f"{old.volume_id or 0:08x}"]
        made = _made(file, size, [str(word) for word in words])
        if made is None or not made.shape.bits == bits == kind_for(made.shape.clusters):
            continue
        cluster = made.shape.cluster
        if (takes := clusters_needed(tree, cluster, root=bits == 32)) <= made.shape.clusters:
            return made
        full = (
            f"with sectors of {sector} bytes its files take {takes * cluster} bytes, and it has room for"
            f" {made.shape.clusters * cluster}"
        )
    raise _cannot(full or f"no FAT of {size} bytes can have sectors of {sector}")


def _halves(most: int) -> Sequence[int]:
    """A count of sectors, and what it is halved to, down to one."""
    return [most >> by for by in range(most.bit_length())]


def _made(file: int, size: int, words: Sequence[str]) -> FatVolume | None:
    """What mkfs.fat makes of `size` empty bytes when it is told so; None where it cannot."""
    os.ftruncate(file, 0)
    os.ftruncate(file, size)
    if run([MAKES_FAT, *words, f"/proc/self/fd/{file}"], accept=range(256), keep=(file,)).status:
        return None
    try:
        made = FatVolume(_bounded(file, size))
    except IoError:
        return None
    return made if made.shape.size <= size else None


def _fill(file: int, new: FatVolume, volume: FatVolume, old: Bounded, tree: Sequence[Item]) -> int:
    """Bring all of the tree; where what has to be written ends."""
    shape = new.shape

    def write(at: int, data: bytes) -> None:
        os.pwrite(file, data, at)

    end = Filling(new, old, write).fill(tree)
    boot = read(file, _BOOT, 0)
    info_at, backup_at = info_places(boot, shape.sector) if shape.bits == 32 else (0, 0)
    used = (end - shape.data) // shape.cluster
    boot, info = told(boot, read(file, _BOOT, info_at), volume.shape, shape, used)
    if shape.bits == 32:
        for at in (info_at, backup_at + info_at):
            write(at, info)
        write(backup_at, boot)
    write(0, boot)
    return end


def _bounded(file: int, size: int) -> Bounded:
    return Bounded(read=lambda at, count: read(file, count, at), size=size)


def _proof(file: int, size: int) -> bytes:
    volume = _bounded(file, size)
    return proof(read_tree(FatVolume(volume)), volume)


def _cannot(why: str) -> RefusedError:
    return RefusedError(why, code="cannot-rebuild")
