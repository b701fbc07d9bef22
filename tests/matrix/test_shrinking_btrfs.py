"""btrfs on smaller disks: the kernel moves what lies too far behind, on a view of the image."""

import dataclasses
import mmap
import os
import random
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging import btrfs, inventory, smaller, views
from imaging.doubts import BTRFS_SUPER
from imaging.errors import CancelledError, RefusedError
from imaging.jobs import JobState
from imaging.library import Library
from imaging.planner import plan_restore
from imaging.restoreplans import RestorePlan
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition, run
from tests.faults.killing import finish
from tests.faults.killing import start as begin
from tests.matrix import images, shrinking, tools, volumes
from tests.matrix.images import Captured
from tests.matrix.layouts import Layout
from tests.matrix.shrinking import GPT, GPT_4K, MBR, Imaged
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import BTRFS, SWAP_SIZE, FileSystem

pytestmark = pytest.mark.root
_SIZE = 900 * MIB
_LESS = 560 * MIB
_FILLER = 300
"""MiB behind which the files come to lie, as a rule: where is for the kernel to say."""
_TRIES = 5
_MANY = dataclasses.replace(BTRFS, size=_SIZE)
_KILLS = 2
_LOW = random.Random(3).randbytes(MIB)
"""A file that lies before all others."""


def _fill(kind: FileSystem, place: Place, files: Path) -> None:
    """Subvolumes, a snapshot, and files of every way in which btrfs keeps data, all of them high up."""
    with attached(place) as loop:
        with mounted(kind.mount, loop) as folder:
            (folder / "low").write_bytes(_LOW)
            run("sync", "-f", folder)
            (folder / "filler").write_bytes(os.urandom(MIB) * _FILLER)
            run("sync", "-f", folder)
            for name in ("@", "@home"):
                said("btrfs", "subvolume", "create", folder / name)
                run("cp", "-r", files / "keep", folder / name)
            run("cp", "-r", files / "links", folder / "@")
            said("btrfs", "property", "set", folder / "@home", "compression", "zstd")
            (folder / "@home" / "packed").write_bytes(b"many of the same words " * 400_000)
            (folder / "@" / "plain").touch()
            run("chattr", "+C", folder / "@" / "plain")
            (folder / "@" / "plain").write_bytes(os.urandom(30 * MIB))
            run("fallocate", "-l", "20M", folder / "@home" / "reserved")
            run("sync", "-f", folder)
            said("btrfs", "subvolume", "snapshot", "-r", folder / "@home", folder / "@home then")
            (folder / "@" / "plain").write_bytes(os.urandom(10 * MIB))
            (folder / "filler").unlink()
            run("sync", "-f", folder)
        said("btrfs", "device", "scan", "--forget", loop)


@contextmanager
def _a_disk(folder: Path, layout: Layout, files: Path) -> Iterator[Imaged]:
    """A disk with such a btrfs, of which much lies behind where a smaller one ends."""
    for _ in range(_TRIES):
        folder.mkdir()
        found = shrinking.a_disk(folder, _MANY, layout, files, _fill)
        end = found.place.start + _SIZE - _LESS
        if found.captured.used.clipped(end, found.swap.start).total > 12 * MIB:
            break
        run("rm", "-r", folder)
    else:
        raise AssertionError("the kernel puts next to nothing behind the filler")
    yield found
    run("rm", "-r", folder)


@pytest.fixture(scope="module", params=[GPT, GPT_4K, MBR], ids=str)
def imaged(request: pytest.FixtureRequest, files: Path, shared_room: Path) -> Iterator[Imaged]:
    """btrfs in each kind of table."""
    with _a_disk(shared_room / f"shrinking-btrfs-{request.param}", request.param, files) as found:
        yield found


@pytest.fixture(scope="module")
def on_gpt(files: Path, shared_room: Path) -> Iterator[Imaged]:
    """btrfs on a GPT disk."""
    with _a_disk(shared_room / "shrinking-btrfs", GPT, files) as found:
        yield found


