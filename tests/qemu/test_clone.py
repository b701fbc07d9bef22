"""A machine restored beside its original starts from its own disk, whatever of the original is attached, too."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import blank, run
from tests.matrix.tools import Place, attached, mounted

from .conftest import Sample
from .machine import BOOT, STEP, started
from .terminal import ENTER

_MACHINE = "0123456789abcdef0123456789abcdef"
_ZSTD = b"\x28\xb5\x2f\xfd"
_EFI, _ROOT, _SWAP = 1, 2, 3
"""Where these partitions stand in the table."""


def _places(disk: Path) -> list[Place]:
    found = json.loads(run("sfdisk", "--json", disk))["partitiontable"]["partitions"]
    return [Place(path=disk, start=part["start"] * 512, size=part["size"] * 512) for part in found]


def _id(place: Place) -> str:
    argv = ["blkid", "--probe", "--output", "value", "--match-tag", "UUID"]
    return run(*argv, f"--offset={place.start}", f"--size={place.size}", place.path).strip()


def _used(sample: Sample, folder: Path) -> Path:
    """The sample machine after its first start: it has a machine id, and its initramfs waits for its swap."""
    disk = folder / "original.img"
    run("cp", "--sparse=always", sample.disk, disk)
    places = _places(disk)
    with attached(places[_ROOT]) as loop, mounted(("mount", "-t", "ext4"), loop) as root:
        (root / "etc/machine-id").write_text(f"{_MACHINE}\n")
        (root / "etc/initramfs-tools/conf.d/resume").write_text(f"RESUME=UUID={_id(places[_SWAP])}\n")
    return disk


@pytest.mark.qemu
@pytest.mark.thorough
@pytest.mark.root
def test_a_clone_starts_beside_its_original(sample: Sample, tmp_path: Path) -> None:
    original, library = _used(sample, tmp_path), tmp_path / "library"
    image = run_rescue("capture", original, "--library", library, "--json").events[-1]["result"]["image"]
    clone = blank(tmp_path / "clone.img", original.stat().st_size)
    words = ("--new-identity", "--host-name", "clone", "--erase", clone.name, "--json")
    done = run_rescue("restore", image, clone, "--library", library, *words, timeout=1800)
    assert done.events[-1]["result"]["renewed"]["not_done"] == []
    ids = [_id(_places(clone)[part]) for part in (_EFI, _ROOT, _SWAP)]
    assert not set(ids) & {_id(_places(original)[part]) for part in (_EFI, _ROOT, _SWAP)}
    with (
        attached(_places(clone)[_ROOT], read_only=True) as loop,
        mounted(("mount", "-t", "ext4", "-o", "ro,noload"), loop) as root,
    ):
        packed = next((root / "boot").glob("initrd.img-*")).read_bytes()
    # Behind what is not packed: modules that are packed themselves.
    packed = packed[packed.index(_ZSTD) :]
    initramfs = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
    assert f"RESUME=UUID={ids[2]}".encode() in initramfs
    with started(tmp_path / "machine", firmware="uefi", disk=clone, more=(f"--disk={original}",)) as machine:
        terminal = machine.terminal
        terminal.wait_for("clone login:", timeout=BOOT)
        terminal.press("root", ENTER)
        terminal.wait_for("Password:", timeout=STEP)
        terminal.press("rescue", ENTER)
        terminal.wait_for("root@clone:~#", timeout=STEP)
        asked = ("findmnt -no UUID /boot/efi", "findmnt -no UUID /", "swapon --noheadings --show=UUID")
        for question, wanted in zip(asked, ids, strict=True):
            terminal.press(f"clear; {question}", ENTER)
            terminal.wait_for(wanted, timeout=STEP)
        terminal.press(f"clear; grep -c . /etc/machine-id; grep -c {_MACHINE} /etc/machine-id; echo asked", ENTER)
        terminal.wait_for("1 0 asked", timeout=STEP)
        terminal.press("clear; lsblk -ndo NAME | grep -c ^sd; systemctl is-system-running --wait", ENTER)
        terminal.wait_for("2 running", timeout=STEP)
        terminal.press("systemctl poweroff", ENTER)
        machine.wait_for_power_off()
