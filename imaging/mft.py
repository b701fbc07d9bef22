"""The master file table of an NTFS volume: its records, their attributes, and where the data of a file lie.

Sources: the layouts that Linux documents in fs/ntfs3/ntfs.h, fs/ntfs3/run.c (mapping pairs) and fs/ntfs3/attrlist.c.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from imaging.bounded import Bounded

ATTRIBUTE_LIST, VOLUME_INFORMATION, DATA = 0x20, 0x70, 0x80
_END = 0xFFFFFFFF
_IN_USE = 0x1
_MANGLED = 0xC0FF
"""Compressed, encrypted or sparse."""
_LONGEST_LIST = 256 << 10
"""Bytes; Windows allows no longer list of attributes."""
_SHORTEST_ENTRY = 0x1A
_REFERENCE = (1 << 48) - 1
"""The number of a record in a reference to it; above that counts how often it was used anew."""
_MOST_RUNS = 1 << 18
_STRIDE = 512
"""What the update sequence guards, whatever the sector size."""


class Runs:
    """Where a file lies, run by run in the file's order; 24 bytes a run, for there may be very many."""

    def __init__(self, most: int) -> None:
        """`most` is how many clusters the volume has; no run may reach beyond them, and no file has more."""
        self._most = most
        self._before = array("Q")
        self._first = array("Q")
        self._count = array("Q")
        self.clusters = 0
        """Clusters of the file so far."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._first, self._count, strict=True)

    def add(self, cluster: int, count: int) -> None:
        """Go on with `count` clusters from `cluster`; raises ValueError where that cannot be."""
        if not (cluster >= 0 and count > 0 and max(cluster, self.clusters) + count <= self._most):
            raise ValueError(f"a file of its own has {count} clusters at cluster {cluster}")
        if len(self._count) == _MOST_RUNS:
            raise ValueError(f"a file of its own has more than {_MOST_RUNS} pieces")
        self._before.append(self.clusters)
        self._first.append(cluster)
        self._count.append(count)
        self.clusters += count

    def places(self, at: int, size: int, cluster: int) -> Iterator[tuple[int, int]]:
        """Where bytes of the file lie, `(start, size)` in bytes of the volume, of clusters of so many bytes."""
        if at + size > self.clusters * cluster:
            raise ValueError(f"a file of its own ends before byte {at + size}")
        i = bisect_right(self._before, at // cluster) - 1
        while size > 0:
            inside = at - self._before[i] * cluster
            length = min(size, self._count[i] * cluster - inside)
            yield self._first[i] * cluster + inside, length
            at, size, i = at + length, size - length, i + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What the boot sector says; sizes in bytes."""

    sector: int
    cluster: int
    record: int
    table: int
    """Where the master file table begins."""
    sectors: int
    """Of the volume, without the copy of the boot sector that follows them."""


def geometry(boot: bytes) -> Geometry:
    """Parse a boot sector; raises ValueError where it makes no sense."""
    sector, per_cluster = struct.unpack_from("<HB", boot, 0x0B)
    cluster: int = sector * (per_cluster if per_cluster <= 0x80 else 1 << (256 - per_cluster))
    size = struct.unpack_from("<b", boot, 0x40)[0]
    record = 1 << -size if size < 0 else size * cluster
    if not (512 <= record <= 1 << 16 and 512 <= cluster <= 1 << 21):
        raise ValueError(f"records of {record} bytes in clusters of {cluster}")
    sectors, first = struct.unpack_from("<QQ", boot, 0x28)
    return Geometry(sector=sector, cluster=cluster, record=record, table=first * cluster, sectors=sectors)


