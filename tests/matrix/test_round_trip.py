"""ext4, xfs, btrfs, NTFS, FAT32 and exFAT, on GPT and MBR, at 512 and 4096 bytes a sector: out and back in."""

import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from imaging import imagevolumes, opened, virtual
from imaging.content import Content
from imaging.library import Library
from imaging.reader import DiskReader
from tests.command import run_rescue
from tests.disks import digest, run
from tests.matrix import images, layouts, moved, volumes
from tests.matrix.conftest import RoundTrip
from tests.matrix.layouts import BETWEEN, BOOT_CODE
from tests.matrix.sample import fingerprint
from tests.matrix.volumes import BTRFS, EXFAT, EXT4, FAT32, FILE_SYSTEMS, NTFS, XFS, FileSystem

pytestmark = pytest.mark.root
each_file_system = pytest.mark.parametrize("kind", FILE_SYSTEMS, ids=lambda kind: kind.name)


def test_capture_leaves_the_source_as_it_was(trip: RoundTrip) -> None:
    assert trip.source.path.stat().st_mtime_ns == trip.modified
    assert digest(trip.source.path) == trip.digest


def test_capture_finds_a_map_for_every_volume_and_warns_of_nothing(trip: RoundTrip) -> None:
    found = {v["content"]["kind"]: v["map_origin"] for v in trip.captured.manifest["volumes"]}
    assert found == {"swap": "header", **{kind.name: kind.map_origin for kind in FILE_SYSTEMS}}
    assert trip.captured.warnings == []
    assert trip.captured.used.total < trip.source.size // 2


def test_a_stream_of_the_disk_imports_as_the_same_image(trip: RoundTrip, room: Path) -> None:
    if str(trip.source.layout) != "dos-512":
        return  # one of them is enough, the one with logical partitions: a stream takes as long as its disk is large
    packed = room / f"{trip.captured.disk}.zst"
    run("zstd", "-q", "-1", "-T2", trip.source.path, "-o", packed)
    imported = images.imported(packed, packed.stem, room / "library")
    assert imported.used == trip.captured.used
    assert imported.chunks() == trip.captured.chunks()
    assert imported.manifest["volumes"] == trip.captured.manifest["volumes"]
    assert imported.warnings == []


# Without btrfs: the kernel discards by itself what that does not use any more.
@pytest.mark.parametrize("kind", [k for k in FILE_SYSTEMS if k is not BTRFS], ids=lambda kind: kind.name)
def test_stale_data_in_free_space_is_left_out(trip: RoundTrip, kind: FileSystem) -> None:
    place = trip.source.places[kind.name]
    free = images.unused(trip.captured, trip.source.size).clipped(place.start, place.start + place.size)
    assert not images.holds_only(trip.source.path, 0, free)
    assert images.holds_only(trip.extracted, 0, free)


@each_file_system
def test_a_restored_file_system_passes_its_check(trip: RoundTrip, kind: FileSystem) -> None:
    volumes.check(kind, trip.source.places[kind.name].on(trip.restored))


@each_file_system
def test_a_restored_file_system_holds_the_same_files(trip: RoundTrip, kind: FileSystem) -> None:
    found = volumes.entries(kind, trip.source.places[kind.name].on(trip.restored))
    assert found == trip.source.entries[kind.name]


@each_file_system
def test_a_file_system_extracted_by_casync_passes_its_check(trip: RoundTrip, kind: FileSystem) -> None:
    volumes.check(kind, trip.source.places[kind.name].on(trip.extracted))


@each_file_system
def test_a_file_system_extracted_by_casync_holds_the_same_files(trip: RoundTrip, kind: FileSystem) -> None:
    found = volumes.entries(kind, trip.source.places[kind.name].on(trip.extracted))
    assert found == trip.source.entries[kind.name]


@pytest.mark.parametrize("kind", [EXT4, XFS, BTRFS], ids=lambda kind: kind.name)
def test_the_files_of_a_mounted_image_are_those_of_the_source(trip: RoundTrip, kind: FileSystem, room: Path) -> None:
    library = Library.open(trip.captured.library)
    with opened.mounted_image(library, library.image(trip.captured.image), room) as shown:
        problems = {volume.name: problem for volume, problem in shown}
        (name,) = (
            v.name for v in imagevolumes.volumes(library.image(trip.captured.image)) if v.content.kind == kind.name
        )
        assert problems[name] == ""
        assert fingerprint(room / name) == trip.source.entries[kind.name]
        with pytest.raises(OSError, match="Read-only"):
            (room / name / "new").touch()
        disk = room / "disks" / f"{trip.captured.disk}.img"
        assert images.differing(trip.source.path, disk, trip.captured.used) == []
    assert list(room.iterdir()) == []


