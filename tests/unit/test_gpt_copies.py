"""A GPT is put back from its other copy where nothing can be lost by that, and refused with words everywhere else."""

import random
import struct
import uuid
import zlib
from collections.abc import Callable
from itertools import combinations

import pytest

from imaging import gpt, gptcopies
from imaging.gptcopies import Found, Kept

MIB = 1 << 20
SECTORS = (512, 4096)
SIZE = 2 * MIB
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


def entry(number: int, first: int, last: int) -> bytes:
    name = f"part {number}".encode("utf-16-le")
    own = uuid.UUID(int=number)
    return struct.pack("<16s16sQQQ72s", LINUX.bytes_le, own.bytes_le, first, last, 0, name)


def header(sector: int, here: int, other: int, at: int, entries: bytes, last: int, room: int) -> bytes:
    first_usable = 2 + room
    fields = [b"EFI PART", 0x10000, 92, 0, 0, here, other, first_usable, last - room - 1]
    fields += [uuid.UUID(int=7).bytes_le, at, 128, 128, zlib.crc32(entries)]
    blank = struct.pack("<8sIIIIQQQQ16sQIII", *fields)
    fields[3] = zlib.crc32(blank)
    return struct.pack("<8sIIIIQQQQ16sQIII", *fields).ljust(sector, b"\0")


def made(
    sector: int = 512, size: int = SIZE, parts: tuple[tuple[int, int], ...] = ((100, 199), (200, 299))
) -> bytearray:
    """A disk with a whole GPT and boot code, its partitions from sectors to sectors."""
    last, room = size // sector - 1, -(-(16 << 10) // sector)
    entries = b"".join(entry(i, *place) for i, place in enumerate(parts, 1)).ljust(16 << 10, b"\0")
    disk = bytearray(size)
    disk[:440] = b"\xeb" * 440
    disk[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, last)
    disk[510:512] = b"\x55\xaa"
    disk[sector : 2 * sector] = header(sector, 1, last, 2, entries, last, room)
    disk[2 * sector : 2 * sector + len(entries)] = entries
    disk[(last - room) * sector : last * sector] = entries
    disk[last * sector :] = header(sector, last, 1, last - room, entries, last, room)
    return disk


def look(disk: bytearray, sector: int = 512, bare: str = "") -> Found:
    return gptcopies.look(lambda at, size: bytes(disk[at : at + size]), len(disk), sector, bare=bare)


def written(disk: bytearray, found: Found, count: int | None = None) -> bytearray:
    """The disk after so many of the writes, all by default."""
    after = bytearray(disk)
    for at, data in found.writes[:count]:
        after[at : at + len(data)] = data
    return after


def zeros(disk: bytearray, start: int, size: int) -> None:
    disk[start : start + size] = bytes(size)


def start_gone(disk: bytearray, sector: int) -> None:
    zeros(disk, 0, 2 * sector + (16 << 10))


def header_gone(disk: bytearray, sector: int) -> None:
    zeros(disk, sector, sector)


def header_flipped(disk: bytearray, sector: int) -> None:
    disk[sector + 60] ^= 1


def entries_damaged(disk: bytearray, sector: int) -> None:
    disk[2 * sector + 40 : 2 * sector + 300] = b"\xa5" * 260


def end_gone(disk: bytearray, sector: int) -> None:
    zeros(disk, len(disk) - (16 << 10) - sector, (16 << 10) + sector)


def end_flipped(disk: bytearray, sector: int) -> None:
    disk[len(disk) - sector + 60] ^= 1


def end_entries_damaged(disk: bytearray, sector: int) -> None:
    disk[len(disk) - (16 << 10) - sector] ^= 1


def first_sector_gone(disk: bytearray, sector: int) -> None:
    zeros(disk, 0, min(512, sector))


CASES: tuple[tuple[Callable[[bytearray, int], None], Kept], ...] = (
    (start_gone, Kept.END),
    (header_gone, Kept.END),
    (header_flipped, Kept.END),
    (entries_damaged, Kept.END),
    (end_gone, Kept.START),
    (end_flipped, Kept.START),
    (end_entries_damaged, Kept.START),
    (first_sector_gone, Kept.BOTH),
)


