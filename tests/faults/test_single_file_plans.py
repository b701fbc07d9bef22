"""Planning to save an image as a single file: the forecast is what is written, and what is refused writes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest

from imaging import exportplan, mounts, packroom
from imaging.errors import BadImageError, RefusedError
from imaging.events import ExportResult
from imaging.exportplan import plan_single_file
from imaging.library import Library
from tests.disks import MIB
from tests.faults.world import Sample, carry_out_here, tmpfs


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def made(found: exportplan.SingleFile, folder: Path) -> ExportResult:
    done = carry_out_here(found.plan, folder)
    assert done.status == 0, done
    assert isinstance(done.result, ExportResult)
    return done.result


def test_what_is_forecast_is_what_is_written_and_the_name_is_free(captured: Sample, tmp_path: Path) -> None:
    where = tmp_path / "stick"
    where.mkdir()
    image = replace(captured.image, label="Anna's PC: 2026/11 ..")
    found = plan_single_file(captured.library, image, where)
    assert names(where) == []
    assert Path(found.plan.target) == where / "Anna-s-PC-2026-11.rescue"
    assert (found.pieces, found.encrypted, found.place.path) == (1, False, where)
    made(found, tmp_path / "job")
    (file,) = where.iterdir()
    assert found.size - MIB < file.stat().st_size <= found.size
    assert Library.open(file).image(image.id).id == image.id
    again = plan_single_file(captured.library, image, where)
    assert Path(again.plan.target).name == "Anna-s-PC-2026-11-2.rescue"


def test_pieces_on_fat_are_forecast_and_their_name_is_taken(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packroom, "FAT_PIECE", 8 * MIB)
    monkeypatch.setattr(mounts, "kind_beneath", lambda _path: "vfat")
    where = tmp_path / "stick"
    where.mkdir()
    found = plan_single_file(captured.library, captured.image, where)
    assert found.pieces > 1
    assert made(found, tmp_path / "job").pieces == found.pieces == len(names(where))
    assert plan_single_file(captured.library, captured.image, where).plan.target.endswith("-2.rescue")


@pytest.mark.parametrize("label", ["", "...", "漢字", "///", "\x1b[2J"])
def test_a_label_that_is_no_name_becomes_one(captured: Sample, tmp_path: Path, label: str) -> None:
    where = tmp_path / "stick"
    where.mkdir()
    found = plan_single_file(captured.library, replace(captured.image, label=label), where)
    name = Path(found.plan.target).name
    assert name == ("2J.rescue" if "2J" in label else f"{captured.image_id}.rescue")


def test_a_file_that_is_named_is_that_one_unless_it_is_there(captured: Sample, tmp_path: Path) -> None:
    target = tmp_path / "mine.rescue"
    assert plan_single_file(captured.library, captured.image, target).plan.target == str(target)
    target.touch()
    with pytest.raises(RefusedError, match="is there already"):
        plan_single_file(captured.library, captured.image, target)


@pytest.mark.parametrize("typed", ["stick", "stick/mine.rescue", "link"])
def test_a_path_that_is_typed_is_where_it_was_typed(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """The job that carries out the plan has another present folder."""
    (tmp_path / "stick").mkdir()
    (tmp_path / "link").symlink_to("stick")
    monkeypatch.chdir(tmp_path)
    found = plan_single_file(captured.library, captured.image, Path(typed))
    assert Path(found.plan.target).parent == tmp_path / "stick"


def test_what_cannot_be_is_refused_before_there_is_a_plan(captured: Sample, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="there is no folder"):
        plan_single_file(captured.library, captured.image, tmp_path / "nowhere")
    with pytest.raises(RefusedError, match="lies in the image library"):
        plan_single_file(captured.library, captured.image, captured.library / "chunks")
    with pytest.raises(BadImageError):
        plan_single_file(captured.library, replace(captured.image, id="20200101T000000-gone"), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.root
def test_too_little_room_is_refused_before_there_is_a_plan(captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "1M") as small:
        with pytest.raises(RefusedError, match="there is not enough room") as refused:
            plan_single_file(captured.library, captured.image, small)
        assert refused.value.code == "no-space"
        assert names(small) == []
