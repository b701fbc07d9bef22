"""The fuzzer's targets without the fuzzer: first inputs are taken, and inputs near them refused only as documented."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import volume
from tests.fuzz.targets import TARGETS

NO_SEEDS = {"ntfs-log", "ext", "ntfs", "fat", "exfat", "btrfs"}
"""Their first inputs are volumes that mkfs makes, when the fuzzer runs."""
PLACES = st.floats(0, 1, exclude_max=True)
PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\xff" * 8, b"\0" * 8, b"\x80", b"-1", b"1e400", b'"', b"{", b"]", (1 << 63).to_bytes(8, "little")]
    ),
)
CHANGES = st.lists(st.tuples(PLACES, PIECES, st.booleans()), min_size=1, max_size=4)


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_takes_some_of_its_first_inputs(name: str) -> None:
    taken = [TARGETS[name].try_one(data) for data in TARGETS[name].seeds]
    assert any(taken) or name in NO_SEEDS, "a fuzzer that starts from refused inputs alone sees little"


@pytest.mark.parametrize("name", TARGETS)
@given(number=st.integers(0, 99), changes=CHANGES, keep=PLACES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_inputs_near_the_first_ones_fail_only_as_documented(
    name: str, number: int, changes: list[tuple[float, bytes, bool]], keep: float
) -> None:
    target = TARGETS[name]
    data = target.seeds[number % len(target.seeds)]
    for place, piece, insert in changes:
        at = int(place * len(data))
        data = data[:at] + piece + data[at if insert else at + len(piece) :]
    target.try_one(data)
    target.try_one(data[: int(keep * len(data))])


@given(st.lists(st.tuples(st.integers(0, 1 << 39), st.binary(max_size=70)), max_size=4))
def test_a_volume_of_pieces_holds_them_and_zeros_elsewhere(pieces: list[tuple[int, bytes]]) -> None:
    packed = volume.pack(pieces)
    assert [(at, data) for at, data in volume.pieces(packed)] == [piece for piece in pieces if piece[1]]
    with volume.opened(packed) as fd:
        if len(pieces) == 1:
            assert volume.reader(fd)(pieces[0][0], len(pieces[0][1])) == pieces[0][1]
        assert volume.reader(fd, offset=1 << 41)(0, 512) == bytes(512)


def test_a_long_piece_is_cut_into_several() -> None:
    data = bytes(range(256)) * 600
    assert b"".join(part for _, part in volume.pieces(volume.pack([(7, data)]))) == data
