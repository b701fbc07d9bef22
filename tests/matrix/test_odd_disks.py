"""Disks without a table, with an empty one, and with partitions off the grid."""

import struct
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.matrix import images, layouts, volumes
from tests.matrix.tools import Place
from tests.matrix.volumes import EXT4, FAT32, FILE_SYSTEMS, NTFS, XFS, FileSystem

pytestmark = pytest.mark.root


@pytest.mark.parametrize("kind", [k for k in FILE_SYSTEMS if k is not XFS], ids=lambda kind: kind.name)
def test_a_file_system_on_the_bare_disk_comes_back(kind: FileSystem, files: Path, room: Path) -> None:
    source = Place(path=blank(room / "source.img", kind.size), start=0, size=kind.size)
    volumes.make(kind, source)
    volumes.fill(kind, source, files)
    captured = images.capture(source.path, room / "library")
    volume = captured.manifest["volumes"][0]
    assert captured.manifest["table"]["kind"] == "none"
    assert (volume["number"], volume["content"]["kind"], volume["map_origin"]) == (0, kind.name, kind.map_origin)
    target = blank(room / "target.img", kind.size, fill=0xAA)
    images.restore(captured, target)
    for path in (target, images.extract(captured, room / "extracted.img")):
        assert images.differing(source.path, path, captured.used) == []
        volumes.check(kind, source.on(path))
        assert volumes.entries(kind, source.on(path)) == volumes.entries(kind, source)
    assert images.restore(captured, target)["written"] == 0


@pytest.mark.parametrize("kind", [FAT32, NTFS], ids=lambda kind: kind.name)
def test_boot_code_that_looks_like_partitions_does_not_hide_a_bare_file_system(
    kind: FileSystem, files: Path, room: Path
) -> None:
    source = Place(path=blank(room / "source.img", kind.size), start=0, size=kind.size)
    volumes.make(kind, source)
    volumes.fill(kind, source, files)
    # Where an MBR has its partitions, the boot sectors of DOS and Windows have messages; each has a copy.
    for boot_sector in (0, 6 * 512 if kind is FAT32 else kind.size - 512):
        with source.path.open("r+b") as file:
            file.seek(boot_sector + 430)
            file.write(b"Remove disks or other media.\xff\r\nPress any key to restart\r\nDisk error, try again")
    volumes.check(kind, source)
    captured = images.capture(source.path, room / "library")
    assert captured.manifest["table"]["kind"] == "none"
    target = blank(room / "target.img", kind.size, fill=0xAA)
    images.restore(captured, target)
    volumes.check(kind, source.on(target))
    assert volumes.entries(kind, source.on(target)) == volumes.entries(kind, source)


@pytest.mark.parametrize("sector", [512, 4096])
def test_an_empty_gpt_comes_back_alone_on_any_size(sector: int, room: Path) -> None:
    source = partition(blank(room / "source.img", 24 * MIB), "label: gpt\n", sector)
    with source.open("r+b") as file:
        file.seek(12 * MIB)
        file.write(b"what a deleted partition held" * 100)
    captured = images.capture(source, room / "library")
    assert captured.warnings == []
    for size in (6 * MIB, 24 * MIB, 32 * MIB):
        target = blank(room / f"{size}.img", size, fill=0xAA)
        images.restore(captured, target)
        assert layouts.table_of(target, sector)["id"] == layouts.table_of(source, sector)["id"]
        assert (
            "partitions" not in layouts.table_of(target, sector) or not layouts.table_of(target, sector)["partitions"]
        )
        assert "No errors detected" in layouts.verified_table(target, sector)


def test_an_empty_mbr_is_stored_with_the_whole_disk(room: Path) -> None:
    source = partition(blank(room / "source.img", 12 * MIB), "label: dos\n")
    with source.open("r+b") as file:
        file.seek(6 * MIB)
        file.write(b"something unknown that starts like an MBR")
    captured = images.capture(source, room / "library")
    target = blank(room / "target.img", 12 * MIB, fill=0xAA)
    images.restore(captured, target)
    assert images.differing(source, target, [(0, 12 * MIB)]) == []
    assert layouts.table_of(target, 512) == layouts.table_of(source, 512)
    smaller = blank(room / "smaller.img", 10 * MIB, fill=0xAA)
    words = ("--library", captured.library, "--erase", smaller.name, "--json")
    error = run_rescue("restore", captured.image, smaller, *words, status=3).json["error"]
    assert error["code"] == "target-too-small"


def test_a_disk_of_zeros_comes_back_as_zeros(room: Path) -> None:
    source = blank(room / "source.img", 9 * MIB + 512)
    captured = images.capture(source, room / "library")
    target = blank(room / "target.img", 9 * MIB + 512, fill=0xAA)
    images.restore(captured, target)
    assert images.holds_only(target, 0, [(0, 9 * MIB + 512)])
    images.extract(captured, room / "extracted.img")
    assert images.holds_only(room / "extracted.img", 0, [(0, 9 * MIB + 512)])


