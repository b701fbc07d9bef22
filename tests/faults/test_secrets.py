"""Who may read what a capture writes, and names that somebody else put links under."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import durable, inventory, jobs, planner, stores
from imaging.errors import RefusedError
from imaging.jobs import JobState
from imaging.stores import LocalStore
from tests.faults.killing import finish, start
from tests.faults.world import sample_disk


@pytest.fixture
def open_to_all() -> Iterator[None]:
    """The mask of most systems, by which everyone reads what is made."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_to_all")
def test_only_its_owner_reads_a_library(tmp_path: Path) -> None:
    library = tmp_path / "library"
    disk = sample_disk(tmp_path / "pc.img", megabytes=2)
    assert finish(start(planner.plan_capture([inventory.look(str(disk))], library))).state is JobState.DONE
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (library, *library.rglob("*"))}
    assert any(path.suffix == ".cacnk" for path in modes)
    assert {modes[path] for path in modes if path.is_dir()} == {0o700}
    assert {modes[path] for path in modes if path.is_file()} == {0o600}


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    name = bytes(32)
    store = LocalStore(tmp_path / "chunks")
    for module in (durable, stores):
        monkeypatch.setattr(f"{module.__name__}.secrets.token_hex", lambda _: "0011")
    (tmp_path / ".note.0011.tmp").symlink_to(victim)
    with pytest.raises(Exception, match="cannot be written: File exists"):
        durable.write_file(tmp_path / "note", b"x")
    store.path(name).parent.mkdir(parents=True)
    store.path(name).with_name(f".{store.path(name).name}.0011.tmp").symlink_to(victim)
    with pytest.raises(Exception, match="cannot be written: File exists"):
        store.put(name, b"x")
    assert victim.read_text() == "precious"


def test_temporary_names_cannot_be_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = durable.create

    def create(path: Path) -> int:
        seen.append(path.name)
        return real(path)

    monkeypatch.setattr(durable, "create", create)
    for _ in range(2):
        durable.write_file(tmp_path / "note", b"x")
    assert len(set(seen)) == 2
    assert not any(str(os.getpid()) == name.split(".")[2] for name in seen)


def test_a_state_folder_of_ones_own_is_made_and_taken(tmp_path: Path) -> None:
    for _ in range(2):
        assert jobs.own_folder(tmp_path / "rescue") == tmp_path / "rescue"
    assert stat.S_IMODE((tmp_path / "rescue").stat().st_mode) == 0o700


@pytest.mark.parametrize("trap", ["link", "file", "open", pytest.param("foreign", marks=pytest.mark.root)])
def test_a_state_folder_that_another_may_write_to_is_refused(tmp_path: Path, trap: str) -> None:
    path = tmp_path / "rescue"
    match trap:
        case "link":
            (tmp_path / "real").mkdir(mode=0o700)
            path.symlink_to(tmp_path / "real")
        case "file":
            path.touch(mode=0o600)
        case "open":
            path.mkdir()
            path.chmod(0o770)
        case "foreign":
            path.mkdir(mode=0o700)
            os.chown(path, 12345, 12345)
    with pytest.raises(RefusedError) as caught:
        jobs.own_folder(path)
    assert str(path) in caught.value.message
    assert "RESCUE_STATE" in (caught.value.hint or "")
