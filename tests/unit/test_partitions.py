"""Which partition can take a volume of an image, and with which words others are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imaging import plan, planner
from imaging.disk import Content, Disk, DiskId, Mount, Partition, PartitionRole, Role, TableKind
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.manifest import ImagedDisk, Volume
from imaging.partitions import (
    plan_again,
    plan_restore_but,
    plan_restore_partitions,
    plan_verify,
    volume_of,
    why_not_partition,
)
from imaging.restoreplans import RestorePlan
from rescue import chosen, report
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table, an_image, an_imaged_disk

LIBRARY = Path("/library")
PARTS = (
    a_partition(1, MIB, 99 * MIB),
    a_partition(2, 100 * MIB, 200 * MIB, uuid="2"),
    a_partition(3, 300 * MIB, 100 * MIB),
)


def _volume(number: int = 1, start: int = MIB, size: int = 100 * MIB, kind: str = "ext4") -> Volume:
    content = Content(kind=kind)
    return Volume(number=number, start=start, size=size, used=MIB, map_origin="partclone", content=content)


def _source(*volumes: Volume, **changes: Any) -> ImagedDisk:
    return an_imaged_disk(volumes=volumes or (_volume(),), **changes)


def _target(**changes: Any) -> Disk:
    return a_disk(**{"table": a_table(*PARTS), **changes})


def _plan(target: Disk, chosen: dict[int, int], source: ImagedDisk | None = None) -> RestorePlan:
    image = an_image(disks=(source or _source(),))
    return plan_restore_partitions(LIBRARY, image, "sda", target, chosen)


def _why_not(target: Disk, part: Partition = PARTS[1], source: ImagedDisk | None = None) -> str:
    source = source or _source()
    return why_not_partition(target, part, source, source.volumes[0])


def test_a_plan_says_which_partition_goes_where() -> None:
    (pair,) = _plan(_target(), {1: 2}).targets
    (spot,) = pair.partitions
    assert (spot.volume, spot.partition, spot.start, spot.size) == (1, 2, 100 * MIB, 200 * MIB)
    assert pair.names == ("sda2",)


def test_a_plan_of_partitions_survives_being_written_down_and_an_older_program_refuses_it() -> None:
    made = _plan(_target(), {1: 2})
    assert plan.decode(plan.encode(made)) == made
    assert b'"version": 1' not in plan.encode(made)


def test_a_partition_of_the_very_size_is_large_enough() -> None:
    assert _why_not(_target(), PARTS[2]) == ""


def test_a_partition_that_is_too_small_is_refused_with_exact_sizes() -> None:
    with pytest.raises(RefusedError, match=f"{100 * MIB:,} bytes.* it has .*{99 * MIB:,} bytes") as error:
        _plan(_target(), {1: 1})
    assert error.value.code == "target-too-small"


def test_an_extended_partition_is_refused() -> None:
    outer = a_partition(4, 400 * MIB, 500 * MIB, role=PartitionRole.EXTENDED)
    disk = a_disk(table=a_table(*PARTS, outer, kind=TableKind.MBR))
    assert "extended" in _why_not(disk, outer)


def test_a_logical_partition_inside_an_extended_one_is_taken() -> None:
    outer = a_partition(4, 400 * MIB, 500 * MIB, role=PartitionRole.EXTENDED)
    inner = a_partition(5, 401 * MIB, 200 * MIB, role=PartitionRole.LOGICAL)
    disk = a_disk(table=a_table(*PARTS, outer, inner, kind=TableKind.MBR))
    assert _why_not(disk, inner) == ""


@pytest.mark.parametrize("role", list(Role))
def test_a_protected_disk_is_refused_with_all_its_partitions(role: Role) -> None:
    with pytest.raises(RefusedError) as error:
        _plan(_target(roles=(role,)), {1: 2})
    assert error.value.code == "protected-disk"


def test_the_partition_itself_must_not_be_mounted_and_another_may_be() -> None:
    assert "/mnt" in _why_not(_target(mounts=(Mount(source="/dev/sda2", where="/mnt"),)))
    assert "swap" in _why_not(_target(mounts=(Mount(source="/dev/sda2", where="[swap]"),)))
    assert _why_not(_target(mounts=(Mount(source="/dev/sda3", where="/mnt"),))) == ""


@pytest.mark.parametrize("source", ["/dev/mapper/vg-root", "/dev/sda", "/dev/sda22", "/dev/sdb3", "/dev/root"])
def test_a_mount_that_is_not_known_to_be_elsewhere_is_refused(source: str) -> None:
    assert "in use" in _why_not(_target(mounts=(Mount(source=source, where="/mnt"),)))


def test_a_disk_that_something_stands_on_is_refused() -> None:
    assert "dm-0" in _why_not(_target(holders=("dm-0",)))


def test_other_sectors_are_refused_on_disks_and_files_alike() -> None:
    assert "4096" in _why_not(_target(logical_sector=4096))
    assert "4096" in _why_not(_target(logical_sector=4096, regular_file=True))


@pytest.mark.parametrize("changes", [{"read_only": True}, {"fingerprint": "", "problem": "it is gone"}])
def test_a_disk_that_cannot_be_written_or_read_is_refused(changes: dict[str, Any]) -> None:
    assert _why_not(_target(**changes))


@pytest.mark.parametrize(
    ("start", "end"), [(0, 100), (1, 101), (100, GIB // MIB), (100, GIB // MIB + 1)], ids=lambda mib: str(mib)
)
def test_a_partition_that_claims_the_tables_own_ground_is_refused(start: int, end: int) -> None:
    part = a_partition(1, start * MIB if start != 1 else 33 * 512, (end - start) * MIB)
    assert "partition table" in _why_not(a_disk(table=a_table(part)), part)


def test_overlapping_partitions_are_refused() -> None:
    other = a_partition(9, 299 * MIB, 200 * MIB)
    assert "overlaps partition 9" in _why_not(a_disk(table=a_table(PARTS[1], other)))


def test_a_raid_member_needs_the_very_size() -> None:
    source = _source(_volume(kind="linux_raid_member"))
    assert "exactly" in _why_not(_target(), PARTS[1], source)
    assert _why_not(_target(), PARTS[2], source) == ""


def test_a_bare_file_system_can_go_into_a_partition() -> None:
    bare = _source(_volume(0, 0, 50 * MIB), table=a_table(kind=TableKind.NONE), id=DiskId(size=50 * MIB))
    assert _plan(_target(), {0: 2}, bare).targets[0].partitions[0].volume == 0


def test_a_volume_beyond_its_disk_is_a_bad_image() -> None:
    with pytest.raises(BadImageError):
        volume_of(_source(_volume(1, GIB - MIB, 2 * MIB)), 1)


@pytest.mark.parametrize("pairs", [{}, {7: 2}, {1: 7}, {1: 2, 2: 2}])
def test_what_does_not_exist_or_goes_to_one_place_is_a_usage_error(pairs: dict[int, int]) -> None:
    with pytest.raises(UsageError):
        _plan(_target(), pairs, _source(_volume(), _volume(2, 200 * MIB)))


def test_a_partition_that_was_left_out_is_told_as_such() -> None:
    with pytest.raises(UsageError, match="left out"):
        volume_of(_source(_volume(2, 200 * MIB)), 1)


def test_a_partition_that_moved_is_another_plan() -> None:
    image = an_image(disks=(_source(),))
    (pair,) = _plan(_target(), {1: 2}).targets
    moved = _target(table=a_table(PARTS[0], a_partition(2, 101 * MIB, 199 * MIB), PARTS[2]))
    assert plan_again(LIBRARY, image, pair, _target()) == pair.partitions
    assert plan_again(LIBRARY, image, pair, moved) != pair.partitions


@pytest.mark.parametrize(
    ("path", "name"), [("/dev/sda", "sda2"), ("/dev/nvme0n1", "nvme0n1p2"), ("/vm/disk.img", "disk.img:2")]
)
def test_a_partition_is_confirmed_by_its_own_name_alone(path: str, name: str) -> None:
    disk = _target(path=path, regular_file=path.startswith("/vm"))
    for answer in (name, "S1:2", f" {name}\n"):
        assert planner.confirms(answer, disk, 2)
        assert not planner.confirms(answer, disk)
    for answer in (disk.name, "S1", "2", ":2", "", "S1:1", f"{disk.name}:3"):
        assert not planner.confirms(answer, disk, 2)


def test_without_a_serial_number_only_the_name_confirms() -> None:
    assert planner.names_of(_target(id=DiskId(size=GIB)), 2) == ("sda2",)


def test_chosen_partitions_are_captured_once_each() -> None:
    disk = _target()
    made = planner.plan_capture([disk], LIBRARY, only={disk.path: [3, 1, 3]})
    assert made.only == {"/dev/sda": (1, 3)}
    assert made.title == "Back up sda1, sda3"
    assert plan.decode(plan.encode(made)) == made
    assert "only partitions 1, 3 and the partition table; partition 2 left out" in "\n".join(report.plan_lines(made))


@pytest.mark.parametrize("numbers", [[], [4], [1, 0]])
def test_partitions_that_a_disk_does_not_have_are_not_captured(numbers: list[int]) -> None:
    with pytest.raises(UsageError):
        planner.plan_capture([_target()], LIBRARY, only={"/dev/sda": numbers})


def test_a_partly_restored_partition_is_not_captured_but_those_beside_it_are() -> None:
    disk = a_disk(table=a_table(PARTS[0], a_partition(2, 100 * MIB, unfinished="20260101-000000-abcd")))
    with pytest.raises(RefusedError, match="partition 2 is only partly restored"):
        planner.plan_capture([disk], LIBRARY)
    assert planner.plan_capture([disk], LIBRARY, only={disk.path: [1]})


def test_a_comparison_needs_a_disk_and_a_partition_that_can_hold_it() -> None:
    image = an_image(disks=(_source(),))
    with pytest.raises(UsageError, match="--against"):
        plan_verify(LIBRARY, image, chosen={1: 2})
    with pytest.raises(RefusedError):
        plan_verify(LIBRARY, image, against=_target(), chosen={1: 1})
    assert plan_verify(LIBRARY, image, against=_target(), chosen={1: 2}).partitions[0].start == 100 * MIB


@pytest.mark.parametrize("word", ["", "x", "sdz=1", "1,", "1;2", "²", "sda=", "9999999999"])
def test_words_that_name_no_partition_are_usage_errors(word: str) -> None:
    with pytest.raises(UsageError):
        chosen.of_disks([word], [a_disk(), a_disk(path="/dev/sdb")] if "sdz" in word else [a_disk()])


def test_partitions_of_several_disks_are_named_with_their_disk() -> None:
    disks = [a_disk(), a_disk(path="/vm/a=b.img")]
    assert chosen.of_disks(["sda=1,2", "a=b.img=3", "/dev/sda=4"], disks) == {
        "/dev/sda": [1, 2, 4],
        "/vm/a=b.img": [3],
    }
    with pytest.raises(UsageError, match="say of which disk"):
        chosen.of_disks(["1"], disks)


def test_a_plan_tells_what_stays_and_what_will_be_of_no_use() -> None:
    image = an_image(disks=(an_imaged_disk(table=a_table(*PARTS), volumes=(_volume(2, 100 * MIB, 200 * MIB),)),))
    same = "\n".join(report.plan_lines(planner.plan_restore(LIBRARY, image, {"sda": _target()})))
    assert "KEPT: partitions 1, 3, not in the image" in same
    assert "WARNING" not in same
    erased = same[same.index("ERASED") : same.index("WRITTEN")]
    assert [line.split()[0] for line in erased.splitlines()[1:]] == ["2"]
    moved = a_table(PARTS[0], a_partition(3, 301 * MIB, 99 * MIB))
    other = "\n".join(report.plan_lines(planner.plan_restore(LIBRARY, image, {"sda": _target(table=moved)})))
    assert "KEPT: partition 1, not in the image" in other
    assert "WARNING: partition 3 will hold nothing that can be used" in other


def test_the_only_system_of_an_image_is_not_kept_beside_parts_of_the_new_one() -> None:
    """The old root would start with the new kernel, and the reset report success."""
    sizes = {part.number: (part.start, part.size) for part in PARTS}
    boot, linux, windows = (_volume(number, *sizes[number]) for number in (1, 2, 3))
    linux, windows = replace(linux, system="Debian 13"), replace(windows, system="Windows")

    def plan_but(keep: int, *volumes: Volume) -> RestorePlan:
        image = an_image(disks=(_source(*volumes, table=a_table(*PARTS)),))
        return plan_restore_but(LIBRARY, image, "sda", _target(), [keep])

    with pytest.raises(RefusedError, match="sda2 is to be kept, and is where the image has its system") as error:
        plan_but(2, boot, linux, _volume(3, *sizes[3]))
    assert error.value.code == "keeps-system"
    for keep, volumes in ((1, (boot, linux, windows)), (3, (boot, linux, windows)), (2, (boot, linux, windows))):
        assert keep not in [spot.partition for spot in plan_but(keep, *volumes).targets[0].partitions]
