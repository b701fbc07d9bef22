"""Targets that must not be written to, and targets that are no longer what was shown."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imaging import capture, inventory, jobs, marks, media, planner, writer
from imaging.blockdev import opened
from imaging.disk import Disk, DiskId, Mount, PartitionTable, Role, TableKind
from imaging.errors import RefusedError
from imaging.events import Finished
from imaging.jobs import JobState
from imaging.library import DiskFiles
from imaging.restoreplans import RestorePlan
from tests.command import Outcome, run_rescue
from tests.disks import MIB, blank, looped, run
from tests.faults.world import DISK_SIZE, Sample, carry_out_here, images_of, mounted, sample_disk, until

Rescue = Callable[..., Outcome]
FREE = Disk(
    path="/dev/sdz",
    id=DiskId(size=DISK_SIZE, model="Some Disk", serial="S1"),
    table=PartitionTable(kind=TableKind.NONE),
    fingerprint="00",
)


def _refused(sample: Sample, target: str | Path) -> tuple[str, str]:
    """The code and the message with which the command refuses a target, and the target is as it was."""
    before = Path(target).read_bytes() if Path(target).is_file() else b""
    name = Path(target).name
    words = ["restore", sample.image_id, target, "--erase", name, "--library", sample.library, "--json"]
    done = run_rescue(*words, status=3)
    last = done.events[-1]
    told = last["error"] if last["event"] == "error" else last
    assert name in told["message"]
    if before:
        assert Path(target).read_bytes() == before
    return told["code"], told["message"]


def _plan(sample: Sample, target: Path | str) -> RestorePlan:
    shown = inventory.look(str(target), [sample.library])
    return planner.plan_restore(sample.library, sample.image, {sample.disk.name: shown})


def test_a_target_that_is_too_small_is_refused_with_both_sizes(captured: Sample, tmp_path: Path) -> None:
    code, message = _refused(captured, blank(tmp_path / "small.img", 20 * MIB))
    assert code == "target-too-small"
    assert f"({35 * MIB + 33 * 512:,} bytes) are needed" in message
    assert f"({20 * MIB:,} bytes)" in message


def test_a_target_one_sector_too_small_is_refused_and_the_least_one_works(captured: Sample, tmp_path: Path) -> None:
    least = planner.needed_size(captured.imaged)
    with pytest.raises(RefusedError, match=f"{least:,} bytes.*{least - 512:,} bytes"):
        _plan(captured, blank(tmp_path / "small.img", least - 512))
    target = blank(tmp_path / "least.img", least, fill=0xAA)
    assert carry_out_here(_plan(captured, target), tmp_path / "job").status == 0
    with target.open("rb") as file:
        assert file.read(34 * MIB)[MIB:] == captured.disk.read_bytes()[MIB : 34 * MIB]
    assert "No errors detected" in run("sfdisk", "--verify", target)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"roles": (Role.BOOT_MEDIUM,)}, "protected-disk", "this computer was started from it"),
        ({"roles": (Role.SYSTEM,)}, "protected-disk", "the running system stands on it"),
        ({"roles": (Role.LIBRARY,)}, "protected-disk", "it holds the image library"),
        ({"mounts": (Mount(source="/dev/sdz1", where="/mnt"),)}, "in-use", "/dev/sdz1 is mounted at /mnt"),
        ({"mounts": (Mount(source="/dev/sdz1", where="/mnt", read_only=True),)}, "in-use", "mounted at /mnt"),
        ({"mounts": (Mount(source="/dev/sdz2", where="[swap]"),)}, "in-use", "/dev/sdz2 is swap space"),
        ({"holders": ("dm-0", "md1")}, "in-use", "dm-0, md1"),
        ({"read_only": True}, "target-read-only", "read-only"),
        ({"fingerprint": "", "problem": "reading at byte 0 failed"}, "refused", "reading at byte 0 failed"),
        ({"fingerprint": ""}, "refused", "cannot be read"),
        ({"id": DiskId(size=5 * MIB)}, "target-too-small", f"{5 * MIB:,} bytes"),
    ],
)
def test_the_planner_refuses(captured: Sample, change: dict[str, object], code: str, words: str) -> None:
    disk = replace(FREE, **change)  # type: ignore[arg-type]
    with pytest.raises(RefusedError) as caught:
        planner.plan_restore(captured.library, captured.image, {captured.disk.name: disk})
    assert caught.value.code == code
    assert words in caught.value.message
    assert "sdz" in caught.value.message
    assert caught.value.hint
    planner.plan_restore(captured.library, captured.image, {captured.disk.name: FREE})


def test_a_file_in_the_library_is_no_target(rescue: Rescue, sample: Sample) -> None:
    code, message = _refused(sample, blank(sample.library / "target.img", DISK_SIZE))
    assert (code, "lies in the image library" in message) == ("refused", True)
    words = ["restore", sample.image_id, sample.library / "chunks" / "new.img", "--library", sample.library, "--json"]
    assert "lies in the image library" in rescue(*words, status=3).json["error"]["message"]
    assert not (sample.library / "chunks" / "new.img").exists()


def test_the_disk_of_the_running_system_is_no_target(captured: Sample) -> None:
    system = [disk for disk in inventory.scan() if Role.SYSTEM in disk.roles]
    if not system:
        pytest.skip("the running system stands on no disk that can be seen")
    for disk in system:
        with pytest.raises(RefusedError, match="the running system stands on it"):
            planner.plan_restore(captured.library, captured.image, {captured.disk.name: disk})


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A loop device over a file with an ext4 on it, as large as the captured disk."""
    with looped(blank(tmp_path / "backing.img", DISK_SIZE)) as device:
        run("mkfs.ext4", "-q", device)
        yield device


