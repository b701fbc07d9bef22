"""Rescue's own used maps against those of other programs, byte range by byte range, and put to use."""

import os
import re
import struct
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging import allocation
from imaging.blockdev import opened, read
from imaging.disk import Content
from imaging.errors import IoError
from imaging.extents import Extents
from imaging.usedmap import HEAD, TAIL, parse_domain, volume_map
from tests.disks import blank
from tests.matrix import variants, volumes
from tests.matrix.tools import Place, said
from tests.matrix.variants import VARIANTS, Variant

pytestmark = pytest.mark.root
each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)
_SIZES = ("Block", "Cluster")
_BY_NAME = {variant.name: variant for variant in VARIANTS}


def _ours(place: Place, kind: str) -> Extents:
    with opened(str(place.path)) as fd:
        found = allocation.read_map(kind, lambda at, size: read(fd, size, place.start + at), place.size)
    assert found is not None
    return found


def _partclone(variant: Variant, place: Place) -> Extents:
    found = place.path.with_suffix(".map")
    said(f"partclone.{variant.kind.name}", "-D", "-s", place.path, "-O", found, "-L", found.with_suffix(".log"))
    return parse_domain(found.read_text().splitlines(), place.size)


@pytest.fixture(scope="module")
def built(shared_room: Path) -> Iterator[dict[str, tuple[Place, "Future[Extents]"]]]:
    """Every variant, and partclone's map of it: all at once, because it sleeps for two seconds each."""
    folder = shared_room / "variants"
    folder.mkdir()
    with ThreadPoolExecutor(len(VARIANTS)) as pool:
        found = {}
        for variant in VARIANTS:
            place = variants.build(variant, folder)
            found[variant.name] = place, pool.submit(_partclone, variant, place)
        yield found


@each_variant
def test_our_map_is_that_of_another_program(
    variant: Variant, built: dict[str, tuple[Place, "Future[Extents]"]]
) -> None:
    place, theirs = built[variant.name]
    ours = _ours(place, variant.kind.name)
    if variant.oracle == "partclone" and variant.kind.name.startswith("ext"):
        # Inode tables that were never written are all that we leave out beside partclone.
        assert ours == theirs.result().minus(_unwritten_tables(place))
    elif variant.oracle == "partclone":
        assert ours == theirs.result()
    elif variant.oracle == "dumpe2fs":
        # partclone cannot map it at all.
        with pytest.raises((AssertionError, IoError)):
            theirs.result()
        unwritten = _unwritten_tables(place)
        assert Extents([(0, place.size)]).minus(ours) == _free_by_dumpe2fs(place).union(unwritten)
    else:
        # partclone takes the entries of FAT12 for 16-bit ones, and misses files: what it misses is ours to keep.
        assert theirs.result() != ours
        assert ours.total - _fat_head(place) == _used_by_fsck(place)


def _unwritten_tables(place: Place) -> Extents:
    """The inode tables of groups that dumpe2fs shows as uninitialised and not zeroed."""
    said_of_it = said("dumpe2fs", place.path)
    block = int(re.findall(r"^Block size: +(\d+)", said_of_it, re.MULTILINE)[0])
    found = []
    for group in said_of_it.split("\nGroup ")[1:]:
        flags = re.findall(r"\[(.*)\]", group.partition("\n")[0])
        if flags and "INODE_UNINIT" in flags[0] and "ITABLE_ZEROED" not in flags[0]:
            first, last = re.findall(r"Inode table at (\d+)-(\d+)", group)[0]
            found.append((int(first) * block, (int(last) + 1) * block))
    return Extents(found)


def _free_by_dumpe2fs(place: Place) -> Extents:
    said_of_it = said("dumpe2fs", place.path)
    block, cluster = (int(re.findall(rf"^{what} size: +(\d+)", said_of_it, re.MULTILINE)[0]) for what in _SIZES)
    lists = re.findall(r"^  Free blocks: (.+)$", said_of_it, re.MULTILINE)
    pairs = [piece.split("-") for line in lists for piece in line.split(", ")]
    # It names the first block of each cluster, of the last one too.
    return Extents((int(pair[0]) * block, int(pair[-1]) * block + cluster) for pair in pairs)


