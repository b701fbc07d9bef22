"""What a verification finds bad is set aside, mended from another library, or healed by the next capture."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from imaging.events import CaptureResult, VerifyResult
from imaging.imageplans import VerifyPlan
from imaging.library import Library
from imaging.partitions import plan_verify
from tests.command import Outcome
from tests.faults.world import Sample, capture_here, carry_out_here, chunk_path, verify_here, warnings_of


def plan_for(sample: Sample, other: Path | None = None) -> VerifyPlan:
    plan = plan_verify(sample.library, Library.open(sample.library).image(sample.image_id), chosen={})
    return replace(plan, repair_from=str(other) if other else "")


def damage(sample: Sample, *, missing: bool = False) -> Path:
    """Break the largest chunk."""
    frames = [chunk_path(sample.library, sample.index.id(i)) for i in range(len(sample.index))]
    frame = max(frames, key=lambda path: path.stat().st_size)
    if missing:
        frame.unlink()
        return frame
    data = bytearray(frame.read_bytes())
    data[len(data) // 2] ^= 1
    frame.write_bytes(data)
    return frame


def test_a_corrupt_chunk_is_set_aside_and_the_next_capture_heals_it(sample: Sample, tmp_path: Path) -> None:
    frame = damage(sample)
    done = verify_here(sample, tmp_path / "first")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert not frame.exists()
    assert frame.with_name(frame.name + ".bad").exists()
    again = capture_here(sample.disk, sample.library, tmp_path / "capture").result
    assert isinstance(again, CaptureResult)
    assert again.new == 1
    assert verify_here(sample, tmp_path / "second").status == 0


def test_the_volumes_that_it_hurts_are_named_and_those_that_it_does_not_are_not(sample: Sample, tmp_path: Path) -> None:
    # Chunk 0 is the head of the disk with its table, 1 to 4 are of the first partition, 5 to 10 of the second.
    assert [sample.index.start(i) for i in (1, 5)] == [v.start for v in sample.imaged.volumes]
    sample.chunk(6).unlink()
    result = verify_here(sample, tmp_path / "verify").result
    assert isinstance(result, VerifyResult)
    assert result.volumes == ("pc.img2",)
    assert "Hurt of this image: pc.img2" in warnings_of(tmp_path / "verify")
    sample.chunk(0).unlink()
    sample.chunk(1).unlink()
    again = verify_here(sample, tmp_path / "again").result
    assert isinstance(again, VerifyResult)
    assert sorted(again.volumes) == ["pc.img", "pc.img1", "pc.img2"]


def test_other_images_that_need_it_are_named(sample: Sample, tmp_path: Path) -> None:
    again = capture_here(sample.disk, sample.library, tmp_path / "capture").result
    assert isinstance(again, CaptureResult)
    damage(sample)
    result = verify_here(sample, tmp_path / "verify").result
    assert isinstance(result, VerifyResult)
    assert result.hurt == (again.image,)
    assert f"Hurt of image {again.image}: {result.volumes[0]}" in warnings_of(tmp_path / "verify")


@pytest.mark.parametrize("missing", [False, True])
def test_bad_chunks_are_mended_from_another_library(missing: bool, sample: Sample, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(sample.library, other)
    frame = damage(sample, missing=missing)
    done = carry_out_here(plan_for(sample, other), tmp_path / "mend")
    assert done.status == 0, done
    assert isinstance(done.result, VerifyResult)
    assert (done.result.mended, done.result.bad_count) == (1, 0)
    assert frame.exists()
    assert verify_here(sample, tmp_path / "verify").status == 0


def test_a_library_that_has_it_bad_too_mends_nothing(sample: Sample, tmp_path: Path) -> None:
    damage(sample)
    other = tmp_path / "other"
    shutil.copytree(sample.library, other)
    done = carry_out_here(plan_for(sample, other), tmp_path / "mend")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert isinstance(done.result, VerifyResult)
    assert done.result.mended == 0


def test_a_library_that_cannot_be_written_to_keeps_its_bad_chunk(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = damage(sample)

    def read_only(_self: Path, _target: Path) -> Path:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "rename", read_only)
    done = verify_here(sample, tmp_path / "verify")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert frame.exists()


def test_the_command_mends(sample: Sample, tmp_path: Path, rescue: Callable[..., Outcome]) -> None:
    other = tmp_path / "other"
    shutil.copytree(sample.library, other)
    damage(sample)
    words = ["verify", sample.image_id, "--library", sample.library]
    assert "Mended: 1 chunk" in rescue(*words, "--repair-from", other).out
    assert "leave --against out" in rescue(*words, "--repair-from", other, "--against", sample.disk, status=2).err
