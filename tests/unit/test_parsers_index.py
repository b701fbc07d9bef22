"""What comes out of index.py and chunk.py whatever goes in: the value, or the documented error."""

import struct
from itertools import accumulate

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from imaging import index
from imaging.chunk import ID_SIZE, chunk_id, compress, cuts, decompress
from imaging.errors import BadImageError
from tests.faults import forge

LENGTHS = st.lists(st.integers(1, 1 << 20), min_size=1, max_size=8)
WHOLE = forge.index([5, 9, 12], bytes(range(96)))


def _decodes(data: bytes, size: int = 12) -> bool:
    try:
        index.decode(data, size, "disk.caibx")
    except BadImageError as error:
        assert error.code == "bad-index"
        assert "disk.caibx" in error.message
        return False
    return True


@given(LENGTHS, st.data())
def test_an_index_comes_back_as_it_was_built(lengths: list[int], data: st.DataObject) -> None:
    ends = list(accumulate(lengths))
    ids = data.draw(st.binary(min_size=ID_SIZE * len(ends), max_size=ID_SIZE * len(ends)))
    found = index.decode(forge.index(ends, ids), ends[-1], "disk.caibx")
    assert [found.end(i) for i in range(len(found))] == ends
    assert b"".join(found.id(i) for i in range(len(found))) == ids
    assert [found.find(end - 1) for end in ends] == list(range(len(ends)))
    assert found.find(ends[-1]) == len(ends)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_index_parser_fail_otherwise(data: bytes) -> None:
    assert not _decodes(data)


@given(st.integers(0, len(WHOLE) - 1))
def test_an_index_cut_short_anywhere_is_refused(length: int) -> None:
    assert not _decodes(WHOLE[:length])


@given(st.binary(min_size=1, max_size=100))
def test_an_index_with_trailing_bytes_is_refused(more: bytes) -> None:
    assert not _decodes(WHOLE + more)


@pytest.mark.parametrize("field", range(8))
@pytest.mark.parametrize("value", [0, 1 << 63, (1 << 64) - 2])
def test_every_field_of_the_header_is_checked(field: int, value: int) -> None:
    damaged = bytearray(WHOLE)
    if field == 2:
        value &= ~(1 << 61)
    struct.pack_into("<Q", damaged, 8 * field, value)
    assert not _decodes(bytes(damaged))


@pytest.mark.parametrize("field", range(5))
def test_every_field_of_the_tail_is_checked(field: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[len(WHOLE) - 40 + 8 * field] ^= 1
    assert not _decodes(bytes(damaged))


@pytest.mark.parametrize(
    ("chunk", "end"), [(0, 0), (0, 9), (0, 200 << 20), (1, 5), (1, 13), (2, 9), (2, 13), (2, (1 << 64) - 1)]
)
def test_ends_that_do_not_rise_or_do_not_meet_the_size_are_refused(chunk: int, end: int) -> None:
    damaged = bytearray(WHOLE)
    struct.pack_into("<Q", damaged, 64 + 40 * chunk, end)
    assert not _decodes(bytes(damaged))


def test_an_index_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(BadImageError, match="12 bytes of a disk of 13"):
        index.decode(WHOLE, 13, "disk.caibx")


@given(st.binary(max_size=200), st.integers(0, 5))
def test_no_bytes_make_the_digest_parser_fail_otherwise(data: bytes, count: int) -> None:
    with pytest.raises(BadImageError) as caught:
        index.decode_digests(data, count, "disk.blake3")
    assert caught.value.code == "bad-digest-table"


@given(st.integers(0, 5), st.data())
def test_a_digest_table_comes_back_and_no_flipped_bit_passes(count: int, data: st.DataObject) -> None:
    digests = data.draw(st.binary(min_size=32 * count, max_size=32 * count))
    encoded = forge.digest_table(digests)
    found = index.decode_digests(encoded, count, "disk.blake3")
    assert b"".join(found[i] for i in range(len(found))) == digests
    damaged = bytearray(encoded)
    damaged[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadImageError, match=r"disk\.blake3"):
        index.decode_digests(bytes(damaged), count, "disk.blake3")


@given(st.binary(min_size=1, max_size=3000))
def test_a_chunk_comes_back_and_is_named_by_its_content(data: bytes) -> None:
    assert decompress(compress(data), len(data), "c0ffee") == data
    assert len(chunk_id(data)) == ID_SIZE


@given(st.binary(max_size=300), st.integers(1, 1 << 22))
def test_no_frame_makes_the_chunk_decoder_fail_otherwise(frame: bytes, size: int) -> None:
    try:
        data = decompress(frame, size, "c0ffee")
    except BadImageError as error:
        assert error.code == "corrupt-chunk"
        assert "c0ffee" in error.message
    else:
        assert len(data) == size


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        compress(b"a" * 99)[:-1],
        compress(b"a" * 99) + b"x",
        compress(b"a" * 50) + compress(b"a" * 50),
        compress(b"a" * 99) + bytes.fromhex("50 2a 4d 18 00 00 00 00"),
        compress(b"a" * 99),
        compress(b"a" * 101),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 101),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 99),
        # Needs the dictionary 0x01020304, but for that 100 bytes as they are.
        bytes.fromhex("28b52ffd 23 04030201 64 210300") + b"a" * 100,
        # Needs a window of 2 GiB, and of 3.75 TiB, to hold 100 bytes.
        bytes.fromhex("28b52ffd 00 a8 210300") + b"a" * 100,
        bytes.fromhex("28b52ffd 00 ff 210300") + b"a" * 100,
        # States 2^60 bytes, holds none.
        bytes.fromhex("28b52ffd e0") + (1 << 60).to_bytes(8, "little") + bytes.fromhex("010000"),
    ],
)
def test_a_frame_that_is_not_one_frame_of_the_right_size_is_corrupt(frame: bytes) -> None:
    with pytest.raises(BadImageError, match="chunk c0ffee is corrupt"):
        decompress(frame, 100, "c0ffee")


def test_a_frame_without_a_stated_size_and_with_an_allowed_window_is_a_chunk() -> None:
    assert decompress(bytes.fromhex("28b52ffd 00 68 210300") + b"a" * 100, 100, "c0ffee") == b"a" * 100


@given(st.integers(1, 10_000), st.lists(st.integers(0, 12_000), max_size=6), st.integers(1, 3_000))
def test_cuts_cover_the_disk_and_start_anew_at_each_start(size: int, starts: list[int], chunk_size: int) -> None:
    ends = cuts(size, starts, chunk_size)
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert ends[-1] == size
    assert all(0 < length <= chunk_size for length in lengths)
    assert {start for start in starts if 0 < start < size} <= set(ends)
