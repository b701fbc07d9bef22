"""Restores that must not stop half-way between disks, nor go on where the first write failed."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import inventory, planner
from imaging.errors import ExitStatus, IoError
from imaging.events import RestoreResult
from imaging.library import Library
from imaging.restoreplans import RestorePlan
from imaging.writer import Target
from tests.command import Outcome
from tests.disks import MIB, blank
from tests.faults.world import DISK_SIZE, Sample, carry_out_here, sample_disk

Rescue = Callable[..., Outcome]
FILL = 0xAA


def _filled(path: Path) -> bytes:
    return path.read_bytes()


def test_no_disk_is_written_to_where_another_cannot_be(tmp_path: Path, rescue: Rescue) -> None:
    sources = [sample_disk(tmp_path / name, seed=seed) for seed, name in enumerate(("a.img", "b.img"))]
    library = tmp_path / "library"
    image = rescue("capture", *sources, "--library", library, "--json").events[-1]["result"]["image"]
    first, second = (blank(tmp_path / name, DISK_SIZE, FILL) for name in ("x.img", "y.img"))
    before = _filled(first)
    words = ["restore", image, f"a.img={first}", f"b.img={second}", "--erase", "x.img", "--erase", "y.img"]
    with second.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = rescue(*words, "--library", library, status=ExitStatus.REFUSED)
    assert "y.img" in done.out + done.err
    assert _filled(first) == before
    rescue(*words, "--library", library)
    assert [first.read_bytes()[MIB:], second.read_bytes()[MIB:]] != [before[MIB:], before[MIB:]]
    for name, target in (("a.img", first), ("b.img", second)):
        rescue("verify", image, "--disk", name, "--against", target, "--library", library)


def _plan(sample: Sample, target: Path) -> RestorePlan:
    shown = inventory.look(str(target), [sample.library])
    image = Library.open(sample.library).image(sample.image_id)
    return planner.plan_restore(sample.library, image, {sample.disk.name: shown})


def test_nothing_is_written_where_the_table_cannot_be_taken_away(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE, FILL)
    before = _filled(target)
    write = Target.write

    def failing(self: Target, data: memoryview | bytes, offset: int) -> None:
        if offset == 0:
            raise IoError("the first sector is bad", code="write-failed")
        write(self, data, offset)

    monkeypatch.setattr(Target, "write", failing)
    finished = carry_out_here(_plan(sample, target), tmp_path / "job")
    assert finished.status == ExitStatus.IO_FAILURE
    assert "old partition table may still be there" in finished.state
    assert _filled(target) == before


def test_a_table_alone_is_mended_and_told(sample: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE, FILL)
    carry_out_here(_plan(sample, target), tmp_path / "first")
    with target.open("r+b") as file:
        file.write(bytes(512))
    finished = carry_out_here(_plan(sample, target), tmp_path / "second")
    assert isinstance(finished.result, RestoreResult)
    assert (finished.result.written, finished.result.tables) == (0, 1)
    assert "partition table" in finished.message
    assert target.read_bytes()[:512] == sample.disk.read_bytes()[:512]


def test_a_table_that_is_not_found_when_read_back_is_a_failure(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE, FILL)
    write = Target.write

    def forgetful(self: Target, data: memoryview | bytes, offset: int) -> None:
        if offset != 512:
            write(self, data, offset)

    monkeypatch.setattr(Target, "write", forgetful)
    finished = carry_out_here(_plan(sample, target), tmp_path / "job")
    assert (finished.status, finished.code) == (ExitStatus.IO_FAILURE, "read-back-differs")


def test_a_partition_that_was_filled_since_the_plan_is_not_erased(sample: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE)
    sample_disk(target)
    plan = _plan(sample, target)
    with target.open("r+b") as file:
        file.seek(14 * MIB)
        swap = bytearray(4096)
        swap[1024:1028] = (1).to_bytes(4, "little")
        swap[1028:1032] = (1000).to_bytes(4, "little")
        swap[-10:] = b"SWAPSPACE2"
        file.write(swap)
    before = _filled(target)
    finished = carry_out_here(plan, tmp_path / "job")
    assert (finished.status, finished.code) == (ExitStatus.REFUSED, "disk-changed")
    assert _filled(target) == before


def test_a_manifest_whose_table_leaves_out_the_first_sector_is_refused(sample: Sample, tmp_path: Path) -> None:
    hostile = sample.copy(tmp_path / "hostile")

    def change(image: dict[str, object]) -> None:
        disks = image["disks"]
        assert isinstance(disks, list)
        disks[0]["table_extents"] = []

    hostile.edit(change)
    listing = Library.open(hostile.library).images()
    assert [damaged.id for damaged in listing.damaged] == [sample.image_id]
