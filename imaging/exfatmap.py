"""Which bytes of an exFAT volume are used, from its allocation bitmap.

Source: Microsoft's exFAT file system specification, sections 3 (boot regions), 4 (FAT), 6 and 7.1 (the bitmap's entry).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from imaging.bitmap import set_bits
from imaging.bounded import PIECE, Bounded, Read, bad_map
from imaging.extents import Extents

_BOOT_SECTORS = 11
_ENTRY = 32
_BITMAP = 0x81
_LAST = 0xFFFFFFFF
_LONGEST_FOLDER = 256 << 20
_MOST_PIECES = 1 << 18
_WINDOW = 4096
"""Bytes of the FAT that are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What the boot sector says, in bytes of the volume; clusters count from 2, as exFAT does."""

    fat: int
    heap: int
    """Where cluster 2 lies."""
    cluster: int
    clusters: int
    root: int
    """The root folder's first cluster."""

    def at(self, cluster: int) -> int:
        """Where a cluster lies."""
        return self.heap + (cluster - 2) * self.cluster


def used(read: Read, size: int) -> Extents:
    """What is used of a volume of `size` bytes; raises IoError (code "bad-map") where anything does not add up."""
    volume = Bounded(read=read, size=size)
    layout = _layout(volume)
    chains = _Chains(volume, layout)
    root, (first, length) = _find_bitmap(volume, layout, chains)
    if length != -(-layout.clusters // 8):
        raise bad_map(f"its allocation bitmap has {length} bytes for {layout.clusters} clusters")
    bitmap = list(islice(_pieces(layout, chains.follow(first, -(-length // layout.cluster))), _MOST_PIECES + 1))
    if len(bitmap) > _MOST_PIECES:
        raise bad_map(f"its allocation bitmap has more than {_MOST_PIECES} pieces")
    found = Extents.rising(_ranges(volume, layout, bitmap))
    # The bitmap was read where it says itself that it lies: it has to agree.
    own = Extents([*bitmap, *((layout.at(c), layout.at(c) + layout.cluster) for c in root)])
    if own.minus(found):
        raise bad_map("its allocation bitmap shows as free where it lies itself, or the root folder")
    return found


def _layout(volume: Bounded) -> _Layout:
    boot = volume(0, 512)
    sectors, fat, fat_length, heap, clusters, root = struct.unpack_from("<QIIIII", boot, 0x48)
    shift, per_cluster, fats = boot[0x6C:0x6F]
    sector = 1 << shift
    if boot[3:11] != b"EXFAT   " or not 9 <= shift <= 12 or per_cluster > 25 - shift:
        raise bad_map("its boot sector makes no sense")
    if fats != 1:
        raise bad_map(f"it has {fats} file allocation tables: which one counts is not known here")
    cluster = sector << per_cluster
    if (
        sectors * sector > volume.size
        or not 24 <= fat <= fat + fat_length <= heap
        or fat_length * sector < 4 * (clusters + 2)
        or heap * sector + clusters * cluster > sectors * sector
        or not 2 <= root <= clusters + 1
    ):
        raise bad_map(f"its boot sector makes no sense: {sectors} sectors, {clusters} clusters of {cluster} bytes")
    stored = volume(_BOOT_SECTORS * sector, 4)
    if _boot_checksum(volume(0, _BOOT_SECTORS * sector)) != int.from_bytes(stored, "little"):
        raise bad_map("its boot region does not match its checksum")
    return _Layout(fat=fat * sector, heap=heap * sector, cluster=cluster, clusters=clusters, root=root)


def _boot_checksum(region: bytes) -> int:
    """Of all but the flags and the share in use, which change (section 3.4)."""
    total = 0
    for i, byte in enumerate(region):
        if i not in (106, 107, 112):
            total = ((total << 31 | total >> 1) + byte) & 0xFFFFFFFF
    return total


class _Chains:
    """Chains of clusters, as the FAT has them."""

    def __init__(self, volume: Bounded, layout: _Layout) -> None:
        self._volume = volume
        self._layout = layout
        self._at = -1
        self._window = b""

    def follow(self, first: int, most: int, *, exact: bool = True) -> Iterator[int]:
        """The clusters of a chain of `most` clusters, or of no more than that; raises IoError where it has others."""
        cluster, count = first, 0
        while cluster != _LAST:
            count += 1
            if count > most or not 2 <= cluster <= self._layout.clusters + 1:
                raise bad_map(f"a chain of clusters from {first} leads in a circle, or nowhere: {cluster}")
            yield cluster
            cluster = self._next(cluster)
        if exact and count != most:
            raise bad_map(f"a chain from cluster {first} has {count} clusters, not {most}")

    def _next(self, cluster: int) -> int:
        at = 4 * cluster // _WINDOW * _WINDOW
        if at != self._at:
            length = min(_WINDOW, 4 * (self._layout.clusters + 2) - at)
            self._window, self._at = self._volume(self._layout.fat + at, length), at
        found: int = struct.unpack_from("<I", self._window, 4 * cluster - at)[0]
        return found


def _find_bitmap(volume: Bounded, layout: _Layout, chains: _Chains) -> tuple[list[int], tuple[int, int]]:
    """The root folder's clusters up to where its entries end, and the bitmap's first cluster and length in bytes."""
    found: list[tuple[int, int]] = []
    root: list[int] = []
    most = min(layout.clusters, max(1, _LONGEST_FOLDER // layout.cluster))
    for cluster in chains.follow(layout.root, most, exact=False):
        root.append(cluster)
        data = volume(layout.at(cluster), layout.cluster)
        kinds = data[::_ENTRY].partition(b"\0")[0]
        at = kinds.find(_BITMAP)
        while at >= 0 and len(found) < 2:
            found.append(struct.unpack_from("<IQ", data, _ENTRY * at + 20))
            at = kinds.find(_BITMAP, at + 1)
        if len(kinds) < layout.cluster // _ENTRY:
            break
    if len(found) != 1:
        raise bad_map(f"its root folder names {'several allocation bitmaps' if found else 'no allocation bitmap'}")
    return root, found[0]


def _pieces(layout: _Layout, clusters: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Where the clusters lie, with those that follow each other joined."""
    start = end = 0
    for cluster in clusters:
        at = layout.at(cluster)
        if at != end:
            if end:
                yield start, end
            start = at
        end = at + layout.cluster
    yield start, end


def _ranges(volume: Bounded, layout: _Layout, bitmap: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The used ranges, rising: what lies before the clusters and behind them, and those that are allocated."""
    yield 0, layout.heap
    done = 0
    for start, end in bitmap:
        for at in range(start, end, PIECE):
            data = volume(at, min(PIECE, end - at))
            count = min(8 * len(data), layout.clusters - done)
            for low, high in set_bits(data, count):
                base = layout.heap + done * layout.cluster
                yield base + low * layout.cluster, base + high * layout.cluster
            done += count
    yield layout.heap + layout.clusters * layout.cluster, volume.size
