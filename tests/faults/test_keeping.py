"""A disk is put back to an image, and a partition of it stays as it is: neither that nor the table is written."""

import random
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from imaging.errors import ExitStatus
from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run

SIZE = 40 * MIB
UUIDS = [f"0000000{number}-2222-3333-4444-555555555555" for number in range(4)]
TABLE = f"""label: gpt
start=1MiB, size=12MiB, uuid={UUIDS[1]}
start=13MiB, size=4MiB, uuid={UUIDS[2]}
start=17MiB, size=20MiB, uuid={UUIDS[3]}, name=home
"""
PARTS = {1: (1, 13), 2: (13, 17), 3: (17, 37)}
"""From and to, in MiB."""


@dataclass(frozen=True)
class Kept:
    """A disk that was captured as a factory image, and was used since then."""

    disk: Path
    library: Path
    image: str
    factory: bytes
    used: bytes

    def reset(self, *words: object, status: int = 0) -> str:
        """A reset that is confirmed unless `words` say less."""
        done = run_rescue("factory", "reset", "--to", self.disk, "--library", self.library, *words, status=status)
        return done.out + done.err

    def part(self, data: bytes, number: int) -> bytes:
        start, end = PARTS[number]
        return data[start * MIB : end * MIB]


CONFIRMED = ("--erase", "disk.img:1", "--erase", "disk.img:2")


