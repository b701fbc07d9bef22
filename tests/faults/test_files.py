"""Single files come out of an image whole and with all that the target can keep, whatever else goes wrong."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from imaging import copyout, durable, events, imagevolumes, mounts, tree
from imaging.disk import DiskId
from imaging.errors import BadImageError, CancelledError, RefusedError
from imaging.events import CaptureResult, FilesResult
from imaging.imageplans import FilesPlan
from imaging.library import Library
from imaging.pipeline import Reporter
from tests.command import Outcome
from tests.disks import MIB, blank, looped, partition, run
from tests.faults.test_random_faults import LostInTheCache
from tests.faults.world import (
    PATIENCE,
    Sample,
    capture_here,
    carry_out_here,
    chunk_path,
    mounted,
    tmpfs,
    until,
    warnings_of,
)
from tests.unit.builders import an_image, an_imaged_disk

pytestmark = pytest.mark.root

WHEN = 1_600_000_000
TWINS = ("README", "readme", "x:1", "x?1")
"""Names of which some file systems make two: files of one size and time."""


@pytest.fixture(scope="module")
def filled() -> Iterator[Sample]:
    """An image of a disk with one ext4 that holds a home, with everything that a file can have."""
    room = Path(mkdtemp(prefix="rescue-files-", dir="/dev/shm"))
    disk = partition(blank(room / "pc.img", 64 * MIB), "label: gpt\nstart=2048, size=124928\n")
    run("mkfs.ext4", "-q", "-F", "-E", f"offset={MIB}", disk, "61M")
    with looped(disk, offset=MIB, size=61 * MIB) as loop, mounted(loop, room / "mnt") as home:
        _fill(home)
    result = capture_here(disk, room / "library", room / "job").result
    assert result is not None and not isinstance(result, FilesResult)
    image = Library.open(room / "library").images().images[0].id
    yield Sample(room / "library", image, disk)
    shutil.rmtree(room)


def _fill(home: Path) -> None:
    me = home / "home/me"
    (me / "letters").mkdir(parents=True)
    (me / "letters/one.txt").write_text("Dear all\n")
    (me / "letters/what: and why?.txt").write_text("a name that Windows forbids\n")
    (me / "letters/caf\udce9".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")).touch()
    (me / "big.bin").write_bytes(os.urandom(9 * MIB + 123))
    os.link(me / "letters/one.txt", me / "the same.txt")
    (me / "link").symlink_to("letters/one.txt")
    (me / "up").symlink_to("/etc/passwd")
    with (me / "sparse").open("wb") as file:
        file.seek(20 * MIB)
        file.write(b"end")
    os.setxattr(me / "big.bin", "user.note", b"mine")
    (me / "program").write_text("#!/bin/sh\n")
    os.chown(me / "program", 1234, 5678)
    (me / "program").chmod(0o4751)
    os.mkfifo(me / "pipe")
    (me / "letters").chmod(0o2750)
    for path in sorted(me.rglob("*"), reverse=True):
        os.utime(path, (WHEN, WHEN), follow_symlinks=False)
    (home / "twins").mkdir()
    for name in TWINS:
        (home / "twins" / name).write_text(f"{name:9}")
        os.utime(home / "twins" / name, (WHEN, WHEN))
    for name in ("Box", "box"):
        (home / "twins" / name).mkdir()
        (home / "twins" / name / "in it").write_text(name)
        os.utime(home / "twins" / name / "in it", (WHEN, WHEN))


def plan_for(sample: Sample, target: Path, *paths: str) -> FilesPlan:
    return FilesPlan(library=str(sample.library), image=sample.image_id, volume="1", paths=paths, target=str(target))


def copied(sample: Sample, target: Path, folder: Path, *paths: str) -> FilesResult:
    done = carry_out_here(plan_for(sample, target, *(paths or ("/home/me",))), folder)
    assert done.status == 0, done
    assert isinstance(done.result, FilesResult)
    return done.result


def test_everything_that_a_file_has_comes_along(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    result = copied(filled, target, tmp_path / "job")
    me = target / "me"
    assert (me / "letters/one.txt").read_text() == "Dear all\n"
    assert (me / "letters/one.txt").stat().st_ino == (me / "the same.txt").stat().st_ino
    assert (me / "link").readlink() == Path("letters/one.txt")
    assert (me / "up").readlink() == Path("/etc/passwd")
    status = (me / "program").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime) == (1234, 5678, 0o4751, WHEN)
    assert stat.S_IMODE((me / "letters").stat().st_mode) == 0o2750
    assert (me / "letters").stat().st_mtime == WHEN
    assert (me / "sparse").stat().st_size == 20 * MIB + 3
    assert (me / "sparse").stat().st_blocks * 512 < MIB
    assert os.getxattr(me / "big.bin", "user.note") == b"mine"
    assert b"caf\xe9" in [os.fsencode(path.name) for path in (me / "letters").iterdir()]
    assert not (me / "pipe").exists()
    assert result.not_kept == {"devices, pipes and sockets": 1}
    assert (result.files, result.folders, result.links, result.failed) == (7, 2, 2, 0)


def test_a_second_copy_takes_what_is_there_and_overwrites_nothing(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    copied(filled, target, tmp_path / "first")
    (target / "me/letters/one.txt").write_text("changed by me")
    (target / "me/big.bin").unlink()
    result = copied(filled, target, tmp_path / "second")
    assert (target / "me/letters/one.txt").read_text() == "changed by me"
    assert (target / "me/letters/one (2).txt").read_text() == "Dear all\n"
    assert (target / "me/big.bin").stat().st_size == 9 * MIB + 123
    assert not list(target.rglob("*.part"))
    assert result.there >= 4


def test_single_files_and_the_whole_volume_can_be_named(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    copied(filled, target, tmp_path / "one", "/home/me/program", "home/me/letters/one.txt")
    assert sorted(path.name for path in target.iterdir()) == ["one.txt", "program"]
    copied(filled, target, tmp_path / "all", "/")
    assert (target / "home/me/program").exists()


def test_what_is_not_there_is_refused_before_anything_is_written(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    done = carry_out_here(plan_for(filled, target, "/home/me/program", "/home/you"), tmp_path / "job")
    assert (done.status, done.code) == (4, "no-such-file")
    done = carry_out_here(plan_for(filled, target, "/home/me/../../etc"), tmp_path / "up")
    assert (done.status, done.code) == (4, "no-such-file")
    done = carry_out_here(plan_for(filled, target, "/home/me/link/x"), tmp_path / "link")
    assert "is a link to letters/one.txt" in done.message
    assert list(target.iterdir()) == []


def test_a_target_that_is_full_ends_it_with_whole_files_only(filled: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "6m") as target:
        done = carry_out_here(plan_for(filled, target, "/home/me"), tmp_path / "job")
        assert (done.status, done.code) == (5, "no-space")
        assert "are whole" in done.state or not done.state
        assert not list(target.rglob("*.part"))
        assert not (target / "me/big.bin").exists()


def test_what_a_medium_has_lost_by_the_end_is_no_success(
    filled: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(durable, "_libc", LostInTheCache())
    done = carry_out_here(plan_for(filled, tmp_path / "out", "/home/me"), tmp_path / "job")
    assert (done.status, done.code) == (5, "write-failed")
    assert done.state == f"The files that were copied to {tmp_path / 'out'} may be damaged."


def test_a_corrupt_chunk_fails_the_files_in_it_and_no_others(filled: Sample, tmp_path: Path) -> None:
    library = tmp_path / "library"
    shutil.copytree(filled.library, library)
    sample = Sample(library, filled.image_id, filled.disk)
    _break_the_middle_of(sample, "/home/me/big.bin")
    target = tmp_path / "out"
    target.mkdir()
    done = carry_out_here(plan_for(sample, target, "/home/me"), tmp_path / "job")
    assert (done.status, done.code) == (4, "not-all-copied")
    assert isinstance(done.result, FilesResult)
    assert done.result.failed == 1
    assert any("big.bin cannot be read" in words for words in warnings_of(tmp_path / "job"))
    assert not (target / "me/big.bin").exists()
    assert (target / "me/letters/one.txt").read_text() == "Dear all\n"


def _break_the_middle_of(sample: Sample, path: str) -> None:
    """Damage the chunk that most of a file's data lies in: those that hold nothing but random data of it."""
    sizes = {}
    for i in range(len(sample.index)):
        frame = chunk_path(sample.library, sample.index.id(i))
        if frame.exists():
            sizes[frame] = frame.stat().st_size
    assert path
    largest = max(sizes, key=lambda frame: sizes[frame])
    assert sizes[largest] > 3 * MIB
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)


