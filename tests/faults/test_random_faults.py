"""Media that fail at any operation: a sample of the sweep, and each place at which it once found a defect."""

import ctypes
import errno
import shutil
from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path

import pytest

from imaging import durable, inventory, stores, worker
from imaging import media as attached
from imaging.disk import Mount
from imaging.errors import IoError
from imaging.events import RestoreResult
from imaging.library import Library, discover
from tests.command import run_rescue
from tests.faults.faulty import Fault
from tests.faults.kills import kills
from tests.faults.proof import prove
from tests.faults.sweep import JOBS, SIZE, Kind, World, carry_out, count, sweep, world
from tests.faults.world import capture_here, holds_used_bytes, images_of

pytestmark = pytest.mark.root
CAPTURE, AFTER_A_DEATH, RESTORE, VERIFY, COMPARE = (
    next(job for job in JOBS if job.name == name)
    for name in ("second capture", "capture after a death", "restore", "verify", "compare")
)


@pytest.fixture(scope="module")
def media(quick: Path) -> Iterator[World]:
    """A library and disks on a file system that fails where it is told to."""
    with world(quick / "random-faults") as made:
        yield made


@pytest.fixture
def place(media: World) -> World:
    """The same, as it was, without faults."""
    media.fs.plan()
    media.reset(library=True)
    return media


def test_whatever_fails_nothing_untrue_is_left(media: World) -> None:
    tally = sweep(media, JOBS, rounds=21, seed=2026)
    assert not tally.defects, tally.told()
    assert tally.hit >= tally.rounds // 2 > 0, tally.told()


def test_whenever_a_worker_is_killed_nothing_untrue_is_left(media: World) -> None:
    tally = kills(media, (CAPTURE, RESTORE), rounds=2, seed=2026)
    assert not tally.defects, tally.told()
    assert tally.killed >= 1, tally.told()