def write(disk: Path, number: int, seed: int) -> None:
    """A file system with files of its own in a partition."""
    start, end = PARTS[number]
    folder = disk.with_name(f"files-{number}-{seed}")
    folder.mkdir()
    (folder / "file").write_bytes(random.Random(seed).randbytes((end - start) * MIB // 4))
    words = ["-q", "-F", "-t", "ext4", "-d", folder, "-E", f"offset={start * MIB}"]
    run("mke2fs", *words, disk, f"{(end - start) << 10}k")


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    disk, library = partition(blank(tmp_path / "disk.img", SIZE), TABLE), tmp_path / "library"
    for number in PARTS:
        write(disk, number, number)
    image = run_rescue("capture", disk, "--library", library, "--json").events[-1]["result"]["image"]
    run_rescue("factory", "set", image, "--library", library)
    factory = disk.read_bytes()
    for number in (1, 3):
        write(disk, number, number + 10)
    return Kept(disk, library, image, factory, disk.read_bytes())


def test_the_rest_is_as_it_left_the_factory_and_the_kept_one_as_it_was(kept: Kept) -> None:
    plan = kept.reset("--keep", "3", "--plan")
    assert "KEPT: the partition table and 1 other partition; nothing is written to them" in plan
    said = kept.reset("--keep", "disk.img:3", *CONFIRMED)
    now = kept.disk.read_bytes()
    for number in (1, 2):
        assert kept.part(now, number) == kept.part(kept.factory, number), said
    assert kept.part(now, 3) == kept.part(kept.used, 3)
    assert (now[:MIB], now[37 * MIB :]) == (kept.used[:MIB], kept.used[37 * MIB :])


def test_what_was_there_comes_back_and_the_kept_one_stays_again(kept: Kept) -> None:
    kept.reset("--keep", "3", *CONFIRMED, "--save-first", kept.library)
    later = MIB
    with kept.disk.open("r+b") as file:
        file.seek(PARTS[3][0] * MIB + later)
        file.write(b"written after the reset")
    home = kept.part(kept.disk.read_bytes(), 3)
    run_rescue("undo", "--to", kept.disk, "--library", kept.library, *CONFIRMED)
    now = kept.disk.read_bytes()
    assert [kept.part(now, number) for number in (1, 2)] == [kept.part(kept.used, number) for number in (1, 2)]
    assert kept.part(now, 3) == home


def test_each_partition_that_is_erased_is_confirmed(kept: Kept) -> None:
    for words in ((), ("--erase", "disk.img:1"), ("--erase", "disk.img"), (*CONFIRMED, "--erase", "disk.img:3")):
        kept.reset("--keep", "3", *words, status=ExitStatus.REFUSED)
    assert kept.disk.read_bytes() == kept.used


@pytest.mark.parametrize(
    ("words", "why", "status"),
    [
        (("--keep", "4"), "has no partition 4 to keep; it has disk.img:1, disk.img:2, disk.img:3", ExitStatus.USAGE),
        (("--keep", "disk.img"), "has no partition disk.img to keep", ExitStatus.USAGE),
        (("--keep", "1", "--keep", "2", "--keep", "3"), "no partition was given to restore", ExitStatus.USAGE),
        (("--keep", "3", "--wipe", "discard"), "the others on this one are to stay", ExitStatus.USAGE),
        (("--keep", "3", "--grow"), "grows where one whole disk is restored", ExitStatus.USAGE),
    ],
)
def test_what_cannot_be_kept_is_refused(kept: Kept, words: tuple[str, ...], why: str, status: int) -> None:
    assert why in kept.reset(*words, *CONFIRMED, status=status)
    assert kept.disk.read_bytes() == kept.used


@pytest.mark.parametrize(
    ("table", "odd"),
    [
        (TABLE.replace("start=17MiB, size=20MiB", "start=18MiB, size=19MiB"), "laid out as the image is: 3"),
        (TABLE.replace("size=4MiB", "size=3MiB"), "laid out as the image is: 2"),
        (TABLE + "start=37MiB, size=1MiB\n", "laid out as the image is: 4"),
        (
            "label: dos\nstart=1MiB, size=12MiB\nstart=13MiB, size=4MiB\nstart=17MiB, size=20MiB\n",
            "laid out as the image",
        ),
    ],
)
def test_a_disk_that_is_laid_out_otherwise_is_refused(kept: Kept, table: str, odd: str) -> None:
    partition(kept.disk, table)
    before = kept.disk.read_bytes()
    assert odd in kept.reset("--keep", "3", *CONFIRMED, status=ExitStatus.REFUSED)
    assert kept.disk.read_bytes() == before


def test_one_that_was_made_since_and_the_image_does_not_know_stays(kept: Kept) -> None:
    run("sfdisk", "--append", kept.disk, text="start=37MiB, size=1MiB\n")
    with kept.disk.open("r+b") as file:
        file.seek(37 * MIB)
        file.write(b"made since" * 100)
    before = kept.disk.read_bytes()
    assert "laid out as the image is: 4" in kept.reset("--keep", "3", *CONFIRMED, status=ExitStatus.REFUSED)
    kept.reset("--keep", "3", "--keep", "4", *CONFIRMED)
    now = kept.disk.read_bytes()
    assert [kept.part(now, number) for number in (1, 2)] == [kept.part(kept.factory, number) for number in (1, 2)]
    assert (now[:MIB], now[17 * MIB :]) == (before[:MIB], before[17 * MIB :])


def test_a_table_of_the_same_places_and_other_names_is_another(kept: Kept) -> None:
    """Systems find their partitions by the GUIDs of these."""
    run("sfdisk", "--part-uuid", kept.disk, "2", "11111111-2222-3333-4444-555555555555")
    before = kept.disk.read_bytes()
    assert "laid out as the image is: 2" in kept.reset("--keep", "3", *CONFIRMED, status=ExitStatus.REFUSED)
    assert kept.disk.read_bytes() == before


def test_what_the_image_leaves_out_is_kept_by_name_alone(kept: Kept) -> None:
    part = run_rescue("capture", kept.disk, "--library", kept.library, "--partition", "1,3", "--json")
    image = part.events[-1]["result"]["image"]
    words = ("restore", image, kept.disk, "--library", kept.library, "--keep", "3", "--erase", "disk.img:1")
    assert "the image leaves partition 2 out" in run_rescue(*words, status=ExitStatus.USAGE).err
    run_rescue(*words, "--keep", "2")


def test_a_volume_on_several_partitions_is_not_torn(kept: Kept) -> None:
    for number in (2, 3):
        start = PARTS[number][0] * MIB
        # An LVM physical volume, as blkid knows it: its label in the second sector.
        label = b"LABELONE" + (1).to_bytes(8, "little") + bytes(4) + (32).to_bytes(4, "little") + b"LVM2 001"
        sector = bytearray(label + f"{number}".encode() * 32).ljust(512, b"\0")
        sector[16:20] = lvm_crc(bytes(sector[20:])).to_bytes(4, "little")
        with kept.disk.open("r+b") as file:
            file.seek(start)
            file.write(bytes(4096))
            file.seek(start + 512)
            file.write(sector)
    before = kept.disk.read_bytes()
    said = kept.reset("--keep", "3", *CONFIRMED, status=ExitStatus.REFUSED)
    assert "partitions 2 and 3 of disk.img may belong together (LVM2_member)" in said
    assert kept.disk.read_bytes() == before
    kept.reset("--keep", "3", "--keep", "2", "--erase", "disk.img:1")


def lvm_crc(data: bytes) -> int:
    """LVM's checksum of its label: CRC-32 without the last turn, from a start of its own. Source: lib/misc/crc.c."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def test_what_is_restored_straight_from_a_file_keeps_nothing(kept: Kept, tmp_path: Path) -> None:
    raw = tmp_path / "raw.img"
    raw.write_bytes(kept.factory)
    words = ("restore", raw, kept.disk, "--keep", "3", "--erase", "disk.img")
    assert "restored whole" in run_rescue(*words, status=ExitStatus.USAGE).err
    assert kept.disk.read_bytes() == kept.used


def test_a_reset_that_was_repeated_is_undone_to_what_was_there_before_the_first(kept: Kept) -> None:
    for _ in range(2):
        kept.reset("--keep", "3", *CONFIRMED, "--save-first", kept.library)
    run_rescue("undo", "--to", kept.disk, "--library", kept.library, *CONFIRMED)
    now = kept.disk.read_bytes()
    assert [kept.part(now, number) for number in PARTS] == [kept.part(kept.used, number) for number in PARTS]


def test_no_other_factory_image_takes_the_place_of_one_whose_notes_are_damaged(kept: Kept) -> None:
    other = run_rescue("capture", kept.disk, "--library", kept.library, "--json").events[-1]["result"]["image"]
    run_rescue("factory", "set", other, "--library", kept.library)
    (kept.library / "images" / other / "notes.json").write_text("garbage")
    said = kept.reset(*CONFIRMED, status=ExitStatus.REFUSED)
    assert f"image {other} or its notes are damaged" in said
    run_rescue("factory", "reset", kept.image, "--to", kept.disk, "--library", kept.library, "--erase", "disk.img")


@pytest.mark.parametrize("command", [("factory", "reset"), ("restore",)])
def test_an_image_that_is_taken_for_a_rule_belongs_before_the_option(kept: Kept, command: tuple[str, ...]) -> None:
    words = (*command, "--library", kept.library, "--keep-files", kept.image, "--plan")
    said = run_rescue(*words, status=ExitStatus.USAGE).err
    assert f"{kept.image}: there is no such rule" in said
    assert "give the image and the disks before it" in said


def test_any_image_can_be_restored_so(kept: Kept) -> None:
    words = ("--library", kept.library, "--keep", "3", "--keep", "2")
    run_rescue("restore", kept.image, kept.disk, *words, "--erase", "disk.img:1")
    now = kept.disk.read_bytes()
    assert kept.part(now, 1) == kept.part(kept.factory, 1)
    assert now[13 * MIB :] == kept.used[13 * MIB :]
    said = run_rescue(
        "restore", kept.image, kept.disk, *words, "--partition", "1", "--erase", "disk.img:1", status=ExitStatus.USAGE
    )
    assert "give the partitions to restore, or those to keep" in said.err
