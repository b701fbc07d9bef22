"""Two captures into one library at once, where one of them dies or fails, or both find what a third has left."""

from pathlib import Path

import pytest

from imaging import inventory, planner
from imaging.chunk import compress
from imaging.errors import RefusedError
from imaging.events import CaptureResult
from imaging.jobs import Job, JobState
from imaging.library import Library
from imaging.plan import Plan
from tests.faults.faulty import Fault, faulty
from tests.faults.killing import finish, frozen, kill, start, wait_for_step
from tests.faults.proof import extract, prove
from tests.faults.test_killed_captures import leave_mark
from tests.faults.world import Sample, capture_here, images_of, sample_disk, verify_here


def _plan(disk: Path, library: Path, level: int = 1) -> Plan:
    return planner.plan_capture([inventory.look(str(disk))], library, level=level)


def _image(job: Job) -> str:
    done = finish(job).finished
    assert done is not None
    assert isinstance(done.result, CaptureResult), done
    return done.result.image


def _remains(library: Path) -> list[str]:
    """What captures that did not end have left, but for whole chunks that no image names."""
    half = [folder for folder in (library / "images").iterdir() if not (folder / "manifest.json").exists()]
    found = [*half, *(library / "writers").iterdir(), *library.rglob("*.tmp")]
    return [str(path.relative_to(library)) for path in found]


@pytest.mark.parametrize("same", [True, False], ids=["the same data", "other data"])
def test_a_capture_that_is_killed_beside_another_takes_nothing_of_it_along(tmp_path: Path, same: bool) -> None:
    library = tmp_path / "library"
    disks = [sample_disk(tmp_path / f"pc{i}.img", seed=1 if same else i, megabytes=12) for i in range(2)]
    # The second takes long enough to be found at work, however busy the machine is.
    plans = [_plan(disks[0], library), _plan(disks[1], library, level=19)]
    first, second = (start(plan) for plan in plans)
    wait_for_step(second, "Capturing")
    with frozen(second):
        kill(first)
    image = _image(second)
    assert image in images_of(library)
    prove(library)
    again = capture_here(disks[0], library, tmp_path / "again").result
    assert isinstance(again, CaptureResult)
    prove(library)
    assert _remains(library) == []
    for made, disk in ((image, disks[1]), (again.image, disks[0])):
        out = extract(library, made, disk.name, tmp_path / "out.img")
        assert out.read_bytes() == disk.read_bytes()
        out.unlink()


@pytest.mark.root
def test_a_capture_that_fails_beside_another_takes_nothing_of_it_along(tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    disks = [sample_disk(tmp_path / f"pc{i}.img", megabytes=4) for i in range(2)]
    with faulty(tmp_path / "back", tmp_path / "seen") as fs:
        library = fs.where / "library"
        fs.plan(Fault(kind="fsync", times=0, path="*/.pc0.img.used*"))
        jobs = [start(plan) for plan in [_plan(disk, library) for disk in disks]]
        image = _image(jobs[1])
        failed = finish(jobs[0]).finished
        assert fs.plan().hit
        assert failed is not None
        assert (failed.status, failed.code) == (5, "write-failed"), failed
        assert images_of(library) == [image]
        prove(library)
        assert _remains(library) == []


def test_a_library_that_another_makes_at_the_same_moment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when it was looked for, and holds chunks already when its folder is looked at."""
    disk = sample_disk(tmp_path / "pc.img", megabytes=2)
    assert capture_here(disk, tmp_path / "library", tmp_path / "first").status == 0
    made = Library.open(tmp_path / "library").info.id
    monkeypatch.setattr("imaging.library._has_one", lambda _path, _mirror: False)
    assert Library.open_or_create(tmp_path / "library").info.id == made
    (tmp_path / "library/library.json").unlink()
    with pytest.raises(RefusedError, match="has lost its library"):
        Library.open_or_create(tmp_path / "library")


@pytest.mark.parametrize("turn", range(2))
def test_two_captures_that_both_find_a_third_ones_remains_are_both_whole(
    sample: Sample, tmp_path: Path, turn: int
) -> None:
    leave_mark(sample.library, began=0.0)
    new = sample_disk(tmp_path / "new.img", seed=9, megabytes=10)
    seen = capture_here(new, tmp_path / "elsewhere", tmp_path / "job").result
    assert isinstance(seen, CaptureResult)
    for path in (tmp_path / "elsewhere" / "chunks").rglob("*.cacnk"):
        half = sample.library / "chunks" / path.parent.name / path.name
        if not half.exists():
            half.parent.mkdir(exist_ok=True)
            half.write_bytes(path.read_bytes()[: 1000 * turn] if turn else compress(b"other"))
    plans = [_plan(disk, sample.library) for disk in (new, new, sample.disk)]
    jobs = [start(plan) for plan in plans]
    images = [_image(job) for job in jobs]
    assert [job.state for job in jobs] == [JobState.DONE] * 3
    assert {image.id for image in Library.open(sample.library).images().images} == {sample.image_id, *images}
    prove(sample.library)
    assert verify_here(sample, tmp_path / "verify").status == 0
    assert _remains(sample.library) == []
