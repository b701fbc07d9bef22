"""What a disk must hold to be equal to a disk of an image of which one file system was made smaller.

Offsets stay those of the image's disk: what lies behind the partition that is smaller is written nearer to the start,
by a medium that knows where (imaging.window).
"""

from dataclasses import dataclass

from imaging.changes import Shrinkage
from imaging.content import Content
from imaging.extents import Extents


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrunkContent(Content):
    """`body` is what comes from the image as it is, and `changed` what comes from the file system that is smaller."""

    before: Extents
    """The body of the image's disk."""
    changed: Extents
    shrinkage: Shrinkage

    @classmethod
    def of(cls, whole: Content, shrinkage: Shrinkage, used: Extents, changed: Extents) -> "ShrunkContent":
        """That of a disk whose file system uses `used` now, of which `changed` is new; both from its start on."""
        start = shrinkage.start
        new = changed.shifted(start)
        body = whole.body.clipped(0, start).union(
            used.shifted(start).minus(new),
            *(whole.body.clipped(one.start, one.start + one.size) for one in shrinkage.moved),
        )
        return cls(
            disk=whole.disk,
            index=whole.index,
            digests=whole.digests,
            used=whole.used,
            table=whole.table,
            body=body.minus(whole.table),
            store=whole.store,
            before=whole.body,
            changed=new,
            shrinkage=shrinkage,
        )

    @property
    def placed(self) -> Extents:
        """Where body and changes lie on the target."""
        moved = (
            self.body.clipped(one.start, one.start + one.size).shifted(one.to - one.start)
            for one in self.shrinkage.moved
        )
        return self.body.clipped(0, self.shrinkage.end).union(self.changed, *moved)

    def is_whole(self, start: int, end: int) -> bool:
        """As Content: the digest of a chunk says nothing where only parts of it are restored."""
        if self.table.overlaps(start, end):
            return False
        return self.before.within(start, end) == self.body.within(start, end)
