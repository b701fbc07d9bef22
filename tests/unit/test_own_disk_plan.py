"""A recovery partition on the computer's own disk: where it goes, what is refused and with which words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imaging import ownmark, ownplan, partitions, placement, planner
from imaging.disk import Content, Disk, DiskId, Mount, Partition, PartitionRole, PartitionTable, Role, TableKind
from imaging.errors import RefusedError, UsageError
from imaging.manifest import Image, ImagedDisk, Volume
from imaging.ownplan import Boot
from imaging.plan import decode, encode
from imaging.recoveryplans import BootMenu, InstallPlan, MediaSystem
from imaging.touched import disks_used
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table, an_image, an_imaged_disk

SYSTEM = MediaSystem(path="/dev/sdb", build="0123abcd", version="0.1.0", built="2026-01-01T00:00:00Z", size=190 * MIB)
CONTENT = 180 * MIB
MENU = BootMenu(partition=2, folder="boot/grub")
UUID = ownmark.identity("X", 0, 0)


def efi(**changes: Any) -> Partition:
    content = Content(kind="vfat", uuid="AAAA-BBBB")
    made = a_partition(1, MIB, 100 * MIB, type=ownplan.EFI_SYSTEM[0], uuid="E-1", content=content)
    return replace(made, **changes)


def root(**changes: Any) -> Partition:
    return replace(a_partition(2, 101 * MIB, 2000 * MIB, type="0fc6"), **changes)


def own(**changes: Any) -> Partition:
    made = a_partition(5, 5000 * MIB, 600 * MIB, name="RESCUE", recovery=UUID, uuid=UUID)
    return replace(made, content=Content(kind="ext4", label="RESCUE", uuid=UUID), **changes)


def disk(*parts: Partition, kind: TableKind = TableKind.GPT, **changes: Any) -> Disk:
    table = a_table(*(parts or (efi(), root())), kind=kind)
    return a_disk(id=DiskId(size=8 * GIB, serial="S1"), table=table, **changes)


def planned(on: Disk, boot: Boot | None = None, **options: Any) -> InstallPlan:
    return ownplan.plan_install(on, SYSTEM, boot or Boot(menus=(MENU,), firmware=True), content=CONTENT, **options)


def test_it_goes_to_the_end_of_the_last_free_piece_that_is_large_enough() -> None:
    plan = planned(disk(efi(), root(), a_partition(3, 7000 * MIB, 1000 * MIB)))
    assert (plan.number, plan.start + plan.size) == (4, 7000 * MIB)
    assert plan.size == ownplan.usual_size(CONTENT)
    assert plan.start % MIB == plan.size % MIB == 0
    at_end = planned(disk())
    assert at_end.start + at_end.size == 8 * GIB - MIB


def test_where_room_is_scarce_it_takes_the_least_that_holds_one_system() -> None:
    least = ownplan.least_size(CONTENT)
    assert CONTENT < least < ownplan.usual_size(CONTENT) < 3 * CONTENT
    gap = a_partition(3, 2101 * MIB + least, 8 * GIB - MIB - 2101 * MIB - least)
    assert planned(disk(efi(), root(), gap)).start == 2101 * MIB


def test_where_there_is_no_room_it_says_what_to_shrink_and_by_how_much() -> None:
    full = root(size=8 * GIB - 201 * MIB)
    on = disk(efi(), full, a_partition(3, full.end, 99 * MIB, content=Content(kind="swap")))
    with pytest.raises(RefusedError) as caught:
        planned(on, free={2: 4 * GIB})
    assert caught.value.code == "no-room"
    least = ownplan.least_size(CONTENT)
    assert f"shrink sda2 (ext4, 4.3 GB free in it) by at least {least // MIB} MiB" in str(caught.value.hint)


def test_what_is_free_behind_the_partition_counts() -> None:
    on = disk(efi(), root(size=8 * GIB - 202 * MIB))
    found = placement.what_to_shrink(on, 300 * MIB, {2: 4 * GIB})
    assert found is not None
    assert (found.partition.number, found.by) == (2, 200 * MIB)


def test_a_partition_without_enough_free_room_is_not_named() -> None:
    on = disk(efi(), root(size=8 * GIB - 102 * MIB))
    for free in ({}, {2: 250 * MIB}):
        with pytest.raises(RefusedError) as caught:
            planned(on, free=free)
        assert "none of its partitions can give so much" in str(caught.value.hint)
    unshrinkable = disk(efi(), root(size=8 * GIB - 102 * MIB, content=Content(kind="xfs")))
    assert placement.what_to_shrink(unshrinkable, 300 * MIB, {2: 4 * GIB}) is None


def test_no_place_touches_the_ends_of_the_disk_or_any_partition() -> None:
    on = disk(efi(start=34 * 512, size=MIB), root())
    pieces = placement.free_pieces(on)
    assert pieces == [(2 * MIB, 101 * MIB), (2101 * MIB, 8 * GIB - MIB)]
    assert placement.place(on, 9 * GIB) is None
    assert placement.place(on, 50 * MIB) == 8 * GIB - 51 * MIB
    assert (
        placement.free_pieces(
            disk(kind=TableKind.NONE).__class__(
                path="/dev/sdb", id=DiskId(size=GIB), table=PartitionTable(kind=TableKind.NONE)
            )
        )
        == []
    )


def test_an_mbr_gives_a_primary_slot_outside_of_its_extended_partition() -> None:
    extended = a_partition(2, 3000 * MIB, 5000 * MIB, role=PartitionRole.EXTENDED, type="5")
    parts = (a_partition(1), extended, a_partition(5, 3001 * MIB, MIB, role=PartitionRole.LOGICAL))
    plan = planned(disk(*parts, kind=TableKind.MBR), Boot(menus=(MENU,)))
    assert (plan.number, plan.firmware) == (3, False)
    assert plan.start + plan.size == 3000 * MIB


def test_an_mbr_with_four_primary_partitions_is_refused() -> None:
    parts = [a_partition(n, n * 100 * MIB, 100 * MIB) for n in range(1, 5)]
    with pytest.raises(RefusedError, match="no free one of its four primary partitions") as caught:
        planned(disk(*parts, kind=TableKind.MBR), Boot(menus=(MENU,)))
    assert caught.value.code == "no-slot"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"roles": (Role.BOOT_MEDIUM,)}, "this computer was started from it"),
        ({"removable": True}, "removable"),
        ({"read_only": True}, "read-only"),
        ({"failing": "byte 0"}, "failing"),
        ({"problem": "no answer"}, "no answer"),
        ({"unfinished": "20260101"}, "only partly restored"),
        ({"table": PartitionTable(kind=TableKind.NONE)}, "no partitions"),
        ({"table": a_table(a_partition(type="42"), kind=TableKind.MBR)}, "dynamic disk"),
        ({"table": a_table(a_partition(1), a_partition(2))}, "overlap"),
        ({"table": a_table(a_partition(size=9 * GIB))}, "beyond its end"),
    ],
)
def test_what_cannot_get_one_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        planned(replace(disk(), **changes))


def test_the_disk_of_the_running_system_can_get_one() -> None:
    running = disk(roles=(Role.SYSTEM,), mounts=(Mount(source="/dev/sda2", where="/"),), holders=("dm-0",))
    assert planned(running).number == 3


def test_without_anything_to_start_it_from_it_is_refused() -> None:
    with pytest.raises(RefusedError, match="neither an EFI system partition nor a boot menu") as caught:
        planned(disk(root()), Boot())
    assert caught.value.code == "no-boot-menu"
    with pytest.raises(RefusedError, match="was not started by UEFI"):
        planned(disk(), Boot())
    with pytest.raises(RefusedError, match=r"does not read custom\.cfg"):
        planned(disk(root()), Boot(closed=("grub.cfg does not read custom.cfg",)))
    assert planned(disk(), Boot(firmware=True)).menus == ()


def test_a_size_that_cannot_hold_the_system_is_no_size() -> None:
    with pytest.raises(UsageError) as caught:
        planned(disk(), size=200 * MIB)
    assert caught.value.code == "size-too-small"
    assert planned(disk(), size=700 * MIB + 1).size == 701 * MIB
    assert planned(disk(), images=2 * GIB).size > 2 * GIB + 180 * MIB


def test_one_that_is_there_is_completed_where_it_is() -> None:
    plan = planned(disk(efi(), root(), own()))
    assert (plan.present, plan.number, plan.start, plan.size, plan.uuid) == (True, 5, 5000 * MIB, 600 * MIB, UUID)
    with pytest.raises(RefusedError, match="it has one already"):
        planned(disk(efi(), root(), own()), size=700 * MIB)
    in_use = disk(efi(), root(), own(), mounts=(Mount(source="/dev/sda5", where="/mnt"),))
    with pytest.raises(RefusedError, match="in use"):
        planned(in_use)
    looked_at = disk(efi(), root(), own(), mounts=(Mount(source="/dev/sda5", where="/run/rescue/media/sda5"),))
    assert planned(looked_at).present


def test_removing_takes_only_what_bears_our_mark() -> None:
    plan = ownplan.plan_remove(disk(efi(), root(), own()), (MENU,), firmware=True)
    assert (plan.number, plan.efi, plan.firmware) == (5, 1, True)
    foreign = own(recovery="")
    with pytest.raises(RefusedError) as caught:
        ownplan.plan_remove(disk(efi(), root(), foreign), (MENU,), firmware=True)
    assert caught.value.code == "not-ours"
    running = disk(efi(), root(), own(), roles=(Role.BOOT_MEDIUM,), kept=5)
    with pytest.raises(RefusedError, match="in use"):
        ownplan.plan_remove(running, (), firmware=False)


def test_plans_can_be_stored_and_name_the_disk_that_they_write_to() -> None:
    for plan in (planned(disk()), ownplan.plan_remove(disk(efi(), root(), own()), (MENU,), firmware=True)):
        assert decode(encode(plan)) == plan
        assert disks_used(plan)[0] == (plan.target.id, "/dev/sda", True)
        assert "sda" in plan.title


def test_a_mark_is_that_of_one_place_and_one_file_system() -> None:
    mark = ownmark.render(UUID, 600 * MIB)
    assert len(mark) == ownmark.SIZE
    assert ownmark.parse(mark, 600 * MIB) == UUID
    assert ownmark.parse(mark, 601 * MIB) == ""
    for at in range(0, len(mark.rstrip(b"\0\n")), 7):
        bad = mark[:at] + bytes([mark[at] ^ 1]) + mark[at + 1 :]
        assert ownmark.parse(bad, 600 * MIB) == ""
    assert ownmark.parse(b"", 1) == ownmark.parse(mark[:40], 600 * MIB) == ""
    assert ownmark.is_ours(own(), UUID)
    assert ownmark.is_ours(replace(own(), content=Content()), UUID)
    reused = replace(own(), content=Content(kind="ext4", label="data", uuid="other"))
    assert not ownmark.is_ours(reused, UUID)
    assert not ownmark.is_ours(own(), "")


def _image_of_root() -> tuple[Image, ImagedDisk]:
    volume = Volume(number=2, start=101 * MIB, size=2000 * MIB, used=MIB, map_origin="rescue")
    source = an_imaged_disk(id=DiskId(size=8 * GIB), table=a_table(efi(), root()), volumes=(volume,))
    return an_image(disks=(source,)), source


def running_from_it(**changes: Any) -> Disk:
    """The live system was started from the recovery partition; its layers are loop devices on it."""
    mounts = (
        Mount(source="/dev/sda5", where="/run/rescue/medium", read_only=True),
        Mount(source="/dev/loop0", where="/run/rescue/layers/root", read_only=True, beneath=("sda5",)),
    )
    roles = (Role.BOOT_MEDIUM, Role.LIBRARY)
    return replace(disk(efi(), root(), own(), roles=roles, kept=5, mounts=mounts), **changes)


def test_started_from_it_the_other_partitions_can_be_restored_and_nothing_else() -> None:
    image, source = _image_of_root()
    here = running_from_it()
    plan = partitions.plan_restore_partitions(Path("/lib"), image, "sda", here, {2: 2})
    assert plan.targets[0].names == ("sda2",)
    with pytest.raises(RefusedError, match="started from its recovery partition") as caught:
        planner.plan_restore(Path("/lib"), image, {"sda": here})
    assert caught.value.code == "protected-disk"
    assert "single partitions" in str(caught.value.hint)
    with pytest.raises(RefusedError, match="holds the image library") as caught:
        planner.plan_restore(Path("/lib"), image, {"sda": running_from_it(roles=(Role.LIBRARY,))})
    assert "a library on another disk" in str(caught.value.hint)
    large = replace(own(), size=2100 * MIB)
    into_itself = running_from_it(table=a_table(efi(), root(), large))
    with pytest.raises(RefusedError, match="started from its recovery partition"):
        partitions.plan_restore_partitions(Path("/lib"), image, "sda", into_itself, {2: 5})
    assert source.volumes[0].number == 2


def test_a_stick_that_the_computer_was_started_from_is_no_target_at_all() -> None:
    image, _ = _image_of_root()
    with pytest.raises(RefusedError, match="this computer was started from it"):
        partitions.plan_restore_partitions(Path("/lib"), image, "sda", running_from_it(kept=0), {2: 2})


def test_what_is_mounted_from_the_partition_itself_forbids_to_restore_it() -> None:
    image, _ = _image_of_root()
    loop = Mount(source="/dev/loop3", where="/mnt", beneath=("sda2",))
    here = running_from_it()
    with pytest.raises(RefusedError, match="loop3 is mounted at /mnt"):
        busy = replace(here, mounts=(*here.mounts, loop))
        partitions.plan_restore_partitions(Path("/lib"), image, "sda", busy, {2: 2})
