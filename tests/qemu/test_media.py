"""A stick grows, and makes its sibling, which starts a computer of another firmware and restores it; and what the real
medium's check finds."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from imaging import iso, medium

from .conftest import Sample, run
from .machine import BOOT, CHECKOUT, JOB, SERIAL_NUMBER, STEP, Machine, started
from .terminal import ENTER
from .test_end_to_end import read_the_marker, restore_through_the_menu

RESCUE = CHECKOUT / ".venv/bin/rescue"
PROMPT = "root@rescue:~#"
NEW_STICK = 900 << 20


def _open_the_shell(machine: Machine) -> None:
    terminal = machine.terminal
    terminal.wait_for("Restore an image", timeout=BOOT)
    terminal.wait_for("/run/rescue/images/rescue-library", timeout=STEP)
    terminal.press("s")
    terminal.wait_for(PROMPT, timeout=STEP)


def _make_the_sibling(machine: Machine) -> None:
    """From the shell of the running stick to a new one; the first is checked meanwhile."""
    terminal = machine.terminal
    _open_the_shell(machine)
    terminal.press("clear; until grep -q good /run/rescue/medium-check.json; do sleep 2; done; echo CHEC''KED", ENTER)
    terminal.wait_for("CHECKED", timeout=BOOT)
    # Neither the stick that runs this nor one without its name confirmed is written to.
    terminal.press("clear; own=$(findmnt -no SOURCE /run/rescue/medium | tr -d 0-9)", ENTER)
    terminal.press("rescue media create $own; echo E''1=$?", ENTER)
    terminal.wait_for("E1=3", timeout=STEP)
    terminal.wait_for("cannot become a recovery medium", timeout=STEP)
    # Written with dd, it had an images partition of its own size alone; it is enlarged while it runs this system.
    terminal.press("clear; rescue media grow --erase ${own#/dev/}; echo E''4=$?", ENTER)
    terminal.wait_for("E4=", timeout=JOB)
    terminal.wait_for("E4=0", timeout=STEP)
    terminal.press("clear; rescue media grow --plan; df -m --output=size /run/rescue/images; echo E''5=$?", ENTER)
    terminal.wait_for("E5=0", timeout=STEP)
    terminal.wait_for("there is nothing to gain", timeout=STEP)
    terminal.press("clear; new=$(lsblk -dno NAME,SIZE | awk '/900M/{print $1}'); echo NE''W=$new", ENTER)
    terminal.wait_for("NEW=sd", timeout=STEP)
    terminal.press("clear; image=$(ls /run/rescue/images/rescue-library/images); echo I''MG=$image", ENTER)
    terminal.wait_for("IMG=20", timeout=STEP)
    terminal.press("clear; rescue media create /dev/$new --factory $image --erase $new; echo E''2=$?", ENTER)
    terminal.wait_for("E2=", timeout=JOB)
    machine.screenshot("created")
    terminal.wait_for("E2=0", timeout=STEP)
    # The kernel sees the new table at once.
    terminal.press("clear; blkid -o value -s LABEL /dev/${new}3; rescue media check /dev/$new; echo E''3=$?", ENTER)
    terminal.wait_for("E3=", timeout=JOB)
    terminal.wait_for("RESCUE-IMAGES", timeout=STEP)
    terminal.wait_for("E3=0", timeout=STEP)
    terminal.press("systemctl poweroff", ENTER)
    machine.wait_for_power_off()


def _check(path: Path, status: int) -> str:
    """What the check says of a medium, on one line."""
    done = subprocess.run(
        [RESCUE, "media", "check", path, "--json"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return " ".join(one["message"] for one in json.loads(done.stdout)["findings"])


def _age(path: Path) -> None:
    """Let a medium have been built two years ago, with the digests that it would have then."""
    with medium.volume_of(str(path)) as volume:
        image, files = medium.system_files(volume)
        about, sums = files["rescue/media.json"], files[medium.SUMS]
        said, listed = iso.read_file(image, about, 1 << 16), iso.read_file(image, sums, 1 << 20)
    built = medium.look(str(path)).about.built
    aged = said.replace(built.encode(), f"{int(built[:4]) - 2}{built[4:]}".encode())
    assert aged != said
    before, after = (hashlib.sha256(data).hexdigest().encode() for data in (said, aged))
    assert before in listed
    with path.open("r+b") as file:
        for (start, _), data in ((about.extents[0], aged), (sums.extents[0], listed.replace(before, after))):
            file.seek(start)
            file.write(data)


@pytest.mark.qemu
def test_a_stick_makes_its_sibling_that_starts_another_computer_and_restores_it(
    stick: Path, sample: Sample, tmp_path: Path
) -> None:
    new, disk = tmp_path / "new.img", tmp_path / "target.img"
    for path, size in ((new, NEW_STICK), (disk, sample.disk.stat().st_size + (256 << 20))):
        with path.open("wb") as file:
            file.truncate(size)
    larger = tmp_path / "larger.img"
    run("cp", "--sparse=always", stick, larger)
    os.truncate(larger, larger.stat().st_size + (512 << 20))
    with started(tmp_path / "maker", firmware="bios", stick=larger, usb_disk=new) as machine:
        _make_the_sibling(machine)
    assert _check(new, 0) == ""
    with started(
        tmp_path / "sibling", firmware="uefi", stick=new, disk=disk, bus="nvme", serial_number=SERIAL_NUMBER
    ) as machine:
        restore_through_the_menu(machine)
    with started(tmp_path / "restored", firmware="uefi", disk=disk, bus="nvme", serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, sample.marker)


@pytest.mark.qemu
def test_the_real_medium_is_checked_to_the_byte(stick: Path, tmp_path: Path) -> None:
    assert _check(stick, 0) == ""
    found = medium.look(str(stick))
    assert found.images is not None
    with medium.volume_of(str(stick)) as volume:
        start, size = medium.system_files(volume)[1]["rescue/root.squashfs"].extents[0]
    broken = tmp_path / "broken.img"
    run("cp", "--sparse=always", stick, broken)
    with broken.open("r+b") as file:
        file.seek(start + size // 2)
        byte = file.read(1)[0]
        file.seek(start + size // 2)
        file.write(bytes([byte ^ 1]))
    assert "rescue/root.squashfs is damaged" in _check(broken, 4)
    shutil.copyfile(stick, broken)
    _age(broken)
    assert "days old" in _check(broken, 10)
    shutil.copyfile(stick, broken)
    os.truncate(broken, found.images.end - (1 << 20))
    assert f"it has {broken.stat().st_size} bytes of" in _check(broken, 4)
    os.truncate(broken, found.system // 2)
    assert "is cut off" in _check(broken, 4)