def mended(record: bytes) -> bytes:
    """Put back the last two bytes of each sector, which NTFS keeps apart to notice torn writes.

    Raises ValueError where this is no record, or a torn one.
    """
    if record[:4] != b"FILE":
        raise ValueError("there is no file record where its own should be")
    at, count = struct.unpack_from("<HH", record, 4)
    if count != len(record) // _STRIDE + 1 or at + 2 * count > len(record):
        raise ValueError("a file record of its own is not whole")
    whole, number = bytearray(record), record[at : at + 2]
    for i in range(1, count):
        if record[_STRIDE * i - 2 : _STRIDE * i] != number:
            raise ValueError("a file record of its own was torn while it was written")
        whole[_STRIDE * i - 2 : _STRIDE * i] = record[at + 2 * i : at + 2 * i + 2]
    return bytes(whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of a record; `body` is all of it."""

    kind: int
    body: bytes

    @property
    def resident(self) -> bool:
        """Whether its value lies in the record."""
        return not self.body[8]

    @property
    def named(self) -> bool:
        """Whether it is another stream than the main one."""
        return bool(self.body[9])

    @property
    def first(self) -> int:
        """The first of the file's clusters that this part of it maps."""
        return int(struct.unpack_from("<Q", self.body, 0x10)[0])

    def value(self) -> bytes:
        """The value that lies in the record."""
        length, at = struct.unpack_from("<IH", self.body, 0x10)
        if at + length > len(self.body):
            raise ValueError("an attribute's value is cut short")
        return self.body[at : at + length]

    def sizes(self) -> tuple[int, int]:
        """Bytes of the data, and how many of them were ever written."""
        size, written = struct.unpack_from("<QQ", self.body, 0x30)
        return size, written

    def add_runs(self, to: Runs) -> None:
        """Go on with this part of the file; raises ValueError where it is compressed, sparse or does not decode."""
        flags, last, at = *struct.unpack_from("<H", self.body, 0x0C), *struct.unpack_from("<QH", self.body, 0x18)
        if self.resident or flags & _MANGLED or self.first != to.clusters:
            raise ValueError("a file of its own is compressed, sparse, or not whole")
        cluster = 0
        while self.body[at]:
            lengths, offsets = self.body[at] & 0xF, self.body[at] >> 4
            pair = self.body[at + 1 : at + 1 + lengths + offsets]
            if not (1 <= lengths <= 8 and 1 <= offsets <= 8):
                raise ValueError("a file of its own has runs that do not decode")
            cluster += int.from_bytes(pair[lengths:], "little", signed=True)
            to.add(cluster, int.from_bytes(pair[:lengths], "little"))
            at += 1 + lengths + offsets
        if to.clusters != last + 1:
            raise ValueError(f"runs of {to.clusters} clusters where {last + 1} should be")


def attributes(record: bytes) -> Iterator[Attribute]:
    """The attributes of a mended record."""
    at, end = struct.unpack_from("<H", record, 0x14)[0], min(len(record), struct.unpack_from("<I", record, 0x18)[0])
    while at + 8 <= end:
        kind, length = struct.unpack_from("<II", record, at)
        if kind == _END:
            return
        if length < 0x18 or at + length > end:
            raise ValueError(f"an attribute of {length} bytes at byte {at} of a record")
        yield Attribute(kind=kind, body=record[at : at + length])
        at += length
    raise ValueError("a record's attributes do not end")


def main_data(record: bytes, first: int = 0) -> Attribute:
    """The part of a file's main data that begins with its cluster `first`; raises ValueError where it is not here."""
    for found in attributes(record):
        if found.kind == DATA and not found.named and (found.resident or found.first == first):
            return found
    raise ValueError("a file record of its own names no data")


class Table:
    """The master file table: it is found through its own first record."""

    def __init__(self, volume: Bounded, shape: Geometry) -> None:
        """Raises IoError, ValueError, struct.error or IndexError where it makes no sense."""
        self._volume = volume
        self._shape = shape
        self.clusters = shape.sectors * shape.sector // shape.cluster
        self.runs = Runs(self.clusters)
        main_data(mended(volume(shape.table, shape.record))).add_runs(self.runs)
        _, self.runs = self.data(0)

    def record(self, number: int, base: int = 0) -> bytes:
        """A record in use, mended; `base` is the record that it belongs to where it is not a file's first."""
        places = self.runs.places(number * self._shape.record, self._shape.record, self._shape.cluster)
        record = mended(b"".join(self._volume(at, size) for at, size in places))
        if not struct.unpack_from("<H", record, 0x16)[0] & _IN_USE:
            raise ValueError(f"its file record {number} is not in use")
        if struct.unpack_from("<Q", record, 0x20)[0] & _REFERENCE != base:
            raise ValueError(f"its file record {number} belongs to another file")
        return record

    def data(self, number: int) -> tuple[tuple[int, int], Runs]:
        """The sizes of a file's main data (as Attribute.sizes), and where they lie.

        Several records may map them, which an attribute list names; those of the table itself it names in an order
        in which each is found by the ones before.
        """
        record, runs, sizes = self.record(number), Runs(self.clusters), (0, 0)
        for first, holder in self._listed(record) or [(0, number)]:
            part = main_data(record if holder == number else self.record(holder, number), first)
            sizes = sizes if first else part.sizes()
            part.add_runs(runs)
            if number == 0:
                self.runs = runs
        return sizes, runs

    def _listed(self, record: bytes) -> list[tuple[int, int]]:
        """The main data's parts by an attribute list, first cluster and record of each; nothing without a list."""
        found: list[tuple[int, int]] = []
        for listing in (a for a in attributes(record) if a.kind == ATTRIBUTE_LIST):
            data, at = self._value(listing), 0
            while at < len(data):
                kind, length, named = struct.unpack_from("<IHB", data, at)
                first, holder = struct.unpack_from("<QQ", data, at + 8)
                if length < _SHORTEST_ENTRY:
                    raise ValueError(f"an entry of {length} bytes in a list of attributes")
                if kind == DATA and not named:
                    found.append((first, holder & _REFERENCE))
                at += length
        return sorted(found)

    def _value(self, listing: Attribute) -> bytes:
        if listing.resident:
            return listing.value()
        size, runs = listing.sizes()[0], Runs(self.clusters)
        if size > _LONGEST_LIST:
            raise ValueError(f"a list of attributes has {size} bytes")
        listing.add_runs(runs)
        return b"".join(self._volume(at, length) for at, length in runs.places(0, size, self._shape.cluster))
