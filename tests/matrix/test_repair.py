"""A disk is repaired from what it has itself: its table, from the other copy, and what forbids any repair."""

import os
import struct
import uuid
from pathlib import Path

import pytest
from msgspec import structs

from imaging import marks, unfinished, writer
from imaging.errors import ExitStatus, IoError, RefusedError
from imaging.writer import Target
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, looped, partition, run
from tests.matrix import bootable
from tests.matrix.repairs import as_disk, data_alone, done, look, result, zero

pytestmark = pytest.mark.root

ENTRIES = 16 << 10


@pytest.fixture
def plain(room: Path) -> Path:
    """A disk with data alone."""
    return data_alone(room / "disk.img")


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("end", ["start", "end"])
def test_a_table_comes_back_from_its_other_copy_bit_for_bit(room: Path, sector: int, end: str) -> None:
    path = partition(blank(room / "disk.img", 32 * MIB), "label: gpt\nsize=8MiB\nsize=8MiB, name=more\n", sector)
    before = digest(path)
    zero(path, *((0, MIB) if end == "start" else (31 * MIB, MIB)))
    with as_disk(path, sector) as disk:
        plan = look(disk)
        assert plan.table is not None
        assert plan.table.kept == ("end" if end == "start" else "start")
        assert [part.size for part in plan.layout.partitions] == [8 * MIB, 8 * MIB]
        finished = done(plan, room / "job")
        assert (finished.status, finished.code) == (ExitStatus.DONE, "")
        assert result(finished).table
        again = look(disk)
        assert not again.writes
    assert digest(path) == before


