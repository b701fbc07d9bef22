"""The stick's image without booting it, and what the booted live system leaves alone."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Sample
from .machine import started
from .terminal import ENTER

pytestmark = pytest.mark.qemu

SECTOR = 512


def output_of(*argv: str | Path) -> str:
    """What a tool prints; it must succeed."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    tool = shutil.which(str(argv[0]), path=path)
    assert tool, f"{argv[0]} is not installed; run live-image/setup"
    return subprocess.run([tool, *argv[1:]], check=True, capture_output=True, text=True).stdout


def partition_file(stick: Path, number: int, folder: Path) -> Path:
    """One partition of the stick as a file of its own."""
    table = json.loads(output_of("sfdisk", "--json", stick))["partitiontable"]
    part = table["partitions"][number - 1]
    target = folder / f"partition-{number}.img"
    with stick.open("rb") as source, target.open("wb") as copy:
        source.seek(part["start"] * SECTOR)
        copy.write(source.read(part["size"] * SECTOR))
    return target


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_the_sticks_table_and_file_systems_pass_their_checks(stick: Path, tmp_path: Path) -> None:
    table = json.loads(output_of("sfdisk", "--json", stick))["partitiontable"]
    assert table["label"] == "gpt"
    assert [part["name"] for part in table["partitions"]] == ["BIOS-BOOT", "RESCUE", "RESCUE-IMAGES"]
    assert "No errors detected" in output_of("sfdisk", "--verify", stick)
    output_of("fsck.vfat", "-n", partition_file(stick, 2, tmp_path))
    output_of("e2fsck", "-fn", partition_file(stick, 3, tmp_path))


def test_the_packages_of_a_build_are_listed_beside_it_and_on_it(stick: Path, tmp_path: Path) -> None:
    listed = stick.with_name(stick.name + ".packages").read_text()
    names = {line.split()[0] for line in listed.splitlines()}
    assert {"linux-image-amd64", "systemd", "partclone", "shim-signed", "busybox-static"} <= names
    system = partition_file(stick, 2, tmp_path)
    assert output_of("mtype", "-i", system, "::/rescue/packages") == listed


def test_the_live_system_leaves_the_machines_disks_as_they_are(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk = tmp_path / "machine.img"
    output_of("cp", "--sparse=always", sample.disk, disk)
    before = digest(disk)
    with started(tmp_path / "run", firmware="uefi", stick=stick, disk=disk, bus="virtio") as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=420)
        terminal.press("4")
        terminal.wait_for("root@rescue", timeout=120)
        # Nothing failed, and the swap partition, the root and the EFI partition of the disk lie still.
        terminal.press(
            "clear; systemctl is-system-running --wait; swapon --show; findmnt -rno TARGET -S /dev/vda3", ENTER
        )
        terminal.wait_for("running root@rescue", timeout=120)
        # Jobs run as units of their own, beside the screen that started them.
        terminal.press("clear; systemd-run --quiet --collect --unit=trial true && echo unit-$((40 + 2))", ENTER)
        terminal.wait_for("unit-42", timeout=60)
        terminal.press("exit", ENTER)
        terminal.wait_for("Restore an image", timeout=120)
        machine.power_off_from_the_menu()
    assert digest(disk) == before


def test_a_menu_that_cannot_start_leaves_a_shell(stick: Path, tmp_path: Path) -> None:
    with started(tmp_path / "run", firmware="bios", stick=stick) as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=420)
        terminal.press("4")
        terminal.wait_for("root@rescue", timeout=120)
        terminal.press("clear; mv /usr/bin/rescue /root/; systemctl --no-block restart rescue-tui@ttyS0", ENTER)
        terminal.wait_for("The menu could not start", timeout=120)
        terminal.press("s", ENTER)
        terminal.wait_for("Type exit to try the menu again", timeout=60)
        terminal.press("mv /root/rescue /usr/bin/; exit", ENTER)
        terminal.wait_for("Restore an image", timeout=180)
