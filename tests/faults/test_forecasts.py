"""What is said of a capture before it starts, against what it then does; and that nothing is written for it."""

import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import forecast as forecasts
from imaging import inventory, jobs, planner
from imaging.blockdev import read_exactly
from imaging.errors import CancelledError, IoError, RefusedError
from imaging.estimate import Fit, fit
from imaging.events import CaptureResult
from imaging.forecast import Forecast, forecast
from imaging.plan import Plan
from rescue import lookahead
from rescue.engine import engine
from tests.command import Outcome, run_rescue
from tests.disks import MIB, blank, partition, run
from tests.faults.world import Sample, capture_here, sample_disk

Command = Callable[..., Outcome]
RAW = "(stored whole: nothing known stands on it)"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample is not cut short because the machine is busy."""
    monkeypatch.setattr(forecasts, "_SECONDS", 60.0)


def forecast_of(disk: Path, library: Path, *levels: int) -> Forecast:
    plan = planner.plan_capture([inventory.look(str(disk))], library)
    return forecast(plan, levels or (3,), threading.Event())


def captured_of(disk: Path, library: Path, level: int = 3) -> CaptureResult:
    result = capture_here(disk, library, library.with_name("job"), level=level).result
    assert isinstance(result, CaptureResult)
    return result


def _mixed_disk(folder: Path) -> Path:
    """An ext4 of text and of random files, and a partition of something unknown."""
    source = random.Random(7)
    words = ["".join(source.choices("etaoinshrdlu", k=source.randint(2, 9))) for _ in range(5000)]
    lines = [" ".join(source.choices(words, k=12)) + "\n" for _ in range(50_000)]
    tree = folder / "tree"
    tree.mkdir()
    for i in range(5):
        source.shuffle(lines)
        (tree / f"{i} text").write_text("".join(lines) * 2)
        (tree / f"{i} random").write_bytes(source.randbytes(7 * MIB))
    disk = blank(folder / "pc.img", 164 * MIB)
    partition(disk, "label: gpt\nstart=1MiB, size=142MiB\nstart=143MiB, size=20MiB\n")
    run("mkfs.ext4", "-q", "-F", "-d", tree, "-E", f"offset={MIB}", disk, "142M")
    with disk.open("r+b") as file:
        file.seek(143 * MIB)
        file.write(source.randbytes(20 * MIB))
    return disk


@pytest.mark.root
@pytest.mark.usefixtures("patient")
def test_a_forecast_comes_close_to_what_is_then_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "_PROBES", 12)
    disk, library = _mixed_disk(tmp_path), tmp_path / "library"
    before = forecast_of(disk, library, 1, 3, 9)
    assert not library.exists()
    assert before.disks[0].known == 0
    assert 2 * before.disks[0].sampled < before.disks[0].chunks
    first = captured_of(disk, library)
    expected = before.at(3)
    assert expected is not None
    assert (before.used, before.disks[0].chunks) == (first.used, first.chunks)
    assert abs(expected.stored - first.stored) < 0.15 * first.stored
    assert expected.least <= first.stored <= expected.most
    assert [e.stored for e in before.estimates] == sorted((e.stored for e in before.estimates), reverse=True)
    assert before.disks[0].volumes[1].note

    with disk.open("r+b") as file:
        os.pwrite(file.fileno(), os.urandom(4096), 150 * MIB)
    again = forecast_of(disk, library)
    second = captured_of(disk, library)
    expected = again.at(3)
    assert expected is not None
    assert again.known > 0.85
    assert expected.stored < first.stored / 4
    assert expected.least <= second.stored <= expected.most < first.stored


def test_a_library_that_has_all_of_a_disk_is_found_to(sample: Sample) -> None:
    found = forecast_of(sample.disk, sample.library, 1, 9)
    assert found.known == 1
    assert [(e.stored, e.most) for e in found.estimates] == [(0, 0), (0, 0)]


def test_zeros_that_nothing_says_are_unused_cost_no_room(tmp_path: Path) -> None:
    disk = partition(blank(tmp_path / "pc.img", 240 * MIB), "label: gpt\nstart=1MiB, size=230MiB\n")
    found = forecast_of(disk, tmp_path / "library")
    stored = captured_of(disk, tmp_path / "library").stored
    assert found.used > 230 * MIB
    assert stored < found.estimates[0].stored + found.overhead < MIB


def test_a_damaged_index_of_an_earlier_image_stops_no_forecast(sample: Sample) -> None:
    sample.part("caibx").write_bytes(b"")
    assert forecast_of(sample.disk, sample.library).known == 1


def test_a_library_that_cannot_be_read_is_left_to_the_capture_to_refuse(sample: Sample) -> None:
    (sample.library / "library.json").write_text("{")
    found = forecast_of(sample.disk, sample.library)
    assert found.known == 0
    assert found.estimates[0].stored > 20 * MIB


def test_a_slow_level_is_tried_on_pieces(sample: Sample, tmp_path: Path) -> None:
    fast, slow = forecast_of(sample.disk, tmp_path / "new", 1, 12).estimates
    assert slow.seconds > fast.seconds
    assert slow.least <= fast.stored <= 1.1 * slow.most


def test_chunks_that_cannot_be_read_are_left_out_of_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, captured: Sample
) -> None:
    def fail_early(fd: int, buffer: memoryview, offset: int) -> None:
        if offset < 14 * MIB:
            raise IoError("Input/output error", code="read-failed")
        read_exactly(fd, buffer, offset)

    monkeypatch.setattr(forecasts, "read_exactly", fail_early)
    found = forecast_of(captured.disk, tmp_path / "library")
    assert 0 < found.disks[0].sampled < found.disks[0].chunks
    assert found.estimates[0].most <= 1.1 * found.used
    monkeypatch.setattr(forecasts, "read_exactly", lambda *_: fail_early(0, memoryview(b""), 0))
    nothing = forecast_of(captured.disk, tmp_path / "library")
    assert (nothing.disks[0].sampled, nothing.known, nothing.estimates[0].most) == (0, 0, nothing.used)


def test_a_forecast_ends_when_it_is_asked_to(captured: Sample, tmp_path: Path) -> None:
    plan = planner.plan_capture([inventory.look(str(captured.disk))], tmp_path / "library")
    asked = threading.Event()
    asked.set()
    with pytest.raises(CancelledError):
        engine().forecast(plan, asked)


def test_the_screens_get_every_level_that_has_a_name(captured: Sample, tmp_path: Path) -> None:
    plan = engine().plan_capture([inventory.look(str(captured.disk))], tmp_path / "library", "", 9)
    assert plan.level == 9
    assert [e.level for e in engine().forecast(plan, threading.Event()).estimates] == [1, 3, 9]


def test_room_is_that_of_the_folder_in_which_a_library_would_be_made(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    room = forecasts.free_room(tmp_path / "not" / "there")
    assert room is not None
    assert 0 < room <= status.f_blocks * status.f_frsize
    assert forecasts.free_room(Path("/proc")) is None


def test_what_is_stored_raw_is_printed_before_anything_is_written(
    captured: Sample,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Command,
) -> None:
    library = tmp_path / "library"
    told: list[str] = []

    def submit(_: Plan) -> jobs.Job:
        told.append(capsys.readouterr().out)
        assert not library.exists()
        raise RefusedError("far enough")

    monkeypatch.setattr(jobs, "submit", submit)
    words = ("capture", captured.disk, "--library", library)
    command(*words, "--forecast", status=3)
    command(*words, status=3)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command(*words, status=3)
    command(*words, "--no-forecast", status=3)
    assert [said.count(RAW) for said in told] == [2, 0, 2, 0]
    assert ["22.0 MB used" in said and "EXPECTED: " in said for said in told] == [True, False, True, False]


def test_a_plan_alone_writes_nothing(captured: Sample, tmp_path: Path, command: Command) -> None:
    library = tmp_path / "library"
    words = ("capture", captured.disk, "--library", library, "--plan", "--level", "7")
    lines = command(*words).out.splitlines()
    assert "    compression: level 7" in lines
    assert [line.split()[0] for line in lines[lines.index("Levels:") + 1 :]] == ["fast", "normal", "level", "small"]
    found = command(*words, "--json").json
    assert (found["plan"]["level"], found["forecast"]["fit"]) == (7, "fits")
    assert command(*words, "--json", "--no-forecast").json["forecast"] is None
    assert "EXPECTED" not in command(*words, "--no-forecast").out
    assert not library.exists()


def test_an_image_that_will_not_fit_is_warned_of(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr(forecasts, "free_room", lambda _: MIB)
    words = ("capture", captured.disk, "--library", tmp_path / "library", "--plan")
    assert "WARNING: this will not fit: about " in command(*words).out
    assert command(*words, "--json").json["forecast"]["fit"] == "too large"
    found = forecast_of(captured.disk, tmp_path / "library")
    assert fit(found.estimates[0], found.overhead, found.room) is Fit.TOO_LARGE


def test_scripts_get_a_forecast_only_where_they_ask(tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "pc.img", megabytes=1)
    words = ("capture", disk, "--library", tmp_path / "library", "--json")
    assert run_rescue(*words).events[0]["event"] == "started"
    first, second, *_ = run_rescue(*words, "--forecast").events
    assert (first["event"], first["fit"], second["event"]) == ("forecast", "fits", "started")
    assert first["disks"][0]["volumes"][0]["note"] == "nothing known stands on it"


def test_an_error_after_the_forecast_is_one_more_line_of_json(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    def refuse(_: object) -> None:
        raise RefusedError("job 7 is at work on pc.img", code="disk-busy")

    monkeypatch.setattr(jobs, "submit", refuse)
    words = ("capture", captured.disk, "--library", tmp_path / "library", "--json", "--forecast")
    forecast, error = command(*words, status=3).events
    assert (forecast["event"], error["event"]) == ("forecast", "error")
    assert error["error"] == {
        "code": "disk-busy",
        "message": "job 7 is at work on pc.img",
        "hint": None,
        "status": 3,
    }


def test_a_forecast_that_fails_is_told_and_a_stopped_one_stops_the_command(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    def fail(*_: object) -> Forecast:
        raise IoError("pc.img cannot be read")

    def stop(*_: object) -> Forecast:
        raise KeyboardInterrupt

    words = ("capture", captured.disk, "--library", tmp_path / "library", "--plan")
    monkeypatch.setattr(lookahead, "forecast", fail)
    outcome = command(*words)
    assert "warning: there is no forecast: pc.img cannot be read" in outcome.err
    assert "Time: " in outcome.out
    monkeypatch.setattr(lookahead, "forecast", stop)
    assert "nothing was written" in command(*words, status=6).err


@pytest.mark.parametrize("level", ["tiny", "0", "20"])
def test_a_level_that_is_none_is_refused(captured: Sample, tmp_path: Path, command: Command, level: str) -> None:
    words = ("capture", captured.disk, "--library", tmp_path / "library", "--level", level, "--json")
    assert command(*words, status=2).json["error"]["code"] == "bad-level"
