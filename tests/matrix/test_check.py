"""`--check`: file systems that were damaged before they were captured, and images that were damaged after."""

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import check as checking
from imaging import inventory, virtual
from imaging.events import CaptureResult, CheckedVolume, Finished, VerifyResult
from imaging.imageplans import VerifyPlan
from imaging.index import Index
from imaging.jobs import Job, JobState
from imaging.library import Library
from imaging.plan import encode
from imaging.planner import plan_capture
from tests.command import run_rescue
from tests.disks import MIB, blank, lines_of, partition, run
from tests.faults.world import PATIENCE, carry_out_here, chunk_path, until
from tests.matrix import volumes
from tests.matrix.tools import Place, attached, said
from tests.matrix.volumes import BTRFS, EXFAT, EXT4, FAT32, NTFS, XFS, FileSystem

pytestmark = pytest.mark.root


def _disk(kind: FileSystem, path: Path) -> Place:
    """A disk with one file system in one partition."""
    place = Place(path=path, start=MIB, size=kind.size)
    blank(path, place.size + 2 * MIB)
    row = f"start=2048, size={place.size // 512}, type={kind.gpt_type}"
    partition(path, f"label: gpt\nunit: sectors\n{row}\n")
    volumes.make(kind, place)
    return place


def _change(place: Place, at: int, change: Callable[[bytes], bytes], size: int = 1) -> None:
    with place.path.open("r+b") as file:
        file.seek(place.start + at)
        data = file.read(size)
        file.seek(place.start + at)
        file.write(change(data))


