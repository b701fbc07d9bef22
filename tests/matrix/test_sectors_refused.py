"""Images that cannot be on sectors of another size are refused, and the target keeps each of its bytes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disks import MIB, blank, partition, run
from tests.matrix import images
from tests.matrix.lvm import lvm_on
from tests.matrix.sectordisks import (
    BIOS_BOOT,
    FAT,
    LAYOUTS,
    SMALL_BLOCKS,
    SMALL_XFS,
    captured_as,
    disk,
    refused,
    with_lvm,
)
from tests.matrix.tools import Place, attached
from tests.matrix.volumes import EXFAT, NTFS, FileSystem

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (SMALL_BLOCKS, "its file system (ext4) is made for sectors of at most 1024 bytes"),
        (SMALL_XFS, "its file system (xfs) is made for sectors of at most 512 bytes"),
        (NTFS, "Windows starts no NTFS whose sectors are not those of the disk"),
        (EXFAT, "exFAT has to have the sectors of its disk"),
    ],
    ids=lambda value: value.name if isinstance(value, FileSystem) else "",
)
def test_a_file_system_that_cannot_be_on_such_sectors_is_refused(
    kind: FileSystem, words: str, files: Path, room: Path
) -> None:
    (room / "made").mkdir()
    imaged = disk(room / "made", LAYOUTS["gpt-512"], (kind,), files)
    target = blank(room / "target.img", imaged.path.stat().st_size, fill=0xAA)
    error = refused(imaged, target, 4096)
    assert error["code"] == "other-sectors"
    assert f"partition 2: {words}" in error["message"]


def _scribble(place: Place) -> None:
    with place.path.open("r+b") as file:
        file.seek(place.start + 64 * 1024)
        file.write(b"nobody knows what this is")


def _encrypt(place: Place) -> None:
    with attached(place) as loop:
        words = ["--batch-mode", "--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--sector-size=4096", loop, "-"]
        run("cryptsetup", "luksFormat", *words, text="secret")


def _physical(place: Place) -> None:
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", "--zero=y", *lvm.devices)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_scribble, "partition 2: it is not known what is on it"),
        (_encrypt, "partition 2: it is encrypted, and it cannot be known"),
        (_physical, "partition 2: it is not known what is in its LVM group"),
    ],
    ids=["unknown", "LUKS", "LVM"],
)
def test_what_is_not_known_to_be_fine_is_refused(change: Callable[[Place], None], words: str, room: Path) -> None:
    path = blank(room / "source.img", 64 * MIB)
    partition(path, f"label: gpt\nstart=1MiB, size=1MiB, type={BIOS_BOOT}\nsize=32MiB\n")
    change(Place(path=path, start=2 * MIB, size=32 * MIB))
    imaged = captured_as(path, room / "library")
    target = blank(room / "target.img", 64 * MIB, fill=0xAA)
    error = refused(imaged, target, 4096)
    assert error["code"] == "other-sectors"
    assert words in error["message"]


def test_a_logical_volume_that_cannot_be_on_such_sectors_is_refused(files: Path, room: Path) -> None:
    path = room / "source.img"
    with_lvm(path, SMALL_BLOCKS, files)
    imaged = captured_as(path, room / "library")
    error = refused(imaged, blank(room / "target.img", path.stat().st_size, fill=0xAA), 4096)
    assert "partition 1: its file system (ext4) is made for sectors of at most 1024 bytes" in error["message"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("label: gpt\nstart=2049, size=8192\n", "partition 1 does not begin and end at multiples of 4096 bytes"),
        ("label: gpt\nstart=2048, size=8191\n", "partition 1 does not begin and end at multiples of 4096 bytes"),
        ("label: gpt\nfirst-lba: 34\nstart=40, size=8192\n", "partition 1 lies where the partition table has to be"),
        ("label: dos\nstart=8, size=8192\n", "partition 1 lies where the partition table has to be"),
        ("label: dos\nstart=2048, size=8192, type=5\nstart=4096, size=2048\n", "lies in an extended one, or is one"),
    ],
)
def test_a_table_that_cannot_be_said_in_such_sectors_is_refused(script: str, words: str, room: Path) -> None:
    path = partition(blank(room / "source.img", 16 * MIB), script)
    imaged = captured_as(path, room / "library")
    error = refused(imaged, blank(room / "target.img", 16 * MIB, fill=0xAA), 4096)
    assert words in error["message"]


def test_data_outside_of_partitions_where_the_larger_table_comes_to_lie_are_refused(room: Path) -> None:
    """A board's loader, say: GPT's entries end at byte 17408 with small sectors, and at 24576 with large ones."""
    path = partition(blank(room / "source.img", 16 * MIB), "label: gpt\nstart=2048, size=8192\n")
    with path.open("r+b") as file:
        file.seek(20_000)
        file.write(b"loader")
    imaged = captured_as(path, room / "library")
    error = refused(imaged, blank(room / "target.img", 16 * MIB, fill=0xAA), 4096)
    assert error["code"] == "other-sectors"
    assert "outside of all partitions, lie where the table has to be" in error["message"]


def test_a_damaged_fat_is_refused(files: Path, room: Path) -> None:
    (room / "made").mkdir()
    imaged = disk(room / "made", LAYOUTS["gpt-512"], (FAT,), files)
    _, place = imaged.places[0]
    with place.path.open("r+b") as file:
        file.seek(place.start + 14)
        reserved = int.from_bytes(file.read(2), "little")
        file.seek(place.start + reserved * 512 + 4 * 10)
        file.write((3).to_bytes(4, "little"))
    imaged = dataclasses.replace(imaged, captured=images.capture(place.path, room / "library"))
    error = refused(imaged, blank(room / "target.img", place.path.stat().st_size, fill=0xAA), 4096)
    assert "partition 2: its FAT cannot be made anew: its file system is not in order" in error["message"]
