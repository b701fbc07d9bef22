"""A system whose loader lies where only an entry in the firmware finds it: restored, the machine starts it again."""

import json
import shutil
from pathlib import Path

import pytest

from tests.disks import MIB, blank, run

from .conftest import Sample
from .machine import CHECKOUT, DISK_SERIAL, JOB, SERIAL_NUMBER, STEP, started
from .terminal import ENTER
from .test_end_to_end import read_the_marker
from .test_mounted import PROMPT, open_the_shell

ROOM = 1024 * MIB


def without_a_known_path(disk: Path) -> None:
    """Leave the loader where Debian's installer puts it, and nowhere else."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    efi = f"{disk}@@{table['partitions'][1]['start'] * table['sectorsize']}"
    for old, new in (("BOOTX64.EFI", "shimx64.efi"), ("mmx64.efi", "mmx64.efi"), ("grubx64.efi", "grubx64.efi")):
        run("mmove", "-i", efi, f"::EFI/BOOT/{old}", f"::EFI/debian/{new}")
    run("mrd", "-i", efi, "::EFI/BOOT")


@pytest.mark.qemu
@pytest.mark.thorough
def test_a_restored_system_gets_the_entry_that_its_firmware_needs(stick: Path, sample: Sample, tmp_path: Path) -> None:
    source, target, work = tmp_path / "source.img", tmp_path / "target.img", tmp_path / "work.img"
    shutil.copyfile(sample.disk, source)
    without_a_known_path(source)
    blank(target, source.stat().st_size)
    folder, variables = tmp_path / "folder", tmp_path / "variables"
    run(CHECKOUT / ".venv/bin/rescue", "capture", source, "--library", folder / "library", "--label", "sample")
    source.unlink()
    run("mkfs.ext4", "-q", "-d", folder, blank(work, ROOM))
    shutil.rmtree(folder)
    more = [f"--disk={work}", f"--uefi-variables={variables}"]
    with started(
        tmp_path / "stick", firmware="uefi", stick=stick, disk=target, serial_number=SERIAL_NUMBER, more=more
    ) as machine:
        open_the_shell(machine)
        terminal = machine.terminal
        terminal.press("disk() { lsblk -dnpro NAME,SERIAL | sed -n s/.RESCUE-TEST-$1//p; }", ENTER)
        terminal.press("clear; mkdir /w; mount -o ro $(disk 2) /w; ls /w", ENTER)
        terminal.wait_for("library", timeout=STEP)
        words = "$(ls /w/library/images) $(disk 1) --library /w/library"
        terminal.press(f"clear; rescue restore {words} --plan | grep FIRMWARE", ENTER)
        terminal.wait_for("it gets a boot entry for this", timeout=STEP)
        terminal.press(f"clear; rescue restore {words} --erase {DISK_SERIAL} | tail -n 12; echo EN''DED", ENTER)
        terminal.wait_for("ENDED", timeout=JOB)
        terminal.wait_for("New in the firmware, and tried first: the boot entry debian", timeout=STEP)
        assert "will not start" not in terminal.text
        # A second restore finds the entry there, and makes no other.
        terminal.press(f"clear; rescue restore {words} --erase {DISK_SERIAL} | grep -c firmware; efibootmgr", ENTER)
        terminal.wait_for("BootOrder", timeout=JOB)
        terminal.wait_for(PROMPT, timeout=STEP)
        assert terminal.text.count("* debian") == 1, terminal.text
        machine.screenshot("entries")
        terminal.press("systemctl poweroff", ENTER)
        machine.wait_for_power_off()
    more = [f"--uefi-variables={variables}"]
    with started(
        tmp_path / "restored", firmware="uefi", disk=target, serial_number=SERIAL_NUMBER, more=more
    ) as machine:
        read_the_marker(machine, sample.marker)
