"""Who may read what a capture writes, and names that somebody else put links under."""

import os
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import durable, encryption, inventory, keyring, planner, temporary
from imaging.errors import RefusedError
from imaging.jobs import JobState
from imaging.keyslots import LEAST
from imaging.library import Library
from imaging.state import own_folder
from imaging.stores import LocalStore
from tests.faults.killing import finish, frozen, start, worker_of
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
    monkeypatch.setattr("imaging.temporary.secrets.token_hex", lambda _: "0011")
    temporary.temporary(tmp_path / "note").symlink_to(victim)
    with pytest.raises(Exception, match="cannot be written: File exists"):
        durable.write_file(tmp_path / "note", b"x")
    store.path(name).parent.mkdir(parents=True)
    temporary.temporary(store.path(name)).symlink_to(victim)
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
        assert own_folder(tmp_path / "rescue") == tmp_path / "rescue"
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
        own_folder(path)
    assert str(path) in caught.value.message
    assert "RESCUE_STATE" in (caught.value.hint or "")


_LEARNS = {
    "a key": "keyring.learn('x', bytes(32))",
    "a file": "keyring.lines_of(sys.argv[1])",
    "a worker": "worker.main(['', sys.argv[1]])",
}


@pytest.mark.parametrize("how", _LEARNS)
def test_a_process_that_learns_a_secret_leaves_no_core_file(tmp_path: Path, how: str) -> None:
    (tmp_path / "words").write_text("a passphrase")
    script = f"""
import resource, sys
from contextlib import suppress
from imaging import keyring, worker
limits = []
resource.setrlimit = lambda which, limit: limits.append((which, limit))
with suppress(Exception):
    {_LEARNS[how]}
sys.exit((resource.RLIMIT_CORE, (0, 0)) not in limits)
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "words"], check=True, stdin=subprocess.DEVNULL)


def test_the_secrets_of_an_encrypted_library_are_in_no_file_and_no_process_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, state, library = "a passphrase for the test", tmp_path / "state", tmp_path / "library"
    monkeypatch.setenv("RESCUE_STATE", str(state))
    made, recovery = encryption.create(library, words, cost=LEAST)
    key = keyring.key_of(made.info.id)
    secrets = [word.encode() for word in (words, recovery, recovery.replace("-", ""), key.hex())]
    secrets += [key, b64encode(key), words.encode("utf-16-le")]
    disk = sample_disk(tmp_path / "pc.img", megabytes=8)
    try:
        job = start(planner.plan_capture([inventory.look(str(disk))], library))
        with frozen(job):
            processes = [Path("/proc/self"), Path(f"/proc/{worker_of(job)}")]
            seen = [(process / name).read_bytes() for name in ("cmdline", "environ") for process in processes]
        assert not (job.folder / "keys").exists()
        assert finish(job).state is JobState.DONE
        image = Library.open(library).images().images[0]
        assert finish(start(planner.plan_verify(library, image))).state is JobState.DONE
        keyring.forget_all()
        failed = finish(start(planner.plan_verify(library, image)))
        assert failed.finished is not None
        assert failed.finished.code == "passphrase-needed"
    finally:
        keyring.forget_all()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != disk]
    assert {"plan.json", "events.jsonl", "log", "library.json", "manifest.json"} <= {path.name for path in files}
    seen += [path.read_bytes() for path in files]
    for secret in secrets:
        assert not any(secret in data for data in seen)
