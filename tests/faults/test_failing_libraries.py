"""Library disks that fill up, turn read-only or go away while they are used."""

import errno
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from imaging import inventory, jobs, planner, stores
from imaging.events import CaptureResult, Finished
from imaging.jobs import Job
from tests.command import run_rescue
from tests.disks import MIB, blank, looped, run
from tests.faults.killing import finish, frozen, start, wait_for_first_write, wait_for_step
from tests.faults.proof import prove
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    images_of,
    mounted,
    restore_here,
    sample_disk,
    tmpfs,
    until,
    verify_here,
    wide_disk,
)

pytestmark = pytest.mark.root


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A mounted file system with room for the small disk and not for the large one."""
    if request.param == "tmpfs":
        with tmpfs(tmp_path / "small", "22M") as where:
            yield where
        return
    with looped(blank(tmp_path / "small.img", 32 * MIB)) as loop:
        run("mkfs.ext4", "-q", "-m0", loop)
        with mounted(loop, tmp_path / "small") as where:
            yield where


def _sample(library: Path, disk: Path, done: Finished) -> Sample:
    assert isinstance(done.result, CaptureResult), done.message
    return Sample(library, done.result.image, disk)


def test_a_library_disk_that_fills_up_fails_the_capture_whole(small: Path, tmp_path: Path) -> None:
    library = small / "library"
    first = sample_disk(tmp_path / "first.img", seed=5, megabytes=4)
    before = _sample(library, first, capture_here(first, library, tmp_path / "first"))
    (small / "ballast").write_bytes(bytes(4 * MIB))
    large = sample_disk(tmp_path / "large.img", seed=6, megabytes=17)

    done = run_rescue("capture", large, "--library", library, "--json", status=5).events[-1]
    assert (done["status"], done["code"]) == (5, "no-space")
    assert str(library) in done["message"]
    assert "the disk is full" in done["message"]
    assert "free some room" in done["hint"]
    assert images_of(library) == [before.image_id]
    assert [path.name for path in (library / "images").iterdir()] == [before.image_id]
    assert not list(library.rglob("*.tmp"))
    assert verify_here(before, tmp_path / "verify").status == 0

    (small / "ballast").unlink()
    again = _sample(library, large, capture_here(large, library, tmp_path / "again"))
    assert verify_here(again, tmp_path / "verify-again").status == 0
    prove(library)
    assert not list((library / "writers").iterdir())


@pytest.mark.parametrize("room", [0, 4096, 65536, 300_000])
def test_a_library_disk_with_hardly_any_room_fails_the_first_capture(tmp_path: Path, room: int) -> None:
    disk = sample_disk(tmp_path / "pc.img", megabytes=1)
    with tmpfs(tmp_path / "small", "1M") as small:
        with (small / "ballast").open("wb") as ballast:
            ballast.write(bytes(os.statvfs(small).f_bavail * 4096 - room))
        done = capture_here(disk, small / "library", tmp_path / "job")
        assert (done.status, done.code) == (5, "no-space"), done.message
        assert images_of(small / "library") == []
        (small / "ballast").unlink()
        run("mount", "-o", "remount,size=8M", small)
        assert capture_here(disk, small / "library", tmp_path / "again").status == 0
        prove(small / "library")


def test_a_library_disk_that_turns_read_only_fails_the_capture_whole(tmp_path: Path) -> None:
    first = sample_disk(tmp_path / "first.img", seed=5, megabytes=2)
    large = wide_disk(tmp_path / "large.img", 24)
    with looped(blank(tmp_path / "medium.img", 80 * MIB)) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "medium") as medium:
            library = medium / "library"
            before = _sample(library, first, capture_here(first, library, tmp_path / "first"))
            job = start(planner.plan_capture([inventory.look(str(large))], library, level=19))
            wait_for_step(job, "Capturing")
            _remount(medium, "ro", job)
            done = finish(job).finished
            assert done is not None
            assert (done.status, done.code) == (5, "read-only"), done.message
            assert str(library) in done.message
            assert images_of(library) == [before.image_id]
            assert verify_here(before, tmp_path / "verify").status == 0

            refused = capture_here(large, library, tmp_path / "read-only")
            assert (refused.status, refused.code) == (5, "read-only")
            _remount(medium, "rw")
            again = _sample(library, large, capture_here(large, library, tmp_path / "again"))
            assert verify_here(again, tmp_path / "verify-again").status == 0
            prove(library)
            assert not list((library / "writers").iterdir())
            assert all((folder / "manifest.json").exists() for folder in (library / "images").iterdir())


def _remount(where: Path, how: str, job: Job | None = None) -> None:
    """Remount, while a job stands still, or it may end first; a file that is open for writing just then is busy."""

    def done() -> bool:
        try:
            with frozen(job) if job else nullcontext():
                run("mount", "-o", f"remount,{how}", where)
        except AssertionError:
            return False
        return True

    until(done, what=f"a moment in which {where} can be remounted {how}")


def _restore_job(sample: Sample, target: Path) -> Job:
    shown = inventory.look(str(target), [sample.library])
    return jobs.submit(planner.plan_restore(sample.library, sample.image, {sample.disk.name: shown}))


@pytest.mark.parametrize("how", ["unmounted", "unplugged"])
def test_library_media_that_vanish_in_the_middle_of_a_restore(tmp_path: Path, how: str) -> None:
    disk = wide_disk(tmp_path / "pc.img", 100)
    medium = blank(tmp_path / "medium.img", 180 * MIB)
    with looped(medium) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "medium") as where:
            sample = _sample(where / "library", disk, capture_here(disk, where / "library", tmp_path / "capture"))
        with mounted(loop, tmp_path / "medium") as where:
            target = blank(tmp_path / "target.img", 102 * MIB, fill=0xAA)
            job = _restore_job(sample, target)
            wait_for_first_write(job, target)
            with frozen(job):
                if how == "unmounted":
                    run("umount", "--lazy", where)
                else:
                    keep = medium.read_bytes()
                    os.truncate(medium, 0)
            done = finish(job).finished
            assert done is not None
            assert done.status == 5, done.message
            assert done.code in ("library-gone", "read-failed")
            assert str(where) in done.message
            assert "only partly restored" in done.state
            assert inventory.look(str(target)).unfinished == sample.image_id
            if how == "unplugged":
                medium.write_bytes(keep)
    with looped(medium) as loop, mounted(loop, tmp_path / "medium"):
        assert restore_here(sample, target, tmp_path / "again").status == 0
        assert verify_here(sample, tmp_path / "verify", against=target).status == 0


@pytest.mark.parametrize("folder", ["", "library"])
def test_a_library_that_is_unmounted_in_the_middle_of_a_capture_fails_it_and_its_bare_folder_is_not_filled(
    tmp_path: Path, folder: str
) -> None:
    first = sample_disk(tmp_path / "first.img", seed=5, megabytes=2)
    large = wide_disk(tmp_path / "large.img", 24)
    with looped(blank(tmp_path / "medium.img", 80 * MIB)) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "medium") as medium:
            run("rmdir", medium / "lost+found")
            library = medium / folder
            before = _sample(library, first, capture_here(first, library, tmp_path / "first"))
            job = start(planner.plan_capture([inventory.look(str(large))], library, level=19))
            wait_for_step(job, "Capturing")
            with frozen(job):
                run("umount", "--lazy", medium)
            done = finish(job).finished
            assert done is not None
            assert (done.status, done.code) == (5, "library-gone"), done.message
            assert "attach the disk that holds the library again" in done.hint
            assert list(medium.iterdir()) == []
            run("mount", loop, medium)
            assert images_of(library) == [before.image_id]
            again = _sample(library, large, capture_here(large, library, tmp_path / "again"))
            assert verify_here(again, tmp_path / "verify-again").status == 0
            prove(library)


def test_a_library_on_a_read_only_medium_can_be_restored_from(captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "medium", "80M") as medium:
        sample = captured.copy(medium / "library")
        _remount(medium, "ro")
        target = blank(tmp_path / "target.img", DISK_SIZE)
        assert restore_here(sample, target, tmp_path / "restore").status == 0
        assert verify_here(sample, tmp_path / "verify").status == 0


def test_what_the_medium_lost_is_looked_at_twice_though_the_next_sync_finds_all_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = sample_disk(tmp_path / "pc.img", megabytes=2)
    answers = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def sync_all(_: Path) -> None:
        if answers:
            raise answers.pop()

    monkeypatch.setattr(stores, "_sync_all", sync_all)
    done = capture_here(disk, tmp_path / "library", tmp_path / "job")
    assert (done.status, done.code) == (5, "write-failed")
    assert not answers
    assert len(list((tmp_path / "library" / "writers").iterdir())) == 1
