"""The file systems of a disk are repaired by their own tools, as far as that was asked for."""

import os
import shutil
from pathlib import Path

import pytest

from imaging import smart
from imaging.errors import ExitStatus
from imaging.events import Verdict
from imaging.health import Condition, Health
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, looped, partition, run
from tests.matrix import bootable
from tests.matrix.repairs import data_alone, done, look, result

pytestmark = pytest.mark.root


@pytest.fixture
def plain(room: Path) -> Path:
    """A disk with data alone."""
    return data_alone(room / "disk.img")


def test_what_was_asked_for_and_cannot_be_done_is_no_success(plain: Path, room: Path) -> None:
    with looped(plain, 17 * MIB, 16 * MIB) as loop:
        run("wipefs", "-q", "-a", loop)
        run("mkswap", loop)
    run_rescue("repair", plain, "--check-filesystems", "2", status=ExitStatus.DAMAGED)
    finished = done(look(plain, check=(1, 2)), room / "job")
    assert (finished.status, finished.code) == (ExitStatus.DAMAGED, "partly-repaired")
    assert "cannot be checked here" in " ".join(result(finished).failed)


def block_of(path: Path, start: int) -> int:
    """Where the root folder's inode names its data, of ext4: damage there is one that has to be decided upon."""
    with looped(path, start, 16 * MIB) as loop:
        words = run("debugfs", "-R", "blocks /", loop).split()
    return start + int(words[0]) * 1024


def test_a_check_needs_consent_and_mends_what_loses_nothing(plain: Path, room: Path) -> None:
    with looped(plain, MIB, 16 * MIB) as loop:
        run("debugfs", "-w", "-R", "set_super_value free_blocks_count 7", loop)
        run("debugfs", "-w", "-R", "set_super_value state 0", loop)
    assert not look(plain).checks
    plan = look(plain, check_all=True)
    assert [(one.number, one.only_looks) for one in plan.checks] == [(1, False), (2, False)]
    finished = done(plan, room / "job")
    assert finished.status == ExitStatus.DONE, finished
    assert result(finished).mended == ("disk.img:1",)
    assert [one.verdict for one in result(finished).checked] == [Verdict.CLEAN, Verdict.CLEAN]
    with looped(plain, MIB, 16 * MIB) as loop:
        run("e2fsck", "-f", "-n", loop)


def test_what_has_to_be_decided_needs_a_second_consent(plain: Path, room: Path) -> None:
    bootable.write(plain, block_of(plain, MIB), b"\xff" * 1024)
    finished = done(look(plain, check=(1,)), room / "job")
    assert (finished.status, finished.code) == (ExitStatus.DAMAGED, "partly-repaired")
    assert result(finished).checked[0].verdict is Verdict.ERRORS
    finished = done(look(plain, check=(1,), mend=True), room / "again")
    assert finished.status == ExitStatus.DONE, finished
    assert result(finished).mended == ("disk.img:1",)


def test_an_xfs_with_a_log_is_replayed_and_its_log_is_never_thrown_away(room: Path) -> None:
    path = partition(blank(room / "disk.img", 340 * MIB), "label: gpt\nstart=1MiB, size=320MiB\n")
    where, source = room / "mounted", room / "copy.img"
    with looped(path, MIB, 320 * MIB) as loop:
        run("mkfs.xfs", "-q", loop)
        where.mkdir()
        run("mount", loop, where)
        (where / "file").write_bytes(b"kept" * 1000)
        os.sync()
        shutil.copyfile(path, source)  # with a log that was not replayed
        run("umount", where)
    finished = done(look(source, check=(1,)), room / "job")
    assert finished.status == ExitStatus.DONE, finished
    assert result(finished).checked[0].verdict is Verdict.CLEAN
    assert result(finished).mended == ("copy.img:1",)  # a replay writes
    before = digest(source)
    assert result(done(look(source, check=(1,)), room / "again")).mended == ()
    assert digest(source) == before
    with looped(source, MIB, 320 * MIB) as loop:
        run("mount", "-o", "ro,norecovery,nouuid", loop, where)
        try:
            assert (where / "file").read_bytes() == b"kept" * 1000
        finally:
            run("umount", where)


FAKE_FSCK = """#!/bin/sh
echo "$@" >> {calls}
case "$2" in
-p) echo "{p}"; exit 4 ;;
-n) echo "{n}"; exit 4 ;;
esac
exit 1
"""


