"""Which partition of an image takes the room of a larger disk, up to where, and why others cannot; and its table."""

import struct
import zlib
from dataclasses import dataclass, replace

import pytest

from imaging import gpt, growth, tableedit
from imaging.changes import Growth, Shrinkage
from imaging.disk import PartitionRole, TableKind
from imaging.errors import BadImageError, RefusedError, UsageError
from imaging.extents import Extents
from imaging.growth import plan_growth, with_growth
from imaging.manifest import ImagedDisk
from imaging.plan import decode, encode
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.tabled import Tabled
from imaging.tableedit import Place
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_source, a_table, an_imaged_disk

_TIB = 1 << 40


_FIRST = a_partition(1, MIB, 100 * MIB)
_SECOND = a_partition(2, 101 * MIB, 200 * MIB)


@pytest.mark.parametrize("size", [2 * GIB, 2 * GIB + 4096 + 512, 3 * _TIB])
@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "ntfs", "xfs", "btrfs"])
def test_the_last_partition_grows_to_the_last_whole_mib_before_the_end(kind: str, size: int) -> None:
    found = plan_growth(a_source((_FIRST, "vfat"), (_SECOND, kind)), size)
    assert (found.partition, found.start, found.old_size, found.kind) == (2, 101 * MIB, 200 * MIB, kind)
    end = found.start + found.size
    assert end % MIB == 0
    assert size - 2 * MIB < end <= size - MIB
    assert found.filesystem


def test_an_mbr_ends_at_two_tib() -> None:
    found = plan_growth(a_source((_SECOND, "ext4"), kind=TableKind.MBR), 5 * _TIB)
    end = found.start + found.size
    assert end == 0xFFFFFFFF * 512 // MIB * MIB
    wide = plan_growth(a_source((_SECOND, "ext4"), kind=TableKind.MBR, logical_sector=4096), 5 * _TIB)
    assert wide.start + wide.size == 5 * _TIB - MIB


def test_a_chosen_partition_grows_up_to_the_next_one() -> None:
    third = a_partition(3, 500 * MIB + 512, 100 * MIB)
    source = a_source((_FIRST, "ext4"), (_SECOND, "xfs"), (third, "ext4"))
    found = plan_growth(source, 2 * GIB, 2)
    assert found.start + found.size == 500 * MIB


@pytest.mark.parametrize("number", [0, 1])
def test_swap_at_the_end_goes_to_the_end_of_the_larger_disk(number: int) -> None:
    found = plan_growth(a_source((_FIRST, "ext4"), (_SECOND, "swap")), 2 * GIB, number)
    moved = found.moved
    assert moved is not None
    assert (moved.partition, moved.start, moved.size, moved.to) == (2, 101 * MIB, 200 * MIB, 2 * GIB - 201 * MIB)
    assert found.start + found.size == moved.to
    near = plan_growth(a_source((_FIRST, "ext4"), (_SECOND, "swap")), 303 * MIB + 512, number).moved
    assert near is not None
    assert near.to == 102 * MIB


@pytest.mark.parametrize("size", [301 * MIB, 302 * MIB, 303 * MIB - 1])
def test_swap_is_not_moved_for_less_than_a_mib(size: int) -> None:
    with pytest.raises(RefusedError, match="partition 1 of sda cannot grow: nothing is left of the target"):
        plan_growth(a_source((_FIRST, "ext4"), (_SECOND, "swap")), size)


@pytest.mark.parametrize("kind", ["swsuspend", "ntfs", "vfat"])
def test_nothing_but_swap_is_moved(kind: str) -> None:
    with pytest.raises(RefusedError, match="only swap at the end of a disk is moved"):
        plan_growth(a_source((_FIRST, "ext4"), (_SECOND, kind)), 2 * GIB, 1)


