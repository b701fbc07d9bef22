"""A capture whose worker is killed, or whose machine loses power, leaves nothing that is listed or breaks later."""

import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import inventory, planner
from imaging.events import CaptureResult
from imaging.imageplans import CapturePlan
from imaging.jobs import JobState
from imaging.library import Library
from imaging.temporary import boot_id, whose
from tests.command import Outcome
from tests.disks import MIB
from tests.faults.killing import finish, kill, kill_after, moments, seconds_of, start, wait_for_step
from tests.faults.proof import extract, prove
from tests.faults.world import Sample, capture_here, images_of, sample_disk, until, verify_here, warnings_of, wide_disk

Rescue = Callable[..., Outcome]
KILLS = int(os.environ.get("RESCUE_TEST_KILLS", "16"))
"""How often a worker is killed; more by hand."""


def _plan(disk: Path, library: Path, level: int = 1) -> CapturePlan:
    return planner.plan_capture([inventory.look(str(disk))], library, level=level)


def test_a_capture_killed_at_any_moment_is_never_listed_and_then_succeeds(
    rescue: Rescue, captured: Sample, tmp_path: Path
) -> None:
    longest = seconds_of(finish(start(_plan(captured.disk, tmp_path / "measured")))) + 0.05
    library = tmp_path / "library"
    killed = 0
    for turn, share in enumerate(itertools.chain(moments(KILLS, 1.0, seed=11), moments(4 * KILLS, 1.0, seed=12))):
        if turn >= KILLS and killed >= KILLS // 2:
            break  # a machine that has less to do by now needs more turns
        if killed % 4 == 0:
            shutil.rmtree(library, ignore_errors=True)
        before = images_of(library)
        job = start(_plan(captured.disk, library))
        if kill_after(job, share * longest):
            killed += 1
            assert job.died().status == 5
        else:
            assert job.state is JobState.DONE
            # The machine may have less to do by now than it had when that was measured.
            longest = min(longest, seconds_of(job) + 0.05)
        listed = set(images_of(library)) - set(before)
        assert len(listed) <= 1
        if listed:  # killed after the manifest was written: then the image must be whole
            done = Sample(library, listed.pop(), captured.disk)
            assert verify_here(done, tmp_path / "verify").status == 0
    assert killed >= KILLS // 2
    done_here = capture_here(captured.disk, library, tmp_path / "again")
    assert isinstance(done_here.result, CaptureResult)
    assert prove(library) == len({captured.index.id(i) for i in range(len(captured.index))})
    assert rescue("verify", done_here.result.image, "--library", library, "--json").events[-1]["status"] == 0
    disk = extract(library, done_here.result.image, "pc.img", tmp_path / "extracted.img")
    assert disk.read_bytes() == captured.disk.read_bytes()
    assert not list((library / "writers").iterdir())
    assert all((folder / "manifest.json").exists() for folder in (library / "images").iterdir())


def test_watching_a_killed_capture_tells_of_its_death(rescue: Rescue, tmp_path: Path) -> None:
    disk = wide_disk(tmp_path / "pc.img", 60)
    job = start(_plan(disk, tmp_path / "library", level=19))
    wait_for_step(job, "Capturing")
    kill(job)
    told = rescue("watch", job.id, "--json", status=5).events[-1]
    assert (told["event"], told["code"]) == ("finished", "worker-died")
    listed = rescue("jobs", "--json").json["jobs"]
    assert [(entry["id"], entry["state"]) for entry in listed] == [(job.id, "died")]
    assert rescue("images", "--library", tmp_path / "library", "--json").json == {"images": [], "damaged": []}


def leave_mark(library: Path, *, began: float, boot: str = "", pid: int = 2**22 + 1) -> Path:
    """The mark of a capture that died, as imaging/writers.py leaves it."""
    here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    boot = boot or f"{here} {Path('/proc/self/ns/pid').readlink()}"
    mark = library / "writers" / "20200101-000000-dead.json"
    mark.write_text(json.dumps({"image": mark.stem, "began": began, "boot": boot, "pid": pid}))
    return mark


BREAKS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda frame: frame[: len(frame) // 2],
    "zeros": lambda frame: bytes(len(frame)),
    "trailing": lambda frame: frame + b"\0",
    "other": lambda frame: frame[:-9] + bytes(9),
}


@pytest.mark.parametrize("how", BREAKS)
def test_chunks_that_a_power_loss_left_broken_are_healed_by_the_next_capture(
    sample: Sample, tmp_path: Path, how: str
) -> None:
    mark = leave_mark(sample.library, began=time.time())
    half = sample.library / "images" / mark.stem
    half.mkdir()
    (half / "pc.img.caibx").write_bytes(b"half")
    broken = [sample.chunk(i) for i in (1, 3, 6)]
    for path in broken:
        path.write_bytes(BREAKS[how](path.read_bytes()))
    done = capture_here(sample.disk, sample.library, tmp_path / "job")
    assert done.status == 0
    prove(sample.library)
    assert verify_here(sample, tmp_path / "verify").status == 0
    assert not mark.exists()
    assert not half.exists()
    named = " ".join(warnings_of(tmp_path / "job"))
    assert all(path.stem in named for path in broken)


