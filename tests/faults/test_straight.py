"""Restored straight from another program's image: the same bytes, the same refusals, never half a disk for a whole."""

import bz2
import gzip
import lzma
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from imaging import foreignlook, inventory, jobs, trust, unfinished, writer
from imaging.clonezilla import ClonezillaDisk
from imaging.events import Finished, RestoreResult
from imaging.foreignplan import plan_straight
from imaging.jobs import JobState
from imaging.nbd import NbdDisk
from imaging.pipeline import Reporter
from imaging.plan import encode
from imaging.restoreplans import RestorePlan
from imaging.signingkeys import PrivateKey, PublicKey
from imaging.worker import carry_out
from tests.command import Outcome, run_rescue
from tests.disks import MIB, blank, looped, partition, run
from tests.faults.clonezilla import lists, save_volume
from tests.faults.killing import kill, start, wait_for_first_write
from tests.faults.test_clonezilla import BLOCK, FIRST, GPT, LAST, RAW, Folder, make, make_mbr, placed, replace, whole
from tests.faults.test_imports import MBR, used_disk
from tests.faults.test_single_files import packed
from tests.faults.world import Sample, carry_out_here, holds_used_bytes, mounted
from tests.unit.partclone_images import Volume, volume

SIZE = 16 * MIB
CHANCE = random.Random(5)
LONG = Volume(blocks=[CHANCE.randbytes(BLOCK) for _ in range(512)], used=[i for i in range(512) if i % 16])
"""So much that cannot be compressed that its end is not looked at before it is restored."""
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": lambda data: bz2.compress(data, 1),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def planned(source: Path, target: Path, *, name: str = "") -> RestorePlan:
    seen = foreignlook.look(source, threading.Event(), lambda *_: None)
    shown = inventory.look(str(target), [source])
    return plan_straight(seen, {name or seen.disks[0].name: shown})


def restored(source: Path, target: Path, folder: Path) -> RestoreResult:
    done = carry_out_here(planned(source, target), folder)
    assert done.status == 0, done
    assert isinstance(done.result, RestoreResult)
    return done.result


def old_system(path: Path, size: int = SIZE) -> Path:
    """A target full of 0xAA, with a table that used to start a computer."""
    return partition(blank(path, size, fill=0xAA), "label: gpt\nstart=1MiB, size=4MiB\n")


def command(source: Path, target: Path, *words: object, status: int = 0) -> Outcome:
    return run_rescue("restore", source, target, "--erase", target.name, "--json", *words, status=status)


def said(done: Outcome) -> dict[str, Any]:
    """How a command with --json ended."""
    last = done.events[-1]
    error: dict[str, Any] = last["error"] if last["event"] == "error" else last
    return error


def refused(source: Path, target: Path, *words: object, status: int = 3) -> dict[str, Any]:
    """What the command says, which leaves the target as it is."""
    before = target.read_bytes() if target.is_file() else b""
    told = said(command(source, target, *words, status=status))
    assert (target.read_bytes() if target.is_file() else b"") == before
    return told


def is_unfinished(target: Path, of: str) -> bool:
    """Whether nothing starts from a target, and it says why."""
    found = inventory.look(str(target))
    with target.open("rb") as file:
        file.seek(-MIB, os.SEEK_END)
        copy = b"EFI PART" in file.read()
    return found.unfinished == of and not found.table.partitions and not copy


@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_a_clonezilla_folder_is_on_a_disk_as_it_was_saved(tmp_path: Path, table: str) -> None:
    saved = make(tmp_path, GPT) if table == "gpt" else make_mbr(tmp_path)
    target = blank(tmp_path / "target.img", SIZE, fill=0xAA)
    done = command(saved.path, target).events[-1]
    assert done["result"]["tables"] == 1
    assert done["result"]["read_back"]
    # What is not used is as it was on the target.
    assert target.read_bytes() == whole(saved.opened())
    again = command(saved.path, target).events[-1]["result"]
    assert (again["written"], again["tables"]) == (0, 0)
    assert again["skipped"] == again["compared"] > 0


