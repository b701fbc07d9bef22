"""`rescue verify` of several images, what was cut off and goes on, and how quickly is read."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from imaging import proven
from imaging.backlog import plan_verify_set
from imaging.chunk import Buffer
from imaging.errors import IoError
from imaging.events import CaptureResult, Finished, VerifyResult, VerifySetResult
from imaging.imageplans import VerifyPlan, VerifySetPlan
from imaging.library import Library
from imaging.notes import Notes, Verification
from imaging.pipeline import Reporter
from imaging.plan import encode
from imaging.proven import Proven
from imaging.rate import Rate
from imaging.stores import LocalStore
from imaging.verify import verify_and_note
from imaging.worker import carry_out
from tests.command import Outcome
from tests.faults.test_structure import names
from tests.faults.world import Sample, capture_here, carry_out_here, sample_disk, verify_here

Rescue = Callable[..., Outcome]
NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The chunks that are read from a library's folder from now on."""
    found: list[bytes] = []
    get = LocalStore.get

    def counted(self: LocalStore, chunk: bytes, size: int) -> Buffer:
        found.append(chunk)
        return get(self, chunk, size)

    monkeypatch.setattr(LocalStore, "get", counted)
    return found


@pytest.fixture
def several(sample: Sample, tmp_path: Path) -> tuple[Sample, str, str]:
    """A library with the sample, another image of the same disk, and one of another disk."""
    ids = []
    for name, disk in (("same", sample.disk), ("other", sample_disk(tmp_path / "other.img", seed=3, megabytes=6))):
        result = capture_here(disk, sample.library, tmp_path / name).result
        assert isinstance(result, CaptureResult)
        ids.append(result.image)
    return sample, ids[0], ids[1]


def plan_for(sample: Sample, older_than: int | None = None) -> VerifySetPlan:
    return plan_verify_set(Library.open(sample.library), datetime.now(UTC), older_than)


def result_of(done: Finished) -> VerifySetResult:
    assert isinstance(done.result, VerifySetResult), done
    return done.result


def noted(sample: Sample, image: str) -> Verification | None:
    return Library.open(sample.library).notes(image).verified


@contextmanager
def cut_off_after(monkeypatch: pytest.MonkeyPatch, count: int, cancel: threading.Event) -> Iterator[None]:
    """Ask the job to stop once so many chunks were found right."""
    add = Proven.add
    found: list[bytes] = []

    def counted(self: Proven, stamp: bytes) -> None:
        add(self, stamp)
        found.append(stamp)
        if len(found) >= count:
            cancel.set()

    with monkeypatch.context() as patch:
        patch.setattr(Proven, "add", counted)
        yield