def test_swap_that_is_not_the_only_one_behind_or_not_in_the_image_is_not_moved() -> None:
    third = a_partition(3, 301 * MIB, 100 * MIB)
    with pytest.raises(RefusedError, match="partition 2 follows it"):
        plan_growth(a_source((_FIRST, "ext4"), (_SECOND, "swap"), (third, "swap")), 2 * GIB, 1)
    source = a_source((_FIRST, "ext4"), (_SECOND, "swap"))
    with pytest.raises(RefusedError, match="partition 2 follows it"):
        plan_growth(replace(source, volumes=source.volumes[:1]), 2 * GIB, 1)


def test_luks_and_lvm_grow_as_partitions_alone() -> None:
    for kind in ("crypto_LUKS", "LVM2_member"):
        assert not plan_growth(a_source((_SECOND, kind)), 2 * GIB).filesystem


@pytest.mark.parametrize(
    ("source", "number", "words"),
    [
        (a_source((_SECOND, "swap")), 0, r"what is on it \(swap\) cannot be enlarged"),
        (a_source((_FIRST, "ext4"), (_SECOND, "vfat")), 0, r"what is on it \(vfat\) cannot be enlarged"),
        (a_source((_FIRST, "ext4"), (_SECOND, "exfat")), 2, r"what is on it \(exfat\) cannot be enlarged"),
        (a_source((_FIRST, "ext4"), (_SECOND, "")), 0, "not known what is on it"),
        (
            a_source((_FIRST, "ext4"), (_SECOND, "ext4")),
            1,
            "partition 2 follows it, and only swap at the end of a disk is moved",
        ),
        (replace(a_source((_FIRST, "ext4")), volumes=()), 0, "nothing of it is in the image"),
        (a_source((_FIRST, "ext4"), unreadable=((50 * MIB, 51 * MIB),)), 0, "could not be read"),
        (a_source((a_partition(1, MIB, 150 * MIB), "ext4"), (_SECOND, "ext4")), 2, "another partition overlaps it"),
        (replace(a_source((_FIRST, "ext4")), table=a_table(kind=TableKind.NONE)), 0, "no partition that could grow"),
    ],
)
def test_what_cannot_grow_is_refused_with_a_reason(source: ImagedDisk, number: int, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        plan_growth(source, 2 * GIB, number)
    assert refused.value.code == "cannot-grow"
    assert "without --grow" in (refused.value.hint or "")


@pytest.mark.parametrize("kind", ["ntfs", "btrfs"])
def test_a_file_system_that_is_not_in_order_is_refused(kind: str) -> None:
    source = a_source((_SECOND, kind))
    note = "its log is open: Windows was hibernated, shut down with fast start-up, or crashed"
    volumes = tuple(replace(v, map_origin="whole", note=note) for v in source.volumes)
    with pytest.raises(RefusedError, match="has to be in order for that: its log is open"):
        plan_growth(replace(source, volumes=volumes), 2 * GIB)


@pytest.mark.parametrize("number", [0, 2, 5])
def test_nothing_in_an_extended_partition_grows(number: int) -> None:
    outer = a_partition(2, 101 * MIB, 300 * MIB, type="5", role=PartitionRole.EXTENDED)
    inner = a_partition(5, 102 * MIB, 299 * MIB, role=PartitionRole.LOGICAL)
    source = a_source((_FIRST, "ext4"), (outer, "extended"), (inner, "ext4"), kind=TableKind.MBR)
    with pytest.raises(RefusedError, match="in an extended partition"):
        plan_growth(source, 2 * GIB, number)


def test_no_other_number_than_one_of_the_table_is_taken() -> None:
    for number in (-1, 3, 10**30):
        with pytest.raises(UsageError, match="it has 1"):
            plan_growth(a_source((_FIRST, "ext4")), 2 * GIB, number)


@pytest.mark.parametrize("size", [101 * MIB, 102 * MIB, 103 * MIB - 1])
def test_less_than_a_mib_is_no_room(size: int) -> None:
    with pytest.raises(RefusedError, match="nothing is left of the target"):
        plan_growth(a_source((_FIRST, "ext4")), size)


def _plan(*targets: RestoreTarget) -> RestorePlan:
    return RestorePlan(library="/l", image="i", targets=targets)


def test_a_growth_is_part_of_the_plan_and_survives_its_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "find_tool", lambda name: name)
    pair = RestoreTarget(source=a_source((_FIRST, "ext4")), target=a_disk())
    plan = with_growth(_plan(pair))
    assert plan.targets[0].growth == plan_growth(pair.source, GIB)
    assert decode(encode(plan)) == plan
    with pytest.raises(UsageError, match="one whole disk"):
        with_growth(_plan(pair, pair))


