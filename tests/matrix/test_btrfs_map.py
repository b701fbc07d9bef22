"""btrfs out of nothing but what its map says is used: whole in every copy, with all snapshots."""

import os
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from imaging import btrfsmap
from imaging.crc import crc32c
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError
from imaging.extents import Extents
from tests.disks import MIB, blank, run
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import BTRFS

pytestmark = pytest.mark.root
_VARIANTS: dict[str, Sequence[str]] = {
    "usual": (),
    "small-nodes": ("--nodesize", "4096"),
    "large-nodes": ("--nodesize", "65536"),
    "mixed": ("--mixed",),
    "data-twice": ("--data", "dup"),
    "once": ("--metadata", "single"),
    "sha256": ("--csum", "sha256"),
    "blake2": ("--csum", "blake2"),
    "xxhash": ("--csum", "xxhash"),
    "old": ("-O", "^no-holes,^extref,^skinny-metadata", "-R", "^free-space-tree"),
}
_ROUNDS, _NODE = 300, 16384


def _used(path: Path) -> Extents:
    with path.open("rb") as file:
        return btrfsmap.used(lambda at, size: os.pread(file.fileno(), size, at), path.stat().st_size)


def _make(path: Path, words: Sequence[str], files: Path) -> Place:
    place = Place(path=blank(path, 400 * MIB, fill=0xAA), start=0, size=400 * MIB)
    with attached(place) as loop:
        said("mkfs.btrfs", "-q", "-f", *words, loop)
        with mounted(BTRFS.mount, loop) as folder:
            for name in ("one", "two"):
                said("btrfs", "subvolume", "create", folder / name)
                run("cp", "-r", files / "keep", files / "links", folder / name)
            many = folder / "two" / "many"
            many.mkdir()
            for i in range(1500):
                (many / f"{i:05}").write_bytes(bytes([i % 251]) * (5000 + i))
            run("sync", "-f", folder)
            said("btrfs", "subvolume", "snapshot", "-r", folder / "two", folder / "two then")
            said("btrfs", "subvolume", "snapshot", folder / "one", folder / "one again")
            run("rm", "-r", many, folder / "one again" / "keep")
            run("fallocate", "-l", "9M", folder / "reserved")
            run("sync", "-f", folder)
        said("btrfs", "device", "scan", "--forget", loop)
    return place


def _alone(place: Place, used: Extents, path: Path) -> Place:
    """A volume that holds nothing else of the first."""
    alone = place.on(blank(path, place.size, fill=0x55))
    with place.path.open("rb") as source, alone.path.open("r+b") as target:
        for low, high in used:
            os.pwrite(target.fileno(), os.pread(source.fileno(), high - low, low), low)
    return alone


@pytest.mark.parametrize("name", _VARIANTS)
def test_what_the_map_names_is_all_of_a_btrfs(name: str, files: Path, room: Path) -> None:
    place = _make(room / "volume.img", _VARIANTS[name], files)
    used = _used(place.path)
    assert used.total < place.size * 3 // 4
    with attached(_alone(place, used, room / "alone.img"), read_only=True) as loop:
        said("btrfs", "check", "--readonly", "--check-data-csum", loop)
        with mounted(BTRFS.mount_read_only, loop) as folder:
            assert "no errors found" in said("btrfs", "scrub", "start", "-B", "-r", folder)
            assert len(list((folder / "two then" / "many").iterdir())) == 1500
        said("btrfs", "device", "scan", "--forget", loop)


def test_damage_gives_a_map_or_the_documented_error(files: Path, room: Path) -> None:
    """In the super block and in every block of its trees; every second one has its checksum made right again."""
    place = _make(room / "volume.img", ("--metadata", "single"), files)
    whole = place.path.read_bytes()
    uuid = whole[BTRFS_SUPER + 32 : BTRFS_SUPER + 48]
    nodes = [at for at in range(0, place.size, _NODE) if at != BTRFS_SUPER and whole[at + 32 : at + 48] == uuid]
    rng, seen = random.Random(1), set()
    for i in range(_ROUNDS):
        at, size = (BTRFS_SUPER, 4096) if i % 4 == 0 else (rng.choice(nodes), _NODE)
        block = bytearray(whole[at : at + size])
        for _ in range(rng.choice((1, 8))):
            block[rng.randrange(0x30, 0x400)] = rng.randrange(256)
        if i % 2:
            block[:4] = struct.pack("<I", crc32c(bytes(block[32:]), 0xFFFFFFFF) ^ 0xFFFFFFFF)
        seen.add(_answer(_patched(whole, at, bytes(block)), place.size))
    assert seen >= {"bad-map", "map"}


def _patched(whole: bytes, at: int, block: bytes) -> Callable[[int, int], bytes]:
    def read(start: int, count: int) -> bytes:
        data = bytearray(whole[start : start + count])
        for place in range(max(start, at), min(start + count, at + len(block))):
            data[place - start] = block[place - at]
        return bytes(data)

    return read


def _answer(read: Callable[[int, int], bytes], size: int) -> str:
    try:
        found = btrfsmap.used(read, size)
    except IoError as error:
        assert error.code in ("bad-map", "dirty")
        return error.code
    assert found.end <= size
    return "map"
