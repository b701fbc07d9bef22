"""A disk is wiped before something is restored to it: nothing old is found on the raw disk, and the mark stays."""

import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from imaging import inventory, planner, resuming, sanitizers, sanitizing, unfinished, wiping, writer
from imaging.errors import CancelledError, IoError, RefusedError
from imaging.extents import Extents
from imaging.pipeline import Reporter
from imaging.restoreplans import RestorePlan, Wipe
from imaging.sanitize import Method, Obstacle, Sanitizer
from imaging.window import Medium
from tests.command import run_rescue
from tests.disks import MIB, looped
from tests.faults.world import DISK_SIZE, Sample, carry_out_here, images_of

OLD = b"an old secret of 32 bytes' length"[:32]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A disk that is full of what nobody must find on it any more."""
    disk = tmp_path / "old.img"
    disk.write_bytes(OLD * ((DISK_SIZE + 8 * MIB) // len(OLD)))
    return disk


def planned(sample: Sample, disk: Path, way: Wipe) -> RestorePlan:
    target = inventory.look(str(disk), [sample.library])
    plan = planner.plan_restore(sample.library, sample.image, {sample.imaged.name: target})
    return planner.with_wipe(plan, way)


@pytest.mark.parametrize("way", [Wipe.DISCARD, Wipe.OVERWRITE])
def test_nothing_old_is_found_on_the_raw_disk(sample: Sample, old: Path, way: Wipe) -> None:
    words = ("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    assert "WIPED FIRST" in run_rescue(*words[:5], "--wipe", way, "--plan").out
    assert OLD in old.read_bytes()
    done = run_rescue(*words, "--wipe", way)
    assert "Wiped first" in done.out
    assert OLD not in old.read_bytes()
    run_rescue("verify", sample.image_id, "--library", sample.library, "--against", old)


def test_without_it_what_is_not_needed_stays(sample: Sample, old: Path) -> None:
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    assert OLD in old.read_bytes()


@pytest.mark.root
@pytest.mark.parametrize("refusal", [0, errno.EOPNOTSUPP, errno.EREMOTEIO])
def test_a_device_that_cannot_discard_is_overwritten(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    with looped(old) as device:
        ioctl = fcntl.ioctl

        def refusing(fd: int, request: int, *words: Any) -> Any:
            if request == writer._BLKDISCARD and refusal:
                raise OSError(refusal, os.strerror(refusal))
            return ioctl(fd, request, *words)

        monkeypatch.setattr(fcntl, "ioctl", refusing)
        done = carry_out_here(planned(sample, Path(device), Wipe.DISCARD), tmp_path / "job")
        assert done.status == 0
        assert done.result is not None
        assert getattr(done.result, "wiped", "") == (Wipe.OVERWRITE if refusal else Wipe.DISCARD)
    assert OLD not in old.read_bytes()


def test_what_was_discarded_and_can_still_be_read_is_overwritten(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_punch", lambda *_words: None)
    done = carry_out_here(planned(sample, old, Wipe.DISCARD), tmp_path / "job")
    assert done.status == 0
    assert getattr(done.result, "wiped", "") == Wipe.OVERWRITE
    assert OLD not in old.read_bytes()


def test_a_disk_that_keeps_what_was_overwritten_is_told(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = writer.Target.write

    def deaf(self: writer.Target, data: memoryview | bytes, offset: int) -> None:
        if offset < 16 * MIB:
            write(self, data, offset)

    monkeypatch.setattr(writer.Target, "write", deaf)
    done = carry_out_here(planned(sample, old, Wipe.OVERWRITE), tmp_path / "job")
    assert (done.status, done.code) == (5, "not-erased")
    assert "only partly restored" in done.state


def test_cancelled_in_the_middle_the_disk_is_known_as_unfinished(sample: Sample, old: Path, tmp_path: Path) -> None:
    cancel = threading.Event()

    class Stop(Reporter):
        def advance(self, done: int, moved: int = 0) -> None:  # noqa: ARG002
            cancel.set()

    report = Stop(lambda data: len(data))
    with writer.opened(str(old), regular_file=True) as target, pytest.raises(CancelledError):
        wiping.wipe(target, Extents([(0, MIB)]), Wipe.OVERWRITE, "old", report, cancel)
    assert old.read_bytes().startswith(OLD)
    cancel.clear()
    plan = planned(sample, old, Wipe.OVERWRITE)
    real = wiping.wipe

    cancel.set()

    def stopping(
        target: Medium, kept: Extents, way: Wipe, name: str, report: Reporter, _cancel: threading.Event
    ) -> Wipe:
        return real(target, kept, way, name, report, cancel)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiping, "wipe", stopping)
        done = carry_out_here(plan, tmp_path / "job")
    assert done.status == 6
    assert inventory.look(str(old)).unfinished == sample.image_id
    assert carry_out_here(planned(sample, old, Wipe.OVERWRITE), tmp_path / "again").status == 0
    assert OLD not in old.read_bytes()


def test_single_partitions_are_not_wiped(sample: Sample, old: Path) -> None:
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    words = ("--library", sample.library, "--partition", "1", "--wipe", "discard", "--erase", f"{old.name}:1")
    assert "whole disks alone are wiped" in run_rescue("restore", sample.image_id, old, *words, status=2).err


def test_samples_come_from_all_over_and_hold_little() -> None:
    tib = 1 << 40
    places = list(wiping._samples(Extents([(512, 8 * tib), (9 * tib, 20 * tib)])))
    assert places[0] == (512, MIB)
    assert places[-1][0] + places[-1][1] == 20 * tib
    assert len(places) == 256
    assert any(at > 10 * tib for at, _ in places[:-1])
    assert sum(size for _, size in wiping._samples(Extents([(0, 3 * MIB + 5)]))) == 3 * MIB + 5


def test_a_partition_that_is_to_stay_is_not_wiped(sample: Sample, old: Path, tmp_path: Path) -> None:
    """Those that the image leaves out are shown as kept, also where the table is away that would say so."""
    run_rescue("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name)
    part = tmp_path / "part"
    run_rescue("capture", old, "--partition", "2", "--library", part)
    (image,) = images_of(part)
    before = old.read_bytes()
    words = ("restore", image, old, "--library", part, "--erase", old.name)
    said = run_rescue(*words, "--wipe", "overwrite", status=2).err
    assert "old.img:1" in said and "is to stay" in said
    assert old.read_bytes() == before
    with old.open("r+b") as file:
        file.write(unfinished.render(image))
    assert "is to stay" in run_rescue(*words, "--wipe", "discard", status=2).err
    assert old.read_bytes()[MIB : 14 * MIB] == before[MIB : 14 * MIB]
    run_rescue(*words)
    assert old.read_bytes() == before
    old.write_bytes(OLD * (DISK_SIZE // len(OLD)))
    run_rescue(*words, "--wipe", "discard")
    assert OLD not in old.read_bytes()


NVME = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1" in
sanitize) case "$*" in *--help*) exit 0;; *--sanact=1*) echo 0 > {folder}/states; exit 0;; esac; {deed}; {answer};;
sanitize-log) echo 'Sanitize Progress (SPROG) :  30000'
    echo "Sanitize Status (SSTAT) :  $(sed -n 1p {folder}/states)"
    [ "$(wc -l < {folder}/states)" -gt 1 ] && sed -i 1d {folder}/states;;
id-ns) echo '{{"nsze": 1, "nlbaf": 1, "flbas": 17, "mc": 3, "dps": 9, "lbafs": [{{"ms": 0, "ds": 9, "rp": 0}}]}}';;
format) {deed};;
esac
exit 0
"""
HDPARM = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in
*--sanitize-status*) printf 'State:    SD0 Sanitize Idle\\n    Last Sanitize Operation Completed Without Error\\n';;
*--security-erase*) {deed}; rm -f {folder}/password;;
*--sanitize-*) {deed};;
*--security-set-pass*) touch {folder}/password; {answer};;
*--security-disable*) [ -e {folder}/stuck ] || rm -f {folder}/password;;
*-I*) [ -e {folder}/password ] || not=not; printf "\\nSecurity:\\n\\t$not\\tenabled\\n";;
esac
exit 0
"""
ZEROS = "dd if=/dev/zero of={disk} bs=1M count={size} conv=notrunc status=none"


def drive(
    folder: Path,
    disk: Path,
    deed: str,
    patch: pytest.MonkeyPatch,
    states: str = "0x2\n0x101\n",
    answer: str = "true",
) -> Path:
    """Tools that do to `disk` what a drive does with their commands; what was asked of them stands in the file."""
    tools = folder / "tools"
    tools.mkdir()
    (folder / "states").write_text(states)
    (folder / "asked").touch()
    deed = deed.format(disk=disk, size=disk.stat().st_size // MIB)
    for name, words in (("nvme", NVME), ("hdparm", HDPARM)):
        tool = tools / name
        tool.write_text(words.format(folder=folder, deed=deed, answer=answer))
        tool.chmod(0o755)
    patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    patch.setattr(sanitizing, "_LOOK_EVERY", 0.0)
    return folder / "asked"


def sanitized(
    sample: Sample, disk: Path, method: Method, patch: pytest.MonkeyPatch, *, now: Sanitizer | None = None
) -> RestorePlan:
    """A plan by which the disk erases itself; `now` is what it says when that is carried out, if not the same."""
    patch.setattr(sanitizers, "look", lambda _disk: Sanitizer(method=method))
    plan = sanitizers.with_sanitizers(planned(sample, disk, Wipe.SANITIZE))
    patch.setattr(sanitizers, "look", lambda _disk: now or Sanitizer(method=method))
    return plan


@pytest.mark.parametrize("method", list(Method))
def test_a_drive_erases_itself(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    asked = drive(tmp_path, old, ZEROS, monkeypatch)
    done = carry_out_here(sanitized(sample, old, method, monkeypatch), tmp_path / "job")
    assert done.status == 0
    assert getattr(done.result, "wiped", "") == Wipe.SANITIZE
    assert OLD not in old.read_bytes()
    assert str(old) in asked.read_text()
    run_rescue("verify", sample.image_id, "--library", sample.library, "--against", old)


@pytest.mark.parametrize("deed", ["true", "exit 1"])
@pytest.mark.parametrize("method", [Method.NVME_BLOCK_ERASE, Method.NVME_FORMAT, Method.ATA_SECURITY_ERASE])
def test_a_drive_that_only_says_so_is_told_to_forget_all(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method, deed: str
) -> None:
    asked = drive(tmp_path, old, deed, monkeypatch)
    done = carry_out_here(sanitized(sample, old, method, monkeypatch), tmp_path / "job")
    assert done.status == 0
    assert getattr(done.result, "wiped", "") == Wipe.DISCARD
    assert OLD not in old.read_bytes()
    if method.sets_password and deed != "true":
        assert "--security-disable rescue" in asked.read_text()
    assert not (tmp_path / "password").exists()


@pytest.mark.parametrize(("deed", "answer"), [("exit 5", "true"), (ZEROS, "exit 5")])
def test_a_drive_that_keeps_its_password_is_never_called_restored(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, answer: str
) -> None:
    """It would lock itself at the next start; the answer alone may have been lost when the password was set."""
    drive(tmp_path, old, deed, monkeypatch, answer=answer)
    (tmp_path / "stuck").touch()
    done = carry_out_here(sanitized(sample, old, Method.ATA_SECURITY_ERASE, monkeypatch), tmp_path / "job")
    assert (done.status, done.code) == (5, "password-set")
    assert f"--security-disable rescue {old}" in done.hint
    assert "only partly restored" in done.state
    assert inventory.look(str(old)).unfinished == sample.image_id


def test_a_password_that_was_set_without_an_answer_is_taken_back(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(tmp_path, old, ZEROS, monkeypatch, answer="exit 5")
    done = carry_out_here(sanitized(sample, old, Method.ATA_SECURITY_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.DISCARD
    assert not (tmp_path / "password").exists()


def test_a_drive_that_fails_in_the_middle_has_its_mark_again(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(tmp_path, old, ZEROS, monkeypatch, states="0x2\n0x3\n")
    monkeypatch.setattr(wiping, "wipe", lambda *_words: pytest.fail("as if the power went"))
    with pytest.raises(pytest.fail.Exception):
        carry_out_here(sanitized(sample, old, Method.NVME_CRYPTO_ERASE, monkeypatch), tmp_path / "job")
    assert inventory.look(str(old)).unfinished == sample.image_id


def test_a_drive_that_fails_takes_data_again_and_is_wiped_otherwise(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = drive(tmp_path, old, "true", monkeypatch, states="0x2\n0x3\n")
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
    drive(tmp_path, old, "exit 5", monkeypatch)
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
    drive(tmp_path, old, ZEROS if way is Wipe.SANITIZE else "true", monkeypatch, states=states, answer="exit 1")
    done = carry_out_here(sanitized(sample, old, Method.NVME_CRYPTO_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == way


def test_nothing_is_written_to_a_drive_that_may_be_at_work(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(tmp_path, old, "true", monkeypatch, states="what is that?\n")
    monkeypatch.setattr(sanitizing, "_SILENT", 3)
    monkeypatch.setattr(wiping, "wipe", lambda *_words: pytest.fail("it is still at work"))
    done = carry_out_here(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), tmp_path / "job")
    assert (done.status, done.code) == (5, "still-erasing")
    assert OLD in old.read_bytes()


def test_a_format_keeps_the_sectors_that_the_drive_has(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = drive(tmp_path, old, ZEROS, monkeypatch)
    carry_out_here(sanitized(sample, old, Method.NVME_FORMAT, monkeypatch), tmp_path / "job")
    (words,) = [line.split() for line in asked.read_text().splitlines() if line.startswith("format ")]
    assert {"--ses=1", "--lbaf=1", "--ms=1", "--pi=1", "--pil=1"} <= set(words)


def test_a_drive_that_has_another_size_afterwards_is_not_written_to(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(tmp_path, old, f"truncate -s 1M {old}", monkeypatch)
    done = carry_out_here(sanitized(sample, old, Method.NVME_FORMAT, monkeypatch), tmp_path / "job")
    assert (done.status, done.code) == (5, "disk-changed")
    assert old.stat().st_size == MIB


@pytest.mark.parametrize("now", [Sanitizer(obstacle=Obstacle.SHARED), Sanitizer(method=Method.NVME_FORMAT)])
def test_a_drive_that_would_not_erase_itself_as_was_shown_is_not_told_to(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: Sanitizer
) -> None:
    asked = drive(tmp_path, old, ZEROS, monkeypatch)
    plan = sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch, now=now)
    done = carry_out_here(plan, tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.DISCARD
    assert asked.read_text() == ""


def test_a_password_that_a_killed_job_has_left_is_taken_back(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = drive(tmp_path, old, ZEROS, monkeypatch)
    able = Sanitizer(method=Method.ATA_SECURITY_ERASE)
    locked = Sanitizer(obstacle=Obstacle.LOCKED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiping, "sanitize", lambda *_words: pytest.fail("as if it was killed"))
        with pytest.raises(pytest.fail.Exception):
            carry_out_here(sanitized(sample, old, able.method or Method.NVME_FORMAT, patch), tmp_path / "job")
    (tmp_path / "password").touch()
    monkeypatch.setattr(sanitizers, "look", lambda _disk: locked)
    (cut,) = resuming.cut_off([inventory.look(str(old))])
    plan = resuming.plan_completion(cut, [sample.library])
    assert [pair.sanitizer for pair in plan.targets] == [locked]
    assert getattr(carry_out_here(plan, tmp_path / "again").result, "wiped", "") == Wipe.DISCARD
    assert not (tmp_path / "password").exists()
    assert "--security-erase" not in asked.read_text()


def test_a_name_that_leads_to_another_disk_by_now_is_not_told_to_erase_itself(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = drive(tmp_path, old, ZEROS, monkeypatch)
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
    drive(tmp_path, old, noise, monkeypatch)
    done = carry_out_here(sanitized(sample, old, Method.NVME_CRYPTO_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.SANITIZE


def test_what_a_drive_that_lost_its_key_cannot_read_is_gone(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksums do not match any more; what could not be read before says nothing."""
    asked = drive(tmp_path, old, ZEROS, monkeypatch)
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
    drive(tmp_path, disk, deed, monkeypatch)
    done = carry_out_here(sanitized(sample, disk, Method.NVME_BLOCK_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == way


def test_a_drive_that_reads_as_ones_before_and_after_has_erased_itself(
    sample: Sample, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with old.open("r+b") as file:
        file.seek(DISK_SIZE // 2)
        file.write(b"\xff" * (DISK_SIZE // 2))
    ones = "tr '\\0' '\\377' < /dev/zero | dd of={disk} bs=1M count={size} iflag=fullblock conv=notrunc status=none"
    drive(tmp_path, old, ones, monkeypatch)
    done = carry_out_here(sanitized(sample, old, Method.NVME_BLOCK_ERASE, monkeypatch), tmp_path / "job")
    assert getattr(done.result, "wiped", "") == Wipe.SANITIZE


def test_a_file_does_not_erase_itself_and_is_wiped_all_the_same(sample: Sample, old: Path) -> None:
    words = ("restore", sample.image_id, old, "--library", sample.library, "--erase", old.name, "--wipe", "sanitize")
    assert "it cannot erase itself" in run_rescue(*words, "--plan").out
    assert "Wiped first: discarded" in run_rescue(*words).out
    assert OLD not in old.read_bytes()
