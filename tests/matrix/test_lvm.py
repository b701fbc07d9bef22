"""LVM: physical volumes made by LVM's own tools are captured by what their logical volumes hold, and come back."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from imaging import groups, inventory, opened
from imaging.disk import Partition
from imaging.library import Library
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition, run
from tests.matrix import images, volumes
from tests.matrix.images import Captured
from tests.matrix.lvm import EXTENT, gathered, lvm_on, pieces, scattered
from tests.matrix.sample import fingerprint
from tests.matrix.tools import Place, attached, require, said
from tests.matrix.volumes import EXT4, XFS, FileSystem

pytestmark = pytest.mark.root

_NAMES = ("data", "big", "swap", "grown", "odd", "origin", "changes")
_ON = {"data": EXT4, "big": XFS, "grown": EXT4, "origin": EXT4}
_SIZES = {"data": 48, "big": 300, "swap": 16, "grown": 24, "odd": 8, "origin": 48, "changes": 8}
WHOLE = Partition(number=0, start=0, size=128 * MIB, type="")
_SNAPSHOT = """
		snapshot0 {
			id = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg"
			status = ["READ", "WRITE", "VISIBLE"]
			flags = []
			segment_count = 1

			segment1 {
				start_extent = 0
				extent_count = 48
				type = "snapshot"
				chunk_size = 8
				origin = "origin"
				cow_store = "changes"
			}
		}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A disk with a physical volume, its image, and the disk that came back."""

    place: Place
    parts: dict[str, list[Place]]
    entries: dict[str, dict[str, str]]
    reports: list[list[str]]
    captured: Captured
    restored: Path

    @property
    def volume(self) -> Any:
        """What the image says of the physical volume."""
        return self.captured.manifest["volumes"][0]

    def inner(self, name: str) -> Any:
        """What the image says of a logical volume."""
        return next(inner for inner in self.volume["inner"] if inner["name"] == f"group/{name}")


def _reports(*places: Place, group: str = "group") -> list[list[str]]:
    """What LVM's tools say of a group's physical volumes, and nothing of where these are attached."""
    with lvm_on(*places, read_only=True) as lvm:
        assert "WARNING: PV" not in lvm.run("vgck", group)
        return [
            lvm.report("pvs", "pv_uuid,vg_name,pv_size,pv_used,pv_mda_count,pv_mda_used_count"),
            lvm.report("vgs", "vg_uuid,vg_name,vg_seqno,lv_count,vg_free"),
            lvm.report("lvs", "lv_uuid,lv_name,lv_size,segtype,seg_start_pe,seg_size_pe,origin", "--all", "--segments"),
        ]


def _make_group(place: Place, folder: Path) -> dict[str, list[Place]]:
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", "--pvmetadatacopies=2", *lvm.devices)
        lvm.run("vgcreate", f"--physicalextentsize={EXTENT}b", "group", *lvm.devices)
        for name in _NAMES:
            lvm.create("group", name, _SIZES[name])
        lvm.run("lvextend", "--extents=+24", "group/grown")
        # Snapshots are not made without device-mapper: LVM takes the description of one from a file.
        saved = folder / "group.vg"
        lvm.run("vgcfgbackup", f"--file={saved}", "group")
        saved.write_text(re.sub(r"(logical_volumes \{\n)", r"\1" + _SNAPSHOT, saved.read_text()))
        lvm.run("vgcfgrestore", "--force", f"--file={saved}", "group")
        return {name: pieces(lvm, place, f"group/{name}") for name in _NAMES}


def _fill(kind: FileSystem, parts: list[Place], files: Path, folder: Path) -> dict[str, str]:
    """Make a file system on a logical volume, with files and with what deleted ones left; what is in it."""
    size = sum(part.size for part in parts)
    place = parts[0] if len(parts) == 1 else Place(path=blank(folder / "scattered.img", size), start=0, size=size)
    volumes.make(kind, place)
    volumes.fill(kind, place, files)
    if len(parts) > 1:
        scattered(place, parts)
    return volumes.entries(kind, place)


@pytest.fixture(scope="module")
def trip(files: Path, shared_room: Path) -> Iterator[Trip]:
    """Captured once, restored onto 0xAA once."""
    require(("vgcreate", "mkfs.xfs"))
    folder = shared_room / "lvm"
    folder.mkdir()
    disk = partition(blank(folder / "source.img", 560 * MIB), "label: gpt\nstart=2048, size=1142784, type=lvm\n")
    place = Place(path=disk, start=MIB, size=558 * MIB)
    parts = _make_group(place, folder)
    free = Place(path=disk, start=place.start + 530 * MIB, size=20 * MIB)
    _write(free, b"left in extents of no volume")
    entries = {name: _fill(kind, parts[name], files, folder) for name, kind in _ON.items()}
    with attached(parts["swap"][0]) as loop:
        said("mkswap", "--label", "SWAPLV", loop)
    _write(Place(path=disk, start=parts["odd"][0].start, size=8 * MIB), Random(1).randbytes(MIB))
    reports = _reports(place)
    before = digest(disk)
    captured = images.capture(disk, folder / "library")
    assert digest(disk) == before
    restored = blank(folder / "restored.img", 560 * MIB, fill=0xAA)
    images.restore(captured, restored)
    yield Trip(place=place, parts=parts, entries=entries, reports=reports, captured=captured, restored=restored)
    shutil.rmtree(folder)


def _write(place: Place, data: bytes) -> None:
    with place.path.open("r+b") as file:
        file.seek(place.start)
        file.write((data * (place.size // len(data) + 1))[: place.size])


def test_each_logical_volume_is_shown_with_how_its_used_bytes_were_found(trip: Trip) -> None:
    assert trip.volume["map_origin"] == "lvm"
    found = {inner["name"]: (inner["content"]["kind"], inner["map_origin"]) for inner in trip.volume["inner"]}
    assert found == {
        "group/data": ("ext4", "rescue"),
        "group/big": ("xfs", "partclone"),
        "group/swap": ("swap", "header"),
        "group/grown": ("ext4", "rescue"),
        "group/odd": ("", "whole"),
        "group/origin": ("", "whole"),
        "group/changes": ("", "whole"),
    }
    assert trip.inner("origin")["note"] == "logical volume snapshot0 stands on it"
    assert trip.inner("data")["content"]["label"] == "MATRIX"
    shown = run_rescue("show", trip.captured.image, "--library", trip.captured.library).out
    assert "group/data" in shown
    assert "(stored whole: logical volume snapshot0 stands on it)" in shown


def test_the_pieces_are_where_lvms_own_tools_say(trip: Trip) -> None:
    for name in ("data", "big", "swap", "grown", "odd"):
        start = trip.place.start
        expected = [[part.start - start, part.start + part.size - start] for part in trip.parts[name]]
        assert trip.inner(name)["pieces"] == expected, name
    assert len(trip.parts["grown"]) == 2


def test_far_less_is_stored_than_the_physical_volume_holds(trip: Trip) -> None:
    assert trip.volume["used"] - sum(inner["used"] for inner in trip.volume["inner"]) < 3 * MIB
    assert trip.volume["used"] < trip.place.size * 2 // 5
    assert trip.inner("data")["used"] < 24 * MIB
    assert trip.inner("grown")["used"] < 24 * MIB
    # Of that, xfs's log is 64 MiB.
    assert trip.inner("big")["used"] < 90 * MIB
    assert trip.inner("swap")["used"] < MIB
    assert not trip.captured.used.overlaps(trip.place.start + 532 * MIB, trip.place.start + 540 * MIB)


def test_lvms_tools_see_the_same_on_the_restored_disk(trip: Trip) -> None:
    assert _reports(trip.place.on(trip.restored)) == trip.reports
    with lvm_on(trip.place.on(trip.restored), read_only=True) as lvm:
        lvm.run("pvck", *lvm.devices)


@pytest.mark.parametrize("name", _ON)
def test_a_restored_logical_volume_holds_the_same_files(name: str, trip: Trip, room: Path) -> None:
    kind, parts = _ON[name], trip.parts[name]
    place = parts[0].on(trip.restored) if len(parts) == 1 else gathered(parts, trip.restored, room / "volume")
    volumes.check(kind, place)
    assert volumes.entries(kind, place) == trip.entries[name]


def test_logical_volumes_of_an_image_are_mounted_those_in_pieces_too(trip: Trip, room: Path) -> None:
    library = Library.open(trip.captured.library)
    with opened.mounted_image(library, library.image(trip.captured.image), room) as shown:
        problems = {volume.name: problem for volume, problem in shown}
        for name in ("data", "big", "grown"):
            assert problems[f"group-{name}"] == ""
            assert fingerprint(room / f"group-{name}") == trip.entries[name]
        assert problems["group-origin"]
        assert problems["group-swap"].startswith("it is swap")
    assert len(trip.parts["grown"]) > 1


def test_what_lies_in_free_blocks_of_a_snapshots_origin_comes_back(trip: Trip) -> None:
    for name in ("origin", "changes", "odd"):
        ranges = [(part.start, part.start + part.size) for part in trip.parts[name]]
        assert images.differing(trip.place.path, trip.restored, ranges) == [], name


def test_restored_swap_has_its_identity(trip: Trip) -> None:
    swap = trip.parts["swap"][0]
    assert volumes.swap_identity(swap.on(trip.restored)) == volumes.swap_identity(swap)


def test_a_physical_volume_with_damaged_metadata_is_stored_whole_with_a_word(room: Path) -> None:
    place = Place(path=blank(room / "bare.img", 32 * MIB), start=0, size=32 * MIB)
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", *lvm.devices)
        lvm.run("vgcreate", "group", *lvm.devices)
    with place.path.open("r+b") as file:
        file.seek(4096 + 512 + 100)
        file.write(b"\0")
    captured = images.capture(place.path, room / "library")
    assert captured.manifest["volumes"][0]["map_origin"] == "whole"
    assert captured.manifest["used"] == 32 * MIB
    assert any("their checksum does not match" in words for words in captured.warnings)


def _spanning_group(room: Path) -> list[Place]:
    places = [Place(path=blank(room / f"{i}.img", 40 * MIB), start=0, size=40 * MIB) for i in range(2)]
    with lvm_on(*places) as lvm:
        lvm.run("pvcreate", *lvm.devices)
        lvm.run("vgcreate", f"--physicalextentsize={EXTENT}b", "pair", *lvm.devices)
        lvm.create("pair", "here", 16, lvm.devices[0])
        lvm.create("pair", "striped", 8, "--stripes=2", *lvm.devices)
        lvm.create("pair", "long", 40, "--alloc=anywhere", *lvm.devices)
    with attached(Place(path=places[0].path, start=MIB, size=16 * MIB)) as loop:
        said(*EXT4.make(loop, 512))
    return places


def test_a_group_of_two_disks_is_told_when_one_is_missing(room: Path) -> None:
    require(("vgcreate",))
    places = _spanning_group(room)
    captured = images.capture(places[0].path, room / "library")
    volume = captured.manifest["volumes"][0]
    assert "only 1 of them is captured here" in volume["note"]
    assert any(words.startswith("Volume group pair spans 2 devices") for words in captured.warnings)
    found = {inner["name"]: (inner["map_origin"], inner["note"]) for inner in volume["inner"]}
    assert found == {
        "pair/here": ("rescue", ""),
        "pair/striped": ("whole", "it is striped, or stands on other logical volumes"),
        "pair/long": ("whole", "it spans several physical volumes"),
    }


def test_a_group_of_two_disks_comes_back_from_one_image(room: Path) -> None:
    require(("vgcreate",))
    places = _spanning_group(room)
    library = room / "library"
    done = run_rescue("capture", *(place.path for place in places), "--library", library, "--json")
    assert not any("without the others" in event.get("message", "") for event in done.events)
    targets = [blank(room / f"target{i}.img", 40 * MIB, fill=0xAA) for i in range(2)]
    pairs = [f"{place.path.name}={target}" for place, target in zip(places, targets, strict=True)]
    erased = [f"--erase={target.name}" for target in targets]
    run_rescue("restore", done.events[-1]["result"]["image"], *pairs, "--library", library, *erased, "--json")
    restored = [place.on(target) for place, target in zip(places, targets, strict=True)]
    assert _reports(*restored, group="pair") == _reports(*places, group="pair")
    striped = (MIB + 16 * MIB, MIB + 20 * MIB)
    assert images.differing(places[0].path, targets[0], [striped]) == []
    volumes.check(EXT4, Place(path=targets[0], start=MIB, size=16 * MIB))


def test_btrfs_of_two_disks_is_told_when_one_is_missing(room: Path) -> None:
    disks = [blank(room / f"{i}.img", 128 * MIB) for i in range(2)]
    with attached(Place(path=disks[0], start=0, size=0)) as one, attached(Place(path=disks[1], start=0, size=0)) as two:
        run("mkfs.btrfs", "-q", "-f", "-L", "PAIR", one, two)
        run("btrfs", "device", "scan", "--forget")
    captured = images.capture(disks[0], room / "library")
    assert any("it spans 2 devices, which have to be captured together" in words for words in captured.warnings)
    assert any(words.startswith("Btrfs PAIR spans 2 devices, and only 1 of them") for words in captured.warnings)
    assert "without the others" in captured.manifest["volumes"][0]["note"]
    parts = [(inventory.look(str(disk), []), WHOLE) for disk in disks]
    assert groups.incomplete([(disk, replace(part, content=disk.content)) for disk, part in parts]) == {}
    assert len(groups.incomplete([(disk, replace(part, content=disk.content)) for disk, part in parts[1:]])) == 1
