"""The backend that is real, as far as it goes without disks."""

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from imaging import inventory, media, packformat, plan
from imaging.errors import BadImageError, ExitStatus, RescueError
from imaging.events import Finished, encode
from imaging.jobs import JobState
from rescue import cli
from rescue.engine import engine
from rescue.feed import States
from rescue.outcome import event_line
from rescue.screens.jobs import job_choice
from tests.app.disks import SDA, SDB
from tests.app.images import restore_plan
from tests.app.jobs import FakeJob


def test_jobs_lie_in_the_state_folder(state: Path) -> None:
    assert engine().state_folder() == state
    assert list(engine().jobs()) == []


def test_a_named_library_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_LIBRARY", str(tmp_path))
    assert tmp_path in engine().libraries()


def test_a_disk_that_a_job_works_on_is_never_mounted(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = state / "jobs" / "1"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(plan.encode(restore_plan(SDA)))
    attached: list[str] = []
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setattr(inventory, "scan", lambda: (SDA, SDB))
    monkeypatch.setattr(media, "attach", lambda disks: attached.extend(disk.path for disk in disks))
    monkeypatch.setenv("RESCUE_LIBRARY", str(tmp_path))
    engine().libraries()
    assert attached == ["/dev/sdb"]


def test_nothing_is_mounted_while_a_job_whose_plan_is_damaged_may_be_at_work(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = state / "jobs" / "1"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(b"{")
    attached: list[object] = []
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setattr(inventory, "scan", lambda: (SDA, SDB))
    monkeypatch.setattr(media, "attach", attached.append)
    engine().libraries()
    assert attached == []


@pytest.mark.parametrize("status", ExitStatus)
def test_the_list_of_jobs_says_of_an_end_what_the_end_itself_says(
    state: Path, capsys: pytest.CaptureFixture[str], status: ExitStatus
) -> None:
    folder = state / "jobs" / "1"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(plan.encode(restore_plan(SDA)))
    finished = Finished(time=1.0, status=status, message="It ended.")
    (folder / "events.jsonl").write_bytes(encode(finished))
    assert cli.main(["jobs"]) == 0
    words = event_line(finished).partition(": ")[0]
    assert capsys.readouterr().out.startswith(f"1  {words}  ")
    (job,) = engine().jobs()
    assert States().of(job) == words


@pytest.mark.parametrize("state", JobState)
def test_what_somebody_has_to_look_into_stands_out_in_a_row_of_80_columns(state: JobState) -> None:
    job = FakeJob(known_plan=structs.replace(restore_plan(SDA), label="x" * 100), state=state)
    (line,) = job_choice(job, state).lines
    quiet = state in ("starting", "running", "done", "cancelled")
    assert (state if quiet else state.upper()) + " " in line
    assert len(line) < 80


def test_a_folder_that_is_no_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RescueError):
        engine().images(tmp_path)


def test_a_disk_file_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    with file.open("wb") as out:
        out.truncate(8 << 20)
    disk = engine().disk_file(str(file))
    assert (disk.name, disk.size, disk.regular_file) == ("disk.img", 8 << 20, True)
    assert engine().why_not_source(disk) == ""
    assert engine().confirms("disk.img", disk)


def test_a_disk_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RescueError):
        engine().disk_file(str(tmp_path / "none"))


def test_libraries_that_were_found_somewhere_are_known_from_then_on(tmp_path: Path) -> None:
    library = tmp_path / "Backups" / "images"
    library.mkdir(parents=True)
    (library / "library.json").write_text("{}")
    real = engine()
    assert library not in real.libraries()
    assert list(real.look_in(tmp_path)) == [library]
    assert library in real.libraries()
    (library / "library.json").unlink()
    assert library not in real.libraries()


def test_images_in_single_files_on_media_stand_beside_the_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pc.rescue"
    file.write_bytes(packformat.header("library.json", 0, 0))
    (tmp_path / "other.rescue").write_text("something else")
    monkeypatch.setattr(media, "mounted", lambda **_: (tmp_path,))
    assert list(engine().libraries()) == [file]
    with pytest.raises(BadImageError, match="is not whole"):
        engine().images(file)


def test_a_folder_without_a_library_is_told() -> None:
    with pytest.raises(BadImageError):
        engine().look_in(Path("/nowhere"))


@pytest.mark.parametrize("plan_is_known", [True, False])
def test_disks_that_a_job_works_on_are_not_looked_into(
    state: Path, monkeypatch: pytest.MonkeyPatch, plan_is_known: bool
) -> None:
    folder = state / "jobs" / "1"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_bytes(plan.encode(restore_plan(SDA)) if plan_is_known else b"{")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setattr(inventory, "scan", lambda: (SDA, replace(SDA, path="/dev/sdb")))
    free = [place.disk.path for place in engine().attached() if not place.why_not]
    assert set(free) == ({"/dev/sdb"} if plan_is_known else set())
