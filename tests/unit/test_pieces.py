"""Cuts, chunks, ranges, tables: the small pure parts, by their arithmetic."""

import hashlib
from itertools import accumulate

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from imaging import chunk, gpt, index, sfdisk, unfinished, usedmap
from imaging.disk import PartitionRole, TableKind
from imaging.errors import BadImageError, IoError
from imaging.extents import Extents
from imaging.index import DigestTable, blank, decode
from imaging.pipeline import ChunkBuffer, busy_chunks

MIB = 1 << 20


def test_cuts_start_anew_at_each_region() -> None:
    assert list(chunk.cuts(20, [0, 5], 4)) == [4, 5, 9, 13, 17, 20]


def test_cuts_ignore_starts_outside_the_disk() -> None:
    assert list(chunk.cuts(8, [8, 99, 0], 4)) == [4, 8]


def test_a_moved_partition_keeps_its_chunks() -> None:
    near, far = chunk.cuts(100, [10, 50], 8), chunk.cuts(100, [13, 53], 8)
    assert [end - 10 for end in near if 10 < end <= 50] == [end - 13 for end in far if 13 < end <= 53]


def test_names_are_sha512_256() -> None:
    # FIPS 180-4, example for "abc".
    assert chunk.chunk_id(b"abc").hex() == "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"


def test_a_chunk_is_one_frame_that_stock_zstd_reads() -> None:
    data = b"rescue" * 1000
    assert zstandard.ZstdDecompressor().decompress(chunk.compress(data)) == data
    assert chunk.decompress(chunk.compress(data), len(data), "x") == data


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"nonsense",
        chunk.compress(b"abcd")[:-1],
        chunk.compress(b"abcd") + b"x",
        chunk.compress(b"abcd") + chunk.compress(b"abcd"),
        chunk.compress(b"abcde"),
        chunk.compress(bytes(100 * MIB)),
    ],
)
def test_a_frame_that_does_not_hold_exactly_the_chunk_is_corrupt(frame: bytes) -> None:
    with pytest.raises(BadImageError, match="chunk c0ffee is corrupt"):
        chunk.decompress(frame, 4, "c0ffee")


def test_extents_merge_what_touches() -> None:
    assert list(Extents([(20, 30), (5, 9), (9, 12), (3, 3)])) == [(5, 12), (20, 30)]


def test_extents_subtract_and_clip() -> None:
    used = Extents([(0, 10), (20, 30)])
    assert list(used.minus(Extents([(5, 25)]))) == [(0, 5), (25, 30)]
    assert used.within(8, 22) == [(8, 10), (20, 22)]
    assert list(used.clipped(9, 21).shifted(-9)) == [(0, 1), (11, 12)]
    assert used.total == 20


def test_extents_know_what_they_overlap() -> None:
    used = Extents([(10, 20)])
    assert [used.overlaps(0, 10), used.overlaps(9, 11), used.overlaps(20, 21), used.overlaps(12, 12)] == [
        False,
        True,
        False,
        False,
    ]


def test_busy_chunks_are_those_with_a_used_byte() -> None:
    made = index.blank([4, 8, 12, 16])
    assert list(busy_chunks(made, Extents([(3, 5), (5, 6), (15, 16)]))) == [0, 1, 3]
    assert list(busy_chunks(made, Extents())) == []


def test_a_buffer_is_zero_outside_the_ranges_it_is_prepared_for() -> None:
    buffer = ChunkBuffer()
    view = buffer.prepare(8, [(0, 8)])
    view[:] = b"\xaa" * 8
    assert bytes(buffer.prepare(6, [(1, 2), (4, 5)])) == b"\0\xaa\0\0\xaa\0"


def test_the_index_finds_the_chunk_of_a_byte() -> None:
    made = index.blank([4, 8, 12])
    assert [made.find(at) for at in (0, 3, 4, 11, 12)] == [0, 0, 1, 2, 3]


def test_the_index_is_what_casync_make_writes() -> None:
    # `casync make --chunk-size=4096:4096:4096` of 8,192 bytes, "a" * 4096 + "b" * 4096: head, two entries, tail.
    ids = [hashlib.new("sha512_256", letter * 4096).digest() for letter in (b"a", b"b")]
    index_made = index.blank([4096, 8192])
    for i, name in enumerate(ids):
        index_made.name(i, name)
    made = bytes(index_made.encoded)
    assert made[:16].hex() == "3000000000000000f99f127b9c4d8296"
    assert made[16:24].hex() == "00000000000000b0"
    assert made[64:72] == (4096).to_bytes(8, "little")
    assert made[72:104] == ids[0]
    assert made[-8:].hex() == "d1ec49550e054f4b"
    assert len(made) == 64 + 2 * 40 + 40


