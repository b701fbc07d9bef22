"""A restore over a serial line of 9600 baud that is pulled in the middle: the job goes on, and any screen shows it."""

import re
from pathlib import Path

import pytest

from .conftest import Sample
from .line import SlowLine
from .machine import BOOT, JOB, SERIAL_NUMBER, STEP, Machine, started
from .terminal import CTRL_L, ENTER
from .test_end_to_end import read_the_marker, start_a_restore

BAUD = 9600
SLOW = 3 << 20
"""Bytes a second that the disk takes while the line is pulled: enough to see the bar move, too little to end."""


def percent(text: str) -> int:
    """What the bar says; 0 where there is none."""
    found = re.search(r"(\d+) %", text)
    return int(found[1]) if found else 0


def hang_up(machine: Machine) -> None:
    """What the kernel does where a port reports that its carrier is gone; QEMU's port cannot. Done from tty1."""
    machine.press_on_keyboard("esc")
    machine.wait_for_screen("Press r to watch it", timeout=STEP)
    machine.press_on_keyboard("f2")
    machine.wait_for_screen("root@rescue", timeout=STEP)
    machine.type_on_keyboard("stty -F /dev/ttyS0 speed")
    machine.press_on_keyboard("ret")
    machine.wait_for_screen(f"speed {BAUD}", timeout=STEP)
    machine.type_on_keyboard("systemctl kill -s HUP rescue-tui@ttyS0")
    machine.press_on_keyboard("ret")
    machine.type_on_keyboard("exit")
    machine.press_on_keyboard("ret")
    machine.wait_for_screen("Press r to watch it", timeout=STEP)
    machine.press_on_keyboard("r")


@pytest.mark.qemu
def test_a_restore_goes_on_when_its_serial_line_is_pulled(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk = tmp_path / "target.img"
    with disk.open("wb") as file:
        file.truncate(sample.disk.stat().st_size + (256 << 20))
    line = SlowLine(tmp_path / "line", baud=BAUD)
    with started(
        tmp_path / "stick", firmware="bios", stick=stick, disk=disk, serial_number=SERIAL_NUMBER, slow_line=line
    ) as machine:
        terminal = machine.terminal
        # On this line GRUB's menu can lack a byte here and there: nothing tells it to wait.
        terminal.wait_for(f"{BAUD} baud", "(key 9)", timeout=BOOT)
        terminal.press("9")
        terminal.wait_for("Restore an image", timeout=BOOT)
        machine.slow_disk(1, SLOW)
        start_a_restore(machine)
        terminal.wait_until(lambda: percent(terminal.text) > 0, what="progress", timeout=STEP)
        line.pull()
        before = percent(terminal.text)
        # The screen of the PC shows the menu, which offers the job.
        machine.wait_for_screen("Press r to watch it", timeout=STEP)
        machine.screenshot("menu-while-pulled")
        machine.press_on_keyboard("r")
        machine.wait_for_screen("A job is running", timeout=STEP)
        terminal.wait_until(lambda: percent(machine.screen_text()) > before, what="more progress", timeout=JOB)
        machine.screenshot("reattached-on-tty1")
        # Plugged in again, the same screen goes on; after a hang-up a new one offers the job.
        line.plug()
        terminal.press(CTRL_L)
        terminal.wait_for("A job is running", timeout=STEP)
        hang_up(machine)
        terminal.wait_for("Press r to watch it", timeout=STEP)
        terminal.press("r")
        terminal.wait_for("A job is running", timeout=STEP)
        machine.slow_disk(1, 0)
        terminal.wait_for("A job has ended", timeout=JOB)
        terminal.wait_for("DONE", timeout=STEP)
        terminal.wait_for("read back", timeout=STEP)
        machine.wait_for_screen("A job has ended", timeout=STEP)
        machine.screenshot("result-on-tty1")
        terminal.press(ENTER)
        terminal.wait_for("Restore an image", timeout=STEP)
        machine.power_off_from_the_menu()
    with started(tmp_path / "restored", firmware="bios", disk=disk, serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, sample.marker)
