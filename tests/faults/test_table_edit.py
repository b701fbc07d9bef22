"""One partition more or less in a table: everything else stays, bit for bit, whenever the writing is cut off."""

import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging import sfdisk, tableedit
from imaging.disk import TableKind
from imaging.errors import BadImageError, RefusedError
from imaging.tableedit import NewEntry, Writes
from tests.disks import MIB, blank, partition, run

SIZE = 12 * MIB
GPT = """label: gpt
start=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI", attrs="RequiredPartition"
start=4096, size=4096, name="root\u00e9"
start=8192, size=2048, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F
"""
MBR = """label: dos
start=2048, size=2048, type=83, bootable
start=4096, size=4096, type=5
start=6144, size=2048, type=83
"""
NEW = NewEntry(number=4, start=6 * MIB, size=5 * MIB, name="RESCUE", uuid=str(uuid.UUID(int=7)))


class Image:
    """A disk's bytes, and what a job reads of them and writes to them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())

    def read(self, at: int, size: int) -> bytes:
        return bytes(self.data[at : at + size])

    def apply(self, writes: Writes) -> None:
        for at, data in writes:
            self.data[at : at + len(data)] = data

    def added(self, new: NewEntry = NEW, kind: str = "gpt") -> Writes:
        return tableedit.added(self.read, new, kind=kind, size=len(self.data), sector=512)

    def removed(self, number: int = 4, kind: str = "gpt") -> Writes:
        return tableedit.removed(self.read, number, kind=kind, size=len(self.data), sector=512)

    def save(self) -> Path:
        self.path.write_bytes(self.data)
        return self.path


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Image]:
    yield Image(partition(blank(tmp_path / "disk.img", SIZE), GPT))


@pytest.fixture
def mbr(tmp_path: Path) -> Iterator[Image]:
    yield Image(partition(blank(tmp_path / "disk.img", SIZE), MBR))


def test_a_partition_is_added_and_every_other_entry_stays_as_it_was(image: Image) -> None:
    before = sfdisk.read_table(str(image.path), 512)
    entries = image.read(1024, 128 * 128)
    image.apply(image.added())
    after = sfdisk.read_table(str(image.save()), 512)
    assert after.partitions[:3] == before.partitions
    made = after.partitions[3]
    assert (made.number, made.start, made.size, made.name) == (4, NEW.start, NEW.size, "RESCUE")
    assert (made.type, made.uuid.lower()) == (tableedit.LINUX_DATA, NEW.uuid)
    assert image.read(1024, 3 * 128) == entries[: 3 * 128]
    assert image.read(1024 + 4 * 128, 124 * 128) == entries[4 * 128 :]
    assert "No errors detected" in run("sfdisk", "--verify", image.path)


def test_taking_it_away_again_gives_the_table_back_bit_for_bit(image: Image) -> None:
    before = bytes(image.data)
    image.apply(image.added())
    assert bytes(image.data) != before
    image.apply(image.removed())
    assert bytes(image.data) == before


def test_whichever_write_is_the_last_one_copy_of_the_table_is_whole(image: Image) -> None:
    before = bytes(image.data)
    writes = image.added()
    assert [at for at, _ in writes] == [SIZE - 33 * 512, 512]
    for done in range(len(writes) + 1):
        for cut in (0, 512, 513, 8192):
            image.data[:] = before
            image.apply(writes[:done])
            image.apply([(at, data[:cut]) for at, data in writes[done : done + 1]])
            names = [part.name for part in sfdisk.read_table(str(image.save()), 512).partitions]
            assert names[:3] == ["EFI", "root\u00e9", ""]
            # Running it again ends well: the partition is there, and both copies are equal.
            if len(names) == 3:
                image.apply(image.added())
            image.apply(image.removed())
            image.apply(image.added())
            image.save()
            assert "No errors detected" in run("sfdisk", "--verify", image.path)


def test_on_a_disk_that_has_grown_the_copy_moves_to_its_end(image: Image) -> None:
    image.data += bytes(8 * MIB)
    new = NewEntry(number=4, start=13 * MIB, size=6 * MIB, name="RESCUE", uuid=NEW.uuid)
    image.apply(image.added(new))
    assert [part.start for part in sfdisk.read_table(str(image.save()), 512).partitions][3] == 13 * MIB
    assert "No errors detected" in run("sfdisk", "--verify", image.path)


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (NewEntry(number=2, start=6 * MIB, size=MIB, uuid=NEW.uuid), "there is a partition 2 already"),
        (NewEntry(number=4, start=3 * MIB, size=MIB, uuid=NEW.uuid), "partition 2 lies at"),
        (NewEntry(number=4, start=11 * MIB, size=MIB, uuid=NEW.uuid), "no room for partitions"),
        (NewEntry(number=4, start=0, size=MIB, uuid=NEW.uuid), "no room for partitions"),
        (NewEntry(number=129, start=6 * MIB, size=MIB, uuid=NEW.uuid), "no room for a partition 129"),
        (NewEntry(number=4, start=6 * MIB + 1, size=MIB, uuid=NEW.uuid), "not whole sectors"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(image: Image, new: NewEntry, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        image.added(new)


def test_of_a_damaged_table_the_whole_copy_is_taken_and_both_are_written(image: Image) -> None:
    image.data[512 + 20] ^= 1
    image.apply(image.added())
    image.save()
    assert "No errors detected" in run("sfdisk", "--verify", image.path)
    image.data[512 + 20] ^= 1
    image.data[-512 + 20] ^= 1
    with pytest.raises(BadImageError):
        image.added()


def test_a_header_that_lets_partitions_lie_in_its_own_entries_is_refused(image: Image) -> None:
    header = bytearray(image.read(512, 92))
    struct.pack_into("<Q", header, 40, 5)
    struct.pack_into("<I", header, 16, 0)
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    image.apply([(512, bytes(header)), (SIZE - 512, bytes(512))])
    with pytest.raises(BadImageError, match="where partitions do"):
        image.added()


def test_an_mbr_gets_a_primary_partition_in_one_sector(mbr: Image) -> None:
    before = bytes(mbr.data)
    old = sfdisk.read_table(str(mbr.path), 512)
    new = NewEntry(number=3, start=6 * MIB, size=5 * MIB)
    writes = mbr.added(new, "dos")
    assert [(at, len(data)) for at, data in writes] == [(0, 512)]
    mbr.apply(writes)
    table = sfdisk.read_table(str(mbr.save()), 512)
    assert table.kind is TableKind.MBR
    made = next(part for part in table.partitions if part.number == 3)
    assert (made.start, made.size, made.type) == (new.start, new.size, "83")
    assert [part for part in table.partitions if part.number != 3] == list(old.partitions)
    mbr.apply(mbr.removed(3, "dos"))
    assert bytes(mbr.data) == before


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (NewEntry(number=1, start=6 * MIB, size=MIB), "there is a partition 1 already"),
        (NewEntry(number=3, start=3 * MIB, size=MIB), "partition 2 lies at"),
        (NewEntry(number=6, start=6 * MIB, size=MIB), "none of the four primary ones"),
        (NewEntry(number=3, start=11 * MIB, size=2 * MIB), "no room for partitions"),
    ],
)
def test_what_does_not_fit_an_mbr_is_refused(mbr: Image, new: NewEntry, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        mbr.added(new, "dos")