@pytest.mark.parametrize(
    ("says", "decides"),
    [
        ({"p": "Error reading block 7 (Input/output error).", "n": "errors"}, False),
        ({"p": "errors", "n": "Attempt to read block from filesystem resulted in short read"}, False),
        ({"p": "errors", "n": "errors"}, True),
    ],
)
def test_blocks_that_cannot_be_read_are_not_written_over_by_a_tool_that_decides(
    plain: Path, room: Path, monkeypatch: pytest.MonkeyPatch, says: dict[str, str], decides: bool
) -> None:
    tools, calls = room / "tools", room / "calls"
    tools.mkdir()
    (tools / "e2fsck").write_text(FAKE_FSCK.format(calls=calls, **says))
    (tools / "e2fsck").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    finished = done(look(plain, check=(1,), mend=True), room / "job")
    assert [line.split()[1] for line in calls.read_text().splitlines()] == ["-p", "-n", *(["-y"] if decides else [])]
    assert (finished.status == ExitStatus.DONE) == decides
    assert decides or "save what is on it" in " ".join(result(finished).failed)


def test_fat_ntfs_and_btrfs_are_only_looked_at(room: Path) -> None:
    path = partition(
        blank(room / "disk.img", 240 * MIB), "label: gpt\nstart=1MiB, size=40MiB\nsize=40MiB\nsize=120MiB\n"
    )
    for make, start, size in (
        (("mkfs.vfat", "-I", "-F", "32"), 1, 40),
        (("mkfs.ntfs", "-q", "-f", "-F"), 41, 40),
        (("mkfs.btrfs", "-q"), 81, 120),
    ):
        with looped(path, start * MIB, size * MIB) as loop:
            run(*make, loop)
    bootable.write(path, MIB + 32 * 512 + 12, b"\xff\xff\xff\x0f")
    before = digest(path)
    plan = look(path, check_all=True, mend=True)
    assert [(one.kind, one.only_looks) for one in plan.checks] == [("vfat", True), ("ntfs", True), ("btrfs", True)]
    finished = done(plan, room / "job")
    assert result(finished).mended == ()
    assert digest(path) == before


def test_a_failing_disk_s_file_systems_are_not_written_to(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Health(condition=Condition.FAILING, reasons=("its spare blocks are used up",))
    monkeypatch.setattr(smart, "health", lambda *_: bad)
    plan = look(plain, check_all=True)
    assert not plan.checks
    assert "the disk is failing (its spare blocks are used up)" in " ".join(plan.notes)


@pytest.mark.parametrize("named", ["/swapfile", "/big/waits"])
def test_a_system_that_sleeps_in_a_swap_file_forbids_it_too(plain: Path, named: str) -> None:
    """As it wakes it goes on with what it knew of its file systems."""
    mark = b"S1SUSPEND\0"
    fstab = f"{named} none swap sw 0 0\n" if named != "/swapfile" else ""
    files = {named.lstrip("/"): b"\xff" * (4096 - len(mark)) + mark + bytes(MIB), "etc/fstab": fstab.encode()}
    assert look(plain, check=(1, 2)).notes == ()
    bootable.ext4_of(plain, 17 * MIB, 16 * MIB, files)
    plan = look(plain, check=(1, 2))
    assert not plan.checks
    assert "is hibernated" in " ".join(plan.notes)


def test_a_hibernated_system_forbids_to_write_to_any_file_system(plain: Path) -> None:
    with looped(plain, 17 * MIB, 16 * MIB) as loop:
        run("wipefs", "-q", "-a", loop)
        run("mkswap", loop)
    bootable.write(plain, 17 * MIB + 4096 - 10, b"S1SUSPEND\0")
    plan = look(plain, check=(1,))
    assert not plan.checks
    assert "is hibernated" in " ".join(plan.notes)


def test_a_journal_on_another_device_forbids_the_check(plain: Path, room: Path) -> None:
    journal = blank(room / "journal.img", 8 * MIB)
    run("mke2fs", "-q", "-F", "-O", "journal_dev", "-b", "1024", journal)
    with looped(journal) as other, looped(plain, MIB, 16 * MIB) as loop:
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-J", f"device={other}", loop)
    plan = look(plain, check=(1,))
    assert not plan.checks
    assert "lies on another device" in " ".join(plan.notes)