@pytest.mark.root
def test_a_disk_is_not_captured_into_a_library_in_a_file_that_lies_on_it(tmp_path: Path, loop: str) -> None:
    with mounted(loop, tmp_path / "mnt"):
        inner = blank(tmp_path / "mnt/inner.img", 2 * MIB)
        run("mkfs.ext4", "-q", "-O", "^has_journal", inner)
        with looped(inner) as within, mounted(within, tmp_path / "within", "-o", "ro"):
            library = tmp_path / "within/library"
            with pytest.raises(RefusedError, match="holds the image library that it would be captured into"):
                planner.plan_capture([inventory.look(loop, [library])], library)


@pytest.mark.root
def test_a_mounted_disk_and_the_file_beneath_it_are_refused(captured: Sample, tmp_path: Path, loop: str) -> None:
    os.link(tmp_path / "backing.img", tmp_path / "alias.img")
    with mounted(loop, tmp_path / "mnt", "-o", "ro"):  # else the kernel may write to it in its own time
        code, message = _refused(captured, loop)
        assert (code, f"{loop} is mounted at {tmp_path / 'mnt'}" in message) == ("in-use", True)
        for name in ("backing.img", "alias.img"):
            code, message = _refused(captured, tmp_path / name)
            assert (code, "in use" in message) == ("in-use", True)


@pytest.mark.root
def test_a_disk_mounted_after_the_plan_was_shown_is_refused(captured: Sample, tmp_path: Path, loop: str) -> None:
    plans = [_plan(captured, loop), _plan_of_free_file(captured, tmp_path / "backing.img")]
    with mounted(loop, tmp_path / "mnt"):
        for plan in plans:
            done = carry_out_here(plan, tmp_path / "job")
            assert done.status == 3
            assert done.code in ("in-use", "disk-changed")
    run("fsck.ext4", "-fn", loop)


def _plan_of_free_file(sample: Sample, path: Path) -> RestorePlan:
    shown = replace(inventory.look(str(path)), holders=(), mounts=())
    return planner.plan_restore(sample.library, sample.image, {sample.disk.name: shown})


@pytest.mark.root
def test_a_disk_that_another_device_stands_on_is_refused(captured: Sample, loop: str) -> None:
    with looped(Path(loop)) as upper:
        code, message = _refused(captured, loop)
        assert (code, upper.removeprefix("/dev/") in message) == ("in-use", True)


@pytest.mark.root
def test_a_disk_that_a_program_holds_is_refused(captured: Sample, loop: str) -> None:
    fd = os.open(loop, os.O_RDWR | os.O_EXCL)
    try:
        assert _refused(captured, loop)[0] == "in-use"
    finally:
        os.close(fd)