def _other(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def _damage_ext4(place: Place) -> None:
    with attached(place) as loop:
        said("debugfs", "-w", "-R", "clri <11>", loop)


def _damage_xfs(place: Place) -> None:
    with attached(place) as loop:
        said("xfs_db", "-x", "-c", "agf 0", "-c", "write -d freeblks 1", loop)


def _damage_btrfs(place: Place) -> None:
    """Both copies of the root tree's first block."""
    with attached(place, read_only=True) as loop:
        told = said("btrfs", "inspect-internal", "dump-super", loop).splitlines()
        root = next(line.split()[1] for line in told if line.startswith("root\t"))
        mirrors = [line.split() for line in said("btrfs-map-logical", "-l", root, loop).splitlines()]
    for words in mirrors:
        _change(place, int(words[words.index("physical") + 1]) + 200, _other, 64)


def _damage_ntfs(place: Place) -> None:
    """Eight clusters of the bitmap that no file owns."""
    with attached(place, read_only=True) as loop:
        told = said("ntfscluster", "-I", "6", loop).splitlines()
    first = int(told[-1].split()[1])
    _change(place, first * 4096 + 100, _other)


def _damage_fat(place: Place) -> None:
    """The first FAT says of a free cluster that a file goes on there."""
    head = place.path.read_bytes()[place.start : place.start + 512]
    reserved = struct.unpack_from("<H", head, 14)[0]
    _change(place, reserved * 512 + 400, lambda _: b"\x99\x99\x99\x09", 4)


def _damage_exfat(place: Place) -> None:
    """The boot region, which has a checksum."""
    _change(place, 200, _other)


_DAMAGES = {
    EXT4: _damage_ext4,
    XFS: _damage_xfs,
    BTRFS: _damage_btrfs,
    NTFS: _damage_ntfs,
    FAT32: _damage_fat,
    EXFAT: _damage_exfat,
}


def _captured_here(disk: Path, room: Path, *, check: bool = True) -> tuple[Finished, CaptureResult]:
    """Captured in this process, which is quicker, and checked."""
    plan = plan_capture([inventory.look(str(disk))], room / "library", level=1, check=check)
    done = carry_out_here(plan, room / "job")
    assert isinstance(done.result, CaptureResult), done.message
    return done, done.result


def _verified_here(library: Path, image: str, room: Path) -> tuple[Finished, CheckedVolume]:
    """Verified and checked in this process; what is said of the only volume."""
    done = carry_out_here(VerifyPlan(library=str(library), image=image, check=True), room / "verify")
    assert isinstance(done.result, VerifyResult), done.message
    (found,) = done.result.checked
    return done, found


@pytest.mark.parametrize("kind", _DAMAGES, ids=lambda kind: kind.name)
def test_a_file_system_that_was_damaged_before_its_capture_is_told_of(kind: FileSystem, room: Path) -> None:
    place = _disk(kind, room / "pc.img")
    _DAMAGES[kind](place)
    done, result = _captured_here(place.path, room)
    (found,) = result.checked
    assert (found.kind, found.verdict) == (kind.name, "errors")
    assert found.detail
    assert (done.status, done.code) == (9, "file-system-errors")
    assert f"partition 1 of pc.img ({kind.name})" in done.message


def test_a_person_is_told_which_file_system_has_errors_and_has_the_image(room: Path) -> None:
    place = _disk(EXT4, room / "pc.img")
    _damage_ext4(place)
    done = run_rescue("capture", place.path, "--check", "--library", room / "library", status=9)
    assert "There are file system errors in partition 1 of pc.img (ext4)." in done.err
    assert "What to do: the image is kept" in done.err
    assert "e2fsck: " in done.err
    (image,) = Library.open(room / "library").images().images
    assert f"Image {image.id} was captured." in done.err


def test_errors_of_a_file_system_that_was_in_use_are_none_of_its_own(room: Path) -> None:
    place = _disk(EXT4, room / "pc.img")
    _damage_ext4(place)
    with attached(place) as loop:
        said("debugfs", "-w", "-R", "feature needs_recovery", loop)
    done, result = _captured_here(place.path, room)
    (found,) = result.checked
    assert (done.status, found.verdict) == (0, "not checked")
    assert "its journal waits to be replayed, so what its checker says means little" in found.detail


def test_a_corrupt_chunk_is_no_file_system_error(room: Path) -> None:
    place = _disk(EXT4, room / "pc.img")
    library = room / "library"
    _, captured = _captured_here(place.path, room, check=False)
    index = Index(Library.open(library).file(captured.image, "pc.img", "caibx").read_bytes())
    chunk = chunk_path(library, index.id(index.find(place.start + 4096)))
    chunk.write_bytes(chunk.read_bytes()[:-20])
    done, found = _verified_here(library, captured.image, room)
    assert (found.verdict, done.status, done.code) == ("unreadable", 4, "corrupt-chunk")
    assert found.detail.startswith("the image is damaged: chunk ")


def test_what_has_no_checker_is_said_not_to_be_checked(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = _disk(EXT4, room / "pc.img")
    _, captured = _captured_here(place.path, room, check=False)
    monkeypatch.setattr(checking, "find_tool", lambda _: None)
    done, found = _verified_here(room / "library", captured.image, room)
    assert (found.verdict, found.detail, done.status) == ("not checked", "e2fsck is not installed", 0)
    assert "not checked: 1" in done.message


@pytest.fixture
def at_work(room: Path, state: Path) -> tuple[Job, "subprocess.Popen[bytes]"]:
    """A worker that has captured a disk and checks the image, by a tool that reads the volume and then does not end."""
    place = _disk(EXT4, room / "pc.img")
    tools = room / "tools"
    tools.mkdir()
    slow = tools / "e2fsck"
    slow.write_text(
        '#!/bin/sh\nfor last; do :; done\ncat "$last" > /dev/null\n'
        'echo $$ > "$(dirname "$0")/pid"\nexec sleep 1000 < "$last"\n'
    )
    slow.chmod(0o755)
    job = Job(state / "jobs" / "check")
    job.folder.mkdir(parents=True)
    (job.folder / "lock").touch()
    plan = plan_capture([inventory.look(str(place.path))], room / "library", level=1, check=True)
    (job.folder / "plan.json").write_bytes(encode(plan))
    worker = subprocess.Popen(
        [sys.executable, "-m", "imaging.worker", job.folder],
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        stderr=subprocess.DEVNULL,
    )
    until((tools / "pid").exists, what="the checker")
    return job, worker


def _tool_of(room: Path) -> Path:
    return Path("/proc", (room / "tools" / "pid").read_text().strip())


def _left() -> list[str]:
    """The loop devices of ours and the mounts that serve an image's disks."""
    loops = run("losetup", "--list", "--noheadings", "--output=NAME,BACK-FILE").splitlines()
    mounts = lines_of(Path("/proc/self/mounts"))
    return [line for line in loops if line.split()[1:] == ["/disk"]] + [m for m in mounts if "fuse.rescue" in m]


def test_a_worker_that_is_killed_leaves_no_loop_device_and_no_mount(
    at_work: tuple[Job, "subprocess.Popen[bytes]"], room: Path
) -> None:
    job, worker = at_work
    assert _left() != []
    worker.send_signal(signal.SIGKILL)
    worker.wait(PATIENCE)
    until(lambda: not _tool_of(room).exists(), what="the checker's end")
    until(lambda: _left() == [], what="the loop device's end")
    assert job.state is JobState.DIED


def test_a_check_that_is_cancelled_ends_its_tool(at_work: tuple[Job, "subprocess.Popen[bytes]"], room: Path) -> None:
    job, worker = at_work
    job.cancel()
    assert worker.wait(PATIENCE) == 6
    assert not _tool_of(room).exists()
    until(lambda: _left() == [], what="the loop device's end, and that of other tests'")
    (image,) = Library.open(room / "library").images().images
    assert job.finished is not None
    assert (job.state, job.finished.state) == (
        JobState.CANCELLED,
        f"Image {image.id} was captured and is kept; the check of its file systems did not end.",
    )


class _Bytes:
    """A file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> list[bytes]:
        return [self.data[offset : offset + size]]


def test_files_are_mounted_and_unmounted_whatever_happens(room: Path) -> None:
    where = room / "mnt"
    where.mkdir()
    with pytest.raises(ZeroDivisionError), virtual.mounted({"a": _Bytes(b"abc" * 5000), "b": _Bytes(b"")}, where):
        assert sorted(path.name for path in where.iterdir()) == ["a", "b"]
        assert ((where / "a").read_bytes(), (where / "b").read_bytes()) == (b"abc" * 5000, b"")
        with pytest.raises(OSError, match="Read-only"):
            (where / "c").write_bytes(b"")
        raise ZeroDivisionError
    assert list(where.iterdir()) == []
    assert _left() == []


def test_a_mount_that_a_killed_process_left_is_taken_away_by_the_next(room: Path) -> None:
    where = room / "mnt"
    where.mkdir()
    code = (
        "import os, signal, sys, pathlib\nfrom imaging import virtual\n"
        "with virtual.mounted({}, pathlib.Path(sys.argv[1])):\n os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, where], check=False).returncode == -signal.SIGKILL
    assert _left() != []
    with virtual.mounted({"a": _Bytes(b"abc")}, where):
        assert (where / "a").read_bytes() == b"abc"
    assert list(where.iterdir()) == []
    assert _left() == []
