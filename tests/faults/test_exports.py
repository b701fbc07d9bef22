"""A disk of an image as one file for other programs: equal to the disk, and there whole or not at all."""

import errno
import os
import shutil
import struct
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from imaging.events import ExportResult
from imaging.export import seek_table
from imaging.imageplans import ExportFormat, ExportPlan
from imaging.jobs import JobState
from imaging.library import Library
from tests.command import Outcome
from tests.disks import run
from tests.faults.killing import finish, kill, start, wait_for_step
from tests.faults.world import (
    Sample,
    capture_here,
    carry_out_here,
    chunk_path,
    holds_used_bytes,
    restore_here,
    wide_disk,
)

VIRTUAL = (ExportFormat.QCOW2, ExportFormat.VMDK, ExportFormat.VHDX, ExportFormat.VDI)


def plan_for(sample: Sample, target: Path, kind: ExportFormat) -> ExportPlan:
    return ExportPlan(library=str(sample.library), image=sample.image_id, target=str(target), format=kind)


def exported(sample: Sample, target: Path, kind: ExportFormat, folder: Path) -> Path:
    done = carry_out_here(plan_for(sample, target, kind), folder)
    assert done.status == 0, done
    assert isinstance(done.result, ExportResult)
    assert done.result.size == target.stat().st_blocks * 512
    return target


def zeroed(sample: Sample, folder: Path) -> Path:
    """The disk as casync would extract it: what is unused is zero."""
    target = folder / "reference.img"
    run("casync", "extract", f"--store={sample.library / 'chunks'}", sample.part("caibx"), target)
    return target


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


def test_raw_and_zst_are_the_disk_with_zeros_where_nothing_is_used(captured: Sample, tmp_path: Path) -> None:
    reference = zeroed(captured, tmp_path)
    raw = exported(captured, tmp_path / "disk.raw", ExportFormat.RAW, tmp_path / "raw")
    assert same(raw, reference)
    assert holds_used_bytes(captured, raw)
    packed = exported(captured, tmp_path / "disk.raw.zst", ExportFormat.ZSTD, tmp_path / "zst")
    run("zstd", "-d", "-q", packed, "-o", tmp_path / "unpacked.img")
    assert same(tmp_path / "unpacked.img", reference)


def test_one_chunk_is_found_by_the_seek_table_alone(captured: Sample, tmp_path: Path) -> None:
    data = exported(captured, tmp_path / "disk.raw.zst", ExportFormat.ZSTD, tmp_path / "zst").read_bytes()
    frames, descriptor, magic = struct.unpack("<IBI", data[-9:])
    assert (frames, descriptor, magic) == (len(captured.index), 0, 0x8F92EAB1)
    table = data[-9 - 8 * frames : -9]
    at, plain = 0, 0
    wanted = next(i for i in range(frames) if captured.index.start(i) > 4 << 20)
    for i in range(wanted):
        packed, size = struct.unpack_from("<II", table, 8 * i)
        at, plain = at + packed, plain + size
    packed, size = struct.unpack_from("<II", table, 8 * wanted)
    assert plain == captured.index.start(wanted)
    chunk = zstandard.ZstdDecompressor().decompress(data[at : at + packed], max_output_size=size)
    reference = zeroed(captured, tmp_path).read_bytes()
    assert chunk == reference[plain : plain + size]


def test_an_empty_seek_table_is_a_frame_that_is_passed_over() -> None:
    table = seek_table(array("I"))
    assert table == struct.pack("<II", 0x184D2A5E, 9) + struct.pack("<IBI", 0, 0, 0x8F92EAB1)


@pytest.mark.root
@pytest.mark.parametrize("kind", VIRTUAL)
def test_a_virtual_machines_disk_holds_the_same(kind: ExportFormat, captured: Sample, tmp_path: Path) -> None:
    made = exported(captured, tmp_path / f"disk.{kind}", kind, tmp_path / "job")
    said = run("qemu-img", "compare", "-f", kind, "-F", "raw", made, zeroed(captured, tmp_path))
    assert "identical" in said
    assert f"file format: {kind}" in run("qemu-img", "info", made)


