"""GPT headers and sfdisk's answers, whatever they say."""

import struct
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import gpt, sfdisk
from imaging.disk import PartitionRole, TableKind
from imaging.errors import BadImageError

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRIES = bytes(range(128)) * 128


def header(
    *, count: int = 128, each: int = 128, at: int = 2, size: int = 92, entries: bytes = ENTRIES, sector: int = 512
) -> bytes:
    """A GPT header with right checksums, however absurd its fields."""
    values = (0x10000, size, 0, 0, 1, 99, 34, 66, bytes(16), at, count, each, zlib.crc32(entries))
    plain = _HEADER.pack(b"EFI PART", *values).ljust(sector, b"\0")
    crc = zlib.crc32(plain[:size])
    return plain[:16] + crc.to_bytes(4, "little") + plain[20:]


def _refused(sector: bytes) -> None:
    with pytest.raises(BadImageError) as caught:
        gpt.parse_header(sector)
    assert caught.value.code == "bad-table"


@given(st.binary(max_size=600))
def test_no_sector_makes_the_header_parser_fail_otherwise(sector: bytes) -> None:
    _refused(sector)
    _refused(b"EFI PART" + sector)


@given(st.integers(0, 91), st.integers(1, 255))
def test_a_header_with_a_flipped_byte_is_refused(at: int, bits: int) -> None:
    damaged = bytearray(header())
    damaged[at] ^= bits
    _refused(bytes(damaged))


@pytest.mark.parametrize(
    ("count", "each", "at", "size"),
    [
        (2**32 - 1, 128, 2, 92),
        (128, 2**32 - 1, 2, 92),
        (0, 128, 2, 92),
        (128, 0, 2, 92),
        (128, 127, 2, 92),
        (16384, 128, 2, 92),
        (128, 128, 0, 92),
        (128, 128, 1, 92),
        (128, 128, 2**64 - 1, 92),
        (128, 128, 2, 91),
        (128, 128, 2, 2**32 - 1),
        (128, 128, 2, 0),
    ],
)
def test_absurd_headers_with_right_checksums_are_refused(count: int, each: int, at: int, size: int) -> None:
    _refused(header(count=count, each=each, at=at, size=size))


@given(st.integers(60, 2**19), st.sampled_from([512, 4096]), st.sampled_from([92, 128, 256]))
def test_a_table_moved_to_another_size_is_whole_in_both_copies(sectors: int, sector: int, size: int) -> None:
    size_of_disk = (sectors + 100) * sector
    pieces = gpt.relocate(bytes(512), header(size=size, sector=sector), ENTRIES, size=size_of_disk, sector=sector)
    assert pieces[-1][0] == 0
    assert all(at >= 0 and at + len(data) <= size_of_disk for at, data in pieces)
    places = dict(pieces)
    for at in (sector, size_of_disk - sector):
        found = gpt.parse_header(places[at])
        assert places[found.entries_at * sector] == ENTRIES
        assert zlib.crc32(ENTRIES) == found.entries_crc


def test_entries_that_are_not_those_of_the_header_are_refused() -> None:
    for entries in (ENTRIES[:-1], b"x" + ENTRIES[1:]):
        with pytest.raises(BadImageError, match="entries are damaged"):
            gpt.relocate(bytes(512), header(), entries, size=1 << 20, sector=512)


@pytest.mark.parametrize("sectors", [0, 1, 33, 34, 66])
def test_a_disk_without_room_for_both_copies_of_a_table_is_refused(sectors: int) -> None:
    with pytest.raises(BadImageError, match="no room for both copies"):
        gpt.relocate(bytes(512), header(), ENTRIES, size=512 * sectors, sector=512)
    far = header(at=(1 << 20) // 512 - 33 - 31)
    with pytest.raises(BadImageError, match="no room for both copies"):
        gpt.relocate(bytes(512), far, ENTRIES, size=1 << 20, sector=512)


def test_a_table_moved_to_the_smallest_disk_that_holds_both_copies_is_whole() -> None:
    pieces = gpt.relocate(bytes(512), header(), ENTRIES, size=512 * 67, sector=512)
    taken = sorted((at, at + len(data)) for at, data in pieces)
    assert taken == [(0, 512), (512, 1024), (1024, 17408), (17408, 33792), (33792, 34304)]


NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=4) | st.none()
ENTRY = st.fixed_dictionaries(
    {"node": st.from_regex(r"/dev/[a-z]{0,3}[0-9]{0,3}", fullmatch=True) | NUMBERS, "start": NUMBERS, "size": NUMBERS},
    optional={"type": st.sampled_from(["5", "f", "83", "ee"]) | NUMBERS, "name": NUMBERS, "bootable": NUMBERS},
)
TABLE = st.fixed_dictionaries(
    {"label": st.sampled_from(["gpt", "dos", "sun", "bsd", "none"]) | NUMBERS},
    optional={"sectorsize": NUMBERS, "partitions": st.lists(ENTRY, max_size=3) | NUMBERS, "id": NUMBERS},
)


@given(TABLE | NUMBERS)
def test_no_answer_makes_the_sfdisk_parser_fail_otherwise(table: object) -> None:
    try:
        output = msgspec.json.encode({"partitiontable": table}).decode()
    except (OverflowError, ValueError):
        return
    try:
        found = sfdisk.parse(output, 512)
    except BadImageError as error:
        assert error.code == "bad-table"
    else:
        assert all(part.start >= 0 and part.size >= 0 and part.end <= 2**63 for part in found.partitions)


@given(st.text(max_size=100))
def test_no_letters_make_the_sfdisk_parser_fail_otherwise(output: str) -> None:
    with pytest.raises(BadImageError):
        sfdisk.parse(output, 512)


@pytest.mark.parametrize(
    "output", ["[" * 100_000, '{"partitiontable":{"label":"gpt","partitions":[{"node":"\ud800"}]}}']
)
def test_answers_that_cannot_be_read_are_refused(output: str) -> None:
    with pytest.raises(BadImageError):
        sfdisk.parse(output, 512)


def test_numbers_that_no_disk_can_have_are_refused() -> None:
    entry = '{"node":"/dev/sda1","start":%s,"size":%s,"type":"83"}'
    for start, size in ((-1, 5), (2048, -1), (2**62, 5), (2048, 2**62), ("1e400", 5)):
        with pytest.raises(BadImageError):
            sfdisk.parse('{"partitiontable":{"label":"dos","partitions":[' + entry % (start, size) + "]}}", 512)


def test_an_honest_answer_is_read() -> None:
    output = """{"partitiontable": {"label":"dos", "id":"0x1234", "device":"/dev/sda", "unit":"sectors",
        "sectorsize":4096, "partitions": [{"node":"/dev/sda1", "start":256, "size":512, "type":"f"},
        {"node":"/dev/sda5", "start":300, "size":100, "type":"83", "bootable":true}]}}"""
    table = sfdisk.parse(output, 512)
    assert table.kind is TableKind.MBR
    assert [(p.number, p.start, p.role) for p in table.partitions] == [
        (1, 1 << 20, PartitionRole.EXTENDED),
        (5, 300 * 4096, PartitionRole.LOGICAL),
    ]
