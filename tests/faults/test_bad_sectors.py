"""A disk with bad sectors is captured as far as it can be read, and nobody takes its image for a whole one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import inventory, salvage
from imaging.blockdev import read_exactly
from imaging.errors import IoError
from imaging.events import CaptureResult, Finished, RestoreResult, VerifyResult
from imaging.partitions import plan_restore_partitions, plan_verify
from rescue import outcome, report
from tests.command import Outcome
from tests.disks import MIB, blank
from tests.faults.world import (
    Sample,
    capture_here,
    carry_out_here,
    restore_here,
    sample_disk,
    verify_here,
    warnings_of,
)

Command = Callable[..., Outcome]
BAD = 5 * MIB + 12345
"""Inside the first partition, where the sample has random data."""


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """An image of a disk of which one sector cannot be read."""

    def read(fd: int, buffer: memoryview, offset: int) -> None:
        if offset <= BAD < offset + len(buffer):
            raise IoError("reading failed", code="read-failed")
        read_exactly(fd, buffer, offset)

    disk = sample_disk(tmp_path / "pc.img")
    with monkeypatch.context() as patch:
        patch.setattr(salvage, "read_exactly", read)
        done = capture_here(disk, tmp_path / "library", tmp_path / "job")
    assert (done.status, done.code) == (8, "source-unreadable")
    assert "it is damaged: 512 bytes could not be read" in done.message
    assert isinstance(done.result, CaptureResult)
    assert done.result.unreadable == 512
    assert any("512 bytes at byte 5,242,880 of pc.img cannot be read" in line for line in warnings_of(tmp_path / "job"))
    return Sample(tmp_path / "library", done.result.image, disk)


def test_the_image_is_marked_as_damaged_wherever_it_is_shown(damaged: Sample, command: Command, tmp_path: Path) -> None:
    sector = BAD - BAD % 512
    assert damaged.imaged.unreadable == ((sector, sector + 512),)
    words = "DAMAGED: 512 bytes in 1 place could not be read and are zeros"
    assert "DAMAGED" in command("images", "--library", damaged.library).out
    assert words in command("show", damaged.image_id, "--library", damaged.library).out
    target = blank(tmp_path / "target.img", damaged.imaged.size)
    plan = command("restore", damaged.image_id, target, "--plan", "--library", damaged.library)
    assert words in plan.out


def test_all_that_could_be_read_comes_back(damaged: Sample, tmp_path: Path) -> None:
    assert verify_here(damaged, tmp_path / "verify").status == 0
    target = blank(tmp_path / "target.img", damaged.imaged.size, fill=0xAA)
    assert restore_here(damaged, target, tmp_path / "restore").status == 0
    sector = BAD - BAD % 512
    whole, found = bytearray(damaged.disk.read_bytes()), target.read_bytes()
    whole[sector : sector + 512] = bytes(512)
    assert found[: 20 * MIB] == whole[: 20 * MIB]


LOST = "512 bytes could not be read when the image was captured: zeros stand for them."
FIGURE = "Could not be read: 512 bytes; zeros stand for them"


def _told(done: Finished, *, lost: int) -> bool:
    """Whether an end without failure says how much is lost, or says nothing where nothing is."""
    assert done.status == 0, done.message
    assert isinstance(done.result, RestoreResult | VerifyResult)
    assert done.result.unreadable == lost
    told = (LOST in done.message, FIGURE in outcome.result_lines(done))
    assert told[0] == told[1]
    return told[0]


def test_what_is_lost_is_told_at_the_end_of_every_restore_and_verification(damaged: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", damaged.imaged.size)
    verified = verify_here(damaged, tmp_path / "verify")
    assert _told(verified, lost=512)
    assert "Everything is right" not in verified.message
    assert _told(restore_here(damaged, target, tmp_path / "restore"), lost=512)
    assert _told(restore_here(damaged, target, tmp_path / "again"), lost=512)
    assert _told(verify_here(damaged, tmp_path / "against", target), lost=512)


@pytest.mark.parametrize(("number", "lost"), [(1, 512), (2, 0)])
def test_a_partition_is_told_to_be_damaged_only_where_the_damage_lies_in_it(
    damaged: Sample, tmp_path: Path, number: int, lost: int
) -> None:
    target = sample_disk(tmp_path / "target.img", seed=2)
    shown = inventory.look(str(target), [damaged.library])
    plan = plan_restore_partitions(damaged.library, damaged.image, damaged.disk.name, shown, {number: number})
    line = "    DAMAGED: 512 bytes in 1 place could not be read and are zeros"
    assert (line in report.plan_lines(plan)) == bool(lost)
    assert _told(carry_out_here(plan, tmp_path / "restore"), lost=lost) == bool(lost)
    against = inventory.look(str(target), [damaged.library])
    compared = plan_verify(damaged.library, damaged.image, against=against, chosen={number: number})
    assert _told(carry_out_here(compared, tmp_path / "verify"), lost=lost) == bool(lost)


def test_the_next_capture_of_the_mended_disk_is_whole(damaged: Sample, tmp_path: Path) -> None:
    done = capture_here(damaged.disk, damaged.library, tmp_path / "again")
    assert done.status == 0
    assert isinstance(done.result, CaptureResult)
    assert done.result.new == 1