def test_what_was_written_over_is_kept_and_can_be_put_back(plain: Path, room: Path) -> None:
    zero(plain, 512, 512)
    bootable.write(plain, 512, b"damaged")
    before = digest(plain)
    finished = done(look(plain), room / "job")
    kept = sorted(Path(result(finished).saved).iterdir())
    assert kept
    assert finished.status == ExitStatus.DONE
    for file in kept:
        bootable.write(plain, int(file.stem.rpartition("-")[2]), file.read_bytes())
    assert digest(plain) == before


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The process is gone right before its write of that number, counted from 0."""
    count = 0
    plain_write = Target.write

    def write(self: Target, data: memoryview | bytes, offset: int) -> None:
        nonlocal count
        if count == number:
            raise OSError(5, os.strerror(5))
        count += 1
        plain_write(self, data, offset)

    monkeypatch.setattr(writer.Target, "write", write)


@pytest.mark.parametrize("number", range(3))
def test_a_write_that_fails_leaves_a_whole_copy_and_the_next_run_completes_it(
    plain: Path, room: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = digest(plain)
    end = digest(plain, 40 * MIB - ENTRIES - 512)
    zero(plain, 0, MIB)
    with monkeypatch.context() as patch:
        killed_at(patch, number)
        finished = done(look(plain), room / "job")
    assert finished.status == ExitStatus.IO_FAILURE
    assert "only partly repaired" in finished.state
    assert digest(plain, 40 * MIB - ENTRIES - 512) == end
    assert done(look(plain), room / "again").status == ExitStatus.DONE
    assert digest(plain) == before


def test_a_medium_that_does_not_hold_what_was_written_is_told(
    plain: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zero(plain, 0, MIB)
    monkeypatch.setattr(writer.Target, "write", lambda *_: None)
    finished = done(look(plain), room / "job")
    assert (finished.status, finished.code) == (ExitStatus.IO_FAILURE, "read-back-differs")


def test_a_disk_that_was_changed_since_the_plan_is_not_written_to(plain: Path, room: Path) -> None:
    zero(plain, 0, MIB)
    plan = look(plain)
    bootable.write(plain, 4096, b"new")
    before = digest(plain)
    finished = done(plan, room / "job")
    assert (finished.status, finished.code) == (ExitStatus.REFUSED, "disk-changed")
    assert finished.state == "Nothing was written to disk.img."
    assert digest(plain) == before


def test_an_order_of_writes_that_somebody_else_has_made_is_refused(plain: Path, room: Path) -> None:
    """A plan says what is written, and that has to be what the disk itself asks for."""
    zero(plain, 0, MIB)
    plan = look(plain)
    assert plan.table is not None
    other = structs.replace(plan, table=structs.replace(plan.table, writes=((20 * MIB, b"x" * 512),)))
    before = digest(plain)
    assert done(other, room / "job").code == "disk-changed"
    assert digest(plain) == before


def not_repaired(path: Path | str) -> str:
    with pytest.raises(RefusedError) as caught:
        look(path)
    return caught.value.message


def test_an_unfinished_disk_is_completed_by_its_restore(plain: Path) -> None:
    bootable.write(plain, 0, unfinished.render("20260101-000000-abcd"))
    assert "a restore onto it was begun and never completed (from 20260101-000000-abcd)" in not_repaired(plain)


def test_an_unfinished_partition_too(plain: Path) -> None:
    bootable.write(plain, MIB, unfinished.render("20260101-000000-abcd"))
    assert "a restore into disk.img:1 was begun and never completed" in not_repaired(plain)


def test_an_unfinished_partition_of_a_table_that_is_gone_is_seen_all_the_same(plain: Path) -> None:
    bootable.write(plain, MIB, unfinished.render("20260101-000000-abcd"))
    zero(plain, 0, MIB)
    assert "a restore into disk.img:1 was begun and never completed" in not_repaired(plain)


def test_disks_in_use_are_refused(plain: Path) -> None:
    with looped(plain):
        assert "in use" in not_repaired(plain)


@pytest.mark.parametrize(
    ("make", "kind"), [(("mke2fs", "-q", "-F"), "ext2"), (("mkfs.btrfs", "-q", "-f"), "btrfs"), (("mkswap",), "swap")]
)
def test_a_table_is_not_put_back_beneath_what_was_made_on_the_whole_disk(
    room: Path, make: tuple[str, ...], kind: str
) -> None:
    path = partition(blank(room / "disk.img", 160 * MIB), "label: gpt\nsize=8MiB\n")
    end = path.read_bytes()[-MIB:]
    run(*make, path)
    bootable.write(path, 160 * MIB - MIB, end)  # as of those who do not take an old table away
    before = digest(path)
    plan = look(path)
    assert plan.table is None and not plan.writes
    assert f"{kind} stands on the disk as a whole" in " ".join(plan.left)
    assert digest(path) == before


def test_partitions_of_an_older_table_are_not_used_for_anything(plain: Path) -> None:
    """sfdisk goes by the copy at the end where the header at the start is damaged: that one can be years old."""
    end = plain.read_bytes()[-ENTRIES - 512 :]
    partition(plain, "label: gpt\nstart=2048, size=8MiB\nstart=17MiB, size=16MiB, name=more\n")
    bootable.write(plain, 40 * MIB - len(end), end)
    bootable.write(plain, 512 + 60, bytes([plain.read_bytes()[512 + 60] ^ 1]))
    before = digest(plain)
    plan = look(plain, check_all=True, mend=True)
    assert not plan.writes
    assert "and all that depends on it, is left as it is" in " ".join(plan.notes)
    run_rescue("repair", plain, "--check-filesystems", status=ExitStatus.DAMAGED)
    assert digest(plain) == before


def a_mirror_s_mark(size: int) -> tuple[int, bytes]:
    """Where md has what makes a device a member, and that: Linux include/uapi/linux/raid/md_p.h, format 1.0."""
    at, block = size - 8192 & ~4095, bytearray(260)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[16:32] = uuid.UUID(int=5).bytes
    struct.pack_into("<QII", block, 64, 0, 1, 0)
    struct.pack_into("<QIIQQQ", block, 80, size // 512 - 256, 0, 2, 0, size // 512 - 256, at // 512)
    struct.pack_into("<Q", block, 144, at // 512)
    struct.pack_into("<I", block, 220, 2)
    total = sum(struct.unpack("<65I", block))
    struct.pack_into("<I", block, 216, (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF)
    return at, bytes(block)


def test_a_member_of_a_mirror_is_not_repaired_alone(room: Path) -> None:
    """It looks like a disk of its own; what is written to it alone makes the members differ."""
    size = 40 * MIB
    path = partition(blank(room / "disk.img", size), "label: dos\nstart=2048, size=16MiB, type=83\n")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-E", f"offset={MIB}", path, "16M")
    assert look(path, check_all=True).checks
    bootable.write(path, *a_mirror_s_mark(size))
    assert "linux_raid_member stands on the disk as a whole: it may be one of several" in not_repaired(path)


def test_a_plan_shows_the_partitions_that_come_back(plain: Path) -> None:
    zero(plain, 0, MIB)
    told = run_rescue("repair", plain, "--plan").out
    assert '"data1"' in told
    assert '"data2"' in told


def test_left_out_is_left_as_it_is(plain: Path) -> None:
    zero(plain, 0, MIB)
    plan = look(plain, table=False)
    assert plan.table is None
    assert "the partition table is left as it is: that was asked for" in plan.left
    assert plan.notes == ()


def test_by_hand_it_is_shown_confirmed_and_done(plain: Path, room: Path) -> None:
    before = digest(plain)
    zero(plain, 0, MIB)
    told = run_rescue("repair", plain, "--plan")
    assert "written anew from the copy at the end" in told.out
    refused = run_rescue("repair", plain, "--confirm", "other.img", status=ExitStatus.REFUSED)
    assert "does not name disk.img" in refused.err
    assert digest(plain) != before
    kept = room / "kept"
    kept.mkdir()
    finished = run_rescue("repair", plain, "--confirm", "disk.img", "--keep-in", kept)
    assert "Partition table: put back, read back and compared" in finished.out
    assert list(kept.iterdir())
    assert digest(plain) == before
    nothing = run_rescue("repair", plain)
    assert "There is nothing that could be repaired." in nothing.out


def test_the_worker_says_what_state_a_disk_is_in(plain: Path, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zero(plain, 0, MIB)

    def fail(*_: object) -> None:
        raise IoError("the medium is gone", code="read-failed")

    monkeypatch.setattr(marks, "fingerprint", fail)
    finished = done(look(plain), room / "job")
    assert finished.state == "Nothing was written to disk.img."
