"""A machine that does not start any more is repaired from the stick with what its own disk has, and starts."""

import json
import shutil
from pathlib import Path

import pytest

from imaging import checkboot
from imaging.startable import Answer
from tests import programs
from tests.disks import MIB, looped, run

from .conftest import Sample
from .machine import DISK_SERIAL, JOB, SERIAL_NUMBER, STEP, started
from .terminal import ENTER
from .test_end_to_end import read_the_marker
from .test_mounted import PROMPT, open_the_shell

GRUB = Path("/usr/lib/grub")
KINDS = ("i386-pc", "x86_64-efi")


def give_it_grub(disk: Path, folder: Path) -> None:
    """GRUB's own tools, as a system has them that was installed in the common way: the sample's was put there."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    root = table["partitions"][2]
    with looped(disk, root["start"] * 512, root["size"] * 512) as loop:
        folder.mkdir()
        run("mount", "-t", "ext4", loop, folder)
        try:
            programs.copy(programs.needed("grub-install", "grub-probe", "grub-mkimage"), folder)
            for kind in KINDS:
                shutil.copytree(GRUB / kind, folder / "usr/lib/grub" / kind)
        finally:
            run("umount", folder)


def destroy(disk: Path) -> None:
    """No boot code, no table at the start, no core of GRUB, and no loader on the EFI system partition."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    core, efi, *_ = table["partitions"]
    run("mdeltree", "-i", f"{disk}@@{efi['start'] * 512}", "::EFI")
    with disk.open("r+b") as file:
        file.write(bytes(MIB))
        file.seek(core["start"] * 512)
        file.write(bytes(core["size"] * 512))


@pytest.mark.qemu
def test_a_machine_without_table_and_loader_starts_after_its_repair(
    stick: Path, sample: Sample, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    shutil.copyfile(sample.disk, disk)
    give_it_grub(disk, tmp_path / "root")
    destroy(disk)
    (found,) = checkboot.check_paths([str(disk)])
    assert found.answer is Answer.FAILS
    with started(tmp_path / "stick", firmware="bios", stick=stick, disk=disk, serial_number=SERIAL_NUMBER) as machine:
        open_the_shell(machine)
        terminal = machine.terminal
        terminal.press("disk=$(lsblk -dnpro NAME,SERIAL | sed -n s/.RESCUE-TEST-1//p)", ENTER)
        terminal.press("clear; rescue repair $disk --plan | cut -c1-79 | tail -n 20; echo EN''DED", ENTER)
        terminal.wait_for("ENDED", timeout=STEP)
        terminal.wait_for("PARTITION TABLE: what stands at the start is destroyed", timeout=STEP)
        terminal.wait_for("BOOT LOADER: put back for BIOS, UEFI by grub-install", timeout=STEP)
        machine.screenshot("plan")
        words = f"rescue repair $disk --check-filesystems --confirm {DISK_SERIAL}"
        terminal.press(
            f"clear; {words} > out; echo status $? EN''DED; tail -n 12 out | cut -c1-79",
            ENTER,
        )
        terminal.wait_for("ENDED", timeout=JOB)
        terminal.wait_for(PROMPT, timeout=STEP)
        if "status 0 ENDED" not in terminal.text:
            terminal.press("clear; tail -n 15 /run/rescue/jobs/*/log; echo LO''G", ENTER)
            terminal.wait_for("LOG", timeout=STEP)
            pytest.fail(terminal.text)
        terminal.wait_for("Boot loader: put back for BIOS, UEFI", timeout=STEP)
        machine.screenshot("repaired")
        terminal.press("systemctl poweroff", ENTER)
        machine.wait_for_power_off()
    # Each start takes minutes in an emulated machine: UEFI has what check-boot asks of it, and the BIOS is tried.
    (found,) = checkboot.check_paths([str(disk)])
    assert [way.answer for way in found.ways] == [Answer.STARTS, Answer.STARTS]
    with started(tmp_path / "repaired", firmware="bios", disk=disk, serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, sample.marker)
