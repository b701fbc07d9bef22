"""The readers of used maps on volumes written by hand: what they find, and what they refuse to believe."""

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging import allocation, crc
from imaging.bitmap import marked, set_bits, set_count
from imaging.disk import Content
from imaging.errors import IoError
from imaging.usedmap import HEAD, TAIL, map_through
from tests.unit import small_volumes as small
from tests.unit.small_volumes import SECTOR

KINDS = sorted(allocation.KINDS)


def _map(kind: str, volume: bytes | bytearray) -> list[tuple[int, int]]:
    data = bytes(volume)

    def read(at: int, size: int) -> bytes:
        assert 0 <= at <= at + size <= len(data), "a read beyond the volume"
        return data[at : at + size]

    found = allocation.read_map(kind, read, len(data))
    assert found is not None
    return list(found)


def _refused(kind: str, volume: bytes | bytearray, code: str = "bad-map") -> str:
    with pytest.raises(IoError) as caught:
        _map(kind, volume)
    assert caught.value.code == code
    return caught.value.message


def _sectors(*ranges: tuple[int, int], by: int = SECTOR) -> list[tuple[int, int]]:
    return [(start * by, end * by) for start, end in ranges]


def test_the_checksums_are_those_of_their_catalogue() -> None:
    assert crc.crc32c(b"123456789", 0xFFFFFFFF) ^ 0xFFFFFFFF == 0xE3069283
    assert crc.crc16(b"123456789", 0) == 0xBB3D


