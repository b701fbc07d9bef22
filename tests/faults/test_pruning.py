"""Pruning frees what no image names, and never takes a chunk from an image that stays."""

import errno
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imaging import care, freeing, naming, stores
from imaging.chunk import chunk_id
from imaging.errors import RefusedError
from imaging.events import CaptureResult, PruneResult
from imaging.imageplans import CopyImagesPlan, PrunePlan
from imaging.index import DigestTable
from imaging.jobs import JobState
from imaging.library import Library
from imaging.retention import Rule
from imaging.stores import LocalStore
from imaging.writers import Writer
from tests.command import Outcome
from tests.disks import MIB
from tests.faults.killing import finish, kill, moments, start
from tests.faults.proof import prove
from tests.faults.test_deletions import bytes_of, chunks_of
from tests.faults.world import Sample, capture_here, carry_out_here, images_of, verify_here

OLD = time.time() - 3 * 24 * 3600


@pytest.fixture(scope="module")
def pair(captured: Sample, quick: Path) -> tuple[Sample, Sample]:
    """A library with two images of one disk, of which two chunks have changed in between; not to be changed."""
    folder = quick / "pair"
    disk, library = folder / "own/pc.img", folder / "two"
    disk.parent.mkdir(parents=True)
    disk.write_bytes(captured.disk.read_bytes())
    first = capture_here(disk, library, folder / "first").result
    with disk.open("r+b") as file:
        for at in (2 * MIB, 9 * MIB):
            file.seek(at)
            file.write(os.urandom(1000))
    time.sleep(1.01)  # an image's date is whole seconds, and the newer one is to be the newer one
    second = capture_here(disk, library, folder / "second").result
    assert isinstance(first, CaptureResult)
    assert isinstance(second, CaptureResult)
    assert second.new == 2
    return Sample(library, first.image, disk), Sample(library, second.image, disk)


@pytest.fixture
def two(pair: tuple[Sample, Sample], tmp_path: Path) -> tuple[Sample, Sample]:
    """The same in a library of the test's own."""
    first, second = pair
    library = first.copy(tmp_path / "two").library
    return replace(first, library=library), replace(second, library=library)


def leave_orphan(library: Path, data: bytes, *, when: float = OLD) -> Path:
    """A chunk that no image names, as a capture that never ended leaves it."""
    store = LocalStore(library / "chunks")
    name = chunk_id(data)
    store.put(name, b"not looked into")
    store.sync()
    os.utime(store.path(name), (when, when))
    return store.path(name)


def planned(library: Path, rule: Rule | None = None) -> PrunePlan:
    return freeing.plan_prune(library, rule, datetime.now(UTC))[0]


