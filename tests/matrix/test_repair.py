"""A disk is repaired from what it has itself: its table, its file systems, the loader of the system on it."""

import hashlib
import os
import shutil
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from imaging import inventory, marks, repairlook, smart, unfinished, writer
from imaging.errors import ExitStatus, IoError, RefusedError
from imaging.events import Finished, RepairResult, Verdict
from imaging.health import Condition, Health
from imaging.plan import decode, encode
from imaging.repairplans import RepairPlan, RepairWishes
from imaging.startable import Answer, Firmware
from imaging.writer import Target
from tests import programs
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, looped, partition, run
from tests.faults.world import carry_out_here, warnings_of
from tests.matrix import bootable
from tests.matrix.bootable import Made

pytestmark = pytest.mark.root

ENTRIES = 16 << 10
FAKE = """#!/usr/bin/sh
echo "$@" >> /calls
case "$1" in
--version) echo "grub-install (fake) 1" ;;
--target=i386-pc)
    {fails}
    ls=$(echo /dev/loop*)
    echo "sees $ls" >> /calls
    dd if=/fake/boot of="$2" bs=440 count=1 conv=notrunc 2>/dev/null
    dd if=/fake/core of="$2" bs=512 seek={core} conv=notrunc 2>/dev/null ;;
*) exit 7 ;;
esac
"""
OS = b'NAME="Small"\nPRETTY_NAME="Small Linux"\n'


def look(path: Path | str, **wishes: Any) -> RepairPlan:
    return repairlook.plan_repair(inventory.look(str(path)), RepairWishes(**wishes))


def done(plan: RepairPlan, folder: Path) -> Finished:
    assert decode(encode(plan)) == plan
    return carry_out_here(plan, folder)


def result(finished: Finished) -> RepairResult:
    assert isinstance(finished.result, RepairResult), finished
    return finished.result


@contextmanager
def as_disk(path: Path, sector: int = 512) -> Iterator[str]:
    """A disk file as a device of sectors of that size."""
    with looped(path, sector=sector) as loop:
        yield loop


@pytest.fixture
def plain(room: Path) -> Path:
    """A disk with data alone: GPT, two ext4."""
    path = blank(room / "disk.img", 40 * MIB)
    partition(path, "label: gpt\nstart=2048, size=16MiB\nsize=16MiB, name=more\n")
    for number, start in enumerate((MIB, 17 * MIB), 1):
        run("mke2fs", "-q", "-F", "-t", "ext4", "-L", f"data{number}", "-E", f"offset={start}", path, "16M")
    return path


def zero(path: Path, start: int, size: int) -> None:
    bootable.write(path, start, bytes(size))


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


def test_what_was_asked_for_and_cannot_be_done_is_no_success(plain: Path, room: Path) -> None:
    with looped(plain, 17 * MIB, 16 * MIB) as loop:
        run("wipefs", "-q", "-a", loop)
        run("mkswap", loop)
    run_rescue("repair", plain, "--check-filesystems", "2", status=ExitStatus.DAMAGED)
    finished = done(look(plain, check=(1, 2)), room / "job")
    assert (finished.status, finished.code) == (ExitStatus.DAMAGED, "partly-repaired")
    assert "cannot be checked here" in " ".join(result(finished).failed)


def test_left_out_is_left_as_it_is(plain: Path) -> None:
    zero(plain, 0, MIB)
    plan = look(plain, table=False)
    assert plan.table is None
    assert "the partition table is left as it is: that was asked for" in plan.left
    assert plan.notes == ()


# File systems


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


# The boot loader


def small_system(core: int, prefix: str, *, fails: str = "") -> dict[str, bytes]:
    """A system whose grub-install is a script, with what that needs to run."""
    files = bootable.system()
    files |= programs.contents(programs.needed("sh", "dd"))
    files["usr/sbin/grub-install"] = FAKE.format(core=core, fails=fails).encode()
    files["usr/lib/grub/i386-pc/modinfo.sh"] = b"#\n"
    files["fake/boot"] = bytes(440)
    files["fake/core"] = bootable.core(prefix, core)
    files["etc/os-release"] = OS
    for folder in ("dev", "proc", "sys"):
        files[f"{folder}/.folder"] = b""
    return files


