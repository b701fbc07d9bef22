"""A disk of an image read at any place, from a store in memory."""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import pytest

from imaging.chunk import chunk_id, compress, cuts, digest
from imaging.content import Content
from imaging.disk import DiskId, PartitionTable, TableKind
from imaging.errors import BadImageError
from imaging.extents import Extents
from imaging.index import DigestTable, blank
from imaging.manifest import ImagedDisk
from imaging.reader import DiskReader
from imaging.stores import Listed, Passed, none_of

CHUNK = 1 << 16
SIZE = 20 * CHUNK + 777
USED = Extents([(0, 3 * CHUNK), (5 * CHUNK + 100, 6 * CHUNK), (8 * CHUNK, 9 * CHUNK), (15 * CHUNK, SIZE)])


class MemoryStore:
    """Chunks by their ids, and how often each was asked for."""

    def __init__(self) -> None:
        self.frames: dict[bytes, bytes] = {}
        self.asked: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()
        self.slow: set[bytes] = set()
        """Which alone wait at the gate, where there are any."""

    def get(self, chunk: bytes, size: int) -> bytes:  # noqa: ARG002
        self.asked.append(chunk)
        if not self.slow or chunk in self.slow:
            assert self.gate.wait(180)
        if chunk not in self.frames:
            raise BadImageError(f"chunk {chunk.hex()} is missing from the library", code="missing-chunk")
        return self.frames[chunk]

    def name(self, chunk: bytes) -> bytes:
        return chunk

    def has(self, chunk: bytes) -> bool:
        return chunk in self.frames

    def announce(self, chunk: bytes) -> None:
        """Nothing to do."""

    @property
    def lead(self) -> int:
        return 0

    def put(self, chunk: bytes, frame: bytes) -> None:
        self.frames[chunk] = frame

    @property
    def lost(self) -> bool:
        return False

    def sync(self) -> None:
        """Nothing to do."""

    def named_since(self, when: float) -> Sequence[bytes]:  # noqa: ARG002
        return ()

    def remove_all(self, chunks: Iterable[bytes]) -> Iterator[int]:
        return map(self.remove, chunks)

    def set_aside(self, chunk: bytes) -> bool:  # noqa: ARG002
        return False

    def remove_unfinished(self, owners: Collection[str]) -> None:  # noqa: ARG002
        raise AssertionError

    def drop_unless_whole(self, chunk: bytes) -> bool:  # noqa: ARG002
        return False

    def listed(self, first: int, end: int, but: Passed = none_of) -> Iterator[Listed]:
        for name, frame in self.frames.items():
            if first <= int.from_bytes(name[:2], "big") < end and not but(name):
                yield Listed(id=name, size=len(frame), stored=0.0)

    def stamp(self, name: bytes) -> tuple[int, bytes] | None:
        return self.room_of(name), b""

    def strays(self) -> Iterator[tuple[str, int]]:
        return iter(())

    def room_of(self, chunk: bytes) -> int:
        return len(self.frames.get(chunk, b""))

    def remove(self, chunk: bytes) -> int:
        return len(self.frames.pop(chunk, b""))


class World:
    """A disk with random data where it is used, but for one used chunk of zeros, and its store."""

    def __init__(self) -> None:
        source = random.Random(1)
        data = bytearray(SIZE)
        for start, end in USED:
            data[start:end] = source.randbytes(end - start)
        data[8 * CHUNK : 9 * CHUNK] = bytes(CHUNK)
        self.data = bytes(data)
        self.store = MemoryStore()
        self.index = blank(cuts(SIZE, (), CHUNK))
        self.digests = DigestTable.blank(len(self.index))
        for i in range(len(self.index)):
            plain = self.data[self.index.start(i) : self.index.end(i)]
            self.index.name(i, chunk_id(plain))
            self.digests.set(i, digest(plain))
            if any(plain):
                self.store.put(chunk_id(plain), compress(plain))

    def number(self, i: int) -> int:
        """How often chunk `i` was asked for."""
        return self.store.asked.count(self.index.id(i))

    def reader(self, cache: int = 1 << 20) -> DiskReader:
        disk = ImagedDisk(
            name="sda",
            id=DiskId(size=SIZE),
            logical_sector=512,
            physical_sector=512,
            table=PartitionTable(kind=TableKind.NONE),
            volumes=(),
            table_extents=(),
            used=USED.total,
            chunks=len(self.index),
            index_digest="",
            used_digest="",
            blake3_digest="",
        )
        content = Content(
            disk=disk,
            index=self.index,
            digests=self.digests,
            used=USED,
            table=Extents(),
            body=USED,
            store=self.store,
        )
        return DiskReader(content, cache=cache)


def test_reads_at_any_place_and_of_any_size_are_right() -> None:
    world = World()
    reader, source = world.reader(3 * CHUNK), random.Random(2)
    for _ in range(500):
        at = source.randrange(SIZE + 100)
        size = source.choice([0, 1, 511, 4096, CHUNK, 3 * CHUNK, SIZE])
        assert b"".join(reader.read(at, size)) == world.data[at : at + size]
    assert reader.bad == ()


