"""The backend that is real, as far as it goes without disks."""

from pathlib import Path

import pytest

from imaging.errors import RescueError
from rescue.engine import engine


def test_jobs_lie_in_the_state_folder(state: Path) -> None:
    assert engine().state_folder() == state
    assert list(engine().jobs()) == []


def test_a_named_library_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_LIBRARY", str(tmp_path))
    assert tmp_path in engine().libraries()


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
