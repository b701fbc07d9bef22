"""A computer that was used is reset with its files kept, through a power cut; it starts, and that is undone."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.disks import MIB, blank, run
from tests.matrix.test_kept_files import listed
from tests.matrix.tools import Place, attached, mounted

from .conftest import Sample
from .machine import CHECKOUT, JOB, STEP, Machine, started
from .terminal import ENTER
from .test_end_to_end import DISK_SERIAL, SERIAL_NUMBER, read_the_marker
from .test_mounted import PROMPT, open_the_shell

pytestmark = [pytest.mark.qemu, pytest.mark.root]
ROOM = 2048 * MIB
ADDED, DELETED, ANNA = "usr/local/bin/added", "etc/debian_version", 1500


@contextmanager
def root_of(disk: Path, *, writable: bool = False) -> Iterator[Path]:
    """The root file system of a sample machine's disk."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    (part,) = (part for part in table["partitions"] if part["name"] == "root")
    place = Place(path=disk, start=part["start"] * 512, size=part["size"] * 512)
    with attached(place) as loop, mounted(("mount", "-t", "ext4", "-o", "rw" if writable else "ro"), loop) as top:
        yield top


def use(disk: Path) -> None:
    """What a person does to a computer: an account, files, a program more, a file less."""
    with root_of(disk, writable=True) as top:
        for name, line in (
            ("passwd", f"anna:x:{ANNA}:{ANNA}::/home/anna:/bin/bash\n"),
            ("shadow", "anna:*:1::::::\n"),
            ("group", f"anna:x:{ANNA}:\n"),
        ):
            with (top / "etc" / name).open("a") as file:
                file.write(line)
        home = top / "home/anna"
        (home / "Letters").mkdir(parents=True)
        for number in range(300):
            (home / "Letters" / f"{number}.txt").write_text(f"letter {number}\n" * number)
        (home / "film").write_bytes((top / "vmlinuz").resolve().name.encode() * 500_000)
        (home / "link").symlink_to("Letters/1.txt")
        run("chown", "-R", "-h", f"{ANNA}:{ANNA}", home)
        (top / ADDED).write_text("a program of hers\n")
        (top / DELETED).unlink()


@contextmanager
def shell_of(stick: Path, disk: Path, work: Path, folder: Path, firmware: str) -> Iterator[tuple[Machine, str]]:
    """The stick's shell, with another disk mounted that holds the library, and the words that name that."""
    more = [f"--disk={work}"]
    with started(folder, firmware=firmware, stick=stick, disk=disk, serial_number=SERIAL_NUMBER, more=more) as machine:
        open_the_shell(machine)
        terminal = machine.terminal
        terminal.press("disk() { lsblk -dnpro NAME,SERIAL | sed -n s/.RESCUE-TEST-$1//p; }", ENTER)
        terminal.press("clear; mkdir /w; mount $(disk 2) /w; ls /w", ENTER)
        terminal.wait_for("library", timeout=STEP)
        yield machine, "--library /w/library"


def power_off(machine: Machine) -> None:
    machine.terminal.press("sync; umount /w; systemctl poweroff", ENTER)
    machine.wait_for_power_off()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_used_computer_is_reset_and_its_files_stay(
    stick: Path, sample: Sample, tmp_path: Path, firmware: str
) -> None:
    disk, work, folder = tmp_path / "disk.img", tmp_path / "work.img", tmp_path / "folder"
    captured = run(CHECKOUT / ".venv/bin/rescue", "capture", sample.disk, "--library", folder / "library", "--json")
    image = json.loads(captured.splitlines()[-1])["result"]["image"]
    run("mkfs.ext4", "-q", "-d", folder, blank(work, ROOM))
    shutil.rmtree(folder)
    run("cp", "--sparse=always", sample.disk, disk)
    use(disk)
    with root_of(disk) as top:
        home, everything = listed(top / "home"), listed(top)
    reset = f"rescue restore {image} $(disk 1) --keep-files accounts --erase {DISK_SERIAL}"

    if firmware == "uefi":
        with shell_of(stick, disk, work, tmp_path / "cut", firmware) as (machine, library):
            machine.terminal.press(f"clear; {reset} {library} | cat", ENTER)
            machine.terminal.wait_for("Bringing back the files", timeout=JOB)
        with shell_of(stick, disk, work, tmp_path / "completed", firmware) as (machine, library):
            terminal = machine.terminal
            terminal.press(f"clear; rescue disks --quick {library} | cat", ENTER)
            terminal.wait_for(PROMPT, timeout=STEP)
            terminal.press(f"clear; {reset} {library} | tail -n 20; echo EN''DED", ENTER)
            terminal.wait_for("ENDED", timeout=JOB)
            assert "Accounts kept: anna" in terminal.text, terminal.text
            machine.screenshot("completed")
            power_off(machine)
    else:
        with shell_of(stick, disk, work, tmp_path / "reset", firmware) as (machine, library):
            terminal = machine.terminal
            terminal.press(f"clear; {reset} {library} | tail -n 20; echo EN''DED", ENTER)
            terminal.wait_for("ENDED", timeout=JOB)
            assert "Accounts kept: anna" in terminal.text, terminal.text
            power_off(machine)

    with root_of(disk) as top:
        assert listed(top / "home") == home
        assert not (top / ADDED).exists()
        assert (top / DELETED).exists()
        assert f"anna:x:{ANNA}:{ANNA}:" in (top / "etc/passwd").read_text()
    with started(tmp_path / "started", firmware=firmware, disk=disk, serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, sample.marker)

    if firmware == "uefi":
        with shell_of(stick, disk, work, tmp_path / "undone", firmware) as (machine, library):
            terminal = machine.terminal
            terminal.press(f"clear; rescue undo {library} --erase {DISK_SERIAL} | tail -n 12; echo EN''DED", ENTER)
            terminal.wait_for("ENDED", timeout=JOB)
            power_off(machine)
        with root_of(disk) as top:
            assert listed(top) == everything
        with started(tmp_path / "again", firmware=firmware, disk=disk, serial_number=SERIAL_NUMBER) as machine:
            read_the_marker(machine, sample.marker)