@pytest.mark.parametrize("table", ["gpt", "mbr"])
def test_a_larger_disk_gets_the_copy_of_its_table_where_it_wants_it(tmp_path: Path, table: str) -> None:
    saved = make(tmp_path, GPT) if table == "gpt" else make_mbr(tmp_path)
    target = blank(tmp_path / "target.img", SIZE + 8 * MIB, fill=0xAA)
    restored(saved.path, target, tmp_path / "job")
    data = target.read_bytes()
    placed(data, MIB, FIRST)
    placed(data, (8 if table == "gpt" else 7) * MIB, LAST)
    assert "No errors detected" in run("sfdisk", "--verify", target)
    here = [(p.number, p.start, p.size, p.uuid) for p in inventory.look(str(target)).table.partitions]
    assert here == [(p.number, p.start, p.size, p.uuid) for p in inventory.look(str(saved.disk)).table.partitions]
    # Nothing of where the saved disk ended, and no mark of what the target once was.
    assert data[11 * MIB : 23 * MIB] == b"\xaa" * (12 * MIB)
    assert data.endswith(bytes(512)) == (table == "mbr")


def test_a_smaller_disk_is_enough_that_has_room_for_the_partitions(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    least = 10 * MIB + 33 * 512
    told = refused(saved.path, blank(tmp_path / "small.img", least - 512, fill=0xAA))
    assert told["code"] == "target-too-small"
    assert f"({least:,} bytes) are needed" in told["message"]
    target = blank(tmp_path / "least.img", least, fill=0xAA)
    restored(saved.path, target, tmp_path / "job")
    placed(target.read_bytes(), 8 * MIB, LAST)
    assert "No errors detected" in run("sfdisk", "--verify", target)


@pytest.mark.parametrize(
    ("table", "packing"),
    [*(("gpt", packing) for packing in PACKERS), ("mbr", ""), ("mbr", ".zst"), ("none", ""), ("none", ".gz")],
)
def test_a_disk_file_is_written_byte_for_byte(tmp_path: Path, table: str, packing: str) -> None:
    scripts = {"gpt": GPT, "mbr": MBR}
    disk = used_disk(tmp_path / "pc.img", scripts.get(table, GPT), 9 * MIB, 21 * MIB)
    if table == "none":
        run("mkfs.ext4", "-q", "-F", disk)
    source = tmp_path / f"saved{packing}"
    source.write_bytes(PACKERS[packing](disk.read_bytes()))
    target = blank(tmp_path / "target.img", disk.stat().st_size, fill=0xAA)
    restored(source, target, tmp_path / "job")
    assert target.read_bytes() == disk.read_bytes()


BEHIND = 32 * MIB
"""Where a disk file has data behind its last partition."""


def with_data_behind(folder: Path, table: str, packing: str, end: int) -> tuple[Path, bytes]:
    """A disk file of 48 MiB that has data up to `end`, and its bytes."""
    disk = used_disk(folder / "pc.img", table, 9 * MIB)
    data = bytearray(disk.read_bytes())
    data[BEHIND:end] = b"\xbb" * (end - BEHIND)
    source = folder / f"saved{packing}"
    source.write_bytes(PACKERS[packing](bytes(data)))
    return source, bytes(data)


PARTITIONS = "start=2048, size=20480\nstart=22528, size=38912\n"


@pytest.mark.parametrize(
    ("label", "partitions", "packing", "size"),
    [
        ("gpt", PARTITIONS, "", 44 * MIB + 33 * 512),
        ("gpt", PARTITIONS, ".gz", 44 * MIB + 33 * 512),
        ("gpt", PARTITIONS, "", 48 * MIB + 512),
        ("gpt", PARTITIONS, ".gz", 56 * MIB),
        ("gpt", "", "", 47 * MIB),
        ("gpt", "", "", 56 * MIB),
        ("dos", PARTITIONS, "", 44 * MIB),
        ("dos", PARTITIONS, ".gz", 56 * MIB),
        ("dos", "", "", 56 * MIB),
    ],
)
def test_of_a_disk_file_all_goes_to_a_disk_of_another_size(
    tmp_path: Path, label: str, partitions: str, packing: str, size: int
) -> None:
    source, data = with_data_behind(tmp_path, f"label: {label}\n{partitions}", packing, 44 * MIB)
    target = blank(tmp_path / "target.img", size, fill=0xAA)
    restored(source, target, tmp_path / "job")
    found = target.read_bytes()
    assert found[MIB : 44 * MIB] == data[MIB : 44 * MIB]
    assert b"EFI PART" not in found[30 * MIB : size - 512]
    assert "No errors detected" in run("sfdisk", "--verify", target)
    again = command(source, target).events[-1]["result"]
    assert (again["written"], again["tables"]) == (0, 0)


@pytest.mark.parametrize(
    ("table", "packing"),
    [(f"label: gpt\n{PARTITIONS}", ".gz"), (f"label: dos\n{PARTITIONS}", ""), ("label: gpt\n", "")],
)
def test_a_disk_that_has_no_room_for_what_lies_behind_the_partitions_is_refused(
    tmp_path: Path, table: str, packing: str
) -> None:
    source, _ = with_data_behind(tmp_path, table, packing, 47 * MIB)
    target = old_system(tmp_path / "target.img", 46 * MIB)
    told = refused(source, target)
    assert told["code"] == "target-too-small"
    assert "behind its last partition" in told["message"]


def test_a_file_system_that_looks_like_a_table_is_written_whole(tmp_path: Path) -> None:
    disk = blank(tmp_path / "pc.img", 24 * MIB)
    run("mkfs.ext4", "-q", "-F", disk)
    data = bytearray(disk.read_bytes())
    data[0:4], data[510:512] = b"\xeb\x3c\x90\x00", b"\x55\xaa"
    data[23 * MIB :] = b"\xbb" * MIB
    disk.write_bytes(data)
    target = blank(tmp_path / "target.img", 32 * MIB, fill=0xAA)
    restored(disk, target, tmp_path / "job")
    assert target.read_bytes()[: 24 * MIB] == data


def test_what_does_not_exist_is_made_as_a_file(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    target = tmp_path / "new.img"
    run_rescue("restore", saved.path, target)
    assert target.read_bytes() == whole(saved.opened()).replace(b"\xaa" * BLOCK, bytes(BLOCK))
    inside = saved.path / "inside.img"
    assert "it would lie in what is restored" in refused(saved.path, inside)["message"]
    assert not inside.exists()


@pytest.mark.root
@pytest.mark.parametrize("way", ["qcow2", "vdi", "vmdk", "vhdx"])
def test_a_virtual_machines_disk_is_written_as_its_machine_sees_it(tmp_path: Path, way: str) -> None:
    disk = used_disk(tmp_path / "pc.img", MBR, 11 * MIB, 30 * MIB)
    run("qemu-img", "convert", "-f", "raw", "-O", way, disk, tmp_path / f"pc.{way}")
    target = blank(tmp_path / "target.img", disk.stat().st_size, fill=0xAA)
    restored(tmp_path / f"pc.{way}", target, tmp_path / "job")
    assert target.read_bytes() == disk.read_bytes()


def two_disks(room: Path) -> Folder:
    saved = make(room, GPT)
    (saved.path / "nvme0n1-pt.parted").write_text("Disk /dev/nvme0n1: 32768s\n")
    save_volume(saved.path, "nvme0n1", volume(4096, [0, 5, 4095], BLOCK))
    lists(saved.path, "sda nvme0n1", "sda1 sda2 sda3 sda4 nvme0n1")
    return saved


def test_of_several_disks_it_is_said_which_goes_where(tmp_path: Path) -> None:
    saved = two_disks(tmp_path)
    one, other = (blank(tmp_path / name, SIZE, fill=0xAA) for name in ("one.img", "other.img"))
    assert "say which goes where" in refused(saved.path, one, status=2)["message"]
    words = ["restore", saved.path, f"sda={one}", f"nvme0n1={other}", "--erase", "one.img"]
    assert said(run_rescue(*words, "--json", status=3))["code"] == "not-confirmed"
    assert one.read_bytes() == other.read_bytes() == b"\xaa" * SIZE
    run_rescue(*words, "--erase", "other.img")
    placed(one.read_bytes(), MIB, FIRST)
    placed(other.read_bytes(), 0, volume(4096, [0, 5, 4095], BLOCK))
    alone = blank(tmp_path / "alone.img", SIZE, fill=0xAA)
    run_rescue("restore", saved.path, f"nvme0n1={alone}", "--erase", "alone.img")
    assert alone.read_bytes() == other.read_bytes()


def test_the_sectors_of_a_disk_without_a_table_are_those_that_were_saved(tmp_path: Path) -> None:
    saved = two_disks(tmp_path)
    (saved.path / "nvme0n1-pt.parted").write_text(
        "Disk /dev/nvme0n1: 4096s\nSector size (logical/physical): 4096B/4096B\n"
    )
    seen = foreignlook.look(saved.path, threading.Event(), lambda *_: None)
    assert [disk.logical_sector for disk in seen.disks] == [512, 4096]


def test_partitions_that_were_not_saved_stay_as_they_are(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    (saved.path / "disk").unlink()
    (saved.path / "parts").write_text("sda1 sda2\n")
    for name in ("sda3.dd-ptcl-img.zst", "sda4.ext4-ptcl-img.zst"):
        (saved.path / name).unlink()
    target = blank(tmp_path / "target.img", SIZE, fill=0xAA)
    restored(saved.path, target, tmp_path / "job")
    data = target.read_bytes()
    placed(data, MIB, FIRST)
    assert data[5 * MIB : 6 * MIB] == b"\xaa" * MIB
    assert data[8 * MIB : 10 * MIB] == b"\xaa" * (2 * MIB)


def test_nothing_is_written_that_was_not_confirmed(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    target = old_system(tmp_path / "target.img")
    before = target.read_bytes()
    for words in ((), ("--erase", "sda"), ("--yes",), ("--erase", "target.img", "--erase", "saved")):
        done = run_rescue("restore", saved.path, target, "--json", *words, status=3)
        assert said(done)["code"] == "not-confirmed"
    shown = run_rescue("restore", saved.path, target, "--plan").out
    assert "ERASED: target.img" in shown
    assert f"straight from {saved.path}, without a library: Clonezilla image" in shown
    plan = run_rescue("restore", saved.path, target, "--plan", "--json").json
    assert (plan["library"], plan["foreign"]["path"]) == ("", str(saved.path))
    assert target.read_bytes() == before
    assert not jobs.jobs()


def test_a_target_that_is_part_of_the_source_is_refused_by_whatever_name(tmp_path: Path) -> None:
    disk = used_disk(tmp_path / "pc.img", GPT, 9 * MIB)
    os.link(disk, tmp_path / "other-name.img")
    for target in (disk, tmp_path / "other-name.img"):
        assert "belongs to what is restored" in refused(disk, target)["message"]
    (tmp_path / "clonezilla").mkdir()
    saved = make(tmp_path / "clonezilla", GPT)
    part = replace(saved, "sda3", RAW, "uncomp")[0]
    part.rename(saved.path / "sda3.dd-ptcl-img.uncomp")
    assert "belongs to what is restored" in refused(saved.path, saved.path / "sda3.dd-ptcl-img.uncomp")["message"]


@pytest.mark.parametrize("there", [True, False])
def test_a_file_in_a_library_is_no_target(captured: Sample, tmp_path: Path, there: bool) -> None:
    saved = make(tmp_path, GPT)
    library = captured.copy(tmp_path / "library").library
    target = library / "target.img"
    if there:
        blank(target, SIZE, fill=0xAA)
    assert "it lies in the image library" in refused(saved.path, target, "--library", library)["message"]
    assert target.exists() == there


@pytest.mark.root
def test_a_loop_device_over_a_part_of_the_source_is_refused(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    part = replace(saved, "sda3", RAW, "uncomp")[0]
    with looped(part) as loop:
        assert "belongs to what is restored" in refused(saved.path, Path(loop))["message"]
    flat = in_two_files(tmp_path)
    before = flat.read_bytes()
    with looped(flat) as loop:
        assert "belongs to what is restored" in refused(tmp_path / "pc.vmdk", Path(loop))["message"]
    assert flat.read_bytes() == before


def in_two_files(folder: Path) -> Path:
    """The file beside `pc.vmdk` that holds its data."""
    disk = used_disk(folder / "pc.img", MBR, 11 * MIB, 30 * MIB)
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", disk, folder / "pc.vmdk")
    return folder / "pc-flat.vmdk"


@pytest.mark.root
def test_the_files_that_a_machines_disk_names_belong_to_it(tmp_path: Path) -> None:
    flat = in_two_files(tmp_path)
    source = tmp_path / "pc.vmdk"
    os.link(flat, tmp_path / "other-name.img")
    for target in (flat, tmp_path / "other-name.img"):
        assert "belongs to what is restored" in refused(source, target)["message"]
    target = old_system(tmp_path / "target.img", flat.stat().st_size)
    before = target.read_bytes()
    plan = planned(source, target)
    with flat.open("r+b") as file:
        file.seek(11 * MIB)
        file.write(b"another disk")
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "image-changed")
    assert target.read_bytes() == before


@pytest.mark.root
def test_the_disk_that_holds_the_source_is_refused(tmp_path: Path) -> None:
    file = blank(tmp_path / "stick.img", 64 * MIB)
    run("mkfs.ext4", "-q", file)
    saved = make(tmp_path, GPT)
    with looped(file) as loop:
        with mounted(loop, tmp_path / "stick"):
            run("cp", "-r", saved.path, tmp_path / "stick/saved")
        with mounted(loop, tmp_path / "stick", "-o", "ro"):
            before = Path(loop).read_bytes()
            told = said(command(tmp_path / "stick/saved", Path(loop), status=3))
            assert told["code"] == "protected-disk"
            assert "what is restored, or the image library, lies on it" in told["message"]
            assert Path(loop).read_bytes() == before


def test_a_disk_or_a_source_that_changed_since_the_plan_was_shown_is_refused(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    target = old_system(tmp_path / "target.img")
    plan = planned(saved.path, target)
    with target.open("r+b") as file:
        file.write(b"somebody was here")
    before = target.read_bytes()
    done = carry_out_here(plan, tmp_path / "job1")
    assert (done.status, done.code) == (3, "disk-changed")
    plan = planned(saved.path, target)
    replace(saved, "sda1", FIRST, "gz")
    done = carry_out_here(plan, tmp_path / "job2")
    assert (done.status, done.code) == (3, "image-changed")
    assert target.read_bytes() == before


@contextmanager
def over_ssh(folder: Path, where: Path, server: Path) -> Iterator[Path]:
    """A folder as sshfs has it, without a computer between."""
    server.write_text("#!/bin/sh\nexec /usr/lib/openssh/sftp-server\n")
    server.chmod(0o755)
    where.mkdir(exist_ok=True)
    run("sshfs", "-o", f"ssh_command={server},ro", f"here:{folder}", where)
    try:
        yield where
    finally:
        run("umount", where)


@pytest.mark.root
def test_a_source_whose_files_are_numbered_anew_is_the_same(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    target = blank(tmp_path / "target.img", SIZE, fill=0xAA)
    with over_ssh(saved.path, tmp_path / "saved-there", tmp_path / "server") as here:
        plan = planned(here, target)
        before = (here / "parts").stat().st_ino
    with over_ssh(saved.path, tmp_path / "saved-there", tmp_path / "server") as here:
        for file in sorted(here.iterdir(), reverse=True):
            file.stat()
        assert (here / "parts").stat().st_ino != before
        assert carry_out_here(plan, tmp_path / "job").status == 0
    placed(target.read_bytes(), MIB, FIRST)


@pytest.mark.parametrize("how", ["cut", "corrupt"])
@pytest.mark.parametrize("packing", ["uncomp", "gz", "zst"])
def test_a_damaged_source_never_becomes_a_disk_that_looks_whole(tmp_path: Path, packing: str, how: str) -> None:
    saved = make(tmp_path, GPT)
    (file,) = replace(saved, "sda4", LONG, packing)
    good = file.read_bytes()
    file.write_bytes(good[:-9] if how == "cut" else good[:-300] + b"??????" + good[-294:])
    target = old_system(tmp_path / "target.img")
    told = said(command(saved.path, target, status=4))
    assert told["status"] == 4
    assert "only partly restored" in told["state"]
    assert is_unfinished(target, "saved")
    file.write_bytes(good)
    result = restored(saved.path, target, tmp_path / "job")
    assert result.skipped
    assert inventory.look(str(target)).unfinished == ""
    placed(target.read_bytes(), 8 * MIB, LONG)


def test_a_compressed_disk_that_is_damaged_is_known_before_anything_is_written(tmp_path: Path) -> None:
    disk = used_disk(tmp_path / "pc.img", GPT, 9 * MIB)
    target = old_system(tmp_path / "target.img", 48 * MIB)
    for packing in (".gz", ".bz2", ".xz", ".zst"):
        source = tmp_path / f"saved{packing}"
        data = PACKERS[packing](disk.read_bytes())
        source.write_bytes(data[: len(data) * 3 // 4])
        assert refused(source, target, status=4)["code"] == "bad-stream"
    for name, pack in (("short.img", bytes), ("short.img.gz", gzip.compress)):
        (tmp_path / name).write_bytes(pack(disk.read_bytes()[: 40 * MIB]))
        assert "does not fit its" in refused(tmp_path / name, target, status=4)["message"]


def test_a_source_that_is_written_to_meanwhile_does_not_become_a_whole_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = make(tmp_path, GPT)
    target = old_system(tmp_path / "target.img")
    plan = planned(saved.path, target)
    meanwhile(monkeypatch, lambda: (saved.path / "another").touch(), last=True)
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (5, "source-changed")
    assert is_unfinished(target, "saved")


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object], *, last: bool = False) -> None:
    """Something happens when the data of the fourth partition, or the last of all, has come."""
    pieces = ClonezillaDisk.pieces

    def with_an_event(disk: ClonezillaDisk) -> Iterator[tuple[int, bytes]]:
        done = False
        for at, data in pieces(disk):
            if at >= 8 * MIB and not last and not done:
                done = True
                what()
            yield at, data
        if last:
            what()

    monkeypatch.setattr(ClonezillaDisk, "pieces", with_an_event)


def test_a_restore_that_is_cancelled_says_what_it_leaves_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = make(tmp_path, GPT)
    target = old_system(tmp_path / "target.img")
    plan, folder = planned(saved.path, target), tmp_path / "job"
    folder.mkdir()
    (folder / "plan.json").write_bytes(encode(plan))
    cancel = threading.Event()
    with monkeypatch.context() as patch, (folder / "events.jsonl").open("wb") as out:
        meanwhile(patch, cancel.set)
        done: Finished = carry_out(folder, Reporter(out.write), cancel)
    assert (done.status, done.code) == (6, "cancelled")
    assert "only partly restored" in done.state
    assert is_unfinished(target, "saved")
    result = restored(saved.path, target, tmp_path / "again")
    assert result.skipped
    assert result.written
    assert result.tables == 1


@pytest.mark.root
def test_where_a_machines_disk_is_empty_a_restore_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "pc.qcow2"
    run("qemu-img", "create", "-f", "qcow2", source, "96M")
    target = blank(tmp_path / "target.img", 96 * MIB)
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "plan.json").write_bytes(encode(planned(source, target)))
    cancel, furthest, read = threading.Event(), 0, NbdDisk.read

    def with_an_event(disk: NbdDisk, at: int, size: int) -> list[bytes]:
        nonlocal furthest
        furthest = max(furthest, at)
        if at >= 16 * MIB:
            cancel.set()
        return read(disk, at, size)

    monkeypatch.setattr(NbdDisk, "read", with_an_event)
    with (folder / "events.jsonl").open("wb") as out:
        done: Finished = carry_out(folder, Reporter(out.write), cancel)
    assert (done.status, done.code) == (6, "cancelled")
    assert 16 * MIB <= furthest < 64 * MIB


@pytest.mark.parametrize("again", ["the same", "by the command"])
def test_a_restore_that_is_killed_leaves_no_system_and_the_next_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    disk = used_disk(tmp_path / "pc.img", GPT, 9 * MIB, 21 * MIB)
    source = tmp_path / "pc.img.gz"
    source.write_bytes(gzip.compress(disk.read_bytes()))
    target = old_system(tmp_path / "target.img", 48 * MIB)
    plan = planned(source, target)
    with monkeypatch.context() as patch:
        # It gives half of the disk, and then nothing more.
        tools = tmp_path / "tools"
        tools.mkdir()
        (tools / "gzip").write_text('#!/bin/sh\n/bin/gzip "$@" 2>/dev/null | head -c 25165824\nexec sleep 1000\n')
        (tools / "gzip").chmod(0o755)
        patch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
        job = start(plan)
        wait_for_first_write(job, target)
        kill(job)
    assert job.state is JobState.DIED
    assert "does not start a computer" in job.died().state
    assert is_unfinished(target, "pc.img.gz")
    if again == "the same":
        restored(source, target, tmp_path / "job")
    else:
        command(source, target)
    assert target.read_bytes() == disk.read_bytes()


def test_what_the_medium_does_not_hold_is_noticed_and_no_table_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = make(tmp_path, GPT)
    target = old_system(tmp_path / "target.img")
    write = writer.Target.write

    def forgetful(self: writer.Target, data: memoryview | bytes, offset: int) -> None:
        kept = bytearray(data)
        if offset >= 4 * MIB and len(kept) > BLOCK:
            kept[len(kept) // 2] ^= 1
        write(self, bytes(kept), offset)

    plan = planned(saved.path, target)
    with monkeypatch.context() as patch:
        patch.setattr(writer.Target, "write", forgetful)
        done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (5, "read-back-differs")
    assert is_unfinished(target, "saved")
    with target.open("rb") as file:
        assert unfinished.parse(file.read(512)) == "saved"


def test_where_keys_are_trusted_nothing_unsigned_is_restored_unless_that_is_accepted(tmp_path: Path) -> None:
    saved = make(tmp_path, GPT)
    target = old_system(tmp_path / "target.img")
    plan = planned(saved.path, target)
    trust.trust(PublicKey(raw=PrivateKey(seed=bytes(32)).public.raw, name="Anna"))
    assert refused(saved.path, target)["code"] == "not-trusted"
    before = target.read_bytes()
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "not-trusted")
    assert target.read_bytes() == before
    command(saved.path, target, "--accept-unsigned")
    placed(target.read_bytes(), MIB, FIRST)


@pytest.mark.parametrize("piece", [0, 3 * MIB + 512])
def test_an_image_in_a_single_file_is_restored_by_its_path(captured: Sample, tmp_path: Path, piece: int) -> None:
    single = packed(captured, tmp_path / "pc.rescue", tmp_path / "export", piece).library
    target = old_system(tmp_path / "target.img", captured.disk.stat().st_size)
    assert "straight" not in run_rescue("restore", single, target, "--plan").out
    command(single, target)
    assert holds_used_bytes(captured, target)


def test_a_folder_that_is_something_else_is_refused(captured: Sample, tmp_path: Path) -> None:
    target = old_system(tmp_path / "target.img")
    told = refused(captured.library, target, status=2)
    assert "none that Clonezilla saved" in told["message"]
    assert "named by its id" in told["hint"]
    assert refused(tmp_path / "nothing", target, status=2)["code"] == "no-such-file"


def test_a_word_that_can_mean_two_things_and_partitions_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = make(tmp_path, GPT)
    target = old_system(tmp_path / "target.img")
    told = refused(saved.path, target, "--partition", "1", status=2)
    assert "import it first" in told["hint"]
    monkeypatch.chdir(tmp_path)
    done = run_rescue("restore", "saved", "target.img", "--plan", "--library", tmp_path / "none").out
    assert "without a library" in done
    run_rescue("import", "saved", "--library", tmp_path / "library", "--label", "x")
    (image,) = run_rescue("images", "--library", tmp_path / "library", "--json").json["images"]
    saved.path.rename(tmp_path / image["id"])
    words = ["restore", image["id"], "target.img", "--plan", "--library", tmp_path / "library"]
    assert f"give ./{image['id']}" in run_rescue(*words, status=2).err
    assert "without a library" in run_rescue("restore", f"./{image['id']}", "target.img", "--plan").out
