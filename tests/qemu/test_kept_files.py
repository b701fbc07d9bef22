"""A computer that was used is reset with its files kept; it starts, and that is undone."""

from pathlib import Path

import pytest

from tests.disks import run
from tests.matrix.test_kept_files import listed

from .conftest import Sample
from .machine import DISK_SERIAL, JOB, SERIAL_NUMBER, started
from .terminal import ENTER
from .test_end_to_end import read_the_marker
from .used import ADDED, ANNA, DELETED, library_disk, power_off, root_of, shell_of, use

pytestmark = [pytest.mark.qemu, pytest.mark.root]


def test_a_used_computer_is_reset_and_its_files_stay(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk, work = tmp_path / "disk.img", tmp_path / "work.img"
    image = library_disk(sample.disk, work, tmp_path / "folder")
    run("cp", "--sparse=always", sample.disk, disk)
    use(disk)
    with root_of(disk) as top:
        home = listed(top / "home")
    with shell_of(stick, disk, work, tmp_path / "reset", "bios") as (machine, library):
        terminal = machine.terminal
        reset = f"rescue restore {image} $(disk 1) --keep-files accounts --erase {DISK_SERIAL}"
        terminal.press(f"clear; {reset} {library} | tail -n 20; echo EN''DED", ENTER)
        terminal.wait_for("ENDED", timeout=JOB)
        assert "Accounts kept: anna" in terminal.text, terminal.text
        power_off(machine)
    with root_of(disk) as top:
        assert listed(top / "home") == home
        assert not (top / ADDED).exists()
        assert (top / DELETED).exists()
        assert f"anna:x:{ANNA}:{ANNA}:" in (top / "etc/passwd").read_text()
    with started(tmp_path / "started", firmware="bios", disk=disk, serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, sample.marker)
