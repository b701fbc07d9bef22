"""Unattended in QEMU: an order on the stick restores a blank disk without a key, and refuses where there are two."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import LABEL, Sample
from .machine import BOOT, JOB, STEP, started
from .terminal import ENTER
from .test_stick import extent_of, output_of

pytestmark = pytest.mark.qemu

# The sample machine's partition that holds its system.
ROOT = 3

ORDER = """\
version = 1
name = "Classroom"
countdown = 60
after = "power-off"
report = "http://10.0.2.2:{port}/results"

[restore]
label = "{label}"

[[restore.disk]]
only_internal = true
"""


def place_of(disk: Path, number: int) -> str:
    """A partition of a disk's image, as the tools of ext4 name it."""
    return f"{disk}?offset={extent_of(disk, number)[0]}"


def add_order(stick: Path, order: Path) -> None:
    """Put an order into the folder jobs of the images partition."""
    script = order.with_suffix(".debugfs")
    script.write_text(f"mkdir jobs\nwrite {order} jobs/{order.name}\n")
    output_of("debugfs", "-w", "-f", script, place_of(stick, 3))


def results_on(stick: Path, folder: Path) -> list[dict[str, Any]]:
    """The results that the images partition keeps, oldest first."""
    folder.mkdir()
    output_of("debugfs", "-R", f"rdump results {folder}", place_of(stick, 3))
    return [json.loads(path.read_bytes()) for path in sorted((folder / "results").iterdir())]


@contextmanager
def listening(got: list[dict[str, Any]]) -> Iterator[int]:
    """A server for results; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def blank_disk(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def is_blank(path: Path) -> bool:
    with path.open("rb") as file:
        return not any(any(piece) for piece in iter(lambda: file.read(1 << 20), b""))


def test_an_order_restores_a_blank_disk_without_a_key_and_refuses_where_there_are_two(
    stick: Path, sample: Sample, tmp_path: Path
) -> None:
    mine, got = tmp_path / "stick.img", list[dict[str, Any]]()
    output_of("cp", "--sparse=always", stick, mine)
    size = sample.disk.stat().st_size + (256 << 20)
    with listening(got) as port:
        order = tmp_path / "classroom.toml"
        order.write_text(ORDER.format(port=port, label=LABEL))
        add_order(mine, order)

        target = blank_disk(tmp_path / "target.img", size)
        with started(
            tmp_path / "one", firmware="bios", stick=mine, disk=target, network={}, more=["--keep-stick"]
        ) as machine:
            machine.terminal.wait_for("BEGINS IN", timeout=BOOT)
            machine.terminal.wait_for("ERASED", timeout=STEP)
            machine.wait_for_screen("Press Esc or Enter to stop it", timeout=STEP)
            machine.screenshot("countdown")
            machine.wait_for_power_off(timeout=JOB)
        assert [(r["result"], r["kind"], r["disks"][0]["id"]["model"]) for r in got] == [
            ("done", "restore", "Rescue Test Disk")
        ]
        assert results_on(mine, tmp_path / "kept-one") == got
        assert output_of("debugfs", "-R", "cat /etc/rescue-marker", place_of(target, ROOT)).strip() == sample.marker

        disks = [blank_disk(tmp_path / f"{name}.img", size) for name in ("a", "b")]
        with started(
            tmp_path / "two",
            firmware="bios",
            stick=mine,
            disk=disks[0],
            network={},
            more=["--keep-stick", f"--disk={disks[1]}"],
        ) as machine:
            terminal = machine.terminal
            terminal.wait_for("REFUSED - nothing was written", timeout=BOOT)
            terminal.wait_for("several internal disks were found", timeout=STEP)
            machine.wait_for_screen("REFUSED - nothing was written", timeout=STEP)
            machine.screenshot("refused")
            terminal.wait_until(lambda: len(got) > 1, what="the report", timeout=STEP)
            terminal.press(ENTER)
            terminal.wait_for("Restore an image", timeout=STEP)
            machine.power_off_from_the_menu()
        assert [(r["result"], r["code"]) for r in got[1:]] == [("refused", "ambiguous-disk")]
        assert [r["result"] for r in results_on(mine, tmp_path / "kept-two")] == ["done", "refused"]
        assert all(map(is_blank, disks))
