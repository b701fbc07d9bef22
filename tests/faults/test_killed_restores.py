"""A restore whose worker is killed: the disk says so, boots nothing, and the same restore completes it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import inventory, planner
from imaging.events import CaptureResult, RestoreResult
from imaging.jobs import JobState
from imaging.restoreplans import RestorePlan
from tests.command import Outcome
from tests.disks import MIB, blank, looped, partition
from tests.faults.killing import finish, kill, kill_after, moments, seconds_of, start, wait_for_first_write
from tests.faults.test_killed_captures import KILLS
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    holds_used_bytes,
    restore_here,
    sample_disk,
    verify_here,
)

Rescue = Callable[..., Outcome]


def _plan(sample: Sample, target: Path | str) -> RestorePlan:
    shown = inventory.look(str(target), [sample.library])
    return planner.plan_restore(sample.library, sample.image, {sample.disk.name: shown})


def _judge(sample: Sample, target: Path, untouched: bytes) -> str:
    """What a killed restore left: fails unless it is one of the three states that are allowed."""
    found = inventory.look(str(target))
    if found.unfinished:
        assert found.unfinished == sample.image_id
        assert found.table.partitions == ()
        return "unfinished"
    if target.read_bytes() == untouched:
        return "untouched"
    assert holds_used_bytes(sample, target), "a table without its data"
    return "restored"


def _completes(sample: Sample, target: Path, folder: Path) -> RestoreResult:
    """Restore again, and prove that nothing is missing."""
    done = restore_here(sample, target, folder / "again")
    assert done.status == 0, done.message
    assert isinstance(done.result, RestoreResult)
    assert done.result.written + done.result.skipped >= done.result.compared > 0
    assert holds_used_bytes(sample, target)
    assert verify_here(sample, folder / "verify", against=target).status == 0
    assert inventory.look(str(target)).unfinished == ""
    return done.result


def _old_system(path: Path, kind: str) -> Path:
    """A target full of 0xAA, without a table or with one that used to start a computer."""
    blank(path, DISK_SIZE, fill=0xAA)
    if kind != "none":
        partition(path, f"label: {kind}\nstart=1MiB, size=40MiB\n")
    return path


@pytest.mark.parametrize("kind", ["none", "gpt", "dos"])
def test_a_restore_killed_at_any_moment_is_known_as_such_and_completed_by_the_next(
    captured: Sample, tmp_path: Path, kind: str
) -> None:
    measured = _old_system(tmp_path / "measured.img", kind)
    longest = seconds_of(finish(start(_plan(captured, measured)))) + 0.05
    seen: list[str] = []
    for turn, moment in enumerate(moments(-(-KILLS // 3), longest, seed=len(kind))):
        target = _old_system(tmp_path / "target.img", kind)
        untouched = target.read_bytes()
        job = start(_plan(captured, target))
        if turn % 2:
            wait_for_first_write(job, target)
        if kill_after(job, moment / (10 if turn % 2 else 1)):
            assert job.died().status == 5
            assert "target.img may be only partly restored" in job.died().state
            seen.append(_judge(captured, target, untouched))
        else:
            assert job.state is JobState.DONE
        _completes(captured, target, tmp_path)
    assert "unfinished" in seen


def test_a_restore_killed_again_and_again_gets_done(captured: Sample, tmp_path: Path) -> None:
    target = _old_system(tmp_path / "target.img", "gpt")
    for moment in (0.02, 0.06, 0.1):
        kill_after(start(_plan(captured, target)), moment)
    _completes(captured, target, tmp_path)


def test_watching_a_killed_restore_tells_the_state_of_the_disk(rescue: Rescue, tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "pc.img", size=160 * MIB, megabytes=30)
    result = capture_here(disk, tmp_path / "library", tmp_path / "capture").result
    assert isinstance(result, CaptureResult)
    sample = Sample(tmp_path / "library", result.image, disk)
    target = blank(tmp_path / "target.img", 160 * MIB, fill=0xAA)
    job = start(_plan(sample, target))
    wait_for_first_write(job, target)
    kill(job)
    told = rescue("watch", job.id, status=5)
    assert "target.img may be only partly restored, and then does not start a computer." in told.err
    assert "restore the image again" in told.err
    end = rescue("watch", job.id, "--json", status=5).events[-1]
    assert (end["status"], end["code"]) == (5, "worker-died")
    assert "partly restored" in end["state"]
    assert rescue("cancel", job.id, "--json", status=2).json["error"]["code"] == "job-ended"
    words = ["restore", sample.image_id, target, "--library", sample.library, "--plan"]
    assert f"holds an unfinished restore of image {sample.image_id}" in rescue(*words).out
    refused = rescue("capture", target, "--library", tmp_path / "library", "--json", status=3).json["error"]
    assert f"only partly restored (from {sample.image_id})" in refused["message"]


@pytest.mark.root
@pytest.mark.parametrize("sector", [512, 4096])
def test_a_killed_restore_onto_a_block_device_is_completed_by_the_next(tmp_path: Path, sector: int) -> None:
    source = tmp_path / "pc.img"
    blank(source, DISK_SIZE)
    partition(source, f"label: gpt\nstart={MIB // sector}, size={40 * MIB // sector}\n", sector)
    with source.open("r+b") as file:
        file.seek(MIB)
        file.write(os.urandom(24 * MIB))
    result = capture_here(source, tmp_path / "library", tmp_path / "capture").result
    assert isinstance(result, CaptureResult)
    sample = Sample(tmp_path / "library", result.image, source)
    target = blank(tmp_path / "target.img", DISK_SIZE, fill=0xAA)
    with looped(target, sector=sector) as loop:
        job = start(_plan(sample, loop))
        wait_for_first_write(job, Path(loop))
        kill(job)
        assert inventory.look(loop).unfinished == sample.image_id
        done = restore_here(sample, Path(loop), tmp_path / "again")
        assert done.status == 0, done.message
        assert verify_here(sample, tmp_path / "verify", against=Path(loop)).status == 0
        assert inventory.look(loop).table.partitions == sample.imaged.table.partitions
    assert holds_used_bytes(sample, target)
