"""What the planner allows, and what it refuses with which words."""

from pathlib import Path

import pytest

from imaging import marks, plan, planner
from imaging.disk import DiskId, Mount, Role, TableKind
from imaging.errors import RefusedError, UsageError
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table, an_image, an_imaged_disk

LIBRARY = Path("/library")


def test_a_free_disk_of_the_same_size_can_be_restored_onto() -> None:
    assert planner.why_not_target(a_disk(), an_imaged_disk()) == ""


@pytest.mark.parametrize("role", list(Role))
def test_a_protected_disk_is_never_a_target(role: Role) -> None:
    disk = a_disk(roles=(role,))
    assert planner.why_not_target(disk, an_imaged_disk())
    with pytest.raises(RefusedError) as error:
        planner.plan_restore(LIBRARY, an_image(), {"sda": disk})
    assert error.value.code == "protected-disk"


def test_a_mounted_disk_is_refused_and_the_mount_is_named() -> None:
    disk = a_disk(mounts=(Mount(source="/dev/sda1", where="/mnt"),))
    assert "/mnt" in planner.why_not_target(disk, an_imaged_disk())


def test_a_disk_with_swap_in_use_is_refused() -> None:
    disk = a_disk(mounts=(Mount(source="/dev/sda2", where="[swap]"),))
    assert "swap" in planner.why_not_target(disk, an_imaged_disk())


def test_a_medium_that_the_live_system_mounted_read_only_itself_can_be_a_target() -> None:
    disk = a_disk(mounts=(Mount(source="/dev/sda1", where="/run/rescue/media/sda1", read_only=True),))
    assert planner.why_not_target(disk, an_imaged_disk()) == ""


def test_a_held_disk_is_refused() -> None:
    assert "dm-0" in planner.why_not_target(a_disk(holders=("dm-0",)), an_imaged_disk())


def test_a_read_only_disk_is_refused() -> None:
    with pytest.raises(RefusedError) as error:
        planner.plan_restore(LIBRARY, an_image(), {"sda": a_disk(read_only=True)})
    assert error.value.code == "target-read-only"


def test_a_disk_that_cannot_be_read_is_refused_with_the_reason() -> None:
    disk = a_disk(fingerprint="", problem="Input/output error")
    assert planner.why_not_target(disk, an_imaged_disk()) == "Input/output error"


def test_a_smaller_disk_is_refused_with_needed_and_actual_size() -> None:
    small = a_disk(id=DiskId(size=50 * MIB))
    with pytest.raises(RefusedError) as error:
        planner.plan_restore(LIBRARY, an_image(), {"sda": small})
    assert error.value.code == "target-too-small"
    assert f"{50 * MIB:,} bytes" in error.value.message
    assert f"{101 * MIB + 33 * 512:,} bytes" in error.value.message


def test_a_smaller_disk_that_still_takes_all_partitions_is_allowed() -> None:
    just_enough = a_disk(id=DiskId(size=101 * MIB + 33 * 512))
    assert planner.why_not_target(just_enough, an_imaged_disk()) == ""


def test_a_bare_file_system_needs_the_whole_size() -> None:
    bare = an_imaged_disk(table=a_table(kind=TableKind.NONE))
    assert planner.needed_size(bare) == GIB


def test_other_sector_sizes_are_refused_on_a_disk() -> None:
    assert "4096" in planner.why_not_target(a_disk(logical_sector=4096), an_imaged_disk())


def test_two_disks_cannot_go_onto_one() -> None:
    image = an_image(disks=(an_imaged_disk(), an_imaged_disk(name="sdb")))
    with pytest.raises(UsageError):
        planner.plan_restore(LIBRARY, image, {"sda": a_disk(), "sdb": a_disk()})


def test_a_file_inside_the_library_is_no_target() -> None:
    inside = a_disk(path="/library/chunks/x.img", regular_file=True)
    with pytest.raises(RefusedError):
        planner.plan_restore(LIBRARY, an_image(), {"sda": inside})


def test_an_unknown_disk_of_the_image_is_named() -> None:
    with pytest.raises(UsageError, match="sdz"):
        planner.plan_restore(LIBRARY, an_image(), {"sdz": a_disk()})


