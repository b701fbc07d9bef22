"""All that a FAT volume holds, folder by folder, with every record as it is; and a proof of that. Nothing is mounted.

A record has a file's short name, its attributes and its times; those before it have its long name. They are kept byte
by byte: what we do not know of them stays, too. What was deleted is left out.
Source: Microsoft's FAT specification (1.03).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from blake3 import blake3

from imaging.bounded import Bounded, bad_map
from imaging.fatfiles import FatVolume

RECORD = 32
_ATTRIBUTES = 11
_FOLDER, _LABEL, _LONG = 0x10, 0x08, 0x0F
_DELETED, _END = 0xE5, 0x00
_DEEPEST = 64
_MOST_RECORDS = 1 << 20
"""They are all in memory, some 200 bytes each."""
DOT, DOTS = b".".ljust(11), b"..".ljust(11)
"""The short names by which a folder names itself, and the one that it lies in."""
Run = tuple[int, int]
"""Offset and size of bytes of the volume that follow each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A record of a folder: with the data of a file, or what is in a folder; others have neither."""

    record: bytes
    runs: Sequence[Run] = ()
    inner: Sequence[Self] | None = None

    @property
    def size(self) -> int:
        """Bytes of the file's data."""
        return sum(size for _, size in self.runs)

    @property
    def anonymous(self) -> bytes:
        """The record, but for where the data lie."""
        return with_cluster(self.record, 0)


def with_cluster(record: bytes, cluster: int) -> bytes:
    """A record that says that its data begin at this cluster."""
    high, low = cluster >> 16, cluster & 0xFFFF
    return record[:20] + struct.pack("<H", high) + record[22:26] + struct.pack("<H", low) + record[28:]


def is_long(record: bytes) -> bool:
    """Whether a record has a part of a long name, and no place."""
    return record[_ATTRIBUTES] & 0x3F == _LONG


class _Reader:
    def __init__(self, volume: FatVolume) -> None:
        self._volume = volume
        self._taken = bytearray(volume.shape.clusters + 2)
        self._left = _MOST_RECORDS

    def folder(self, cluster: int, depth: int) -> Sequence[Item]:
        if depth > _DEEPEST:
            raise bad_map("its folders lead in a circle, or too deep")
        in_clusters = depth > 0 or not self._volume.shape.root_size
        if in_clusters:
            self._take(cluster)
        items = []
        for record in self._volume.records(cluster, root=depth == 0):
            if record[0] == _END:
                break
            self._left -= 1
            if not self._left:
                raise bad_map(f"it holds more than {_MOST_RECORDS} files")
            if record[0] != _DELETED:
                items.append(self._item(record, depth))
        return items

    def _item(self, record: bytes, depth: int) -> Item:
        if is_long(record) or record[_ATTRIBUTES] & _LABEL or record[:11] in (DOT, DOTS):
            return Item(record=record)
        high, low, size = struct.unpack_from("<H4xHI", record, 20)
        cluster = low | (high << 16 if self._volume.shape.bits == 32 else 0)
        if record[_ATTRIBUTES] & _FOLDER:
            return Item(record=record, inner=self.folder(cluster, depth + 1))
        return Item(record=record, runs=self._runs(cluster, size, record) if size else ())

    def _runs(self, cluster: int, size: int, record: bytes) -> Sequence[Run]:
        runs: list[Run] = []
        each = self._volume.shape.cluster
        for at in map(self._volume.place, self._take(cluster)):
            part = min(each, size)
            if not part:
                break
            if runs and sum(runs[-1]) == at:
                runs[-1] = runs[-1][0], runs[-1][1] + part
            else:
                runs.append((at, part))
            size -= part
        if size:
            raise bad_map(f"the file {record[:11].decode('cp437')!r} ends {size} bytes early")
        return runs

    def _take(self, cluster: int) -> Sequence[int]:
        """The clusters of a file or folder, none of which may be another's."""
        chain = list(self._volume.chain(cluster))
        for one in chain:
            if self._taken[one]:
                raise bad_map("two of its files have a part in common")
            self._taken[one] = 1
        return chain


def read_tree(volume: FatVolume) -> Sequence[Item]:
    """The records of the root folder, with all that is below; raises IoError (code "bad-map") where it is not whole."""
    return _Reader(volume).folder(volume.shape.root_cluster, 0)


def proof(tree: Sequence[Item], volume: Bounded) -> bytes:
    """BLAKE3 of all names, attributes, times and data of a tree, wherever they lie; raises IoError."""
    hasher = blake3()
    for part in _told(tree, volume):
        hasher.update(part)
    return hasher.digest()


def _told(tree: Sequence[Item], volume: Bounded) -> Iterator[bytes]:
    for item in tree:
        yield item.record if is_long(item.record) else item.anonymous
        for at, size in item.runs:
            yield from volume.pieces(at, size)
        if item.inner is not None:
            yield b"("
            yield from _told(item.inner, volume)
            yield b")"