@pytest.mark.root
@pytest.mark.parametrize("kind", [ExportFormat.RAW, ExportFormat.ZSTD, ExportFormat.QCOW2])
def test_a_corrupt_chunk_leaves_no_file(kind: ExportFormat, captured: Sample, tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(captured.library, library)
    sample = Sample(library, captured.image_id, captured.disk)
    frames = [chunk_path(library, sample.index.id(i)) for i in range(len(sample.index))]
    largest = max(frames, key=lambda frame: frame.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    done = carry_out_here(plan_for(sample, tmp_path / "out", kind), tmp_path / "job")
    assert (done.status, done.code) == (4, "corrupt-chunk"), done
    assert not list(tmp_path.glob("*out*"))


def test_a_file_that_is_there_is_not_touched(captured: Sample, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("mine", "link"):
        done = carry_out_here(plan_for(captured, tmp_path / name, ExportFormat.RAW), tmp_path / f"job-{name}")
        assert (done.status, done.code) == (3, "exists")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("links", [True, False], ids=["ext4", "FAT"])
def test_a_file_that_came_meanwhile_is_not_replaced(
    links: bool, captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, link = tmp_path / "disk.raw", os.link

    def late(made: Path, path: Path) -> None:
        path.write_text("mine")
        if not links:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        link(made, path)

    monkeypatch.setattr(os, "link", late)
    done = carry_out_here(plan_for(captured, target, ExportFormat.RAW), tmp_path / "job")
    assert (done.status, done.code) == (3, "exists")
    assert target.read_text() == "mine"
    assert not list(tmp_path.glob(".disk.raw*"))


def test_a_disk_that_is_not_in_the_image_is_named(captured: Sample, tmp_path: Path) -> None:
    plan = ExportPlan(
        library=str(captured.library), image=captured.image_id, target=str(tmp_path / "x"), format=ExportFormat.RAW,
        disk="sdz",
    )  # fmt: skip
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (4, "no-such-disk")


def test_another_export_to_the_same_file_is_neither_taken_for_ones_own_nor_removed(
    captured: Sample, tmp_path: Path
) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    others = [tmp_path / f".out.{boot}-{os.getppid()}.part", tmp_path / ".out.0123abcd-7.part"]
    dead = tmp_path / f".out.{boot}-{2**22 + 1}.part"
    for path in (*others, dead):
        path.write_text("half")
    assert holds_used_bytes(captured, exported(captured, tmp_path / "out", ExportFormat.RAW, tmp_path / "job"))
    assert sorted(tmp_path.glob(".out*")) == sorted(others)
    assert [path.read_text() for path in others] == ["half", "half"]
    # Of another machine's nothing is known but that it was not written to for a day.
    os.utime(others[1], (0, 0))
    (tmp_path / "out").unlink()
    exported(captured, tmp_path / "out", ExportFormat.RAW, tmp_path / "again")
    assert list(tmp_path.glob(".out*")) == others[:1]


@pytest.mark.parametrize("kind", [ExportFormat.RAW, ExportFormat.ZSTD])
def test_one_that_was_killed_is_no_file_and_the_next_is_whole(kind: ExportFormat, tmp_path: Path) -> None:
    disk = wide_disk(tmp_path / "pc.img", 60)
    assert capture_here(disk, tmp_path / "library", tmp_path / "capture").status == 0
    image = Library.open(tmp_path / "library").images().images[0].id
    sample = Sample(tmp_path / "library", image, disk)
    plan = plan_for(sample, tmp_path / "out", kind)
    job = start(plan)
    wait_for_step(job, "Writing pc.img")
    kill(job)
    assert not (tmp_path / "out").exists() or job.state is JobState.DONE
    if not (tmp_path / "out").exists():
        assert finish(start(plan)).state is JobState.DONE
    assert not list(tmp_path.glob(".out*"))
    if kind is ExportFormat.ZSTD:
        run("zstd", "-d", "-q", tmp_path / "out", "-o", tmp_path / "out.raw")
    assert holds_used_bytes(sample, tmp_path / ("out.raw" if kind is ExportFormat.ZSTD else "out"))


def test_the_command_knows_the_format_by_the_name(
    captured: Sample, tmp_path: Path, rescue: Callable[..., Outcome]
) -> None:
    library = ["--library", captured.library]
    assert "was written" in rescue("export", captured.image_id, tmp_path / "disk.img", *library).out
    assert "does not say" in rescue("export", captured.image_id, tmp_path / "disk", *library, status=2).err
    rescue("export", captured.image_id, tmp_path / "disk", "--as", "raw", *library)
    assert same(tmp_path / "disk", tmp_path / "disk.img")
    restored = Sample(captured.library, captured.image_id, captured.disk)
    assert restore_here(restored, tmp_path / "disk", tmp_path / "job").status == 0
    assert (tmp_path / "disk").stat().st_size == captured.disk.stat().st_size
