"""Sets of byte ranges and the used map: laws of sets, round trips, and damage that is always refused."""

import tracemalloc
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import extents
from imaging.errors import BadImageError, IoError
from imaging.extents import Extents
from imaging.usedmap import parse_domain
from tests.faults import forge

SIZE = 60
RANGES = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)), max_size=8)


def _bytes_of(ranges: Extents | list[tuple[int, int]]) -> set[int]:
    return {at for start, end in ranges for at in range(start, end)}


@given(RANGES, RANGES, st.integers(0, SIZE), st.integers(0, SIZE))
def test_extents_behave_as_sets_of_bytes(
    a: list[tuple[int, int]], b: list[tuple[int, int]], low: int, high: int
) -> None:
    left, right = Extents(a), Extents(b)
    mine, theirs, window = _bytes_of(a), _bytes_of(b), set(range(low, high))
    assert _bytes_of(left) == mine
    assert left.total == len(mine)
    assert left.end == max(mine, default=-1) + 1
    assert _bytes_of(left.union(right)) == mine | theirs
    assert _bytes_of(left.minus(right)) == mine - theirs
    assert _bytes_of(left.within(low, high)) == mine & window
    assert left.overlaps(low, high) == bool(mine & window)
    assert left.first_from(low, SIZE + 1) == min((at for at in mine if at >= low), default=SIZE + 1)
    assert all(end < start for (_, end), (start, _) in zip(left, list(left)[1:], strict=False))


# One set of many ranges and one of few: what is walked, and what is copied by slices, depends on which has more.
COMB = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(0, 60), st.integers(0, 30)).map(
    lambda comb: [
        (comb[3] + i * (comb[0] + comb[1]), comb[3] + i * (comb[0] + comb[1]) + comb[0]) for i in range(comb[2])
    ]
)
FEW = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)).map(lambda run: (run[0], sum(run))), max_size=6)


def _exactly(wanted: set[int]) -> Extents:
    """The one right form of a set of bytes: its runs, sorted, none of which touches another."""
    firsts = sorted(at for at in wanted if at - 1 not in wanted)
    ends = sorted(at + 1 for at in wanted if at + 1 not in wanted)
    return Extents(zip(firsts, ends, strict=True))


@given(st.one_of(COMB, FEW), st.one_of(COMB, FEW), FEW)
def test_sets_of_many_ranges_and_of_few_go_together(
    a: list[tuple[int, int]], b: list[tuple[int, int]], c: list[tuple[int, int]]
) -> None:
    left, right, more = Extents(a), Extents(b), Extents(c)
    mine, theirs = _bytes_of(a), _bytes_of(b)
    assert left.minus(right) == _exactly(mine - theirs)
    assert left.union(right) == _exactly(mine | theirs)
    assert left.union(right, more, left) == _exactly(mine | theirs | _bytes_of(c))
    assert (left, right, more) == (Extents(a), Extents(b), Extents(c))


@given(st.one_of(COMB, FEW), st.integers(-5, 500), st.integers(-5, 500), st.integers(0, 1 << 40))
def test_a_window_of_a_set_can_be_moved(ranges: list[tuple[int, int]], low: int, high: int, by: int) -> None:
    whole, window = Extents(ranges), _exactly(_bytes_of(ranges) & set(range(low, high)))
    assert whole.clipped(low, high) == window
    assert whole.within(low, high) == list(window)
    assert list(whole.shifted(by)) == [(start + by, end + by) for start, end in whole]
    assert whole.shifted(by).shifted(-by) == whole


def test_sets_that_lie_behind_one_another_are_joined_where_they_touch() -> None:
    sets = Extents([(6, 8), (9, 12)]), Extents([(0, 2), (4, 6)]), Extents(), Extents([(12, 13)]), Extents([(20, 21)])
    assert list(Extents().union(*sets)) == [(0, 2), (4, 8), (9, 13), (20, 21)]
    assert list(sets[1]) == [(0, 2), (4, 6)]


@given(RANGES)
def test_a_used_map_comes_back_and_no_flipped_bit_passes(ranges: list[tuple[int, int]]) -> None:
    encoded = extents.encode(Extents(ranges), SIZE)
    assert extents.decode(encoded, SIZE, "disk.used") == Extents(ranges)
    for at in range(0, len(encoded), 7):
        damaged = bytearray(encoded)
        damaged[at] ^= 1 << (at % 8)
        with pytest.raises(BadImageError, match=r"disk\.used") as caught:
            extents.decode(bytes(damaged), SIZE, "disk.used")
        assert caught.value.code == "bad-used-map"


