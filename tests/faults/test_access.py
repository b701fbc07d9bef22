"""A medium that the live system mounted read-only is made writable for a job, and never taken from another one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from threading import Event, Thread

import pytest

from imaging import access, care, foreignlook, inventory, media, sharemounts, shares
from imaging.disk import Mount
from imaging.errors import IoError, RefusedError
from imaging.foreignplan import plan_straight
from imaging.imageplans import ImportPlan
from imaging.planner import plan_verify
from imaging.restoreplans import RestorePlan
from imaging.run import Completed
from tests.disks import MIB, blank, looped, run
from tests.faults.killing import finish, frozen, start
from tests.faults.world import Sample, mounted, verify_here
from tests.matrix.tools import Place, attached

pytestmark = pytest.mark.root


@pytest.fixture
def medium(tmp_path: Path, captured: Sample, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sample]:
    """A library on a medium as the live system mounts it."""
    monkeypatch.setattr(media, "ROOT", tmp_path / "media")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    with looped(blank(tmp_path / "medium.img", 80 * MIB)) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "made") as where:
            captured.copy(where / "library")
        with mounted(loop, tmp_path / "media" / "x", "-o", "ro,noload") as where:
            yield Sample(where / "library", captured.image_id, captured.disk)


def _is_writable(sample: Sample) -> bool:
    return not os.statvfs(sample.library).f_flag & os.ST_RDONLY


def test_a_name_can_be_given_to_an_image_on_a_medium_that_was_mounted_read_only(medium: Sample) -> None:
    assert not _is_writable(medium)
    care.rename(medium.library, medium.image_id, "another")
    assert _is_writable(medium)
    assert medium.image.label == "another"
    access.make_writable(medium.library)


def test_a_medium_that_is_write_protected_is_told_as_that_and_stays_mounted(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as one that can be written to now, whose disk then seems to fail."""
    monkeypatch.setattr(media, "ROOT", tmp_path / "media")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    disk, where = blank(tmp_path / "medium.img", 80 * MIB), tmp_path / "media" / "x"
    with looped(disk) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "made") as made:
            captured.copy(made / "library")
    with attached(Place(path=disk, start=0, size=0), read_only=True) as loop, mounted(loop, where, "-o", "ro,noload"):
        with pytest.raises(IoError, match="write-protected"):
            care.rename(where / "library", captured.image_id, "another")
        assert Sample(where / "library", captured.image_id, captured.disk).image.label == captured.image.label


