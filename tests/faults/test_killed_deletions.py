"""A deletion that is killed, or whose medium fails, at any of its operations: no image that is listed lacks a chunk."""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imaging import freeing
from imaging.errors import ExitStatus
from imaging.events import CaptureResult, Finished
from imaging.jobs import JobState
from tests.disks import MIB
from tests.faults.faulty import Fault, Faulty, faulty
from tests.faults.killing import finish, start
from tests.faults.proof import prove
from tests.faults.test_deletions import chunks_of, delete_here
from tests.faults.world import capture_here, carry_out_here, images_of, sample_disk

pytestmark = pytest.mark.root

_CHANGES = ("create", "rename", "unlink", "rmdir", "mkdir", "write", "truncate", "fsync", "fsyncdir")
_CODES = {
    errno.EIO: {"write-failed", "read-failed"},
    errno.ENOSPC: {"no-space"},
    errno.EROFS: {"read-only"},
}


@dataclass(frozen=True, slots=True)
class Place:
    """A library with two images, of which `doomed` is to be deleted, behind a file system that can fail."""

    fs: Faulty
    whole: Path
    kept: str
    doomed: str

    @property
    def seen(self) -> Path:
        """The library as the program sees it."""
        return self.fs.where / "library"

    @property
    def behind(self) -> Path:
        """The library as it is."""
        return self.fs.back / "library"

    def reset(self) -> None:
        """Put it back as it was."""
        self.fs.plan()
        shutil.rmtree(self.behind, ignore_errors=True)
        shutil.copytree(self.whole, self.behind)

    def changes(self, folder: Path) -> list[tuple[str, int]]:
        """Each operation of a deletion that changes anything, as its kind and number."""
        self.reset()
        assert delete_here(self.seen, self.doomed, folder).status == 0
        counts = self.fs.plan().counts
        return [(kind, i + 1) for kind in _CHANGES for i in range(counts.get(f"{kind} library", 0))]

    def check(self, folder: Path) -> None:
        """What is listed is whole, and the next deletions leave nothing behind."""
        self.fs.plan()
        assert self.kept in images_of(self.behind)
        prove(self.behind)
        for number, image in enumerate(sorted(images_of(self.behind), reverse=True)):
            done = delete_here(self.seen, image, folder / f"next{number}")
            assert (done.status, done.code) == (0, ""), done
            prove(self.behind)
        assert chunks_of(self.behind) == set()
        assert not list((self.behind / "images").iterdir())
        assert not list((self.behind / "writers").iterdir())


@pytest.fixture(scope="module")
def place(quick: Path) -> Iterator[Place]:
    """Made once; each test resets it."""
    folder = quick / "deletions"
    (folder / "back").mkdir(parents=True)
    disk = sample_disk(folder / "pc.img", size=6 * MIB + 40 * MIB, megabytes=6)
    images = []
    for turn in range(2):
        result = capture_here(disk, folder / "whole", folder / f"capture{turn}").result
        assert isinstance(result, CaptureResult)
        images.append(result.image)
        with disk.open("r+b") as file:
            os.pwrite(file.fileno(), bytes(range(200)), 2 * MIB)
    with faulty(folder / "back", folder / "seen") as fs:
        yield Place(fs, folder / "whole", *images)


def test_a_deletion_that_is_killed_at_any_change_takes_nothing_from_another_image(place: Place, tmp_path: Path) -> None:
    changes = place.changes(tmp_path / "count")
    assert {kind for kind, _ in changes} >= {"create", "rename", "unlink", "rmdir", "fsyncdir"}
    for kind, nth in changes:
        place.reset()
        plan = freeing.plan_delete(place.seen, place.doomed)
        place.fs.plan(Fault(kind=kind, nth=nth, path="/library*", kill=True))
        job = finish(start(plan))
        hit = place.fs.plan().hit
        assert job.state is (JobState.DIED if hit else JobState.DONE), (kind, nth, job.finished)
        assert "may be gone" in job.died().state
        place.check(tmp_path / f"{kind}{nth}")


@pytest.mark.parametrize("error", _CODES, ids=lambda error: errno.errorcode[error])
def test_a_medium_that_fails_at_any_change_is_told_and_takes_nothing(place: Place, tmp_path: Path, error: int) -> None:
    for kind, nth in place.changes(tmp_path / "count"):
        place.reset()
        plan_folder = tmp_path / f"{kind}{nth}"
        place.fs.plan(Fault(kind=kind, nth=nth, times=0, path="/library*", error=error))
        done = delete_here(place.seen, place.doomed, plan_folder / "job")
        assert place.fs.plan().hit
        _check_words(done, error, gone=place.doomed not in images_of(place.behind))
        place.check(plan_folder)


def _check_words(done: Finished, error: int, *, gone: bool) -> None:
    """The end is that of a deletion, or an error that is called by its name and says whether the image is gone."""
    if done.status == ExitStatus.DONE:
        assert gone
        return
    assert done.status == ExitStatus.IO_FAILURE, done
    assert done.code in _CODES[error], done
    assert gone or not done.state, done


def test_reads_that_fail_free_no_room_and_take_nothing(place: Place, tmp_path: Path) -> None:
    place.reset()
    place.fs.plan(Fault(kind="read", times=0, path=f"/library/images/{place.kept}/*.caibx"))
    before = chunks_of(place.behind)
    done = delete_here(place.seen, place.doomed, tmp_path / "job")
    assert (done.status, done.code) == (0, "not-freed"), done
    assert chunks_of(place.behind) == before
    assert images_of(place.behind) == [place.kept]
    place.check(tmp_path)


def test_on_a_full_disk_an_image_can_be_deleted(place: Place, tmp_path: Path) -> None:
    place.reset()
    place.fs.plan(Fault(kind="write", times=0, path="/library*", error=errno.ENOSPC))
    done = delete_here(place.seen, place.doomed, tmp_path / "job")
    assert (done.status, done.code) == (0, ""), done
    assert images_of(place.behind) == [place.kept]


def test_an_image_whose_manifest_cannot_be_read_any_more_can_be_deleted(place: Place, tmp_path: Path) -> None:
    place.reset()
    place.fs.plan(Fault(kind="read", times=0, path=f"/library/images/{place.doomed}/manifest.json"))
    plan = freeing.plan_delete(place.seen, place.doomed)
    assert plan.created == ""
    done = delete_here(place.seen, place.doomed, tmp_path / "job")
    assert (done.status, done.code) == (0, ""), done
    assert images_of(place.behind) == [place.kept]
    place.check(tmp_path)


def test_a_manifest_that_can_be_read_again_is_another_image_than_the_damaged_one(place: Place, tmp_path: Path) -> None:
    place.reset()
    place.fs.plan(Fault(kind="read", times=0, path=f"/library/images/{place.doomed}/manifest.json"))
    plan = freeing.plan_delete(place.seen, place.doomed)
    place.fs.plan()
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "image-changed")
    assert place.doomed in images_of(place.behind)
