"""The files of a small FAT12, FAT16 or FAT32 volume, such as an EFI system partition; nothing is mounted.

Source: Microsoft's FAT specification (1.03). Offsets and sizes are bytes of the volume.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imaging.bounded import Bounded, bad_map

_MOST_ENTRIES = 4096
_MOST_TABLE = 64 << 20
_DEEPEST = 8
_FOLDER, _LABEL, _LONG = 0x10, 0x08, 0x0F
_DELETED = 0xE5
_TOLD = 0x29
"""Stands before the volume's id and its label."""
_SINGLE_TABLE = 0x80
_FROM_LOWER = (0x08, 0x10)
"""Bits by which Windows marks that the name, or what follows its dot, is in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FatFile:
    """One file: its path, its size, and the first cluster of its data."""

    path: str
    size: int
    cluster: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FatShape:
    """What the boot sector of a FAT volume says, in bytes, but for `clusters` and `bits`, the width of an entry."""

    sector: int
    cluster: int
    clusters: int
    bits: int
    tables_at: int
    table: int
    """Bytes of one of the tables, with what has no meaning at its end."""
    copies: int
    root_at: int
    root_size: int
    """Bytes of the root folder where it has a place of its own; 0 where it is a chain of clusters, as in FAT32."""
    root_cluster: int
    data: int
    """Where the first cluster lies."""
    size: int
    mirrored: bool
    """Whether all tables are to be equal; else one of them counts."""
    volume_id: int | None
    label: bytes
    """The 11 bytes of the boot sector; the root folder may say something else. Empty where there is no room for it."""


def fat_shape(boot: bytes, size: int) -> FatShape:
    """Parse the boot sector (512 bytes) of a volume of `size` bytes; raises IoError (code "bad-map")."""
    sector, per_cluster, reserved, copies, root_entries, sectors, _, length = struct.unpack_from(
        "<HBHBHHBH", boot, 0x0B
    )
    sectors = sectors or struct.unpack_from("<I", boot, 0x20)[0]
    wide = length == 0
    length = length or struct.unpack_from("<I", boot, 0x24)[0]
    if sector not in (512, 1024, 2048, 4096) or not per_cluster or not reserved or not copies or not length:
        raise bad_map("its boot sector makes no sense")
    cluster, root_at, root_size = sector * per_cluster, (reserved + copies * length) * sector, 32 * root_entries
    data = root_at + -(-root_size // sector) * sector
    clusters = (min(sectors * sector, size) - data) // cluster
    if clusters < 1 or length * sector > _MOST_TABLE:
        raise bad_map("its boot sector makes no sense")
    told_at = 0x42 if wide else 0x26
    told = boot[told_at] == _TOLD
    return FatShape(
        sector=sector,
        cluster=cluster,
        clusters=clusters,
        bits=32 if wide else 12 if clusters < 4085 else 16,
        tables_at=reserved * sector,
        table=length * sector,
        copies=copies,
        root_at=root_at,
        root_size=root_size,
        root_cluster=int.from_bytes(boot[0x2C:0x30], "little") if wide else 0,
        data=data,
        size=sectors * sector,
        mirrored=not (wide and boot[0x28] & _SINGLE_TABLE),
        volume_id=int.from_bytes(boot[told_at + 1 : told_at + 5], "little") if told else None,
        label=boot[told_at + 5 : told_at + 16] if told else b"",
    )


class FatVolume:
    """A FAT volume that is only read."""

    def __init__(self, volume: Bounded) -> None:
        """Read the boot sector and the table; raises IoError (code "bad-map") where they make no sense."""
        self.shape = shape = fat_shape(volume(0, 512), volume.size)
        self._volume = volume
        used = min(shape.table, -(-(shape.clusters + 2) * shape.bits // 8))
        self._table = volume(shape.tables_at, used)

    def files(self) -> dict[str, FatFile]:
        """All files, by their paths; raises IoError (code "bad-map")."""
        found: dict[str, FatFile] = {}
        waiting = [("", self.shape.root_cluster, 0)]
        seen: set[int] = set()
        looked_at = 0
        while waiting:
            path, cluster, depth = waiting.pop()
            if cluster in seen or depth > _DEEPEST:
                raise bad_map("its folders lead in a circle, or too deep")
            seen.add(cluster)
            for name, record in self._entries(cluster, root=depth == 0):
                looked_at += 1
                if looked_at > _MOST_ENTRIES:
                    raise bad_map(f"it holds more than {_MOST_ENTRIES} files")
                high, low, size = struct.unpack_from("<H4xHI", record, 20)
                first = low | (high << 16 if self.shape.bits == 32 else 0)
                inner = f"{path}/{name}" if path else name
                if record[11] & _FOLDER:
                    waiting.append((inner, first, depth + 1))
                else:
                    found[inner] = FatFile(path=inner, size=size, cluster=first)
        return found

    def pieces(self, file: FatFile) -> Iterator[bytes]:
        """The bytes of a file, by clusters; raises IoError (code "bad-map") where its chain ends early."""
        for at, size in self.ranges(file):
            yield self._volume(at, self.shape.cluster)[:size]

    def ranges(self, file: FatFile) -> Iterator[tuple[int, int]]:
        """Where the bytes of a file lie, `(offset, size)`; raises as `pieces`."""
        left = file.size
        for cluster in self.chain(file.cluster) if left else ():
            size = min(left, self.shape.cluster)
            left -= size
            yield self.place(cluster), size
            if not left:
                return
        if left:
            raise bad_map(f"{file.path} ends {left} bytes early")

    def _entries(self, cluster: int, *, root: bool) -> Iterator[tuple[str, bytes]]:
        """Name and record of each entry of a folder."""
        long: dict[int, bytes] = {}
        for record in self.records(cluster, root=root):
            if record[0] == 0:
                return
            if record[0] == _DELETED:
                long.clear()
            elif record[11] & 0x3F == _LONG:
                long[record[0] & 0x3F] = record[1:11] + record[14:26] + record[28:32]
            else:
                name = _long_name(long) or _short_name(record)
                long = {}
                if not record[11] & _LABEL and name not in (".", ".."):
                    yield name, record

    def records(self, cluster: int, *, root: bool) -> Iterator[bytes]:
        """The records of a folder that begins at a cluster, 32 bytes each, those that are not in use as well."""
        if root and self.shape.root_size:
            places = [(self.shape.root_at, self.shape.root_size)]
        else:
            places = [(self.place(one), self.shape.cluster) for one in self.chain(cluster)]
        for start, size in places:
            data = self._volume(start, size)
            yield from (data[at : at + 32] for at in range(0, len(data) - 31, 32))

    def chain(self, cluster: int) -> Iterator[int]:
        """The clusters of a file; raises IoError (code "bad-map"). A chain longer than the volume is a circle."""
        for _ in range(self.shape.clusters):
            if not 2 <= cluster < self.shape.clusters + 2:
                if cluster >= _ENDS[self.shape.bits]:
                    return
                raise bad_map(f"a chain of clusters in it leads to cluster {cluster}")
            yield cluster
            cluster = self._next(cluster)
        raise bad_map("a chain of clusters in it is a circle")

    def _next(self, cluster: int) -> int:
        if self.shape.bits == 12:
            pair = int.from_bytes(self._table[cluster * 3 // 2 : cluster * 3 // 2 + 2], "little")
            return pair >> 4 if cluster & 1 else pair & 0xFFF
        width = self.shape.bits // 8
        return int.from_bytes(self._table[cluster * width : (cluster + 1) * width], "little") & 0x0FFFFFFF

    def place(self, cluster: int) -> int:
        """Where a cluster lies."""
        return self.shape.data + (cluster - 2) * self.shape.cluster


_ENDS = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}


def _long_name(parts: dict[int, bytes]) -> str:
    name = b"".join(parts[i] for i in sorted(parts)).decode("utf-16-le", "replace")
    return name.partition("\0")[0].rstrip("\uffff")


def _short_name(record: bytes) -> str:
    stem, ending = (record[i:j].decode("cp437").rstrip(" ") for i, j in ((0, 8), (8, 11)))
    if record[12] & _FROM_LOWER[0]:
        stem = stem.lower()
    if record[12] & _FROM_LOWER[1]:
        ending = ending.lower()
    return f"{stem}.{ending}" if ending else stem
