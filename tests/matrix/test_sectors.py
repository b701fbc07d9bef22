"""Images on disks with sectors of another size: table and FAT are made anew, all else stays; or it is refused."""

import dataclasses
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import inventory
from imaging.content import Content
from imaging.errors import CancelledError, ExitStatus
from imaging.jobs import JobState
from imaging.library import Library
from imaging.planner import plan_restore
from imaging.resectored import adapted
from imaging.resectoring import plan_resectoring
from imaging.restoreplans import RestorePlan
from rescue import report
from rescue.engine import engine
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition
from tests.faults.killing import finish, kill_after, moments, seconds_of, wait_for_first_write
from tests.faults.killing import start as begin
from tests.matrix import images, layouts, volumes
from tests.matrix.lvm import lvm_on
from tests.matrix.sectordisks import (
    BLOCKS,
    FAT,
    LARGE_XFS,
    LAYOUTS,
    Imaged,
    as_device,
    disk,
    refused,
    with_lvm,
    words_for,
)
from tests.matrix.tools import Place, attached, said
from tests.matrix.volumes import BTRFS

pytestmark = pytest.mark.root
_KILLS = 3


@pytest.fixture(scope="module", params=LAYOUTS)
def imaged(request: pytest.FixtureRequest, files: Path, shared_room: Path) -> Iterator[Imaged]:
    """What can be on sectors of either size, in each kind of table."""
    folder = shared_room / f"sectors-{request.param}"
    folder.mkdir()
    kinds = (FAT, BLOCKS, BTRFS) if LAYOUTS[request.param].table == "dos" else (FAT, BLOCKS, BTRFS, LARGE_XFS)
    yield disk(folder, LAYOUTS[request.param], kinds, files)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small(files: Path, shared_room: Path) -> Iterator[Imaged]:
    """FAT and ext4 on a GPT disk of small sectors."""
    folder = shared_room / "sectors-small"
    folder.mkdir()
    yield disk(folder, LAYOUTS["gpt-512"], (FAT, BLOCKS), files)
    shutil.rmtree(folder)


def _identity(place: Place) -> dict[str, str]:
    """Label and id of a volume, by blkid."""
    argv = ["blkid", "--probe", "--output", "export", f"--offset={place.start}", f"--size={place.size}", place.path]
    pairs = (line.partition("=") for line in said(*argv).splitlines())
    return {key: value for key, _, value in pairs if key in ("UUID", "LABEL", "TYPE", "LABEL_FATBOOT")}


def _expect_whole(imaged: Imaged, target: Path) -> None:
    """A sound table that says the same of the same bytes, and every file system whole, with all of its files."""
    old, new = imaged.layout.sector, imaged.other.sector
    said_of_it = layouts.verified_table(target, new)
    assert "No errors detected" in said_of_it
    table, before = layouts.table_of(target, new), layouts.table_of(imaged.path, old)
    assert {k: table.get(k) for k in ("id", "label")} == {k: before.get(k) for k in ("id", "label")}
    in_bytes = [
        [{**part, "start": part["start"] * unit, "size": part["size"] * unit} for part in one["partitions"]]
        for one, unit in ((table, new), (before, old))
    ]
    assert in_bytes[0] == in_bytes[1]
    # GRUB's raw partition, in a GPT.
    assert images.differing(imaged.path, target, [(MIB, imaged.places[0][1].start)]) == []
    for kind, place in imaged.places:
        there = dataclasses.replace(place, path=target, sector=new)
        volumes.check(kind, there)
        assert volumes.entries(kind, there) == volumes.entries(kind, place)
        assert _identity(there) == _identity(place)
        if kind is FAT:
            assert volumes.listed(there) == volumes.listed(place)
            with target.open("rb") as file:
                file.seek(place.start + 11)
                assert int.from_bytes(file.read(2), "little") == new
    assert volumes.swap_identity(dataclasses.replace(imaged.swap, path=target)) == volumes.swap_identity(imaged.swap)