def test_it_stops_when_asked_and_says_what_it_did(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        copyout.copy_files(plan_for(filled, target, "/home/me"), Reporter(lambda data: len(data)), cancel)
    assert list(target.iterdir()) == []


def test_names_that_the_target_forbids_are_changed_and_told(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    disk = blank(tmp_path / "stick.img", 64 * MIB)
    run("mkfs.exfat", disk)
    with looped(disk) as loop:
        run("mount.exfat-fuse", loop, target)
        try:
            result = copied(filled, target, tmp_path / "job")
            names = {path.name for path in (target / "me/letters").iterdir()}
            assert "what_ and why_.txt" in names
            assert {"names", "symbolic links", "owners"} <= set(result.not_kept)
            assert (target / "me/big.bin").stat().st_size == 9 * MIB + 123
            assert (target / "me/the same.txt").read_text() == "Dear all\n"
        finally:
            run("umount", target)


def test_what_is_too_large_for_fat_is_said_before_anything_is_copied(
    filled: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "other.img"
    shutil.copyfile(filled.disk, disk)
    with looped(disk, offset=MIB, size=61 * MIB) as loop, mounted(loop, tmp_path / "mnt") as home:
        for name, size in (("huge", 4 << 30), ("large", (4 << 30) - 1)):
            (home / "home/me" / name).touch()
            os.truncate(home / "home/me" / name, size)
    done = capture_here(disk, tmp_path / "library", tmp_path / "capture")
    assert isinstance(done.result, CaptureResult)
    sample = Sample(tmp_path / "library", done.result.image, disk)
    usb, elsewhere = tmp_path / "usb", tmp_path / "elsewhere"
    usb.mkdir()
    elsewhere.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(mounts, "kind_beneath", lambda path: "vfat" if path == usb else "ext4")
        done = carry_out_here(
            plan_for(sample, usb, "home/me/huge", "home/me/letters", "home/me/large"), tmp_path / "job"
        )
        copied(sample, elsewhere, tmp_path / "job2", "home/me/huge")
    assert isinstance(done.result, FilesResult)
    assert (done.code, done.result.failed) == ("not-all-copied", 1)
    assert (usb / "letters/one.txt").read_text() == "Dear all\n"
    assert (usb / "large").stat().st_size == (4 << 30) - 1
    assert not (usb / "huge").exists()
    assert (elsewhere / "huge").stat().st_size == 4 << 30
    said = [events.decode(line) for line in (tmp_path / "job/events.jsonl").read_bytes().splitlines()]
    told = [i for i, event in enumerate(said) if isinstance(event, events.Log) and "4 GiB or more" in event.message]
    begun = [i for i, event in enumerate(said) if isinstance(event, events.Step) and event.name == "Copying files"]
    assert len(told) == len(begun) == 1
    assert told < begun
    step = said[begun[0]]
    assert isinstance(step, events.Step)
    assert (4 << 30) - 1 <= step.total < (4 << 30) + MIB


def test_files_whose_names_become_one_on_the_target_are_all_written(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    disk = blank(tmp_path / "stick.img", 64 * MIB)
    run("mkfs.exfat", disk)
    with looped(disk) as loop:
        run("mount.exfat-fuse", loop, target)
        try:
            first = copied(filled, target, tmp_path / "first", "/twins")
            again = copied(filled, target, tmp_path / "again", "/twins")
            found = [path.read_text().strip() for path in (target / "twins").rglob("*") if path.is_file()]
        finally:
            run("umount", target)
    assert sorted(found) == sorted([*TWINS, "Box", "box"])
    assert (first.files, first.there) == (6, 0)
    assert (again.files, again.there) == (0, 6)
    assert any("another file has its name" in words for words in warnings_of(tmp_path / "first"))


def test_volumes_are_named_and_said_why_they_cannot_be_looked_into(filled: Sample) -> None:
    image = Library.open(filled.library).image(filled.image_id)
    assert [v.name for v in imagevolumes.volumes(image)] == ["pc.img1"]
    assert imagevolumes.find_volume(image, "").name == imagevolumes.find_volume(image, "1").name == "pc.img1"
    with pytest.raises(BadImageError, match="no volume '2'"):
        imagevolumes.find_volume(image, "2")
    two = an_image(disks=(an_imaged_disk(), an_imaged_disk(name="nvme0n1", id=DiskId(size=1))))
    with pytest.raises(BadImageError, match="no volume with files"):
        imagevolumes.find_volume(two, "")


def test_a_volume_that_points_beyond_its_disk_is_not_looked_into(filled: Sample) -> None:
    from dataclasses import replace

    image = Library.open(filled.library).image(filled.image_id)
    disk = image.disks[0]
    volume = replace(disk.volumes[0], size=disk.size)
    hostile = replace(image, disks=(replace(disk, volumes=(volume,)),))
    with pytest.raises(RefusedError, match="does not lie within the disk"):
        imagevolumes.find_volume(hostile, "1")


def test_the_commands_list_search_copy_and_mount(
    filled: Sample, tmp_path: Path, rescue: Callable[..., Outcome]
) -> None:
    library = ["--library", filled.library]
    assert "letters/" in rescue("files", filled.image_id, "/home/me", *library).out
    found = rescue("files", f"{filled.image_id}:1", "--find", "ONE.txt", "--json", *library).json
    assert [entry["name"] for entry in found["files"]] == ["/home/me/letters/one.txt"]
    rescue("copy", f"{filled.image_id}:1/home/me/letters", tmp_path, *library)
    assert (tmp_path / "letters/one.txt").read_text() == "Dear all\n"
    assert "no folder" in rescue("copy", f"{filled.image_id}:1/home", tmp_path / "nowhere", *library, status=3).err
    where = tmp_path / "mnt"
    where.mkdir()
    mount = subprocess.Popen(
        [sys.executable, "-m", "rescue", "mount", filled.image_id, where, "--library", filled.library],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert mount.stdout is not None
    try:
        assert "mounted, read-only" in mount.stdout.readline()
        until(lambda: (where / "pc.img1/home/me/link").is_symlink(), what="the mount")
        assert (where / "disks/pc.img.img").stat().st_size == 64 * MIB
    finally:
        mount.send_signal(signal.SIGINT)
        assert mount.wait(PATIENCE) == 0
        mount.stdout.close()
    assert list(where.iterdir()) == []


def test_an_image_is_not_mounted_over_files(filled: Sample, tmp_path: Path, rescue: Callable[..., Outcome]) -> None:
    (tmp_path / "mine").touch()
    assert "not empty" in rescue("mount", filled.image_id, tmp_path, "--library", filled.library, status=3).err


def test_a_walk_goes_on_past_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
        try:
            walk = tree.walk(root, ())
            first = next(walk)
            assert first.entry.text == "a"
            (tmp_path / "a/b").rmdir()
            (tmp_path / "a").rmdir()
            rest = list(walk)
        finally:
            os.close(root)
    assert [(one.entry.text, bool(one.entry.problem)) for one in rest] == [("c", False), ("socket", False), ("a", True)]
