"""The logs: read on the screen and on the command line, and saved as one file without secrets."""

import json
import tarfile
import time
from pathlib import Path

import pytest

from imaging import logs
from imaging.errors import IoError
from rescue import logbook
from rescue.cli import main
from tests.app.conftest import Sit
from tests.app.disks import FAILING_HEALTH, HERE, SDA, SDB
from tests.app.jobs import running_job
from tests.app.machine import FakeBackend

SECRET = "hunter2"


async def test_the_log_shows_the_newest_job_at_its_end_and_turns_to_the_others(sit_down: Sit) -> None:
    async with sit_down(FakeBackend(known_jobs=[running_job()])) as person:
        person.app.start("log")
        await person.settle()
        assert "Log of 1  (1/3)" in person.screen
        await person.settle()
        assert "1 line 39" in person.screen
        assert "1 line 0 " not in person.screen
        assert "Log of screens  (2/3)" in await person.press("n")
        assert "Log of kernel  (3/3)" in await person.press("right")
        assert "Log of screens  (2/3)" in await person.press("p")


async def test_the_log_is_saved_to_the_stick_with_two_keys(sit_down: Sit) -> None:
    backend = FakeBackend()
    async with sit_down(backend) as person:
        person.app.start("log")
        await person.settle()
        assert "The recovery stick (/run/rescue/images), 2.0 GB free" in await person.press("s")
        await person.press("enter")
        assert backend.calls == ["save log to /run/rescue/images"]
        assert "/run/rescue/images/rescue-log-20261125-2141-ABC1234.tar.gz" in person.words


async def test_the_log_is_saved_to_a_folder_that_is_typed(sit_down: Sit) -> None:
    backend = FakeBackend(places=())
    async with sit_down(backend) as person:
        person.app.start("log")
        await person.settle()
        assert "No medium that can be written to is attached" in await person.press("s")
        await person.press("o")
        await person.type("/mnt/x")
        await person.press("enter")
        assert backend.calls == ["save log to /mnt/x"]


async def test_a_log_that_cannot_be_saved_says_why_and_another_place_can_be_chosen(sit_down: Sit) -> None:
    backend = FakeBackend(refusal=IoError("the disk is full", hint="free some room"))
    async with sit_down(backend) as person:
        person.app.start("log")
        await person.settle()
        await person.press("s", "enter")
        assert "the disk is full What to do: free some room" in person.words
        backend.refusal = None
        await person.press("enter", "down", "enter")
        assert backend.calls == ["save log to /media/usbdisk"]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder with one job whose words hold a password, and tools that say what theirs do."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, words in (("dmesg", f"sda: I/O error; nfs://me:{SECRET}@server"), ("lsblk", "sda"), ("ip", "eth0")):
        (tools / name).write_text(f"#!/bin/sh\necho '{words}'\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    folder = tmp_path / "state"
    job = folder / "jobs" / "20261125-214100-abcd"
    job.mkdir(parents=True)
    (job / "plan.json").write_text('{"kind": "verify", "version": 2, "library": "/l", "image": "i", "label": "x"}')
    (job / "events.jsonl").write_text(
        '{"event":"started","time":1.0,"job":"1","kind":"verify","title":"Verify x"}\n'
        f'{{"event":"log","time":2.0,"message":"password={SECRET} was tried"}}\n'
        '{"event":"finished","time":3.0,"status":5,"message":"sda failed"}\n'
    )
    (job / "log").write_text("Traceback: somewhere\n")
    (job / "lock").touch()
    monkeypatch.setenv("RESCUE_STATE", str(folder))
    return folder


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('password="hunter2, and hunter2" for sda', 'password="***" for sda'),
        ("passphrase='a hunter2' x", "passphrase='***' x"),
        ("mount -o user=me,pass=hunter2", "mount -o user=me,pass=***"),
        ("psk=hunter2\\hunter2 x", "psk=*** x"),
        ("smb://me:hunter2/hunter2@server/share", "smb://me:***@server/share"),
        ("e2fsck: Pass 1: Checking; http://server:80/x", "e2fsck: Pass 1: Checking; http://server:80/x"),
    ],
)
def test_a_password_is_left_out_to_its_end(said: str, kept: str) -> None:
    assert logs.without_secrets(said) == kept
    line = json.dumps({"message": said, "next": 1})
    assert SECRET not in logs.without_secrets(line)
    assert json.loads(logs.without_secrets(line))["next"] == 1


@pytest.mark.parametrize("part", ["a-", "://a:", "password", 'secret="', "token=\\"])
def test_however_long_a_label_is_the_search_for_secrets_ends(part: str) -> None:
    began = time.process_time()
    logs.without_secrets(part * 20_000)
    assert time.process_time() - began < 5


def test_one_file_holds_everything_but_secrets(state: Path, tmp_path: Path) -> None:
    path = logs.save(tmp_path, logs.file_name(HERE, 0.0), {"summary.txt": f'{{"passphrase": "{SECRET}"}}'})
    assert path.name.startswith("rescue-log-1970")
    assert path.name.endswith("-ABC1234.tar.gz")
    assert path.stat().st_mode & 0o777 == 0o644
    with tarfile.open(path) as tar:
        pages = {name.partition("/")[2]: tar.extractfile(name) for name in tar.getnames()}
        words = {name: file.read().decode() for name, file in pages.items() if file is not None}
    assert {"summary.txt", "kernel.txt", "network.txt", "command-line.txt", "screen.log"} <= set(words)
    assert "sda failed" in words["jobs/20261125-214100-abcd/events.jsonl"]
    assert "Traceback" in words["jobs/20261125-214100-abcd/log"]
    assert "nfs://me:***@server" in words["kernel.txt"]
    assert not [name for name, text in words.items() if SECRET in text]
    assert state.exists()


def test_the_file_tells_how_the_disks_are_doing(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging.inventory.scan", lambda: (SDA, SDB))
    monkeypatch.setattr("imaging.smart.healths", lambda _disks: {SDA.path: FAILING_HEALTH})
    path = logbook.save(tmp_path, HERE, [])
    with tarfile.open(path) as tar:
        summary = next(tar.extractfile(name) for name in tar.getnames() if name.endswith("summary.txt"))
        assert summary is not None
        words = summary.read().decode()
    assert "sda: Health: FAILING (sectors that cannot be read: 312)" in words
    assert "  bad sectors that it replaced by spare ones: 1,432\n" in words
    assert "Sectors unreadable now      312" in words
    assert "sdb:" not in words
    assert state.exists()


def test_a_folder_that_is_not_there_is_refused(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "--save", str(state / "missing")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_the_command_shows_what_jobs_said(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "--kernel"]) == 0
    shown = capsys.readouterr().out
    assert "Verify x\n--------\n" in shown
    assert "failed: sda failed" in shown
    assert "Traceback: somewhere" in shown
    assert "I/O error" in shown
    assert main(["log", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["logs"][0]["title"] == "Verify x"
    assert state.exists()