def test_restore_writes_every_used_byte_and_no_other(trip: RoundTrip) -> None:
    assert trip.written > 0
    assert images.differing(trip.source.path, trip.restored, trip.captured.used) == []
    unused = images.unused(trip.captured, trip.source.size)
    if trip.source.layout.table == "dos":
        # The last sector is cleared: the copy of a GPT that stood on the target must not outlive it.
        last = trip.source.size - trip.source.layout.sector
        assert images.holds_only(trip.restored, 0, [(last, trip.source.size)])
        unused = unused.clipped(0, last)
    assert images.holds_only(trip.restored, 0xAA, unused)


def test_casync_extracts_every_used_byte_and_zeros_elsewhere(trip: RoundTrip) -> None:
    assert trip.extracted.stat().st_size == trip.source.size
    assert images.differing(trip.source.path, trip.extracted, trip.captured.used) == []
    assert images.holds_only(trip.extracted, 0, images.unused(trip.captured, trip.source.size))


@pytest.mark.parametrize("came_back", ["restored", "extracted"])
def test_the_partition_table_comes_back_byte_by_byte(trip: RoundTrip, came_back: str) -> None:
    path: Path = getattr(trip, came_back)
    sector = trip.source.layout.sector
    assert images.differing(trip.source.path, path, trip.captured.manifest["table_extents"]) == []
    assert layouts.table_of(path, sector) == layouts.table_of(trip.source.path, sector)
    assert "No errors detected" in layouts.verified_table(path, sector)


@pytest.mark.parametrize("came_back", ["restored", "extracted"])
def test_boot_code_before_the_first_partition_comes_back_and_what_lies_between_does_not(
    trip: RoundTrip, came_back: str
) -> None:
    path: Path = getattr(trip, came_back)
    between = trip.source.swap.start + trip.source.swap.size
    with path.open("rb") as file:
        file.seek(64 << 10)
        assert file.read(len(BOOT_CODE)) == BOOT_CODE
        file.seek(between)
        assert BETWEEN not in file.read(1 << 20)


@pytest.mark.parametrize("came_back", ["restored", "extracted"])
def test_swap_keeps_its_identity_and_loses_what_it_held(trip: RoundTrip, came_back: str) -> None:
    swap = trip.source.swap.on(getattr(trip, came_back))
    identity = volumes.swap_identity(trip.source.swap)
    assert "TYPE=swap" in identity
    assert "LABEL=MATRIXSWAP" in identity
    assert volumes.swap_identity(swap) == identity
    assert trip.captured.used.clipped(swap.start, swap.start + swap.size).total <= 256 << 10


def test_a_restored_disk_is_verified_against_its_image(trip: RoundTrip) -> None:
    with layouts.as_disk(trip.restored, trip.source.layout, read_only=True) as disk:
        words = ("--against", disk, "--library", trip.captured.library, "--json")
        result = run_rescue("verify", trip.captured.image, *words).events[-1]["result"]
    assert (result["differing"], result["bad"]) == (0, [])


def test_every_file_system_of_the_image_is_found_clean(trip: RoundTrip) -> None:
    before = trip.captured.chunks()
    result = run_rescue("verify", trip.captured.image, "--check", "--library", trip.captured.library, "--json")
    found = {volume["kind"]: volume["verdict"] for volume in result.events[-1]["result"]["checked"]}
    assert found == dict.fromkeys(["swap", *(kind.name for kind in FILE_SYSTEMS)], "clean")
    assert trip.captured.chunks() == before


def test_the_virtual_disk_holds_what_casync_extracts(trip: RoundTrip) -> None:
    library = Library.open(trip.captured.library)
    image = library.image(trip.captured.image)
    reader = DiskReader(Content.load(library, image, image.disks[0]), cache=16 << 20)
    with virtual.opened({"disk": reader}) as files, trip.extracted.open("rb") as expected:
        assert os.fstat(files["disk"]).st_size == trip.source.size
        with ThreadPoolExecutor(4) as pool:
            wrong = list(pool.map(lambda seed: _read_anywhere(seed, files["disk"], expected.fileno()), range(4)))
    assert wrong == [[]] * 4


