"""A machine restored onto a smaller disk starts: its root is smaller, its swap has moved, both are found."""

import json
import struct
from pathlib import Path

import pytest

from livebuild.sample import ROOT_SIZE
from tests.command import run_rescue
from tests.disks import MIB, blank, run

from .conftest import Sample
from .machine import started
from .test_end_to_end import read_the_marker

LESS = 384 * MIB
"""Bytes that the disk has less than the image's."""
_SUPER, _BLOCKS, _SHIFT = 1024, 4, 24


@pytest.fixture(scope="module")
def smaller(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk, restored."""
    folder = tmp_path_factory.mktemp("smaller")
    library, disk = folder / "library", blank(folder / "target.img", sample.disk.stat().st_size - LESS)
    image = run_rescue("capture", sample.disk, "--library", library, "--json").events[-1]["result"]["image"]
    run_rescue("restore", image, disk, "--library", library, "--shrink", "--erase", disk.name, "--json")
    return disk


@pytest.mark.qemu
@pytest.mark.root
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_machine_that_was_restored_onto_a_smaller_disk_boots(
    firmware: str, smaller: Path, sample: Sample, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.img"
    run("cp", "--sparse=always", smaller, disk)
    root = json.loads(run("sfdisk", "--json", disk))["partitiontable"]["partitions"][2]
    assert ROOT_SIZE - LESS - 2 * MIB <= root["size"] * 512 < ROOT_SIZE - LESS + 2 * MIB
    with disk.open("rb") as file:
        file.seek(root["start"] * 512 + _SUPER)
        super_block = file.read(1024)
    (blocks,), (shift,) = (struct.unpack_from("<I", super_block, at) for at in (_BLOCKS, _SHIFT))
    assert blocks << (10 + shift) <= root["size"] * 512
    with started(tmp_path / "restored", firmware=firmware, disk=disk) as machine:
        read_the_marker(machine, sample.marker)
