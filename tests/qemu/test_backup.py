"""In QEMU, from the menu onto a USB disk: files out of an image, then a backup; and what that disk then holds."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, looped, partition, run

from .conftest import LABEL, Sample
from .machine import BOOT, JOB, STEP, Machine, started
from .terminal import DOWN, ENTER, RIGHT

START, ROOM = 1 * MIB, 1000 * MIB


def usb_disk(path: Path) -> Path:
    """An empty disk as a shop sells it, but for ext4: a table and one volume."""
    blank(path, 1002 * MIB)
    partition(path, f"label: dos\nstart={START // 512}, size={ROOM // 512}, type=83\n")
    run("mkfs.ext4", "-q", "-L", "BACKUP", "-E", f"offset={START}", path, f"{ROOM // 1024}k")
    return path


def copy_three_files(machine: Machine) -> None:
    """Out of the image on the stick, found by a search, onto the USB disk."""
    terminal = machine.terminal
    terminal.press("3")
    terminal.wait_for(LABEL, timeout=STEP)
    terminal.press("o")
    terminal.wait_for("Whose files do you want to see?", timeout=STEP)
    # The boot loader's partition and the swap space have none, and the EFI partition comes first.
    terminal.wait_for("it is swap space, which holds no files", timeout=STEP)
    terminal.press(DOWN, ENTER)
    terminal.wait_for("Nothing is marked.", timeout=STEP)
    terminal.press("/")
    terminal.wait_for("Its name holds:", timeout=STEP)
    terminal.type("cue-mark")
    terminal.press(ENTER)
    terminal.wait_for("1 found,", timeout=STEP)
    terminal.wait_for_cursor("> [ ]", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("> [ ] rescue-marker", timeout=STEP)
    # Past a link, to two more files; each mark is waited for, as a page may be turned.
    terminal.press(" ")
    terminal.wait_for("Marked: 1 file,", timeout=STEP)
    terminal.press(DOWN, DOWN)
    terminal.wait_for("> [ ] sample-packages", timeout=STEP)
    terminal.press(" ")
    terminal.wait_for("Marked: 2 files,", timeout=STEP)
    terminal.press(DOWN)
    terminal.wait_for("> [ ] shadow", timeout=STEP)
    terminal.press(" ")
    terminal.wait_for("Marked: 3 files", timeout=STEP)
    machine.screenshot("marked")
    terminal.press("c")
    terminal.wait_for("A network share", timeout=STEP)
    terminal.wait_for_cursor("> /", timeout=STEP)
    terminal.press(DOWN, ENTER)
    terminal.wait_for("HOW MUCH: 3 files", timeout=STEP)
    machine.screenshot("plan-of-the-copy")
    terminal.wait_for_cursor("[ Back ]", timeout=STEP)
    terminal.press(RIGHT)
    terminal.wait_for_cursor("[ Copy ]", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("A job has ended", timeout=JOB)
    terminal.wait_for("Copied: 3 files", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)


@contextmanager
def root_of(disk: Path, where: Path) -> Iterator[Path]:
    """The sample machine's own root, mounted read-only."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]["partitions"]
    root = next(part for part in table if part["name"] == "root")
    where.mkdir()
    with looped(disk, root["start"] * 512, root["size"] * 512) as loop:
        run("mount", "-o", "ro,noload", loop, where)
        try:
            yield where
        finally:
            run("umount", where)


def check_the_files(copied: Path, system: Path) -> None:
    """They are what they were in the image, with their times and owners."""
    names = sorted(path.name for path in copied.iterdir())
    assert len(names) == 3
    assert "rescue-marker" in names
    for name in names:
        one, other = copied / name, system / "etc" / name
        assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest(), name
        kept = [(s.st_mtime_ns, s.st_mode, s.st_uid, s.st_gid) for s in (one.lstat(), other.lstat())]
        assert kept[0] == kept[1], name


@pytest.mark.qemu
@pytest.mark.root
def test_files_of_an_image_and_then_a_backup_are_brought_onto_a_usb_disk(
    stick: Path, sample: Sample, tmp_path: Path
) -> None:
    disk, usb = tmp_path / "machine.img", usb_disk(tmp_path / "usb.img")
    run("cp", "--sparse=always", sample.disk, disk)
    with started(tmp_path / "run", firmware="uefi", stick=stick, disk=disk, usb_disk=usb, bus="virtio") as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=BOOT)
        terminal.wait_for("/run/rescue/images/rescue-library", timeout=STEP)
        copy_three_files(machine)
        terminal.press("2")
        terminal.wait_for("vda", timeout=STEP)
        # The machine's own disk is marked already; what was plugged in comes after it.
        terminal.wait_for("[x] vda", timeout=STEP)
        machine.screenshot("disks")
        terminal.wait_for_cursor("> [x] vda", timeout=STEP)
        terminal.press(ENTER)
        terminal.wait_for("a new library is made in this folder", timeout=STEP)
        machine.screenshot("where")
        # First the stick's own library, then the USB disk: no other place is offered.
        terminal.wait_for_cursor("> /", timeout=STEP)
        assert "/run/rescue/layers" not in terminal.text
        terminal.press(DOWN, ENTER)
        terminal.wait_for("Label", timeout=STEP)
        terminal.type("By hand")
        terminal.press(ENTER)
        terminal.wait_for_cursor("[ Start the backup ]", timeout=STEP)
        terminal.press(ENTER)
        terminal.wait_for("A job has ended", timeout=JOB)
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
            with root_of(sample.disk, tmp_path / "system") as system:
                check_the_files(where / "rescue-files", system)
        finally:
            run("umount", where)
