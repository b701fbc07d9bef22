"""Partitions restored alone, and partitions captured alone: nothing but what was chosen is touched."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from msgspec import structs

from imaging import inventory, jobs, planner, unfinished, window
from imaging.errors import IoError, RefusedError
from imaging.events import CaptureResult, Finished, RestoreResult
from imaging.library import Library
from imaging.manifest import Image
from imaging.partitions import plan_restore_partitions, plan_verify
from imaging.restoreplans import RestorePlan
from imaging.writer import Target
from tests.command import Outcome, run_rescue
from tests.disks import MIB, blank, detach, looped, partition, run
from tests.faults.killing import kill, kill_after, start, wait_for_step
from tests.faults.proof import extract
from tests.faults.world import Sample, capture_here, carry_out_here, mounted, restore_here, verify_here

Rescue = Callable[..., Outcome]
FILL = 0xAA
SIZE = 44 * MIB
START, ROOM = 5 * MIB + 7 * 512, 22 * MIB
"""The second partition of a target, off the 1 MiB grid, and larger than the image's second, which has 21 MiB."""
TABLE = f"label: gpt\nstart=1MiB, size=4MiB\nstart={START // 512}, size={ROOM // 512}\nstart=30MiB, size=12MiB\n"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A disk file full of 0xAA, of three partitions."""
    return partition(blank(tmp_path / "other.img", SIZE, FILL), TABLE)


def _plan(sample: Sample, target: Path | str, chosen: dict[int, int] | None = None) -> RestorePlan:
    shown = inventory.look(str(target), [sample.library])
    return plan_restore_partitions(sample.library, sample.image, sample.disk.name, shown, chosen or {2: 2})


def _outside(target: Path) -> str:
    data = memoryview(target.read_bytes())
    return blake3(data[:START]).update(data[START + ROOM :]).hexdigest()


def _holds_second(sample: Sample, target: Path) -> bool:
    """Whether the target's second partition is the source's, byte by byte; its rest but for the last MiB untouched."""
    second = sample.disk.read_bytes()[14 * MIB : 35 * MIB]
    return target.read_bytes()[START : START + 22 * MIB] == second + bytes(MIB)


def test_one_partition_is_restored_and_nothing_else_is_written(captured: Sample, target: Path, tmp_path: Path) -> None:
    outside = _outside(target)
    done = carry_out_here(_plan(captured, target), tmp_path / "job")
    assert isinstance(done.result, RestoreResult), done.message
    assert (done.result.tables, done.result.partitions) == (0, 1)
    assert _holds_second(captured, target)
    assert _outside(target) == outside
    before = target.stat().st_mtime_ns
    again = carry_out_here(_plan(captured, target), tmp_path / "again").result
    assert isinstance(again, RestoreResult)
    assert (again.written, again.partitions, target.stat().st_mtime_ns) == (0, 0, before)


def test_two_partitions_are_restored_in_one_job(captured: Sample, target: Path, tmp_path: Path) -> None:
    partition(target, "label: dos\nstart=65, size=30000\nstart=30100, size=50000\n")
    before = target.read_bytes()
    done = carry_out_here(_plan(captured, target, {2: 2, 1: 1}), tmp_path / "job")
    assert done.status == 0, done.message
    after, source = target.read_bytes(), captured.disk.read_bytes()
    first, second = 65 * 512, 30100 * 512
    assert after[:first] == before[:first]
    assert after[first : first + 13 * MIB] == source[MIB : 14 * MIB]
    assert after[second : second + 21 * MIB] == source[14 * MIB : 35 * MIB]
    assert after[first + 30000 * 512 : second] == before[first + 30000 * 512 : second]
    assert after[second + 50000 * 512 :] == before[second + 50000 * 512 :]


def test_partitions_smaller_than_their_ends_are_restored(tmp_path: Path) -> None:
    sectors = (1, 8, 200, 512, 600, 3000)
    source, other = blank(tmp_path / "small.img", 8 * MIB), blank(tmp_path / "large.img", 24 * MIB, FILL)
    for path, first, more in ((source, 2048, 0), (other, 2049, 7000)):
        lines, at = ["label: gpt", "unit: sectors"], first
        for size in sectors:
            lines.append(f"start={at}, size={size + more}")
            at += size + more + 3
        partition(path, "\n".join(lines) + "\n")
    with source.open("r+b") as file:
        file.seek(MIB)
        file.write(random.Random(1).randbytes(5 * MIB))
    done = capture_here(source, tmp_path / "library", tmp_path / "capture")
    assert isinstance(done.result, CaptureResult)
    sample = Sample(tmp_path / "library", done.result.image, source)
    before, data = other.read_bytes(), source.read_bytes()
    finished = carry_out_here(_plan(sample, other, {n: n for n in range(1, 7)}), tmp_path / "job")
    assert finished.status == 0, finished.message
    after = bytearray(other.read_bytes())
    places = inventory.look(str(other)).table.partitions
    for old, new in zip(inventory.look(str(source)).table.partitions, places, strict=True):
        assert after[new.start : new.start + old.size] == data[old.start : old.end]
        assert after[new.end - MIB : new.end] == bytes(MIB)
        after[new.start : new.end] = before[new.start : new.end]
    assert after == before


def test_a_volume_that_cuts_through_chunks_is_restored_byte_by_byte(
    sample: Sample, target: Path, tmp_path: Path
) -> None:
    start, size = 13 * MIB + 1536, 9 * MIB + 1024

    def change(image: dict[str, Any]) -> None:
        image["disks"][0]["volumes"][1] |= {"start": start, "size": size}

    sample.edit(change)
    outside = _outside(target)
    done = carry_out_here(_plan(sample, target), tmp_path / "job")
    assert done.status == 0, done.message
    assert target.read_bytes()[START : START + size] == sample.disk.read_bytes()[start : start + size]
    assert _outside(target) == outside


def test_a_killed_restore_of_a_partition_is_known_as_such_and_completed(
    captured: Sample, target: Path, tmp_path: Path, command: Rescue
) -> None:
    # One that a busy machine kills too late has ended, and is begun anew.
    for _ in range(20):
        partition(blank(target, SIZE, FILL), TABLE)
        outside = _outside(target)
        job = start(_plan(captured, target))
        wait_for_step(job, "Reading back")
        kill(job)
        if inventory.look(str(target)).table.partitions[1].unfinished:
            break
    assert "other.img:2 may be only partly restored, and then cannot be mounted" in job.died().state
    found = inventory.look(str(target))
    assert [part.unfinished for part in found.table.partitions] == ["", captured.image_id, ""]
    assert found.unfinished == ""
    assert found.table.partitions[1].content.kind == ""
    with target.open("rb") as file:
        file.seek(START + 512)
        assert file.read((128 << 10) - 512) == bytes((128 << 10) - 512)
        file.seek(START + 21 * MIB - (128 << 10))
        assert file.read((128 << 10) + MIB) == bytes((128 << 10) + MIB)
    assert "partition 2 is only partly restored" in planner.why_not_source(found)
    assert planner.why_not_source(found, None, [1, 3]) == ""
    words = ["restore", captured.image_id, target, "--library", captured.library, "--partition", 2, "--plan"]
    assert f"unfinished restore of {captured.image_id}" in command(*words).out
    done = carry_out_here(_plan(captured, target), tmp_path / "again")
    assert done.status == 0, done.message
    assert _holds_second(captured, target)
    assert _outside(target) == outside


def test_a_partition_whose_restore_is_killed_at_any_moment_is_never_half_a_file_system(
    captured: Sample, target: Path, tmp_path: Path
) -> None:
    outside, old = _outside(target), bytes([FILL]) * ROOM
    for moment in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2):
        job = start(_plan(captured, target))
        kill_after(job, moment)
        assert _outside(target) == outside
        if inventory.look(str(target)).table.partitions[1].unfinished:
            continue
        untouched = target.read_bytes()[START : START + ROOM] == old
        assert untouched or _holds_second(captured, target), "a file system's head without its body"
    assert carry_out_here(_plan(captured, target), tmp_path / "again").status == 0
    assert _holds_second(captured, target)
    assert _outside(target) == outside


def test_a_cancelled_restore_says_which_partition_is_not_whole(
    captured: Sample, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Target.write
    writes: list[int] = []

    def failing(self: Target, data: memoryview | bytes, offset: int) -> None:
        writes.append(offset)
        if len(writes) > 5:
            raise IoError("the disk is gone", code="write-failed")
        write(self, data, offset)

    monkeypatch.setattr(Target, "write", failing)
    done = carry_out_here(_plan(captured, target), tmp_path / "job")
    assert done.code == "write-failed"
    assert "other.img:2 is only partly restored and cannot be mounted" in done.state
    assert writes[0] == START
    assert all(START <= offset < START + ROOM for offset in writes)


def _swap(target: Path, at: int) -> None:
    """The start of an old swap area: something that a probe sees."""
    swap = bytearray(4096)
    swap[1024:1032] = (1).to_bytes(4, "little") + (1000).to_bytes(4, "little")
    swap[-10:] = b"SWAPSPACE2"
    with target.open("r+b") as file:
        file.seek(at)
        file.write(swap)


def _other_table(target: Path) -> None:
    partition(target, TABLE.replace("size=12MiB", "size=11MiB"))


@pytest.mark.parametrize("change", [lambda t: _swap(t, START), lambda t: _swap(t, 30 * MIB), _other_table])
def test_a_disk_that_changed_since_the_plan_is_not_written_to(
    captured: Sample, target: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    plan = _plan(captured, target)
    change(target)
    before = target.read_bytes()
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "disk-changed")
    assert target.read_bytes() == before


def test_a_plan_whose_place_was_forged_is_refused(captured: Sample, target: Path, tmp_path: Path) -> None:
    plan = _plan(captured, target)
    (pair,) = plan.targets
    spot = structs.replace(pair.partitions[0], start=MIB, size=ROOM)
    forged = structs.replace(plan, targets=(structs.replace(pair, partitions=(spot,)),))
    before = target.read_bytes()
    done = carry_out_here(forged, tmp_path / "job")
    assert (done.status, done.code) == (3, "disk-changed")
    assert target.read_bytes() == before


def test_a_window_reaches_nothing_outside_of_its_partition(captured: Sample, target: Path) -> None:
    (pair,) = _plan(captured, target).targets
    before = target.read_bytes()
    with window.opened(pair) as (only,):
        origin = 14 * MIB
        for offset, length in ((origin - 1, 1), (origin - 1, 2), (origin + ROOM, 1), (origin + ROOM - 1, 2), (0, 512)):
            with pytest.raises(IoError, match="not in partition 2"):
                only.write(bytes(length), offset)
            with pytest.raises(IoError, match="not in partition 2"):
                only.read(memoryview(bytearray(length)), offset)
        assert target.read_bytes() == before
        only.write(b"x" * 512, origin + ROOM - 512)
    assert target.read_bytes()[START + ROOM - 512 :][:513] == b"x" * 512 + before[START + ROOM : START + ROOM + 1]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--partition", "2", "--erase", "other.img"], "not-confirmed", "names none of the targets: other.img:2"),
        (["--partition", "2", "--erase", "other.img2"], "not-confirmed", "names none of the targets"),
        (["--erase", "other.img:2"], "not-confirmed", "names none of the targets: other.img"),
        (["--partition", "2"], "not-confirmed", "erasing other.img:2 was not confirmed"),
        (["--partition", "1", "--partition", "2:3", "--erase", "other.img:3"], "target-too-small", "4.2 MB"),
        (["--partition", "1:3"], "target-too-small", "13,631,488 bytes"),
    ],
)
def test_what_is_not_named_or_does_not_fit_is_not_erased(
    command: Rescue, captured: Sample, target: Path, options: list[str], code: str, words: str
) -> None:
    before = target.read_bytes()
    done = command("restore", captured.image_id, target, "--library", captured.library, *options, "--json", status=3)
    assert done.json["error"]["code"] == code
    assert words in done.json["error"]["message"]
    assert target.read_bytes() == before
    assert not jobs.jobs()


def test_partitions_that_make_no_sense_are_told(command: Rescue, captured: Sample, target: Path) -> None:
    words = ["restore", captured.image_id, target, "--library", captured.library, "--json"]
    nonsense = ("x", "1:", ":1", "1:2:3", "9", "1:9", "-1", "1 1:2", "1:2 2:2", "1" * 30)
    for options in nonsense:
        command(*words, *(f"--partition={word}" for word in options.split()), status=2)


@pytest.fixture
def partial(captured: Sample, tmp_path: Path) -> Sample:
    """An image of the second partition alone."""
    disk, library = inventory.look(str(captured.disk)), tmp_path / "partial"
    result = carry_out_here(planner.plan_capture([disk], library, only={disk.path: [2]}), tmp_path / "capture").result
    assert isinstance(result, CaptureResult)
    return Sample(library, result.image, captured.disk)


def test_an_image_of_one_partition_says_what_it_leaves_out(partial: Sample, command: Rescue) -> None:
    image: Image = Library.open(partial.library).image(partial.image_id)
    assert [volume.number for volume in image.disks[0].volumes] == [2]
    assert [part.number for part in image.disks[0].left_out] == [1]
    assert image.used < 22 * MIB + 4 * MIB
    assert "partition 2 only" in command("images", "--library", partial.library).out
    assert "left out" in command("show", image.id, "--library", partial.library).out


def test_casync_extracts_an_image_of_one_partition(partial: Sample, tmp_path: Path) -> None:
    out = extract(partial.library, partial.image_id, partial.disk.name, tmp_path / "out.img").read_bytes()
    source = partial.disk.read_bytes()
    assert out[14 * MIB : 35 * MIB] == source[14 * MIB : 35 * MIB]
    assert out[MIB : 14 * MIB] == bytes(13 * MIB)
    assert out[:MIB] == source[:MIB]


def test_a_whole_disk_takes_back_one_partition_and_keeps_the_other(partial: Sample, tmp_path: Path) -> None:
    source = partial.disk.read_bytes()
    target = tmp_path / "same.img"
    target.write_bytes(source[: 14 * MIB] + bytes([FILL]) * (len(source) - 14 * MIB))
    partition(target, "label: gpt\nstart=1MiB, size=13MiB\nstart=14MiB, size=21MiB\n")
    done = restore_here(partial, target, tmp_path / "job")
    assert done.status == 0, done.message
    assert target.read_bytes()[: 35 * MIB] == source[: 35 * MIB]
    assert verify_here(partial, tmp_path / "verify", against=target).status == 0


def test_a_larger_disk_keeps_the_last_bytes_of_a_partition_that_is_left_out(tmp_path: Path, rescue: Rescue) -> None:
    table = "label: dos\nstart=1MiB, size=2MiB\nstart=3MiB, size=5MiB\n"
    disk = partition(blank(tmp_path / "a.img", 8 * MIB, FILL), table)
    rescue("capture", disk, "--partition", 1, "--library", tmp_path / "lib")
    (image,) = Library.open(tmp_path / "lib").images().images
    target = partition(blank(tmp_path / "b.img", 8 * MIB + 4096, 0x55), table)
    done = restore_here(Sample(tmp_path / "lib", image.id, disk), target, tmp_path / "job")
    assert done.status == 0, done.message
    assert target.read_bytes()[3 * MIB : 8 * MIB] == bytes([0x55]) * (5 * MIB)


def test_a_partition_of_an_image_of_one_goes_elsewhere_and_another_is_refused(
    partial: Sample, target: Path, rescue: Rescue, command: Rescue, tmp_path: Path
) -> None:
    words = ["restore", partial.image_id, target, "--library", partial.library, "--json", "--partition"]
    rescue(*words, 2, "--erase", "other.img:2")
    assert _holds_second(partial, target)
    assert _compared(partial, target, tmp_path / "same") == 0
    for at in (START + 5 * MIB, START + 600):
        with target.open("r+b") as file:
            file.seek(at)
            file.write(b"other")
        assert _compared(partial, target, tmp_path / f"other{at}") == 7
        carry_out_here(_plan(partial, target), tmp_path / f"again{at}")
    assert _compared(partial, target, tmp_path / "again") == 0
    error = command(*words, "1:2", "--erase", "other.img:2", status=2).json["error"]
    assert "was left out of the image" in error["message"]


def _compared(sample: Sample, target: Path, folder: Path) -> int:
    """The status of a comparison of the second partitions."""
    shown = inventory.look(str(target))
    return carry_out_here(plan_verify(sample.library, sample.image, against=shown, chosen={2: 2}), folder).status


@contextmanager
def _with_nodes(path: Path) -> Iterator[str]:
    """A loop device whose partitions have devices of their own, as the kernel makes them for disks."""
    loop = run("losetup", "--find", "--show", "--partscan", path).strip()
    try:
        for part in inventory.look(loop).table.partitions:
            if not Path(f"{loop}p{part.number}").exists():
                run("addpart", loop, part.number, part.start // 512, part.size // 512)
        yield loop
    finally:
        detach(loop)


@pytest.mark.root
def test_a_partition_is_restored_beside_one_that_is_mounted(captured: Sample, target: Path, tmp_path: Path) -> None:
    outside = _outside(target)
    with _with_nodes(target) as loop:
        plan = _plan(captured, loop)
        assert plan.targets[0].names == (f"{Path(loop).name}p2",)
        run("mkfs.ext4", "-q", "-F", f"{loop}p3")
        made = _outside(target)
        with mounted(f"{loop}p3", tmp_path / "mnt", "-o", "ro,noload"):
            done = _beside(captured, loop, tmp_path)
        run("blockdev", "--flushbufs", loop)
    assert done.status == 0, done.message
    assert _holds_second(captured, target)
    assert _outside(target) == made != outside


def _beside(captured: Sample, loop: str, tmp_path: Path) -> Finished:
    """Restore while another partition is mounted; the whole disk and the mounted partition are refused."""
    shown = inventory.look(loop, [captured.library])
    assert "is mounted at" in planner.why_not_target(shown, captured.imaged)
    with pytest.raises(RefusedError) as error:
        _plan(captured, loop, {1: 3})
    assert error.value.code == "in-use"
    return carry_out_here(_plan(captured, loop), tmp_path / "job")


@pytest.mark.root
def test_a_partition_that_is_held_is_refused_when_it_is_opened(captured: Sample, target: Path, tmp_path: Path) -> None:
    with _with_nodes(target) as loop:
        plan = _plan(captured, loop)
        before = target.read_bytes()
        with _held(f"{loop}p3"), window.opened(plan.targets[0]) as (only,):
            assert only.path == f"{loop}p2"
        for node in (f"{loop}p2", loop):
            with _held(node), pytest.raises(RefusedError) as error, window.opened(plan.targets[0]):
                pass
            assert error.value.code == "in-use"
        with looped(Path(f"{loop}p2")):
            done = carry_out_here(plan, tmp_path / "job")
        assert (done.status, done.code) == (3, "in-use")
        assert target.read_bytes() == before


@pytest.mark.root
def test_what_was_written_to_a_partition_is_seen_on_its_disk_at_once(target: Path, tmp_path: Path) -> None:
    with _with_nodes(target) as loop:
        run("mkfs.ext4", "-q", "-F", f"{loop}p3")
        with mounted(f"{loop}p3", tmp_path / "mnt", "-o", "ro,noload"):
            assert inventory.look(loop).table.partitions[1].unfinished == ""
            with Path(f"{loop}p2").open("r+b", buffering=0) as node:
                node.write(unfinished.render("20260101-000000-abcd"))
                os.fsync(node.fileno())
            assert inventory.look(loop).table.partitions[1].unfinished == "20260101-000000-abcd"


@contextmanager
def _held(node: str) -> Iterator[None]:
    """As a file system of several devices, or a RAID, holds a device."""
    fd = os.open(node, os.O_RDONLY | os.O_EXCL)
    try:
        yield
    finally:
        os.close(fd)


@pytest.mark.root
def test_a_partition_that_the_kernel_has_elsewhere_is_refused(captured: Sample, target: Path, tmp_path: Path) -> None:
    with _with_nodes(target) as loop:
        run("delpart", loop, 2)
        run("addpart", loop, 2, START // 512 + 8, ROOM // 512 - 8)
        before = target.read_bytes()
        done = carry_out_here(_plan(captured, loop), tmp_path / "job")
        assert (done.status, done.code) == (3, "disk-changed")
        assert "older table" in done.hint
        assert target.read_bytes() == before


@pytest.mark.parametrize("larger", [0, 4 * MIB])
def test_a_partition_that_is_kept_up_to_the_disks_last_byte_loses_none(tmp_path: Path, larger: int) -> None:
    size = 24 * MIB
    disk = partition(blank(tmp_path / "pc.img", size), "label: dos\nstart=1, size=8191\nstart=8192, size=40960\n")
    with disk.open("r+b") as file:
        file.seek(512)
        file.write(b"\x11" * (8191 * 512))
        file.write(b"\x55" * (40960 * 512))
    library = tmp_path / "library"
    for chosen, kept in ((1, 2), (2, 1)):
        words = ("capture", disk, "--library", library, "--partition", chosen, "--json")
        image = run_rescue(*words).events[-1]["result"]["image"]
        target = tmp_path / f"target{chosen}.img"
        target.write_bytes(disk.read_bytes())
        with target.open("r+b") as file:
            file.truncate(size + larger)
            starts = {1: (512, 8191 * 512), 2: (8192 * 512, 40960 * 512)}
            file.seek(starts[chosen][0] + 4096)
            file.write(b"damaged")
            file.seek(starts[kept][0])
            file.write(b"\x77" * starts[kept][1])
        run_rescue("restore", image, target, "--library", library, "--erase", target.name, "--json")
        found = target.read_bytes()
        start, length = starts[kept]
        assert found[start : start + length] == b"\x77" * length
        start, length = starts[chosen]
        assert found[start : start + length] == disk.read_bytes()[start : start + length]