def _fat_shape(place: Place) -> tuple[int, int]:
    """Bytes of a cluster, and where the clusters begin."""
    boot = place.path.read_bytes()[:512]
    sector, per_cluster, reserved, copies, entries = struct.unpack_from("<HBHBH", boot, 11)
    length = struct.unpack_from("<H", boot, 22)[0] or struct.unpack_from("<I", boot, 36)[0]
    return sector * per_cluster, (reserved + copies * length) * sector + -(-32 * entries // sector) * sector


def _fat_head(place: Place) -> int:
    """Bytes that are no cluster: before the first one, and behind the last."""
    cluster, data = _fat_shape(place)
    return data + (place.size - data) % cluster


def _used_by_fsck(place: Place) -> int:
    clusters = re.findall(r", (\d+)/\d+ clusters", said("fsck.vfat", "-n", place.path))
    return int(clusters[0]) * _fat_shape(place)[0]


@each_variant
def test_what_is_used_is_enough_to_bring_the_volume_back(
    variant: Variant, built: dict[str, tuple[Place, "Future[Extents]"]], room: Path
) -> None:
    place, _ = built[variant.name]
    target = place.on(blank(room / "target.img", place.size, fill=0xAA))
    with place.path.open("rb") as source, target.path.open("r+b") as copy:
        for start, end in _ours(place, variant.kind.name):
            os.copy_file_range(source.fileno(), copy.fileno(), end - start, start, start)
    volumes.check(variant.kind, target)
    found = variants.entries(variant, target)
    assert found == variants.entries(variant, place)
    assert len(found) > 30


@pytest.mark.parametrize("name", ["ext4-4k", "ntfs-4k", "fat16", "exfat-4k"])
def test_both_ends_are_used_beside_what_the_file_system_says(
    name: str, built: dict[str, tuple[Place, "Future[Extents]"]], room: Path
) -> None:
    place, kind = built[name][0], _BY_NAME[name].kind.name
    moved = blank(room / "moved.img", place.size + 10_000)
    with moved.open("r+b") as file:
        file.seek(5000)
        file.write(place.path.read_bytes())
    with opened(str(moved)) as fd:
        found = volume_map(str(moved), fd, 5000, place.size, Content(kind=kind))
    assert (found.origin, found.note) == ("rescue", "")
    ends = Extents([(0, HEAD), (place.size - TAIL, place.size)])
    assert found.used == _ours(place, kind).union(ends)


@pytest.mark.parametrize(("name", "mark"), [("fat16", b"\xf7\xff"), ("fat32-512", b"\xf7\xff\xff\x0f")])
def test_a_bad_cluster_is_all_that_we_count_beside_partclone(
    name: str, mark: bytes, built: dict[str, tuple[Place, "Future[Extents]"]], room: Path
) -> None:
    place, theirs = built[name]
    cluster, data = _fat_shape(place)
    whole = bytearray(place.path.read_bytes())
    reserved, length = struct.unpack_from("<H", whole, 14)[0], struct.unpack_from("<H", whole, 22)[0]
    length = length or struct.unpack_from("<I", whole, 36)[0]
    bad = 10_000
    for table in (reserved * 512, (reserved + length) * 512):
        assert whole[table + bad * len(mark) :][: len(mark)] == bytes(len(mark))
        whole[table + bad * len(mark) : table + (bad + 1) * len(mark)] = mark
    (room / "bad.img").write_bytes(whole)
    at = data + (bad - 2) * cluster
    assert _ours(place.on(room / "bad.img"), "vfat") == theirs.result().union(Extents([(at, at + cluster)]))
    assert _partclone(_BY_NAME[name], place.on(room / "bad.img")) == theirs.result()


class _Damaged:
    """A volume with some bytes changed, and how much of it was read."""

    def __init__(self, data: bytes, damage: list[tuple[int, bytes]]) -> None:
        self.data, self.damage, self.read_bytes = data, damage, 0

    def read(self, at: int, size: int) -> bytes:
        assert 0 <= at <= at + size <= len(self.data)
        self.read_bytes += size
        found = bytearray(self.data[at : at + size])
        for place, value in self.damage:
            low, high = max(at, place), min(at + size, place + len(value))
            if low < high:
                found[low - at : high - at] = value[low - place : high - place]
        return bytes(found)


@pytest.mark.parametrize(
    "name", ["ext2-1k", "ext4-4k", "ext4-no-checksums", "ntfs-512", "fat12", "fat16", "exfat-512", "exfat-4k"]
)
def test_a_damaged_volume_gives_a_map_or_the_documented_error(
    name: str, built: dict[str, tuple[Place, "Future[Extents]"]]
) -> None:
    place, kind = built[name][0], _BY_NAME[name].kind.name
    data = place.path.read_bytes()
    # Most of what the readers look at lies where the used ranges begin.
    places = sorted({0, 1024, 2048, 4096, *(start for start, _ in _ours(place, kind))})
    if kind == "ntfs":
        table = struct.unpack_from("<Q", data, 48)[0] * 512
        places += [table + 1024 * i for i in (0, 2, 3, 6)]

    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(
            st.tuples(st.sampled_from(places), st.integers(0, 600), st.binary(min_size=1, max_size=8)),
            min_size=1,
            max_size=4,
        )
    )
    def damage(found: list[tuple[int, int, bytes]]) -> None:
        volume = _Damaged(data, [(place + by, value) for place, by, value in found])
        try:
            used = allocation.read_map(kind, volume.read, len(data))
        except IoError as error:
            assert error.code in ("bad-map", "dirty", "bad-file-system")
        else:
            assert used is not None and used.clipped(0, len(data)) == used
        assert volume.read_bytes <= 2 * len(data) + (2 << 20)

    damage()


def test_inode_tables_that_were_never_written_are_left_out(room: Path) -> None:
    place = Place(path=blank(room / "lazy.img", 1 << 30), start=0, size=1 << 30)
    # With a discard it relies on zeros, and says so.
    said("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,nodiscard", place.path)
    unwritten = _unwritten_tables(place)
    assert unwritten.total > 12 << 20
    assert not any(_ours(place, "ext4").overlaps(start, end) for start, end in unwritten)