@given(st.binary(max_size=64), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_a_folded_checksum_is_the_one_taken_in_pieces(data: bytes, times: int, start: int) -> None:
    whole, pieces = data * times, start
    for _ in range(times):
        pieces = crc.crc32c(data, pieces)
    assert crc.crc32c(whole, start) == pieces


@given(st.lists(st.sampled_from([0, 0xFF, 1, 0x80, 0x5A, 0xFE, 0x7F]), max_size=24).map(bytes), st.integers(0, 200))
def test_runs_are_those_of_the_bits(bitmap: bytes, count: int) -> None:
    bits = [i for i in range(min(count, 8 * len(bitmap))) if bitmap[i // 8] >> i % 8 & 1]
    runs = list(set_bits(bitmap, count))
    assert [i for start, end in runs for i in range(start, end)] == bits
    assert all(before[1] < after[0] for before, after in pairwise(runs))
    assert set_count(bitmap, count) == len(bits)


@given(st.lists(st.sampled_from([0, 0, 1, 255]), max_size=30).map(bytes))
def test_marked_bytes_are_those_that_are_not_zero(flags: bytes) -> None:
    assert [i for start, end in marked(flags) for i in range(start, end)] == [i for i, f in enumerate(flags) if f]


@pytest.mark.parametrize(("bits", "data", "end"), [(12, 6, 26), (16, 44, 5044), (32, 1128, 71128)])
def test_fat_counts_every_entry_that_is_not_zero(bits: int, data: int, end: int) -> None:
    bad = (1 << min(bits, 28)) - 9
    volume = small.fat(bits, {4: 5, 5: bad, 9: 1, end - data + 1: 3})
    assert _map("vfat", volume) == _sectors((0, data), (data + 2, data + 4), (data + 7, data + 8), (end - 1, end))


def test_fat_ignores_the_four_bits_that_have_no_meaning() -> None:
    assert _map("vfat", small.fat(32, {4: 0xF0000000})) == _sectors((0, 1128))


def test_what_lies_behind_a_file_system_counts_as_used() -> None:
    assert _map("vfat", small.fat(12, {}) + bytes(1000)) == [(0, 6 * SECTOR), (26 * SECTOR, 26 * SECTOR + 1000)]
    assert _map("ext4", small.ext() + bytes(1000))[-1] == (small.EXT_BLOCKS * 1024, small.EXT_BLOCKS * 1024 + 1000)


def test_fat_tables_that_differ_are_not_believed_unless_only_one_counts() -> None:
    volume = small.fat(32, {})
    length = struct.unpack_from("<I", volume, 36)[0]
    volume[(32 + length) * SECTOR + 4 * 7] = 1
    assert _refused("vfat", volume) == "its two tables differ"
    struct.pack_into("<H", volume, 40, 0x80)
    assert _map("vfat", volume) == _sectors((0, 1128))
    struct.pack_into("<H", volume, 40, 0x81)
    assert _map("vfat", volume) == _sectors((0, 1128), (1133, 1134))
    struct.pack_into("<H", volume, 40, 0x82)
    _refused("vfat", volume)


@pytest.mark.parametrize(("bits", "at", "value"), [(16, 515, 0x7F), (16, 515, 0xBF), (16, 0x25, 1), (32, 0x41, 1)])
def test_a_fat_that_is_marked_dirty_is_not_believed(bits: int, at: int, value: int) -> None:
    volume = small.fat(bits, {})
    volume[at] = value
    assert "marked as" in _refused("vfat", volume, "dirty")


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (11, b"\0\3"),
        (13, b"\3"),
        (14, b"\0\0"),
        (16, b"\0"),
        (16, b"\3"),
        (17, b"\0\0"),
        (21, b"\x12"),
        (22, b"\1\0"),
        (32, b"\xff\xff\xff\xff"),
        (512, b"\xf0"),
    ],
)
def test_a_fat_boot_sector_that_makes_no_sense_is_refused(at: int, value: bytes) -> None:
    volume = small.fat(16, {})
    volume[at : at + len(value)] = value
    _refused("vfat", volume)


def test_exfat_is_read_through_its_bitmap() -> None:
    heap = small.EXFAT_HEAP
    assert _map("exfat", small.exfat(b"\x13\1\0\0\x80")) == _sectors(
        (0, heap + 2), (heap + 4, heap + 5), (heap + 8, heap + 9), (heap + 39, heap + 43)
    )


def test_an_exfat_bitmap_is_read_in_the_order_of_its_chain() -> None:
    bits = bytearray(525)
    bits[0], bits[511], bits[512] = 0b1111, 0x80, 0x03
    heap = small.EXFAT_HEAP
    found = _map("exfat", small.exfat(bytes(bits), clusters=4200, chain=(4, 2)))
    assert found == _sectors((0, heap + 4), (heap + 4095, heap + 4098), (heap + 4200, heap + 4203))


@pytest.mark.parametrize(("first", "then"), [(4, 4), (4, 0), (4, 5000), (4, 0xFFFFFFFF), (2, 4), (5, 5)])
def test_an_exfat_chain_that_leads_nowhere_or_in_a_circle_is_refused(first: int, then: int) -> None:
    volume = small.exfat(b"\x0f" + b"\xff" * 524, clusters=4200, chain=(4, 2))
    end = (small.EXFAT_HEAP + 3) * SECTOR
    volume[end + 64 : end + SECTOR] = b"\x05" * (SECTOR - 64)  # the folder goes on in its next cluster
    struct.pack_into("<I", volume, 24 * SECTOR + 4 * first, then)
    _refused("exfat", volume)


def test_an_exfat_with_two_tables_or_two_bitmaps_is_refused() -> None:
    volume = small.exfat(b"\3")
    volume[0x6E] = 2
    assert "2 file allocation tables" in _refused("exfat", small.seal_exfat(volume))
    second = struct.pack("<BB18xIQ", 0x81, 1, 2, 5)
    assert "several allocation bitmaps" in _refused("exfat", small.exfat(b"\3", entries=second))


@pytest.mark.parametrize("bitmap", [b"\0", b"\1", b"\2", b"\xfe"])
def test_an_exfat_bitmap_that_shows_itself_as_free_is_refused(bitmap: bytes) -> None:
    assert "shows as free" in _refused("exfat", small.exfat(bitmap))


@pytest.mark.parametrize("at", [0x48, 0x50, 0x54, 0x58, 0x5C, 0x60, 0x6C, 0x6D, 3, 300])
def test_an_exfat_boot_region_that_makes_no_sense_is_refused(at: int) -> None:
    volume = small.exfat(b"\3")
    volume[at : at + 4] = b"\xff\xff\xff\x7f"
    if at != 300:
        small.seal_exfat(volume)
    _refused("exfat", volume)


def test_ntfs_is_read_through_a_table_and_a_bitmap_in_pieces() -> None:
    assert _map("ntfs", small.ntfs([5, 4095, 4096, 8191])) == _sectors(
        (0, 1), (5, 6), (16, 40), (64, 65), (200, 201), (400, 408), (4095, 4097), (8191, 8193)
    )


def test_ntfs_that_is_marked_for_a_check_is_not_believed() -> None:
    assert "scheduled it for a check" in _refused("ntfs", small.ntfs(dirty=1), "dirty")


def _bitmap_record(runs: bytes, last: int, size: int = 1024) -> bytes:
    return small.record(small.attribute(0x80, runs=runs, last=last, size=size))


@pytest.mark.parametrize(
    "record",
    [
        small.record(),
        small.record(small.attribute(0x80, value=b"\xff" * 500)),
        _bitmap_record(b"\x21\2\x40\0", 2),
        _bitmap_record(b"\x21\2\x40\0\x21\2\x40\0", 1),
        _bitmap_record(b"\x01\2", 1),
        _bitmap_record(b"\x21\2\0\x80", 1),
        _bitmap_record(b"\x41\2\xff\xff\xff\x7f", 1),
        _bitmap_record(b"\xff" * 40, 1),
        _bitmap_record(b"\x21\1\x40\0", 0),
        _bitmap_record(b"\x21\2\x40\0", 1, size=100),
        bytes(1024),
        small.record(small.attribute(0x20, value=b"\x80\0\0\0" + bytes(28))),
        small.record(small.attribute(0x20, runs=b"\x21\1\x40\0", size=1 << 40)),
        small.record(base=5),
    ],
)
def test_an_ntfs_bitmap_that_makes_no_sense_is_refused(record: bytes) -> None:
    _refused("ntfs", small.ntfs(records={6: record}))


def test_an_ntfs_bitmap_that_shows_the_table_as_free_is_refused() -> None:
    volume = small.ntfs()
    volume[small.BITMAP * SECTOR + small.MFT // 8] = 0
    assert "shows as free" in _refused("ntfs", volume)


def test_a_torn_ntfs_record_is_refused() -> None:
    volume = small.ntfs()
    volume[(small.MFT + 2 * 6) * SECTOR + 511] ^= 1
    assert "torn" in _refused("ntfs", volume)


@pytest.mark.parametrize("checksums", [True, False])
def test_ext_is_read_through_its_bitmaps(checksums: bool) -> None:
    found = _map("ext4", small.ext([50, 1024, 2100, 2999], checksums=checksums))
    assert found == _sectors((0, 4), (8, 20), (50, 51), (1024, 1027), (2100, 2101), (2999, 3000), by=1024)


@pytest.mark.parametrize(
    ("at", "what"),
    [
        (1024 + 0x0C, "its super block does not match its checksum"),
        (2048 + 0x0C, "the descriptor of its group 0 does not match its checksum"),
        (8 * 1024 + 3, "the block bitmap of its group 0 does not match its checksum"),
    ],
)
def test_ext_metadata_that_fail_their_checksums_are_not_believed(at: int, what: str) -> None:
    volume = small.ext()
    volume[at] ^= 1
    assert _refused("ext4", volume) == what


def test_an_ext_bitmap_that_disagrees_with_its_count_is_not_believed() -> None:
    volume = small.ext(checksums=False)
    volume[8 * 1024 + 50] |= 0x10
    assert "free clusters" in _refused("ext2", volume)


def test_an_ext_group_without_a_bitmap_that_is_said_to_hold_more_than_metadata_is_not_believed() -> None:
    volume = small.ext([1500])
    assert "hold no metadata" in _refused("ext4", volume)


def _super(volume: bytearray, at: int, value: bytes) -> bytearray:
    raw = volume[1024:2048]
    raw[at : at + len(value)] = value
    volume[1024:2048] = small.seal_ext(raw)
    return volume


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0x00, b"\1"),
        (0x04, b"\xff\xff\xff\xff"),
        (0x04, b"\1\0\0\0"),
        (0x0C, b"\0\0\0\0"),
        (0x14, b"\0"),
        (0x18, b"\7"),
        (0x20, b"\0\0"),
        (0x20, b"\7\4"),
        (0x28, b"\0"),
        (0x58, b"\0\0"),
        (0x58, b"\x81\0"),
        (0x60, b"\3"),
        (0x60, b"\0\0\4"),
        (0x64, b"\x81"),
        (0x66, b"\2"),
        (0x60, b"\x82"),
        (0x175, b"\2"),
    ],
)
def test_an_ext_super_block_that_makes_no_sense_is_refused(at: int, value: bytes) -> None:
    _refused("ext4", _super(small.ext(), at, value))


