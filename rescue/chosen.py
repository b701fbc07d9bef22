"""The partitions that are named on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imaging.disk import Disk
from imaging.errors import UsageError
from imaging.planner import confirms
from imaging.restoreplans import RestorePlan

_MOST_DIGITS = 9


def _number(word: str, whole: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS):
        raise UsageError(f"--partition {whole}: {word!r} is not a partition's number", code="usage")
    return int(word)


def of_disks(words: Sequence[str], disks: Sequence[Disk]) -> Mapping[str, Sequence[int]]:
    """What `[NAME=]N[,N...]` names, for each disk's path; the name can go where there is one disk. Raises UsageError.

    The name is set off by the last `=`: numbers have none, and names of files may.
    """
    found: dict[str, list[int]] = {}
    for word in words:
        name, equals, numbers = word.rpartition("=")
        mine = [disk for disk in disks if not equals or name in (disk.name, disk.path)]
        if len(mine) != 1:
            names = ", ".join(disk.name for disk in disks)
            raise UsageError(f"--partition {word}: say of which disk, as NAME=N; there are {names}", code="usage")
        found.setdefault(mine[0].path, []).extend(_number(number, word) for number in numbers.split(","))
    return found


def of_restore(words: Sequence[str]) -> Mapping[int, int]:
    """What `N[:M]` names: partition N of the image, and M of the target; raises UsageError."""
    found: dict[int, int] = {}
    for word in words:
        source, _, target = word.partition(":")
        number = _number(source, word)
        if number in found:
            raise UsageError(f"partition {number} of the image was given twice", code="usage")
        found[number] = _number(target, word) if ":" in word else number
    return found


def kept(words: Sequence[str], disk: Disk) -> frozenset[int]:
    """The numbers of the partitions of a disk that are named, by that or as `sda4`; raises UsageError."""
    named = {disk.partition_name(part.number): part.number for part in disk.table.partitions}
    numbers = {str(number): number for number in named.values()}
    for word in words:
        if word not in named and word not in numbers:
            there = ", ".join(named) or "none"
            raise UsageError(f"{disk.name} has no partition {word} to keep; it has {there}", code="no-such-partition")
    return frozenset((named | numbers)[word] for word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """One thing that a job erases: a disk, or one partition of it; `name` is what confirms it.

    `erased` is False where only a part of the disk is written to, and what a person keeps there stays.
    """

    name: str
    disk: Disk
    partition: int | None = None
    erased: bool = True
    repaired: bool = False

    def confirmed_by(self, answer: str) -> bool:
        """Whether what was typed names it."""
        return confirms(answer, self.disk, self.partition)


def doomed(plan: RestorePlan, *, new_ones: bool = False) -> list[Doomed]:
    """Everything that has to be confirmed, in the plan's order; files yet to be made only where `new_ones`."""
    pairs = [pair for pair in plan.targets if new_ones or not pair.create]
    found: list[Doomed] = []
    for pair in pairs:
        if pair.partitions:
            found += (Doomed(name=name, disk=pair.target, partition=p.partition) for name, p in pair.named_partitions)
        else:
            found.append(Doomed(name=pair.target.name, disk=pair.target))
    return found