def made_runnable(path: Path, start: int, sector: int) -> None:
    """Rights, and the boot sector that leads to the core."""
    where = path.parent / "root"
    where.mkdir(exist_ok=True)
    with looped(path, start) as loop:
        run("mount", "-t", "ext4", loop, where)
        try:
            for file in [*where.glob("usr/*bin/*"), *where.glob("bin/*"), *where.rglob("*.so*")]:
                file.chmod(0o755)
            boot = bytearray(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
            boot[0x5C:0x64] = sector.to_bytes(8, "little")
            (where / "fake/boot").write_bytes(boot)
        finally:
            run("umount", where)


def for_bios(room: Path, *, fails: str = "") -> Made:
    made = bootable.for_bios(room / "disk.img", small_system(1, "(,msdos1)/boot/grub", fails=fails))
    made_runnable(made.path, made.root, 1)
    return made


def calls(made: Made) -> list[str]:
    """How the system's grub-install was called."""
    where = made.path.parent / "root"
    with looped(made.path, made.root) as loop:
        run("mount", "-t", "ext4", "-o", "ro", loop, where)
        try:
            return (where / "calls").read_text().splitlines()
        finally:
            run("umount", where)


@pytest.mark.usefixtures("grub")
def test_the_system_s_own_grub_install_puts_the_loader_back(room: Path) -> None:
    made = for_bios(room)
    zero(made.path, 0, 440)
    zero(made.path, 512, 8192)
    with as_disk(made.path) as disk:
        plan = look(disk)
        assert plan.loaders == (Firmware.BIOS,)
        assert plan.system is not None
        assert (plan.system.number, plan.system.name) == (1, "Small Linux")
        before = hashlib.sha256(Path(disk).read_bytes()[:440]).digest()
        finished = done(plan, room / "job")
        assert (finished.status, warnings_of(room / "job")) == (ExitStatus.DONE, [])
        assert result(finished).loaders == ("BIOS",)
        assert result(finished).starts.answer is Answer.STARTS
        assert hashlib.sha256(Path(disk).read_bytes()[:440]).digest() != before
        assert not look(disk).writes
    called, sees = calls(made)
    assert called == f"--target=i386-pc {disk}"
    # The disk, and the partition: no other device of this computer.
    assert str(disk) in sees.split()
    assert len(sees.split()) == 3
    kept = [path.name for path in Path(result(finished).saved).iterdir()]
    assert any(name.endswith("-at-0.bin") for name in kept)
    assert [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(disk) in line] == []


@pytest.mark.usefixtures("grub")
def test_a_grub_install_that_fails_is_told_and_is_no_success(room: Path) -> None:
    made = for_bios(room, fails='echo "no space left" >&2; exit 1')
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        finished = done(look(disk), room / "job")
    assert (finished.status, finished.code) == (ExitStatus.CANNOT_START, "cannot-start")
    assert "no space left" in " ".join(result(finished).failed)
    assert result(finished).loaders == ()


@pytest.mark.usefixtures("grub")
def test_programs_that_cannot_run_here_write_nothing(room: Path) -> None:
    made = for_bios(room)
    where = made.path.parent / "root"
    with looped(made.path, made.root) as loop:
        run("mount", "-t", "ext4", loop, where)
        (where / "usr/sbin/grub-install").write_bytes(b"\x7fELF of another machine")
        run("umount", where)
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
        before = digest(made.path)
        finished = done(plan, room / "job")
    assert finished.status == ExitStatus.CANNOT_START
    assert digest(made.path) == before


def no_program(files: dict[str, bytes]) -> None:
    del files["usr/sbin/grub-install"]


def no_modules(files: dict[str, bytes]) -> None:
    del files["usr/lib/grub/i386-pc/modinfo.sh"]


def apart(files: dict[str, bytes]) -> None:
    files["etc/fstab"] += b"UUID=99999999-9999-9999-9999-999999999999 /usr ext4 defaults 0 2\n"


def boot_elsewhere(files: dict[str, bytes]) -> None:
    files["etc/fstab"] += b"UUID=99999999-9999-9999-9999-999999999999 /boot ext4 defaults 0 2\n"


def no_system(files: dict[str, bytes]) -> None:
    del files["etc/os-release"]


def moved(files: dict[str, bytes]) -> None:
    """It lives on another disk now, and this is what it left behind."""
    files["etc/fstab"] = files["etc/fstab"].replace(bootable.ROOT.encode(), bootable.HOME.encode())


def boot_in_pieces(files: dict[str, bytes]) -> None:
    files["etc/fstab"] += f"UUID={bootable.ROOT} /boot/grub ext4 defaults 0 2\n".encode()


def no_kernel(files: dict[str, bytes]) -> None:
    del files[bootable.KERNEL]


@pytest.mark.usefixtures("grub")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (no_program, "Small Linux has no grub-install of its own"),
        (no_modules, "Small Linux has no GRUB for this kind of firmware"),
        (apart, "/usr of Small Linux is a file system of its own"),
        (boot_elsewhere, "/boot of Small Linux is not on a partition of this disk"),
        (no_system, "no system was found on the disk"),
        (moved, "by its fstab Small Linux has its root elsewhere"),
        (boot_in_pieces, "/boot/grub of Small Linux is a file system of its own"),
        (no_kernel, "Small Linux has no kernel in /boot"),
    ],
)
def test_why_a_loader_is_not_put_back_is_told(room: Path, change: Callable[[dict[str, bytes]], None], why: str) -> None:
    files = small_system(1, "(,msdos1)/boot/grub")
    change(files)
    made = bootable.for_bios(room / "disk.img", files)
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
    assert not plan.writes
    assert why in " ".join(plan.notes)


