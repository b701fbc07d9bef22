"""Volumes whose free-space maps may be older than their data: all of them is stored, and comes back byte by byte."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging import ntfs
from imaging.blockdev import opened, read
from tests.disks import MIB, blank, partition, run
from tests.matrix import images, volumes
from tests.matrix.tools import Place, attached, copied, mounted, said
from tests.matrix.volumes import BTRFS, EXFAT, EXT4, FAT32, NTFS, XFS, FileSystem

pytestmark = pytest.mark.root
_SYNCED = b"this was synced and must not get lost\n" * 20_000


def _disk(kind: FileSystem, path: Path) -> Place:
    """A disk with one partition, of the kind."""
    place = Place(path=path, start=MIB, size=kind.size)
    blank(path, place.size + 2 * MIB)
    row = f"start=2048, size={place.size // 512}, type={kind.gpt_type}"
    partition(path, f"label: gpt\nunit: sectors\n{row}\n")
    return place


def _sync(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _in_use(kind: FileSystem, place: Place, *options: str) -> Iterator[Path]:
    """The file system mounted, with much of what it did still in its journal."""
    with attached(place) as loop, mounted((*kind.mount, *options), loop) as folder:
        run("sync", "-f", folder)
        for i in range(40):
            _sync(folder / f"synced {i}", _SYNCED[: 1000 * (i + 1)])
        _sync(folder / "last", _SYNCED)
        yield folder


def _expect_all_of_it(place: Place, room: Path, why: str) -> Path:
    """Captured as wholly used, with a warning that says why; restored and extracted byte by byte. The target."""
    captured = images.capture(place.path, room / "library")
    volume = captured.manifest["volumes"][0]
    assert (volume["map_origin"], volume["used"]) == ("whole", place.size)
    assert why in volume["note"]
    assert any("wholly used" in warning and volume["note"] in warning for warning in captured.warnings)
    target = blank(room / "target.img", place.path.stat().st_size, fill=0xAA)
    images.restore(captured, target)
    everything = [(place.start, place.start + place.size)]
    for path in (target, images.extract(captured, room / "extracted.img")):
        assert images.differing(place.path, path, everything) == []
    return target


def _expect_recovered(kind: FileSystem, place: Place) -> None:
    """The first mount replays the journal, and what was synced is there."""
    with attached(place) as loop:
        with mounted(kind.mount, loop) as folder:
            assert (folder / "last").read_bytes() == _SYNCED
            assert (folder / "synced 39").read_bytes() == _SYNCED[:40_000]
        if kind is BTRFS:
            run("btrfs", "device", "scan", "--forget", loop)
    volumes.check(kind, place)


@pytest.mark.parametrize("kind", [EXT4, XFS], ids=lambda kind: kind.name)
def test_a_journal_that_waits_to_be_replayed_means_all_is_used(kind: FileSystem, files: Path, room: Path) -> None:
    live = _disk(kind, room / "live.img")
    volumes.make(kind, live)
    volumes.fill(kind, live, files)
    with _in_use(kind, live):
        source = live.on(copied(live.path, room / "source.img"))
    target = _expect_all_of_it(source, room, "waits to be replayed")
    _expect_recovered(kind, source.on(target))


def test_a_btrfs_log_tree_that_waits_to_be_replayed_means_all_is_used(files: Path, room: Path) -> None:
    live = _disk(BTRFS, room / "live.img")
    volumes.make(BTRFS, live)
    volumes.fill(BTRFS, live, files)
    with _in_use(BTRFS, live, "-o", "commit=300"):
        source = live.on(copied(live.path, room / "source.img"))
    target = _expect_all_of_it(source, room, "its log tree waits to be replayed")
    _expect_recovered(BTRFS, source.on(target))


@pytest.mark.parametrize("journal", ["ext2", "ext4 without a journal"])
def test_ext_without_a_journal_that_was_not_unmounted_means_all_is_used(journal: str, room: Path) -> None:
    live = _disk(EXT4, room / "live.img")
    options = ("-t", "ext2") if journal == "ext2" else ("-O", "^has_journal")
    with attached(live) as loop:
        said("mke2fs", "-q", "-F", *options, loop)
    with attached(live) as loop, mounted(("mount", "-t", "ext4"), loop) as folder:
        _sync(folder / "last", _SYNCED)
        source = live.on(copied(live.path, room / "source.img"))
    _expect_all_of_it(source, room, "it was not unmounted cleanly")


def test_ext4_marked_as_having_errors_means_all_is_used(files: Path, room: Path) -> None:
    source = _disk(EXT4, room / "source.img")
    volumes.make(EXT4, source)
    volumes.fill(EXT4, source, files)
    with attached(source) as loop:
        said("debugfs", "-w", "-R", "ssv state 3", loop)
    _expect_all_of_it(source, room, "marked as having errors")


def test_ntfs_marked_dirty_means_all_is_used(files: Path, room: Path) -> None:
    source = _disk(NTFS, room / "source.img")
    volumes.make(NTFS, source)
    volumes.fill(NTFS, source, files)
    with attached(source) as loop:
        # It marks the volume so that Windows checks it.
        said("ntfsfix", loop)
    target = _expect_all_of_it(source, room, "scheduled it for a check")
    assert volumes.entries(NTFS, source.on(target)) == volumes.entries(NTFS, source)


def _write(place: Place, at: int, data: bytes) -> None:
    with place.path.open("r+b") as file:
        file.seek(place.start + at)
        file.write(data)


def test_ntfs_with_an_open_log_means_all_is_used(files: Path, room: Path) -> None:
    source = _disk(NTFS, room / "source.img")
    volumes.make(NTFS, source)
    volumes.fill(NTFS, source, files)
    page = bytearray(4096)
    struct.pack_into("<4s12xIIH", page, 0, b"RSTR", 4096, 4096, 0x30)
    struct.pack_into("<QHHHH", page, 0x30, 7, 1, 0xFFFF, 0, 0)
    with opened(str(source.path)) as fd:
        start = ntfs._log_start(lambda at, size: read(fd, size, source.start + at))
        assert read(fd, 8192, source.start + start) == b"\xff" * 8192
    _write(source, start, bytes(page) * 2)
    _expect_all_of_it(source, room, "its log is open")


def test_exfat_marked_dirty_means_all_is_used(files: Path, room: Path) -> None:
    source = _disk(EXFAT, room / "source.img")
    volumes.make(EXFAT, source)
    volumes.fill(EXFAT, source, files)
    _write(source, 106, b"\x02")
    _expect_all_of_it(source, room, "marked as dirty")


def _say_in_table(place: Place, at: int, bits: int) -> None:
    """Clear bits of a byte in both tables."""
    with opened(str(place.path)) as fd:
        boot = read(fd, 512, place.start)
        reserved, length = struct.unpack_from("<H", boot, 14)[0] * 512, struct.unpack_from("<I", boot, 36)[0] * 512
        old = read(fd, 1, place.start + reserved + at)[0]
    for table in (reserved, reserved + length):
        _write(place, table + at, bytes([old & ~bits]))


@pytest.mark.parametrize(
    ("bits", "why"), [(0x08, "it was not unmounted cleanly"), (0x04, "having met errors of its medium")]
)
def test_fat_marked_dirty_by_windows_means_all_is_used(bits: int, why: str, files: Path, room: Path) -> None:
    source = _disk(FAT32, room / "source.img")
    volumes.make(FAT32, source)
    volumes.fill(FAT32, source, files)
    _say_in_table(source, 7, bits)
    _expect_all_of_it(source, room, why)


def test_fat_marked_dirty_by_linux_means_all_is_used(room: Path) -> None:
    source = _disk(FAT32, room / "source.img")
    volumes.make(FAT32, source)
    _write(source, 0x41, b"\x01")
    _expect_all_of_it(source, room, "it was not unmounted cleanly")


def test_a_fresh_ntfs_is_mapped(room: Path) -> None:
    source = _disk(NTFS, room / "source.img")
    volumes.make(NTFS, source)
    assert images.capture(source.path, room / "library").manifest["volumes"][0]["map_origin"] == "rescue"


@pytest.mark.parametrize("kind", [EXT4, XFS, BTRFS, NTFS, FAT32, EXFAT], ids=lambda kind: kind.name)
def test_a_file_system_that_was_unmounted_is_mapped(kind: FileSystem, files: Path, room: Path) -> None:
    source = _disk(kind, room / "source.img")
    volumes.make(kind, source)
    volumes.fill(kind, source, files)
    captured = images.capture(source.path, room / "library")
    assert captured.manifest["volumes"][0]["map_origin"] == kind.map_origin
    assert captured.warnings == []
