"""Partition tables that are absurd, damaged or endless, on disks to be captured and on targets."""

import os
import struct
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import inventory
from imaging.errors import RefusedError
from imaging.events import CaptureResult
from tests.command import Outcome
from tests.disks import MIB, blank, partition, run
from tests.faults.world import DISK_SIZE, Sample, capture_here, holds_used_bytes, restore_here, sample_disk, verify_here

Rescue = Callable[..., Outcome]


def _patch(disk: Path, at: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        os.pwrite(file.fileno(), data, at)


def _header(disk: Path, at: int, changes: dict[int, tuple[str, int]]) -> None:
    """Change fields of a GPT header and make its checksum right again."""
    header = bytearray(disk.read_bytes()[at : at + 512])
    for place, (form, value) in changes.items():
        struct.pack_into(form, header, place, value)
    header[16:20] = bytes(4)
    size = min(512, struct.unpack_from("<I", header, 12)[0])
    header[16:20] = zlib.crc32(header[:size]).to_bytes(4, "little")
    _patch(disk, at, bytes(header))


ABSURD: dict[str, dict[int, tuple[str, int]]] = {
    "entries": {80: ("<I", 2**32 - 1)},
    "entry size": {84: ("<I", 2**32 - 1)},
    "no entries": {80: ("<I", 0)},
    "place": {72: ("<Q", 2**64 - 1)},
    "header size": {12: ("<I", 2**31)},
    "small header": {12: ("<I", 1)},
    "usable": {40: ("<Q", 2**63), 48: ("<Q", 1)},
}


@pytest.mark.parametrize("both", [True, False], ids=["both copies", "first copy"])
@pytest.mark.parametrize("what", ABSURD)
def test_an_absurd_gpt_is_refused_or_captured_and_restored_as_it_is(tmp_path: Path, what: str, both: bool) -> None:
    disk = sample_disk(tmp_path / "pc.img", megabytes=2)
    _header(disk, 512, ABSURD[what])
    if both:
        _header(disk, DISK_SIZE - 512, ABSURD[what])
    _captured_as_it_is_or_refused(disk, tmp_path)


def _captured_as_it_is_or_refused(disk: Path, folder: Path) -> None:
    try:
        done = capture_here(disk, folder / "library", folder / "capture")
    except RefusedError as error:
        assert disk.name in str(error)
        return
    assert done.status in (0, 3), done.message
    if done.status == 3:
        assert disk.name in done.message
        return
    assert isinstance(done.result, CaptureResult)
    sample = Sample(folder / "library", done.result.image, disk)
    target = blank(folder / "target.img", disk.stat().st_size, fill=0xAA)
    assert restore_here(sample, target, folder / "restore").status == 0
    assert holds_used_bytes(sample, target)
    assert verify_here(sample, folder / "verify", against=target).status == 0
    larger = blank(folder / "larger.img", disk.stat().st_size + 8 * MIB, fill=0xAA)
    moved = restore_here(sample, larger, folder / "larger")
    assert moved.status in (0, 4), moved.message
    if moved.status == 4:
        assert moved.code == "bad-table"
        assert "Nothing was written" in moved.state


def _entry(disk: Path, first: int, last: int) -> None:
    """Forge the first entry in both copies of a GPT, with right checksums."""
    data = bytearray(disk.read_bytes()[1024 : 1024 + 16384])
    data[:128] = struct.pack("<16s16sQQQ72s", uuid.UUID(int=7).bytes, uuid.UUID(int=9).bytes, first, last, 0, b"")
    for at, header in ((1024, 512), (DISK_SIZE - 512 - 16384, DISK_SIZE - 512)):
        _patch(disk, at, bytes(data))
        _header(disk, header, {88: ("<I", zlib.crc32(data))})


@pytest.mark.parametrize(
    ("first", "last"), [(34, 2**60), (2**60, 2**61), (2**63, 2**64 - 1), (5000, 100), (0, 10), (100, 2**32)]
)
def test_entries_beyond_the_disk_or_backwards_on_a_source_and_on_a_target(
    captured: Sample, tmp_path: Path, first: int, last: int
) -> None:
    disk = sample_disk(tmp_path / "pc.img", megabytes=2)
    _entry(disk, first, last)
    _captured_as_it_is_or_refused(disk, tmp_path)
    done = restore_here(captured, disk, tmp_path / "onto")
    assert done.status == 0, done.message
    assert verify_here(captured, tmp_path / "verify-onto", against=disk).status == 0


def _record(first: int, size: int, following: int) -> bytes:
    """An extended boot record: one logical partition, and where the next record stands."""
    entries = struct.pack("<4xB3xII", 0x83, first, size) + struct.pack("<4xB3xII", 5, following, 2048)
    return bytes(446) + entries + bytes(32) + b"\x55\xaa"


@pytest.mark.parametrize("following", [[0x800, 0], [0], [0x1000, 0x800], [2**32 - 1], [0x800, 0x1000, 0x1000]])
def test_a_loop_of_extended_boot_records_ends(captured: Sample, tmp_path: Path, following: list[int]) -> None:
    disk = blank(tmp_path / "pc.img", DISK_SIZE)
    partition(disk, "label: dos\nstart=2048, size=80000, type=5\n")
    at = 2048
    for step in following:
        _patch(disk, at * 512, _record(64, 512, step))
        at = 2048 + step if step < 2**20 else at
    _patch(disk, at * 512, _record(64, 512, following[0]))
    _captured_as_it_is_or_refused(disk, tmp_path)
    assert restore_here(captured, disk, tmp_path / "onto").status == 0


def test_an_endless_chain_of_extended_boot_records_ends(tmp_path: Path) -> None:
    disk = blank(tmp_path / "pc.img", DISK_SIZE)
    partition(disk, "label: dos\nstart=2048, size=90000, type=5\n")
    with disk.open("r+b") as file:
        for i in range(3000):
            os.pwrite(file.fileno(), _record(1, 1, 2 * i + 2), (2048 + 2 * i) * 512)
    done = capture_here(disk, tmp_path / "library", tmp_path / "capture")
    assert isinstance(done.result, CaptureResult), done.message
    sample = Sample(tmp_path / "library", done.result.image, disk)
    assert len(sample.imaged.table_extents) <= 1026
    assert restore_here(sample, blank(tmp_path / "target.img", DISK_SIZE), tmp_path / "restore").status == 0


@pytest.mark.parametrize("label", ["sun", "sgi"])
def test_a_table_that_is_not_handled_refuses_the_capture_and_not_the_restore(
    command: Rescue, captured: Sample, tmp_path: Path, label: str
) -> None:
    disk = partition(blank(tmp_path / "pc.img", DISK_SIZE), f"label: {label}\n")
    error = command("capture", disk, "--library", tmp_path / "library", "--json", status=3).json["error"]
    assert "pc.img cannot be captured: the partition table is of a kind that is not handled" in error["message"]
    assert not (tmp_path / "library").exists()
    said = command("restore", captured.image_id, disk, "--plan", "--library", captured.library).out
    assert "could not be looked at in full" in said
    assert restore_here(captured, disk, tmp_path / "job").status == 0
    assert holds_used_bytes(captured, disk)


@pytest.mark.parametrize("seed", range(3))
def test_noise_on_a_target_does_not_stop_a_restore(captured: Sample, tmp_path: Path, seed: int) -> None:
    target = tmp_path / "target.img"
    noise = bytearray(os.urandom(2 * MIB))
    noise[510:512] = b"\x55\xaa"
    if seed:
        noise[512:520] = b"EFI PART"
    if seed == 2:
        noise[446:462] = struct.pack("<4xB3xII", 0xEE, 1, 2**32 - 1)
    target.write_bytes(noise)
    os.truncate(target, DISK_SIZE)
    assert restore_here(captured, target, tmp_path / "job").status == 0
    assert verify_here(captured, tmp_path / "verify", against=target).status == 0


def test_a_disk_that_is_no_whole_number_of_sectors_comes_back_with_both_tables(tmp_path: Path) -> None:
    disk = blank(tmp_path / "pc.img", 20 * MIB + 100)
    partition(disk, "label: gpt\nstart=1MiB, size=4MiB\n")
    done = capture_here(disk, tmp_path / "library", tmp_path / "capture")
    assert isinstance(done.result, CaptureResult), done.message
    sample = Sample(tmp_path / "library", done.result.image, disk)
    for extra in (0, 3 * MIB + 7):
        target = blank(tmp_path / f"target{extra}.img", 20 * MIB + 100 + extra, fill=0xAA)
        assert restore_here(sample, target, tmp_path / "restore").status == 0
        assert "No errors detected" in run("sfdisk", "--verify", target)
        if not extra:
            assert target.read_bytes()[20 * MIB - 33 * 512 :] == disk.read_bytes()[20 * MIB - 33 * 512 :]


def test_a_gpt_with_more_entries_than_usual_never_overlaps_the_last_partition(tmp_path: Path) -> None:
    disk = blank(tmp_path / "pc.img", 24 * MIB)
    partition(disk, "label: gpt\ntable-length: 1024\nstart=1MiB, size=20MiB\n")
    _patch(disk, MIB, os.urandom(20 * MIB))
    done = capture_here(disk, tmp_path / "library", tmp_path / "capture")
    assert isinstance(done.result, CaptureResult), done.message
    sample = Sample(tmp_path / "library", done.result.image, disk)
    for room in (16384 + 512, 131072, 131072 + 512):
        target = blank(tmp_path / f"target{room}.img", 21 * MIB + room, fill=0xAA)
        try:
            restored = restore_here(sample, target, tmp_path / "restore")
        except RefusedError as error:
            assert f"({21 * MIB + room:,} bytes)" in str(error)
            assert room < 131072 + 512
            continue
        assert restored.status == 0, restored.message
        with target.open("rb") as ours, disk.open("rb") as theirs:
            assert os.pread(ours.fileno(), 20 * MIB, MIB) == os.pread(theirs.fileno(), 20 * MIB, MIB)
        assert "No errors detected" in run("sfdisk", "--verify", target)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4095, 4100])
def test_a_disk_file_of_hardly_any_bytes_is_refused_or_captured(tmp_path: Path, size: int) -> None:
    disk = tmp_path / "pc.img"
    disk.write_bytes(b"x" * size)
    found = inventory.look(str(disk))
    assert found.size == size
    if size == 4100:
        _captured_as_it_is_or_refused(disk, tmp_path)