def test_a_map_is_read_of_a_volume_in_pieces_and_its_ends_are_used() -> None:
    data = bytes(small.fat(32, {40_000: 1}))

    def read(at: int, size: int) -> bytes:
        return b"".join(data[i : min(i + 100, at + size)] for i in range(at, at + size, 100))

    found = map_through(read, len(data), Content(kind="vfat"))
    assert found is not None and found.origin == "rescue"
    at = (1128 + 39_998) * SECTOR
    assert list(found.used) == [(0, 1128 * SECTOR), (at, at + SECTOR), (len(data) - TAIL, len(data))]
    assert map_through(read, len(data), Content(kind="xfs")) is None
    swap = map_through(read, len(data), Content(kind="swap"))
    assert swap is not None and list(swap.used) == [(0, HEAD), (len(data) - TAIL, len(data))]


def test_a_volume_that_is_not_believed_counts_as_used_with_the_reason() -> None:
    found = map_through(lambda _, size: bytes(size), 1 << 20, Content(kind="exfat"))
    assert found is not None
    assert (found.origin, found.note, list(found.used)) == ("whole", "its boot sector makes no sense", [(0, 1 << 20)])


def _answers(kind: str, volume: bytes) -> None:
    try:
        found = _map(kind, volume)
    except IoError as error:
        assert error.code in ("bad-map", "dirty", "bad-file-system")
    else:
        assert all(0 <= start < end <= len(volume) for start, end in found)


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=3000))
def test_noise_is_no_volume(kind: str, noise: bytes) -> None:
    _answers(kind, noise)
    _answers(kind, bytes(1024) + noise)


