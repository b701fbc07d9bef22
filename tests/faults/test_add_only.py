"""Credentials that may add files to a bucket, and neither remove nor replace any: a backup needs no more."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from imaging import care, freeing, remote, sharedclock, structure, writers
from imaging.chunk import chunk_id, compress
from imaging.errors import RefusedError
from imaging.events import CaptureResult
from imaging.imageplans import CopyImagesPlan, DeletePlan, DoomedImage, PrunePlan
from imaging.library import Library
from imaging.writers import Writer
from tests.command import Outcome
from tests.disks import MIB, blank, run
from tests.faults.test_remote import forget, keys, url_of
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    carry_out_here,
    holds_used_bytes,
    mounted,
    restore_here,
    sample_disk,
    verify_here,
)
from tests.servers import addonly
from tests.servers.addonly import Door
from tests.servers.s3 import S3


@pytest.fixture
def door(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    with addonly.door(server.port) as running:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.endpoint)
        monkeypatch.setenv("RESCUE_RETRY_SECONDS", "20")
        yield running


@pytest.fixture
def bucket(server: S3, door: Door, request: pytest.FixtureRequest) -> S3Store:  # noqa: ARG001
    return server.bucket(f"a{abs(hash(request.node.nodeid))}")


@pytest.fixture
def added(bucket: S3Store, captured: Sample, tmp_path: Path) -> Sample:
    """A capture into a new library in the bucket."""
    library = care.init(remote.folder_for(url_of(bucket))).path
    done = capture_here(captured.disk, library, tmp_path / "first")
    assert done.status == 0, done
    assert isinstance(done.result, CaptureResult)
    return Sample(library, done.result.image, captured.disk)


def marks(bucket: S3Store) -> list[str]:
    return [key.rpartition("/")[2] for key in keys(bucket) if "/writers/" in key]


def test_a_library_is_made_captured_into_and_restored_from(
    bucket: S3Store, added: Sample, door: Door, tmp_path: Path
) -> None:
    before = keys(bucket)
    other = sample_disk(tmp_path / "other.img", seed=5, megabytes=5)
    again = capture_here(other, added.library, tmp_path / "second")
    assert again.status == 0, again
    assert set(before) < set(keys(bucket))
    forget(added.library)
    assert len(Library.open(added.library).images().images) == 2
    assert restore_here(added, blank(tmp_path / "new.img", DISK_SIZE), tmp_path / "restore").status == 0
    assert holds_used_bytes(added, tmp_path / "new.img")
    assert structure.check(Library.open(added.library), lambda _, __: None, threading.Event()).whole
    # Nothing was asked for but that marks go, and each that could not be is said to be of the past.
    assert all(request.startswith("delete office/images/writers/") for request in door.refused), door.refused
    assert len(marks(bucket)) == 4
    assert sum(name.endswith(".json.ended") for name in marks(bucket)) == 2


def test_marks_of_the_past_make_no_later_backup_look_twice_and_no_deletion_wait(
    bucket: S3Store, added: Sample, server: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    writer = Writer(Library.open(added.library), "20260101-000000-abcd")
    assert (writer.died_since, writer.distrust_since) == (None, None)
    writer.end()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)  # who may remove files, too
    assert carry_out_here(freeing.plan_delete(added.library, added.image_id), tmp_path / "delete").status == 0
    assert keys(bucket) == ["office/images/library.json"]


def test_a_backup_that_takes_long_shows_that_it_lives(
    bucket: S3Store, added: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(Library.open(added.library), "20260101-000000-abcd")
    now = sharedclock.since_boot()
    for hours in (2, 4, 6, 13):
        monkeypatch.setattr(writers, "since_boot", lambda hours=hours: now + hours * 3600)
        writer._renew()
    assert sum(name.endswith(".follows") for name in marks(bucket)) == 4
    writer.end()
    monkeypatch.undo()


@pytest.mark.root
def test_a_folder_to_which_files_may_only_be_added_is_captured_into_and_not_deleted_from(
    captured: Sample, tmp_path: Path
) -> None:
    disk = blank(tmp_path / "library.img", 64 * MIB)
    run("mkfs.ext4", "-q", disk)
    with mounted(str(disk), tmp_path / "mounted", "-o", "loop") as root:
        library = care.init(root / "library").path
        folders = [library / name for name in ("writers", "images", "chunks")]
        run("chattr", "+a", *folders)
        try:
            ids = []
            for name in ("first", "second"):
                done = capture_here(captured.disk, library, tmp_path / name)
                assert done.status == 0, done
                assert isinstance(done.result, CaptureResult)
                ids.append(done.result.image)
            writer = Writer(Library.open(library), "20260101-000000-abcd")
            assert (writer.died_since, writer.distrust_since) == (None, None)
            writer.end()
            image = Library.open(library).image(ids[0])
            plan = DeletePlan(library=str(library), image=image.id, created=image.created)
            ended = carry_out_here(plan, tmp_path / "refused")
            assert (ended.status, ended.code) == (3, "may-not-delete")
            assert len(Library.open(library).images().images) == 2
        finally:
            run("chattr", "-a", *folders)
        assert carry_out_here(plan, tmp_path / "delete").status == 0
        assert [image.id for image in Library.open(library).images().images] == ids[1:]
        assert not list((library / "writers").glob("*.ended"))


@pytest.mark.parametrize("one_by_one", [False, True])
def test_what_cannot_be_deleted_is_said_before_anything_is_changed(
    one_by_one: bool, bucket: S3Store, added: Sample, door: Door, rescue: Callable[..., Outcome], tmp_path: Path
) -> None:
    door.one_by_one = one_by_one
    before = keys(bucket)
    url = url_of(bucket)
    for words in (["delete", added.image_id, "--delete", added.image_id], ["prune", "--keep-last", "1", "--yes"]):
        done = rescue(*words, "--library", url, status=3)
        assert "these credentials may not remove" in done.err
        assert "What to do: use credentials that may remove files" in done.err
    image = Library.open(added.library).image(added.image_id)
    doomed = (DoomedImage(id=image.id, created=image.created),)
    for name, plan in (
        ("delete", DeletePlan(library=str(added.library), image=image.id, created=image.created)),
        ("prune", PrunePlan(library=str(added.library), images=doomed)),
    ):
        ended = carry_out_here(plan, tmp_path / name)
        assert (ended.status, ended.code) == (3, "may-not-delete")
    assert keys(bucket) == before


def test_the_first_note_is_kept_and_that_another_cannot_be_is_said(added: Sample, tmp_path: Path) -> None:
    assert verify_here(added, tmp_path / "first").status == 0
    with pytest.raises(RefusedError, match="may add files, but not replace") as caught:
        care.rename(added.library, added.image_id, "another")
    assert caught.value.code == "may-not-replace"
    assert verify_here(added, tmp_path / "again").status == 0
    assert Library.open(added.library).images().images[0].label == ""
    noted = Library.open(added.library).notes(added.image_id).verified
    assert noted is not None
    assert noted.job == "first"


def test_images_are_copied_there_again_and_again(bucket: S3Store, captured: Sample, tmp_path: Path) -> None:
    target = remote.folder_for(url_of(bucket))
    plan = CopyImagesPlan(library=str(captured.library), target=str(target))
    for name in ("first", "second", "third"):
        done = carry_out_here(plan, tmp_path / name)
        assert done.status == 0, done
    assert [image.id for image in Library.open(target).images().images] == [captured.image_id]


def test_a_chunk_that_somebody_else_stored_meanwhile_is_good_and_one_that_is_bad_ends_the_backup(
    bucket: S3Store, added: Sample
) -> None:
    store = Library.open(added.library).store()
    good, bad = b"good" * 1000, b"bad" * 1000
    for data, frame in ((good, compress(good, 19)), (bad, b"rubbish")):
        name = chunk_id(data)
        obstore.put(bucket, f"office/images/chunks/{name.hex()[:4]}/{name.hex()}.cacnk", frame)
    store.put(chunk_id(good), compress(good, 1))
    store.sync()
    store.put(chunk_id(bad), compress(bad, 1))
    with pytest.raises(RefusedError, match="not replace"):
        store.sync()
