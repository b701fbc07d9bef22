"""Disks with sectors of another size: what table they get, what FAT becomes there, and what is refused."""

import re
import struct
import zlib
from dataclasses import replace

import pytest

from imaging import gpt, growth, planner, resectoring
from imaging.bounded import Bounded
from imaging.changes import Resectoring
from imaging.disk import Content, DiskId, PartitionRole, TableKind
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.fatfiles import FatVolume
from imaging.fatfill import Filling, clusters_needed, kind_for
from imaging.fattree import Item, proof, read_tree
from imaging.growth import plan_growth, with_growth
from imaging.manifest import ImagedDisk, InnerVolume
from imaging.plan import decode, encode
from imaging.resectoring import plan_resectoring
from imaging.restoreplans import RestorePlan, RestoreTarget
from imaging.sectortable import resectored_gpt, resectored_mbr
from rescue import growing
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_source
from tests.unit.small_volumes import fat

_TYPE = bytes(range(16))
_SIZE = GIB


def _gpt(*places: tuple[int, int], sector: int = 512, first: int = 34) -> tuple[bytes, bytes]:
    """A primary header and its entries, for partitions of these first and last sectors."""
    entries = b"".join(
        _TYPE
        + bytes([n]) * 16
        + struct.pack("<QQQ", low, high, 1 << 60 | n)
        + f"name {n}".encode("utf-16-le").ljust(72, b"\0")
        for n, (low, high) in enumerate(places, 1)
    ).ljust(128 * 128, b"\0")
    last = _SIZE // sector - 1
    fields = (b"EFI PART", 0x10000, 92, 0, 0, 1, last, first, last - 33, b"D" * 16, 2, 128, 128, zlib.crc32(entries))
    blank = struct.pack("<8sIIIIQQQQ16sQIII", *fields)
    return (blank[:16] + struct.pack("<I", zlib.crc32(blank)) + blank[20:]).ljust(sector, b"\0"), entries


def _mbr(*entries: tuple[int, int, int]) -> bytes:
    slots = b"".join(struct.pack("<B3sB3sII", 0, b"\1\1\1", kind, b"\2\2\2", *place) for kind, *place in entries)
    return (b"C" * 446 + slots).ljust(510, b"\0") + b"\x55\xaa"


