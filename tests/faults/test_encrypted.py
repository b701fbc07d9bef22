"""Encrypted libraries: all works with the key and nothing without it, and what lies there tells nothing."""

import os
import shutil
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from imaging import care, encryption, freeing, inventory, keyring, mediasource, planner, structure
from imaging.content import Content
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.events import CaptureResult, PruneResult, VerifyResult
from imaging.imageplans import CopyImagesPlan
from imaging.jobs import JobState
from imaging.keyslots import LEAST, SlotKind
from imaging.library import Library
from imaging.reader import DiskReader
from tests.disks import MIB, blank
from tests.faults.killing import finish, kill, start, wait_for_step
from tests.faults.proof import extract, prove
from tests.faults.test_deletions import chunks_of
from tests.faults.test_killed_captures import BREAKS, leave_mark
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    carry_out_here,
    holds_used_bytes,
    restore_here,
    verify_here,
    wide_disk,
)

WORDS = "correct horse battery"

pytestmark = pytest.mark.usefixtures("no_keys")


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted library with one image, the folder that it lies in, its key, and its recovery key."""

    sample: Sample
    key: bytes
    recovery: str


@pytest.fixture(scope="module")
def made(quick: Path, captured: Sample) -> Sealed:
    """One encrypted library; not to be damaged."""
    folder = quick / "encrypted"
    folder.mkdir()
    library, recovery = encryption.create(folder / "library", WORDS, cost=LEAST)
    key = keyring.key_of(library.info.id)
    result = capture_here(captured.disk, library.path, folder / "job").result
    assert isinstance(result, CaptureResult)
    return Sealed(Sample(library.path, result.image, captured.disk), key, recovery)


@pytest.fixture
def sealed(made: Sealed, tmp_path: Path) -> Sealed:
    """A copy of it, opened."""
    copy = made.sample.copy(tmp_path / "library")
    keyring.learn(Library.look(copy.library).id, made.key)
    return Sealed(copy, made.key, made.recovery)


def stored(library: Path) -> dict[Path, bytes]:
    """Every file of a library."""
    return {path.relative_to(library): path.read_bytes() for path in library.rglob("*") if path.is_file()}


def frames(library: Path) -> list[Path]:
    """The files of all chunks, the largest last."""
    return sorted(library.glob("chunks/*/*.cacnk"), key=lambda path: path.stat().st_size)


def test_an_image_is_captured_verified_read_and_restored(sealed: Sealed, tmp_path: Path) -> None:
    sample = sealed.sample
    assert verify_here(sample, tmp_path / "verify").status == 0
    library = Library.open(sample.library)
    reader = DiskReader(Content.load(library, sample.image, sample.imaged))
    assert b"".join(reader.read(3 * MIB - 7, MIB)) == sample.disk.read_bytes()[3 * MIB - 7 : 4 * MIB - 7]
    again = capture_here(sample.disk, sample.library, tmp_path / "again").result
    assert isinstance(again, CaptureResult)
    assert again.new == 0
    assert restore_here(sample, blank(tmp_path / "new.img", DISK_SIZE), tmp_path / "restore").status == 0
    assert holds_used_bytes(sample, tmp_path / "new.img")
    assert verify_here(sample, tmp_path / "against", against=tmp_path / "new.img").status == 0


def test_names_and_data_tell_nothing(sealed: Sealed, captured: Sample) -> None:
    care.rename(sealed.sample.library, sealed.sample.image_id, "of the boss's laptop")
    files = stored(sealed.sample.library)
    plain = stored(captured.library)
    data = b"".join(data for path, data in files.items() if path.name != "library.json")
    for word in (b"the boss's", b"logical_sector", b"created", WORDS.encode()):
        assert word not in data, word
    assert not chunks_of(sealed.sample.library) & chunks_of(captured.library)
    blocks = {data[:64] for data in plain.values() if len(data) > 64}
    assert not any(data[:64] in blocks or data[28:92] in blocks for data in files.values())
    assert len(chunks_of(sealed.sample.library)) == len(chunks_of(captured.library))


def test_without_its_passphrase_a_library_is_closed(sealed: Sealed) -> None:
    path = sealed.sample.library
    keyring.forget_all()
    with pytest.raises(RefusedError) as caught:
        Library.open(path)
    assert caught.value.code == "passphrase-needed"
    assert Library.look(path).encryption is not None
    for words, code in (("not this one", "wrong-passphrase"), ("", "wrong-passphrase")):
        with pytest.raises(RefusedError) as caught:
            keyring.unlock(Library.look(path), words, str(path))
        assert caught.value.code == code
    for words, kind in ((WORDS, SlotKind.PASSPHRASE), (sealed.recovery.lower(), SlotKind.RECOVERY)):
        keyring.forget_all()
        assert keyring.unlock(Library.look(path), words, str(path)).kind is kind
        assert Library.open(path).images().images


def test_a_passphrase_comes_from_a_file_or_is_asked_for_three_times(
    sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, file = sealed.sample.library, tmp_path / "words"
    asked: list[bool] = []

    def ask(where: str, wrong: bool) -> str:
        assert where == str(path)
        asked.append(wrong)
        return "not this one"

    keyring.forget_all()
    keyring.ask_with(ask)
    with pytest.raises(RefusedError, match="passphrase is wrong"):
        Library.open(path)
    assert asked == [False, True, True]
    keyring.ask_with(None)
    monkeypatch.setenv(keyring.PASSPHRASE_FILE, str(file))
    file.write_text(f"another library's\n{WORDS}\n")
    assert Library.open(path).images().images


def test_a_library_is_gone_through_without_its_chunks_being_read(sealed: Sealed) -> None:
    library = Library.open(sealed.sample.library)
    found = structure.check(library, lambda _done, _all: None, threading.Event())
    assert found.whole
    assert (found.named, found.orphans) == (len(frames(library.path)), structure.Stock(chunks=0, bytes=0))
    frames(library.path)[-1].unlink()
    found = structure.check(library, lambda _done, _all: None, threading.Event())
    assert (found.whole, found.bad_count, found.findings[0].image) == (False, 1, sealed.sample.image_id)


@pytest.mark.parametrize("how", [*BREAKS, "swapped"])
def test_a_chunk_that_was_changed_is_found_set_aside_and_healed(sealed: Sealed, tmp_path: Path, how: str) -> None:
    sample = sealed.sample
    first, second = frames(sample.library)[-2:]
    frame = first.read_bytes()
    first.write_bytes(second.read_bytes() if how == "swapped" else BREAKS[how](frame))
    done = verify_here(sample, tmp_path / "first")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert restore_here(sample, blank(tmp_path / "new.img", DISK_SIZE), tmp_path / "restore").status == 4
    assert not first.exists()
    assert first.with_name(first.name + ".bad").exists()
    again = capture_here(sample.disk, sample.library, tmp_path / "capture").result
    assert isinstance(again, CaptureResult)
    assert again.new == 1
    assert verify_here(sample, tmp_path / "second").status == 0


def test_a_bad_chunk_is_mended_from_a_plain_library_and_other_images_are_named(
    sealed: Sealed, captured: Sample, tmp_path: Path
) -> None:
    sample = sealed.sample
    other = capture_here(sample.disk, sample.library, tmp_path / "again").result
    assert isinstance(other, CaptureResult)
    bad = frames(sample.library)[-1]
    bad.write_bytes(bad.read_bytes()[:-1])
    found = verify_here(sample, tmp_path / "verify").result
    assert isinstance(found, VerifyResult)
    assert found.hurt == (other.image,)
    plan = replace(planner.plan_verify(sample.library, sample.image), repair_from=str(captured.library))
    assert carry_out_here(plan, tmp_path / "mend").status == 0
    assert verify_here(sample, tmp_path / "after").status == 0


def test_any_file_that_was_changed_cut_or_moved_to_another_place_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    sample = sealed.sample
    again = capture_here(sample.disk, sample.library, tmp_path / "again").result
    assert isinstance(again, CaptureResult)
    care.note(sample.library, sample.image_id, "a note")
    other = Sample(sample.library, again.image, sample.disk)
    for suffix in ("caibx", "used", "blake3"):
        mine, theirs = sample.part(suffix), other.part(suffix)
        whole = mine.read_bytes()
        for bad in (
            theirs.read_bytes(),
            whole[:-1],
            whole[:-1] + bytes([whole[-1] ^ 1]),
            b"",
            sample.disk.read_bytes()[:99],
        ):
            mine.write_bytes(bad)
            assert verify_here(sample, tmp_path / "verify").status == 4
        mine.write_bytes(whole)
    assert verify_here(sample, tmp_path / "verify").status == 0
    whole = sample.manifest.read_bytes()
    for bad in (other.manifest.read_bytes(), whole[:50], whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]):
        sample.manifest.write_bytes(bad)
        assert [image.id for image in Library.open(sample.library).images().damaged] == [sample.image_id]
    sample.manifest.write_bytes(whole)
    notes = sample.manifest.with_name("notes.json")
    other.manifest.with_name("notes.json").write_bytes(notes.read_bytes())
    assert Library.open(sample.library).notes(other.image_id).text == ""
    assert Library.open(sample.library).notes(sample.image_id).text == "a note"


def test_a_plain_file_among_sealed_ones_is_not_believed(sealed: Sealed, captured: Sample) -> None:
    sealed.sample.manifest.write_bytes(captured.manifest.read_bytes())
    (damaged,) = Library.open(sealed.sample.library).images().damaged
    assert "not encrypted" in damaged.problem


def test_a_library_that_is_suddenly_not_encrypted_is_not_written_to(sealed: Sealed, tmp_path: Path) -> None:
    sample = sealed.sample
    plain = Library.create(tmp_path / "plain").path / "library.json"
    mine = Library.look(sample.library).id
    (sample.library / "library.json").write_text(plain.read_text().replace(Library.look(plain.parent).id, mine))
    done = capture_here(sample.disk, sample.library, tmp_path / "job")
    assert (done.status, done.code) == (4, "bad-key")


@pytest.mark.parametrize("left", ["another", "nothing"])
def test_no_other_library_is_taken_for_the_one_that_was_opened_there(sealed: Sealed, tmp_path: Path, left: str) -> None:
    path = sealed.sample.library
    plan = planner.plan_capture([inventory.look(str(sealed.sample.disk))], path)
    Library.open(path)
    shutil.rmtree(path)
    if left == "another":
        Library.create(tmp_path / "plain").path.rename(path)
    with pytest.raises(BadImageError) as caught:
        Library.open_or_create(path)
    assert caught.value.code == "bad-key"
    job = finish(start(plan))
    assert job.finished is not None
    assert job.finished.code == "bad-key"
    assert not path.exists() or not chunks_of(path)


def test_images_are_deleted_and_pruned_and_no_other_loses_a_chunk(sealed: Sealed, tmp_path: Path) -> None:
    sample, disk = sealed.sample, tmp_path / "own" / "pc.img"
    disk.parent.mkdir()
    data = bytearray(sample.disk.read_bytes())
    data[2 * MIB : 2 * MIB + 999] = os.urandom(999)
    disk.write_bytes(data)
    again = capture_here(disk, sample.library, tmp_path / "again").result
    assert isinstance(again, CaptureResult)
    assert again.new == 1
    before = chunks_of(sample.library)
    orphan = Library.open(sample.library).store()
    orphan.put(bytes(32), b"not looked into")
    orphan.sync()
    plan = replace(freeing.plan_prune(sample.library, None, datetime.now(UTC))[0], grace=0)
    freed = freeing.freed_by_pruning(plan, threading.Event())
    pruned = carry_out_here(plan, tmp_path / "prune").result
    assert isinstance(pruned, PruneResult)
    assert (pruned.orphans, pruned.freed) == (freed.chunks, freed.bytes) == (1, 43)
    assert chunks_of(sample.library) == before
    doomed = freeing.plan_delete(sample.library, sample.image_id)
    expected = freeing.freed_by(doomed, threading.Event())
    assert expected.chunks == 1
    assert carry_out_here(doomed, tmp_path / "delete").status == 0
    assert len(before - chunks_of(sample.library)) == 1
    left = Sample(sample.library, again.image, disk)
    assert verify_here(left, tmp_path / "left").status == 0
    assert carry_out_here(freeing.plan_delete(sample.library, again.image), tmp_path / "last").status == 0
    assert not chunks_of(sample.library)


@pytest.mark.parametrize("how", BREAKS)
def test_chunks_that_a_power_loss_left_broken_are_healed_by_the_next_capture(
    sealed: Sealed, tmp_path: Path, how: str
) -> None:
    sample = sealed.sample
    mark = leave_mark(sample.library, began=time.time())
    broken = frames(sample.library)[-3:]
    for path in broken:
        path.write_bytes(BREAKS[how](path.read_bytes()))
    result = capture_here(sample.disk, sample.library, tmp_path / "job").result
    assert isinstance(result, CaptureResult)
    assert result.new == 3
    assert verify_here(sample, tmp_path / "verify").status == 0
    assert not mark.exists()


def test_a_worker_of_its_own_gets_the_key_and_one_that_was_killed_is_made_up_for(
    sealed: Sealed, tmp_path: Path
) -> None:
    disk = wide_disk(tmp_path / "wide.img", 24, seed=5)
    plan = planner.plan_capture([inventory.look(str(disk))], sealed.sample.library, level=19)
    job = start(plan)
    wait_for_step(job, "Capturing")
    kill(job)
    assert job.state is JobState.DIED
    assert len(Library.open(sealed.sample.library).images().images) == 1
    job = finish(start(replace(plan, level=1)))
    assert job.state is JobState.DONE
    assert not (job.folder / "keys").exists()
    result = job.finished.result if job.finished else None
    assert isinstance(result, CaptureResult)
    assert verify_here(Sample(sealed.sample.library, result.image, disk), tmp_path / "verify").status == 0


def test_a_worker_without_the_key_says_so(sealed: Sealed) -> None:
    plan = planner.plan_verify(sealed.sample.library, sealed.sample.image)
    keyring.forget_all()
    job = finish(start(plan))
    assert job.finished is not None
    assert job.finished.code == "passphrase-needed"


def test_an_encrypted_image_is_copied_to_a_plain_library_only_if_that_is_said(sealed: Sealed, tmp_path: Path) -> None:
    sample, target = sealed.sample, tmp_path / "plain"
    plan = CopyImagesPlan(library=str(sample.library), target=str(target))
    done = carry_out_here(plan, tmp_path / "refused")
    assert (done.status, done.code) == (3, "would-unseal")
    assert not target.exists() or not chunks_of(target)
    assert carry_out_here(replace(plan, unseal=True), tmp_path / "unseal").status == 0
    prove(target)
    disk = extract(target, sample.image_id, sample.disk.name, tmp_path / "extracted.img")
    assert disk.read_bytes() == sample.disk.read_bytes()
    assert Library.open(target).captured(sample.image_id) == sample.image


def test_an_encrypted_image_is_put_on_no_recovery_medium(sealed: Sealed) -> None:
    library = Library.open(sealed.sample.library)
    with pytest.raises(RefusedError) as caught:
        mediasource.weigh([(library, sealed.sample.image)], 4096)
    assert caught.value.code == "would-unseal"


def test_a_plain_image_is_copied_to_an_encrypted_library_and_on_to_another(captured: Sample, tmp_path: Path) -> None:
    for source, name in ((captured.library, "one"), (tmp_path / "one", "two")):
        encryption.create(tmp_path / name, WORDS, cost=LEAST)
        plan = CopyImagesPlan(library=str(source), target=str(tmp_path / name))
        assert carry_out_here(plan, tmp_path / f"job-{name}").status == 0
        copy = Sample(tmp_path / name, captured.image_id, captured.disk)
        assert verify_here(copy, tmp_path / f"verify-{name}").status == 0
        assert copy.image == captured.image
    assert not chunks_of(tmp_path / "one") & chunks_of(tmp_path / "two")


def test_passphrases_come_and_go_without_a_byte_of_the_images_changing(sealed: Sealed) -> None:
    path = sealed.sample.library
    before = stored(path)
    encryption.add(path, WORDS, "a second passphrase")
    encryption.change(path, WORDS, "in place of the first")
    assert opens(path, sealed.recovery) == {"a second passphrase", "in place of the first", sealed.recovery}
    renewed = encryption.new_recovery_key(path, "a second passphrase")
    assert opens(path, sealed.recovery, renewed) == {"a second passphrase", "in place of the first", renewed}
    encryption.remove(path, "in place of the first")
    encryption.add(path, renewed, "by the recovery key")
    slots = Library.look(path).encryption
    assert slots is not None
    first = next(slot for slot in slots.slots if slot.kind is SlotKind.PASSPHRASE)
    encryption.remove(path, renewed, first.id)
    assert opens(path, renewed) == {"by the recovery key", renewed}
    with pytest.raises(RefusedError) as caught:
        encryption.remove(path, "by the recovery key")
    assert caught.value.code == "last-passphrase"
    with pytest.raises(UsageError):
        encryption.remove(path, "by the recovery key", "nothing")
    with pytest.raises(RefusedError):
        encryption.add(path, WORDS, "somebody else's")
    after = stored(path)
    assert [p for p in before if before[p] != after[p]] == [Path("library.json")]
    assert list(after) == list(before)


def test_a_passphrase_is_changed_wholly_or_not_at_all(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sealed.sample.library

    def full(fd: int, data: bytes) -> None:
        os.write(fd, bytes(data)[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("imaging.durable.write_all", full)
        with pytest.raises(Exception, match="disk is full"):
            encryption.change(path, WORDS, "the new passphrase")
    assert opens(path, sealed.recovery) == {WORDS, sealed.recovery}


def opens(path: Path, *more: str) -> set[str]:
    """Which of all passphrases open a library now."""
    known = (WORDS, "a second passphrase", "in place of the first", "by the recovery key", *more)
    found = set()
    for words in known:
        try:
            keyring.unlock(Library.look(path), words, "x")
        except RefusedError:
            continue
        found.add(words)
    return found
