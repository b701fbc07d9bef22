"""Deleting an image frees what it alone used, and never takes a chunk from an image that is listed."""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from imaging import freeing, inventory, jobs, naming, planner, regular
from imaging.delete import delete
from imaging.errors import CancelledError, RefusedError
from imaging.events import CaptureResult, DeleteResult, Finished
from imaging.freeing import Freed
from imaging.imageplans import DeletePlan
from imaging.jobs import JobState
from imaging.library import WITHDRAWN, Library
from imaging.pipeline import Reporter
from imaging.sharedclock import since_boot
from imaging.writers import Deleter, Writer
from tests.disks import MIB
from tests.faults.killing import finish, frozen, start, wait_for_step
from tests.faults.proof import prove
from tests.faults.test_killed_captures import leave_mark
from tests.faults.world import (
    Sample,
    capture_here,
    carry_out_here,
    images_of,
    sample_disk,
    verify_here,
    wide_disk,
)


def delete_here(library: Path, image: str, folder: Path) -> Finished:
    """Plan a deletion and carry it out in this process."""
    return carry_out_here(freeing.plan_delete(library, image), folder)


def forecast(library: Path, image: str) -> Freed:
    """What a deletion would free."""
    return freeing.freed_by(freeing.plan_delete(library, image), threading.Event())


def chunks_of(library: Path) -> set[str]:
    """The names of all chunks that are there."""
    return {path.stem for path in (library / "chunks").glob("*/*.cacnk")}


def bytes_of(library: Path) -> int:
    """The bytes of all chunks that are there."""
    return sum(path.stat().st_size for path in (library / "chunks").glob("*/*.cacnk"))


@pytest.fixture
def two(sample: Sample, tmp_path: Path) -> tuple[Sample, Sample]:
    """A library with two images: of one disk, and of that disk with two of its chunks changed."""
    changed = tmp_path / "changed" / "pc.img"
    changed.parent.mkdir()
    changed.write_bytes(sample.disk.read_bytes())
    with changed.open("r+b") as file:
        for at in (2 * MIB, 9 * MIB):
            file.seek(at)
            file.write(os.urandom(1000))
    result = capture_here(changed, sample.library, tmp_path / "second").result
    assert isinstance(result, CaptureResult)
    assert result.new == 2
    return sample, Sample(sample.library, result.image, changed)


def test_the_only_image_frees_everything_and_leaves_an_empty_library(sample: Sample, tmp_path: Path) -> None:
    size, count = bytes_of(sample.library), len(chunks_of(sample.library))
    foreseen = forecast(sample.library, sample.image_id)
    assert foreseen == Freed(chunks=count, bytes=size)
    done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert done.status == 0, done
    assert isinstance(done.result, DeleteResult)
    assert (done.result.freed, done.result.chunks, done.result.shared) == (size, count, 0)
    assert images_of(sample.library) == []
    assert not list((sample.library / "chunks").iterdir())
    assert not list((sample.library / "images").iterdir())
    assert not list((sample.library / "writers").iterdir())


def test_only_what_no_other_image_names_is_freed(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, second = two
    before = chunks_of(first.library)
    foreseen = forecast(first.library, second.image_id)
    done = delete_here(first.library, second.image_id, tmp_path / "job")
    assert isinstance(done.result, DeleteResult)
    assert (foreseen.chunks, foreseen.bytes) == (done.result.chunks, done.result.freed)
    assert done.result.chunks == 2
    assert done.result.shared == foreseen.shared == len({first.index.id(i) for i in range(len(first.index))}) - 2
    assert len(before) - len(chunks_of(first.library)) == 2
    assert images_of(first.library) == [first.image_id]
    assert prove(first.library) == len(chunks_of(first.library))
    assert verify_here(first, tmp_path / "verify").status == 0


def test_an_image_that_is_not_the_one_that_was_shown_is_not_deleted(sample: Sample, tmp_path: Path) -> None:
    plan = DeletePlan(library=str(sample.library), image=sample.image_id, created="2020-01-01T00:00:00Z")
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "image-changed")
    assert images_of(sample.library) == [sample.image_id]
    sample.manifest.write_bytes(b"{}")
    done = delete_here(sample.library, sample.image_id, tmp_path / "damaged")
    assert done.status == 0
    assert images_of(sample.library) == []