@given(st.binary(max_size=200))
def test_no_bytes_make_the_used_map_parser_fail_otherwise(data: bytes) -> None:
    with pytest.raises(BadImageError):
        extents.decode(data, SIZE, "disk.used")


@given(st.integers(0, 100), st.binary(max_size=9))
def test_a_used_map_cut_short_or_longer_is_refused(length: int, more: bytes) -> None:
    encoded = extents.encode(Extents([(0, 5), (9, 12)]), SIZE)
    for data in (encoded[: min(length, len(encoded) - 1)], encoded + b"x" + more):
        with pytest.raises(BadImageError):
            extents.decode(data, SIZE, "disk.used")


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, SIZE + 1)],
        [(SIZE, SIZE + 5)],
        [(0, (1 << 64) - 1)],
        [(5, 5)],
        [(6, 5)],
        [(0, 5), (3, 9)],
        [(0, 5), (5, 9)],
        [(9, 12), (0, 5)],
    ],
)
def test_forged_ranges_are_refused(ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(BadImageError, match="overlap, are out of order or lie beyond"):
        extents.decode(forge.used_map(ranges, SIZE), SIZE, "disk.used")


def test_a_used_map_of_another_disk_or_version_is_refused() -> None:
    with pytest.raises(BadImageError, match="of a disk of 61 bytes, not 60"):
        extents.decode(forge.used_map([], 61), SIZE, "disk.used")
    newer = bytearray(forge.used_map([], SIZE))
    newer[8] = 2
    with pytest.raises(BadImageError, match="version 2 is not known"):
        extents.decode(bytes(newer), SIZE, "disk.used")


WORDS = st.one_of(st.from_regex(r"0x[0-9a-f]{1,18}", fullmatch=True), st.sampled_from(["+", "?", "-", "-0x1", "1_0"]))


@given(st.lists(st.lists(WORDS, max_size=4).map(" ".join), max_size=6).map("\n".join), st.integers(0, 1 << 40))
def test_no_text_makes_the_domain_parser_fail_otherwise(text: str, size: int) -> None:
    try:
        used = parse_domain(text.splitlines(), size)
    except IoError as error:
        assert error.code == "bad-map"
    else:
        assert used.end <= size


@given(st.text(max_size=200), st.integers(0, 1 << 40))
def test_no_letters_make_the_domain_parser_fail_otherwise(text: str, size: int) -> None:
    with pytest.raises(IoError):
        parse_domain(text.splitlines(), size)


@given(st.lists(st.tuples(st.integers(1, 50), st.booleans()), min_size=1, max_size=9), st.integers(0, 20))
def test_a_map_that_is_whole_means_what_it_says(pieces: list[tuple[int, bool]], tail: int) -> None:
    lines, used, at = ["# Mapfile", "0x00000000 ?"], set(), 0
    for length, taken in pieces:
        lines.append(f"0x{at:08x}  0x{length:08x}  {'+' if taken else '?'}")
        used |= set(range(at, at + length)) if taken else set()
        at += length
    text = "\n".join(lines)
    if not used:
        with pytest.raises(IoError, match="empty"):
            parse_domain(text.splitlines(), at + tail)
    else:
        assert _bytes_of(parse_domain(text.splitlines(), at + tail)) == used | set(range(at, at + tail))


@pytest.mark.parametrize(
    "line", ["0x10 0x10 +", "0x0 0x0 +", "0x0 0x41 +", "0x0 0x10 *", "0x0 0x10", "zero 0x10 +", "0x0 -0x10 +"]
)
def test_a_map_with_gaps_or_beyond_the_volume_is_refused(line: str) -> None:
    with pytest.raises(IoError, match="its map"):
        parse_domain(["0x0 ?", line], 0x40)


def test_ranges_that_do_not_rise_are_not_taken_for_rising() -> None:
    assert list(Extents.rising([(0, 4), (4, 5), (4, 9), (20, 21), (30, 30)])) == [(0, 9), (20, 21)]
    with pytest.raises(ValueError, match="follows one from 8"):
        Extents.rising([(8, 12), (4, 9)])


def test_a_badly_fragmented_volume_takes_little_memory() -> None:
    count, size = 100_000, 8192
    lines = (f"0x{at * size:x} 0x{size:x} {'+' if at % 2 else '?'}\n" for at in range(2 * count))
    tracemalloc.start()
    try:
        used = parse_domain(chain(["0x0 ?\n"], lines), 2 * count * size + 5)
        placed = used.clipped(0, used.end).shifted(1 << 20).union(Extents([(0, 512)]), Extents([(1 << 50, 1 << 51)]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(used), len(placed)) == (count, count + 2)
    assert peak < 60 * count
