"""Jobs that are stopped: by a command, by Ctrl+C, before they have begun; and jobs that get in each other's way."""

import ctypes
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from imaging import inventory, jobs, planner
from imaging import run as engine_run
from imaging.errors import RefusedError
from imaging.events import CaptureResult
from imaging.imageplans import CapturePlan
from imaging.jobs import Job, JobState
from imaging.plan import encode
from imaging.restoreplans import RestorePlan
from imaging.run import spawn_worker
from tests.command import Outcome
from tests.disks import MIB, blank
from tests.faults.killing import finish, frozen, kill, start, wait_for_first_write, wait_for_step, worker_of
from tests.faults.world import (
    DISK_SIZE,
    PATIENCE,
    Sample,
    capture_here,
    images_of,
    restore_here,
    told_of_processes,
    until,
    verify_here,
    wide_disk,
)

Rescue = Callable[..., Outcome]


@pytest.fixture(scope="module")
def wide(quick: Path) -> Sample:
    """An image that takes a while: 100 MiB of random data."""
    folder = quick / "wide"
    folder.mkdir()
    disk = wide_disk(folder / "pc.img", 100)
    result = capture_here(disk, folder / "library", folder / "job").result
    assert isinstance(result, CaptureResult)
    return Sample(folder / "library", result.image, disk)


def _slow_capture(wide: Sample, library: Path) -> CapturePlan:
    return planner.plan_capture([inventory.look(str(wide.disk))], library, level=19)


def _restore(sample: Sample, target: Path) -> RestorePlan:
    shown = inventory.look(str(target), [sample.library])
    return planner.plan_restore(sample.library, sample.image, {sample.disk.name: shown})


def _no_image(library: Path) -> None:
    assert images_of(library) == []
    assert not list((library / "images").iterdir())
    assert not list((library / "writers").iterdir())


def test_a_cancelled_capture_lists_nothing_and_says_so(rescue: Rescue, wide: Sample, tmp_path: Path) -> None:
    library = tmp_path / "library"
    job = start(_slow_capture(wide, library))
    wait_for_step(job, "Capturing")
    assert rescue("cancel", job.id, "--json").json["status"] == 6
    assert job.state is JobState.CANCELLED
    told = rescue("watch", job.id, "--json", status=6).events[-1]
    assert (told["code"], told["status"]) == ("cancelled", 6)
    assert "cancelled" in rescue("jobs").out
    _no_image(library)
    error = rescue("cancel", job.id, "--json", status=2).json["error"]
    assert error["code"] == "job-ended"
    assert job.id in error["message"]


def test_a_cancelled_restore_says_what_state_the_disk_is_in(wide: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", 102 * MIB, fill=0xAA)
    job = start(_restore(wide, target))
    wait_for_first_write(job, target)
    with frozen(job):
        child = _follower("cancel", job.id)
        until(lambda: job.cancelled, what="the wish to cancel")
    child.expect("target.img is only partly restored and does not start a computer.")
    assert _status(child) == 0
    assert inventory.look(str(target)).unfinished == wide.image_id
    assert restore_here(wide, target, tmp_path / "again").status == 0
    assert verify_here(wide, tmp_path / "verify", against=target).status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_worker_is_a_cancel(wide: Sample, tmp_path: Path, number: int) -> None:
    job = start(_slow_capture(wide, tmp_path / "library"))
    wait_for_step(job, "Capturing")
    kill(job, number)
    assert job.state is JobState.CANCELLED
    _no_image(tmp_path / "library")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_another_thread_gets_is_a_cancel(wide: Sample, tmp_path: Path, number: int) -> None:
    """As one that comes just before the main thread begins to wait for the others: nothing wakes it."""
    job = start(_slow_capture(wide, tmp_path / "library"))
    wait_for_step(job, "Capturing")
    pid = worker_of(job)
    other = max(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())
    assert other != pid
    assert ctypes.CDLL(None).tgkill(pid, other, int(number)) == 0
    assert finish(job).state is JobState.CANCELLED
    _no_image(tmp_path / "library")


def test_a_hang_up_does_not_stop_a_worker(captured: Sample, tmp_path: Path) -> None:
    job = start(_restore(captured, blank(tmp_path / "target.img", DISK_SIZE)))
    kill(job, signal.SIGHUP)
    assert job.state is JobState.DONE


def _follower(*words: object) -> "pexpect.spawn[str]":
    arguments = ["-m", "rescue", *map(str, words)]
    return pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=PATIENCE, dimensions=(24, 120))


def _status(child: "pexpect.spawn[str]") -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_ctrl_c_at_a_following_command_stops_the_job(wide: Sample, tmp_path: Path) -> None:
    child = _follower("capture", wide.disk, "--library", tmp_path / "library", "--level", 19)
    child.expect("Capturing")
    child.sendcontrol("c")
    assert _status(child) == 6
    assert "Traceback" not in (child.before or "")
    assert jobs.jobs()[0].state is JobState.CANCELLED
    _no_image(tmp_path / "library")


def test_ctrl_c_while_the_worker_starts_stops_the_job_too(wide: Sample, tmp_path: Path) -> None:
    child = _follower("capture", wide.disk, "--library", tmp_path / "library", "--level", 19)
    until(jobs.jobs, what="a job")
    child.sendcontrol("c")
    assert _status(child) == 6
    assert jobs.jobs()[0].state is JobState.CANCELLED
    assert images_of(tmp_path / "library") == []


