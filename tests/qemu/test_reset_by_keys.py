"""A used computer is reset from the stick's menu, over its serial line, with its files kept: by keys alone."""

from pathlib import Path

import pytest

from tests.disks import run
from tests.matrix.keptsystems import listed

from .conftest import Sample
from .machine import BOOT, DISK_SERIAL, JOB, STEP
from .terminal import ENTER
from .used import is_the_factory_s, library_disk, machine_of, root_of, use

NAME = "Workplace"

pytestmark = [pytest.mark.qemu, pytest.mark.root]


def test_a_person_resets_a_computer_and_keeps_its_files(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk, work = tmp_path / "disk.img", tmp_path / "work.img"
    run("cp", "--sparse=always", sample.disk, disk)
    use(disk)
    library_disk(sample.disk, work, tmp_path / "libraries", factory=NAME)
    with root_of(disk) as top:
        home = listed(top / "home")

    with machine_of(stick, disk, work, tmp_path / "stick", "bios") as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=BOOT)
        terminal.wait_for("/run/rescue/media/", timeout=STEP)
        terminal.press("f")
        terminal.wait_for(NAME, timeout=STEP)
        terminal.press(ENTER)
        terminal.wait_for("Where shall it go?", timeout=STEP)
        terminal.wait_for(DISK_SERIAL, timeout=STEP)
        terminal.press(ENTER)
        terminal.wait_for("What shall become of the files on this disk?", timeout=STEP)
        terminal.press("1")
        terminal.wait_for("Reset - read this before you go on", timeout=STEP)
        terminal.wait_for("KEPT: ", timeout=JOB)
        assert "[x] Keep the home folders" in terminal.text
        terminal.type(DISK_SERIAL)
        terminal.wait_for("[ Reset ]", timeout=STEP)
        terminal.press(ENTER)
        terminal.wait_for_cursor("[ Reset ]", timeout=STEP)
        terminal.press(ENTER)
        terminal.wait_for("A job has ended", timeout=JOB)
        terminal.wait_for("DONE", timeout=STEP)
        terminal.press(ENTER)
        terminal.wait_for("Restore an image", timeout=STEP)
        terminal.press("f")
        terminal.wait_for("Undo the last reset", timeout=STEP)
        terminal.press("\x1b")
        terminal.wait_for("Restore an image", timeout=STEP)
        machine.power_off_from_the_menu()

    with root_of(disk) as top:
        assert listed(top / "home") == home
        assert is_the_factory_s(top)