def test_chunks_that_no_image_names_are_freed_and_nothing_else(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, second = two
    library = first.library
    before = chunks_of(library)
    orphan = leave_orphan(library, b"left by a capture that was killed")
    plan = planned(library)
    freed = freeing.freed_by_pruning(plan, threading.Event())
    done = carry_out_here(plan, tmp_path / "job")
    assert done.status == 0, done
    assert isinstance(done.result, PruneResult)
    assert (done.result.orphans, done.result.chunks, done.result.images) == (1, 1, ())
    assert (freed.chunks, freed.bytes) == (done.result.chunks, done.result.freed)
    assert not orphan.exists()
    assert chunks_of(library) == before
    assert set(images_of(library)) == {first.image_id, second.image_id}


def test_young_chunks_stay_for_a_capture_may_be_about_to_name_them(sample: Sample, tmp_path: Path) -> None:
    orphan = leave_orphan(sample.library, b"just stored", when=time.time() - 60)
    assert freeing.freed_by_pruning(planned(sample.library), threading.Event()).chunks == 0
    done = carry_out_here(planned(sample.library), tmp_path / "job")
    assert isinstance(done.result, PruneResult)
    assert (done.result.orphans, done.result.young) == (0, orphan.stat().st_size)


def test_a_rule_deletes_the_older_image_and_frees_what_it_alone_named(
    two: tuple[Sample, Sample], tmp_path: Path
) -> None:
    first, second = two
    plan = planned(first.library, Rule(last=1))
    assert [image.id for image in plan.images] == [first.image_id]
    freed = freeing.freed_by_pruning(plan, threading.Event())
    before = bytes_of(first.library)
    done = carry_out_here(plan, tmp_path / "job")
    assert isinstance(done.result, PruneResult)
    assert done.result.images == (first.image_id,)
    assert (
        (freed.chunks, freed.bytes) == (done.result.chunks, done.result.freed) == (2, before - bytes_of(first.library))
    )
    assert images_of(first.library) == [second.image_id]
    assert verify_here(second, tmp_path / "verify").status == 0


def test_a_pinned_image_is_neither_pruned_nor_deleted(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, _ = two
    plan = planned(first.library, Rule(last=1))
    care.pin(first.library, first.image_id, pinned=True)
    assert planned(first.library, Rule(last=1)).images == ()
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "pinned")
    with pytest.raises(RefusedError, match="pinned"):
        freeing.plan_delete(first.library, first.image_id)
    care.pin(first.library, first.image_id, pinned=False)
    assert carry_out_here(plan, tmp_path / "again").status == 0


def test_an_image_that_changed_since_it_was_shown_stops_all(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, second = two
    plan = planned(first.library, Rule(last=1))
    first.manifest.write_bytes(b"{}")
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "image-changed")
    assert set(images_of(first.library)) == {first.image_id, second.image_id}


def test_nothing_is_freed_where_it_cannot_be_known_what_an_image_names(sample: Sample, tmp_path: Path) -> None:
    orphan = leave_orphan(sample.library, b"somebody's")
    Library.open(sample.library).file(sample.image_id, sample.imaged.name, "caibx").write_bytes(b"no index")
    assert freeing.freed_by_pruning(planned(sample.library), threading.Event()).problem
    done = carry_out_here(planned(sample.library), tmp_path / "job")
    assert (done.status, done.code) == (0, "not-freed")
    assert isinstance(done.result, PruneResult)
    assert done.result.chunks == 0
    assert orphan.exists()


@pytest.mark.parametrize("how", ["folder", "letters", "blank"])
def test_a_copy_that_is_misfiled_takes_no_chunk_along(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What images name is gone through in parts, and a copy in the wrong folder is in another than the chunk."""
    monkeypatch.setattr(naming, "_MOST_HELD", 1)
    before = chunks_of(sample.library)
    for number, path in enumerate(sorted((sample.library / "chunks").glob("*/*.cacnk"))):
        os.utime(path, (OLD, OLD))
        name = path.name
        copies = {
            "folder": path.parents[1] / f"{0x1111 * (number % 16):04x}" / name,
            "letters": path.with_name(f"{name[:4]}{path.stem[4:].upper()}{path.suffix}"),
            "blank": path.with_name(f"{name[:6]} {name[6:]}"),
        }
        copies[how].parent.mkdir(exist_ok=True)
        if not copies[how].exists():
            copies[how].write_bytes(path.read_bytes())
            os.utime(copies[how], (OLD, OLD))
    result = carry_out_here(planned(sample.library), tmp_path / "job").result
    assert isinstance(result, PruneResult)
    assert (result.chunks, result.orphans) == (0, 0)
    assert before <= chunks_of(sample.library)
    prove(sample.library)


def test_what_links_lead_to_is_never_removed(sample: Sample, tmp_path: Path) -> None:
    other = tmp_path / "others"
    other.mkdir()
    orphan = leave_orphan(sample.library, b"of another library")
    folder = orphan.parent
    stranger = other / orphan.name
    orphan.rename(stranger)
    folder.rmdir()
    folder.symlink_to(other)
    done = carry_out_here(planned(sample.library), tmp_path / "job")
    assert done.status == 0
    assert stranger.exists()


def test_a_backup_at_work_keeps_a_pruning_from_beginning(sample: Sample, tmp_path: Path) -> None:
    orphan = leave_orphan(sample.library, b"about to be named")
    writer = Writer(Library.open(sample.library), "20260101-000000-00000000")
    try:
        done = carry_out_here(planned(sample.library), tmp_path / "job")
    finally:
        writer.end()
    assert (done.status, done.code) == (3, "library-busy")
    assert orphan.exists()


def test_an_image_that_came_meanwhile_stops_the_removing(
    two: tuple[Sample, Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = two
    orphan = leave_orphan(first.library, b"named by what comes")
    listed = stores.LocalStore.listed

    def comes(self: stores.LocalStore, low: int, high: int, but: stores.Passed) -> object:
        manifest = first.manifest.read_bytes().replace(first.image_id.encode(), b"20260101-000000-c0ffee00")
        folder = first.manifest.parent.with_name("20260101-000000-c0ffee00")
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_bytes(manifest)
        return listed(self, low, high, but)

    monkeypatch.setattr(stores.LocalStore, "listed", comes)
    done = carry_out_here(planned(first.library), tmp_path / "job")
    assert (done.status, done.code) == (3, "library-busy")
    assert orphan.exists()


def test_a_medium_that_fails_ends_it_and_says_what_is_gone(
    two: tuple[Sample, Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two

    def fails(_store: stores.LocalStore, _chunk: bytes) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(stores.LocalStore, "remove", fails)
        done = carry_out_here(planned(first.library, Rule(last=1)), tmp_path / "job")
    assert done.status == 5
    assert images_of(first.library) == [second.image_id]
    done = carry_out_here(planned(first.library), tmp_path / "again")
    assert isinstance(done.result, PruneResult)
    assert done.result.chunks == 2
    assert prove(first.library) == len(chunks_of(first.library))


def test_killed_at_any_moment_no_listed_image_lacks_a_chunk(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, second = two
    for number in range(30):
        leave_orphan(first.library, b"%d" % number)
    for moment in moments(4, 0.5, seed=7):
        job = start(planned(first.library, Rule(last=1)))
        time.sleep(moment)
        kill(job)
        prove(first.library)
    job = finish(start(planned(first.library, Rule(last=1))))
    assert job.state is JobState.DONE
    assert images_of(first.library) == [second.image_id]
    assert prove(first.library) == len(chunks_of(first.library))
    assert verify_here(second, tmp_path / "verify").status == 0


def test_the_command_shows_what_goes_and_wants_it_confirmed(
    two: tuple[Sample, Sample], rescue: Callable[..., Outcome]
) -> None:
    first, second = two
    words = ["prune", "--library", first.library, "--keep-last", "1"]
    shown = rescue(*words, "--plan")
    assert f"{first.image_id}" in shown.out
    assert "GOES" in shown.out
    assert "stays: one of the last" in shown.out
    assert "DELETED: 1 image" in shown.out
    assert rescue(*words, status=3).err
    assert rescue(*words, "--delete", "2", status=3).err
    assert set(images_of(first.library)) == {first.image_id, second.image_id}
    rescue("pin", first.image_id, "--library", first.library)
    assert "pinned" in rescue(*words, "--plan").out
    rescue("unpin", first.image_id, "--library", first.library)
    rescue(*words, "--delete", "1")
    assert images_of(first.library) == [second.image_id]
    assert rescue("prune", "--library", first.library, "--json").events[-1]["status"] == 0


def test_images_are_copied_to_another_library_and_only_what_is_missing(
    two: tuple[Sample, Sample], tmp_path: Path, rescue: Callable[..., Outcome]
) -> None:
    first, second = two
    care.rename(first.library, first.image_id, "Before")
    other = tmp_path / "elsewhere/copies"
    done = rescue("copy-images", first.library, other, "--image", first.image_id, "--json").events[-1]
    assert (done["status"], done["result"]["images"]) == (0, 1)
    assert images_of(other) == [first.image_id]
    assert Library.open(other).image(first.image_id).label == "Before"
    done = rescue("copy-images", first.library, other, "--json").events[-1]
    assert (done["result"]["images"], done["result"]["new"]) == (2, 2)
    for sample in (first, second):
        assert verify_here(Sample(other, sample.image_id, sample.disk), tmp_path / sample.image_id).status == 0
    assert rescue("copy-images", first.library, other, "--json").events[-1]["result"]["new"] == 0
    assert "one library" in rescue("copy-images", first.library, first.library, status=3).err
    assert "no image" in rescue("copy-images", first.library, other, "--image", "x", status=4).err


def test_a_damaged_chunk_is_not_copied(two: tuple[Sample, Sample], tmp_path: Path) -> None:
    first, second = two
    shared = {first.chunk(i) for i in range(len(first.index))} & {second.chunk(i) for i in range(len(second.index))}
    largest = max(shared, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    done = carry_out_here(CopyImagesPlan(library=str(first.library), target=str(tmp_path / "other")), tmp_path / "job")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert images_of(tmp_path / "other") == []


def test_a_forged_image_puts_nothing_under_the_name_of_another_chunk(
    two: tuple[Sample, Sample], tmp_path: Path
) -> None:
    forged = two[0]
    index = forged.index
    whole = [i for i in range(len(index)) if index.length(i) == index.length(0)]
    one, other = whole[0], next(i for i in whole if index.id(i) != index.id(whole[0]))
    # Its own digest and its own frame agree: only the name is that of another's data.
    forged.chunk(one).write_bytes(forged.chunk(other).read_bytes())
    digests = Library.open(forged.library).files(forged.image, forged.imaged).digests
    proofs = DigestTable.blank(len(index))
    for i in range(len(index)):
        proofs.set(i, digests[other if index.id(i) == index.id(one) else i])
    forged.replace_part("blake3", bytes(proofs.encoded))
    target = tmp_path / "other"
    plan = CopyImagesPlan(library=str(forged.library), target=str(target), images=(forged.image_id,))
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (4, "corrupt-chunk"), done
    assert not LocalStore(target / "chunks").has(index.id(one))


def test_an_image_whose_notes_cannot_be_used_may_be_pinned_and_is_not_pruned(
    two: tuple[Sample, Sample], tmp_path: Path
) -> None:
    older, _ = two
    plan = freeing.plan_prune(older.library, Rule(last=1), datetime.now(UTC))[0]
    assert [image.id for image in plan.images] == [older.image_id]
    care.pin(older.library, older.image_id, pinned=True)
    notes = older.manifest.with_name("notes.json")
    notes.write_bytes(notes.read_bytes()[:-20])
    assert freeing.plan_prune(older.library, Rule(last=1), datetime.now(UTC))[0].images == ()
    # Nor by a plan that was made before.
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "pinned"), done
    assert len(images_of(older.library)) == 2
