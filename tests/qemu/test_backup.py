"""Back up this computer in QEMU, from the menu onto a USB disk, and what that disk then holds."""

from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, looped, partition, run

from .conftest import Sample
from .machine import started
from .terminal import DOWN, ENTER

BOOT, STEP, CAPTURE = 420.0, 120.0, 900.0
START, ROOM = 1 * MIB, 1000 * MIB


def usb_disk(path: Path) -> Path:
    """An empty disk as a shop sells it, but for ext4: a table and one volume."""
    blank(path, 1002 * MIB)
    partition(path, f"label: dos\nstart={START // 512}, size={ROOM // 512}, type=83\n")
    run("mkfs.ext4", "-q", "-L", "BACKUP", "-E", f"offset={START}", path, f"{ROOM // 1024}k")
    return path


@pytest.mark.qemu
@pytest.mark.root
def test_a_computer_is_backed_up_onto_a_usb_disk(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk, usb = tmp_path / "machine.img", usb_disk(tmp_path / "usb.img")
    run("cp", "--sparse=always", sample.disk, disk)
    with started(tmp_path / "run", firmware="uefi", stick=stick, disk=disk, usb_disk=usb, bus="virtio") as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=BOOT)
        terminal.wait_for("/run/rescue/images/rescue-library", timeout=STEP)
        terminal.press("2")
        terminal.wait_for("vda", timeout=STEP)
        # The machine's own disk is marked already; what was plugged in comes after it.
        terminal.wait_for("[x]  vda", timeout=STEP)
        machine.screenshot("disks")
        terminal.look(2.0)
        terminal.press(ENTER)
        terminal.wait_for("a new library is made in this folder", timeout=STEP)
        machine.screenshot("where")
        # First the stick's own library, then the USB disk: no other place is offered.
        assert "/run/rescue/layers" not in terminal.text
        terminal.look(2.0)
        terminal.press(DOWN, ENTER)
        terminal.wait_for("Label", timeout=STEP)
        terminal.type("By hand")
        terminal.press(ENTER)
        terminal.look(2.0)
        terminal.press(ENTER)
        terminal.wait_for("A job has ended", timeout=CAPTURE)
        terminal.wait_for("DONE", timeout=STEP)
        machine.screenshot("done")
        terminal.press(ENTER)
        terminal.wait_for("Restore an image", timeout=STEP)
        machine.power_off_from_the_menu()
    run("cmp", disk, sample.disk)
    where = tmp_path / "mounted"
    where.mkdir()
    with looped(usb, START, ROOM) as loop:
        run("e2fsck", "-fn", loop)
        run("mount", "-o", "ro", loop, where)
        try:
            library = where / "rescue-library"
            (image,) = run_rescue("images", "--library", library, "--json").json["images"]
            assert image["label"] == "By hand"
            assert image["machine"]["firmware"] == "uefi"
            run_rescue("verify", image["id"], "--library", library)
            run_rescue("verify", image["id"], "--library", library, "--against", sample.disk)
        finally:
            run("umount", where)
