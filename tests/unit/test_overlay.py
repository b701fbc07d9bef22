"""A view that takes what is written to it, and the file beneath that never changes."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.overlay import PAGE, Overlay
from tests.unit.views import Base, read

SIZE = 5 * PAGE + 100

writes = st.lists(
    st.integers(0, SIZE - 1).flatmap(
        lambda at: st.tuples(st.just(at), st.integers(1, min(3 * PAGE, SIZE - at)), st.integers(1, 255))
    ),
    max_size=8,
)
places = st.integers(0, SIZE - 1).flatmap(lambda at: st.tuples(st.just(at), st.integers(1, SIZE - at)))


@given(writes, places)
def test_it_reads_as_if_it_had_been_written_to(made: list[tuple[int, int, int]], place: tuple[int, int]) -> None:
    data = bytes(i * 7 % 251 for i in range(SIZE))
    base, expected = Base(data), bytearray(data)
    view = Overlay(base)
    for at, size, value in made:
        view.write(at, bytes([value]) * size)
        expected[at : at + size] = bytes([value]) * size
    at, size = place
    assert read(view, at, size) == expected[at : at + size]
    assert read(view, 0, SIZE) == expected
    assert base.data == data


def test_nothing_is_written_past_the_end_or_beyond_the_limit() -> None:
    view = Overlay(Base(bytes(SIZE)), most=2 * PAGE)
    with pytest.raises(OSError, match="space") as raised:
        view.write(SIZE - 1, b"xy")
    assert raised.value.errno == errno.ENOSPC
    view.write(0, b"x" * 2 * PAGE)
    view.write(5, b"y")
    with pytest.raises(OSError, match="space"):
        view.write(3 * PAGE, b"x")
    assert view.written == 2 * PAGE
    assert read(view, 0, 8) == b"xxxxxyxx"