def test_what_a_dead_capture_was_just_storing_is_removed_and_what_a_living_one_is_at_stays(
    sample: Sample, tmp_path: Path
) -> None:
    mark = leave_mark(sample.library, began=time.time())
    dead = json.loads(mark.read_text())
    folder = sample.chunk(1).parent
    names = {whose(dead["boot"], dead["pid"]): False, whose(dead["boot"], os.getppid()): True}
    paths = {folder / f".{sample.chunk(1).name}.{owner}{'0' * 16}.tmp": stays for owner, stays in names.items()}
    paths |= {mark.parent / f".x.json.{owner}{'0' * 16}.tmp": stays for owner, stays in names.items()}
    for path in paths:
        path.write_bytes(b"half")
    assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    assert {path: path.exists() for path in paths} == paths
    assert not mark.exists()


def test_what_was_killed_before_its_mark_was_there_leaves_nothing_and_others_keep_theirs(
    sample: Sample, tmp_path: Path
) -> None:
    boot = boot_id()
    owners = {whose(boot, 2**22 + 1): False, whose(boot, os.getppid()): True, whose("elsewhere", 2**22 + 1): True}
    names = {f".{name}.{owner}{'0' * 16}.tmp": stays for owner, stays in owners.items() for name in ("x.json", "y")}
    names[".x.json.tmp"] = names[f".x.{whose(boot, 2**22 + 1)}.tmp"] = True
    folders = (sample.library, sample.library / "writers")
    paths = {folder / name: stays for name, stays in names.items() for folder in folders}
    for path in paths:
        path.write_bytes(b"half")
    assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    assert {path: path.exists() for path in paths} == paths


def test_broken_chunks_of_one_disk_do_not_outlive_the_capture_of_another(sample: Sample, tmp_path: Path) -> None:
    leave_mark(sample.library, began=time.time())
    lost = sample.chunk(2)
    shutil.rmtree(sample.manifest.parent)
    lost.write_bytes(lost.read_bytes()[:1000])
    other = sample_disk(tmp_path / "other.img", seed=2, megabytes=1)
    assert capture_here(other, sample.library, tmp_path / "other").status == 0
    assert capture_here(sample.disk, sample.library, tmp_path / "again").status == 0
    prove(sample.library)


def test_after_a_restart_of_the_machine_chunks_are_looked_at_twice(sample: Sample, tmp_path: Path) -> None:
    mark = leave_mark(sample.library, began=time.time(), boot="another boot")
    sample.chunk(2).write_bytes(b"\x28\xb5\x2f\xfd broken")
    assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    prove(sample.library)
    assert mark.exists(), "another machine may still be at work: its mark stays for a day"


def test_a_writer_that_ended_and_was_not_waited_for_is_dead(sample: Sample, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        until(lambda: ") Z" in Path(f"/proc/{ended.pid}/stat").read_text())
        mark = leave_mark(sample.library, began=time.time(), pid=ended.pid)
        assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    assert not mark.exists()


@pytest.mark.parametrize(
    "mark",
    [
        b"",
        b"{",
        b"[]",
        b'{"began": "x"}',
        b'{"began": 1e999, "boot": "x", "pid": 77}',
        b'{"began": 1.5, "boot": "x", "pid": 1e999}',
        b'{"began": 1.5, "boot": "\\ud800", "pid": 77}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_mark_does_not_keep_a_capture_from_its_work(sample: Sample, tmp_path: Path, mark: bytes) -> None:
    (sample.library / "writers" / "strange.json").write_bytes(mark)
    sample.chunk(2).write_bytes(b"\x28\xb5\x2f\xfd broken")
    assert capture_here(sample.disk, sample.library, tmp_path / "job").status == 0
    prove(sample.library)


def test_two_captures_into_one_new_library_at_once_are_both_whole(tmp_path: Path) -> None:
    library = tmp_path / "library"
    disks = [sample_disk(tmp_path / f"pc{i}.img", seed=i // 2, megabytes=12) for i in range(4)]
    plans = [_plan(disk, library) for disk in disks]
    jobs = [finish(job) for job in [start(plan) for plan in plans]]
    assert [job.state for job in jobs] == [JobState.DONE] * 4
    assert len(Library.open(library).images().images) == 4
    prove(library)
    assert not list((library / "writers").iterdir())
    assert not list(library.rglob("*.tmp"))


def test_marks_that_come_and_go_do_not_disturb_a_capture(sample: Sample, tmp_path: Path) -> None:
    stop = threading.Event()

    def flicker() -> None:
        path = sample.library / "writers" / "flicker.json"
        while not stop.is_set():
            path.write_text("{}")
            path.unlink()

    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        for i in range(10):
            assert capture_here(sample.disk, sample.library, tmp_path / f"job{i}").status == 0
    finally:
        stop.set()
        thread.join()


def test_a_source_that_is_written_to_while_it_is_captured_is_no_image(tmp_path: Path) -> None:
    disk = wide_disk(tmp_path / "pc.img", 12)
    job = start(_plan(disk, tmp_path / "library", level=19))
    wait_for_step(job, "Capturing")
    with disk.open("r+b") as file:
        os.pwrite(file.fileno(), b"changed", MIB - 100)
    finished = finish(job).finished
    assert finished is not None
    assert (finished.status, finished.code) == (5, "source-changed")
    assert images_of(tmp_path / "library") == []
