"""A restore that was cut off is completed with `rescue complete`, as it was to be, and with nothing remembered."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from imaging import inventory, planner
from imaging.disk import Disk
from imaging.errors import IoError
from imaging.events import RestoreResult
from imaging.partitions import plan_restore_partitions
from imaging.restore import _FromLibrary
from imaging.restoreplans import RestorePlan, Wipe
from imaging.resuming import cut_off, plan_completion, plan_undoing
from imaging.writer import Target
from rescue.engine import Engine
from tests.command import run_rescue
from tests.disks import MIB, blank, partition
from tests.faults.world import DISK_SIZE, Sample, carry_out_here, holds_used_bytes, images_of


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A disk that holds something else."""
    return blank(tmp_path / "target.img", DISK_SIZE, 0xAA)


def planned(sample: Sample, target: Path) -> RestorePlan:
    """The restore of the sample onto a whole disk."""
    shown = inventory.look(str(target), [sample.library])
    return planner.plan_restore(sample.library, sample.image, {sample.imaged.name: shown})


def cut(sample: Sample, plan: RestorePlan, folder: Path) -> None:
    """Begin a restore that ends in the middle: a chunk is away meanwhile."""
    frame = max((sample.library / "chunks").rglob("*.cacnk"), key=lambda path: path.stat().st_size)
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-100])
    assert carry_out_here(plan, folder).status == 4
    frame.write_bytes(whole)


def test_the_same_restore_goes_on_and_writes_only_what_is_missing(sample: Sample, target: Path, tmp_path: Path) -> None:
    cut(sample, planned(sample, target), tmp_path / "job")
    words = ("complete", target, "--library", sample.library)
    shown = run_rescue(*words, "--plan")
    assert f"holds an unfinished restore of image {sample.image_id}" in shown.out
    assert "was not confirmed" in run_rescue(*words, status=3).err
    assert not holds_used_bytes(sample, target)
    run_rescue(*words, "--erase", target.name)
    assert holds_used_bytes(sample, target)
    assert "there is nothing to complete" in run_rescue(*words, "--erase", target.name, status=3).err