@pytest.mark.root
def test_every_disk_of_a_mounted_btrfs_is_refused(captured: Sample, tmp_path: Path) -> None:
    files = [blank(tmp_path / f"{name}.img", 128 * MIB) for name in ("one", "two")]
    with looped(files[0]) as one, looped(files[1]) as two:
        run("mkfs.btrfs", "-q", one, two)
        assert (inventory.look(one).holders, inventory.look(two).holders) == ((), ())
        with mounted(one, tmp_path / "mnt", "-o", f"device={one},device={two}"):
            for loop in (one, two):
                code, message = _refused(captured, loop)
                assert (code, f"is mounted at {tmp_path / 'mnt'}" in message) == ("in-use", True)
                assert f"{tmp_path / 'mnt'}" in planner.why_not_source(inventory.look(loop))
        run("btrfs", "device", "scan", "--forget")
        assert planner.why_not_source(inventory.look(two)) == ""


@pytest.mark.root
def test_looking_at_a_disk_adds_nothing_to_what_is_known_of_its_use(tmp_path: Path, loop: str) -> None:
    with mounted(loop, tmp_path / "mnt", "-o", "ro"):
        assert (inventory.look(loop).holders, len(inventory.look(loop).mounts)) == ((), 1)
    with writer.opened(loop, regular_file=False):
        assert inventory.look(loop).holders == ("another user of the device",)


@pytest.mark.root
def test_a_file_system_that_is_writable_elsewhere_is_not_read_only(
    tmp_path: Path, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "_NOT_MEDIA", ("/proc", "/sys"))
    with mounted(loop, tmp_path / "mnt"), mounted(str(tmp_path / "mnt"), tmp_path / "bound", "--bind"):
        run("mount", "-o", "remount,bind,ro", tmp_path / "bound")
        assert [mount.read_only for mount in inventory.look(loop).mounts] == [False, False]
        offered = media.mounted(writable=True)
        assert (tmp_path / "mnt" in offered, tmp_path / "bound" in offered) == (True, False)
    with mounted(loop, tmp_path / "mnt", "-o", "ro"):
        assert [mount.read_only for mount in inventory.look(loop).mounts] == [True]


_LIKE_QEMU = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, 100, 2, 0))
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def _locked_by_another(path: Path) -> Iterator[None]:
    """While another process holds two of the file's bytes, as a virtual machine does."""
    words = [sys.executable, "-c", _LIKE_QEMU, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield
        child.communicate()


def test_a_disk_file_that_a_virtual_machine_uses_is_refused(captured: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE)
    plan = _plan(captured, target)
    with _locked_by_another(target):
        code, message = _refused(captured, target)
        assert (code, "in use by another program" in message) == ("in-use", True)
        assert carry_out_here(plan, tmp_path / "job").code == "in-use"
        with (
            pytest.raises(RefusedError, match="in use by another program"),
            writer.opened(str(target), regular_file=True),
        ):
            pass
    assert carry_out_here(plan, tmp_path / "again").status == 0


@pytest.mark.root
def test_a_read_only_disk_is_refused(captured: Sample, tmp_path: Path) -> None:
    backing = blank(tmp_path / "backing.img", DISK_SIZE)
    device = run("losetup", "--find", "--show", "--read-only", backing).strip()
    try:
        assert _refused(captured, device)[0] == "target-read-only"
    finally:
        run("losetup", "--detach", device)


@pytest.mark.root
def test_the_librarys_own_disk_is_refused(captured: Sample, tmp_path: Path, loop: str) -> None:
    with mounted(loop, tmp_path / "mnt"):
        sample = captured.copy(tmp_path / "mnt" / "library")
    with mounted(loop, tmp_path / "mnt", "-o", "ro"):
        code, message = _refused(sample, loop)
        assert (code, "it holds the image library" in message) == ("protected-disk", True)
        assert _refused(sample, tmp_path / "backing.img")[0] == "in-use"


def _ends(plan: RestorePlan) -> Finished:
    job = jobs.submit(plan)
    until(lambda: job.state not in (JobState.RUNNING, JobState.STARTING), what="the job's end")
    assert job.finished is not None
    return job.finished


@pytest.mark.parametrize("at", [0, 700, DISK_SIZE - 1])
def test_a_target_that_was_written_to_since_the_plan_was_shown_is_refused(
    captured: Sample, tmp_path: Path, at: int
) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE)
    plan = _plan(captured, target)
    with target.open("r+b") as file:
        os.pwrite(file.fileno(), b"\1", at)
    before = target.read_bytes()
    done = _ends(plan)
    assert (done.status, done.code) == (3, "disk-changed")
    assert "target.img was written to since the plan was shown" in done.message
    assert target.read_bytes() == before


