"""A machine restored onto a disk that is not like its own starts: a smaller one, a larger one, one of other sectors."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.command import run_rescue
from tests.disks import blank, looped, run

from .conftest import Sample
from .machine import started
from .test_end_to_end import read_the_marker

GIB = 1 << 30
OWN, SMALLER, LARGER = 20 * GIB, 8 * GIB, 40 * GIB
ROOM = 2 * GIB
"""Bytes of the disk that the root does not have, at most: what lies before it, and swap."""
_ROOT = 2
_SUPER, _BLOCKS, _SHIFT = 1024, 4, 24


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the images are."""
    return tmp_path_factory.mktemp("other-disks") / "library"


def _capture(disk: Path, library: Path) -> str:
    image: str = run_rescue("capture", disk, "--library", library, "--json").events[-1]["result"]["image"]
    return image


def _restore(image: str, disk: str | Path, library: Path, *words: str) -> None:
    run_rescue("restore", image, disk, "--library", library, *words, "--erase", Path(disk).name, "--json")


@pytest.fixture(scope="module")
def small(sample: Sample, library: Path) -> str:
    """An image of the sample machine as it is."""
    return _capture(sample.disk, library)


@pytest.fixture(scope="module")
def large(small: str, library: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of it with a disk of 20 GiB, which its root fills but for what is its own."""
    disk = blank(tmp_path_factory.mktemp("large") / "disk.img", OWN)
    _restore(small, disk, library, "--grow")
    _expect_root(disk, OWN)
    image = _capture(disk, library)
    disk.unlink()
    return image


def _partitions(disk: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("sfdisk", "--json", disk))["partitiontable"]["partitions"]
    return found


def _expect_root(disk: Path, size: int) -> None:
    """The root has nearly all of the disk, and its file system all of the root."""
    root = _partitions(disk)[_ROOT]
    assert size - ROOM < root["size"] * 512 < size
    with disk.open("rb") as file:
        file.seek(root["start"] * 512 + _SUPER)
        super_block = file.read(1024)
    (blocks,), (shift,) = (struct.unpack_from("<I", super_block, at) for at in (_BLOCKS, _SHIFT))
    assert 0 <= root["size"] * 512 - (blocks << (10 + shift)) < 1 << 20


@pytest.mark.qemu
@pytest.mark.root
@pytest.mark.parametrize(
    ("firmware", "size", "word"),
    [("bios", SMALLER, "--shrink"), ("uefi", LARGER, "--grow")],
    ids=["smaller-bios", "larger-uefi"],
)
def test_a_machine_of_20_gib_starts_from_a_disk_of_another_size(
    firmware: str, size: int, word: str, large: str, library: Path, sample: Sample, tmp_path: Path
) -> None:
    disk = blank(tmp_path / "disk.img", size)
    _restore(large, disk, library, word)
    _expect_root(disk, size)
    with started(tmp_path / "restored", firmware=firmware, disk=disk) as machine:
        read_the_marker(machine, sample.marker)


@pytest.mark.qemu
@pytest.mark.root
def test_a_machine_starts_from_a_disk_with_sectors_of_4096_bytes(
    small: str, library: Path, sample: Sample, tmp_path: Path
) -> None:
    """By UEFI, which reads the new FAT; Linux checks and mounts it, or a unit has failed."""
    disk = blank(tmp_path / "disk.img", sample.disk.stat().st_size)
    with looped(disk, sector=4096) as loop:
        _restore(small, loop, library)
        places = [(one["start"] * 4096, one["size"] * 4096) for one in _partitions(loop)]
    assert places == [(one["start"] * 512, one["size"] * 512) for one in _partitions(sample.disk)]
    large = ("--large-sectors",)
    with started(tmp_path / "restored", firmware="uefi", disk=disk, bus="virtio", more=large) as machine:
        read_the_marker(machine, sample.marker)