def cut_off(plan: VerifyPlan | VerifySetPlan, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> Finished:
    """Carry out a plan that is cancelled after so many chunks."""
    cancel = threading.Event()
    with cut_off_after(monkeypatch, count, cancel):
        return cancelled(plan, folder, cancel)


def cancelled(plan: VerifyPlan | VerifySetPlan, folder: Path, cancel: threading.Event) -> Finished:
    folder.mkdir()
    (folder / "plan.json").write_bytes(encode(plan))
    with (folder / "events.jsonl").open("wb") as out:
        done = carry_out(folder, Reporter(out.write), cancel)
    assert done.status == 6
    return done


def test_all_images_are_verified_and_a_chunk_that_they_share_is_read_once(
    several: tuple[Sample, str, str], reads: list[bytes], tmp_path: Path
) -> None:
    sample, same, other = several
    done = carry_out_here(plan_for(sample), tmp_path / "verify")
    result = result_of(done)
    assert (done.status, result.images, result.bad, result.resumed) == (0, 3, (), 0)
    assert len(reads) == len(set(reads)) == result.chunks
    assert set(reads) == {bytes.fromhex(path.name[:64]) for path in chunk_files(sample)}
    for image in (sample.image_id, same, other):
        kept = noted(sample, image)
        assert kept is not None
        assert kept.good
        assert kept.chunks > 0
    assert plan_for(sample, 1).images == ()


def chunk_files(sample: Sample) -> list[Path]:
    return list((sample.library / "chunks").glob("*/*.cacnk"))


def test_every_image_that_is_not_right_is_named_and_the_others_are_verified(
    several: tuple[Sample, str, str], tmp_path: Path
) -> None:
    sample, same, other = several
    sample.chunk(2).write_bytes(sample.chunk(2).read_bytes()[:-5])
    broken = sample.library / "images" / "20260101-000000-broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    done = carry_out_here(plan_for(sample), tmp_path / "verify")
    result = result_of(done)
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert {bad.image: bad.chunks for bad in result.bad} == {sample.image_id: 1, same: 1, broken.name: 0}
    assert (result.images, result.bad_count, result.unread) == (4, 3, 0)
    kept = noted(sample, other)
    assert kept is not None
    assert kept.good
    # Those that are not right are looked at again, however lately they were.
    assert set(plan_for(sample, 1).images) == {sample.image_id, same, broken.name}


def test_an_image_that_was_deleted_meanwhile_does_not_count(several: tuple[Sample, str, str], tmp_path: Path) -> None:
    sample, same, _ = several
    plan = plan_for(sample)
    shutil.rmtree(sample.library / "images" / same)
    done = carry_out_here(plan, tmp_path / "verify")
    assert (done.status, result_of(done).images, result_of(done).bad) == (0, 2, ())


def test_an_image_that_cannot_be_read_to_its_end_is_not_called_bad_and_does_not_stop_the_others(
    several: tuple[Sample, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, same, other = several
    failing, get = sample.index.id(2), LocalStore.get

    def fail(self: LocalStore, chunk: bytes, size: int) -> Buffer:
        if chunk == failing:
            raise IoError("bad sector", code="read-failed")
        return get(self, chunk, size)

    monkeypatch.setattr(LocalStore, "get", fail)
    done = carry_out_here(plan_for(sample), tmp_path / "verify")
    assert (done.status, done.code) == (5, "read-failed")
    assert {bad.image for bad in result_of(done).bad if bad.unread} == {sample.image_id, same}
    assert noted(sample, sample.image_id) is None
    assert noted(sample, other) is not None


def test_a_library_that_goes_away_is_no_fault_of_its_images_and_what_was_read_stays_known(
    several: tuple[Sample, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, plan, verify = several[0], plan_for(several[0]), verify_and_note
    aside = tmp_path / "unplugged"

    def unplug(*words: Any) -> VerifyResult:
        result = verify(*words)
        sample.library.rename(aside)
        return result

    with monkeypatch.context() as patch:
        patch.setattr("imaging.verifyset.verify_and_note", unplug)
        done = carry_out_here(plan, tmp_path / "first")
    aside.rename(sample.library)
    assert (done.status, done.code, done.result) == (4, "not-a-library", None)
    assert done.state.startswith("Images verified: 1 of 3.")
    assert result_of(carry_out_here(plan, tmp_path / "second")).resumed > 0


def test_what_was_cut_off_goes_on_where_it_was_and_once_it_has_ended_all_is_read_again(
    several: tuple[Sample, str, str], reads: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample, plan = several[0], plan_for(several[0])
    done = cut_off(plan, tmp_path / "first", monkeypatch, 7)
    assert "goes on from here" in done.state
    before = set(reads)
    reads.clear()
    result = result_of(carry_out_here(plan, tmp_path / "second"))
    assert before
    assert result.resumed >= 7
    # Nothing that was found right is read twice; what was under way as it was stopped may be.
    assert len(reads) == result.chunks == len(chunk_files(sample)) - result.resumed
    reads.clear()
    assert result_of(carry_out_here(plan, tmp_path / "third")).resumed == 0
    assert len(reads) == len(chunk_files(sample))


def test_one_image_goes_on_too_unless_all_is_to_be_read_anew(
    sample: Sample, reads: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = VerifyPlan(library=str(sample.library), image=sample.image_id)
    cut_off(plan, tmp_path / "first", monkeypatch, 4)
    reads.clear()
    result = carry_out_here(plan, tmp_path / "second").result
    assert isinstance(result, VerifyResult)
    assert result.resumed >= 4
    assert len(reads) + result.resumed == result.chunks == len(names(sample))
    cut_off(plan, tmp_path / "third", monkeypatch, 4)
    reads.clear()
    assert carry_out_here(structs.replace(plan, anew=True), tmp_path / "fourth").status == 0
    assert set(reads) == names(sample)


def test_a_chunk_that_was_changed_after_it_was_read_is_read_again_whatever_its_date_says(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = VerifyPlan(library=str(sample.library), image=sample.image_id)
    cut_off(plan, tmp_path / "first", monkeypatch, 5)
    for path in chunk_files(sample):
        status, data = path.stat(), bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = carry_out_here(plan, tmp_path / "second").result
    assert isinstance(result, VerifyResult)
    assert (result.resumed, result.bad_count) == (0, len(names(sample)))


def test_what_one_digest_table_proves_says_nothing_of_another(several: tuple[Sample, str, str], tmp_path: Path) -> None:
    sample = several[0]
    table = bytearray(sample.part("blake3").read_bytes())
    table[24 + 32 * 2] ^= 1
    sample.replace_part("blake3", bytes(table))
    done = carry_out_here(plan_for(sample), tmp_path / "verify")
    assert [bad.image for bad in result_of(done).bad] == [sample.image_id]


@pytest.mark.parametrize("damage", ["torn", "foreign", "old", "long ago"])
def test_the_record_of_what_was_read_may_be_torn_foreign_or_old(damage: str, tmp_path: Path) -> None:
    path, stamps = tmp_path / "record", [bytes([i]) * 12 for i in range(9)]
    with Proven(path) as first:
        for stamp in stamps:
            first.add(stamp)
    data = path.read_bytes()
    match damage:
        case "torn":
            path.write_bytes(data[:-5])
        case "foreign":
            path.write_bytes(os.urandom(200))
        case "old":
            path.write_bytes(data[:8] + int(NOW.timestamp() * 2).to_bytes(8, "little") + data[16:])
        case "long ago":
            path.write_bytes(data[:8] + (1).to_bytes(8, "little") + data[16:])
    with Proven(path) as again:
        known = [stamp in again for stamp in stamps]
        assert known == ([True] * 8 + [False] if damage == "torn" else [False] * 9)
        again.add(stamps[8])
    with Proven(path) as last:
        assert stamps[8] in last
        assert b"\1" + bytes([0]) * 11 not in last


def test_a_record_that_another_job_writes_to_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proven, "_EVERY", 0.0)
    with Proven(tmp_path / "record") as first:
        first.add(b"a" * 12)
        with Proven(tmp_path / "record") as second:
            assert b"a" * 12 not in second
            second.add(b"b" * 12)
            second.finish()
        assert (tmp_path / "record").exists()
        os.close(first._fd)  # as if it had been killed
        first._fd = -1
    with Proven(tmp_path / "record") as third:
        assert (third.resumed, b"a" * 12 in third) == (1, True)


def test_no_more_than_the_rate_is_read_and_a_wait_ends_when_somebody_asks(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    rate = Rate(1000, waits.append)
    for size in (500, 250, 250):
        rate.used(size)
    assert waits == pytest.approx([0.5, 0.75, 1.0], abs=0.2)
    used: list[int] = []
    monkeypatch.setattr(Rate, "used", lambda _self, size: used.append(size))
    assert verify_here(sample, tmp_path / "verify").status == 0
    assert sum(used) == sum(path.stat().st_size for path in chunk_files(sample))


def test_whoever_asks_for_the_end_does_not_wait_for_a_low_rate(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel, used = threading.Event(), Rate.used

    def asked(self: Rate, size: int) -> None:
        cancel.set()
        used(self, size)

    monkeypatch.setattr(Rate, "used", asked)
    cancelled(VerifyPlan(library=str(sample.library), image=sample.image_id, rate=1), tmp_path / "verify", cancel)


def test_who_waits_for_a_verification_longest_comes_first(sample: Sample, tmp_path: Path) -> None:
    ids = [sample.image_id]
    for name in ("b", "c", "d"):
        result = capture_here(sample.disk, sample.library, tmp_path / name).result
        assert isinstance(result, CaptureResult)
        ids.append(result.image)
    library = Library.open(sample.library)

    def verified(image: str, days: int, bad: int = 0, when: str = "") -> None:
        at = when or (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = Verification(when=at, chunks=5, bad=bad)
        library.annotate(image, lambda notes: replace(notes, verified=found))

    verified(ids[0], days=3)
    verified(ids[1], days=40)
    verified(ids[2], days=1, bad=2)
    assert plan_verify_set(library, NOW).images == (ids[3], ids[1], ids[0], ids[2])
    assert plan_verify_set(library, NOW, 30).images == (ids[3], ids[1], ids[2])
    assert plan_verify_set(library, NOW, 2).images == (ids[3], ids[1], ids[0], ids[2])
    verified(ids[0], days=0, when="sometime")
    verified(ids[1], days=-400)  # a clock was wrong
    assert set(plan_verify_set(library, NOW, 30).images) == set(ids)
    library.annotate(ids[3], lambda _: Notes())


def test_the_command_verifies_all_and_says_when_there_is_nothing_to_do(
    rescue: Rescue, command: Rescue, sample: Sample
) -> None:
    done = rescue("verify", "--all", "--rate", "900M", "--library", sample.library)
    assert "every chunk is right: 1" in done.out
    assert "at most 900.0 MB/s" in done.out
    there = ["verify", "--older-than", "30", "--library", sample.library]
    assert "found right in the last 30 days" in command(*there).out
    assert command(*there, "--json").json == {"images": []}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["x", "--all"],
        ["--all", "--older-than", "3"],
        ["--all", "--check"],
        ["--all", "--against", "disk.img"],
    ],
)
def test_what_cannot_be_meant_of_several_images_is_refused(command: Rescue, sample: Sample, words: list[str]) -> None:
    assert command("verify", *words, "--library", sample.library, "--json", status=2).json["error"]["code"] == "usage"


@pytest.mark.parametrize("rate", ["0", "-5", "fast", "20MB", "1e9", "", "20 M"])
def test_a_rate_that_is_none_is_refused(command: Rescue, rate: str) -> None:
    with pytest.raises(SystemExit):
        command("verify", "--all", f"--rate={rate}")