def test_a_disk_that_is_mounted_writable_is_not_captured() -> None:
    disk = a_disk(mounts=(Mount(source="/dev/sda1", where="/mnt"),))
    with pytest.raises(RefusedError) as error:
        planner.plan_capture([disk], LIBRARY)
    assert error.value.code == "in-use"
    assert error.value.hint


def test_a_disk_that_is_mounted_read_only_can_be_captured() -> None:
    disk = a_disk(mounts=(Mount(source="/dev/sda1", where="/mnt", read_only=True),))
    assert planner.plan_capture([disk], LIBRARY).disks == (disk,)


def test_a_disk_is_not_captured_into_the_library_that_it_holds() -> None:
    with pytest.raises(RefusedError):
        planner.plan_capture([a_disk(roles=(Role.LIBRARY,))], LIBRARY)


def test_an_unfinished_restore_is_not_captured() -> None:
    with pytest.raises(RefusedError, match="partly restored"):
        planner.plan_capture([a_disk(unfinished="20260101-000000-abcd")], LIBRARY)


@pytest.mark.parametrize("answer", ["sda", "S1", " sda\n"])
def test_name_or_serial_number_confirm(answer: str) -> None:
    assert planner.confirms(answer, a_disk())


@pytest.mark.parametrize("answer", ["", " ", "sd", "sdb", "yes", "/dev/sdb"])
def test_anything_else_does_not_confirm(answer: str) -> None:
    assert not planner.confirms(answer, a_disk())


def test_an_empty_serial_number_does_not_confirm() -> None:
    assert not planner.confirms("", a_disk(id=DiskId(size=GIB)))


def test_plans_survive_being_written_down() -> None:
    plans: list[plan.Plan] = [
        planner.plan_capture([a_disk()], LIBRARY, "PC"),
        planner.plan_restore(LIBRARY, an_image(), {"sda": a_disk()}),
        planner.plan_verify(LIBRARY, an_image(), against=a_disk()),
        planner.plan_capture([a_disk()], LIBRARY, check=True),
        planner.plan_verify(LIBRARY, an_image(), check=True),
    ]
    for made in plans:
        assert plan.decode(plan.encode(made)) == made


def test_a_plan_of_another_version_is_refused() -> None:
    data = plan.encode(planner.plan_capture([a_disk()], LIBRARY)).replace(b'"version": 2', b'"version": 3')
    with pytest.raises(UsageError, match="version 3"):
        plan.decode(data)


def test_identity_is_by_wwn_where_both_have_one() -> None:
    one = DiskId(size=1, wwn="0x1", serial="A")
    assert one.same_disk(DiskId(size=1, wwn="0x1", serial="B"))
    assert not one.same_disk(DiskId(size=1, wwn="0x2", serial="A"))
    assert one.same_disk(DiskId(size=1, serial="A"))
    assert not one.same_disk(DiskId(size=2, serial="A"))


def test_gpt_needs_room_for_its_copy_after_the_last_partition() -> None:
    source = an_imaged_disk(table=a_table(a_partition(start=MIB, size=GIB - 2 * MIB)))
    assert planner.needed_size(source) == GIB - MIB + 33 * 512


def test_a_disk_that_cannot_be_read_any_more_is_not_said_to_have_been_written_to() -> None:
    gone = a_disk(fingerprint="", table=a_table(kind=TableKind.NONE), problem="/dev/sda cannot be opened: I/O error")
    with pytest.raises(RefusedError, match="cannot be opened: I/O error") as error:
        marks.refuse_if_changed(a_disk(), gone)
    assert error.value.code == "unreadable-disk"


def test_a_disk_to_compare_is_refused_where_there_is_nothing_to_compare_it_with() -> None:
    with pytest.raises(UsageError, match="give --against, too"):
        planner.plan_verify(LIBRARY, an_image(), disk="sda")


def test_file_systems_are_not_checked_while_a_disk_is_compared() -> None:
    with pytest.raises(UsageError, match="leave --against out"):
        planner.plan_verify(LIBRARY, an_image(), against=a_disk(), check=True)
