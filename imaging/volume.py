"""What a partition must hold to be equal to one volume of an image, whatever disk it lies on.

Offsets stay those of the image's disk. Both ends of the volume play the part that the partition table plays for a disk:
file systems, RAID and others are known by them, so they are taken away first and come back last.
"""

from dataclasses import dataclass

from imaging.changes import Change
from imaging.content import Content
from imaging.extents import Extents
from imaging.manifest import Volume
from imaging.sfdisk import GUARD
from imaging.usedmap import HEAD, TAIL

_NTFS = "ntfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeContent(Content):
    """One volume: `body` is what is used of it between its ends, and `table` all of the disk that is not that body."""

    volume: Volume

    @classmethod
    def of(cls, whole: Content, volume: Volume) -> "VolumeContent":
        """The part of a disk's content that is one volume."""
        start, end = volume.start, volume.start + volume.size
        first, last = min(start + HEAD, end), max(start, end - TAIL)
        return cls(
            disk=whole.disk,
            index=whole.index,
            digests=whole.digests,
            used=whole.used,
            table=Extents([(0, first), (last, whole.disk.size)]),
            body=whole.used.clipped(first, last),
            store=whole.store,
            volume=volume,
        )

    def table_pieces(self, size: int, change: Change | None = None) -> list[tuple[int, bytes]]:  # noqa: ARG002
        """What both ends must be, `(offset, bytes)`, the first sector last; `size` is where the partition ends.

        A partition that is larger than the volume ends in zeros: old marks there would be found after a restore.
        """
        start, end = self.volume.start, self.volume.start + self.volume.size
        first = min(start + self.disk.logical_sector, end)
        ends = Extents([(first, max(first, start + HEAD)), (max(first, end - TAIL), end)]).clipped(first, end)
        pieces = [(low, self.bytes_at(low, high)) for low, high in reversed(list(ends))]
        return [*self._beyond(end, size), *pieces, (start, self.bytes_at(start, first))]

    def _beyond(self, end: int, size: int) -> list[tuple[int, bytes]]:
        """The end of a partition that is larger than the volume.

        NTFS has a copy of its boot sector in the partition's last sector, wherever that is; the rest is zero.
        """
        rest = max(end, size - GUARD)
        if rest >= size:
            return []
        sector = self.disk.logical_sector
        copied = self.volume.content.kind == _NTFS and sector <= min(size - rest, end - self.volume.start)
        last = self.bytes_at(end - sector, end) if copied else b""
        return [(rest, bytes(size - rest - len(last)) + last)]

    def taken_away(
        self,
        size: int,
        mark: bytes,
        change: Change | None = None,  # noqa: ARG002
    ) -> list[tuple[int, bytes]]:
        """What stands in place of the ends until the body is there: zeros, and the mark in the first sector.

        NTFS has its boot sector at both ends, and drivers mount by either.
        """
        *others, (start, first) = self.table_pieces(size)
        marked = mark[: len(first)].ljust(len(first), b"\0")
        return [(start, marked), *((at, bytes(len(data))) for at, data in reversed(others))]
