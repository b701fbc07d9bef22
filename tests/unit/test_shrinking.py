"""Which partition of an image becomes smaller on a smaller disk, what moves with it, and why others cannot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from imaging import growth, planner, shrinking
from imaging.changes import Shrinkage
from imaging.disk import DiskId, Partition, PartitionRole, TableKind
from imaging.errors import IoError, RefusedError, UsageError
from imaging.manifest import ImagedDisk
from imaging.plan import decode, encode
from imaging.restoreplans import RestoreTarget
from imaging.shrinking import plan_shrinkage
from imaging.window import Nearer
from rescue.growing import shrinkage_lines
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_source, an_image

_FIRST = a_partition(1, MIB, 100 * MIB)
_SECOND = a_partition(2, 101 * MIB, 500 * MIB)
_THIRD = a_partition(3, 601 * MIB + 512, 99 * MIB)


def _plan(source: ImagedDisk, size: int, number: int = 0) -> Shrinkage:
    return plan_shrinkage(source, size, planner.needed_size(source), number)


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "ntfs"])
def test_the_last_partition_ends_at_the_last_whole_mib_before_the_end(kind: str) -> None:
    found = _plan(a_source((_FIRST, "vfat"), (_SECOND, kind)), 400 * MIB + 777 * 512)
    assert (found.partition, found.start, found.old_size, found.kind) == (2, 101 * MIB, 500 * MIB, kind)
    assert (found.end, found.moved) == (399 * MIB, ())


def test_what_lies_behind_comes_nearer_by_whole_mib_and_keeps_its_size() -> None:
    found = _plan(a_source((_FIRST, "vfat"), (_SECOND, "ext4"), (_THIRD, "swap")), 400 * MIB)
    (moved,) = found.moved
    assert (moved.start - moved.to) % MIB == 0
    assert moved.start - moved.to == found.old_size - found.size
    assert 398 * MIB < moved.to + moved.size <= 399 * MIB
    assert found.placed(_THIRD.start, _THIRD.size) == (moved.to, _THIRD.size)
    assert found.placed(_FIRST.start, _FIRST.size) == (_FIRST.start, _FIRST.size)
    assert found.placed(_SECOND.start, _SECOND.size) == (_SECOND.start, found.size)


def test_of_several_the_one_with_the_most_room_to_spare_becomes_smaller() -> None:
    source = a_source((_FIRST, "ext4"), (_SECOND, "ext4"), (_THIRD, "ext4"))
    assert _plan(source, 650 * MIB).partition == 2
    assert _plan(source, 400 * MIB).partition == 2
    full = [replace(volume, used=volume.size - 10 * MIB) for volume in source.volumes[:2]]
    assert _plan(replace(source, volumes=(*full, source.volumes[2])), 650 * MIB).partition == 3
    assert _plan(source, 650 * MIB, 1).partition == 1


def test_what_has_no_map_becomes_smaller_only_where_nothing_else_has_room() -> None:
    """It may be a btrfs that lies on several disks, which is refused."""
    source = a_source((_FIRST, "vfat"), (_SECOND, "btrfs"), (a_partition(3, 601 * MIB, 300 * MIB), "ext4"))
    fat, btrfs, ext4 = source.volumes
    ext4, btrfs = replace(ext4, used=250 * MIB), replace(btrfs, map_origin="whole", used=btrfs.size)
    assert _plan(replace(source, volumes=(fat, btrfs, ext4)), 880 * MIB).partition == 3
    assert _plan(replace(source, volumes=(fat, btrfs, ext4)), 750 * MIB).partition == 2


def test_nothing_grows_on_a_disk_on_which_a_partition_becomes_smaller() -> None:
    source = a_source((_FIRST, "ext4"), (_THIRD, "swap"))
    target = a_disk(id=DiskId(size=697 * MIB))
    plan = planner.plan_restore(Path("/library"), an_image(disks=(source,)), {"sda": target}, shrink=0)
    assert plan.targets[0].shrinkage is not None
    assert growth.plan_growth(source, target.size)
    with pytest.raises(RefusedError, match="partition 1 becomes smaller"):
        growth.with_growth(plan)


def test_a_size_that_is_wanted_is_had_where_all_would_fit_too() -> None:
    source = a_source((_FIRST, "vfat"), (_SECOND, "ext4"), (_THIRD, "swap"))
    needed = planner.needed_size(source)
    found = plan_shrinkage(source, GIB, needed, 2, 300 * MIB + 5)
    assert (found.partition, found.size, found.old_size) == (2, 300 * MIB, 500 * MIB)
    assert [(one.partition, one.start - one.to) for one in found.moved] == [(3, 200 * MIB)]
    pair = RestoreTarget(source=source, target=a_disk(id=DiskId(size=GIB)), shrinkage=found)
    shrinking.refuse_unless_same(pair, needed)
    other = RestoreTarget(source=source, target=pair.target, shrinkage=structs.replace(found, size=300 * MIB + 5))
    with pytest.raises(RefusedError, match="not become smaller as it was shown"):
        shrinking.refuse_unless_same(other, needed)


def test_a_size_that_is_wanted_is_refused_with_the_limits() -> None:
    source = a_source((_FIRST, "vfat"), (_SECOND, "ext4"))
    needed = planner.needed_size(source)
    most = _plan(source, 400 * MIB, 2).size
    assert plan_shrinkage(source, 400 * MIB, needed, 2, most) == _plan(source, 400 * MIB, 2)
    with pytest.raises(RefusedError, match=rf"\({most:,} bytes\) at most"):
        plan_shrinkage(source, 400 * MIB, needed, 2, most + MIB)
    with pytest.raises(RefusedError, match="at most to become smaller"):
        plan_shrinkage(source, GIB, needed, 2, 500 * MIB)
    full = replace(source, volumes=(source.volumes[0], replace(source.volumes[1], used=300 * MIB)))
    with pytest.raises(RefusedError, match="needs more than") as error:
        plan_shrinkage(full, GIB, needed, 2, 200 * MIB)
    assert error.value.code == "cannot-shrink"
    for size in (0, 1, MIB - 1):
        with pytest.raises(RefusedError):
            plan_shrinkage(source, GIB, needed, 2, size)


def test_btrfs_has_the_least_size_that_the_kernel_gives_it() -> None:
    source = a_source((_FIRST, "vfat"), (_SECOND, "btrfs"))
    assert _plan(source, 358 * MIB).size == 256 * MIB
    with pytest.raises(RefusedError, match="as small as it can be"):
        _plan(source, 357 * MIB)


def test_the_recovery_partition_of_the_computer_does_not_become_smaller() -> None:
    source = a_source((_FIRST, "ext4"), (replace(_SECOND, recovery="a-mark"), "ext4"))
    assert _plan(source, 550 * MIB).partition == 1
    with pytest.raises(RefusedError, match="it is the recovery partition"):
        _plan(source, 550 * MIB, 2)


def test_where_none_can_it_is_said_what_keeps_each_that_might() -> None:
    logical = replace(_SECOND, role=PartitionRole.LOGICAL)
    source = a_source((_FIRST, "vfat"), (logical, "ext4"), kind=TableKind.MBR)
    with pytest.raises(RefusedError, match="partition 2 cannot be made smaller: it lies in an extended partition"):
        _plan(source, 400 * MIB)


@pytest.mark.parametrize("kind", ["ntfs", "vfat", "exfat", "BitLocker"])
def test_what_notes_where_it_begins_is_not_moved_on_an_mbr_disk(kind: str) -> None:
    source = a_source((_SECOND, "ext4"), (_THIRD, kind), kind=TableKind.MBR)
    with pytest.raises(RefusedError, match=rf"partition 3 behind it \({kind}\) notes where it begins"):
        _plan(source, 400 * MIB, 2)
    assert _plan(a_source((_SECOND, "ext4"), (_THIRD, kind)), 400 * MIB).moved


def test_the_plan_says_that_windows_may_have_to_be_told_of_what_moves() -> None:
    def lines(third: Partition, kind: str) -> list[str]:
        source = a_source((_SECOND, "ext4"), (third, kind))
        shown = _plan(source, 400 * MIB)
        return shrinkage_lines(RestoreTarget(source=source, target=a_disk(), shrinkage=shown))

    recovery = replace(_THIRD, type="DE94BBA4-06D1-4D40-A16A-BFD50179D6AC")
    for third, kind in ((_THIRD, "ntfs"), (recovery, "vfat")):
        assert any(line.endswith("told where it is now (reagentc): 3") for line in lines(third, kind))
    assert not any("Windows" in line for line in lines(_THIRD, "swap"))


def test_a_disk_that_is_too_small_in_any_case_is_refused_with_what_is_needed() -> None:
    source = a_source((_FIRST, "vfat"), (_SECOND, "ntfs"))
    full = replace(source, volumes=(source.volumes[0], replace(source.volumes[1], used=300 * MIB)))
    with pytest.raises(RefusedError, match=r"more than 421.5 MB \(421,527,552 bytes\) are needed") as error:
        _plan(full, 400 * MIB)
    assert error.value.code == "target-too-small"
    assert _plan(full, 402 * MIB).size == 300 * MIB
    with pytest.raises(RefusedError):
        _plan(full, 402 * MIB - 1)


@pytest.mark.parametrize("kind", ["xfs", "f2fs", "exfat", "vfat", "swap", "crypto_LUKS", "LVM2_member", ""])
def test_other_kinds_are_refused_with_what_is_needed(kind: str) -> None:
    source = a_source((_SECOND, kind))
    with pytest.raises(RefusedError, match="can be made smaller") as error:
        _plan(source, 400 * MIB)
    assert f"({planner.needed_size(source):,} bytes) are needed" in error.value.message
    with pytest.raises(RefusedError, match="partition 2 cannot be made smaller"):
        _plan(source, 400 * MIB, 2)


_BIOS = replace(_THIRD, type="21686148-6449-6e6f-744e-656564454649")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (a_source((_SECOND, "ext4"), (_BIOS, "")), "the computer starts from partition 3 behind it"),
        (
            a_source((_SECOND, "ext4"), (replace(_THIRD, bootable=True), "ntfs"), kind=TableKind.MBR),
            "the computer starts from partition 3 behind it",
        ),
        (
            a_source((_SECOND, "ext4"), (replace(_THIRD, bootable=True), "ext4")),
            "the computer starts from partition 3 behind it",
        ),
        (a_source((replace(_FIRST, type="42"), "ntfs"), (_SECOND, "ntfs"), kind=TableKind.MBR), "a dynamic disk"),
        (
            a_source((_SECOND, "ext4"), (replace(_THIRD, type="5808C8AA-7E8F-42E0-85D2-E1E90434CFB3"), "")),
            "a dynamic disk",
        ),
        (
            a_source((_SECOND, "ext4"), (replace(_THIRD, role=PartitionRole.EXTENDED), "extended"), kind=TableKind.MBR),
            "an extended one",
        ),
        (a_source((replace(_SECOND, role=PartitionRole.LOGICAL), "ext4"), kind=TableKind.MBR), "extended partition"),
        (a_source((_SECOND, "ext4"), (replace(_THIRD, start=500 * MIB), "ext4")), "another partition overlaps it"),
        (a_source((_SECOND, "ext4"), unreadable=((150 * MIB, 151 * MIB),)), "could not be read"),
        (replace(a_source((_SECOND, "ext4"), (_THIRD, "ext4")), volumes=()), "nothing of it is in the image"),
    ],
)
def test_what_keeps_a_partition_from_becoming_smaller_is_said(source: ImagedDisk, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as error:
        _plan(source, 300 * MIB, 2)
    assert error.value.code == "target-too-small"


def test_a_partition_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="has no partition 9; it has 2"):
        _plan(a_source((_SECOND, "ext4")), 400 * MIB, 9)


def test_a_plan_makes_nothing_smaller_unless_that_is_asked_for_and_needed() -> None:
    source = a_source((_FIRST, "vfat"), (_SECOND, "ext4"))
    image = an_image(disks=(source,))
    small, large = (a_disk(id=DiskId(size=size)) for size in (400 * MIB, GIB))
    with pytest.raises(RefusedError, match="too small"):
        planner.plan_restore(Path("/library"), image, {"sda": small})
    (pair,) = planner.plan_restore(Path("/library"), image, {"sda": large}, shrink=0).targets
    assert pair.shrinkage is None
    plan = planner.plan_restore(Path("/library"), image, {"sda": small}, shrink=0)
    assert plan.targets[0].shrinkage == _plan(source, 400 * MIB)
    assert decode(encode(plan)) == plan
    assert planner.can_shrink(small, source)
    assert not planner.can_shrink(a_disk(id=DiskId(size=50 * MIB)), source)


def test_a_plan_for_a_larger_disk_than_there_is_is_refused() -> None:
    source = a_source((_FIRST, "vfat"), (_SECOND, "ext4"))
    shown = _plan(source, 400 * MIB)
    pair = RestoreTarget(source=source, target=a_disk(id=DiskId(size=390 * MIB)), shrinkage=shown)
    with pytest.raises(RefusedError, match="at most to become smaller"):
        shrinking.refuse_unless_same(pair, planner.needed_size(source))


class _Disk:
    """What was asked of a disk."""

    path, size = "/dev/sda", 400 * MIB

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def write(self, data: bytes, offset: int) -> None:
        self.asked.append((offset, len(data)))

    def forget(self, start: int, size: int) -> None:
        self.asked.append((start, size))


def test_nothing_is_written_between_the_new_end_and_what_comes_nearer() -> None:
    found = _plan(a_source((_FIRST, "vfat"), (_SECOND, "ext4"), (_THIRD, "swap")), 400 * MIB)
    disk: Any = _Disk()
    nearer, (moved,) = Nearer(disk, found), found.moved
    nearer.write(b"x", found.end - 1)
    nearer.write(b"xy", moved.start)
    nearer.write(b"z", moved.start + moved.size - 1)
    assert disk.asked == [(found.end - 1, 1), (moved.to, 2), (moved.to + moved.size - 1, 1)]
    for at, size in ((found.end, 1), (found.end - 1, 2), (moved.start - 1, 2), (moved.start + moved.size - 1, 2)):
        with pytest.raises(IoError):
            nearer.write(bytes(size), at)
    assert nearer.holds(0, found.end)
    assert nearer.holds(moved.start, moved.start + moved.size)
    assert not nearer.holds(found.end - 1, moved.start + 1)
    disk.asked.clear()
    nearer.forget(found.end - 5, 4 * MIB)
    nearer.forget(moved.start - 5, 10)
    assert disk.asked == [(found.end - 5, 5), (moved.to, 5)]