@pytest.mark.parametrize("sector", SECTORS)
@pytest.mark.parametrize(("destroy", "kept"), CASES)
def test_the_destroyed_copy_becomes_what_it_was(
    destroy: Callable[[bytearray, int], None], kept: Kept, sector: int
) -> None:
    whole, disk = made(sector), made(sector)
    destroy(disk, sector)
    found = look(disk, sector)
    assert (found.kept, found.why_not) == (kept, "")
    after = written(disk, found)
    assert after[512:] == whole[512:]
    assert look(after, sector) == Found()
    assert found.table is not None
    assert [(part.start, part.size) for part in found.table.partitions] == [
        (100 * sector, 100 * sector),
        (200 * sector, 100 * sector),
    ]


@pytest.mark.parametrize("sector", SECTORS)
@pytest.mark.parametrize(("destroy", "kept"), CASES)
def test_cut_off_after_any_write_the_good_copy_stands_and_the_rest_is_written_by_the_next_run(
    destroy: Callable[[bytearray, int], None], kept: Kept, sector: int
) -> None:
    disk = made(sector)
    destroy(disk, sector)
    found = look(disk, sector)
    assert found.writes
    good = (sector, 2 * sector + (16 << 10)) if kept is not Kept.END else (SIZE - (16 << 10) - sector, SIZE)
    for count in range(len(found.writes)):
        after = written(disk, found, count)
        assert after[good[0] : good[1]] == disk[good[0] : good[1]]
        again = look(after, sector)
        assert again.why_not == ""
        assert written(after, again) == written(disk, found)


def test_cut_off_in_the_middle_of_the_entries_it_goes_on_by_whole_sectors() -> None:
    disk = made()
    start_gone(disk, 512)
    found = look(disk)
    for sectors in (1, 7, 31):
        after = bytearray(disk)
        at, data = found.writes[0]
        after[at : at + sectors * 512] = data[: sectors * 512]
        assert written(after, look(after)) == written(disk, found)


def test_the_good_copy_is_never_written_to() -> None:
    for destroy, kept in CASES[:-1]:
        disk = made()
        destroy(disk, 512)
        good = (SIZE - (16 << 10) - 512, SIZE) if kept is Kept.END else (512, 1024 + (16 << 10))
        for at, data in look(disk).writes:
            assert at + len(data) <= good[0] or at >= good[1]


def test_boot_code_before_a_destroyed_copy_stays() -> None:
    disk = made()
    header_gone(disk, 512)
    zeros(disk, 1024, 16 << 10)
    assert written(disk, look(disk))[:512] == made()[:512]


def refused(disk: bytearray, sector: int = 512, bare: str = "") -> str:
    found = look(disk, sector, bare)
    assert found.writes == ()
    assert found.why_not
    return found.why_not


def newer(disk: bytearray) -> bytearray:
    """The table at the start names a third partition: the copy at the end is an older one."""
    other = made(parts=((100, 199), (200, 299), (300, 399)))
    disk[512 : 1024 + (16 << 10)] = other[512 : 1024 + (16 << 10)]
    return disk


def test_two_whole_copies_that_differ_are_left_alone() -> None:
    assert "two whole copies that differ" in refused(newer(made()))


def test_newer_entries_beside_a_header_with_one_flipped_bit_are_never_written_over() -> None:
    """Whichever bit it was: that of the entries' checksum, too."""
    for byte in range(92):
        for bit in (0, 7):
            disk = newer(made())
            disk[512 + byte] ^= 1 << bit
            assert refused(disk)


def test_newer_entries_of_a_header_that_is_gone_are_never_written_over() -> None:
    disk = newer(made())
    header_gone(disk, 512)
    assert "they may be newer ones" in refused(disk)


def test_newer_entries_that_are_damaged_are_not_replaced_by_older_ones() -> None:
    disk = newer(made())
    disk[1024 + 10] ^= 1
    assert "the headers of both copies are whole, and they differ" in refused(disk)


def test_something_else_where_the_entries_were_is_not_written_over() -> None:
    disk = made()
    start_gone(disk, 512)
    disk[2000:2100] = b"what" * 25
    assert "they may be newer ones" in refused(disk)


def test_a_foreign_header_and_foreign_entries_are_not_written_over() -> None:
    disk = made()
    disk[512 : 1024 + (16 << 10)] = b"\x90" * (512 + (16 << 10))
    assert "other entries" in refused(disk)


def test_a_table_of_a_disk_of_another_size_is_left_alone() -> None:
    assert "another size" in refused(made() + bytearray(MIB))
    smaller = made()[: SIZE - MIB]
    assert "another size" in refused(smaller)