@pytest.mark.parametrize("how", ["replaced", "grown", "shrunk"])
def test_a_target_that_became_another_disk_is_refused(captured: Sample, tmp_path: Path, how: str) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE)
    plan = _plan(captured, target)
    if how == "replaced":
        blank(tmp_path / "other.img", DISK_SIZE).rename(target)
    else:
        os.truncate(target, DISK_SIZE + (MIB if how == "grown" else -MIB))
    done = _ends(plan)
    assert (done.status, done.code) == (3, "disk-changed")
    assert "is not the disk that was shown" in done.message
    assert target.stat().st_blocks == 0


def test_a_target_that_is_gone_or_a_new_file_that_came_is_refused(captured: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE)
    plan = _plan(captured, target)
    target.unlink()
    gone = carry_out_here(plan, tmp_path / "gone")
    assert (gone.status, gone.code) == (2, "no-such-disk")
    assert not target.exists()

    new = replace(FREE, path=str(target), regular_file=True, fingerprint="")
    create = planner.plan_restore(captured.library, captured.image, {captured.disk.name: new}, create=True)
    target.write_bytes(b"precious")
    done = carry_out_here(create, tmp_path / "came")
    assert (done.status, done.code) == (3, "disk-changed")
    assert target.read_bytes() == b"precious"


def test_an_image_that_changed_since_the_plan_was_shown_is_refused(sample: Sample, tmp_path: Path) -> None:
    plan = _plan(sample, blank(tmp_path / "target.img", DISK_SIZE))
    sample.edit(lambda image: image["disks"][0].update(physical_sector=4096))
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "image-changed")
    assert sample.image_id in done.message


def test_a_source_that_changed_since_the_plan_was_shown_is_not_captured(tmp_path: Path) -> None:
    disk = sample_disk(tmp_path / "pc.img", megabytes=1)
    plan = planner.plan_capture([inventory.look(str(disk))], tmp_path / "library")
    with disk.open("r+b") as file:
        os.pwrite(file.fileno(), b"\1", 440)
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "disk-changed")
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize("at", [20 * MIB, 40 * MIB])
def test_a_source_that_is_written_to_while_it_is_captured_makes_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    disk = sample_disk(tmp_path / "pc.img", megabytes=1)
    store = capture._store_chunks

    def store_and_write(*args: Any) -> DiskFiles:
        files = store(*args)
        with disk.open("r+b") as file:
            os.pwrite(file.fileno(), b"\1", at)
        return files

    monkeypatch.setattr(capture, "_store_chunks", store_and_write)
    done = carry_out_here(planner.plan_capture([inventory.look(str(disk))], tmp_path / "library"), tmp_path / "job")
    assert (done.status, done.code) == (5, "source-changed")
    assert "pc.img was written to while it was captured" in done.message
    assert images_of(tmp_path / "library") == []


@pytest.mark.root
def test_the_write_mark_of_a_device_changes_with_writes_alone(tmp_path: Path, loop: str) -> None:
    with opened(loop) as fd:
        before = marks.write_mark(fd)
        inventory.look(loop)
        run("partclone.ext4", "-D", "-s", loop, "-O", tmp_path / "map", "-L", tmp_path / "log")
        os.sync()
        assert marks.write_mark(fd) == before
        with Path(loop).open("r+b") as device:
            device.seek(20 * MIB)
            device.write(b"1")
            device.flush()
            assert marks.write_mark(fd) != before