def test_an_image_that_is_not_there_is_not_planned(sample: Sample, tmp_path: Path) -> None:
    done = carry_out_here(
        DeletePlan(library=str(sample.library), image="20200101-000000-0000", created=""), tmp_path / "job"
    )
    assert (done.status, done.code) == (4, "no-such-image")


def test_a_damaged_image_with_a_readable_index_keeps_its_chunks(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, second = two
    whole = first.manifest.read_bytes()
    first.manifest.write_bytes(whole[:100])
    assert delete_here(first.library, second.image_id, tmp_path / "job").status == 0
    first.manifest.write_bytes(whole)
    prove(first.library)


def _flip(sample: Sample) -> None:
    path = sample.part("caibx")
    path.write_bytes(path.read_bytes().replace(sample.index.id(3), bytes(32)))


def _make_folder(sample: Sample) -> None:
    sample.part("caibx").unlink()
    sample.part("caibx").mkdir()


def _leave_nothing(sample: Sample) -> None:
    sample.part("caibx").unlink()
    sample.manifest.write_bytes(b"")


def _of_a_newer_program(sample: Sample) -> None:
    """Its index is there, and may not be all that names chunks."""
    sample.manifest.write_bytes(b'{"format": 2}')


BREAKS: dict[str, Callable[[Sample], None]] = {
    "cut": lambda sample: os.truncate(sample.part("caibx"), 500),
    "missing": lambda sample: sample.part("caibx").unlink(),
    "flipped": _flip,
    "a folder": _make_folder,
    "nothing left": _leave_nothing,
    "newer": _of_a_newer_program,
}


@pytest.mark.parametrize("how", BREAKS)
def test_no_chunk_goes_while_what_another_image_names_cannot_be_known(
    two: tuple[Sample, Sample], tmp_path: Path, how: str
) -> None:
    first, second = two
    before = chunks_of(first.library)
    BREAKS[how](first)
    assert forecast(first.library, second.image_id).problem
    done = delete_here(first.library, second.image_id, tmp_path / "job")
    assert (done.status, done.code) == (0, "not-freed"), done
    assert isinstance(done.result, DeleteResult)
    assert (done.result.freed, bool(done.result.unfreed)) == (0, True)
    assert "no room was freed" in done.message
    assert first.image_id in done.message
    assert images_of(first.library) == [first.image_id]
    assert chunks_of(first.library) == before
    again = delete_here(first.library, first.image_id, tmp_path / "again")
    assert again.status == 0
    assert chunks_of(first.library) < before, "the room of the image that went first"
    assert not list((first.library / "images").iterdir())


def test_a_deletion_is_refused_while_a_backup_is_at_work(sample: Sample, tmp_path: Path) -> None:
    writer = Writer(Library.open(sample.library), "20991231-235959-busy")
    done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert (done.status, done.code) == (3, "library-busy")
    assert "a backup is at work" in done.message
    assert images_of(sample.library) == [sample.image_id]
    writer.end()
    assert delete_here(sample.library, sample.image_id, tmp_path / "again").status == 0


def test_a_deletion_is_refused_beside_a_backup_in_a_process_of_its_own_and_takes_nothing(
    sample: Sample, tmp_path: Path
) -> None:
    disk = wide_disk(tmp_path / "new.img", 16)
    job = start(planner.plan_capture([inventory.look(str(disk))], sample.library, level=19))
    wait_for_step(job, "Capturing")
    with frozen(job):
        done = delete_here(sample.library, sample.image_id, tmp_path / "job")
        assert (done.status, done.code) == (3, "library-busy")
        with pytest.raises(RefusedError, match="at work in the same library"):
            jobs.submit(freeing.plan_delete(sample.library, sample.image_id))
    assert finish(job).state is JobState.DONE
    prove(sample.library)
    assert sample.image_id in images_of(sample.library)


def test_the_mark_of_a_backup_that_died_here_does_not_keep_a_deletion(sample: Sample, tmp_path: Path) -> None:
    leave_mark(sample.library, began=0.0)
    assert delete_here(sample.library, sample.image_id, tmp_path / "job").status == 0


@pytest.mark.parametrize("alone", [True, False], ids=["on a disk of this machine", "on a share"])
def test_a_mark_of_another_start_counts_where_another_machine_can_be_at_work(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    leave_mark(sample.library, began=0.0, boot="another machine")
    monkeypatch.setattr("imaging.presence.is_only_here", lambda _: alone)
    monkeypatch.setattr("imaging.presence.touched_lately", lambda _: False)
    done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert done.code == ("" if alone else "library-busy")


def test_a_backup_that_comes_over_a_share_which_this_machine_offers_keeps_a_deletion(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = leave_mark(sample.library, began=0.0, boot="another machine")
    os.utime(mark, (0, 1e9))  # the clock there is wrong, that of this machine notes when the mark was renewed
    monkeypatch.setattr("imaging.presence.is_only_here", lambda _: True)
    monkeypatch.setattr("imaging.presence.DEAD_AFTER", 1e12)
    done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert (done.status, done.code) == (3, "library-busy")
    assert str(mark) in done.hint


def test_a_backup_in_a_container_on_this_machine_keeps_a_deletion(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    leave_mark(sample.library, began=0.0, boot=f"{here} pid:[1]")
    monkeypatch.setattr("imaging.presence.is_only_here", lambda _: True)
    monkeypatch.setattr("imaging.presence.touched_lately", lambda _: False)
    done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert (done.status, done.code) == (3, "library-busy")


@pytest.mark.parametrize("alone", [True, False], ids=["on a disk of this machine", "on a share"])
def test_a_backup_does_not_begin_beside_a_deletion_elsewhere_whose_clock_is_hours_behind(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    mark = sample.library / "writers" / "another-machine.7.deleting"
    mark.touch()
    os.utime(mark, (0, time.time() - 12 * 3600))
    monkeypatch.setattr("imaging.presence.is_only_here", lambda _: alone)
    done = capture_here(sample.disk, sample.library, tmp_path / "job")
    assert (done.status, done.code) == (3, "library-busy")
    assert str(mark) in done.hint
    monkeypatch.setattr("imaging.presence.touched_lately", lambda _: False)
    assert (capture_here(sample.disk, sample.library, tmp_path / "again").status == 0) == alone


@pytest.mark.parametrize("job", ["capture", "delete"])
def test_no_file_elsewhere_is_taken_for_a_mark_and_removed(sample: Sample, tmp_path: Path, job: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("settings.json", "notes.deleting"):
        (elsewhere / name).write_text("precious")
        os.utime(elsewhere / name, (0, 0))
    (sample.library / "writers").rmdir()
    (sample.library / "writers").symlink_to(elsewhere)
    if job == "capture":
        done = capture_here(sample.disk, sample.library, tmp_path / "job")
    else:
        done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert sorted(path.name for path in elsewhere.iterdir()) == ["notes.deleting", "settings.json"]
    assert (done.status, done.code) == (3, "refused")
    assert images_of(sample.library) == [sample.image_id]


def test_no_folder_elsewhere_is_taken_for_a_backup_that_did_not_end_and_removed(sample: Sample, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (sample.library / "images").rename(elsewhere)
    (sample.library / "images").symlink_to(elsewhere)
    (elsewhere / "anna").mkdir()
    (elsewhere / "anna" / "precious").touch()
    mark = sample.library / "writers" / "anna.json"
    mark.touch()
    os.utime(mark, (0, 0))
    assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    assert (elsewhere / "anna" / "precious").exists()


def test_an_index_that_cannot_be_read_now_is_freed_by_a_later_deletion(
    two: tuple[Sample, Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    open_regular = regular.open_regular

    def failing(name: Path, most: int) -> int:
        if name == second.part("caibx"):
            raise OSError(errno.EIO, "Input/output error")
        return open_regular(name, most)

    monkeypatch.setattr(naming, "open_regular", failing)
    assert delete_here(first.library, second.image_id, tmp_path / "job").status == 0
    monkeypatch.setattr(naming, "open_regular", open_regular)
    assert delete_here(first.library, first.image_id, tmp_path / "again").status == 0
    assert chunks_of(first.library) == set()


def test_a_mark_that_cannot_be_read_keeps_a_deletion(sample: Sample, tmp_path: Path) -> None:
    mark = sample.library / "writers" / "strange.json"
    mark.write_bytes(b"{")
    done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert (done.status, done.code) == (3, "library-busy")
    assert str(mark) in done.hint
    os.utime(mark, (0, 0))
    assert delete_here(sample.library, sample.image_id, tmp_path / "again").status == 0


def test_a_backup_and_a_second_deletion_are_refused_while_an_image_is_deleted(sample: Sample, tmp_path: Path) -> None:
    with Deleter(Library.open(sample.library)) as mark:
        done = capture_here(sample.disk, sample.library, tmp_path / "capture")
        assert (done.status, done.code) == (3, "library-busy"), done
        assert [path.suffix for path in (sample.library / "writers").iterdir()] == [".deleting"]
        mark.beat()
        mark.refuse_beside_writers()
    assert capture_here(sample.disk, sample.library, tmp_path / "again").status == 0
    with Deleter(Library.open(sample.library)):
        (path,) = (sample.library / "writers").iterdir()
        other = path.rename(path.with_name(f"{path.stem.rpartition('.')[0]}.{os.getppid()}.deleting"))
        done = delete_here(sample.library, sample.image_id, tmp_path / "second")
        assert (done.status, done.code) == (3, "library-busy")
        assert "another deletion" in done.message
        other.unlink()


@pytest.mark.parametrize("what", ["images", "image"])
def test_nothing_is_deleted_through_a_link(sample: Sample, tmp_path: Path, what: str) -> None:
    real = sample.library / "images" if what == "images" else sample.manifest.parent
    elsewhere = real.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "empty").mkdir()
    real.symlink_to(elsewhere)
    done = delete_here(sample.library, sample.image_id, tmp_path / "job")
    assert (done.status, done.code) == (3, "refused")
    assert images_of(sample.library) == [sample.image_id]
    assert (elsewhere / "empty").exists()
    assert chunks_of(sample.library)


def test_the_mark_of_a_deletion_that_died_keeps_nobody(sample: Sample, tmp_path: Path) -> None:
    mark = Deleter(Library.open(sample.library))
    mark.__enter__()
    (path,) = (sample.library / "writers").iterdir()
    dead = path.rename(path.with_name(f"{path.stem.rpartition('.')[0]}.{2**22 + 1}.deleting"))
    assert capture_here(sample.disk, sample.library, tmp_path / "capture").status == 0
    assert delete_here(sample.library, sample.image_id, tmp_path / "job").status == 0
    assert not dead.exists()


def test_a_deletion_stops_where_its_mark_could_not_be_renewed(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    with Deleter(Library.open(sample.library)) as mark:
        monkeypatch.setattr("imaging.writers.since_boot", lambda: 1e12)
        with pytest.raises(RefusedError, match="could not be renewed"):
            mark.beat()


def test_a_clock_that_is_days_ahead_takes_no_backup_on_a_share_for_dead(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_mark(sample.library, began=time.time(), boot="another machine")
    monkeypatch.setattr("imaging.presence.is_only_here", lambda _: False)
    here = time.time() + 3 * 86400
    monkeypatch.setattr("time.time", lambda: here)
    with pytest.raises(RefusedError, match="a backup is at work"), Deleter(Library.open(sample.library)):
        pass
    writer = Writer(Library.open(sample.library), "20260101-000000-12345678")
    assert writer.died_since is None
    assert writer.distrust_since is not None
    writer.end()


def test_a_mark_is_renewed_by_the_clock_that_dates_it(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(Library.open(sample.library), "20260101-000000-12345678")
    (path,) = (sample.library / "writers").iterdir()
    first, minutes = path.stat().st_mtime, since_boot() + 300
    monkeypatch.setattr("time.time", lambda: 0.0)
    for module in ("writers", "sharedclock"):
        monkeypatch.setattr(f"imaging.{module}.since_boot", lambda: minutes)
    writer._renew()
    assert first + 299 < path.stat().st_mtime < first + 330
    writer.end()


@pytest.mark.parametrize("alone", [True, False], ids=["on a disk of this machine", "on a share"])
def test_a_backup_that_slept_for_some_time_goes_on_only_where_nobody_else_can_have_taken_it_for_dead(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    writer = Writer(Library.open(sample.library), "20260101-000000-12345678")
    monkeypatch.setattr("imaging.presence.is_only_here", lambda _: alone)
    later = since_boot() + 900
    monkeypatch.setattr("imaging.writers.since_boot", lambda: later)
    writer._renew()  # as soon as it wakes, before it is asked
    if alone:
        writer.beat()
    else:
        with pytest.raises(RefusedError, match="for 15 minutes"):
            writer.beat()
    writer.end()


def test_a_deletion_that_was_cut_off_is_completed_by_the_next(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, second = two
    second.manifest.rename(second.manifest.with_name(WITHDRAWN))
    assert images_of(first.library) == [first.image_id]
    assert delete_here(first.library, first.image_id, tmp_path / "job").status == 0
    assert chunks_of(first.library) == set()
    assert not list((first.library / "images").iterdir())


def test_a_backup_after_a_deletion_that_was_cut_off_keeps_the_chunks_it_found(
    two: tuple[Sample, Sample], tmp_path: Path
) -> None:
    first, second = two
    second.manifest.rename(second.manifest.with_name(WITHDRAWN))
    made = capture_here(second.disk, first.library, tmp_path / "capture").result
    assert isinstance(made, CaptureResult)
    assert made.new == 0
    assert delete_here(first.library, first.image_id, tmp_path / "job").status == 0
    prove(first.library)
    assert images_of(first.library) == [made.image]


def test_a_deletion_that_is_cancelled_before_it_began_has_deleted_nothing(sample: Sample) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError) as stopped:
        delete(freeing.plan_delete(sample.library, sample.image_id), Reporter(len), cancel)
    assert stopped.value.state == ""
    assert images_of(sample.library) == [sample.image_id]
    assert not list((sample.library / "writers").iterdir())


def test_a_deletion_that_is_cancelled_later_says_that_the_image_is_gone(sample: Sample, tmp_path: Path) -> None:
    cancel = threading.Event()

    def append(line: memoryview) -> int:
        if b"Freeing room" in line.tobytes():
            cancel.set()
        return len(line)

    with pytest.raises(CancelledError) as stopped:
        delete(freeing.plan_delete(sample.library, sample.image_id), Reporter(append), cancel)
    assert "is deleted" in stopped.value.state
    assert images_of(sample.library) == []
    assert chunks_of(sample.library)
    other = capture_here(sample_disk(tmp_path / "other.img", seed=2, megabytes=1), sample.library, tmp_path / "other")
    assert isinstance(other.result, CaptureResult)
    assert delete_here(sample.library, other.result.image, tmp_path / "next").status == 0
    assert chunks_of(sample.library) == set()


def test_what_a_job_uses_is_not_deleted_and_no_backup_begins_beside_a_deletion(sample: Sample, tmp_path: Path) -> None:
    library = sample.library
    removal = freeing.plan_delete(library, sample.image_id)
    check = planner.plan_verify(library, sample.image)
    backup = planner.plan_capture([inventory.look(str(sample.disk))], library)
    elsewhere = replace(removal, library=str(tmp_path))
    for job in (check, backup, removal):
        jobs.refuse_beside(job, elsewhere)
        for new, running in ((removal, job), (job, removal)):
            with pytest.raises(RefusedError):
                jobs.refuse_beside(new, running)
    jobs.refuse_beside(replace(check, image="another"), removal)


def test_what_a_job_uses_is_not_deleted_by_way_of_another_mount_of_the_share(sample: Sample, tmp_path: Path) -> None:
    check = planner.plan_verify(sample.library, sample.image)
    again = sample.copy(tmp_path / "mounted-twice")
    with pytest.raises(RefusedError, match="at work in the same library"):
        jobs.refuse_beside(freeing.plan_delete(again.library, again.image_id), check)
    (again.library / "library.json").write_bytes(b"{")
    jobs.refuse_beside(replace(check, library=str(again.library)), check)