@pytest.mark.parametrize(("job", "part"), [(CAPTURE, 0), (CAPTURE, 2), (CAPTURE, 3), (RESTORE, 1), (RESTORE, 2)])
def test_a_disk_that_cannot_even_be_looked_at_is_told_as_such(place: World, job: Kind, part: int) -> None:
    nth = max(1, count(place, job).counts["getattr disks"] * part // 4)
    place.reset(library=True)
    place.fs.plan(Fault(kind="getattr", nth=nth, times=0, path="/disks*"))
    done = carry_out(place, job)
    assert place.fs.plan().hit
    assert (done.status, done.code) in ((5, "read-failed"), (3, "unreadable-disk"), (3, "refused")), done
    assert ".img" in done.message
    assert "Input/output error" in done.message


def test_a_disk_that_cannot_be_looked_at_after_its_restore_was_restored(place: World) -> None:
    """What comes last is the look whether a computer can start from it: no error of that is one of the restore."""
    nth = count(place, RESTORE).counts["getattr disks"] - 1
    place.reset(library=True)
    place.fs.plan(Fault(kind="getattr", nth=nth, times=0, path="/disks*"))
    done = carry_out(place, RESTORE)
    assert place.fs.plan().hit
    assert done.status == 0
    assert isinstance(done.result, RestoreResult)
    assert done.result.starts == ()


def test_a_folder_of_marks_that_cannot_be_read_is_an_io_failure(place: World) -> None:
    place.fs.plan(Fault(kind="readdir", path="/library/writers"))
    done = carry_out(place, CAPTURE)
    assert (done.status, done.code) == (5, "read-failed"), done
    assert str(place.library / "writers") in done.message


def test_marks_that_cannot_be_looked_at_are_an_io_failure(place: World) -> None:
    """Whichever look fails, and all after it; what comes once everything is stored need not."""
    ends = set()
    for nth in numbers(1):
        place.reset(library=True)
        place.fs.plan(Fault(kind="getattr", nth=nth, times=0, path="/library/writers*"))
        done = carry_out(place, CAPTURE)
        if not place.fs.plan().hit:
            break
        ends.add((done.status, done.code))
    assert (5, "read-failed") in ends
    assert ends <= {(0, ""), (5, "read-failed"), (5, "write-failed")}, ends


def test_images_that_cannot_be_looked_at_are_an_io_failure_wherever_that_begins(place: World) -> None:
    for nth in numbers(1, 4):
        place.reset(library=True)
        place.fs.plan(Fault(kind="getattr", nth=nth, times=0, path="/library/images*"))
        done = carry_out(place, CAPTURE)
        if not place.fs.plan().hit:
            break
        assert (done.status, done.code) in ((0, ""), (5, "read-failed"), (5, "write-failed")), (nth, done)
    assert nth > 20


def test_a_table_that_cannot_be_read_is_not_called_different(place: World) -> None:
    place.fs.plan(Fault(kind="read", times=0, path="/disks*", low=SIZE - 4096, high=SIZE))
    done = carry_out(place, COMPARE)
    assert place.fs.plan().hit
    assert (done.status, done.code) == (5, "read-failed"), done


def test_a_manifest_that_cannot_be_looked_at_is_listed_as_damaged_and_hides_no_other(place: World) -> None:
    place.fs.plan(Fault(kind="getattr", times=0, path=f"*/{place.sample.image_id}/manifest.json"))
    library = Library.open(place.library)
    listing = library.images()
    assert [image.id for image in listing.damaged] == [place.sample.image_id]
    assert "Input/output error" in listing.damaged[0].problem
    with pytest.raises(IoError, match="cannot be looked at"):
        library.image(place.sample.image_id)
    library.discard(place.sample.image_id)
    place.fs.plan()
    assert [image.id for image in library.images().images] == [place.sample.image_id]


def test_a_chunk_that_is_read_in_two_halves_is_whole(place: World) -> None:
    place.fs.plan(Fault(kind="read", times=0, path="*.cacnk", error=0))
    done = carry_out(place, VERIFY)
    assert len(place.fs.plan().hit) > 10
    assert done.status == 0, done


def test_a_chunk_whose_second_half_cannot_be_read_is_not_called_corrupt(place: World) -> None:
    place.fs.plan(Fault(kind="read", times=0, path="*.cacnk", low=1 << 20))
    done = carry_out(place, RESTORE)
    assert place.fs.plan().hit
    assert (done.status, done.code) == (5, "read-failed"), done
    assert ".cacnk cannot be read: Input/output error" in done.message


def test_a_target_that_fails_when_it_is_closed_after_all_was_synced_is_restored(place: World) -> None:
    last = count(place, RESTORE).counts["flush disks"]
    place.reset(library=True)
    place.fs.plan(Fault(kind="flush", nth=last, path="/disks/*"))
    done = carry_out(place, RESTORE)
    assert place.fs.plan().hit
    assert done.status == 0, done
    assert holds_used_bytes(place.behind(), place.fs.back / "disks" / "target.img")


def test_a_chunk_that_cannot_be_read_just_then_is_not_removed_after_a_death(place: World) -> None:
    AFTER_A_DEATH.prepare(place)
    theirs = place.sample.chunk(1)
    mark = place.fs.back / "library" / "writers" / "20200101-000000-dead.json"
    place.fs.plan(Fault(kind="open", times=0, path=f"*/{theirs.name}"))
    done = carry_out(place, AFTER_A_DEATH)
    assert place.fs.plan().hit
    assert done.status == 0, done
    assert prove(place.fs.back / "library") == 5
    assert mark.exists(), "who could not be looked at has to be looked at again"
    assert carry_out(place, AFTER_A_DEATH).status == 0
    assert not mark.exists()


def test_an_error_of_the_system_that_no_layer_names_is_an_io_failure(
    place: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENODEV, "No such device", "/dev/sdz")

    monkeypatch.setattr(worker, "capture", fail)
    done = capture_here(place.disk("pc.img"), place.library, tmp_path / "job")
    assert (done.status, done.code, done.message) == (5, "io", "/dev/sdz: No such device")


class LostInTheCache:
    """A medium that reports at syncfs(2) that it lost something; FUSE is never asked for that."""

    def syncfs(self, _: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1


def test_a_medium_that_lost_chunks_by_the_time_of_the_sync_holds_no_image_of_them(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    CAPTURE.prepare(place)
    before = images_of(place.library)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "_libc", LostInTheCache())
        done = carry_out(place, CAPTURE)
    assert (done.status, done.code) == (5, "write-failed"), done
    assert images_of(place.library) == before
    assert list((place.library / "writers").iterdir()), "what was stored must be looked at before it is used"
    assert carry_out(place, CAPTURE).status == 0
    prove(place.library)


def test_a_broken_chunk_that_another_capture_replaces_just_then_is_not_removed(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.behind().chunk(1)
    frame, store = path.read_bytes(), stores.LocalStore(place.fs.back / "library" / "chunks")
    path.write_bytes(frame[:-9])
    look = store._is_whole

    def look_slowly(path: Path, chunk: bytes, *, from_medium: bool = False) -> bool:
        whole = look(path, chunk, from_medium=from_medium)
        if from_medium:  # the second look, and the last
            stores.LocalStore(place.fs.back / "library" / "chunks").put(chunk, frame)
        return whole

    monkeypatch.setattr(store, "_is_whole", look_slowly)
    assert not store.drop_unless_whole(bytes.fromhex(path.stem))
    prove(place.fs.back / "library")


def test_a_medium_that_fails_when_looked_at_hides_no_other(
    place: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = tmp_path / "good"
    shutil.copytree(place.fs.back / "library", good)
    mounts = [("8:1", Mount(source="/dev/sdx1", where=str(path))) for path in (place.library, good)]
    monkeypatch.setattr(attached, "read_mounts", lambda: mounts)
    monkeypatch.setattr(attached, "_NOT_MEDIA", ())
    place.fs.plan(Fault(kind="getattr", times=0, path="*/library.json"))
    assert discover() == (place.library, good), "one that nobody can look into may be a library"
    with pytest.raises(IoError, match="cannot be read"):
        Library.open(place.library)
    place.fs.plan(Fault(kind="getattr", times=0))
    assert discover() == (good,)
    assert place.fs.plan().hit


def test_disks_are_not_listed_where_it_cannot_be_known_which_holds_the_library(place: World) -> None:
    place.fs.plan(Fault(kind="getattr", times=0, path="/library"))
    with pytest.raises(IoError, match="library cannot be read"):
        inventory.scan([place.library])


@pytest.mark.parametrize(
    ("words", "fault", "code"),
    [
        ("capture DISK", Fault(kind="write", nth=3, times=0, path="*.cacnk*", error=errno.ENOSPC), "no-space"),
        ("capture DISK", Fault(kind="rename", path="*/manifest.json", error=errno.EROFS), "read-only"),
        ("restore IMAGE TARGET --erase target.img", Fault(kind="fsync", path="*/target.img"), "write-failed"),
        ("verify IMAGE", Fault(kind="read", path="*.used"), "read-failed"),
    ],
)
def test_the_command_ends_with_the_status_of_what_failed_and_no_traceback(
    place: World, words: str, fault: Fault, code: str
) -> None:
    before = images_of(place.library)
    CAPTURE.prepare(place)
    place.fs.plan(fault)
    meant: dict[str, object] = {"IMAGE": place.sample.image_id, "DISK": place.disk("pc.img")}
    meant["TARGET"] = place.disk("target.img")
    argv = [meant.get(word, word) for word in words.split()]
    done = run_rescue(*argv, "--library", place.library, "--json", status=5)
    assert place.fs.plan().hit
    assert (done.events[-1]["status"], done.events[-1]["code"]) == (5, code)
    assert "Traceback" not in done.out + done.err
    assert images_of(place.library) == before
