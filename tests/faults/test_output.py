"""What is printed: JSON alone where JSON was asked for, and no traceback whatever happens to a pipe or a path."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from imaging import inventory, jobs, planner
from imaging.events import Step
from imaging.jobs import JobState
from rescue import finding, follow
from rescue.progressbar import ProgressBar
from tests.command import Outcome
from tests.disks import MIB, blank, run
from tests.faults.killing import finish, start
from tests.faults.world import DISK_SIZE, PATIENCE, Sample, images_of, mounted, tmpfs

Rescue = Callable[..., Outcome]


def _done_job(captured: Sample, tmp_path: Path) -> str:
    shown = inventory.look(str(blank(tmp_path / "target.img", DISK_SIZE)))
    plan = planner.plan_restore(captured.library, captured.image, {captured.disk.name: shown})
    return finish(start(plan)).id


def test_every_reading_command_prints_json_and_nothing_else(rescue: Rescue, captured: Sample, tmp_path: Path) -> None:
    job = _done_job(captured, tmp_path)
    library = ["--library", captured.library, "--json"]
    for words in (
        ["disks", *library],
        ["images", *library],
        ["show", captured.image_id, *library],
        ["restore", captured.image_id, tmp_path / "new.img", "--plan", *library],
        ["jobs", "--json"],
    ):
        done = rescue(*words)
        assert isinstance(done.json, dict)
        assert done.err == ""
    for words in (
        ["verify", captured.image_id, *library],
        ["verify", captured.image_id, "--against", tmp_path / "target.img", *library],
        ["watch", job, "--json"],
    ):
        done = rescue(*words)
        assert [event["event"] for event in done.events][:: len(done.events) - 1] == ["started", "finished"]
        assert done.err == ""


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["show", "x"], 4, "no-such-image"),
        (["verify", "x"], 4, "no-such-image"),
        (["verify", "IMAGE", "--against", "/nowhere/disk"], 2, "no-such-disk"),
        (["verify", "IMAGE", "--against", "/proc"], 2, "not-a-disk"),
        (["restore", "IMAGE", "/nowhere/disk"], 2, "no-such-disk"),
        (["restore", "IMAGE", "/dev/null"], 2, "not-a-disk"),
        (["restore", "IMAGE", "a.img", "b.img"], 2, "usage"),
        (["capture", "/nowhere/disk"], 2, "no-such-disk"),
        (["capture", "DISK", "DISK"], 2, "same-disk-twice"),
        (["capture", "DISK", "--level", "99"], 2, "bad-level"),
        (["capture", "/nowhere/bad-\udcff.img"], 2, "not-utf8"),
        (["capture", "DISK", "--label", "\udcff"], 2, "not-utf8"),
        (["capture", "x" * 5000], 2, "bad-path"),
        (["capture", "LOOP"], 2, "bad-path"),
        (["restore", "IMAGE", "LOOP"], 2, "bad-path"),
        (["restore", "IMAGE", "x" * 300], 2, "bad-path"),
        (["verify", "IMAGE", "--against", "LOOP"], 2, "bad-path"),
    ],
)
def test_every_refusal_is_json_with_its_status(
    command: Rescue, captured: Sample, tmp_path: Path, words: list[str], status: int, code: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    names = {"IMAGE": captured.image_id, "DISK": str(captured.disk), "LOOP": str(tmp_path / "loop")}
    done = command(*(names.get(word, word) for word in words), "--library", captured.library, "--json", status=status)
    assert done.json["error"]["code"] == code
    assert done.json["error"]["status"] == status
    assert done.events == [done.json]
    assert done.err == ""


@pytest.mark.parametrize("words", [["watch", "x"], ["cancel", "x"], ["watch", "../jobs/x"], ["watch", "x" * 5000]])
def test_a_job_that_is_not_there_is_a_usage_error(command: Rescue, words: list[str]) -> None:
    assert command(*words, "--json", status=2).json["error"]["code"] == "no-such-job"


@pytest.mark.parametrize("library", ["loop", "x" * 5000, "file", "file/below", "a/loop/b"])
def test_a_library_path_that_leads_nowhere_is_told(
    rescue: Rescue, captured: Sample, tmp_path: Path, library: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "loop").symlink_to("loop")
    done = rescue("images", "--library", tmp_path / library, status=None)
    assert done.status in (2, 4, 5)
    assert "Traceback" not in done.err
    done = rescue("capture", captured.disk, "--library", tmp_path / library, status=None)
    assert done.status in (2, 3, 4, 5)
    assert "Traceback" not in done.err
    assert (tmp_path / "file").read_bytes() == b""


def test_a_disk_file_whose_name_is_not_utf8_is_refused(rescue: Rescue, tmp_path: Path) -> None:
    disk = tmp_path / "bad-\udcff.img"
    blank(disk, MIB)
    done = rescue("capture", disk, "--library", tmp_path / "library", "--json", status=2)
    assert done.json["error"]["code"] == "not-utf8"
    assert images_of(tmp_path / "library") == []


@pytest.mark.root
def test_a_mount_whose_name_is_not_utf8_does_not_hide_the_disks(rescue: Rescue, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "files", "8M") as files:
        backing = blank(files / "backing.img", 4 * MIB)
        loop = run("losetup", "--find", "--show", backing).strip()
        try:
            run("mkfs.ext4", "-q", loop)
            with mounted(loop, tmp_path / "bad-\udcff"):
                assert rescue("disks", "--json").json["disks"] is not None
                words = ["capture", backing, "--library", tmp_path / "library", "--json"]
                assert rescue(*words, status=3).json["error"]["code"] == "in-use"
        finally:
            run("losetup", "--detach", loop)


def _with_closed_output(*words: object) -> tuple[int, str]:
    """Status and standard error of the command where nobody reads what it prints."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rescue", *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    return done.returncode, done.stderr


