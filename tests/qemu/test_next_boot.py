"""No snapshot can be had: the next start is of the recovery partition, which captures the disk and starts it again."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.matrix.tools import Place, attached, mounted
from tests.matrix.volumes import EXT4

from .conftest import Sample
from .machine import BOOT, JOB, STEP, Machine, started
from .terminal import ENTER, SerialTerminal
from .test_backup import ROOM, START, usb_disk
from .test_own_disk import done, in_the_shell, prepared
from .used import to_write_to

_LIBRARY = "/backup/rescue-library"
_KEPT = "etc/rescue/schedule.toml var/lib/rescue/schedule.json"
"""What an installed system keeps of a schedule; the recovery system that stands for it here forgets it."""


def _shell(terminal: SerialTerminal) -> None:
    """From a start to the shell, where the USB disk can be written to."""
    terminal.wait_for("Restore an image", timeout=BOOT)
    terminal.press("s")
    terminal.wait_for("root@rescue", timeout=STEP)
    done(terminal, f"mkdir /backup; {to_write_to('/dev/disk/by-label/BACKUP', '/backup')}", 0)


def _off(machine: Machine) -> None:
    terminal = machine.terminal
    done(terminal, "umount /backup", 0)
    terminal.press("exit", ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)
    machine.power_off_from_the_menu()


def _ask(machine: Machine) -> None:
    """A recovery partition, a schedule, and a run of it that leaves the capture to the next start."""
    terminal = machine.terminal
    _shell(terminal)
    done(terminal, "rescue media install-partition vda --confirm vda", 0, timeout=JOB)
    done(terminal, f"rescue library init {_LIBRARY}", 0)
    # At the next start the stick is not there; with it, there would be two libraries.
    done(terminal, "until umount /run/rescue/images; do sleep 1; done", 0)
    words = f"--library {_LIBRARY} --every weekly --next-boot"
    done(terminal, f"rescue schedule set vda {words}", 0, timeout=JOB)
    done(terminal, "rescue schedule run --next-boot", 0, timeout=JOB)
    in_the_shell(terminal, "rescue schedule show", "for the next start of this computer")
    done(terminal, f"tar -cf /backup/kept.tar -C / {_KEPT}", 0)
    _off(machine)


def _see_it_captured(machine: Machine) -> None:
    """The recovery system comes, captures, and restarts into the computer's own system, all without a key."""
    terminal = machine.terminal
    terminal.wait_for("Scheduled backup", timeout=BOOT)
    machine.screenshot("captures")
    terminal.wait_for("sample login:", timeout=JOB)
    machine.screenshot("own-system")
    machine.kill()


def _see_it_known(machine: Machine) -> None:
    """What an installed system does as it starts: it sees what came of it."""
    terminal = machine.terminal
    _shell(terminal)
    done(terminal, "tar -xf /backup/kept.tar -C /", 0)
    done(terminal, "rescue schedule back", 0)
    in_the_shell(terminal, "rescue schedule show", "Last success")
    assert "none yet" not in terminal.text, terminal.text
    assert "next start" not in terminal.text, terminal.text
    done(terminal, f'test -z "$(efibootmgr | grep BootNext)" && rescue verify --all --library {_LIBRARY}', 0, JOB)
    _off(machine)


@pytest.mark.qemu
@pytest.mark.thorough
@pytest.mark.root
def test_the_next_start_captures_the_computer_once(stick: Path, sample: Sample, tmp_path: Path) -> None:
    disk, usb = prepared(sample, tmp_path), usb_disk(tmp_path / "backup.img")
    options = [f"--uefi-variables={tmp_path / 'variables'}"]

    def start(name: str, stick: Path | None) -> AbstractContextManager[Machine]:
        folder = tmp_path / name
        return started(folder, firmware="uefi", stick=stick, disk=disk, usb_disk=usb, bus="virtio", more=options)

    with start("asked", stick) as machine:
        _ask(machine)
    with start("captures", None) as machine:
        _see_it_captured(machine)
    with start("known", stick) as machine:
        _see_it_known(machine)
    with attached(Place(path=usb, start=START, size=ROOM)) as loop, mounted(EXT4.mount, loop) as there:
        (image,) = run_rescue("images", "--library", there / "rescue-library", "--json").json["images"]
        assert image["label"] == "Scheduled"
        run_rescue("verify", image["id"], "--library", there / "rescue-library")
