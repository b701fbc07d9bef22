"""A reset with kept files loses its power; the menu offers to complete it, the machine starts, and that is undone.

One round of `python -m tests.qemu.power_cuts`, at a step that was chosen, and without a saved state.
"""

from pathlib import Path

import pytest

from imaging import unfinished
from tests.matrix.keptsystems import listed
from tests.matrix.tools import copied

from .conftest import Sample
from .machine import DISK_SERIAL, JOB, SERIAL_NUMBER, started
from .power_cuts import QUESTION, Tally, accept_the_offer, lose_power, prepared, prove_completed, prove_safety
from .terminal import ENTER
from .test_end_to_end import read_the_marker
from .used import machine_of, power_off, root_of, shell_of

pytestmark = [pytest.mark.qemu, pytest.mark.root]


def test_a_reset_that_lost_its_power_is_completed_from_the_menu_and_undone(
    stick: Path, sample: Sample, tmp_path: Path
) -> None:
    lab = prepared(tmp_path, stick, sample.disk, "uefi")
    options = [f"--write-log={tmp_path / name}.log" for name in ("disk", "work")]
    before = [copied(path, path.with_suffix(".before")) for path in (lab.disk, lab.work)]
    with shell_of(stick, lab.disk, lab.work, tmp_path / "cut", "uefi", options) as (machine, _library):
        machine.terminal.press(f"clear; {lab.reset}", ENTER)
        machine.terminal.wait_for(QUESTION, timeout=JOB)
        machine.terminal.type(DISK_SERIAL + ENTER)
        machine.terminal.wait_for("Bringing back the files", timeout=JOB)
        machine.kill()
    pairs = zip(before, (lab.disk, lab.work), strict=True)
    disk, work = (lose_power(was, path, seed=7, kept=0.5, tally=Tally()) for was, path in pairs)
    with disk.open("rb") as file:
        saved = unfinished.parse_saved(file.read(unfinished.SIZE))
    assert saved
    with machine_of(stick, disk, work, tmp_path / "completed", "uefi") as machine:
        accept_the_offer(machine, undo=False)
    prove_completed(lab, disk)
    prove_safety(work, saved)
    with started(tmp_path / "started", firmware="uefi", disk=disk, serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, sample.marker)
    with shell_of(stick, disk, work, tmp_path / "undone", "uefi") as (machine, library):
        terminal = machine.terminal
        terminal.press(f"clear; rescue undo {library} --erase {DISK_SERIAL} | tail -n 12; echo EN''DED", ENTER)
        terminal.wait_for("ENDED", timeout=JOB)
        power_off(machine)
    with root_of(disk) as top:
        assert listed(top) == lab.everything
    with started(tmp_path / "again", firmware="uefi", disk=disk, serial_number=SERIAL_NUMBER) as machine:
        read_the_marker(machine, sample.marker)
