"""Targets and sources whose medium is full, fails or ends too early in the middle of the work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging import inventory, planner
from imaging.events import CaptureResult
from tests.command import run_rescue
from tests.disks import MIB, blank, looped, run
from tests.faults.killing import finish, start, wait_for_step
from tests.faults.world import DISK_SIZE, Sample, images_of, restore_here, tmpfs, verify_here, wide_disk

pytestmark = pytest.mark.root


@contextmanager
def _failing_beyond(path: Path, good: int) -> Iterator[str]:
    """A loop device of the captured disk's size whose medium is gone from `good` bytes on: EIO."""
    blank(path, DISK_SIZE)
    with looped(path) as loop:
        os.truncate(path, good)
        yield loop


def test_a_disk_file_on_a_full_file_system_says_that_it_is_partly_restored(captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "12M") as small:
        target = blank(small / "target.img", DISK_SIZE)
        words = ["restore", captured.image_id, target, "--erase", "target.img", "--library", captured.library]
        done = run_rescue(*words, "--json", status=5).events[-1]
        assert (done["code"], done["status"]) == ("no-space", 5)
        assert str(target) in done["message"]
        assert "only partly restored" in done["state"]
        assert "Restore the image again" in done["state"]
        assert inventory.look(str(target)).unfinished == captured.image_id
        said = run_rescue(*words, status=5).err
        assert "State: target.img is only partly restored" in said
        run("mount", "-o", "remount,size=60M", small)
        assert restore_here(captured, target, tmp_path / "again").status == 0
        assert verify_here(captured, tmp_path / "verify", against=target).status == 0


def test_a_new_file_on_a_full_file_system_is_an_io_failure(captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "12M") as small:
        words = ["restore", captured.image_id, small / "new.img", "--library", captured.library, "--json"]
        assert run_rescue(*words, status=5).events[-1]["code"] == "no-space"


def test_a_new_file_where_nothing_can_be_written_is_refused(captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "1M") as small:
        run("mount", "-o", "remount,ro", small)
        words = ["restore", captured.image_id, small / "new.img", "--library", captured.library, "--json"]
        done = run_rescue(*words, status=3).events[-1]
        assert done["code"] == "target-read-only"
        assert str(small / "new.img") in done["message"]


def test_a_device_that_fails_when_written_to_is_partly_restored(captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "14M") as small, looped(blank(small / "backing.img", DISK_SIZE)) as loop:
        done = restore_here(captured, Path(loop), tmp_path / "job")
        assert (done.status, done.code) in ((5, "write-failed"), (5, "no-space")), done.message
        assert loop in done.message
        assert f"{Path(loop).name} is only partly restored" in done.state
        run("mount", "-o", "remount,size=60M", small)
        assert restore_here(captured, Path(loop), tmp_path / "again").status == 0
        assert verify_here(captured, tmp_path / "verify", against=Path(loop)).status == 0


def test_a_disk_whose_end_cannot_be_read_is_no_target_and_says_why(captured: Sample, tmp_path: Path) -> None:
    with _failing_beyond(tmp_path / "backing.img", 12 * MIB) as loop:
        found = inventory.look(loop)
        assert "Input/output error" in found.problem
        done = run_rescue(
            "restore", captured.image_id, loop, "--erase", Path(loop).name, "--library", captured.library,
            "--json", status=3,
        )  # fmt: skip
        assert "Input/output error" in done.json["error"]["message"]


def test_a_source_whose_medium_fails_in_the_middle_is_a_damaged_image(tmp_path: Path) -> None:
    backing = wide_disk(tmp_path / "pc.img", 28)
    library = tmp_path / "library"
    with looped(backing) as loop:
        job = start(planner.plan_capture([inventory.look(loop)], library, level=19))
        wait_for_step(job, "Capturing")
        os.truncate(backing, 2 * MIB)
        done = finish(job).finished
    assert done is not None
    assert (done.status, done.code) == (8, "source-unreadable"), done.message
    assert isinstance(done.result, CaptureResult)
    # How many chunks were read before the end was gone depends on how busy the machine is.
    assert 8 * MIB < done.result.unreadable < 29 * MIB
    assert images_of(library) == [done.result.image]