def test_a_disk_is_restored_to_sectors_of_the_other_size(imaged: Imaged, room: Path) -> None:
    target = blank(room / "target.img", imaged.path.stat().st_size, fill=0xAA)
    before = digest(target)
    with as_device(target, imaged.other.sector) as device:
        plan = run_rescue("restore", *words_for(imaged, device), "--plan").json["targets"][0]["resectoring"]
        assert digest(target) == before
        fat = 2 if imaged.layout.table == "gpt" else 1
        assert plan == {"before": imaged.layout.sector, "after": imaged.other.sector, "rebuilt": [fat]}
        done = run_rescue("restore", *words_for(imaged, device)).events[-1]
        assert done["status"] == 0
        assert done["result"]["tables"] == 1
    _expect_whole(imaged, target)
    with as_device(target, imaged.other.sector) as device:
        again = run_rescue("restore", *words_for(imaged, device)).events[-1]["result"]
        assert again["written"] == 0
        assert again["tables"] == 0
        words = ("--library", imaged.captured.library, "--json")
        against = run_rescue("verify", imaged.captured.image, "--against", device, *words, status=None)
        assert against.status == ExitStatus.DIFFERS, against.out
    _expect_whole(imaged, target)


def test_file_systems_are_made_anew_until_somebody_asks_to_stop(small: Imaged) -> None:
    library, cancel = Library.open(small.captured.library), threading.Event()
    image = library.image(small.captured.image)
    (source,) = image.disks
    content = Content.load(library, image, source)
    cancel.set()
    with pytest.raises(CancelledError), adapted(content, plan_resectoring(source, 4096), cancel):
        pass


def test_a_loader_before_the_first_partition_stays_where_it_is(room: Path) -> None:
    """In an MBR's disk nothing says what it is."""
    source = partition(blank(room / "source.img", 16 * MIB), "label: dos\nstart=2048, size=8192, type=da\n")
    loader = bytes(range(1, 251)) * 40
    with source.open("r+b") as file:
        file.seek(512)
        file.write(loader)
    captured = images.capture(source, room / "library")
    target = blank(room / "target.img", 16 * MIB, fill=0xAA)
    with as_device(target, 4096) as device:
        run_rescue("restore", *images.words(captured, device))
    assert target.read_bytes()[512 : 512 + len(loader)] == loader
    assert "No errors detected" in layouts.verified_table(target, 4096)


def test_the_way_back_has_all_files_too(small: Imaged, room: Path) -> None:
    """What was restored to other sectors is captured there, and restored to the first ones."""
    target, back = (blank(room / name, small.path.stat().st_size, fill=0xAA) for name in ("target.img", "back.img"))
    with as_device(target, 4096) as device:
        run_rescue("restore", *words_for(small, device))
        there = images.capture(device, room / "library")
    with as_device(back, 512) as device:
        run_rescue("restore", *images.words(there, device))
    (fat, place), (root, behind) = small.places
    for kind, one in ((fat, place), (root, behind)):
        volumes.check(kind, one.on(back))
        assert volumes.entries(kind, one.on(back)) == volumes.entries(kind, one)
    assert volumes.listed(place.on(back)) == volumes.listed(place)
    assert layouts.table_of(back, 512)["partitions"] == layouts.table_of(small.path, 512)["partitions"]


def test_logical_volumes_are_taken_along_and_lvm_goes_on_with_them(small: Imaged, files: Path, room: Path) -> None:
    path = room / "source.img"
    place, root = with_lvm(path, BLOCKS, files)
    captured = images.capture(path, room / "library")
    target = blank(room / "target.img", path.stat().st_size, fill=0xAA)
    with as_device(target, 4096) as device:
        run_rescue("restore", *images.words(captured, device))
    there = dataclasses.replace(place, path=target, sector=4096)
    with lvm_on(there) as lvm:
        (device,) = lvm.devices
        lvm.run("pvck", device)
        lvm.run("vgck", "sectors")
        lvm.run("lvrename", "sectors", "root", "other")
        assert lvm.report("lvs", "lv_name,lv_size", "--units=b", "--nosuffix") == [f"other|{BLOCKS.size}"]
    volume = dataclasses.replace(root, path=target, sector=4096)
    volumes.check(BLOCKS, volume)
    assert volumes.entries(BLOCKS, volume) == volumes.entries(BLOCKS, small.places[1][1])


def test_a_disk_that_is_too_small_for_the_larger_table_is_refused_and_one_that_is_not_is_taken(
    small: Imaged, room: Path
) -> None:
    end = small.swap.start + small.swap.size
    short = blank(room / "short.img", end + 4 * 4096, fill=0xAA)
    error = refused(small, short, 4096, "--shrink")
    assert error["code"] == "target-too-small"
    assert f"({end + 5 * 4096:,} bytes) are needed" in error["message"]
    enough = blank(room / "enough.img", end + 5 * 4096, fill=0xAA)
    with as_device(enough, 4096) as device:
        run_rescue("restore", *words_for(small, device))
    _expect_whole(small, enough)
    larger = blank(room / "larger.img", 2 * small.path.stat().st_size, fill=0xAA)
    with as_device(larger, 4096) as device:
        run_rescue("restore", *words_for(small, device))
    _expect_whole(small, larger)