def test_a_copy_of_another_place_is_left_alone() -> None:
    """Such as that of a disk which was copied onto the start of a partition, or of its own end to its start."""
    disk = made()
    disk[512:1024] = disk[-512:]
    assert "another size" in refused(disk)


@pytest.mark.parametrize("bare", ["ext4", "LVM2_member", "crypto_LUKS", "linux_raid_member", "iso9660"])
def test_what_stands_on_the_disk_as_a_whole_forbids_it(bare: str) -> None:
    disk = made()
    start_gone(disk, 512)
    assert f"{bare} stands on the disk as a whole" in refused(disk, bare=bare)
    disk = made()
    first_sector_gone(disk, 512)
    assert bare in refused(disk, bare=bare)


def test_an_mbr_with_partitions_or_a_hybrid_one_forbids_it() -> None:
    row = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 4096)
    for at in (446, 462):
        disk = made()
        header_gone(disk, 512)
        disk[at : at + 16] = row
        assert "its first sector holds something else" in refused(disk)


def test_a_first_sector_that_is_neither_empty_nor_a_gpts_forbids_it() -> None:
    disk = made()
    header_gone(disk, 512)
    zeros(disk, 446, 66)
    assert "its first sector holds something else" in refused(disk)


def test_where_two_things_are_damaged_nothing_is_made_up() -> None:
    for one, other in combinations((header_flipped, entries_damaged, end_flipped, end_entries_damaged), 2):
        disk = made()
        one(disk, 512)
        other(disk, 512)
        assert refused(disk), (one, other)


def test_entries_that_overlap_or_lie_beyond_the_place_of_partitions_are_no_whole_copy() -> None:
    for parts in (((100, 199), (150, 299)), ((100, 199), (200, SIZE // 512 - 5)), ((3, 20),)):
        disk = made(parts=parts)
        header_gone(disk, 512)
        zeros(disk, 1024, 16 << 10)
        assert look(disk).writes == ()


def said(disk: bytearray) -> tuple[bytes, ...]:
    """What both copies say; behind a header its sector is reserved."""
    end = SIZE - (16 << 10) - 512
    places = ((512, 604), (1024, 1024 + (16 << 10)), (end, SIZE - 512), (SIZE - 512, SIZE - 420))
    return tuple(bytes(disk[low:high]) for low, high in places)


def test_whatever_is_damaged_nothing_but_the_table_that_was_there_comes_back() -> None:
    """Bytes at random places of both copies, changed or emptied: the same table, or a refusal; never another one."""
    source, whole = random.Random(20261127), made()
    copies = ((512, 1024 + (16 << 10)), (SIZE - (16 << 10) - 512, SIZE))
    outcomes = set()
    for _ in range(150):
        disk = bytearray(whole)
        for _ in range(source.choice((1, 1, 2, 3))):
            low, high = source.choice(copies)
            at = source.randrange(low, high)
            size = source.choice((1, 16, 512, 4096, high - low))
            kind = source.choice(("flip", "zeros", "noise"))
            for place in range(at, min(high, at + (1 if kind == "flip" else size))):
                disk[place] = {"flip": disk[place] ^ 4, "zeros": 0, "noise": source.randrange(256)}[kind]
        found = look(disk)
        after = written(disk, found)
        outcomes.add((bool(found.writes), bool(found.why_not)))
        assert not (found.writes and found.why_not)
        if found.writes:
            assert said(after) == said(whole)
        assert found.why_not or look(after) == Found()
    assert outcomes == {(False, False), (True, False), (False, True)}


def test_disks_without_a_gpt_have_none() -> None:
    assert look(bytearray(SIZE)) == Found()
    mbr = bytearray(SIZE)
    mbr[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 4096)
    mbr[510:512] = b"\x55\xaa"
    assert look(mbr) == Found()
    assert look(bytearray(1024)) == Found()


def test_a_whole_table_needs_nothing() -> None:
    for sector in SECTORS:
        assert look(made(sector), sector) == Found()


def test_a_counterpart_of_a_counterpart_is_the_header_itself() -> None:
    disk = made()
    first, last = bytes(disk[512:1024]), bytes(disk[-512:])
    assert gpt.counterpart(first, entries_at=SIZE // 512 - 33) == last
    assert gpt.counterpart(last, entries_at=2) == first
