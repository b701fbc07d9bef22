"""A file system that does not grow is restored as it was, whatever the attempt has left."""

import os
from pathlib import Path

import pytest

from imaging import inventory, planner
from imaging.changes import Growth
from imaging.errors import IoError
from imaging.events import CaptureResult
from imaging.growth import with_growth
from imaging.library import Library
from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.faults.world import capture_here, carry_out_here


@pytest.mark.root
def test_what_a_growth_that_failed_left_in_a_disk_file_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was a hole in the file before that is none any more."""
    disk = partition(blank(tmp_path / "disk.img", 64 * MIB), "label: gpt\nstart=1MiB, size=40MiB\n")
    run("mkfs.ext4", "-q", "-b", "1024", "-E", f"offset={MIB}", disk, f"{40 << 10}")
    done = capture_here(disk, tmp_path / "library", tmp_path / "capture")
    assert isinstance(done.result, CaptureResult), done.message
    image = Library.open(tmp_path / "library").image(done.result.image)
    target = blank(tmp_path / "target.img", 128 * MIB)

    def failing(file: int, growth: Growth, *_rest: object) -> None:
        os.pwrite(file, b"junk" * (growth.old_size // 4), growth.start)
        raise IoError("it did not grow", code="tool-failed")

    monkeypatch.setattr("imaging.restoring.enlarge", failing)
    shown = inventory.look(str(target), [tmp_path / "library"])
    plan = with_growth(planner.plan_restore(tmp_path / "library", image, {"disk.img": shown}))
    assert carry_out_here(plan, tmp_path / "job").code == "not-grown"
    run_rescue("verify", image.id, "--library", tmp_path / "library", "--against", target)