def test_a_growth_that_was_tampered_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "find_tool", lambda name: name)
    right = plan_growth(a_source((_FIRST, "ext4")), GIB)
    for wrong in (
        Growth(partition=1, start=MIB, old_size=100 * MIB, size=GIB, kind="ext4"),
        Growth(partition=1, start=MIB, old_size=100 * MIB, size=right.size, kind="xfs"),
    ):
        pair = RestoreTarget(source=a_source((_FIRST, "ext4")), target=a_disk(), growth=wrong)
        with pytest.raises(RefusedError, match=r"as it was shown|cannot grow to"):
            growth.refuse_unless_same(pair)


_TYPE = bytes(range(16))


def _gpt(*places: tuple[int, int], each: int = 128) -> tuple[bytes, bytes]:
    """A primary header and its entries, for partitions of these first and last sectors."""
    entries = b"".join(
        (_TYPE + bytes([n]) * 16 + struct.pack("<QQQ", first, last, 1) + b"n\0").ljust(each, b"\x07")
        for n, (first, last) in enumerate(places, 1)
    ).ljust(128 * each, b"\0")
    fields = (b"EFI PART", 0x10000, 92, 0, 0, 1, 9999, 34, 9966, bytes(16), 2, 128, each, zlib.crc32(entries))
    blank = struct.pack("<8sIIIIQQQQ16sQIII", *fields)
    return (blank[:16] + struct.pack("<I", zlib.crc32(blank)) + blank[20:]).ljust(512, b"\0"), entries


@pytest.mark.parametrize("each", [128, 256])
def test_in_a_gpt_nothing_but_the_end_of_the_partition_changes(each: int) -> None:
    header, entries = _gpt((2048, 4095), (4096, 8191), each=each)
    place = Place(old_start=4096 * 512, start=4096 * 512, old_size=4096 * 512, size=5000 * 512)
    new_header, new_entries = tableedit.changed_gpt(header, entries, 2, place, 512)
    first, second = gpt.parse_entries(gpt.parse_header(new_header), new_entries)
    assert (first.first, first.last, second.first, second.last) == (2048, 4095, 4096, 9095)
    changed = [i for i, (a, b) in enumerate(zip(entries, new_entries, strict=True)) if a != b]
    assert set(changed) <= set(range(each + 40, each + 48))
    assert [i for i, (a, b) in enumerate(zip(header, new_header, strict=True)) if a != b and i not in range(16, 20)]
    assert header[92:] == new_header[92:]


def test_a_gpt_that_has_the_partition_elsewhere_is_refused() -> None:
    header, entries = _gpt((2048, 4095))
    for place in (
        Place(old_start=2048 * 512, start=2048 * 512, old_size=2047 * 512, size=MIB * 9),
        Place(old_start=2049 * 512, start=2049 * 512, old_size=2048 * 512, size=MIB * 9),
    ):
        with pytest.raises(RefusedError, match="where the image says"):
            tableedit.changed_gpt(header, entries, 1, place, 512)
    with pytest.raises(BadImageError):
        tableedit.changed_gpt(
            header, entries[:-1] + b"x", 1, Place(old_start=MIB, start=MIB, old_size=MIB, size=9 * MIB), 512
        )


