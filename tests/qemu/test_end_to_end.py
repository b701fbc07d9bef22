"""The whole path in QEMU: boot the stick, restore through the menu over the serial line, boot what was restored."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from livebuild.sampleroots import ROOT_SIZE

from .conftest import LABEL, Sample
from .machine import BOOT, DISK_SERIAL, JOB, SERIAL_NUMBER, STEP, Machine, started
from .terminal import ENTER, TAB


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A firmware, and what the disk is attached to."""

    firmware: str
    bus: str
    grow: bool = False
    """Whether the root takes the room that the disk has more than the image's, and the swap behind it makes room."""

    def __str__(self) -> str:
        return f"{self.firmware}-{self.bus}"


CASES = [Case(firmware="bios", bus="sata"), Case(firmware="uefi", bus="nvme", grow=True)]
MORE = 256 << 20
"""Bytes that the disk has more than the image's."""


def start_a_restore(machine: Machine, *, grow: bool = False) -> None:
    """From the main menu to a job that runs, or has ended already; with `grow` the root takes a larger disk's room."""
    terminal = machine.terminal
    terminal.wait_for("Restore an image", timeout=BOOT)
    # The stick's own library was found without a question.
    terminal.wait_for("/run/rescue/images/rescue-library", timeout=STEP)
    machine.screenshot("menu")
    terminal.press("1")
    terminal.wait_for("choose an image", timeout=STEP)
    terminal.wait_for(LABEL, timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("What shall be restored?", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("choose the disk to write to", timeout=STEP)
    # The machine has one more disk, the stick; that one is shown but cannot be chosen.
    terminal.wait_for(DISK_SERIAL, timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("read this before you go on", timeout=STEP)
    terminal.wait_for("To erase it, type", timeout=STEP)
    terminal.type(DISK_SERIAL)
    terminal.wait_for("[ Restore ]", timeout=STEP)
    if grow:
        terminal.wait_for("[ ] Enlarge partition 3", timeout=STEP)
        before = sum(box in terminal.text for box in ("Save what is there first", "Keep the home folders"))
        terminal.press(*[TAB] * (before + 1), " ")
        terminal.wait_for("[x] Enlarge partition 3", timeout=STEP)
        # Past the box that wipes the disk.
        terminal.press(TAB, TAB)
        terminal.wait_for_cursor("[ Back ]", timeout=STEP)
        terminal.press(TAB)
    else:
        terminal.press(ENTER)
    terminal.wait_for_cursor("[ Restore ]", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("A job is running", "A job has ended", timeout=STEP)


def restore_through_the_menu(machine: Machine, *, grow: bool = False) -> None:
    """From the main menu to a restored disk and a machine that is off."""
    terminal = machine.terminal
    start_a_restore(machine, grow=grow)
    terminal.wait_for("A job has ended", timeout=JOB)
    terminal.wait_for("DONE", timeout=STEP)
    # What is said here is proved below: the machine starts from the disk.
    terminal.wait_for("on BIOS, UEFI", timeout=STEP)
    machine.screenshot("result")
    terminal.press(ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)
    machine.power_off_from_the_menu()


def read_the_marker(machine: Machine, marker: str, *, root: int = 0, also: tuple[str, str] | None = None) -> None:
    """Log in on the restored machine's serial console, compare the mark, and whether the root has so many bytes.

    `also` is a command more, and what it has to answer.
    """
    terminal = machine.terminal
    terminal.wait_for("sample login:", timeout=BOOT)
    terminal.press("root", ENTER)
    terminal.wait_for("Password:", timeout=STEP)
    terminal.press("rescue", ENTER)
    terminal.wait_for("root@sample:~#", timeout=STEP)
    terminal.press("clear; cat /etc/rescue-marker", ENTER)
    terminal.wait_for(marker, timeout=STEP)
    # No unit failed: swap and the EFI system partition were restored as well as the root.
    terminal.press("clear; systemctl is-system-running --wait; swapon --noheadings --show=TYPE", ENTER)
    terminal.wait_for("running partition", timeout=STEP)
    if root:
        # The partition, and the blocks of its file system that are not its own books.
        size = "blockdev --getsize64 $(findmnt -no SOURCE /)"
        terminal.press(f"clear; echo $(( $({size}) >= {root} && $(stat -fc %b*%S /) > {root} * 9 / 10 ))-grown", ENTER)
        terminal.wait_for("1-grown", timeout=STEP)
    if also:
        command, answer = also
        terminal.press(f"clear; {command}", ENTER)
        terminal.wait_for(answer, timeout=STEP)
    terminal.press("systemctl poweroff", ENTER)
    machine.wait_for_power_off()


@pytest.mark.qemu
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_blank_disk_restored_from_the_stick_boots(case: Case, stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk = tmp_path / "target.img"
    with disk.open("wb") as file:
        # Larger than the image's disk, as a replacement disk would be.
        file.truncate(sample.disk.stat().st_size + MORE)
    with started(
        tmp_path / "stick", firmware=case.firmware, stick=stick, disk=disk, bus=case.bus, serial_number=SERIAL_NUMBER
    ) as machine:
        restore_through_the_menu(machine, grow=case.grow)
    with started(
        tmp_path / "restored", firmware=case.firmware, disk=disk, bus=case.bus, serial_number=SERIAL_NUMBER
    ) as machine:
        read_the_marker(machine, sample.marker, root=ROOT_SIZE + MORE - (2 << 20) if case.grow else 0)
