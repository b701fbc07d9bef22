"""Recovery on the computer's own disk: put there from the stick, then started without one, by UEFI and by a BIOS."""

import os
import re
from itertools import count
from pathlib import Path

import pytest

from tests.disks import MIB, run

from .conftest import Sample
from .machine import BOOT, JOB, STEP, Machine, started
from .terminal import CTRL_N, ENTER, SerialTerminal

# What grub-mkconfig leaves at the end of its menu, by /etc/grub.d/41_custom; and time to choose.
MENU = """\
set timeout=60
menuentry "Sample machine" {
    linux /vmlinuz root=LABEL=sample-root ro quiet console=tty0 console=ttyS0,115200n8
    initrd /initrd.img
}
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z "${config_directory}" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
"""
SERIAL = """\
if serial --unit=0 --speed=115200; then
    terminal_input --append serial
    terminal_output --append serial
fi
"""
# Each command's end has a word of its own: what the one before said may still stand on the screen.
_ENDS = count()

ROOT = 65 + 1  # MiB: where the sample machine's root partition begins, behind its BIOS boot and EFI partitions


def prepared(sample: Sample, folder: Path) -> Path:
    """The sample machine's disk, with room behind its partitions, and its menu as an installed Debian has it."""
    disk = folder / "pc.img"
    run("cp", "--sparse=always", sample.disk, disk)
    os.truncate(disk, disk.stat().st_size + 1200 * MIB)
    menu = folder / "grub.cfg"
    menu.write_text(SERIAL + MENU)
    _debugfs(disk, "rm /boot/grub/grub.cfg", f"write {menu} /boot/grub/grub.cfg")
    return disk


def _debugfs(disk: Path, *commands: str) -> str:
    return "".join(run("debugfs", "-w", "-R", command, f"{disk}?offset={ROOT * MIB}") for command in commands)


def in_the_shell(terminal: SerialTerminal, command: str, wanted: str, timeout: float = STEP) -> None:
    """Run a command in the shell and wait for what it prints."""
    terminal.press(f"clear; {command}", ENTER)
    terminal.wait_for(wanted, timeout=timeout)


def done(terminal: SerialTerminal, command: str, status: int, timeout: float = STEP) -> None:
    """Run a command in the shell, which must end with this status; what it said stays on the screen."""
    word = f"ended-{next(_ENDS)}"
    terminal.press(f"clear; {command}; echo {word}-$((40 + $?)).", ENTER)
    # Up to its last character: a line tells one after the other.
    told = terminal.wait_until(
        lambda: re.search(rf"{word}-(\d+)\.", terminal.flow), what=f"the end of {command}", timeout=timeout
    )
    assert told is not None
    assert int(told[1]) == 40 + status, terminal.text


def install(machine: Machine) -> None:
    """From the stick's menu to a recovery partition with the factory image on it, which is started next."""
    terminal = machine.terminal
    terminal.wait_for("Restore an image", timeout=BOOT)
    terminal.press("s")
    terminal.wait_for("root@rescue", timeout=STEP)
    library = "/run/rescue/images/rescue-library"
    terminal.press(f"image=$(rescue images --library {library} | grep -o '2[0-9]*-[0-9]*-[0-9a-f]*' | head -1)", ENTER)
    command = f"rescue media install-partition vda --factory $image --library {library} --confirm vda"
    done(terminal, command, 0, timeout=JOB)
    assert "was installed on vda5" in terminal.flow, terminal.text
    # Behind all others, and for this test alone the next to be started.
    in_the_shell(terminal, "efibootmgr | grep -e Order -e recovery; echo entries-$((40 + 2))", "entries-42")
    order = terminal.flow.partition("BootOrder: ")[2].split()[0].split(",")
    number = terminal.flow.partition("* Rescue recovery")[0].rpartition("Boot")[2]
    assert (order[-1], len(order) > 1) == (number, True), terminal.text
    in_the_shell(terminal, f"efibootmgr --quiet --bootnext {number} && echo next-$((40 + 2))", "next-42")
    terminal.press("exit", ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)
    machine.power_off_from_the_menu()


def restore_the_root(machine: Machine) -> None:
    """Started from the disk itself: its whole is no target, and a partition beside is restored from its own library."""
    terminal = machine.terminal
    terminal.wait_for("Restore an image", timeout=BOOT)
    terminal.wait_for("rescue-library", timeout=STEP)
    machine.screenshot("menu")
    terminal.press("s")
    terminal.wait_for("root@rescue", timeout=STEP)
    in_the_shell(terminal, "findmnt -nro SOURCE,FSTYPE /run/rescue/medium", "/dev/vda5 ext4")
    library = "/run/rescue/medium/rescue-library"
    terminal.press(f"image=$(rescue images --library {library} | grep -o '2[0-9]*-[0-9]*-[0-9a-f]*' | head -1)", ENTER)
    done(terminal, f"rescue restore $image vda --library {library} --erase vda", 3)
    assert "started from its recovery partition" in terminal.flow, terminal.text
    done(terminal, f"rescue restore $image vda --library {library} --partition 3 --erase vda3", 0, timeout=JOB)
    # What starts it is added again from its own files; it cannot be taken away while it runs.
    done(terminal, "rescue media install-partition vda --confirm vda", 0)
    assert "on vda5 was added again" in terminal.flow, terminal.text
    done(terminal, "rescue media remove-partition vda --confirm vda", 3)
    terminal.press("exit", ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)
    machine.power_off_from_the_menu()


def choose_it_in_grub(machine: Machine) -> None:
    """From the installed GRUB's menu on the serial line to the recovery system."""
    terminal = machine.terminal
    terminal.wait_for("Rescue recovery", timeout=STEP)
    # Down, in one byte: the three of an arrow key may come apart on their way to a GRUB that waits for them 0.1 s.
    terminal.press(CTRL_N)
    terminal.wait_for("*Rescue recovery", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("Restore an image", timeout=BOOT)
    machine.screenshot("menu")
    machine.power_off_from_the_menu()


@pytest.mark.qemu
@pytest.mark.thorough
def test_a_computer_recovers_itself_from_its_own_disk(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk = prepared(sample, tmp_path)
    options = [f"--uefi-variables={tmp_path / 'variables'}"]
    with started(tmp_path / "stick", firmware="uefi", stick=stick, disk=disk, bus="virtio", more=options) as machine:
        install(machine)
    with started(tmp_path / "bios", firmware="bios", disk=disk, bus="virtio") as machine:
        choose_it_in_grub(machine)
    _debugfs(disk, "rm /etc/rescue-marker")
    with started(tmp_path / "uefi", firmware="uefi", disk=disk, bus="virtio", more=options) as machine:
        restore_the_root(machine)
    assert sample.marker in _debugfs(disk, "cat /etc/rescue-marker")