@pytest.mark.usefixtures("grub")
def test_of_several_systems_a_person_says_which(room: Path) -> None:
    files = small_system(1, "(,msdos1)/boot/grub")
    made = bootable.for_bios(room / "disk.img", files)
    run("sfdisk", "--append", "--quiet", _larger(made.path), text="size=24MiB, type=83\n")
    bootable.ext4(made.path, 25 * MIB, {"etc/os-release": b'PRETTY_NAME="Other"\n'})
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
    assert not plan.loaders
    assert "several systems on the disk" in " ".join(plan.notes)
    assert "1 (Small Linux), 2 (Other)" in " ".join(plan.notes)


def _larger(path: Path) -> Path:
    with path.open("r+b") as file:
        file.truncate(60 * MIB)
    return path


@pytest.mark.usefixtures("grub")
def test_a_plan_for_a_disk_file_promises_no_loader(room: Path) -> None:
    made = bootable.for_bios(room / "disk.img", small_system(1, "(,msdos1)/boot/grub"))
    zero(made.path, 0, 440)
    plan = look(made.path)
    assert not plan.writes
    assert "attach it" in " ".join(plan.notes)


@pytest.mark.usefixtures("grub")
def test_a_failing_disk_gets_no_loader(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Health(condition=Condition.FAILING, reasons=("its spare blocks are used up",))
    monkeypatch.setattr(smart, "health", lambda *_: bad)
    made = bootable.for_bios(room / "disk.img", small_system(1, "(,msdos1)/boot/grub"))
    zero(made.path, 0, 440)
    with as_disk(made.path) as disk:
        plan = look(disk)
    assert not plan.loaders
    assert "the disk is failing" in " ".join(plan.notes)


@pytest.mark.usefixtures("grub")
def test_a_disk_that_starts_needs_nothing(room: Path) -> None:
    plan = look(bootable.for_uefi(room / "disk.img").path)
    assert not plan.writes
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