def test_unused_chunks_and_those_of_zeros_are_never_asked_for() -> None:
    world = World()
    assert b"".join(world.reader().read(0, SIZE)) == world.data
    assert len(world.store.asked) == len(set(world.store.asked)) == 3 + 1 + 6


def test_whoever_passes_over_holes_reads_everything_that_is_not_zero() -> None:
    world = World()
    reader, source = world.reader(), random.Random(3)
    holes = [(3 * CHUNK, 5 * CHUNK), (6 * CHUNK, 15 * CHUNK)]
    for at in (0, 1, 3 * CHUNK, 5 * CHUNK, 15 * CHUNK, SIZE - 1, *(source.randrange(SIZE) for _ in range(200))):
        hole = next((end for start, end in holes if start <= at < end), 0)
        assert reader.next_data(at) == (hole or at)
        assert reader.next_hole(at) == (at if hole else next((low for low, _ in holes if low > at), SIZE))
    assert (reader.next_data(SIZE), reader.next_hole(SIZE)) == (SIZE, SIZE)
    assert reader.allocated == USED.total < SIZE
    assert world.store.asked == []


def test_no_more_than_the_cache_is_kept() -> None:
    world = World()
    reader = world.reader(2 * CHUNK)
    for at in (0, CHUNK, 2 * CHUNK, CHUNK, 0):
        reader.read(at, 10)
    assert len(world.store.asked) == 4
    uncached = world.reader(CHUNK - 1)
    uncached.read(0, 10)
    uncached.read(0, 10)
    assert len(world.store.asked) == 6