def test_a_partition_grows_on_a_larger_disk_with_such_sectors(small: Imaged, room: Path) -> None:
    size = small.path.stat().st_size + 100 * MIB
    target = blank(room / "target.img", size, fill=0xAA)
    with as_device(target, 4096) as device:
        done = run_rescue("restore", *words_for(small, device), "--grow").events[-1]
        assert [one["why_not"] for one in done["result"]["grown"]] == [""]
    assert "No errors detected" in layouts.verified_table(target, 4096)
    _, fat, root, swap = layouts.table_of(target, 4096)["partitions"]
    places = [
        Place(path=target, start=one["start"] * 4096, size=one["size"] * 4096, sector=4096) for one in (fat, root)
    ]
    assert places[1].size >= small.places[1][1].size + 99 * MIB
    for (kind, before), place in zip(small.places, places, strict=True):
        volumes.check(kind, place)
        assert volumes.entries(kind, place) == volumes.entries(kind, before)
    moved = dataclasses.replace(small.swap, path=target, start=swap["start"] * 4096)
    assert volumes.swap_identity(moved) == volumes.swap_identity(small.swap)
    with attached(places[1], read_only=True) as loop:
        blocks = next(line for line in said("dumpe2fs", "-h", loop).splitlines() if line.startswith("Block count:"))
    assert int(blocks.split()[-1]) * 4096 == places[1].size


def _plan(imaged: Imaged, device: str) -> RestorePlan:
    library = imaged.captured.library
    image = Library.open(library).image(imaged.captured.image)
    return plan_restore(library, image, {imaged.captured.disk: inventory.look(device, [library])})


def test_a_restore_that_is_killed_leaves_an_unfinished_disk_that_the_next_completes(small: Imaged, room: Path) -> None:
    size = small.path.stat().st_size
    target = blank(room / "target.img", size, fill=0xAA)
    with as_device(target, 4096) as device:
        job = finish(begin(_plan(small, device)))
    assert job.state is JobState.DONE
    known = (digest(blank(room / "untouched.img", size, fill=0xAA)), digest(target))
    whole = seconds_of(job)
    for moment in moments(_KILLS, whole, seed=7):
        blank(target, size, fill=0xAA)
        with as_device(target, 4096) as device:
            job = begin(_plan(small, device))
            if moment > whole / 2:
                wait_for_first_write(job, Path(device))
            kill_after(job, moment)
            unfinished = inventory.look(device).unfinished
        assert unfinished == small.captured.image or (unfinished == "" and digest(target) in known)
        with as_device(target, 4096) as device:
            assert finish(begin(_plan(small, device))).state is JobState.DONE
        _expect_whole(small, target)


def test_what_was_there_is_saved_first_and_undo_brings_it_back(small: Imaged, files: Path, room: Path) -> None:
    """The disk's own table, of its own sectors, FAT and all."""
    (room / "old").mkdir()
    old = disk(room / "old", LAYOUTS["gpt-4096"], (BLOCKS,), files)
    size = max(small.path.stat().st_size, old.path.stat().st_size)
    os.truncate(old.path, size)
    saved = room / "saved"
    with as_device(old.path, 4096) as device:
        before = layouts.table_of(old.path, 4096)["partitions"]
        run_rescue("restore", *words_for(small, device), "--save-first", saved)
        assert layouts.table_of(old.path, 4096)["partitions"] != before
        run_rescue("undo", "--library", saved, "--to", device, "--erase", Path(device).name)
    assert layouts.table_of(old.path, 4096)["partitions"] == before
    ((kind, place),) = old.places
    volumes.check(kind, place)
    assert volumes.entries(kind, place) == volumes.entries(kind, small.places[1][1])


def test_the_screens_offer_such_a_disk_and_say_what_becomes_of_it(small: Imaged, room: Path) -> None:
    library, backend = small.captured.library, engine()
    image = Library.open(library).image(small.captured.image)
    (source,) = image.disks
    with as_device(blank(room / "target.img", small.path.stat().st_size), 4096) as device:
        there = inventory.look(device, [library])
        assert backend.why_not_target(there, source) == ""
        plan = backend.plan_restore(library, image, {source.name: there})
    words = "\n".join(report.restore_lines(plan))
    assert "OTHER SECTORS: of 4096 bytes, not 512: the partition table is written anew" in words
    assert "MADE ANEW: the file system (FAT) of partition 2, with the same files" in words
    assert "A BIOS does not start a computer from such a disk" in words
