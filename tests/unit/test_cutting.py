"""A disk that goes by is cut where a capture would cut it, whatever its table says and however it comes."""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.chunk import CHUNK_SIZE, cuts
from imaging.cutting import HEAD, Cutter, outline

MIB = 1 << 20
SECTOR = 512


def entry(kind: int, start: int, size: int) -> bytes:
    """A partition in a table of the MBR's kind; start and size in sectors."""
    return struct.pack("<B3xB3xII", 0, kind, start, size)


def record(*entries: bytes) -> bytes:
    return bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def mbr_disk(size: int, logical: Sequence[tuple[int, int, int]]) -> bytearray:
    """A primary partition, and logical ones: the sectors of record, start and size of each, rising."""
    disk = bytearray(size)
    outer = logical[0][0] if logical else 40000
    disk[:512] = record(entry(0x83, 63, 9000), entry(0x05, outer, size // SECTOR - outer) if logical else b"")
    for i, (at, start, length) in enumerate(logical):
        following = entry(0x05, logical[i + 1][0] - outer, 9) if i + 1 < len(logical) else b""
        disk[at * SECTOR : at * SECTOR + 512] = record(entry(0x83, start - at, length), following)
    return disk


def ends(disk: bytearray, pieces: Iterator[tuple[int, int]], size: int) -> list[int]:
    """Where the chunks end of a disk of which these pieces are given; their data is looked at, too."""
    cutter = Cutter(outline(bytes(disk[:HEAD]), SECTOR), SECTOR)
    made = [cut for start, end in pieces for cut in cutter.add(start, bytes(disk[start:end]))] + list(cutter.end(size))
    at = 0
    for cut in made:
        assert cut.start == at
        assert cut.data is None or cut.data == disk[cut.start : cut.end]
        at = cut.end
    return [cut.end for cut in made]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 12 * MIB), max_size=12))
def test_logical_partitions_begin_a_chunk_however_the_disk_comes(places: list[int]) -> None:
    size = 12 * MIB
    disk = mbr_disk(size, [(10000, 10063, 3000), (14000, 14063, 1000), (15063, 15064, 5000)])
    borders = sorted({0, size, *places})
    pieces = pairwise(borders)
    edges = [63, 9063, 10063, 13063, 14063, 15063, 15064, 20064]
    assert ends(disk, pieces, size) == list(cuts(size, [edge * SECTOR for edge in edges]))


def test_what_lies_between_pieces_takes_no_memory() -> None:
    size = 64 * MIB
    disk = mbr_disk(size, [])
    cutter = Cutter(outline(bytes(disk[:HEAD]), SECTOR), SECTOR)
    made = [*cutter.add(0, bytes(disk[:512])), *cutter.add(40 * MIB, b"x"), *cutter.end(size)]
    assert [cut.end for cut in made] == list(cuts(size, [63 * SECTOR, 9063 * SECTOR]))
    assert [cut.start for cut in made if cut.data is not None] == [
        0,
        made[[c.end > 40 * MIB for c in made].index(True)].start,
    ]


def test_records_that_lead_back_or_nowhere_end_the_search() -> None:
    size = 12 * MIB
    disk = mbr_disk(size, [(10000, 10063, 3000)])
    for following in (0, 1, 0xFFFFFFFF):
        disk[10000 * SECTOR : 10000 * SECTOR + 512] = record(entry(0x83, 63, 3000), entry(0x05, following, 9))
        assert ends(disk, iter([(0, size)]), size)[-1] == size


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=600))
def test_no_table_is_too_odd(entries: bytes, rest: bytes) -> None:
    head = bytes(446) + entries + b"\x55\xaa" + rest
    found = outline(head, SECTOR)
    size = CHUNK_SIZE + 17
    cutter = Cutter(found, SECTOR)
    made = [*cutter.add(0, head), *cutter.end(size)]
    assert made[-1].end == size
    assert all(a.end == b.start for a, b in pairwise(made))


def test_a_table_of_the_mbrs_kind_tells_how_large_the_disk_is_at_least() -> None:
    assert outline(bytes(mbr_disk(12 * MIB, [])[:HEAD]), SECTOR).size == 9063 * SECTOR
    assert outline(bytes(HEAD), SECTOR).size == 0