def test_nobody_reading_is_an_io_failure_without_a_traceback(captured: Sample, tmp_path: Path) -> None:
    job = _done_job(captured, tmp_path)
    library = ["--library", captured.library]
    for words in (
        ["disks"],
        ["images", *library],
        ["images", "--json", *library],
        ["show", captured.image_id, *library],
        ["show", "nothing", "--json", *library],
        ["restore", captured.image_id, tmp_path / "new.img", "--plan", *library],
        ["watch", job],
        ["watch", job, "--json"],
        ["jobs"],
    ):
        assert _with_closed_output(*words) == (5, ""), words
    assert not (tmp_path / "new.img").exists()


def test_head_takes_the_first_line_and_the_job_goes_on(captured: Sample, tmp_path: Path) -> None:
    command = f"{sys.executable} -m rescue capture {captured.disk} --library {tmp_path / 'library'} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.stdout.startswith("READ, nothing is changed on it")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr == ""
    (job,) = jobs.jobs()
    finish(job)
    assert job.state is JobState.DONE, (job.events(), (job.folder / "log").read_text())
    assert images_of(tmp_path / "library")


def test_a_full_standard_output_is_an_io_failure(captured: Sample) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rescue", "images", "--library", str(captured.library)],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_a_state_folder_that_cannot_be_written_is_told(
    rescue: Rescue, captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path / "file" / "state"))
    done = rescue("capture", captured.disk, "--library", tmp_path / "library", "--json", status=5)
    error = json.loads(done.out)["error"]
    assert str(tmp_path / "file" / "state") in error["message"]
    assert done.err == ""


def test_a_termination_of_the_follower_lets_the_job_run_on(captured: Sample, tmp_path: Path) -> None:
    words = ["capture", captured.disk, "--library", tmp_path / "library", "--level", 12]
    with subprocess.Popen(
        [sys.executable, "-m", "rescue", *map(str, words)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("Capturing"):
                break
        child.send_signal(signal.SIGTERM)
    (job,) = jobs.jobs()
    finish(job)
    assert job.state is JobState.DONE, (job.events(), (job.folder / "log").read_text())
    assert images_of(tmp_path / "library")


def test_a_library_that_cannot_be_read_does_not_hide_the_others(
    command: Rescue, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "library.json").write_bytes(b"{")
    for found in ((broken, sample.library), (sample.library, broken)):
        monkeypatch.setattr(finding, "discover", lambda found=found: found)
        for words in (["images"], ["show", sample.image_id], ["restore", sample.image_id, tmp_path / "new", "--plan"]):
            done = command(*words, "--json")
            assert done.json
            assert f"rescue: warning: {broken / 'library.json'}" in done.err
    monkeypatch.setattr(finding, "discover", lambda: (broken,))
    assert command("images", "--json", status=4).json["error"]["code"] == "not-a-library"


def test_the_library_of_the_environment_is_the_only_one(
    command: Rescue, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sample.copy(tmp_path / "other")
    monkeypatch.setattr(finding, "discover", lambda: (sample.library, other.library))
    assert len(command("images", "--json").json["images"]) == 2
    disk = blank(tmp_path / "disk.img", MIB)
    assert "several libraries" in command("capture", disk, "--json", status=2).json["error"]["message"]
    monkeypatch.setenv("RESCUE_LIBRARY", str(other.library))
    assert [image["library"] for image in command("images", "--json").json["images"]] == [str(other.library)]
    monkeypatch.setattr(follow, "follow", lambda *_, **__: 0)
    assert str(other.library) in command("capture", disk).out
    assert command("images", "--json", "--library", sample.library).json["images"][0]["library"] == str(sample.library)


def test_a_disk_whose_name_looks_like_markup_is_shown_by_its_name() -> None:
    bar = ProgressBar()
    bar.show(Step(time=0.0, name="Capturing [red]pc.img[/nope]", total=10))
    console = Console(file=io.StringIO(), width=160)
    console.print(bar._bars.get_renderable())
    assert "Capturing [red]pc.img[/nope]" in console.file.getvalue()  # type: ignore[attr-defined]