def test_whoever_copies_the_virtual_disk_sparsely_misses_nothing(trip: RoundTrip) -> None:
    library = Library.open(trip.captured.library)
    image = library.image(trip.captured.image)
    copy = trip.extracted.with_suffix(".copy")
    with virtual.opened({"disk": DiskReader(Content.load(library, image, image.disks[0]))}) as files:
        run("cp", f"/proc/{os.getpid()}/fd/{files['disk']}", copy)
        assert os.fstat(files["disk"]).st_blocks * 512 < trip.source.size
        passed_over = trip.source.size - sum(end - start for start, end in _data(files["disk"]))
    try:
        assert digest(copy) == digest(trip.extracted)
        assert passed_over > trip.source.size // 4
        assert copy.stat().st_blocks * 512 <= trip.source.size - passed_over
    finally:
        copy.unlink()


def _data(fd: int) -> Iterator[tuple[int, int]]:
    end, size = 0, os.fstat(fd).st_size
    with suppress(OSError):  # ENXIO: there is no more
        while end < size:
            start = os.lseek(fd, end, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
            yield start, end


def _read_anywhere(seed: int, disk: int, expected: int) -> list[int]:
    """Where reads of all sizes at random places, and of both ends, differ from what is expected."""
    source, size = random.Random(seed), os.fstat(expected).st_size
    places = [0, size - 1, size - 4096, size - 4097, size, *(source.randrange(size) for _ in range(150))]
    lengths = [source.choice([1, 512, 4095, 4096, 70_000, 300_000, 3 << 20]) for _ in places]
    return [
        at
        for at, length in zip(places, lengths, strict=True)
        if os.pread(disk, length, at) != os.pread(expected, length, at)
    ]


def test_restoring_onto_a_restored_disk_writes_nothing(trip: RoundTrip) -> None:
    before, modified = digest(trip.restored), trip.restored.stat().st_mtime_ns
    with layouts.as_disk(trip.restored, trip.source.layout) as disk:
        result = images.restore(trip.captured, disk)
    assert (result["written"], result["written_bytes"]) == (0, 0)
    assert result["compared"] == result["skipped"] == trip.written
    assert trip.restored.stat().st_mtime_ns == modified
    assert digest(trip.restored) == before


def test_a_second_capture_of_an_unchanged_disk_stores_no_chunk(trip: RoundTrip) -> None:
    before = trip.captured.chunks()
    with layouts.as_disk(trip.source.path, trip.source.layout, read_only=True) as disk:
        again = images.capture(disk, trip.captured.library)
    assert (again.result["new"], again.result["stored"]) == (0, 0)
    assert trip.captured.chunks() == before
    assert again.used == trip.captured.used
    shutil.rmtree(again.library / "images" / again.image)


_ALONE = {
    "gpt-512": FILE_SYSTEMS,
    "dos-512": (EXT4, NTFS, FAT32),
    "gpt-4096": (XFS, EXFAT),
    "dos-4096": (EXT4, NTFS, BTRFS),
}
"""Each file system at least twice: what it is made of does not change with the table that it lies behind."""


def test_file_systems_restore_alone_into_a_partition_elsewhere_on_another_disk(trip: RoundTrip, room: Path) -> None:
    for kind in _ALONE[str(trip.source.layout)]:
        place = trip.source.places[kind.name]
        other = moved.build(trip.source.layout, room / "other.img", place.size)
        outside = other.outside
        done = moved.restore(trip.captured, place.start, other, room / kind.name)
        assert done.status == 0, done.message
        assert other.outside == outside
        volumes.check(kind, other.place)
        assert volumes.entries(kind, other.place) == trip.source.entries[kind.name]


def test_a_swap_area_restores_alone(trip: RoundTrip, room: Path) -> None:
    swap = trip.source.swap
    other = moved.build(trip.source.layout, room / "other.img", swap.size)
    outside = other.outside
    done = moved.restore(trip.captured, swap.start, other, room / "job")
    assert done.status == 0, done.message
    assert other.outside == outside
    assert volumes.swap_identity(other.place) == volumes.swap_identity(swap)