def _small_volumes() -> Iterator[tuple[str, Callable[[], bytearray], list[int]]]:
    mft = [(small.MFT + 2 * i) * SECTOR for i in (0, 2, 3, 6)] + [small.MFT_REST * SECTOR]
    yield "vfat", lambda: small.fat(12, {3: 4}), [0, SECTOR]
    yield "vfat", lambda: small.fat(16, {3: 4}), [0, SECTOR]
    yield "exfat", lambda: small.exfat(b"\x0f", chain=(2,)), [0, 24 * SECTOR, 64 * SECTOR, 65 * SECTOR]
    yield "ntfs", small.ntfs, [0, 1000 * SECTOR, small.BITMAP * SECTOR, *mft, *mft]
    yield "ext2", lambda: small.ext(checksums=False), [1024, 1024 + 0x50, 2048, 8192]
    yield "ext4", small.ext, [1024, 2048, 8192]


@pytest.mark.parametrize(("kind", "make", "places"), list(_small_volumes()))
@settings(deadline=None)
@given(data=st.data())
def test_damage_gives_a_map_or_the_documented_error(
    kind: str, make: Callable[[], bytearray], places: list[int], data: st.DataObject
) -> None:
    volume = make()
    damage = st.tuples(st.sampled_from(places), st.integers(0, 250), st.binary(min_size=1, max_size=8))
    for place, by, value in data.draw(st.lists(damage, min_size=1, max_size=5)):
        volume[place + by : place + by + len(value)] = value
    if kind == "exfat":
        small.seal_exfat(volume)
    if kind == "ext4":
        volume[1024:2048] = small.seal_ext(volume[1024:2048])
    _answers(kind, bytes(volume))
    _answers(kind, bytes(volume[: data.draw(st.integers(0, len(volume)))]))
