"""A screen's look into an image, and what it copies out of it: real file systems, hostile names, no way out."""

import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from imaging import encryption, fileclient, fileplan, keyring, media
from imaging.errors import BadImageError, CancelledError, RefusedError
from imaging.events import FilesResult
from imaging.fileclient import Files
from imaging.fileview import Hits, Order, Where
from imaging.imageplans import CopyImagesPlan, FilesPlan
from imaging.imagevolumes import find_volume
from imaging.keyslots import LEAST
from imaging.library import Library
from imaging.manifest import Image
from imaging.mounts import options_at
from imaging.plan import decode, encode
from imaging.tree import EntryKind
from rescue.engine import Engine
from tests.disks import MIB, blank, looped, partition, run
from tests.faults.test_walkthroughs import keys_for, walk
from tests.faults.world import Sample, capture_here, carry_out_here, file_servers, mounted, until

pytestmark = pytest.mark.root

WHEN = 1_600_000_000
HOSTILE = (b"\x1b[31mred\nline\ttwo", "\u202etxt.exe".encode(), b"caf\xe9", b"n" * 255)
MANY = 3000
VOLUME = "pc.img1"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """An image of a disk with one ext4."""
    room = tmp_path_factory.mktemp("image-files")
    disk = partition(blank(room / "pc.img", 64 * MIB), "label: gpt\nstart=2048, size=124928\n")
    run("mkfs.ext4", "-q", "-F", "-E", f"offset={MIB}", disk, "61M")
    with looped(disk, offset=MIB, size=61 * MIB) as loop, mounted(loop, room / "mnt") as root:
        _fill(root)
    assert capture_here(disk, room / "library", room / "job").status == 0
    image = Library.open(room / "library").images().images[0].id
    yield Sample(room / "library", image, disk)
    shutil.rmtree(room)


def _fill(root: Path) -> None:
    odd = root / "odd"
    odd.mkdir()
    for number, name in enumerate(HOSTILE):
        (odd / os.fsdecode(name)).write_bytes(b"x" * (number + 1))
    (odd / "out").symlink_to("/etc")
    (odd / "up").symlink_to("../..")
    (root / "many").mkdir()
    for number in range(MANY):
        (root / f"many/{number:05}").touch()
    (root / "library").mkdir()
    (root / "library/Mine.TXT").write_text("not the library's")
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (WHEN, WHEN), follow_symlinks=False)


@pytest.fixture
def image(filled: Sample) -> Image:
    return filled.image


@pytest.fixture
def files(filled: Sample) -> Iterator[Files]:
    opened = fileclient.open_files(filled.library, filled.image_id, VOLUME)
    yield opened
    opened.close()


def copied(plan: FilesPlan, folder: Path) -> FilesResult:
    done = carry_out_here(plan, folder)
    assert done.status == 0, done
    assert isinstance(done.result, FilesResult)
    return done.result


def planned(sample: Sample, paths: Sequence[Where], target: Path) -> FilesPlan:
    return fileplan.plan_files(sample.library, sample.image, find_volume(sample.image, VOLUME), paths, target)