def test_a_partition_of_a_gpt_has_another_place() -> None:
    header, entries = _gpt((2048, 4095), (4096, 8191))
    place = Place(old_start=4096 * 512, old_size=4096 * 512, start=5000 * 512, size=4096 * 512)
    new_header, new_entries = tableedit.changed_gpt(header, entries, 2, place, 512)
    _, second = gpt.parse_entries(gpt.parse_header(new_header), new_entries)
    assert (second.first, second.last) == (5000, 9095)


def _mbr(first: int, count: int, kind: int = 0x83) -> bytes:
    entry = bytes([0x80, 1, 2, 3, kind, 4, 5, 6]) + struct.pack("<II", first, count)
    return b"\xeb" * 446 + bytes(16) + entry + bytes(32) + b"\x55\xaa"


def test_in_an_mbr_nothing_but_the_end_of_the_partition_changes() -> None:
    before = _mbr(2048, 1000)
    place = Place(old_start=MIB, start=MIB, old_size=1000 * 512, size=3000 * 512)
    after = tableedit.changed_mbr(before, 2, place, 512)
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert set(changed) <= set(range(462 + 5, 462 + 8)) | set(range(462 + 12, 462 + 16))
    assert struct.unpack_from("<II", after, 462 + 8) == (2048, 3000)
    with pytest.raises(RefusedError, match="where the image says"):
        tableedit.changed_mbr(before, 1, place, 512)
    with pytest.raises(RefusedError, match="no room"):
        tableedit.changed_mbr(before, 2, Place(old_start=MIB, start=MIB, old_size=1000 * 512, size=3 * _TIB), 512)
    with pytest.raises(RefusedError, match="none of the four"):
        tableedit.changed_mbr(before, 5, place, 512)


def test_a_hybrid_record_is_known() -> None:
    assert not tableedit.is_hybrid(_mbr(1, 1000, 0xEE))
    assert tableedit.is_hybrid(_mbr(1, 1000, 0x83))
    mixed = bytearray(_mbr(1, 1000, 0xEE))
    mixed[446 + 4] = 0x07
    assert tableedit.is_hybrid(bytes(mixed))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head(Tabled):
    """A disk of which the first bytes are known."""

    head: bytes

    def bytes_at(self, start: int, end: int) -> bytes:
        """Of the head."""
        return self.head[start:end]


@pytest.mark.parametrize("kind", [TableKind.GPT, TableKind.MBR])
def test_no_table_is_written_that_names_a_partition_past_the_end_of_the_disk(kind: TableKind) -> None:
    """Though the image does not say that there is one: the second begins at 600 MiB."""
    if kind is TableKind.GPT:
        protective = bytes(446) + struct.pack("<4xB3xII", 0xEE, 1, 9999) + bytes(48) + b"\x55\xaa"
        head = protective + b"".join(_gpt((2048, 2048 + 100 * 2048 - 1), (600 * 2048, 700 * 2048 - 1)))
    else:
        entries = struct.pack("<4xB3xII", 0x83, 2048, 100 * 2048) + struct.pack("<4xB3xII", 7, 600 * 2048, 100 * 2048)
        head = bytes(446) + entries + bytes(32) + b"\x55\xaa"
    source = an_imaged_disk(table=a_table(_FIRST, kind=kind))
    table = Extents([(0, len(head))])
    disk = _Head(disk=source, table=table, body=Extents(), head=head)
    change = Shrinkage(partition=1, start=MIB, old_size=100 * MIB, size=50 * MIB, kind="ext4")
    assert disk.table_pieces(701 * MIB, change)
    with pytest.raises(RefusedError, match=f"ends at byte {700 * MIB}, and the disk has {60 * MIB}") as error:
        disk.table_pieces(60 * MIB, change)
    assert error.value.code == "target-too-small"