@pytest.mark.parametrize("table", ["gpt", "dos"])
def test_partitions_off_the_grid_come_back(table: str, files: Path, room: Path) -> None:
    path = room / "source.img"
    first = Place(path=path, start=63 * 512, size=EXT4.size + 3 * 512)
    second = Place(path=path, start=first.start + first.size + 512, size=NTFS.size + 512)
    blank(path, second.start + second.size + 33 * 512)
    lines = [f"start={p.start // 512}, size={p.size // 512}, type=" for p in (first, second)]
    kinds = [k.gpt_type if table == "gpt" else k.mbr_type for k in (EXT4, NTFS)]
    rows = "\n".join(line + kind for line, kind in zip(lines, kinds, strict=True))
    first_lba = "first-lba: 34\n" if table == "gpt" else ""
    partition(path, f"label: {table}\nunit: sectors\n{first_lba}{rows}\n")
    for kind, place in ((EXT4, first), (NTFS, second)):
        volumes.make(kind, place)
        volumes.fill(kind, place, files)
    captured = images.capture(path, room / "library")
    assert [v["map_origin"] for v in captured.manifest["volumes"]] == ["rescue", "rescue"]
    target = blank(room / "target.img", path.stat().st_size, fill=0xAA)
    images.restore(captured, target)
    for found in (target, images.extract(captured, room / "extracted.img")):
        assert layouts.table_of(found, 512) == layouts.table_of(path, 512)
        for kind, place in ((EXT4, first), (NTFS, second)):
            volumes.check(kind, place.on(found))
            assert volumes.entries(kind, place.on(found)) == volumes.entries(kind, place)


def test_a_partition_that_fills_the_disk_to_its_last_byte_comes_back(files: Path, room: Path) -> None:
    path = room / "source.img"
    place = Place(path=path, start=MIB, size=EXT4.size)
    blank(path, place.start + place.size)
    partition(path, f"label: dos\nunit: sectors\nstart=2048, size={place.size // 512}, type=83\n")
    volumes.make(EXT4, place)
    volumes.fill(EXT4, place, files)
    captured = images.capture(path, room / "library")
    target = blank(room / "target.img", path.stat().st_size, fill=0xAA)
    images.restore(captured, target)
    assert images.differing(path, target, captured.used) == []
    volumes.check(EXT4, place.on(target))
    assert images.restore(captured, target)["written"] == 0


def test_a_hybrid_mbr_comes_back_beside_its_gpt(files: Path, room: Path) -> None:
    path = partition(blank(room / "source.img", 64 * MIB), f"label: gpt\nstart=1MiB, size={EXT4.size // MIB}MiB\n")
    run("sgdisk", "--hybrid=1:EE", path)
    assert sorted(path.read_bytes()[446 + 4 : 510 : 16]) == [0, 0, 0x83, 0xEE]
    place = Place(path=path, start=MIB, size=EXT4.size)
    volumes.make(EXT4, place)
    volumes.fill(EXT4, place, files)
    captured = images.capture(path, room / "library")
    assert [v["number"] for v in captured.manifest["volumes"]] == [1]
    for size in (64 * MIB, 80 * MIB):
        target = blank(room / f"{size}.img", size, fill=0xAA)
        images.restore(captured, target)
        assert target.read_bytes()[:512] == path.read_bytes()[:512]
        assert "No problems found" in run("sgdisk", "--verify", target)
        volumes.check(EXT4, place.on(target))
        assert volumes.entries(EXT4, place.on(target)) == volumes.entries(EXT4, place)


def test_partitions_that_overlap_are_stored_whole_and_told(files: Path, room: Path) -> None:
    path = blank(room / "source.img", 96 * MIB)
    first = Place(path=path, start=MIB, size=EXT4.size)
    partition(path, f"label: dos\nstart=2048, size={EXT4.size // 512}\nstart=180224, size=2048\n")
    volumes.make(EXT4, first)
    volumes.fill(EXT4, first, files)
    with path.open("r+b") as file:
        # The second partition now starts in the middle of the first.
        file.seek(446 + 16 + 8)
        file.write(struct.pack("<II", 30 * 2048, 40 * 2048))
        file.seek(60 * MIB)
        file.write(b"only the second partition knows of this")
    captured = images.capture(path, room / "library")
    assert [(v["number"], v["map_origin"], v["note"]) for v in captured.manifest["volumes"]] == [
        (1, "whole", "it overlaps partition 2"),
        (2, "whole", "it overlaps partition 1"),
    ]
    assert any("it overlaps partition 2" in warning for warning in captured.warnings)
    target = blank(room / "target.img", path.stat().st_size, fill=0xAA)
    images.restore(captured, target)
    assert images.differing(path, target, [(0, 70 * MIB)]) == []


def test_a_partition_beyond_two_tebibytes_comes_back(files: Path, room: Path) -> None:
    size, start = 3 << 40, (5 << 39) + MIB
    path = partition(blank(room / "source.img", size), f"label: gpt\nstart={start // 512}, size={EXT4.size // 512}\n")
    place = Place(path=path, start=start, size=EXT4.size)
    volumes.make(EXT4, place)
    volumes.fill(EXT4, place, files)
    captured = images.capture(path, room / "library")
    target = blank(room / "target.img", size)
    assert images.restore(captured, target)["written_bytes"] < 100 * MIB
    assert layouts.table_of(target, 512) == layouts.table_of(path, 512)
    volumes.check(EXT4, place.on(target))
    assert volumes.entries(EXT4, place.on(target)) == volumes.entries(EXT4, place)