def _scrubbed(place: Place) -> None:
    """Every copy of every block, by the kernel: metadata are there twice, and a read alone takes either."""
    with attached(place, read_only=True) as loop:
        with mounted(BTRFS.mount_read_only, loop) as folder:
            found = said("btrfs", "scrub", "start", "-B", "-r", folder)
            assert "no errors found" in found, found
        said("btrfs", "device", "scan", "--forget", loop)


def test_a_restored_btrfs_has_every_copy_of_what_its_snapshots_hold(on_gpt: Imaged, room: Path) -> None:
    """partclone's map of it leaves out some of that."""
    target = blank(room / "target.img", on_gpt.size, fill=0xAA)
    assert run_rescue("restore", *images.words(on_gpt.captured, target)).events[-1]["status"] == 0
    place = on_gpt.place.on(target)
    with attached(place, read_only=True) as loop:
        said("btrfs", "check", "--readonly", "--check-data-csum", loop)
    _scrubbed(place)
    assert volumes.entries(BTRFS, place) == on_gpt.entries


def _expect_smaller(imaged: Imaged, target: Path) -> None:
    """As for every file system; of its data the checksums, too, and its subvolumes."""
    shrinking.expect_smaller(imaged, target)
    place, _ = imaged.smaller(target)
    with attached(place, read_only=True) as loop:
        said("btrfs", "check", "--readonly", "--check-data-csum", loop)
    _scrubbed(place)
    with target.open("rb") as file:
        file.seek(place.start + BTRFS_SUPER)
        block = file.read(4096)
    assert btrfs.parse_super(block).size == place.size // 4096 * 4096
    with volumes.opened(BTRFS, place) as folder:
        listed = said("btrfs", "subvolume", "list", folder)
        assert {line.rpartition(" path ")[2] for line in listed.splitlines()} == {"@", "@home", "@home then"}


def test_btrfs_is_made_smaller_with_all_its_subvolumes(imaged: Imaged, room: Path) -> None:
    target = blank(room / "target.img", imaged.needed - _LESS + 5 * imaged.layout.sector, fill=0xAA)
    place, swap = imaged.smaller(target)
    assert imaged.captured.used.clipped(place.start + place.size, imaged.swap.start).total > 8 * MIB
    library = {path: path.stat().st_mtime_ns for path in imaged.captured.library.rglob("*") if path.is_file()}
    before = digest(target)
    words = images.words(imaged.captured, target)
    plan = run_rescue("restore", *words, "--shrink", "--plan").json["targets"][0]["shrinkage"]
    assert digest(target) == before
    assert (plan["partition"], plan["kind"], plan["size"]) == (2, "btrfs", place.size)
    assert [(one["partition"], one["to"]) for one in plan["moved"]] == [(3, swap.start)]
    done = run_rescue("restore", *words, "--shrink").events[-1]
    assert done["status"] == 0
    assert done["result"]["smaller"] == [{"partition": "target.img:2", "before": _SIZE, "size": place.size}]
    _expect_smaller(imaged, target)
    again = run_rescue("restore", *words, "--shrink").events[-1]["result"]
    assert again["written_bytes"] < done["result"]["written_bytes"]
    _expect_smaller(imaged, target)
    assert {path: path.stat().st_mtime_ns for path in library} == library


