"""What is used of an LVM physical volume: LVM's own data, and of each logical volume what is used of that.

Nothing is activated, neither device-mapper nor LVM's tools take part, and so nothing of the source changes. A logical
volume in one piece is mapped like a partition. One in several pieces has no place of its own that a tool could be
pointed at; what stands on it is recognised from a copy of its ends, and the caller says what is used of it.
"""

import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from imaging import lvm, lvmgroup
from imaging.blockdev import read
from imaging.disk import Content
from imaging.errors import IoError
from imaging.extents import Extents
from imaging.filesystems import probe
from imaging.lvmgroup import Placed
from imaging.manifest import InnerVolume

_MAPS_AT_ONCE = 4
_SAMPLED_HEAD = 4 << 20
_SAMPLED_TAIL = 1 << 20


class Mapped(Protocol):
    """What is used of a logical volume, as offsets from its start, who says so, and why all of it is, if it is."""

    @property
    def used(self) -> Extents: ...

    @property
    def origin(self) -> str: ...

    @property
    def note(self) -> str: ...


Mapper = Callable[[str, int, int, int, Content], Mapped]
"""Maps a volume that lies in one piece: path, descriptor, offset, size, content."""
ScatteredMapper = Callable[[lvm.Read, int, Content], Mapped]
"""Maps a volume by a function that reads it: the function, size, content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalMap:
    """The used bytes of a physical volume, as offsets from its start, and its logical volumes."""

    used: Extents
    inner: tuple[InnerVolume, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The physical volume: a range of the disk at `path`, open at `fd`."""

    path: str
    fd: int
    offset: int
    size: int

    def read(self, at: int, size: int) -> bytes:
        if at < 0 or size < 0 or at + size > self.size:
            raise IoError(f"LVM names {size} bytes at {at} of {self.size}", code="bad-lvm")
        return read(self.fd, size, self.offset + at)


class Scattered:
    """A logical volume in several pieces, read through the physical volume that they lie on."""

    __slots__ = ("_firsts", "_pieces", "_read", "_size")

    def __init__(self, physical: lvm.Read, pieces: tuple[tuple[int, int], ...]) -> None:
        """Take what reads the physical volume, and the pieces in the logical volume's own order."""
        self._read, self._pieces = physical, pieces
        # Where each piece begins in the logical volume: there may be thousands, and each read would walk them all.
        *self._firsts, self._size = accumulate((end - start for start, end in pieces), initial=0)

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes at `offset` of the logical volume; raises IoError beyond its end."""
        stop = offset + size
        if offset < 0 or stop > self._size:
            raise IoError(
                f"{size} bytes at {offset} lie beyond a logical volume of {self._size} bytes", code="read-failed"
            )
        parts = []
        for i in range(bisect_right(self._firsts, offset) - 1, bisect_left(self._firsts, stop)):
            (start, end), first = self._pieces[i], self._firsts[i]
            low, high = max(offset - first, 0) + start, min(stop - first + start, end)
            if low < high:
                parts.append(self._read(low, high - low))
        return b"".join(parts)


def physical_map(path: str, fd: int, offset: int, size: int, mapper: Mapper, scattered: ScatteredMapper) -> PhysicalMap:
    """Map the physical volume at `offset` of the disk at `path`; extents of no logical volume are not used.

    Raises IoError where its metadata are damaged or are not understood in full: then all of it has to be kept.
    """
    source = _Source(path=path, fd=fd, offset=offset, size=size)
    label = lvm.read_label(source.read, size)
    group = lvmgroup.parse_group(lvm.committed_text(source.read, label))
    pv = lvmgroup.physical_volume(group, label, size)
    placed = lvmgroup.placed_on(group, pv)
    with ThreadPoolExecutor(_MAPS_AT_ONCE) as pool:
        found = list(pool.map(lambda volume: _volume(source, volume, mapper, scattered), placed))
    # What lies before the first extent is small: the label, metadata, and what boot loaders put there.
    own = Extents([(0, pv.start), *label.metadata, *label.boot])
    return PhysicalMap(used=own.union(*(used for used, _ in found)), inner=tuple(inner for _, inner in found))


def _volume(source: _Source, volume: Placed, mapper: Mapper, scattered: ScatteredMapper) -> tuple[Extents, InnerVolume]:
    inner = partial(InnerVolume, name=volume.name, size=volume.size)
    taken = Extents(volume.taken)
    if volume.why:
        return taken, inner(used=taken.total, map_origin="whole", note=volume.why)
    pieces = volume.taken
    if len(pieces) == 1:
        start = source.offset + pieces[0][0]
        content = probe(source.path, start, volume.size)
        if content.kind == "LVM2_member":
            why = "a physical volume inside a logical one is not looked into"
            return taken, inner(used=taken.total, pieces=pieces, content=content, map_origin="whole", note=why)
        found = mapper(source.path, source.fd, start, volume.size, content)
    else:
        reader = Scattered(source.read, pieces)
        content = _sampled(reader.read, volume.size)
        found = scattered(reader.read, volume.size, content)
    used = to_physical(found.used, pieces)
    return used, inner(used=used.total, pieces=pieces, content=content, map_origin=found.origin, note=found.note)


def to_physical(used: Extents, pieces: tuple[tuple[int, int], ...]) -> Extents:
    """Move offsets in a logical volume to where its pieces, in its own order, lie in the physical one."""
    moved, at = [], 0
    for start, end in pieces:
        moved.append(used.clipped(at, at + end - start).shifted(start - at))
        at += end - start
    return Extents().union(*moved)


def _sampled(reader: lvm.Read, size: int) -> Content:
    """What stands on a volume that only a function can read: blkid looks at a sparse file with its ends in place."""
    with tempfile.TemporaryDirectory(prefix="rescue-sample-") as folder:
        path = Path(folder) / "sample"
        with path.open("wb") as file:
            file.write(reader(0, min(size, _SAMPLED_HEAD)))
            tail = max(0, size - _SAMPLED_TAIL)
            file.seek(tail)
            file.write(reader(tail, size - tail))
        return probe(str(path))
