"""An empty FAT volume that is filled with the tree of another one: every record as it was, all data in one piece. Pure.

Source: Microsoft's FAT specification (1.03).
"""

import struct
from array import array
from collections.abc import Callable, Sequence

from imaging.bounded import Bounded
from imaging.fatfiles import FatShape, FatVolume
from imaging.fattree import DOT, DOTS, RECORD, Item, is_long, with_cluster

Write = Callable[[int, bytes], object]
"""Write bytes at an offset of the volume."""
_FIRST = 2
_ENDS = {12: 0xFFF, 16: 0xFFFF, 32: 0x0FFFFFFF}
_INFO = 0x30
"""Fields of a FAT32 boot sector: the sector that counts free clusters, and that of the boot sector's copy."""
_FREE = 488
"""Where in that sector the count of free clusters stands, and the last one that was taken."""


def kind_for(clusters: int) -> int:
    """The width of an entry that a volume of so many clusters has to have: others would take it for something else."""
    return 12 if clusters < 4085 else 16 if clusters < 65525 else 32


def clusters_needed(tree: Sequence[Item], cluster: int, *, root: bool = False) -> int:
    """How many clusters all below a folder takes, and with `root` the folder, too."""
    count = -(-max(RECORD * len(tree), 1) // cluster) if root else 0
    for item in tree:
        count += -(-item.size // cluster)
        if item.inner is not None:
            count += clusters_needed(item.inner, cluster, root=True)
    return count


class Filling:
    """Fills an empty volume, of which there is room enough."""

    def __init__(self, new: FatVolume, old: Bounded, write: Write) -> None:
        """Take the empty volume, the one whose data are copied, and what writes to the former."""
        self._shape, self._old, self._write = new.shape, old, write
        self._table = array("I")
        """Entries from that of the first cluster on."""

    def fill(self, tree: Sequence[Item]) -> int:
        """Write all of the tree, and the tables; where the last of the data ends. Raises what reading raises."""
        shape = self._shape
        if shape.root_size:
            records = self._placed(tree, 0)
            self._write(shape.root_at, records.ljust(shape.root_size, b"\0"))
        else:
            root = self._take(max(RECORD * len(tree), 1))
            self._put(root, self._placed(tree, 0, own=root))
        self._write_tables()
        return shape.data + len(self._table) * shape.cluster

    def _take(self, size: int) -> int:
        """The first of the clusters, one behind the other, that so many bytes take."""
        first, count = _FIRST + len(self._table), -(-size // self._shape.cluster)
        self._table.extend([*range(first + 1, first + count), _ENDS[self._shape.bits]])
        return first

    def _place(self, cluster: int) -> int:
        return self._shape.data + (cluster - _FIRST) * self._shape.cluster

    def _put(self, cluster: int, data: bytes) -> None:
        """Write a folder; what is left of its last cluster says that it ends there."""
        self._write(self._place(cluster), data.ljust(-(-len(data) // self._shape.cluster) * self._shape.cluster, b"\0"))

    def _placed(self, folder: Sequence[Item], above: int, own: int = 0) -> bytes:
        """The records of a folder at the cluster `own`, all below it written; the root is cluster 0 to those in it."""
        return b"".join(self._record(item, above, own) for item in folder)

    def _record(self, item: Item, above: int, own: int) -> bytes:
        record = item.record
        if is_long(record):
            return record
        if item.inner is not None:
            cluster = self._take(max(RECORD * len(item.inner), 1))
            self._put(cluster, self._placed(item.inner, 0 if own == self._root else own, cluster))
            return with_cluster(record, cluster)
        if record[:11] in (DOT, DOTS):
            return with_cluster(record, own if record[:11] == DOT else above)
        if not item.size:
            return with_cluster(record, 0)
        cluster = self._take(item.size)
        at = self._place(cluster)
        for start, size in item.runs:
            for piece in self._old.pieces(start, size):
                self._write(at, piece)
                at += len(piece)
        return with_cluster(record, cluster)

    @property
    def _root(self) -> int:
        return 0 if self._shape.root_size else _FIRST

    def _write_tables(self) -> None:
        shape = self._shape
        entries = packed(self._table, shape.bits)
        for copy in range(shape.copies):
            # The two entries before the first cluster's are there already: they say what medium it is.
            self._write(shape.tables_at + copy * shape.table + 2 * shape.bits // 8, entries)


def packed(entries: Sequence[int], bits: int) -> bytes:
    """The entries of a table; those of 12 bits begin at an even one, and end in a whole byte."""
    if bits != 12:
        return struct.pack(f"<{len(entries)}{'H' if bits == 16 else 'I'}", *entries)
    pairs = zip(entries[::2], [*entries[1::2], 0], strict=False)
    return b"".join((low | high << 12).to_bytes(3, "little") for low, high in pairs)


def told(boot: bytes, info: bytes, old: FatShape, new: FatShape, used: int) -> tuple[bytes, bytes]:
    """The boot sector and the sector that counts free clusters, with the label of `old` and `used` clusters taken."""
    at = 0x47 if new.bits == 32 else 0x2B
    if old.label:
        boot = boot[:at] + old.label + boot[at + 11 :]
    counts = struct.pack("<II", new.clusters - used, _FIRST + used - 1)
    return boot, info[:_FREE] + counts + info[_FREE + len(counts) :]


def info_places(boot: bytes, sector: int) -> tuple[int, int]:
    """Where a FAT32 volume has the sector that counts free clusters, and the copy of its boot sector, in bytes."""
    info, backup = struct.unpack_from("<HH", boot, _INFO)
    return info * sector, backup * sector
