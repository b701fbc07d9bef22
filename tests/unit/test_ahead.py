"""What is foreseen of those who read on, and of those who do not."""

import random
import threading

from imaging.ahead import Foresight, ReadAhead


def foreseen(chunks: list[int], depth: int = 2) -> list[int]:
    """All that is foreseen while these chunks are read."""
    sight = Foresight(depth)
    return [soon for i in chunks for soon in sight.after(i)]


def test_from_the_third_chunk_in_order_on_each_that_follows_is_foreseen_once() -> None:
    sight = Foresight(2)
    assert [list(sight.after(i)) for i in (7, 8, 9, 9, 10, 10, 11)] == [[], [], [10, 11], [], [12], [], [13]]


def test_requests_that_overtake_each_other_are_still_in_order() -> None:
    assert foreseen([0, 0, 1, 0, 1, 2, 1, 2, 3, 2, 3, 4]) == [3, 4, 5, 6]


def test_readers_of_several_places_do_not_confuse_each_other() -> None:
    assert foreseen([100, 500, 101, 501, 102, 502, 103]) == [103, 104, 503, 504, 105]


def test_who_begins_anew_is_followed_anew() -> None:
    assert foreseen([0, 1, 2, 3, 0, 1, 2]) == [3, 4, 5, 3, 4]


def test_backwards_is_not_on() -> None:
    assert foreseen(list(range(50, 0, -1))) == []


def test_of_chunks_in_no_order_hardly_any_are_foreseen() -> None:
    source = random.Random(1)
    assert len(foreseen([source.randrange(1000) for _ in range(10_000)])) < 20


def test_one_that_reads_on_is_not_forgotten_for_many_that_jump_about() -> None:
    source, chunks = random.Random(2), list[int]()
    for i in range(20):
        chunks += [i, *(source.randrange(10_000, 1_000_000) for _ in range(10)), i]
    assert [soon for soon in foreseen(chunks) if soon < 1000] == list(range(3, 22))


def test_no_more_waits_than_can_be_fetched_and_the_newest_of_it() -> None:
    gate, fetched = threading.Event(), list[int]()

    def fetch(i: int) -> None:
        assert gate.wait(180)
        fetched.append(i)

    ahead = ReadAhead(fetch, 1)
    for i in range(100):
        ahead.reads(i)
    gate.set()
    while 100 not in fetched:
        threading.Event().wait(0.001)
    ahead.close()
    assert len(fetched) <= 3
    assert fetched[-2:] == [99, 100]


def test_one_that_was_never_needed_is_closed_as_well() -> None:
    ahead = ReadAhead(lambda _: None, 2)
    ahead.reads(1)
    ahead.close()
    ahead.close()