def test_readers_that_want_one_chunk_at_once_wait_for_one_read_of_it() -> None:
    world = World()
    reader, found = world.reader(), []
    world.store.gate.clear()
    threads = [threading.Thread(target=lambda: found.append(b"".join(reader.read(5, 50)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    world.store.gate.set()
    for thread in threads:
        thread.join()
    assert found == [world.data[5:55]] * 8
    assert len(world.store.asked) == 1


def test_many_readers_at_once_all_read_what_is_right() -> None:
    world = World()
    reader, wrong = world.reader(3 * CHUNK), []

    def work(seed: int) -> None:
        source = random.Random(seed)
        for _ in range(200):
            at, size = source.randrange(SIZE), source.randrange(2 * CHUNK)
            if b"".join(reader.read(at, size)) != world.data[at : at + size]:
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("damage", ["missing", "corrupt", "another"])
def test_a_bad_chunk_is_an_error_there_alone_and_is_remembered(damage: str) -> None:
    world = World()
    name = world.index.id(1)
    match damage:
        case "missing":
            del world.store.frames[name]
        case "corrupt":
            world.store.frames[name] = world.store.frames[name][:-9]
        case "another":
            world.store.frames[name] = compress(b"x" * CHUNK)
    reader = world.reader()
    for _ in range(2):
        with pytest.raises(BadImageError, match=name.hex()):
            reader.read(CHUNK - 1, 2)
    assert b"".join(reader.read(0, CHUNK)) == world.data[:CHUNK]
    assert b"".join(reader.read(2 * CHUNK, CHUNK)) == world.data[2 * CHUNK : 3 * CHUNK]
    assert [(bad.start, bad.end) for bad in reader.bad] == [(CHUNK, 2 * CHUNK)]
    assert reader.bad_within(0, CHUNK) == reader.bad_within(2 * CHUNK, SIZE) == ()
    assert len(reader.bad_within(0, CHUNK + 1)) == 1
    assert world.store.asked.count(name) == 1


AHEAD = 64 << 20
"""A cache with room for reading ahead."""
LAST = 20
"""The last chunk; from the fifteenth on all are used."""


def waited_for(what: Callable[[], bool]) -> bool:
    """Whether something comes true that other threads do."""
    until = time.monotonic() + 60
    while not what() and time.monotonic() < until:
        threading.Event().wait(0.001)
    return what()


def test_what_comes_next_is_had_before_somebody_who_reads_on_asks_for_it() -> None:
    world = World()
    with world.reader(AHEAD) as reader:
        for i in (15, 16, 17):
            reader.read(i * CHUNK, CHUNK)
        assert waited_for(lambda: world.number(18) == world.number(19) == 1)
        assert b"".join(reader.read(15 * CHUNK, SIZE)) == world.data[15 * CHUNK :]
    assert [world.number(i) for i in range(15, LAST + 1)] == [1] * 6


def test_nothing_is_read_ahead_of_who_jumps_about() -> None:
    world = World()
    with world.reader(AHEAD) as reader:
        for i in (15, 17, 16, 19, 15, 1, 17):
            reader.read(i * CHUNK, CHUNK)
    assert {i for i in range(LAST + 1) if world.number(i)} == {1, 15, 16, 17, 19}


def test_nothing_is_read_ahead_where_there_is_no_room_to_keep_it() -> None:
    world = World()
    with world.reader(8 * CHUNK) as reader:
        for i in (15, 16, 17):
            reader.read(i * CHUNK, CHUNK)
    assert (world.number(18), world.number(19)) == (0, 0)


def test_what_was_left_behind_makes_room_before_what_is_read_again_and_again() -> None:
    world = World()
    with world.reader(AHEAD) as reader:
        reader._most = 6 * CHUNK
        reader.read(CHUNK, CHUNK)
        for i in (15, 16):
            reader.read(i * CHUNK, CHUNK)
        world.store.slow = {world.index.id(i) for i in (18, 19, 20)}
        world.store.gate.clear()
        reader.read(17 * CHUNK, CHUNK)
        world.store.gate.set()
        assert waited_for(lambda: world.index.id(18) in world.store.asked and not reader._under_way)
        for i in (18, 19, 20):
            reader.read(i * CHUNK, CHUNK)
        reader.read(CHUNK, CHUNK)
    assert [world.number(i) for i in (1, 15, 16, 17)] == [1] * 4


def test_a_bad_chunk_that_was_read_ahead_is_an_error_for_who_reads_it_alone() -> None:
    world = World()
    del world.store.frames[world.index.id(18)]
    with world.reader(AHEAD) as reader:
        for i in (15, 16, 17):
            assert b"".join(reader.read(i * CHUNK, CHUNK)) == world.data[i * CHUNK : (i + 1) * CHUNK]
        assert waited_for(lambda: world.number(18) == world.number(19) == 1)
        assert b"".join(reader.read(19 * CHUNK, CHUNK)) == world.data[19 * CHUNK : 20 * CHUNK]
        assert not reader.bad
        with pytest.raises(BadImageError, match="missing"):
            reader.read(18 * CHUNK, 1)
        assert [(bad.start, bad.end) for bad in reader.bad] == [(18 * CHUNK, 19 * CHUNK)]


def test_what_failed_only_when_it_was_read_ahead_is_there_for_its_reader() -> None:
    world = World()
    name = world.index.id(18)
    frame = world.store.frames.pop(name)
    with world.reader(AHEAD) as reader:
        for i in (15, 16, 17):
            reader.read(i * CHUNK, CHUNK)
        assert waited_for(lambda: world.number(18) == world.number(19) == 1)
        world.store.put(name, frame)
        assert b"".join(reader.read(18 * CHUNK, CHUNK)) == world.data[18 * CHUNK : 19 * CHUNK]
        assert not reader.bad


def test_a_library_that_is_slow_holds_up_nobody_who_reads_what_is_there() -> None:
    world = World()
    with world.reader(AHEAD) as reader:
        for i in (15, 16):
            reader.read(i * CHUNK, CHUNK)
        world.store.slow = {world.index.id(18), world.index.id(19)}
        world.store.gate.clear()
        assert b"".join(reader.read(17 * CHUNK, CHUNK)) == world.data[17 * CHUNK : 18 * CHUNK]
        assert waited_for(lambda: world.number(18) == world.number(19) == 1)
        assert b"".join(reader.read(0, CHUNK)) == world.data[:CHUNK]
        found: list[bytes] = []
        late = threading.Thread(target=lambda: found.append(b"".join(reader.read(18 * CHUNK, 2 * CHUNK))))
        late.start()
        world.store.gate.set()
        late.join()
    assert found == [world.data[18 * CHUNK : 20 * CHUNK]]
    assert (world.number(18), world.number(19)) == (1, 1)


def test_closing_waits_for_what_is_being_read_ahead_and_reads_no_more() -> None:
    world = World()
    reader = world.reader(AHEAD)
    with reader:
        for i in (15, 16):
            reader.read(i * CHUNK, CHUNK)
        world.store.slow = {world.index.id(18), world.index.id(19)}
        world.store.gate.clear()
        reader.read(17 * CHUNK, CHUNK)
        assert waited_for(lambda: world.number(18) == world.number(19) == 1)
        ended = threading.Thread(target=reader.__exit__, args=(None, None, None))
        ended.start()
        ended.join(0.05)
        assert ended.is_alive()
        world.store.gate.set()
        ended.join()
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
    asked = len(world.store.asked)
    assert b"".join(reader.read(0, SIZE)) == world.data
    assert len(world.store.asked) == asked + 3 + 1 + 1


def test_readers_at_once_are_given_what_is_right_while_chunks_are_read_ahead() -> None:
    world = World()
    wrong: list[int] = []
    with world.reader(AHEAD) as reader:
        # So few are kept that what was read ahead is driven out again.
        reader._most = 4 * CHUNK

        def work(seed: int) -> None:
            source = random.Random(seed)
            for _ in range(30):
                at = source.randrange(SIZE)
                end, size = source.choice([at + 1, SIZE]), source.randrange(1, 2 * CHUNK)
                while at < end:
                    if b"".join(reader.read(at, size)) != world.data[at : at + size]:
                        wrong.append(at)
                    at += size

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert reader._bytes == sum(len(data) for data in reader._kept.values()) <= 4 * CHUNK
    assert wrong == []