DOMAIN = """# Domain logfile created by Partclone
# command line
# current_pos  current_status
0x100000  ?
#      pos        size  status
0x00000000  0x00010000  +
0x00010000  0x00010000  ?
0x00020000  0x000E0000  +
"""


def test_a_domain_map_is_parsed_and_what_lies_past_it_counts_as_used() -> None:
    assert list(usedmap.parse_domain(DOMAIN.splitlines(), 0x110000)) == [(0, 0x10000), (0x20000, 0x110000)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        DOMAIN.replace("0x00010000  0x00010000  ?", "0x00018000  0x00008000  ?"),
        DOMAIN.replace("+", "?"),
        DOMAIN.replace("0x000E0000", "0x000F0001"),
        DOMAIN.replace("0x000E0000  +", "0x000E0000"),
        DOMAIN.replace("0x00010000  ?", "zzz  ?"),
    ],
)
def test_a_domain_map_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(IoError):
        usedmap.parse_domain(text.splitlines(), 0x100000)


SFDISK_MBR = """{"partitiontable": {"label":"dos","id":"0x1234","device":"/dev/sda","unit":"sectors","sectorsize":512,
 "partitions": [
  {"node":"/dev/sda1","start":2048,"size":4096,"type":"83","bootable":true},
  {"node":"/dev/sda2","start":8192,"size":65536,"type":"f"},
  {"node":"/dev/sda5","start":10240,"size":2048,"type":"7"}]}}"""


def test_sfdisk_json_of_an_mbr_with_logical_partitions_is_parsed() -> None:
    table = sfdisk.parse(SFDISK_MBR, 512)
    assert table.kind is TableKind.MBR
    assert [p.role for p in table.partitions] == [PartitionRole.PRIMARY, PartitionRole.EXTENDED, PartitionRole.LOGICAL]
    assert [p.number for p in sfdisk.volumes(table)] == [1, 5]
    assert table.partitions[0].start == 2048 * 512
    assert table.partitions[0].bootable


@pytest.mark.parametrize("text", ["", "{}", '{"partitiontable": {"label": "sun"}}', '{"partitiontable": []}'])
def test_a_table_of_a_kind_that_is_not_handled_is_refused(text: str) -> None:
    with pytest.raises(BadImageError):
        sfdisk.parse(text, 512)


def test_the_mark_of_an_unfinished_restore_names_the_image() -> None:
    sector = unfinished.render("20260101-000000-abcd")
    assert len(sector) == 512
    assert sector[510:] == b"\x55\xaa"
    assert sector[446:510] == bytes(64), "it must name no partition"
    assert unfinished.parse(sector) == "20260101-000000-abcd"
    assert unfinished.parse(bytes(512)) == ""


def test_a_damaged_gpt_header_is_refused() -> None:
    with pytest.raises(BadImageError):
        gpt.parse_header(b"EFI PART" + bytes(504))
    with pytest.raises(BadImageError):
        gpt.parse_header(bytes(512))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 40)), max_size=12),
)
def test_busy_chunks_are_found_however_ranges_and_chunks_lie(lengths: list[int], ranges: list[tuple[int, int]]) -> None:
    made = blank(list(accumulate(lengths)))
    used = Extents((start, start + size) for start, size in ranges).clipped(0, made.size)
    expected = [i for i in range(len(made)) if used.overlaps(made.start(i), made.end(i))]
    assert list(busy_chunks(made, used)) == expected


@given(st.lists(st.integers(1, 3), min_size=1, max_size=40), st.data())
def test_runs_of_chunks_of_one_length_are_named_at_once(lengths: list[int], data: st.DataObject) -> None:
    made, digests = blank(list(accumulate(lengths))), DigestTable.blank(len(lengths))
    first = data.draw(st.integers(0, len(lengths)))
    stop = data.draw(st.integers(first, len(lengths)))
    runs = list(made.equal_runs(first, stop))
    assert [i for low, high in runs for i in range(low, high)] == list(range(first, stop))
    assert all(len({made.length(i) for i in range(low, high)}) == 1 for low, high in runs)
    for low, high in runs:
        made.name_run(low, high, bytes([made.length(low)]) * 32)
        digests.set_run(low, high, bytes([made.length(low) + 10]) * 32)
    for i, length in enumerate(lengths):
        inside = first <= i < stop
        assert made.id(i) == bytes([length if inside else 0]) * 32
        assert digests[i] == bytes([length + 10 if inside else 0]) * 32
    assert decode(bytes(made.encoded), sum(lengths), "x").size == sum(lengths)
