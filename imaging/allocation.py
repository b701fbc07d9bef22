"""Rescue's own readers of what a volume's file system uses, by its kind: they need neither root nor a tool."""

from collections.abc import Callable

from imaging import btrfsmap, exfatmap, extmap, fatmap, ntfsmap
from imaging.bounded import Bounded, Read
from imaging.doubts import doubt
from imaging.errors import IoError
from imaging.extents import Extents

_READERS: dict[str, Callable[[Read, int], Extents]] = {
    "ext2": extmap.used,
    "ext3": extmap.used,
    "ext4": extmap.used,
    "ntfs": ntfsmap.used,
    "vfat": fatmap.used,
    "exfat": exfatmap.used,
    "btrfs": btrfsmap.used,
}
KINDS = frozenset(_READERS)
"""The kinds that are known here, by blkid's names."""


def read_map(kind: str, read: Read, size: int) -> Extents | None:
    """The used bytes of a volume of `size` bytes, as offsets from its start; None of a kind that is not in KINDS.

    `read` may gather the volume from several places. What lies behind the file system's end counts as used. Raises
    IoError in words for a person: with code "dirty" where newer allocations may wait in a journal or a program was
    cut off, "bad-map" where anything does not add up; or what `read` raises.
    """
    reader = _READERS.get(kind)
    if reader is None:
        return None
    found = doubt(kind, Bounded(read=read, size=size))
    if found:
        raise IoError(found.why, code="dirty")
    return reader(read, size)
