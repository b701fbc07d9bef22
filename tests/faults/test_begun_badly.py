"""Work that ends before it has really begun: no worker, names that will not do, ids that are taken, early cancels."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from imaging import capture, handing, inventory, jobs, keyring, planner, survey, worker
from imaging import run as running
from imaging.disk import Content
from imaging.errors import CancelledError, IoError
from imaging.extents import Extents
from imaging.imageplans import CapturePlan
from imaging.jobs import JobState
from imaging.library import Library
from imaging.pipeline import Reporter
from imaging.plan import encode
from imaging.usedmap import VolumeMap
from tests.disks import MIB, blank, partition
from tests.faults.killing import finish
from tests.faults.world import (
    Sample,
    capture_here,
    carry_out_here,
    images_of,
    sample_disk,
    tmpfs,
    until,
    verify_here,
    warnings_of,
)


def _plan(disk: Path, library: Path) -> CapturePlan:
    return planner.plan_capture([inventory.look(str(disk))], library, level=1)


@pytest.mark.parametrize("error", [IoError("systemd-run ended with status 1"), PermissionError(13, "no")])
def test_a_job_without_a_worker_is_none_and_keeps_no_disk(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    plan = _plan(captured.disk, tmp_path / "library")
    with monkeypatch.context() as patched:
        patched.setattr(jobs, "spawn_worker", fail)
        with pytest.raises(IoError):
            jobs.submit(plan)
    assert jobs.jobs() == ()
    assert finish(jobs.submit(plan)).state is JobState.DONE


def test_a_worker_that_takes_long_to_begin_has_not_died_while_its_unit_is_there(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_UNITS", tmp_path / "units")
    folder = tmp_path / "job-1"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "plan.json").write_bytes(encode(_plan(captured.disk, tmp_path / "library")))
    states = [jobs.Job(folder).state]
    os.utime(folder / "plan.json", (0, 0))
    states.append(jobs.Job(folder).state)
    (tmp_path / "units/rescue-job-job-1.service").mkdir(parents=True)
    states.append(jobs.Job(folder).state)
    assert states == [JobState.STARTING, JobState.DIED, JobState.STARTING]


def test_keys_are_kept_for_a_worker_that_takes_long_to_begin(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_UNITS", tmp_path / "units")
    monkeypatch.setattr(jobs, "_START_TIME", 0.0)
    passed: list[dict[str, Any]] = []

    @contextmanager
    def handed_over(folder: Path, *_: object) -> Iterator[None]:
        with handing.handed_over(folder, "keys", {"key": "secret"}):
            yield

    def begin(folder: Path) -> None:
        passed.append(handing.taken(folder, "keys"))
        (folder / "events.jsonl").touch()

    def spawn(folder: Path, _: Path) -> None:
        (tmp_path / f"units/rescue-job-{folder.name}.service").mkdir(parents=True)
        threading.Timer(0.3, begin, [folder]).start()

    monkeypatch.setattr(keyring, "handed_over", handed_over)
    monkeypatch.setattr(jobs, "spawn_worker", spawn)
    job = jobs.submit(_plan(captured.disk, tmp_path / "library"))
    until(lambda: (job.folder / "events.jsonl").exists(), what="the worker's beginning")
    assert passed == [{"key": "secret"}]


def test_names_that_a_file_system_could_not_tell_apart_are_refused(tmp_path: Path) -> None:
    disks = []
    for folder, name in (("a", "Disk.img"), ("b", "disk.IMG")):
        (tmp_path / folder).mkdir()
        disks.append(inventory.look(str(sample_disk(tmp_path / folder / name, megabytes=1))))
    done = carry_out_here(CapturePlan(library=str(tmp_path / "library"), disks=tuple(disks)), tmp_path / "job")
    assert (done.status, done.code) == (3, "bad-name")
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize(("length", "status"), [(200, 0), (201, 3)])
def test_a_name_that_leaves_no_room_for_a_suffix_is_refused(tmp_path: Path, length: int, status: int) -> None:
    disk = sample_disk(tmp_path / ("x" * length), megabytes=1)
    plan = CapturePlan(library=str(tmp_path / "library"), disks=(inventory.look(str(disk)),), level=1)
    assert carry_out_here(plan, tmp_path / "job").status == status
    assert (tmp_path / "library").exists() == (status == 0)


def test_an_id_that_is_taken_is_left_alone(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter([sample.image_id, "20260101-000000-abcdef01"])
    monkeypatch.setattr(Library, "new_id", lambda _: next(ids))
    before = sample.manifest.read_bytes()
    assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    assert sorted(images_of(sample.library)) == sorted([sample.image_id, "20260101-000000-abcdef01"])
    assert sample.manifest.read_bytes() == before
    assert not list((sample.library / "writers").iterdir())


def _cancelled_capture(plan: CapturePlan, cancel: threading.Event) -> None:
    with pytest.raises(CancelledError):
        capture.capture(plan, Reporter(len), cancel, "test")
    library = Path(plan.library)
    assert images_of(library) == []
    assert not list((library / "images").iterdir())


def test_a_cancel_between_two_volumes_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count, cancel, mapped = 40, threading.Event(), []

    def slow_map(_path: str, _fd: int, offset: int, size: int, _content: Content) -> VolumeMap:
        mapped.append(offset)
        cancel.set()
        return VolumeMap(used=Extents([(0, size)]), origin="whole")

    monkeypatch.setattr(survey, "volume_map", slow_map)
    script = "label: gpt\n" + "size=1MiB\n" * count
    disk = partition(blank(tmp_path / "pc.img", (count + 4) * MIB), script)
    _cancelled_capture(_plan(disk, tmp_path / "library"), cancel)
    assert 1 <= len(mapped) < count


def test_a_cancel_before_the_first_volume_maps_none(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "volume_map", lambda *_: pytest.fail("a volume was mapped"))
    cancel = threading.Event()
    cancel.set()
    _cancelled_capture(_plan(captured.disk, tmp_path / "library"), cancel)


def test_a_long_stretch_before_the_first_partition_is_one_range(tmp_path: Path) -> None:
    disk = partition(blank(tmp_path / "pc.img", 40 * MIB), "label: gpt\nstart=32MiB, size=4MiB\n")
    with disk.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"\x55" * (20 * MIB))
        file.seek(30 * MIB)
        file.write(b"\x55")
    library = tmp_path / "library"
    assert capture_here(disk, library, tmp_path / "job").status == 0
    image = Library.open(library).images().images[0]
    used = Library.open(library).files(image, image.disks[0]).used
    assert (2 * MIB, 22 * MIB) in used
    assert (30 * MIB, 30 * MIB + 4096) in used


def test_many_bad_chunks_are_counted_and_few_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging.verify._MOST_TOLD", 3)
    monkeypatch.setattr("imaging.verify._MOST_NAMED", 2)
    disk = sample_disk(tmp_path / "pc.img")
    assert capture_here(disk, tmp_path / "library", tmp_path / "job").status == 0
    sample = Sample(tmp_path / "library", images_of(tmp_path / "library")[0], disk)
    paths = {sample.chunk(i) for i in range(len(sample.index))}
    for path in paths:
        path.unlink()
    done = verify_here(sample, tmp_path / "verify")
    assert done.message.startswith(f"{len(paths)} of {len(paths)} chunks")
    assert getattr(done.result, "bad_count", 0) == len(paths)
    assert len(getattr(done.result, "bad", ())) == 2
    told = warnings_of(tmp_path / "verify")
    assert len(told) == 5
    assert told[3] == f"And {len(paths) - 3} more like these"
    assert told[4] == "Hurt of this image: pc.img, pc.img1, pc.img2"


def test_any_error_is_told_with_the_state_of_the_target(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        error = MemoryError("no memory")
        error.state = "pc.img is only partly restored."  # type: ignore[attr-defined]
        raise error

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(worker, "_do", fail)
    monkeypatch.setattr("imaging.worker.traceback.print_exc", full)
    done = carry_out_here(_plan(captured.disk, tmp_path / "library"), tmp_path / "job")
    assert (done.status, done.code) == (1, "internal")
    assert done.state == "pc.img is only partly restored."


@pytest.fixture
def full_later(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A small file system at `small`, and what fills it to the last byte."""
    with tmpfs(tmp_path / "small", "1M") as small:

        def fill() -> None:
            with suppress(OSError), (small / "ballast").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

        yield fill


@pytest.mark.root
def test_a_full_state_folder_harms_no_restore(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_later: Callable[[], None]
) -> None:
    target = blank(tmp_path / "target.img", captured.disk.stat().st_size)
    shown = inventory.look(str(target), [captured.library])
    plan = planner.plan_restore(captured.library, captured.image, {captured.disk.name: shown})
    folder = tmp_path / "small" / "job"
    real = worker._do

    def fill_and_do(*args: object) -> object:
        full_later()
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "_do", fill_and_do)
    monkeypatch.setattr(worker, "_set_at_signals", lambda _: None)  # a thread that would wait here for any signal
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    mask = os.umask(0o022)
    folder.mkdir()
    (folder / "plan.json").write_bytes(encode(plan))
    (folder / "lock").touch()
    try:
        assert worker.main(["worker", str(folder)]) == 0
    finally:
        os.umask(mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    told = jobs.Job(folder).finished
    assert told is not None
    assert told.status == 0
    assert verify_here(captured, tmp_path / "verify", against=target).status == 0