def test_ctrl_c_that_the_starting_worker_hears_as_well_stops_the_job(
    wide: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it has a session of its own, the terminal tells it, too."""

    def workers(job: Path) -> list[int]:
        return [int(path.parent.name) for path, line in told_of_processes().items() if str(job).encode() in line]

    def begin(job: Path, log: Path) -> None:
        spawn_worker(job, log)
        until(lambda: workers(job), what="the worker's command line")  # which it gets a moment after it has begun
        os.kill(workers(job)[0], signal.SIGINT)

    monkeypatch.setattr(engine_run, "_under_systemd", lambda: False)
    monkeypatch.setattr(jobs, "spawn_worker", begin)
    job = finish(jobs.submit(_slow_capture(wide, tmp_path / "library")))
    assert job.state is JobState.CANCELLED
    _no_image(tmp_path / "library")


def test_ctrl_c_at_watch_lets_the_job_run_on(wide: Sample, tmp_path: Path) -> None:
    job = start(_slow_capture(wide, tmp_path / "library"))
    child = _follower("watch", job.id)
    child.expect("Capturing")
    child.sendcontrol("c")
    child.expect("The job goes on")
    assert _status(child) == 0
    assert job.state is JobState.RUNNING
    job.cancel()
    finish(job)


def _unstarted(plan: CapturePlan | RestorePlan, folder: Path) -> Job:
    """A job whose worker is still on its way."""
    (folder / "jobs" / "later").mkdir(parents=True)
    job = Job(folder / "jobs" / "later")
    (job.folder / "lock").touch()
    (job.folder / "plan.json").write_bytes(encode(plan))
    return job


def test_a_cancel_before_the_worker_has_begun_is_not_lost(wide: Sample, tmp_path: Path, state: Path) -> None:
    target = blank(tmp_path / "target.img", 102 * MIB)
    job = _unstarted(_restore(wide, target), state)
    job.cancel()
    spawn_worker(job.folder, job.folder / "log")
    assert finish(job).state is JobState.CANCELLED
    assert job.finished is not None
    assert "Nothing was written" in job.finished.state
    assert target.stat().st_blocks == 0


def test_a_worker_waits_for_those_who_ask_if_it_lives(captured: Sample, tmp_path: Path, state: Path) -> None:
    job = _unstarted(_restore(captured, blank(tmp_path / "target.img", DISK_SIZE)), state)
    fd = os.open(job.folder / "lock", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    release = threading.Timer(1.5, os.close, [fd])
    release.start()
    spawn_worker(job.folder, job.folder / "log")
    release.join()
    until(lambda: job.finished, what="the job's end")
    assert job.state is JobState.DONE, (job.folder / "log").read_text()


def test_a_job_is_carried_out_once(captured: Sample, tmp_path: Path) -> None:
    job = finish(start(_restore(captured, blank(tmp_path / "target.img", DISK_SIZE))))
    events = (job.folder / "events.jsonl").read_bytes()
    with pytest.raises(RefusedError, match=f"{job.id} was carried out already"), jobs.claimed(job.folder):
        pass
    assert (job.folder / "events.jsonl").read_bytes() == events


def test_a_second_job_on_a_disk_is_refused(rescue: Rescue, wide: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", 102 * MIB, fill=0xAA)
    (tmp_path / "alias.img").hardlink_to(target)
    job = start(_restore(wide, target))
    wait_for_first_write(job, target)
    with frozen(job):
        for name in ("target.img", "alias.img"):
            words = ["restore", wide.image_id, tmp_path / name, "--erase", name, "--library", wide.library, "--json"]
            error = rescue(*words, status=3).json["error"]
            assert error["code"] == "disk-busy"
            assert job.id in error["message"]
        words = ["verify", wide.image_id, "--against", target, "--library", wide.library, "--json"]
        assert rescue(*words, status=3).json["error"]["code"] == "disk-busy"
        both = [start(_slow_capture(wide, tmp_path / f"library{i}")) for i in range(2)]
    for reader in both:
        reader.cancel()
        finish(reader)
    assert finish(job).state is JobState.DONE


def test_a_worker_takes_no_target_that_another_worker_holds(captured: Sample, tmp_path: Path, state: Path) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE)
    fd = os.open(target, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        done = restore_here(captured, target, state / "job")
    finally:
        os.close(fd)
    assert (done.status, done.code) == (3, "in-use")
    assert "target.img is in use by another job" in done.message
    assert target.stat().st_blocks == 0


def test_a_damaged_job_does_not_hide_the_others(rescue: Rescue, captured: Sample, tmp_path: Path, state: Path) -> None:
    job = finish(start(_restore(captured, blank(tmp_path / "target.img", DISK_SIZE))))
    for name, plan in (("empty", b""), ("tomorrow", encode(job.plan).replace(b'"version": 2', b'"version": 9'))):
        (state / "jobs" / name).mkdir()
        (state / "jobs" / name / "plan.json").write_bytes(plan)
        os.utime(state / "jobs" / name / "plan.json", (0, 0))
        (state / "jobs" / name / "lock").touch()
    assert job.id in rescue("jobs").out
    listed = rescue("jobs", "--json").json["jobs"]
    assert {entry["id"] for entry in listed} == {job.id, "empty", "tomorrow"}
    again = blank(tmp_path / "again.img", DISK_SIZE)
    words = ["restore", captured.image_id, again, "--erase", "again.img", "--library", captured.library]
    rescue(*words)
    rescue("watch", "empty", status=5)


def test_no_job_is_ever_taken_for_dead_while_it_starts(captured: Sample, tmp_path: Path) -> None:
    seen: set[JobState] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.update(job.state for job in jobs.jobs())

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for thread in watchers:
        thread.start()
    try:
        target = blank(tmp_path / "target.img", DISK_SIZE)
        for _ in range(5):
            assert finish(start(_restore(captured, target))).state is JobState.DONE
    finally:
        stop.set()
        for thread in watchers:
            thread.join()
    assert JobState.DIED not in seen
