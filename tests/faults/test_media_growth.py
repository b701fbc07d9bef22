"""The images partition of a medium that was copied with dd: made, enlarged, cut off at any moment."""

import os
from pathlib import Path

import pytest

from imaging import inventory, mediaplan, medium
from imaging.disk import PartitionTable
from imaging.errors import RefusedError
from imaging.events import MediaGrowResult
from imaging.recoveryplans import MediaGrowPlan
from tests.command import run_rescue
from tests.disks import MIB, run
from tests.faults.killing import finish, moments, seconds_of, start
from tests.faults.media import a_stick, examined, kill_job, library_on, plan_create, systems
from tests.faults.test_media import KILLS
from tests.faults.world import Sample, carry_out_here, verify_here

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def system(quick: Path) -> Path:
    """A small recovery system."""
    return systems(quick / "growing")[0]


def _plan(stick: Path) -> MediaGrowPlan:
    return mediaplan.plan_grow(inventory.look(str(stick)), medium.look(str(stick)))


def _copied(system: Path, folder: Path, size: int = 600 * MIB) -> Path:
    """A stick as dd leaves it."""
    stick = folder / "stick.img"
    run("cp", "--sparse=always", system, stick)
    os.truncate(stick, size)
    return stick


def _ids(table: PartitionTable) -> list[str]:
    return [part.uuid for part in table.partitions]


def _fsck(stick: Path) -> None:
    part = medium.look(str(stick)).images
    assert part is not None
    run("e2fsck", "-fn", f"{stick}?offset={part.start}")


def test_a_copied_stick_gets_an_images_partition_and_stays_whole(system: Path, tmp_path: Path) -> None:
    stick = _copied(system, tmp_path)
    with pytest.raises(AssertionError):
        _fsck(stick)
    said = run_rescue("media", "grow", stick, "--erase", "stick.img")
    assert "has an images partition of" in said.out
    assert (examined(stick).findings, examined(stick).has_images) == ((), True)
    part = medium.look(str(stick)).images
    assert part is not None
    assert (part.start % (64 * MIB), part.end) == (0, 599 * MIB)
    _fsck(stick)
    with pytest.raises(RefusedError, match="nothing to gain"):
        _plan(stick)


def test_an_images_partition_grows_with_what_is_on_it(system: Path, captured: Sample, tmp_path: Path) -> None:
    stick = a_stick(tmp_path)
    assert carry_out_here(plan_create(system, stick, [captured]), tmp_path / "job").status == 0
    before = inventory.look(str(stick)).table
    os.truncate(stick, 900 * MIB)
    done = carry_out_here(_plan(stick), tmp_path / "grow")
    assert isinstance(done.result, MediaGrowResult), done
    assert done.result.size - done.result.before == 560 * MIB
    assert examined(stick).findings == ()
    after = inventory.look(str(stick)).table
    assert (before.table_id, _ids(before)) == (after.table_id, _ids(after))
    _fsck(stick)
    with library_on(stick) as library:
        sample = Sample(library, captured.image_id, captured.disk)
        assert verify_here(sample, tmp_path / "verify").status == 0
        room = os.statvfs(library)
        assert room.f_blocks * room.f_frsize > 600 * MIB


@pytest.mark.parametrize("with_images", [False, True])
def test_a_growth_that_is_killed_at_any_moment_leaves_a_whole_medium_and_is_completed_by_the_next(
    system: Path, captured: Sample, tmp_path: Path, with_images: bool
) -> None:
    first = tmp_path / "first.img"
    if with_images:
        stick = a_stick(tmp_path)
        assert carry_out_here(plan_create(system, stick, [captured]), tmp_path / "job").status == 0
        stick.rename(first)
    else:
        run("cp", system, first)
    stick = _copied(first, tmp_path, 900 * MIB)
    longest = seconds_of(finish(start(_plan(stick)))) + 0.02
    for moment in moments(KILLS, longest, seed=6):
        stick = _copied(first, tmp_path, 900 * MIB)
        kill_job(_plan(stick), moment, stick)
        assert examined(stick).findings == ()
        try:
            plan = _plan(stick)
        except RefusedError as error:
            assert error.code == "nothing-to-grow"
        else:
            assert carry_out_here(plan, tmp_path / "again").status == 0
        assert examined(stick).findings == ()
        _fsck(stick)
        part = medium.look(str(stick))
        assert part.images is not None
        assert part.filled == part.images.size


def test_a_stick_with_other_partitions_behind_the_system_is_refused(system: Path, tmp_path: Path) -> None:
    stick = _copied(system, tmp_path)
    run("sfdisk", "--quiet", "--append", "--wipe", "never", stick, text="start=400MiB, size=10MiB\n")
    with pytest.raises(RefusedError, match=r"partition 3 is none of a recovery medium's"):
        _plan(stick)


def test_a_disk_that_is_no_medium_is_refused(tmp_path: Path) -> None:
    assert "not a recovery medium" in run_rescue("media", "grow", a_stick(tmp_path), "--erase", "x", status=4).err
