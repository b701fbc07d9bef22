"""Drives erase themselves before something is restored to them: only those that were meant, and none is left locked."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from imaging import inventory, resuming, sanitizers, sanitizing, wiping, writer
from imaging.errors import IoError, RefusedError
from imaging.events import Unsanitized
from imaging.library import Library
from imaging.notes import Notes
from imaging.pipeline import Reporter
from imaging.restore import _FromLibrary
from imaging.restoreplans import RestorePlan, Wipe
from imaging.sanitize import Method, Obstacle, Sanitizer
from imaging.touched import libraries_used
from rescue.engine import engine
from tests.command import Outcome, run_rescue
from tests.disks import MIB
from tests.faults.drives import OLD, ZEROS, pretend, sanitized
from tests.faults.world import DISK_SIZE, Sample, carry_out_here, images_of, warnings_of


@pytest.mark.parametrize("method", list(Method))
def test_a_drive_erases_itself(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    asked = pretend(tmp_path, old, ZEROS, monkeypatch)
    done = carry_out_here(sanitized(sample, old, method, monkeypatch), tmp_path / "job")
    assert done.status == 0
    assert getattr(done.result, "wiped", "") == Wipe.SANITIZE
    assert getattr(done.result, "unsanitized", ()) == ()
    assert OLD not in old.read_bytes()
    assert str(old) in asked.read_text()
    run_rescue("verify", sample.image_id, "--library", sample.library, "--against", old)


@pytest.mark.parametrize("deed", ["true", "exit 1"])
@pytest.mark.parametrize("method", [Method.NVME_BLOCK_ERASE, Method.NVME_FORMAT, Method.ATA_SECURITY_ERASE])
def test_a_drive_that_only_says_so_is_told_to_forget_all(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method, deed: str
) -> None:
    asked = pretend(tmp_path, old, deed, monkeypatch)
    done = carry_out_here(sanitized(sample, old, method, monkeypatch), tmp_path / "job")
    assert (done.status, done.code) == (8, "not-sanitized")
    assert getattr(done.result, "wiped", "") == Wipe.DISCARD
    assert getattr(done.result, "unsanitized", ()) == (Unsanitized(disk=old.name, expected=False),)
    assert OLD not in old.read_bytes()
    if method.sets_password and deed != "true":
        assert "--security-disable rescue" in asked.read_text()
    assert not (tmp_path / "password").exists()


@pytest.mark.parametrize(("deed", "answer"), [("exit 5", "true"), (ZEROS, "exit 5")])
def test_a_drive_that_keeps_its_password_is_never_called_restored(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, answer: str
) -> None:
    """It would lock itself at the next start; the answer alone may have been lost when the password was set."""
    pretend(tmp_path, old, deed, monkeypatch, answer=answer)
    (tmp_path / "stuck").touch()
    done = carry_out_here(sanitized(sample, old, Method.ATA_SECURITY_ERASE, monkeypatch), tmp_path / "job")
    assert (done.status, done.code) == (5, "password-set")
    assert f"--security-disable rescue {old}" in done.hint
    assert "only partly restored" in done.state
    assert inventory.look(str(old)).unfinished == sample.image_id


def test_a_password_that_was_set_without_an_answer_is_taken_back(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, old, ZEROS, monkeypatch, answer="exit 5")
    done = carry_out_here(sanitized(sample, old, Method.ATA_SECURITY_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.DISCARD
    assert not (tmp_path / "password").exists()


def test_a_drive_that_fails_in_the_middle_has_its_mark_again(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, old, ZEROS, monkeypatch, states="0x2\n0x3\n")
    monkeypatch.setattr(wiping, "wipe", lambda *_words: pytest.fail("as if the power went"))
    with pytest.raises(pytest.fail.Exception):
        carry_out_here(sanitized(sample, old, Method.NVME_CRYPTO_ERASE, monkeypatch), tmp_path / "job")
    assert inventory.look(str(old)).unfinished == sample.image_id


def test_a_drive_that_fails_takes_data_again_and_is_wiped_otherwise(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pretend(tmp_path, old, "true", monkeypatch, states="0x2\n0x3\n")
    done = carry_out_here(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.DISCARD
    assert OLD not in old.read_bytes()
    words = [line.split() for line in asked.read_text().splitlines() if line.startswith("sanitize ")]
    began, *_, last = [line for line in words if "--help" not in line]
    assert "--ause" in began  # else the drive would allow nothing but another attempt
    assert last == ["sanitize", str(old), "--sanact=1"]


def test_a_drive_that_takes_nothing_after_it_has_failed_is_told_so(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, old, "exit 5", monkeypatch)
    plan = sanitized(sample, old, Method.ATA_BLOCK_ERASE, monkeypatch)
    write = writer.Target.write

    def refusing(self: writer.Target, data: memoryview | bytes, offset: int) -> None:
        if "--sanitize-" in (tmp_path / "asked").read_text():
            raise IoError("writing failed: Input/output error", code="write-failed")
        write(self, data, offset)

    monkeypatch.setattr(writer.Target, "write", refusing)
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (5, "erase-failed")
    assert "did not erase itself, and takes nothing else since" in done.message


@pytest.mark.parametrize(("states", "way"), [("0x2\n0x1\n", Wipe.SANITIZE), ("0x0\n", Wipe.DISCARD)])
def test_a_drive_that_begins_without_an_answer_is_waited_for(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: str, way: Wipe
) -> None:
    pretend(tmp_path, old, ZEROS if way is Wipe.SANITIZE else "true", monkeypatch, states=states, answer="exit 1")
    done = carry_out_here(sanitized(sample, old, Method.NVME_CRYPTO_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == way


def test_nothing_is_written_to_a_drive_that_may_be_at_work(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, old, "true", monkeypatch, states="what is that?\n")
    monkeypatch.setattr(sanitizing, "_SILENT", 3)
    monkeypatch.setattr(wiping, "wipe", lambda *_words: pytest.fail("it is still at work"))
    done = carry_out_here(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), tmp_path / "job")
    assert (done.status, done.code) == (5, "still-erasing")
    assert OLD in old.read_bytes()


def test_a_format_keeps_the_sectors_that_the_drive_has(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pretend(tmp_path, old, ZEROS, monkeypatch)
    carry_out_here(sanitized(sample, old, Method.NVME_FORMAT, monkeypatch), tmp_path / "job")
    (words,) = [line.split() for line in asked.read_text().splitlines() if line.startswith("format ")]
    assert {"--ses=1", "--lbaf=1", "--ms=1", "--pi=1", "--pil=1"} <= set(words)


def test_a_drive_that_has_another_size_afterwards_is_not_written_to(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, old, f"truncate -s 1M {old}", monkeypatch)
    done = carry_out_here(sanitized(sample, old, Method.NVME_FORMAT, monkeypatch), tmp_path / "job")
    assert (done.status, done.code) == (5, "disk-changed")
    assert old.stat().st_size == MIB


@pytest.mark.parametrize("now", [Sanitizer(obstacle=Obstacle.SHARED), Sanitizer(method=Method.NVME_FORMAT)])
def test_a_drive_that_would_not_erase_itself_as_was_shown_is_not_told_to(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: Sanitizer
) -> None:
    asked = pretend(tmp_path, old, ZEROS, monkeypatch)
    plan = sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch, now=now)
    done = carry_out_here(plan, tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.DISCARD
    assert asked.read_text() == ""


@pytest.mark.parametrize("another", [False, True])
def test_a_password_that_a_killed_job_has_left_is_taken_back(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, another: bool
) -> None:
    """Another's is left alone, at the cost of one wrong attempt."""
    asked = pretend(tmp_path, old, ZEROS, monkeypatch)
    able = Sanitizer(method=Method.ATA_SECURITY_ERASE)
    locked = Sanitizer(obstacle=Obstacle.LOCKED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiping, "sanitize", lambda *_words: pytest.fail("as if it was killed"))
        with pytest.raises(pytest.fail.Exception):
            carry_out_here(sanitized(sample, old, able.method or Method.NVME_FORMAT, patch), tmp_path / "job")
    (tmp_path / "password").touch()
    if another:
        (tmp_path / "stuck").touch()
    monkeypatch.setattr(sanitizers, "look", lambda _disk: locked)
    (cut,) = resuming.cut_off([inventory.look(str(old))])
    plan = resuming.plan_completion(cut, [sample.library])
    assert [pair.sanitizer for pair in plan.targets] == [locked]
    assert getattr(carry_out_here(plan, tmp_path / "again").result, "wiped", "") == Wipe.DISCARD
    assert (tmp_path / "password").exists() is another
    assert "--security-erase" not in asked.read_text()
    assert asked.read_text().count("--security-disable") == 1


