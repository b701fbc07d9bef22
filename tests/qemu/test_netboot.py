"""Booting the live system over the network, with the servers that an administrator would have, and their failures."""

import shutil
from pathlib import Path

import pytest

from . import netlab
from .conftest import run
from .machine import BOOT, STEP, Machine, started
from .terminal import ENTER

pytestmark = pytest.mark.qemu

ADDRESS = f"http://{netlab.NAME}:{netlab.PORT}/rescue"


@pytest.fixture(scope="module")
def served(live_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web server's root: the build's folder somewhere in it, and GRUB's first file where GRUB looks."""
    netlab.skip_where_impossible()
    root = tmp_path_factory.mktemp("served")
    run(live_image / "build", "--netboot", root / "rescue")
    shutil.copytree(root / "rescue/grub", root / "grub")
    return root


def ask(machine: Machine, command: str, answer: str) -> None:
    """Run a command in the menu's shell and wait for its answer, which ends before the next prompt."""
    machine.terminal.press(f"clear; {command}", ENTER)
    machine.terminal.wait_for(f"{answer} root@rescue", timeout=STEP)


def open_shell(machine: Machine) -> None:
    machine.terminal.press("s")
    machine.terminal.wait_for("root@rescue", timeout=STEP)


def close_shell_and_power_off(machine: Machine) -> None:
    machine.terminal.press("exit", ENTER)
    machine.terminal.wait_for("Restore an image", timeout=STEP)
    machine.power_off_from_the_menu()


def test_a_bios_boots_over_the_network_although_its_server_fails_twice(served: Path, tmp_path: Path) -> None:
    more = [f"--tap={netlab.TAP}"]
    with netlab.running(tmp_path / "network", served) as lab:
        lab.web.missing.add("root.squashfs")
        lab.web.cut_once.add("app.squashfs")
        with started(tmp_path / "run", firmware="bios", more=more, within=lab.within) as machine:
            terminal = machine.terminal
            terminal.wait_for("root.squashfs cannot be fetched: server returned error", timeout=BOOT)
            terminal.wait_for("It is tried again in 30 seconds", timeout=STEP)
            assert f"Rescue cannot start yet: {ADDRESS}/root.squashfs" in terminal.flow
            machine.screenshot("missing")
            # Once the file is there, it goes on by itself.
            lab.web.missing.clear()
            terminal.wait_for("app.squashfs was cut off", timeout=BOOT)
            terminal.wait_for("Restore an image", timeout=BOOT)
            machine.screenshot("menu")
            ranges = [wanted for path, wanted in lab.web.asked if path.endswith("/app.squashfs")]
            assert ranges[0] == ""
            assert ranges[1].startswith("bytes=")
            terminal.wait_for(f"Started from the network, {ADDRESS}", timeout=STEP)
            open_shell(machine)
            # dhcpcd took the address over; nothing failed although there is no medium.
            ask(machine, "ip -4 -o address show scope global | wc -l", "1")
            ask(machine, "systemctl is-system-running --wait", "running")
            # What it runs from is checked like any medium: the layers in memory.
            ask(machine, "python3 -m imaging.bootcheck 2>&1", "good")
            close_shell_and_power_off(machine)


@pytest.mark.thorough
def test_secure_boot_boots_by_http_and_fetches_a_damaged_layer_again(served: Path, tmp_path: Path) -> None:
    more = [f"--tap={netlab.TAP}"]
    with netlab.running(tmp_path / "network", served) as lab:
        lab.web.flipped_once.add("root.squashfs")
        with started(tmp_path / "run", firmware="uefi-secure", more=more, within=lab.within) as machine:
            terminal = machine.terminal
            terminal.wait_for("root.squashfs did not arrive as it was made", timeout=BOOT)
            terminal.wait_for("Restore an image", timeout=BOOT)
            machine.screenshot("menu")
            assert [path for path, _ in lab.web.asked].count("/rescue/root.squashfs") >= 2
            open_shell(machine)
            # The kernel says so once the firmware enforces it, and locks itself down.
            ask(machine, "dmesg | grep -c 'Secure boot enabled'", "1")
            close_shell_and_power_off(machine)
