"""Nothing is erased unless the person names what is erased."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from imaging import jobs
from tests.command import Outcome
from tests.disks import blank
from tests.faults.world import DISK_SIZE, PATIENCE, Sample, holds_used_bytes

Rescue = Callable[..., Outcome]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return blank(tmp_path / "target.img", DISK_SIZE)


def _words(sample: Sample, target: Path) -> list[str]:
    return ["restore", sample.image_id, str(target), "--library", str(sample.library)]


def _untouched(target: Path) -> bool:
    return target.stat().st_blocks == 0 and not jobs.jobs()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "erasing target.img was not confirmed"),
        (["--yes"], "erasing target.img was not confirmed"),
        (["--erase", "sda"], "--erase sda names none of the targets: target.img"),
        (["--erase", ""], "names none of the targets"),
        (["--erase", "target"], "--erase target names none"),
        (["--erase", "TARGET.IMG", "--yes"], "names none of the targets"),
        (["--erase", "target.img", "--erase", "sda"], "--erase sda names none"),
        (["--erase", "target.img", "--erase", "target.img"], "names none of the targets"),
    ],
)
def test_without_the_right_name_nothing_is_written(
    command: Rescue, captured: Sample, target: Path, options: list[str], words: str
) -> None:
    done = command(*_words(captured, target), *options, "--json", status=3)
    assert done.json["error"]["code"] == "not-confirmed"
    assert words in done.json["error"]["message"]
    assert _untouched(target)


def test_a_name_typed_into_a_pipe_is_no_confirmation(rescue: Rescue, captured: Sample, target: Path) -> None:
    done = rescue(*_words(captured, target), typed="target.img\n", status=3)
    assert "--erase target.img stands for typing the name" in done.err
    assert _untouched(target)


def test_showing_the_plan_writes_nothing_and_starts_no_job(command: Rescue, captured: Sample, target: Path) -> None:
    assert "ERASED: target.img" in command(*_words(captured, target), "--plan", "--erase", "target.img").out
    assert command(*_words(captured, target), "--plan", "--json").json["kind"] == "restore"
    assert _untouched(target)


@contextmanager
def _at_terminal(sample: Sample, target: Path, *options: str) -> Iterator["pexpect.spawn[str]"]:
    words = ["-m", "rescue", *_words(sample, target), *options]
    child = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=PATIENCE, dimensions=(24, 120))
    try:
        child.expect("Type target.img to erase it")
        yield child
    finally:
        child.close(force=True)


def _status(child: "pexpect.spawn[str]") -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


@pytest.mark.parametrize("typed", ["yes", "", "y", "target", "target.img2", "Target.img"])
def test_another_answer_at_a_terminal_writes_nothing(captured: Sample, target: Path, typed: str) -> None:
    with _at_terminal(captured, target, *(["--yes"] if typed == "yes" else [])) as child:
        child.sendline(typed)
        child.expect("was not confirmed: nothing was written")
        assert _status(child) == 3
    assert _untouched(target)


@pytest.mark.parametrize(("key", "status"), [("c", 6), ("d", 3)])
def test_leaving_the_question_writes_nothing(captured: Sample, target: Path, key: str, status: int) -> None:
    with _at_terminal(captured, target) as child:
        child.sendcontrol(key)
        child.expect("[Nn]othing was written")
        assert _status(child) == status
        assert "Traceback" not in (child.before or "")
    assert _untouched(target)


def test_the_right_name_at_a_terminal_restores(captured: Sample, target: Path) -> None:
    with _at_terminal(captured, target) as child:
        child.sendline(" target.img ")
        child.expect("was restored, read back and verified")
        assert _status(child) == 0
    assert holds_used_bytes(captured, target)


def test_a_new_file_needs_no_confirmation(rescue: Rescue, captured: Sample, tmp_path: Path) -> None:
    done = rescue(*_words(captured, tmp_path / "new.img"))
    assert "CREATED:" in done.out
    assert holds_used_bytes(captured, tmp_path / "new.img")


def test_json_at_a_terminal_shows_the_plan_and_asks_beside_it(captured: Sample, target: Path, tmp_path: Path) -> None:
    words = " ".join(
        shlex.quote(word) for word in [sys.executable, "-m", "rescue", *_words(captured, target), "--json"]
    )
    child = pexpect.spawn("/bin/sh", ["-c", f"{words} > {tmp_path / 'out'}"], encoding="utf-8", timeout=PATIENCE)
    try:
        child.expect("ERASED: target.img")
        child.expect("Type target.img to erase it")
        child.sendline("target.img")
        assert _status(child) == 0
    finally:
        child.close(force=True)
    events = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("started", "finished")


def test_a_plan_that_goes_into_a_pipe_is_shown_at_the_terminal_as_well(
    captured: Sample, target: Path, tmp_path: Path
) -> None:
    words = shlex.join([sys.executable, "-m", "rescue", *_words(captured, target)])
    child = pexpect.spawn("/bin/sh", ["-c", f"{words} > {tmp_path / 'out'}"], encoding="utf-8", timeout=PATIENCE)
    try:
        child.expect("ERASED: target.img")
        child.expect("Type target.img to erase it")
        child.sendline("no")
        assert _status(child) == 3
    finally:
        child.close(force=True)
    assert _untouched(target)