def test_a_name_that_leads_to_another_disk_by_now_is_not_told_to_erase_itself(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pretend(tmp_path, old, ZEROS, monkeypatch)
    report, cancel = Reporter(lambda data: len(data)), threading.Event()
    with writer.opened(str(old), regular_file=True) as target:
        old.rename(tmp_path / "moved")
        for others in (False, True):
            if others:
                old.write_bytes(OLD)
            with pytest.raises(RefusedError):
                wiping.sanitize(target, Method.NVME_FORMAT, [(0, bytes(512))], "old", report, cancel)
    assert asked.read_text() == ""
    assert old.read_bytes() == OLD


def test_what_a_drive_that_lost_its_key_reads_as_is_not_taken_for_what_it_was(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = "dd if=/dev/urandom of={disk} bs=1M count={size} conv=notrunc status=none"
    pretend(tmp_path, old, noise, monkeypatch)
    done = carry_out_here(sanitized(sample, old, Method.NVME_CRYPTO_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.SANITIZE


def test_what_a_drive_that_lost_its_key_cannot_read_is_gone(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksums do not match any more; what could not be read before says nothing."""
    asked = pretend(tmp_path, old, ZEROS, monkeypatch)
    read = writer.Target.read

    def failing(self: writer.Target, buffer: memoryview, offset: int) -> None:
        if MIB <= offset < 2 * MIB or (offset > 20 * MIB and "--sanact" in asked.read_text()):
            raise IoError("reading failed: Input/output error", code="read-failed")
        read(self, buffer, offset)

    monkeypatch.setattr(writer.Target, "read", failing)
    report, cancel = Reporter(lambda data: len(data)), threading.Event()
    with writer.opened(str(old), regular_file=True) as target:
        assert wiping.sanitize(target, Method.NVME_CRYPTO_ERASE, [(0, bytes(512))], "old", report, cancel)


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
@pytest.mark.parametrize(("deed", "way"), [("true", Wipe.DISCARD), (ZEROS, Wipe.SANITIZE)])
def test_on_an_empty_disk_too_a_drive_cannot_only_say_so(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: bytes, deed: str, way: Wipe
) -> None:
    disk = tmp_path / "empty.img"
    disk.write_bytes(fill * DISK_SIZE)
    pretend(tmp_path, disk, deed, monkeypatch)
    done = carry_out_here(sanitized(sample, disk, Method.NVME_BLOCK_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == way


def test_a_drive_that_reads_as_ones_before_and_after_has_erased_itself(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with old.open("r+b") as file:
        file.seek(DISK_SIZE // 2)
        file.write(b"\xff" * (DISK_SIZE // 2))
    ones = "tr '\\0' '\\377' < /dev/zero | dd of={disk} bs=1M count={size} iflag=fullblock conv=notrunc status=none"
    pretend(tmp_path, old, ones, monkeypatch)
    done = carry_out_here(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.SANITIZE


def test_a_file_does_not_erase_itself_and_is_wiped_all_the_same(sample: Sample, old: Path) -> None:
    words = ("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name, "--wipe", "sanitize")
    assert "it cannot erase itself" in run_rescue(*words, "--plan").out
    done = run_rescue(*words).out
    assert "Wiped first: discarded" in done
    assert "Not wiped: what old.img keeps aside by itself; it did not erase itself" in done
    assert OLD not in old.read_bytes()


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\xa7\x51\x9c\x33"])
def test_what_was_saved_before_an_erasure_that_was_cut_off_is_what_undoing_brings_back(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: bytes
) -> None:
    """The drive went on by itself when the power was back, and holds nothing by now, not even the mark.

    What it holds without its key could be somebody's data as well, encrypted, and is saved.
    """
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    pretend(tmp_path, old, ZEROS, monkeypatch)

    def safely(method: Method = Method.NVME_BLOCK_ERASE) -> RestorePlan:
        return structs.replace(sanitized(sample, old, method, monkeypatch), safety=str(sample.library))

    def images() -> dict[str, Notes]:
        return {one: noted for one, noted in Library.open(sample.library).images().notes.items() if noted.before}

    with monkeypatch.context() as patch:
        patch.setattr(wiping, "erase_itself", lambda *_words: pytest.fail("as if the power went"))
        with pytest.raises(pytest.fail.Exception):
            carry_out_here(safely(), tmp_path / "cut")
    (saved,) = images()
    assert images()[saved].erasing
    old.write_bytes(fill * (old.stat().st_size // len(fill)))
    done = carry_out_here(safely(), tmp_path / "again")
    if len(fill) > 1:
        assert getattr(done.result, "safety", "") not in ("", saved)
        assert len(images()) == 2
        return
    assert getattr(done.result, "safety", "") == saved
    assert list(images()) == [saved]
    assert not images()[saved].erasing
    later = carry_out_here(safely(), tmp_path / "later")
    assert getattr(later.result, "safety", "") not in ("", saved)


@pytest.mark.parametrize("beside", [True, False])
def test_what_was_saved_is_known_where_the_completion_is_cut_off_as_it_erases_again(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, beside: bool
) -> None:
    """By the note: else nothing would be saved, and be the newest that `rescue undo` finds."""
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    pretend(tmp_path, old, ZEROS, monkeypatch)
    kept = sample.library if beside else tmp_path / "kept"
    plan = structs.replace(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), safety=str(kept))

    def notes() -> dict[str, Notes]:
        return {one: noted for one, noted in Library.open(kept).images().notes.items() if noted.before}

    def cut(what: object, name: str, plan: RestorePlan) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(what, name, lambda *_words, **_more: pytest.fail("as if the power went"))
            with pytest.raises(pytest.fail.Exception):
                carry_out_here(plan, tmp_path / f"cut-{name}")

    cut(_FromLibrary, "write_body", plan)
    (saved,) = notes()
    assert not notes()[saved].erasing
    (found,) = resuming.cut_off([inventory.look(str(old))])
    completion = resuming.plan_completion(found, [sample.library, kept])
    cut(wiping, "erase_itself", completion)
    assert notes()[saved].erasing
    old.write_bytes(bytes(old.stat().st_size))
    again = structs.replace(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), safety=str(kept))
    assert getattr(carry_out_here(again, tmp_path / "again").result, "safety", "") == saved
    assert list(notes()) == [saved]


def test_that_restore_given_once_more_notes_what_was_saved_in_another_library(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Outcome]
) -> None:
    """On the command line and the screen, as its completion does."""
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    pretend(tmp_path, old, ZEROS, monkeypatch)
    kept = tmp_path / "kept"
    plan = structs.replace(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), safety=str(kept))
    with monkeypatch.context() as patch:
        patch.setattr(_FromLibrary, "write_body", lambda *_words: pytest.fail("as if the power went"))
        with pytest.raises(pytest.fail.Exception):
            carry_out_here(plan, tmp_path / "cut")
    monkeypatch.setenv("RESCUE_LIBRARY", str(kept))
    words = ("restore", sample.image_id, old, "--library", sample.library, "--plan", "--json", "--wipe")
    assert command(*words, "sanitize").json["saved_in"] == str(kept)
    assert command(*words, "discard").json["saved_in"] == ""
    again = sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch)
    assert again.saved_in == ""
    shown = engine().with_sanitizers(again)
    assert shown.saved_in == str(kept)
    (saved,) = images_of(kept)
    assert [use.image for use in libraries_used(shown) if use.library == str(kept)] == [saved]


def test_what_was_saved_may_be_away_when_the_disk_is_completed(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    pretend(tmp_path, old, ZEROS, monkeypatch)
    plan = structs.replace(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), safety=str(tmp_path / "kept"))
    with monkeypatch.context() as patch:
        patch.setattr(_FromLibrary, "write_body", lambda *_words: pytest.fail("as if the power went"))
        with pytest.raises(pytest.fail.Exception):
            carry_out_here(plan, tmp_path / "cut")
    (tmp_path / "kept").rename(tmp_path / "away")
    (found,) = resuming.cut_off([inventory.look(str(old))])
    done = carry_out_here(resuming.plan_completion(found, [sample.library]), tmp_path / "complete")
    assert done.status == 0, done.message
    assert any("erases itself could not be noted" in warning for warning in warnings_of(tmp_path / "complete"))


def test_what_bears_no_mark_is_saved_although_its_disk_was_once_cut_off_as_it_erased_itself(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As what is encrypted as a whole: nothing tells it from a drive without its key."""
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    pretend(tmp_path, old, ZEROS, monkeypatch)
    plan = structs.replace(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), safety=str(sample.library))
    with monkeypatch.context() as patch:
        patch.setattr(wiping, "erase_itself", lambda *_words: pytest.fail("as if the power went"))
        with pytest.raises(pytest.fail.Exception):
            carry_out_here(plan, tmp_path / "cut")
    (cut,) = resuming.cut_off([inventory.look(str(old))])
    assert carry_out_here(resuming.plan_completion(cut, [sample.library]), tmp_path / "complete").status == 0
    # Alike from its first byte nearly to its last: the whole of it counts.
    encrypted = bytes(old.stat().st_size - MIB) + os.urandom(MIB)
    old.write_bytes(encrypted)
    words = ("--library", sample.library, "--erase", old.name)
    known = {image.id for image in Library.open(sample.library).images().images}
    run_rescue("restore", sample.image_id, old, *words, "--save-first", sample.library)
    (new,) = {image.id for image in Library.open(sample.library).images().images} - known
    run_rescue("restore", new, old, *words)
    assert old.read_bytes() == encrypted


def test_what_was_saved_before_an_erasure_and_is_damaged_by_now_does_not_end_each_start(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be stored anew, however often: nothing of it is on the disk any more."""
    pretend(tmp_path, old, ZEROS, monkeypatch)

    def safely() -> RestorePlan:
        plan = sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch)
        return structs.replace(plan, safety=str(sample.library))

    known = {image.id for image in Library.open(sample.library).images().images}
    with monkeypatch.context() as patch:
        patch.setattr(wiping, "erase_itself", lambda *_words: pytest.fail("as if the power went"))
        with pytest.raises(pytest.fail.Exception):
            carry_out_here(safely(), tmp_path / "cut")
    (saved,) = {image.id for image in Library.open(sample.library).images().images} - known
    lost = Sample(sample.library, saved, old).chunk(0)
    lost.write_bytes(lost.read_bytes()[:-1])
    old.write_bytes(bytes(old.stat().st_size))
    for start in ("first", "second"):
        done = carry_out_here(safely(), tmp_path / start)
        assert done.code == "corrupt-chunk"
        assert "start it once more" not in done.hint
        assert "without a safety image" in done.hint
    assert carry_out_here(structs.replace(safely(), safety=""), tmp_path / "without").status == 0