def test_what_is_moved_takes_next_to_no_memory(on_gpt: Imaged, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are moved whole: what of them lies before the new end is known again, too."""
    plan = on_gpt.plan(blank(room / "target.img", on_gpt.needed - _LESS))
    (pair,) = plan.targets
    assert pair.shrinkage is not None
    monkeypatch.setattr(views, "_SERVER", "tests.matrix.poor_viewserver")
    monkeypatch.setenv("POOR_VIEW", str(6 * MIB))
    with smaller.shrunk(Path(plan.library), plan.image, pair.source, pair.shrinkage, threading.Event()) as found:
        assert found.changed.total > 12 * MIB


def test_a_log_that_waits_is_replayed_before_btrfs_is_made_smaller(on_gpt: Imaged, room: Path) -> None:
    copy = room / "copy.img"
    tools.copied(on_gpt.place.path, copy)
    place = on_gpt.place.on(copy)
    dirty = room / "dirty.img"
    with attached(place) as loop:
        with mounted(("mount", "-t", "btrfs", "-o", "commit=300"), loop) as folder:
            late = folder / "@" / "late"
            late.write_bytes(b"late" * 100_000)
            with late.open("rb") as file:
                os.fsync(file.fileno())
            run("sync", "-d", copy)
            tools.copied(copy, dirty)
        said("btrfs", "device", "scan", "--forget", loop)
    with dirty.open("rb") as file:
        file.seek(place.start + BTRFS_SUPER + 0x60)
        assert struct.unpack("<Q", file.read(8)) != (0,)
    captured = images.capture(dirty, room / "library")
    target = blank(room / "target.img", on_gpt.needed - _LESS, fill=0xAA)
    assert run_rescue("restore", *images.words(captured, target), "--shrink").events[-1]["status"] == 0
    small, _ = on_gpt.smaller(target)
    volumes.check(BTRFS, small)
    with volumes.opened(BTRFS, small) as folder:
        assert (folder / "@" / "late").read_bytes() == b"late" * 100_000


def _fill_much(kind: FileSystem, place: Place, files: Path) -> None:
    _fill(kind, place, files)
    with attached(place) as loop:
        with mounted(kind.mount, loop) as folder:
            (folder / "much").write_bytes(random.Random(5).randbytes(200 * MIB))
            run("sync", "-f", folder)
        said("btrfs", "device", "scan", "--forget", loop)


def test_a_disk_too_small_for_btrfs_is_refused_with_a_size_that_is_enough(files: Path, room: Path) -> None:
    """By what is used it might fit; what its chunks take has to be tried."""
    (room / "full").mkdir()
    full = shrinking.a_disk(room / "full", _MANY, GPT, files, _fill_much)
    target = blank(room / "target.img", full.place.start + SWAP_SIZE + 265 * MIB, fill=0xAA)
    told = shrinking.refused(full, target, "--shrink")
    assert told["code"] == "target-too-small"
    needed = int(told["message"].partition(" bytes) are needed")[0].rpartition("(")[2].replace(",", ""))
    assert target.stat().st_size < needed < target.stat().st_size + 200 * MIB
    enough = blank(room / "enough.img", needed, fill=0xAA)
    assert run_rescue("restore", *images.words(full.captured, enough), "--shrink").events[-1]["status"] == 0
    _expect_smaller(full, enough)


def test_no_btrfs_becomes_smaller_than_the_kernel_makes_one(on_gpt: Imaged, room: Path) -> None:
    target = blank(room / "target.img", on_gpt.place.start + SWAP_SIZE + 100 * MIB, fill=0xAA)
    assert shrinking.refused(on_gpt, target, "--shrink")["code"] == "target-too-small"


def test_btrfs_on_several_devices_is_refused(room: Path) -> None:
    path = partition(blank(room / "source.img", 903 * MIB), "label: gpt\nstart=1MiB, size=600MiB\nsize=300MiB\n")
    places = [Place(path=path, start=MIB, size=600 * MIB), Place(path=path, start=601 * MIB, size=300 * MIB)]
    with attached(places[0]) as first, attached(places[1]) as second:
        said("mkfs.btrfs", "-q", "-f", first, second)
        for loop in (first, second):
            said("btrfs", "device", "scan", "--forget", loop)
    captured = images.capture(path, room / "library")
    target = blank(room / "target.img", 700 * MIB, fill=0xAA)
    before = digest(target)
    words = (captured.image, target, "--library", captured.library, "--erase", target.name, "--json", "--shrink")
    error = run_rescue("restore", *words, status=3).events[-1]
    assert "it lies on several devices" in (error.get("error") or error)["message"]
    assert digest(target) == before


def test_damaged_data_of_a_btrfs_are_found_before_anything_is_written(on_gpt: Imaged, room: Path) -> None:
    """What lies before the new end is not moved, and proved all the same."""
    copy = room / "copy.img"
    tools.copied(on_gpt.place.path, copy)
    with copy.open("r+b") as file, mmap.mmap(file.fileno(), 0) as disk:
        at = disk.find(_LOW[:4096])
        assert on_gpt.place.start < at < on_gpt.place.start + 200 * MIB
        disk[at + 100 : at + 104] = b"evil"
    captured = images.capture(copy, room / "library")
    target = blank(room / "target.img", on_gpt.needed - _LESS, fill=0xAA)
    before = digest(target)
    job = finish(begin(_plan_of(captured, copy, target)))
    assert job.state is JobState.REFUSED
    assert job.finished is not None
    assert "btrfs check ended with status 1" in job.finished.message
    assert digest(target) == before


def _plan_of(captured: Captured, source: Path, target: Path) -> RestorePlan:
    image = Library.open(captured.library).image(captured.image)
    shown = inventory.look(str(target), [captured.library])
    return plan_restore(captured.library, image, {source.name: shown}, shrink=0)


def test_a_tool_that_fails_refuses_the_restore_and_the_target_stays_as_it_was(
    on_gpt: Imaged, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = blank(room / "target.img", on_gpt.needed - _LESS, fill=0xAA)
    plan, before = on_gpt.plan(target), digest(target)
    fake = room / "bin" / "btrfs"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho no luck\nexit 8\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    job = finish(begin(plan))
    assert job.state is JobState.REFUSED
    assert job.finished is not None
    assert "cannot be made smaller" in job.finished.message
    assert digest(target) == before


def test_a_view_that_has_too_little_memory_is_told_as_that(
    on_gpt: Imaged, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = on_gpt.plan(blank(room / "target.img", on_gpt.needed - _LESS))
    (pair,) = plan.targets
    assert pair.shrinkage is not None
    monkeypatch.setattr(views, "_SERVER", "tests.matrix.poor_viewserver")
    made = smaller.shrunk(Path(plan.library), plan.image, pair.source, pair.shrinkage, threading.Event())
    with pytest.raises(RefusedError, match="more memory than is free") as error, made:
        pass
    assert error.value.code == "no-space"


def test_a_copy_that_is_mounted_meanwhile_is_neither_taken_for_it_nor_changed(on_gpt: Imaged, room: Path) -> None:
    """As where the computer's own system, which is running, is restored onto another disk."""
    copy = room / "copy.img"
    tools.copied(on_gpt.place.path, copy)
    place = on_gpt.place.on(copy)
    target = blank(room / "target.img", on_gpt.needed - _LESS, fill=0xAA)
    with attached(place) as loop:
        with mounted(BTRFS.mount, loop) as folder:
            (folder / "newer").write_text("than the image")
            run("sync", "-f", folder)
            words = images.words(on_gpt.captured, target)
            assert run_rescue("restore", *words, "--shrink").events[-1]["status"] == 0
            assert (folder / "newer").read_text() == "than the image"
        said("btrfs", "device", "scan", "--forget", loop)
    assert "newer" in volumes.entries(BTRFS, place)
    volumes.check(BTRFS, place)
    _expect_smaller(on_gpt, target)


def test_a_restore_that_is_cancelled_while_btrfs_is_moved_stops(on_gpt: Imaged, room: Path) -> None:
    plan = on_gpt.plan(blank(room / "target.img", on_gpt.needed - _LESS))
    (pair,) = plan.targets
    assert pair.shrinkage is not None
    stopped = threading.Event()
    stopped.set()
    made = smaller.shrunk(Path(plan.library), plan.image, pair.source, pair.shrinkage, stopped)
    with pytest.raises(CancelledError), made:
        pass


def test_a_restore_that_is_killed_is_completed_by_the_next(on_gpt: Imaged, room: Path) -> None:
    target = blank(room / "target.img", on_gpt.needed - _LESS)
    shrinking.expect_completed_after_kills(on_gpt, target, _KILLS, 11, _expect_smaller)
