"""The stick's image without booting it, and what the booted live system leaves alone."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Sample
from .machine import BOOT, STEP, started
from .terminal import ENTER

pytestmark = pytest.mark.qemu

SECTOR = 512


def output_of(*argv: str | Path) -> str:
    """What a tool prints; it must succeed."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    tool = shutil.which(str(argv[0]), path=path)
    assert tool, f"{argv[0]} is not installed; run live-image/setup"
    return subprocess.run([tool, *argv[1:]], check=True, capture_output=True, text=True).stdout


def extent_of(disk: Path, number: int) -> tuple[int, int]:
    """Where a partition of a disk's image starts, and its size, in bytes."""
    part = json.loads(output_of("sfdisk", "--json", disk))["partitiontable"]["partitions"][number - 1]
    return part["start"] * SECTOR, part["size"] * SECTOR


def partition_file(stick: Path, number: int, folder: Path) -> Path:
    """One partition of the stick as a file of its own."""
    start, size = extent_of(stick, number)
    target = folder / f"partition-{number}.img"
    with stick.open("rb") as source, target.open("wb") as copy:
        source.seek(start)
        copy.write(source.read(size))
    return target


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_in(iso: Path, name: str, folder: Path) -> bytes:
    """A file of the ISO 9660."""
    target = folder / name.replace("/", "-")
    output_of("xorriso", "-osirrox", "on", "-indev", iso, "-extract", f"/{name}", target)
    return target.read_bytes()


def test_the_sticks_table_and_file_systems_pass_their_checks(stick: Path, tmp_path: Path) -> None:
    table = json.loads(output_of("sfdisk", "--json", stick))["partitiontable"]
    assert table["label"] == "gpt"
    assert [part["name"] for part in table["partitions"]] == ["RESCUE", "RESCUE-EFI", "RESCUE-IMAGES"]
    assert "No errors detected" in output_of("sfdisk", "--verify", stick)
    output_of("fsck.vfat", "-n", partition_file(stick, 2, tmp_path))
    output_of("e2fsck", "-fn", partition_file(stick, 3, tmp_path))
    # Some BIOSes start a stick only where one entry of its MBR is active.
    with stick.open("rb") as file:
        assert file.read(512)[462:478] == bytes.fromhex("80000100000001000000000001000000")


def test_one_file_is_a_disc_and_a_disk_and_every_file_on_it_has_its_digest(stick: Path, tmp_path: Path) -> None:
    report = output_of("xorriso", "-indev", stick, "-report_el_torito", "plain")
    images = [line.split()[6:8] for line in report.splitlines() if line.startswith("El Torito boot img")]
    assert images == [["BIOS", "y"], ["UEFI", "y"]]
    # The partition is the same ISO 9660 as the whole disk: Linux mounts the one from sticks, the other from discs.
    tree = tmp_path / "tree"
    output_of("xorriso", "-osirrox", "on", "-indev", partition_file(stick, 1, tmp_path), "-extract", "/", tree)
    described = json.loads((tree / "rescue/media.json").read_text())
    assert described["format"] == 1
    assert described["system_bytes"] == sum(extent_of(stick, 2))
    assert described["build"] == (tree / "rescue/id").read_text().strip()
    lines = (tree / "rescue/SHA256SUMS").read_text().splitlines()
    sums = {name: value for value, name in (line.split("  ") for line in lines)}
    summed = {str(path.relative_to(tree)) for name in ("EFI", "boot", "rescue") for path in (tree / name).rglob("*")}
    assert set(sums) == {name for name in summed if (tree / name).is_file()} - {"rescue/SHA256SUMS"}
    assert {name: digest(tree / name) for name in sums} == sums
    # UEFI reads them from the EFI system partition of a stick, and from that of a disc as well.
    partition = partition_file(stick, 2, tmp_path)
    for name in sums:
        if name.startswith("EFI/"):
            output_of("mcopy", "-n", "-i", partition, f"::/{name}", tmp_path / "efi-file")
            assert digest(tmp_path / "efi-file") == sums[name]
            (tmp_path / "efi-file").unlink()


def test_the_packages_of_a_build_are_listed_beside_it_and_on_it(stick: Path, tmp_path: Path) -> None:
    listed = stick.with_name(stick.name + ".packages").read_text()
    names = {line.split()[0] for line in listed.splitlines()}
    assert {"linux-image-amd64", "systemd", "partclone", "shim-signed", "busybox-static"} <= names
    assert file_in(stick, "rescue/packages", tmp_path).decode() == listed


def test_the_live_system_leaves_the_machines_disks_as_they_are(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk = tmp_path / "machine.img"
    output_of("cp", "--sparse=always", sample.disk, disk)
    before = digest(disk)
    with started(tmp_path / "run", firmware="uefi", stick=stick, disk=disk, bus="virtio") as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=BOOT)
        terminal.press("s")
        terminal.wait_for("root@rescue", timeout=STEP)
        # Nothing failed, and the swap partition, the root and the EFI partition of the disk lie still.
        terminal.press(
            "clear; systemctl is-system-running --wait; swapon --show; findmnt -rno TARGET -S /dev/vda3", ENTER
        )
        terminal.wait_for("running root@rescue", timeout=STEP)
        # The machine that built the stick has left none of its name servers.
        terminal.press("clear; grep -c ^nameserver /etc/resolv.conf", ENTER)
        terminal.wait_for("0 root@rescue", timeout=STEP)
        # Jobs run as units of their own, beside the screen that started them.
        terminal.press("clear; systemd-run --quiet --collect --unit=trial true && echo unit-$((40 + 2))", ENTER)
        terminal.wait_for("unit-42", timeout=STEP)
        terminal.press("exit", ENTER)
        terminal.wait_for("Restore an image", timeout=STEP)
        machine.power_off_from_the_menu()
    assert digest(disk) == before


def test_a_menu_that_cannot_start_leaves_a_shell(stick: Path, tmp_path: Path) -> None:
    with started(tmp_path / "run", firmware="bios", stick=stick) as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=BOOT)
        terminal.press("s")
        terminal.wait_for("root@rescue", timeout=STEP)
        terminal.press("clear; mv /usr/bin/rescue /root/; systemctl --no-block restart rescue-tui@ttyS0", ENTER)
        terminal.wait_for("The menu could not start", timeout=STEP)
        terminal.press("s", ENTER)
        terminal.wait_for("Type exit to try the menu again", timeout=STEP)
        terminal.press("mv /root/rescue /usr/bin/; exit", ENTER)
        terminal.wait_for("Restore an image", timeout=STEP)
