"""What stood on a target before must not be found there after a restore, and short tables take nothing along."""

import random
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run

pytestmark = pytest.mark.root
_NOISE = random.Random(7).randbytes(4 * MIB)


def _put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _restored(source: Path, target: Path, library: Path) -> None:
    image = run_rescue("capture", source, "--library", library, "--json").events[-1]["result"]["image"]
    run_rescue("restore", image, target, "--library", library, "--erase", target.name)
    run_rescue("verify", image, "--against", target, "--library", library)


@pytest.mark.parametrize("size", [40, 48])
def test_a_boot_loader_right_behind_a_short_table_is_kept(size: int, tmp_path: Path) -> None:
    # As on Allwinner boards, whose boot ROM looks for its program at 8 KiB.
    source = blank(tmp_path / "source.img", 40 * MIB)
    partition(source, "label: gpt\ntable-length: 56\nfirst-lba: 2048\nstart=2048, size=60000\n")
    _put(source, 8192, _NOISE[:32768])
    target = blank(tmp_path / "target.img", size * MIB, 0xAA)
    _restored(source, target, tmp_path / "library")
    assert target.read_bytes()[8192 : 8192 + 32768] == _NOISE[:32768]
    assert "No errors detected" in run("sfdisk", "--verify", target)


@pytest.mark.parametrize("size", [40, 48])
def test_a_partition_up_to_the_copy_of_a_short_table_is_kept(size: int, tmp_path: Path) -> None:
    source = blank(tmp_path / "source.img", 40 * MIB)
    partition(source, "label: gpt\ntable-length: 4\nfirst-lba: 34\nstart=2048, size=79870\n")
    _put(source, (2048 + 79870) * 512 - len(_NOISE), _NOISE)
    target = blank(tmp_path / "target.img", size * MIB, 0xAA)
    _restored(source, target, tmp_path / "library")
    assert target.read_bytes()[MIB : (2048 + 79870) * 512] == source.read_bytes()[MIB : (2048 + 79870) * 512]


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_a_file_system_that_had_the_whole_disk_is_gone(label: str, tmp_path: Path) -> None:
    source = blank(tmp_path / "source.img", 128 * MIB)
    partition(source, f"label: {label}\nstart=2048, size=120M\n")
    target = blank(tmp_path / "target.img", 160 * MIB)
    run("mkfs.btrfs", "-q", target)
    # A RAID member of version 1.0 and a GPT's copy keep their marks at the end of a disk.
    _put(target, 160 * MIB - 8192, bytes.fromhex("fc4e2ba901000000") + bytes(248))
    _restored(source, target, tmp_path / "library")
    found = run("wipefs", "--noheadings", "--output", "TYPE", target).split()
    assert set(found) == {"gpt", "PMBR"} if label == "gpt" else set(found) == {"dos"}


def test_swap_where_btrfs_stood_is_found_as_swap(tmp_path: Path) -> None:
    source = blank(tmp_path / "source.img", 160 * MIB)
    run("mkswap", source)
    swap = source.read_bytes()[:4096]
    partition(blank(source, 160 * MIB), "label: gpt\nstart=2048, size=150M\n")
    _put(source, MIB, swap)
    target = blank(tmp_path / "target.img", 160 * MIB)
    run("mkfs.btrfs", "-q", target)
    with target.open("r+b") as file:
        data = file.read(8 * MIB)
    _put(target, MIB, data)
    _restored(source, target, tmp_path / "library")
    assert "TYPE=swap" in run("blkid", "-p", "-o", "export", "-O", MIB, "-S", 150 * MIB, target)
