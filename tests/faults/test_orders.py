"""Orders carried out on disk files, from the document to the result, without a key press; refused, stopped, cut off."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from imaging import bootcheck, inventory, jobs, media, planner, results, run, trust
from imaging.attendant import Attendant
from imaging.disk import Disk, DiskId
from imaging.errors import ExitStatus, IoError
from imaging.jobs import JobState
from imaging.orderboard import Board, Phase, State
from imaging.orders import After
from imaging.signingkeys import PrivateKey
from imaging.state import state_folder
from tests.command import Outcome
from tests.disks import MIB, blank
from tests.disks import run as run_tool
from tests.faults import killing
from tests.faults.world import DISK_SIZE, Sample, holds_used_bytes, tmpfs, until
from tests.servers import web
from tests.unit.builders import a_disk

ORDER = """
version = 1
name = "Test order"
countdown = {countdown}
after = "power-off"
{more}
[restore]
library = "{library}"
image = "newest"
[[restore.disk]]
file = "{target}"
"""


@dataclass(slots=True)
class Server:
    """Takes results; answers with the statuses in turn, the last one for ever."""

    url: str
    statuses: list[int] = field(default_factory=lambda: [200])
    got: list[dict[str, Any]] = field(default_factory=list)
    order: Path | None = None
    """What is at the address, once it is there."""


@pytest.fixture
def server() -> Iterator[Server]:
    """An HTTP server of this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = found.order.read_bytes() if found.order else b""
            self.send_response(200 if found.order else 503)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            found.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(found.statuses[0] if len(found.statuses) == 1 else found.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Server(f"http://127.0.0.1:{listening.server_port}/results")
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield found
    listening.shutdown()
    thread.join()
    listening.server_close()


@dataclass(slots=True)
class Place:
    """A blank target, a medium that takes results, and what was done to the computer."""

    sample: Sample
    target: Path
    medium: Path
    board: Board
    done: list[str]

    @property
    def results(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted((self.medium / "results").glob("*.json"))]

    def write(self, name: str = "x.toml", *, countdown: int = 0, more: str = "") -> Path:
        """An order that restores the newest image to the target."""
        path = self.medium / "jobs" / name
        path.parent.mkdir(exist_ok=True)
        library, target = self.sample.library, self.target
        path.write_text(ORDER.format(countdown=countdown, more=more, library=library, target=target))
        return path

    def attend(self, word: str = "") -> State:
        """Attend to the order from beginning to end, in this process."""
        Attendant(self.board, word, pause=lambda seconds: time.sleep(min(seconds, 0.01))).attend()
        return self.state

    @property
    def state(self) -> State:
        found = self.board.read()
        assert found is not None
        return found


@pytest.fixture
def place(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A computer whose medium is a folder."""
    medium = tmp_path / "medium"
    medium.mkdir()
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(media, "IMAGES", medium)
    monkeypatch.setattr(media, "mounted", lambda *, writable=False: (medium,))  # noqa: ARG005
    monkeypatch.setattr("imaging.attendant.GRACE", 0.05)
    done: list[str] = []
    monkeypatch.setattr(run, "reboot", lambda: done.append("reboot"))
    monkeypatch.setattr(run, "power_off", lambda: done.append("power off"))
    target = blank(tmp_path / "target.img", DISK_SIZE)
    return Place(sample, target, medium, Board(), done)


def test_an_order_restores_a_blank_disk_keeps_and_sends_its_result(place: Place, server: Server) -> None:
    place.write(more=f'report = "{server.url}"')
    state = place.attend()
    assert (state.phase, state.result, state.problems) == (Phase.ENDED, "done", ()), state
    assert holds_used_bytes(place.sample, place.target)
    assert place.done == ["power off"]
    assert server.got == place.results
    (result,) = server.got
    assert (result["version"], result["result"], result["status"], result["kind"]) == (1, "done", 0, "restore")
    assert result["image"] == place.sample.image_id
    assert result["disks"][0]["path"] == str(place.target)
    assert result["order"]["name"] == "Test order"
    assert result["figures"]["read_back"] is True
    assert "result: done" in (place.board.path / "log").read_text()


def test_an_order_restores_from_a_web_server(place: Place, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www/images").symlink_to(place.sample.library)
    with web.serving(tmp_path / "www", tmp_path / "nginx") as site:
        order = place.write()
        order.write_text(order.read_text().replace(str(place.sample.library), f"{site.url}/images"))
        state = place.attend()
    assert (state.phase, state.result) == (Phase.ENDED, "done"), state
    assert holds_used_bytes(place.sample, place.target)


def test_what_has_succeeded_is_not_done_again_until_the_order_or_the_disk_is_another(place: Place) -> None:
    order = place.write()
    assert place.attend().phase is Phase.ENDED
    state = place.attend()
    assert state.phase is Phase.SKIPPED
    assert "was carried out on this computer already" in state.message
    assert (len(place.results), place.done) == (1, ["power off"])
    place.target.rename(place.target.with_name("old.img"))
    blank(place.target, DISK_SIZE)
    assert place.attend().phase is Phase.ENDED
    order.write_text(order.read_text() + "# changed\n")
    assert place.attend().phase is Phase.ENDED
    assert len(place.results) == 3


def test_an_order_that_is_not_once_is_done_at_every_start(place: Place) -> None:
    place.write(more="once = false")
    assert [place.attend().phase for _ in range(2)] == [Phase.ENDED, Phase.ENDED]
    assert len(place.results) == 2
    # Two of one second are in any order.
    assert sum("no chunk was written" in result["message"] for result in place.results) == 1


def test_without_an_order_nothing_happens(place: Place) -> None:
    Attendant(place.board).attend()
    assert place.board.read() is None
    place.write()
    Attendant(place.board, "no").attend()
    assert place.board.read() is None
    assert not holds_used_bytes(place.sample, place.target)


def test_an_order_for_another_computer_leaves_the_menu(place: Place) -> None:
    place.write(more='[match]\nserial = "another one"')
    assert place.attend().phase is Phase.SKIPPED
    assert (place.results, place.done) == ([], [])


def untouched(place: Place) -> bool:
    return place.target.read_bytes() == bytes(DISK_SIZE)


def test_two_orders_for_one_computer_are_refused(place: Place) -> None:
    place.write("a.toml")
    place.write("b.toml")
    state = place.attend()
    assert state.phase is Phase.REFUSED
    assert "several orders are for this computer: a.toml, b.toml" in state.message
    assert [(r["result"], r["code"]) for r in place.results] == [("refused", "ambiguous-order")]
    assert (untouched(place), place.done) == (True, [])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("newest", "nothing"), "no-such-image"),
        (("version = 1", "version = 3"), "bad-order"),
        (("[restore]", "[restroe]"), "bad-order"),
        (('file = "', 'file = "/nowhere'), "no-such-disk"),
        (('library = "', 'library = "/nowhere'), "not-a-library"),
        (('file = "', 'serial = "'), "no-such-disk"),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_menu_comes(place: Place, change: tuple[str, str], code: str) -> None:
    order = place.write()
    order.write_text(order.read_text().replace(*change))
    state = place.attend()
    assert (state.phase, state.then, place.done) == (Phase.REFUSED, After.MENU, [])
    assert [(r["result"], r["code"]) for r in place.results] == [("refused", code)]
    assert untouched(place)


def test_an_order_cannot_accept_an_image_that_nobody_trusted_has_signed(place: Place) -> None:
    trust.trust(PrivateKey.new().public)
    place.write()
    assert place.attend().phase is Phase.REFUSED
    assert place.results[-1]["code"] == "not-trusted"
    assert untouched(place)


def test_a_refusal_is_sent_and_can_switch_the_computer_off(place: Place, server: Server) -> None:
    place.target.write_bytes(bytes(MIB))
    place.write(more=f'on_failure = "power-off"\nreport = "{server.url}"')
    assert place.attend().phase is Phase.REFUSED
    assert [(r["result"], r["code"]) for r in server.got] == [("refused", "target-too-small")]
    assert place.done == ["power off"]


def test_an_order_for_one_start_is_off_the_medium_and_the_computer_comes_back_however_it_ends(place: Place) -> None:
    order = place.write()
    words = 'version = 1\none_start = true\nonce = false\ncountdown = 0\nafter = "reboot"\non_failure = "reboot"\n'
    work = f'[verify]\nlibrary = "{place.sample.library}"\nimage = '
    for image, result in (("newest", "done"), ("20200101-000000-00000000", "refused")):
        order.write_text(f'{words}{work}"{image}"\n')
        place.attend()
        assert (order.exists(), place.done) == (False, ["reboot"])
        assert result in {one["result"] for one in place.results}
        place.attend()
        assert place.done == ["reboot"], "another start has found it"
        place.done.clear()


def test_an_order_for_one_start_that_would_stay_is_refused_and_nothing_restarts(place: Place, tmp_path: Path) -> None:
    order = tmp_path / "elsewhere.toml"
    order.write_text('version = 1\none_start = true\non_failure = "reboot"\n[verify]\nimage = "newest"\n')
    state = place.attend(str(order))
    assert (state.phase, place.done, order.exists()) == (Phase.REFUSED, [], True)
    assert "could be removed" in state.message


def test_a_result_that_cannot_be_sent_is_told_and_noted(place: Place, server: Server, monkeypatch: Any) -> None:
    monkeypatch.setattr("imaging.attendant._SENDING", 0.0)
    server.statuses = [503]
    place.write(more=f'report = "{server.url}"')
    state = place.attend()
    (problem,) = state.problems
    assert problem.startswith("the result could not be sent: ")
    assert "answers with status 503" in problem
    assert [result["problems"] for result in place.results] == [[problem]]
    assert place.done == ["power off"]


def test_a_server_that_is_away_for_a_moment_gets_the_result_later(place: Place, server: Server) -> None:
    server.statuses = [503, 503, 200]
    place.write(more=f'report = "{server.url}"')
    assert place.attend().problems == ()
    assert len(server.got) == 3


def test_a_result_that_cannot_be_kept_is_told_and_does_not_restart_into_the_same_order(place: Place) -> None:
    order = place.write()
    order.write_text(order.read_text().replace("power-off", "reboot"))
    (place.medium / "results").write_text("in the way")
    state = place.attend()
    assert (state.phase, state.result, state.then) == (Phase.ENDED, "done", After.MENU)
    assert [problem.partition(":")[0] for problem in state.problems] == [
        "the result could not be kept",
        "the computer is not restarted",
    ]
    assert place.done == []


def test_a_damaged_medium_restores_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setattr(media, "read_only_mount", lambda _: None)
    place.write()
    (state_folder()).mkdir(parents=True)
    found = bootcheck.BootState(state=bootcheck.State.DAMAGED, problems=("rescue/root.squashfs is damaged",))
    (state_folder() / bootcheck.NAME).write_bytes(msgspec.json.encode(found))
    state = place.attend()
    assert (state.phase, place.done) == (Phase.REFUSED, [])
    assert "rescue/root.squashfs is damaged" in state.message
    assert [(r["result"], r["code"]) for r in place.results] == [("refused", "bad-medium")]
    assert untouched(place)


def test_an_order_comes_from_a_server_that_is_up_late(place: Place, server: Server) -> None:
    order = place.write(more=f'report = "{server.url}"')
    away = order.rename(place.medium / "x.toml")
    thread = attending(place, f"{server.url}?token=geheim")
    until(lambda: place.board.read(), what="the search")
    assert place.state.phase is Phase.LOOKING
    server.order = away
    thread.join(60)
    assert (place.state.phase, place.state.result) == (Phase.ENDED, "done")
    assert server.got[0]["order"]["source"] == server.url
    assert not [path for path in place.board.path.iterdir() if b"geheim" in path.read_bytes()]


def test_an_order_from_a_server_can_be_stopped_while_it_is_looked_for(place: Place, server: Server) -> None:
    thread = attending(place, server.url)
    until(lambda: place.board.read(), what="the search")
    assert place.board.stop()
    server.order = place.write()
    thread.join(60)
    assert (place.state.phase, untouched(place), jobs.jobs()) == (Phase.STOPPED, True, ())


def test_another_job_at_work_keeps_the_computer_on(place: Place, tmp_path: Path) -> None:
    place.write()
    other = blank(tmp_path / "other.img", DISK_SIZE)
    shown = inventory.look(str(other))
    busy = killing.start(
        planner.plan_restore(place.sample.library, place.sample.image, {place.sample.disk.name: shown})
    )
    with killing.frozen(busy):
        state = place.attend()
    killing.finish(busy)
    assert (state.result, state.then, place.done) == ("done", After.MENU, [])
    assert state.problems[0].startswith("the computer stays on: another job is at work: Restore ")


def test_a_computer_that_cannot_be_switched_off_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise IoError("systemctl ended with status 1")

    monkeypatch.setattr(run, "power_off", fail)
    place.write()
    state = place.attend()
    assert (state.result, state.then, state.problems) == ("done", After.MENU, ("systemctl ended with status 1",))
    assert [result["result"] for result in place.results] == ["done"]


def test_a_medium_without_a_place_for_results_is_not_restarted_from(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setattr(results, "place", lambda: None)
    order = place.write()
    order.write_text(order.read_text().replace("power-off", "reboot"))
    state = place.attend()
    assert (state.result, state.then, place.done) == ("done", After.MENU, [])
    assert "the order would begin anew" in state.problems[0]


def test_a_result_that_is_kept_and_not_sent_restarts_all_the_same(
    place: Place, server: Server, monkeypatch: Any
) -> None:
    monkeypatch.setattr("imaging.attendant._SENDING", 0.0)
    server.statuses = [503]
    order = place.write(more=f'report = "{server.url}"')
    order.write_text(order.read_text().replace("power-off", "reboot"))
    assert len(place.attend().problems) == 1
    assert place.done == ["reboot"]


def test_too_many_orders_are_refused_on_all_consoles(place: Place) -> None:
    for number in range(65):
        place.write(f"{number}.toml")
    assert "there are 65 orders on the medium" in place.attend().message


def attending(place: Place, word: str = "") -> threading.Thread:
    thread = threading.Thread(target=place.attend, args=(word,), daemon=True)
    thread.start()
    return thread


@pytest.mark.root
def test_a_full_and_a_read_only_medium_are_told_and_stop_nothing(place: Place) -> None:
    folder = place.medium / "results"
    with tmpfs(folder, "16k"):
        (folder / "full").write_bytes(bytes(16 << 10))
        place.write()
        state = place.attend()
        assert (state.result, place.done) == ("done", ["power off"])
        assert state.problems[0].startswith("the result could not be kept: ")
        assert "the disk is full" in state.problems[0]
        run_tool("mount", "-o", "remount,ro", folder)
        state = place.attend()
        assert "read-only" in state.problems[0]


def test_any_console_stops_the_countdown_for_all(place: Place, server: Server) -> None:
    place.write(countdown=3600, more=f'report = "{server.url}"')
    thread = attending(place)
    until(lambda: (found := place.board.read()) and found.phase is Phase.COUNTING, what="the countdown")
    assert place.state.ends_at == 0
    place.board.note_watcher()
    until(lambda: place.state.ends_at, what="the running countdown")
    assert 3590 < (place.state.left or 0) <= 3600
    other = Board()
    assert other.stop()
    assert not other.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert (place.state.phase, untouched(place), place.done) == (Phase.STOPPED, True, [])
    assert [result["result"] for result in server.got] == ["stopped"]
    assert jobs.jobs() == ()


def test_a_countdown_ends_in_the_restore(place: Place) -> None:
    place.write(countdown=1)
    thread = attending(place)
    until(lambda: (found := place.board.read()) and found.phase is Phase.COUNTING, what="the countdown")
    place.board.note_watcher()
    thread.join(60)
    assert (place.state.phase, place.state.result) == (Phase.ENDED, "done")
    assert holds_used_bytes(place.sample, place.target)


def test_an_equal_disk_that_appears_while_it_counts_down_stops_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place.write(countdown=1)
    order.write_text(order.read_text().replace(f'file = "{place.target}"', "only_internal = true"))
    place.board.path.mkdir(parents=True)
    place.board.note_watcher()
    here = [a_disk(path="/dev/sdx", id=DiskId(size=64 << 30, model="SomeDisk", serial="A"))]
    late = a_disk(path="/dev/sdy", id=DiskId(size=64 << 30, model="SomeDisk", serial="B"))

    def scan(*_: object) -> tuple[Disk, ...]:
        state = place.board.read()
        counting = state is not None and state.phase is Phase.COUNTING
        return (*here, late) if counting else tuple(here)

    monkeypatch.setattr(inventory, "scan", scan)
    monkeypatch.setattr(jobs, "submit", lambda _: pytest.fail("it was begun"))
    monkeypatch.setattr("imaging.attendant._UNSEEN", 0.0)
    state = place.attend()
    assert (state.phase, state.message.partition(":")[0]) == (Phase.REFUSED, "several internal disks were found")
    assert place.results[0]["code"] == "ambiguous-disk"
    # One in the place of the other is not what was shown, either.
    here[:] = [replace(late, id=DiskId(size=64 << 30, model="SomeDisk", serial="A"))]
    monkeypatch.setattr(inventory, "scan", lambda *_: (late,) if place.state.phase is Phase.COUNTING else tuple(here))
    assert place.attend().message == "the disks of this computer have changed while the order counted down"


def test_whoever_keeps_the_computer_on_at_the_end_finds_the_menu(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setattr("imaging.attendant.GRACE", 3600)
    place.write()
    thread = attending(place)
    until(lambda: (found := place.board.read()) and found.phase is Phase.ENDED, what="the end")
    assert place.board.stop()
    thread.join(20)
    assert (place.state.then, place.done) == (After.MENU, [])


def test_a_cancelled_job_is_a_failure_and_leaves_the_menu(place: Place) -> None:
    place.write()
    thread = attending(place)
    until(lambda: (found := place.board.read()) and found.job, what="the job")
    jobs.find(place.state.job).cancel()
    thread.join(30)
    assert place.state.result in ("cancelled", "done")
    assert place.done == ([] if place.state.result == "cancelled" else ["power off"])
    assert place.results[0]["result"] == place.state.result


def test_a_restore_that_is_done_with_damage_is_a_failure_and_the_next_start_does_it_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs._ENDS[ExitStatus.DAMAGED] is JobState.DAMAGED
    monkeypatch.setitem(jobs._ENDS, ExitStatus.DONE, JobState.DAMAGED)
    place.write()
    for _ in range(2):
        state = place.attend()
        assert (state.phase, state.result, state.then) == (Phase.ENDED, "done, with damage", After.MENU)
    assert place.done == []
    assert [result["result"] for result in place.results] == ["done, with damage"] * 2


def test_a_process_that_is_gone_is_told_on_all_consoles(place: Place) -> None:
    order = place.write(countdown=3600)
    attendant = subprocess.Popen([sys.executable, "-m", "imaging.attendant", order], env=dict(os.environ))
    until(lambda: (found := place.board.read()) and found.phase is Phase.COUNTING, what="the countdown")
    attendant.send_signal(signal.SIGKILL)
    attendant.wait()
    assert (place.state.phase, place.state.result) == (Phase.REFUSED, "died")
    assert not place.board.stop()


def test_after_a_power_cut_in_the_middle_the_order_runs_again_and_completes(place: Place) -> None:
    order = place.write()
    attendant = subprocess.Popen([sys.executable, "-m", "imaging.attendant", order], env=dict(os.environ))
    until(lambda: jobs.jobs() and killing.worker_of(jobs.jobs()[0]), what="the worker")
    (job,) = jobs.jobs()
    killing.wait_for_first_write(job, place.target)
    attendant.kill()
    killing.kill(job)
    attendant.wait()
    assert place.results == []
    place.board.path.rename(place.board.path.with_name("before-the-power-cut"))
    assert place.attend().result == "done"
    assert holds_used_bytes(place.sample, place.target)
    assert [result["result"] for result in place.results] == ["done"]


def test_an_order_resets_to_the_factory_image_and_saves_what_was_there(
    place: Place, command: Callable[..., Outcome]
) -> None:
    library = place.sample.library
    assert command("factory", "set", place.sample.image_id, "--library", str(library)).status == 0
    order = place.write()
    order.write_text(
        order.read_text().replace('image = "newest"', 'factory = true\nsave_first = true\nwipe = "overwrite"')
    )
    with place.target.open("r+b") as file:
        file.seek(DISK_SIZE // 2)
        file.write(b"what was there")
    before = place.target.read_bytes()
    assert place.attend().result == "done"
    assert holds_used_bytes(place.sample, place.target)
    assert b"what was there" not in place.target.read_bytes()
    undone = command("undo", "--to", str(place.target), "--library", str(library), "--erase", place.target.name)
    assert undone.status == 0, undone
    assert place.target.read_bytes() == before


def test_only_one_process_attends(place: Place) -> None:
    place.write(countdown=3600)
    thread = attending(place)
    until(lambda: (found := place.board.read()) and found.phase is Phase.COUNTING, what="the countdown")
    order = place.medium / "jobs/x.toml"
    second = subprocess.run([sys.executable, "-m", "imaging.attendant", order], capture_output=True, check=False)
    assert (second.returncode, b"already" in second.stderr) == (3, True)
    assert place.board.stop()
    thread.join(20)


def test_odd_files_among_the_results_are_passed_over(place: Place) -> None:
    place.write()
    assert place.attend().phase is Phase.ENDED
    folder = place.medium / "results"
    (folder / "99991231-a.json").write_text('{"result": "done"}')
    (folder / "99991231-b.json").write_bytes(b"\xff" * 100)
    (folder / "99991231-c.json").write_text("[" * 100_000)
    (folder / "99991231-d.json").symlink_to("/dev/zero")
    os.mkfifo(folder / "99991231-e.json")
    assert len(results.kept(folder)) == 1
    assert place.attend().phase is Phase.SKIPPED


def test_the_command_checks_an_order_and_does_nothing(place: Place, command: Callable[..., Outcome]) -> None:
    order = place.write()
    said = command("order", order)
    assert "ERASED" in said.out or "Restore" in said.out
    assert "Nothing was done." in said.out
    plan = json.loads(command("order", order, "--check", "--json").out)["plan"]
    assert plan["image"] == place.sample.image_id
    assert untouched(place)
    assert jobs.jobs() == ()


def test_the_command_refuses_what_an_order_does_not_do_here(place: Place, command: Callable[..., Outcome]) -> None:
    order = place.write(more='[match]\nserial = "another one"')
    assert "is for other computers" in command("order", order, status=3).err
    order.write_text("version = 1\n")
    assert "cannot be understood" in command("order", order, status=2).err
    command("order", place.medium / "nothing.toml", status=2)


def test_the_command_carries_an_order_out_where_the_target_is_named(
    place: Place, command: Callable[..., Outcome]
) -> None:
    order = place.write()
    assert "was not confirmed" in command("order", order, "--run", status=3).err
    assert "names none of the targets" in command("order", order, "--run", "--erase", "sda", status=3).err
    assert untouched(place)
    command("order", order, "--run", "--erase", "target.img")
    assert holds_used_bytes(place.sample, place.target)
    assert place.done == []