class Workshop(Engine):
    """The real engine, but its one disk is a disk file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def disks(self, libraries: Iterable[Path] = ()) -> Sequence[Disk]:
        """The file."""
        return [inventory.look(str(self.file), libraries)]


@pytest.mark.parametrize("running", [True, False])
def test_what_a_job_is_at_work_on_was_not_cut_off(
    sample: Sample, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    plan = planned(sample, target)
    cut(sample, plan, tmp_path / "job")
    job = SimpleNamespace(known_plan=plan, state="running" if running else "died")
    monkeypatch.setattr("imaging.jobs.jobs", lambda: [job])
    assert [found.names for found in Workshop(target).cut_off()] == ([] if running else [(target.name,)])


def test_it_is_wiped_and_not_read_back_as_it_was_to_be(sample: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "larger.img", DISK_SIZE + 8 * MIB, 0xAA)
    plan = replace(planned(sample, target), wipe=Wipe.OVERWRITE, read_back=False)
    cut(sample, plan, tmp_path / "job")
    (found,) = cut_off([inventory.look(str(target), [sample.library])])
    again = plan_completion(found, [sample.library])
    assert (again.wipe, again.read_back) == (Wipe.OVERWRITE, False)
    assert str(sample.library)[-20:] in found.manner.library
    done = carry_out_here(again, tmp_path / "again")
    assert isinstance(done.result, RestoreResult)
    assert done.result.wiped is Wipe.OVERWRITE
    assert bytes([0xAA]) * 4096 not in target.read_bytes()


@pytest.fixture
def divided(tmp_path: Path) -> Path:
    """A disk with two partitions that take those of the sample, and a third."""
    table = "label: gpt\nstart=1MiB, size=13MiB\nstart=20MiB, size=22MiB\nstart=44MiB, size=10MiB\n"
    return partition(blank(tmp_path / "other.img", 60 * MIB, 0xAA), table)


def cut_before_the_second(
    sample: Sample, target: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, safety: str = ""
) -> None:
    """Begin a restore of both partitions, which comes to the first alone."""
    shown = inventory.look(str(target), [sample.library])
    plan = plan_restore_partitions(sample.library, sample.image, sample.imaged.name, shown, {1: 1, 2: 2})
    whole = _FromLibrary.write_body

    def write_body(disk: _FromLibrary) -> None:
        if disk.name.endswith(":2"):
            raise IoError("the power is gone", code="io")
        whole(disk)

    with monkeypatch.context() as patch:
        patch.setattr(_FromLibrary, "write_body", write_body)
        assert carry_out_here(replace(plan, safety=safety), folder).status == 5


def test_partitions_come_back_and_nothing_beside_them_is_touched(
    sample: Sample, divided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, kept = divided.read_bytes(), tmp_path / "kept"
    cut_before_the_second(sample, divided, tmp_path / "job", monkeypatch, str(kept))
    assert divided.read_bytes() != before
    (found,) = cut_off([inventory.look(str(divided), [sample.library])])
    plan = plan_undoing(found, [kept])
    assert [spot.partition for spot in plan.targets[0].partitions] == [1, 2], "and the table stays"
    assert carry_out_here(plan, tmp_path / "again").status == 0
    assert divided.read_bytes() == before


def test_partitions_that_were_not_come_to_yet_are_restored_too(
    sample: Sample, divided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = divided
    cut_before_the_second(sample, target, tmp_path / "job", monkeypatch)
    marks = [part.unfinished for part in inventory.look(str(target), [sample.library]).table.partitions]
    assert marks == [sample.image_id, "", ""]
    words = ("complete", target, "--library", sample.library)
    run_rescue(*words, "--erase", f"{target.name}:1", "--erase", f"{target.name}:2")
    for number in (1, 2):
        check = ("verify", sample.image_id, "--against", target, "--partition", number, "--library", sample.library)
        run_rescue(*check)


def test_the_mark_is_on_the_medium_before_anything_else_is_written(
    sample: Sample, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what a drive has in its cache the loss of its power leaves any part, in any order."""
    done: list[tuple[int, int] | str] = []
    write, sync = Target.write, Target.sync

    def written(self: Target, data: memoryview | bytes, offset: int) -> None:
        done.append((offset, len(data)))
        write(self, data, offset)

    def synced(self: Target) -> None:
        done.append("sync")
        sync(self)

    monkeypatch.setattr(Target, "write", written)
    monkeypatch.setattr(Target, "sync", synced)
    assert carry_out_here(planned(sample, target), tmp_path / "job").status == 0
    assert done[:2] == [(0, 512), "sync"]
    assert "sync" in done[2:5], "and what else there was of the table is gone before the first of the data"
    taken = [one for one in done[2 : done.index("sync", 2)] if not isinstance(one, str)]
    assert all(at < MIB or at >= DISK_SIZE - MIB for at, _size in taken)


def test_without_the_library_the_image_and_where_it_was_are_told(sample: Sample, target: Path, tmp_path: Path) -> None:
    cut(sample, planned(sample, target), tmp_path / "job")
    run_rescue("library", "init", tmp_path / "other")
    before = target.read_bytes()
    done = run_rescue("complete", target, "--library", tmp_path / "other", "--erase", target.name, status=3)
    assert f"image {sample.image_id} is needed to complete the restore of {target.name}" in done.err
    assert "it was in library" in done.err
    assert sample.library.name in done.err
    assert target.read_bytes() == before


def test_a_mark_that_names_nothing_but_its_image_is_enough_for_one_disk(
    sample: Sample, target: Path, tmp_path: Path
) -> None:
    """As programs wrote it that knew no more: zeros stand where the rest does now."""
    cut(sample, planned(sample, target), tmp_path / "job")
    with target.open("r+b") as file:
        file.seek(0xA0)
        file.write(bytes(0x60))
    run_rescue("complete", target, "--library", sample.library, "--erase", target.name)
    assert holds_used_bytes(sample, target)


def test_what_was_saved_before_is_brought_back_in_its_place(sample: Sample, tmp_path: Path) -> None:
    used = tmp_path / "used.img"
    shutil.copyfile(sample.disk, used)
    with used.open("r+b") as file:
        file.seek(MIB)
        file.write(bytes(33 * MIB))
        file.seek(DISK_SIZE // 2)
        file.write(b"mine" * 4096)
    before = used.read_bytes()
    kept = tmp_path / "kept"
    carried = replace(planned(sample, used), safety=str(kept))
    cut(sample, carried, tmp_path / "job")
    assert used.read_bytes() != before
    assert len(images_of(kept)) == 1
    run_rescue("undo", "--library", kept, "--to", used, "--erase", used.name)
    assert b"mine" * 4096 in used.read_bytes()
    assert "nothing to complete" in run_rescue("complete", used, "--library", sample.library, status=3).err
