"""Disks with bad sectors: what can be read is stored, what cannot is zeros, and is told."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from imaging import salvage
from imaging.blockdev import read_exactly
from imaging.errors import CancelledError, IoError
from imaging.extents import Extents
from imaging.salvage import Salvage

KIB = 1 << 10


class Failing:
    """Reads as a disk with bad sectors does: any read that touches one fails as a whole."""

    def __init__(self, bad: Iterable[tuple[int, int]], recovers_after: int = 10**9) -> None:
        self.bad, self.failures, self.recovers_after = Extents(bad), 0, recovers_after

    def __call__(self, fd: int, buffer: memoryview, offset: int) -> None:
        if self.bad.overlaps(offset, offset + len(buffer)) and self.failures < self.recovers_after:
            self.failures += 1
            raise IoError(f"reading at byte {offset} failed", code="read-failed")
        read_exactly(fd, buffer, offset)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "disk"
    path.write_bytes(b"\xaa" * (512 * KIB))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


def _salvage(fd: int, told: list[str], sector: int = 4096) -> Salvage:
    return Salvage(fd, "sda", sector, lambda: None, told.append)


def test_only_the_bad_sectors_are_lost(disk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "read_exactly", Failing([(100 * KIB, 100 * KIB + 1), (300 * KIB, 309 * KIB)]))
    told: list[str] = []
    reader, buffer = _salvage(disk, told), bytearray(400 * KIB)
    reader.read(memoryview(buffer), 50 * KIB)
    lost = Extents([(100 * KIB, 104 * KIB), (300 * KIB, 312 * KIB)])
    assert reader.unreadable == lost
    for at in range(len(buffer)):
        assert buffer[at] == (0 if lost.overlaps(50 * KIB + at, 50 * KIB + at + 1) else 0xAA)
    assert told == ["16,384 bytes at byte 51,200 of sda cannot be read: zeros are stored for them"]


def test_ranges_off_the_sector_grid_are_read_and_lost_to_the_byte(disk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "read_exactly", Failing([(8192, 8193)]))
    reader, buffer = _salvage(disk, []), bytearray(3000)
    reader.read(memoryview(buffer), 7000)
    assert reader.unreadable == Extents([(8192, 10000)])
    assert buffer == b"\xaa" * 1192 + bytes(1808)


def test_a_sector_that_answers_at_the_second_asking_is_not_lost(disk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The whole, the piece, and once the sector alone.
    monkeypatch.setattr(salvage, "read_exactly", Failing([(100 * KIB, 101 * KIB)], recovers_after=3))
    told: list[str] = []
    reader, buffer = _salvage(disk, told), bytearray(200 * KIB)
    reader.read(memoryview(buffer), 0)
    assert (reader.unreadable, told, bytes(buffer)) == (Extents(), [], b"\xaa" * (200 * KIB))


def test_a_disk_that_went_away_is_no_disk_of_zeros(disk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "read_exactly", Failing([(0, 512 * KIB)]))
    with pytest.raises(IoError, match="sda does not answer any more") as caught:
        _salvage(disk, []).read(memoryview(bytearray(64 * KIB)), 128 * KIB)
    assert caught.value.code == "source-gone"


def test_a_cancel_ends_the_search_for_readable_sectors(disk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "read_exactly", Failing([(64 * KIB, 512 * KIB)]))

    def stop() -> None:
        raise CancelledError("stopped because somebody asked")

    with pytest.raises(CancelledError):
        Salvage(disk, "sda", 512, stop, print).read(memoryview(bytearray(64 * KIB)), 128 * KIB)


def test_more_ranges_than_a_manifest_holds_are_told_as_fewer_that_hold_them_all() -> None:
    every = Extents((i * 65536, i * 65536 + 512) for i in range(25_000))
    few = salvage._coarsened(every)
    assert len(few) <= 10_000
    assert every.minus(few) == Extents()
    assert few.end == every.end