_PROTECTIVE = _mbr((0xEE, 1, _SIZE // 512 - 1))


@pytest.mark.parametrize(("old", "new"), [(512, 4096), (4096, 512)])
def test_a_gpt_says_the_same_of_the_same_bytes(old: int, new: int) -> None:
    places = [(MIB, 2 * MIB), (2 * MIB, 900 * MIB)]
    header, entries = _gpt(*((low // old, high // old - 1) for low, high in places), sector=old)
    pieces = dict(resectored_gpt(_PROTECTIVE, header, entries, old=old, new=new, size=_SIZE))
    assert list(pieces)[-1] == 0
    last = _SIZE // new - 1
    for at, copy in ((new, False), (last * new, True)):
        head = gpt.parse_header(pieces[at], copy=copy)
        assert len(pieces[at]) == new
        assert pieces[at][56:72] == b"D" * 16
        found = gpt.parse_entries(head, pieces[head.entries_at * new])
        assert [(one.first * new, (one.last + 1) * new) for one in found] == places
        assert [one.name for one in found] == ["name 1", "name 2"]
        assert head.entries_at * new + head.entries_bytes <= (head.first_usable * new if not copy else last * new)
        assert head.other_at == (1 if copy else last)
    changed = pieces[2 * new]
    for at in (0, 128):
        assert (
            changed[at : at + 32] + changed[at + 48 : at + 128] == entries[at : at + 32] + entries[at + 48 : at + 128]
        )
    assert struct.unpack_from("<II", pieces[0], 446 + 8) == (1, last)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((2049, 4096), "partition 1 does not begin and end at multiples of 4096"),
        ((2048, 4096), "partition 1 does not begin and end at multiples of 4096"),
        ((40, 47), "partition 1 lies where the partition table has to be"),
        ((2048, _SIZE // 512 - 33), "ends where the copy of the partition table has to be"),
        ((4096, 2047), "ends where the copy of the partition table has to be"),
    ],
)
def test_a_partition_that_a_gpt_cannot_name_is_refused(place: tuple[int, int], words: str) -> None:
    header, entries = _gpt(place)
    with pytest.raises(RefusedError, match=words) as caught:
        resectored_gpt(_PROTECTIVE, header, entries, old=512, new=4096, size=_SIZE)
    assert caught.value.code == "other-sectors"


def test_a_damaged_or_a_hybrid_gpt_is_refused() -> None:
    header, entries = _gpt((2048, 4095))
    with pytest.raises(BadImageError, match="checksum"):
        resectored_gpt(_PROTECTIVE, header, entries[:-1] + b"x", old=512, new=4096, size=_SIZE)
    with pytest.raises(RefusedError, match="a master boot record with partitions of its own"):
        resectored_gpt(_mbr((0xEE, 1, 2047), (7, 2048, 2048)), header, entries, old=512, new=4096, size=_SIZE)


def test_a_gpt_whose_header_is_longer_than_a_sector_is_refused() -> None:
    """It would lie over its own entries."""
    header, entries = _gpt((256, 511), sector=4096, first=6)
    long = bytearray(header)
    struct.pack_into("<II", long, 12, 1024, 0)
    struct.pack_into("<I", long, 16, zlib.crc32(long[:1024]))
    with pytest.raises(RefusedError, match="has 1024 bytes, and a sector has 512"):
        resectored_gpt(_PROTECTIVE, bytes(long), entries, old=4096, new=512, size=_SIZE)


@pytest.mark.parametrize(("old", "new"), [(512, 4096), (4096, 512)])
def test_in_an_mbr_nothing_but_numbers_changes(old: int, new: int) -> None:
    mbr = _mbr((0x83, MIB // old, 10 * MIB // old), (0, 0, 0), (0xEF, 20 * MIB // old, MIB // old))
    *_, (at, made) = resectored_mbr(mbr, old=old, new=new, size=_SIZE)
    assert (at, len(made)) == (0, new)
    assert struct.unpack_from("<II", made, 446 + 8) == (MIB // new, 10 * MIB // new)
    assert struct.unpack_from("<II", made, 446 + 40) == (20 * MIB // new, MIB // new)
    assert made[:446] == mbr[:446]
    assert (made[450], made[482]) == (0x83, 0xEF)
    assert made[462:478] == mbr[462:478]
    assert made[510:512] == b"\x55\xaa"


@pytest.mark.parametrize(("old", "new"), [(512, 4096), (4096, 512)])
def test_what_lies_before_the_first_partition_stays_but_for_another_table(old: int, new: int) -> None:
    mbr = _mbr((0x83, MIB // old, 10 * MIB // old))
    loader = bytes(range(256)) * 30
    (at, rest), (_, first) = resectored_mbr(mbr + loader, old=old, new=new, size=_SIZE)
    assert at == new
    assert (first + rest)[512:] == loader[: max(2 * new - 512, len(loader))]
    for place in (512, 4096):
        head = bytearray(mbr + loader)
        head[place : place + 8] = b"EFI PART"
        (_, rest), (_, first) = resectored_mbr(bytes(head), old=old, new=new, size=_SIZE)
        assert b"EFI PART" not in first + rest


@pytest.mark.parametrize(
    ("entry", "old", "new", "words"),
    [
        ((0x83, 63, 8000), 512, 4096, "does not begin and end at multiples of 4096"),
        ((0x83, 8, 8000), 512, 4096, "lies where the partition table has to be"),
        ((0x0F, 2048, 8000), 512, 4096, "an extended one"),
        ((0x83, 256, 1 << 30), 4096, 512, "beyond what such a table can say"),
        ((0x83, 2048, 1 << 31), 512, 4096, r"and the disk has \d+"),
    ],
)
def test_a_partition_that_an_mbr_cannot_name_is_refused(
    entry: tuple[int, int, int], old: int, new: int, words: str
) -> None:
    size = _SIZE if "disk has" in words else 1 << 50
    with pytest.raises(RefusedError, match=words):
        resectored_mbr(_mbr(entry), old=old, new=new, size=size)


_FIRST, _SECOND = a_partition(1, MIB, 100 * MIB), a_partition(2, 101 * MIB, 200 * MIB)


def _pair(source: ImagedDisk, **changes: object) -> RestoreTarget:
    return RestoreTarget(source=source, target=replace(a_disk(logical_sector=4096), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_plan_says_what_becomes_of_the_disk(sector: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resectoring, "find_tool", lambda name: name)
    source = a_source((_FIRST, "vfat"), (_SECOND, "xfs"), logical_sector=4608 - sector)
    change = Resectoring(before=4608 - sector, after=sector, rebuilt=(1,))
    assert plan_resectoring(source, sector) == change
    pair = RestoreTarget(source=source, target=a_disk(logical_sector=sector), resectoring=change)
    plan = RestorePlan(library="/l", image="i", targets=(pair,))
    assert decode(encode(plan)) == plan
    assert pair.sector == sector
    resectoring.refuse_unless_same(pair)
    assert with_growth(plan).targets[0].growth == plan_growth(source, GIB)
    words = "\n".join(growing.resectoring_lines(pair))
    assert f"of {sector} bytes, not {4608 - sector}" in words
    assert ("A BIOS does not start" in words, "no computer will start" in words) == (sector == 4096,) * 2
    tampered = RestoreTarget(
        source=source, target=pair.target, resectoring=Resectoring(before=512, after=sector, rebuilt=())
    )
    with pytest.raises(RefusedError, match="as it was shown"):
        resectoring.refuse_unless_same(tampered)
    monkeypatch.setattr(resectoring, "find_tool", lambda _: None)
    with pytest.raises(RefusedError, match=r"mkfs\.fat is not installed"):
        resectoring.refuse_unless_same(pair)


def test_what_grows_ends_where_an_mbr_of_the_target_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the plan would show a growth that the job refuses."""
    monkeypatch.setattr(growth, "find_tool", lambda name: name)
    for old, new in ((4096, 512), (512, 4096)):
        source = a_source((_FIRST, "ext4"), kind=TableKind.MBR, logical_sector=old)
        disk = a_disk(logical_sector=new, id=DiskId(size=5 << 40, serial="S1"))
        pair = RestoreTarget(source=source, target=disk, resectoring=plan_resectoring(source, new))
        plan = with_growth(RestorePlan(library="/l", image="i", targets=(pair,)))
        grown = plan.targets[0].growth
        assert grown is not None
        assert grown.start + grown.size == 0xFFFFFFFF * 512 // MIB * MIB
        growth.refuse_unless_same(plan.targets[0])
        mbr = _mbr((0x83, grown.start // old, grown.size // old))
        assert resectored_mbr(mbr, old=old, new=new, size=5 << 40)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (a_source((_FIRST, "ntfs")), "partition 1: Windows starts no NTFS"),
        (a_source((_FIRST, "exfat")), "partition 1: exFAT"),
        (a_source((_FIRST, "ext4"), (_SECOND, "BitLocker")), "partition 2: it is encrypted by BitLocker"),
        (a_source((_FIRST, "crypto_LUKS")), "partition 1: it is encrypted"),
        (a_source((_FIRST, "LVM2_member")), "partition 1: it is not known what is in its LVM group"),
        (a_source((_FIRST, "linux_raid_member")), "partition 1: it belongs to a RAID"),
        (a_source((_FIRST, "f2fs")), "partition 1: f2fs"),
        (a_source((_FIRST, "zfs_member")), r"partition 1: it is not known whether what is on it \(zfs_member\)"),
        (a_source((replace(_FIRST, start=MIB + 512), "ext4")), "partition 1 does not begin and end"),
        (a_source((replace(_FIRST, recovery="x"), "ext4")), "partition 1 is the recovery partition"),
        (a_source((_FIRST, "vfat"), unreadable=((2 * MIB, 2 * MIB + 512),)), "parts of partition 1 could not be read"),
        (a_source((_FIRST, "ext4"), (replace(_SECOND, start=90 * MIB), "ext4")), "the partitions 1 and 2 overlap"),
        (a_source((_FIRST, "ext4"), kind=TableKind.NONE), "it has no partition table"),
        (replace(a_source((_FIRST, "ext4")), volumes=()), "leaves out partitions"),
        (a_source((replace(_FIRST, type="42"), "ntfs"), kind=TableKind.MBR), "it is a dynamic disk"),
        (
            a_source(
                (replace(_FIRST, role=PartitionRole.EXTENDED), "extended"),
                (replace(_SECOND, start=2 * MIB, size=MIB, role=PartitionRole.LOGICAL, number=5), "ext4"),
                kind=TableKind.MBR,
            ),
            "lies in an extended one",
        ),
    ],
)
def test_what_is_known_to_fail_or_not_known_is_refused(source: ImagedDisk, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        plan_resectoring(source, 4096)
    assert caught.value.code == "other-sectors"
    assert "its sectors have 4096 bytes" in planner.why_not_target(
        a_disk(logical_sector=4096), source, any_sectors=True
    )


@pytest.mark.parametrize(
    ("kind", "pieces", "words"),
    [
        ("ext4", ((MIB, 2 * MIB), (4 * MIB, 5 * MIB)), ""),
        ("ext4", ((MIB, 2 * MIB),), "group/root: not all of it lies on this partition"),
        ("ext4", (), "group/root: not all of it lies on this partition"),
        ("ext4", ((MIB + 512, 3 * MIB + 512),), "group/root: it does not begin and end at multiples of 4096"),
        ("vfat", ((MIB, 3 * MIB),), "group/root: it is not known whether what is on it \\(vfat\\)"),
        ("", ((MIB, 3 * MIB),), "group/root: it is not known"),
        ("crypto_LUKS", ((MIB, 3 * MIB),), "group/root: it is encrypted"),
    ],
)
def test_logical_volumes_are_judged_as_partitions_are(
    kind: str, pieces: tuple[tuple[int, int], ...], words: str
) -> None:
    inner = InnerVolume(
        name="group/root", size=2 * MIB, used=MIB, map_origin="rescue", content=Content(kind=kind), pieces=pieces
    )
    source = a_source((_FIRST, "LVM2_member"))
    source = replace(source, volumes=tuple(replace(volume, inner=(inner,)) for volume in source.volumes))
    why = resectoring.why_not(source, 4096)
    assert re.search(words, why)
    assert bool(why) is bool(words)


def test_sectors_that_nobody_knows_are_refused() -> None:
    assert "sectors of 16384 bytes" in resectoring.why_not(a_source((_FIRST, "ext4")), 16384)


def test_a_target_needs_room_for_the_larger_copy_of_the_table() -> None:
    source = a_source((_FIRST, "ext4"))
    least = 101 * MIB + 5 * 4096
    for size, fits in ((least, True), (least - 4096, False)):
        disk = a_disk(logical_sector=4096, id=DiskId(size=size, serial="S1"))
        assert (planner.why_not_target(disk, source, any_size=True, any_sectors=True) == "") is fits
        assert not planner.can_shrink(disk, source)


def test_a_file_keeps_the_sectors_of_the_image() -> None:
    disk = a_disk(logical_sector=4096, regular_file=True)
    assert planner.why_not_target(disk, a_source((_FIRST, "ntfs"))) == ""


_DATA = bytes(i * 7 % 251 for i in range(20_000))
_OLD = Bounded(read=lambda at, size: _DATA[at : at + size], size=len(_DATA))


def _record(name: bytes, attributes: int, size: int = 0, cluster: int = 0) -> bytes:
    times = bytes(range(10, 17))
    high, low = cluster >> 16, cluster & 0xFFFF
    return struct.pack("<11sB8sH4sHI", name, attributes, b"\0" + times, high, times[:4], low, size)


def _tree() -> list[Item]:
    folder = [
        Item(record=_record(b".".ljust(11), 0x10)),
        Item(record=_record(b"..".ljust(11), 0x10)),
        Item(record=_record(b"EMPTY   TXT", 0x21)),
        Item(record=b"\x41" + "grün".encode("utf-16-le").ljust(10, b"\xff") + b"\x0f" + b"\0c" + b"\xff" * 18),
        Item(record=_record(b"GRN     TXT", 0x07, 5000), runs=((100, 2000), (9000, 3000))),
    ]
    deep = [*folder[:2], Item(record=_record(b"INNER      ", 0x10), inner=folder)]
    files = [Item(record=_record(b"F%07dX  " % i, 0x20, 1), runs=((i, 1),)) for i in range(3)]
    return [Item(record=_record(b"LABEL      ", 0x08)), Item(record=_record(b"EFI        ", 0x10), inner=deep), *files]


def _filled(bits: int) -> tuple[bytearray, FatVolume, int]:
    volume = fat(bits, {})
    bounded = Bounded(read=lambda at, size: bytes(volume[at : at + size]), size=len(volume))

    def write(at: int, data: bytes) -> None:
        volume[at : at + len(data)] = data

    end = Filling(FatVolume(bounded), _OLD, write).fill(_tree())
    return volume, FatVolume(bounded), end


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_fat_that_is_filled_has_every_record_and_all_data(bits: int) -> None:
    volume, filled, end = _filled(bits)
    bounded = Bounded(read=lambda at, size: bytes(volume[at : at + size]), size=len(volume))
    found = read_tree(filled)
    assert proof(found, bounded) == proof(_tree(), _OLD)
    assert set(filled.files()) == {"EFI/INNER/EMPTY.TXT", "EFI/INNER/grün", *(f"F000000{i}.X" for i in range(3))}
    needed = clusters_needed(found, filled.shape.cluster, root=bits == 32)
    assert end == filled.shape.data + needed * filled.shape.cluster
    changed = bytearray(volume)
    changed[end - 512] ^= 1
    other = Bounded(read=lambda at, size: bytes(changed[at : at + size]), size=len(changed))
    assert proof(read_tree(FatVolume(other)), other) != proof(_tree(), _OLD)


def _entry(volume: bytearray, filled: FatVolume, number: int, value: int) -> FatVolume:
    struct.pack_into("<H", volume, filled.shape.tables_at + 2 * number, value)
    return FatVolume(Bounded(read=lambda at, size: bytes(volume[at : at + size]), size=len(volume)))


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        (2, 3, "have a part in common"),
        (4, 0xFFFF, "ends .* bytes early"),
        (5, 4, "is a circle"),
        (5, 0, "leads to cluster 0"),
    ],
)
def test_a_fat_that_is_not_whole_is_known(number: int, value: int, words: str) -> None:
    volume, filled, _ = _filled(16)
    with pytest.raises(IoError, match=words):
        read_tree(_entry(volume, filled, number, value))


def test_the_kind_of_a_fat_follows_from_its_clusters() -> None:
    assert [kind_for(n) for n in (1, 4084, 4085, 65524, 65525)] == [12, 12, 16, 16, 32]