def contents(folder: Path) -> Mapping[bytes, bytes]:
    return {os.fsencode(path.name): path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_large_folder_comes_in_pages_in_any_order(files: Files) -> None:
    page = files.page((b"many",), Order.NAME, MANY - 7, 20)
    assert (page.start, page.total, len(page.entries)) == (MANY - 7, MANY, 7)
    assert files.page((b"many",), Order.NAME, 10 * MANY, 5).entries[-1].text == f"{MANY - 1:05}"
    assert files.page((b"many",), Order.NAME, 0, 20, b"00050").start == 40
    by_size = files.page((b"odd",), Order.SIZE, 0, 20)
    assert [one.size for one in by_size.entries][:4] == [4, 3, 2, 1]
    assert {one.name for one in files.page((b"odd",), Order.DATE, 0, 20).entries} >= set(HOSTILE)
    root = files.page((), Order.NAME, 0, 20)
    assert [one.text for one in root.entries] == ["library", "lost+found", "many", "odd"]


def test_no_link_leads_out_of_the_image(files: Files) -> None:
    kinds = {one.name: one.kind for one in files.page((b"odd",), Order.NAME, 0, 20).entries}
    assert kinds[b"out"] is kinds[b"up"] is EntryKind.LINK
    for path in ((b"odd", b"out"), (b"odd", b"up", b"etc"), (b"..", b"etc")):
        with pytest.raises(BadImageError):
            files.page(path, Order.NAME, 0, 20)
    tally = files.tally((b"odd",), threading.Event())
    assert (tally.files, tally.folders, tally.links, tally.bytes, tally.odd) == (4, 1, 2, 10, 1)


def test_a_search_finds_hostile_names_and_stops_when_asked(files: Files) -> None:
    found: list[Hits] = []
    files.search("TXT", found.append, threading.Event())
    hits = [hit for hits in found for hit in hits.hits]
    assert [(hit.where, hit.entry.name) for hit in hits] == [((b"library",), b"Mine.TXT"), ((b"odd",), HOSTILE[1])]
    assert (found[-1].ended, found[-1].seen) == (True, MANY + 11)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        files.search("x", found.append, cancel)
    with pytest.raises(CancelledError):
        files.tally((), cancel)
    assert files.page((), Order.NAME, 0, 1).total == 4


def test_nothing_is_left_of_a_look_and_questions_after_it_are_told_so(filled: Sample) -> None:
    before = set(file_servers())
    files = fileclient.open_files(filled.library, filled.image_id, VOLUME)
    (mine,) = set(file_servers()) - before
    files.close()
    until(lambda: mine not in file_servers(), what="the end of the process")
    assert str(filled.disk) not in run("losetup", "--list")
    with pytest.raises(Exception, match="the process that reads the image has ended"):
        files.page((), Order.NAME, 0, 1)


def test_a_process_that_dies_is_an_error_and_no_wait(filled: Sample) -> None:
    before = set(file_servers())
    files = fileclient.open_files(filled.library, filled.image_id, VOLUME)
    (mine,) = set(file_servers()) - before
    os.kill(int(mine), 9)
    with pytest.raises(Exception, match="the process that reads the image has ended"):
        while time.monotonic():
            files.page((), Order.NAME, 0, 1)
    files.close()


def test_what_cannot_be_opened_says_why(filled: Sample, tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="has no volume"):
        fileclient.open_files(filled.library, filled.image_id, "pc.img7")
    with pytest.raises(BadImageError):
        fileclient.open_files(tmp_path, filled.image_id, VOLUME)


def test_the_key_of_an_encrypted_library_reaches_the_process_that_reads(filled: Sample, tmp_path: Path) -> None:
    sealed, _recovery = encryption.create(tmp_path / "sealed", "correct horse battery", cost=LEAST)
    try:
        plan = CopyImagesPlan(library=str(filled.library), target=str(sealed.path))
        assert carry_out_here(plan, tmp_path / "job").status == 0
        files = fileclient.open_files(sealed.path, filled.image_id, VOLUME)
        assert files.page((b"library",), Order.NAME, 0, 9).entries[0].text == "Mine.TXT"
        files.close()
        keyring.forget_all()
        with pytest.raises(RefusedError, match="its passphrase was not given"):
            fileclient.open_files(sealed.path, filled.image_id, VOLUME)
    finally:
        keyring.forget_all()


def test_hostile_names_are_copied_as_they_are_into_a_new_folder(filled: Sample, tmp_path: Path) -> None:
    target = tmp_path / "rescue-files"
    paths = [(b"odd", name) for name in HOSTILE] + [(b"odd", b"out")]
    plan = planned(filled, paths, target)
    assert plan.create
    assert plan.raw_paths == (b"odd/caf\xe9",)
    plan = decode(encode(plan))  # type: ignore[assignment]
    result = copied(plan, tmp_path / "job")
    assert contents(target) == {name: b"x" * (number + 1) for number, name in enumerate(HOSTILE)}
    assert (target / "out").readlink() == Path("/etc")
    assert (result.files, result.links, result.failed, result.not_kept) == (4, 1, 0, {})
    assert {path.lstat().st_mtime for path in target.iterdir()} == {WHEN}
    again = planned(filled, paths, target)
    assert not again.create
    assert copied(again, tmp_path / "again").there == 5


def test_nothing_is_copied_into_the_library(filled: Sample, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(filled.library / "images")
    for target in (filled.library, filled.library / "new", filled.library / "chunks", link):
        with pytest.raises(RefusedError, match="lies in the image library"):
            planned(filled, [(b"odd",)], target)
    plan = planned(filled, [(b"odd",)], tmp_path)
    hostile = FilesPlan(library=plan.library, image=plan.image, volume=plan.volume, paths=("odd",), target=str(link))
    done = carry_out_here(hostile, tmp_path / "job")
    assert (done.status, done.code) == (3, "in-library")
    before = sorted(filled.library.iterdir())
    # A folder of the image that bears the library's name, beside it: the two are not mixed.
    copied(
        planned(filled, [(b"library",)], filled.library.parent),
        tmp_path / "two",
    )
    assert sorted(filled.library.iterdir()) == before
    assert (filled.library.parent / "library (2)/Mine.TXT").read_text() == "not the library's"


def test_a_folder_that_cannot_be_one_is_refused(filled: Sample, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere/at-all")
    for name, words in (("file", "is no folder"), ("a/b", "there is no folder"), ("dangling", "there is no folder")):
        with pytest.raises(RefusedError, match=words):
            planned(filled, [(b"odd",)], tmp_path / name)


def test_a_stick_is_written_to_by_the_job_alone(
    filled: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = blank(tmp_path / "stick.img", 64 * MIB)
    run("mkfs.ext4", "-q", "-F", stick)
    where = tmp_path / "media/loop"
    where.mkdir(parents=True)
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setattr(media, "ROOT", where.parent)
    with looped(stick) as loop:
        run("mount", "-o", "ro,noload", loop, where)
        try:
            (place,) = [one for one in fileplan.places() if one.path.is_relative_to(where)]
            assert (place.path, place.kind) == (where / "rescue-files", "ext4")
            assert "ro" in options_at(str(where))
            result = copied(
                planned(filled, [(b"odd",)], place.path),
                tmp_path / "job",
            )
            assert "ro" in options_at(str(where))
            assert (result.files, result.links) == (4, 2)
            assert set(contents(place.path / "odd")) == set(HOSTILE)
        finally:
            run("umount", where)
        run("e2fsck", "-fn", loop)


async def test_the_keys_of_the_task_copy_files(filled: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_LIBRARY", str(filled.library))
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path / "state"))
    target = tmp_path / "stick/rescue-files"
    target.parent.mkdir()
    monkeypatch.setattr(fileplan, "places", lambda: (fileplan.place(target),))
    said = await walk(Engine(), keys_for("Copy files out of an image"), "A job has ended")
    assert "DONE" in said
    assert "Copied: 1 file, 17 B" in said
    assert (target / "library/Mine.TXT").read_text() == "not the library's"
