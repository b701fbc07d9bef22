"""A view in which what is only moved takes no memory, and that reads as if all had been written."""

import errno
import random
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import relocating
from imaging.errors import IoError
from imaging.overlay import PAGE
from imaging.relocating import GROUP, Relocating, Trouble
from tests.unit.views import Base, read

PAGES = 16
SIZE = PAGES * PAGE + 100
NEW = 8 * PAGE
DATA = random.Random(5).randbytes(SIZE)

_moves = st.tuples(st.just("move"), st.integers(0, PAGES - 1), st.integers(0, PAGES - 1), st.integers(1, 4))
_writes = st.tuples(st.just("write"), st.integers(0, SIZE - 1), st.integers(1, 3 * PAGE), st.integers(0, 3))


@given(st.lists(st.one_of(_moves, _writes), max_size=12), st.integers(0, SIZE - 1), st.integers(1, SIZE))
def test_it_reads_as_if_it_had_been_written_to(steps: list[tuple[str, int, int, int]], at: int, size: int) -> None:
    base, expected = Base(DATA), bytearray(DATA)
    view = Relocating(base, NEW)
    for what, one, other, count in steps:
        if what == "move":
            length = min(count, PAGES - max(one, other)) * PAGE
            data = read(view, one * PAGE, length)
            view.write(other * PAGE, data)
            expected[other * PAGE : other * PAGE + length] = data
        else:
            length = min(other, SIZE - one)
            view.write(one, bytes([count]) * length)
            expected[one : one + length] = bytes([count]) * length
    size = min(size, SIZE - at)
    assert read(view, at, size) == expected[at : at + size]
    assert read(view, 0, SIZE) == expected
    assert base.data == DATA
    flags = b"".join(bytes(part) for part in view.changes.read(0, view.changes.size))
    assert len(flags) == NEW // PAGE + 2
    for page, flag in enumerate(flags[: NEW // PAGE]):
        if not flag:
            assert expected[page * PAGE : (page + 1) * PAGE] == DATA[page * PAGE : (page + 1) * PAGE]


def test_what_is_moved_from_behind_the_new_end_takes_no_memory_however_long_the_write_takes() -> None:
    view = Relocating(Base(DATA), NEW, most=0)
    there = read(view, NEW, 4 * PAGE)
    read(view, 0, NEW)
    view.write(PAGE, there)
    view.write(6 * PAGE, bytes(PAGE))
    assert read(view, PAGE, 4 * PAGE) == DATA[NEW : NEW + 4 * PAGE]
    assert view.written == 0
    assert b"".join(bytes(part) for part in view.changes.read(0, 8)) == bytes([0, 1, 1, 1, 1, 0, 1, 0])


def test_what_was_moved_once_is_moved_again_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """btrfs does so with what it had moved to a place that has to be left, too, long after that."""
    monkeypatch.setattr(relocating, "_MOST_KNOWN", 4)
    view = Relocating(Base(DATA), NEW, most=0, moved_from=0)
    view.write(6 * PAGE, read(view, NEW, 2 * PAGE))
    read(view, 0, 6 * PAGE)
    view.write(2 * PAGE, read(view, 6 * PAGE, 2 * PAGE))
    assert read(view, 2 * PAGE, 2 * PAGE) == DATA[NEW : NEW + 2 * PAGE]
    assert view.written == 0


def test_no_more_pages_are_remembered_than_is_said_and_the_last_half_of_them_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relocating, "_MOST_KNOWN", 8)
    view = Relocating(Base(DATA), NEW, most=0, moved_from=0)
    for page in range(PAGES):
        read(view, page * PAGE, PAGE)
        assert len(view._known) + len(view._older) <= 10
    for page in range(PAGES - 4, PAGES):
        view.write((page - 8) * PAGE, DATA[page * PAGE : (page + 1) * PAGE])
    assert view.written == 0


def test_what_is_no_copy_is_refused_once_it_is_too_much() -> None:
    view = Relocating(Base(DATA), NEW, most=PAGE)
    view.write(0, b"x" * PAGE)
    view.write(7, b"yy")
    with pytest.raises(OSError, match="space") as raised:
        view.write(PAGE, b"z" * PAGE)
    assert raised.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="space"):
        view.write(SIZE - 1, b"xy")
    assert read(view, PAGE, PAGE) == DATA[PAGE : 2 * PAGE]


def test_the_changes_say_that_something_was_refused_for_want_of_memory() -> None:
    view = Relocating(Base(DATA), NEW, most=PAGE)
    view.write(0, b"x" * PAGE)
    assert read_changes(view)[-1] == 0
    with pytest.raises(OSError, match="space"):
        view.write(PAGE, b"z" * PAGE)
    assert read_changes(view)[-1] == 1


def test_the_changes_say_that_a_write_failed_for_another_reason() -> None:
    view = Relocating(Base(DATA, IoError("the library is gone")), NEW)
    with pytest.raises(IoError):
        view.write(10, b"x")
    assert read_changes(view)[-1] == Trouble.FAILED


def read_changes(view: Relocating) -> bytes:
    """All that the file of changes holds, read in pieces."""
    changes = view.changes
    pieces = [(at, min(3, changes.size - at)) for at in range(0, changes.size, 3)]
    return b"".join(bytes(part) for at, size in pieces for part in changes.read(at, size))


class Endless:
    """A huge file of zeros."""

    size = 4 << 40

    def read(self, offset: int, size: int) -> Sequence[bytes]:
        assert 0 <= offset <= offset + size <= self.size
        return [bytes(size)]


def test_a_huge_volume_takes_memory_for_what_is_written_alone() -> None:
    tracemalloc.start()
    view = Relocating(Endless(), 3 << 40, most=PAGE)
    for at in range(0, view.size, 1 << 34):
        read(view, at, PAGE)
    (groups,) = view.changes.read(view.changes.pages, view.changes.groups)
    assert not any(bytes(groups))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20
    at = 5 * GROUP + 7
    view.write(at * PAGE, b"x" * PAGE)
    (groups,) = view.changes.read(view.changes.pages, view.changes.groups)
    assert [i for i, flag in enumerate(bytes(groups)) if flag] == [5]
    (flags,) = view.changes.read(at - 1, 3)
    assert flags == bytes([0, 1, 0])
    border = (6 * GROUP - 1) * PAGE
    view.write(border, bytes(2 * PAGE))
    assert read(view, border, 2 * PAGE) == bytes(2 * PAGE)
    (groups,) = view.changes.read(view.changes.pages, view.changes.groups)
    assert [i for i, flag in enumerate(bytes(groups)) if flag] == [5, 6]
