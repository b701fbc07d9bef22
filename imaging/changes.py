"""What is other on a restore's target than in the image: sizes and places of partitions, the size of sectors."""

import msgspec

from imaging.disk import Size


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A partition that goes to another place than it had in the image, as it is; in bytes."""

    partition: Size
    start: Size
    size: Size
    to: Size

    def holds(self, start: int, size: int) -> bool:
        """Whether a place in the image lies in the partition, as that of a logical volume does; or is all of it."""
        return self.start <= start and start + size <= self.start + self.size

    def placed(self, start: int) -> int:
        """Where what begins there in the image begins on the target."""
        return start - self.start + self.to


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of the image that is larger on the target than it was: from `old_size` to `size` bytes at `start`.

    `kind` is what stands in it, by blkid's name. With `filesystem` its file system grows with it; else the partition
    alone does. `moved` is the swap partition that stood behind it and goes to the end of the disk.
    """

    partition: Size
    start: Size
    old_size: Size
    size: Size
    kind: str
    filesystem: bool = True
    moved: Moved | None = None


class Shrinkage(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of the image that is smaller on the target than it was: `size` bytes at `start`, not `old_size`.

    `kind` is what stands in it, by blkid's name: its file system is made smaller. `moved` are the partitions behind it,
    which come nearer by as much, in the disk's order.
    """

    partition: Size
    start: Size
    old_size: Size
    size: Size
    kind: str
    moved: tuple[Moved, ...] = ()

    @property
    def old_end(self) -> int:
        """Where the partition ends in the image."""
        return self.start + self.old_size

    @property
    def end(self) -> int:
        """Where it ends on the target."""
        return self.start + self.size

    def placed(self, start: int, size: int) -> tuple[int, int]:
        """Where a partition, or a logical volume in one, that has this place in the image lies on the target."""
        if (start, size) == (self.start, self.old_size):
            return start, self.size
        return next((one.placed(start) for one in self.moved if one.holds(start, size)), start), size


Change = Growth | Shrinkage
"""What is other on the target than in the image."""


class Resectoring(msgspec.Struct, frozen=True, kw_only=True):
    """The target's sectors have `after` bytes, those of the image `before`: the table is written anew for them.

    The FAT volumes on the partitions `rebuilt` are made anew with the same files; all others stay as they are.
    """

    before: Size
    after: Size
    rebuilt: tuple[Size, ...] = ()