def test_a_medium_with_a_hibernated_windows_is_told_as_that_and_stays_mounted(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ntfs-3g mounts it read-only by itself, whatever it was told."""
    monkeypatch.setattr(media, "ROOT", tmp_path / "media")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    where = tmp_path / "media" / "x"
    with looped(blank(tmp_path / "medium.img", 160 * MIB)) as loop:
        run("mkntfs", "--quick", "--force", loop)
        with mounted(loop, tmp_path / "made") as made:
            captured.copy(made / "library")
            (made / "hiberfil.sys").write_bytes(b"hibr".ljust(8192, b"\0"))
        with mounted(loop, where, "-o", "ro"):
            with pytest.raises(IoError, match="read-only alone: Windows was hibernated") as caught:
                care.rename(where / "library", captured.image_id, "another")
            assert caught.value.code == "read-only"
            assert Sample(where / "library", captured.image_id, captured.disk).image.label == captured.image.label


def test_a_look_for_media_is_waited_for_before_one_is_away_for_a_moment(medium: Sample) -> None:
    """The screen that looks would take it for one that has just been plugged in, and mount it read-only."""
    mount = media.read_only_mount(medium.library)
    assert mount is not None
    order: list[str] = []

    def change() -> None:
        media.make_writable(mount)
        order.append("writable")

    changing = Thread(target=change)
    with (media.ROOT / ".looks").open("w") as file:
        flock(file, LOCK_EX)
        changing.start()
        changing.join(0.3)
        assert not _is_writable(medium)
        order.append("looked")
    changing.join()
    assert order == ["looked", "writable"]
    assert _is_writable(medium)


def test_a_look_that_has_a_disk_for_itself_for_a_moment_does_not_keep_a_medium_away(medium: Sample) -> None:
    """A look at whether anybody uses it, just as it is unmounted: inventory._is_held, of another screen."""
    mount = media.read_only_mount(medium.library)
    assert mount is not None
    source, looking, over = mount.source, Event(), Event()

    def look() -> None:
        looking.set()
        while not over.is_set():
            with suppress(OSError):
                fd = os.open(source, os.O_RDONLY | os.O_EXCL)
                over.wait(0.5)
                os.close(fd)
                return

    other = Thread(target=look)
    other.start()
    looking.wait()
    try:
        media.make_writable(mount)
    finally:
        over.set()
        other.join()
    assert _is_writable(medium)


def test_a_medium_is_not_taken_from_a_job_that_reads_from_it(medium: Sample) -> None:
    job = start(plan_verify(medium.library, medium.image))
    with frozen(job):
        with pytest.raises(RefusedError, match="a job reads from it: Verify"):
            care.rename(medium.library, medium.image_id, "another")
        assert not _is_writable(medium)
    done = finish(job).finished
    assert done is not None
    assert done.status == 0
    care.rename(medium.library, medium.image_id, "another")


@pytest.mark.parametrize("kind", ["import", "restore"])
def test_a_medium_is_not_taken_from_a_job_that_reads_another_programs_image_from_it(
    medium: Sample, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = medium.library.parent / "pc.img"
    with access.writable(source):
        run("cp", "--sparse=always", medium.disk, source)
    plan: ImportPlan | RestorePlan = ImportPlan(library=str(tmp_path / "library"), source=str(source))
    if kind == "restore":
        target = blank(tmp_path / "target.img", source.stat().st_size)
        seen = foreignlook.look(source, Event(), lambda *_: None)
        plan = plan_straight(seen, {"pc.img": inventory.look(str(target), [source])})
    with monkeypatch.context() as patch:
        patch.delenv("RESCUE_LIVE")  # a library in memory is refused by the live system
        job = start(plan)
    with frozen(job), pytest.raises(RefusedError, match="a job reads from it"):
        care.rename(medium.library, medium.image_id, "another")
    done = finish(job).finished
    assert done is not None
    assert done.status == 0
    care.rename(medium.library, medium.image_id, "another")


def test_a_medium_is_left_writable_for_another_job_that_has_come_to_it(medium: Sample) -> None:
    target = medium.library.parent / "rescue-files"
    with access.writable(target):
        assert _is_writable(medium)
    assert not _is_writable(medium)
    with ExitStack() as stack:
        stack.enter_context(access.writable(target))
        job = start(plan_verify(medium.library, medium.image))
        with frozen(job):
            stack.close()
            assert _is_writable(medium)
        finish(job)


def test_a_share_is_not_taken_from_a_job_that_reads_from_it(
    medium: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharemounts, "ROOT", tmp_path / "media")
    where, called = tmp_path / "media" / "x", []
    found = Mount(source="//nas/images", where=str(where), read_only=True)
    monkeypatch.setattr(sharemounts, "read_mounts", lambda: [("0:55", found)])

    def tool(argv: list[str | Path], **_: object) -> Completed:
        called.append(str(argv[0]))
        return Completed(status=0, stdout="", stderr="")

    monkeypatch.setattr(sharemounts, "run", tool)
    link = tmp_path / "link"
    link.symlink_to(medium.library)
    job = start(plan_verify(link, medium.image))
    with frozen(job):
        access.connect(shares.parse("//nas/images"), writable=True)
        assert called == ["mount.cifs"]
        with pytest.raises(RefusedError, match="a job reads from it: Verify"):
            care.rename(medium.library, medium.image_id, "another")
    finish(job)
    access.connect(shares.parse("//nas/images"), writable=True)
    assert called == ["mount.cifs", "mount.cifs", "umount"]


def test_a_verification_does_not_have_another_medium_than_the_sticks_own_written_to(
    medium: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verify_here(medium, tmp_path / "job").status == 0
    assert not _is_writable(medium)
    monkeypatch.setattr(media, "IMAGES", medium.library.parent)
    assert verify_here(medium, tmp_path / "again").status == 0
    assert _is_writable(medium)


@contextmanager
def write_protected(loop: str) -> Iterator[None]:
    """A loop device that cannot be written to; the kernel keeps that for whatever uses the device next."""
    run("blockdev", "--setro", loop)
    try:
        yield
    finally:
        run("blockdev", "--setrw", loop)


def test_a_medium_that_cannot_be_written_to_is_there_as_before(
    tmp_path: Path, captured: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "ROOT", tmp_path / "media")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    with looped(blank(tmp_path / "medium.img", 80 * MIB)) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(loop, tmp_path / "made") as where:
            captured.copy(where / "library")
            run("sync")
            torn = tmp_path / "torn.img"  # with a journal that waits to be replayed
            shutil.copyfile(tmp_path / "medium.img", torn)
    place = tmp_path / "media" / "x"
    with looped(torn) as loop, write_protected(loop), mounted(loop, place, "-o", "ro,noload") as where:
        sample = Sample(where / "library", captured.image_id, captured.disk)
        with pytest.raises(IoError):
            care.rename(sample.library, sample.image_id, "another")
        assert sample.image.label == captured.image.label
