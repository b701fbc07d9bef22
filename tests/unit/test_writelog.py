"""What a loss of power leaves of a disk whose writes were taken down."""

import struct
from pathlib import Path

import pytest

from tests.qemu.writelog import FLUSH, TornLogError, events, replay

SECTOR = 512


def log(path: Path, *entries: tuple[int, bytes, int], count: int | None = None, size: int = 0) -> Path:
    """A log of `(sector, data, flags)`, as QEMU writes it."""
    data = struct.pack("<QQQI", 0x6A736677736872, 1, len(entries) if count is None else count, SECTOR).ljust(
        SECTOR, b"\0"
    )
    for sector, what, flags in entries:
        data += struct.pack("<QQQQ", sector, len(what) // SECTOR, flags, 0).ljust(SECTOR, b"\0") + what
    path.write_bytes(data[: size or None])
    return path


def block(letter: bytes, count: int = 1) -> bytes:
    return letter * SECTOR * count


def test_what_was_flushed_is_there_and_of_the_rest_what_it_had_come_to(tmp_path: Path) -> None:
    written = log(
        tmp_path / "log",
        (0, block(b"a"), 0),
        (1, block(b"b", 2), 0),
        (0, b"", 1),
        (0, block(b"c"), 0),
        (3, block(b"d"), 2),
    )
    kinds = ["flush" if event is FLUSH else "write" for event in events(written)]
    assert kinds == ["write", "write", "flush", "write", "write"]
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4 * SECTOR))
    assert replay(written, disk, seed=1, kept=0.0) == (1, 2)
    assert disk.read_bytes() == block(b"a") + block(b"b", 2) + block(b"d"), "what is forced is there"


def test_all_may_be_there_or_torn(tmp_path: Path) -> None:
    written, left = log(tmp_path / "log", (0, block(b"c", 8), 0)), set()
    for seed in range(40):
        disk = tmp_path / "disk"
        disk.write_bytes(bytes(8 * SECTOR))
        replay(written, disk, seed=seed, kept=1.0)
        left.add(disk.read_bytes().count(b"c") // SECTOR)
    assert 8 in left
    assert len(left) > 2


def test_a_log_that_ends_in_an_entry_is_read_up_to_that(tmp_path: Path) -> None:
    written = log(tmp_path / "log", (0, block(b"a"), 0), (1, block(b"b", 4), 0), count=1, size=4 * SECTOR)
    assert len(events(written)) == 1


def test_a_log_that_lacks_what_it_counts_is_known(tmp_path: Path) -> None:
    with pytest.raises(TornLogError):
        events(log(tmp_path / "log", (0, block(b"a"), 0), count=2))


def test_without_a_write_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"")
    assert events(tmp_path / "log") == []
