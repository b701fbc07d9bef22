"""Raw disk files, plain and compressed, read as a stream: what is cut short or damaged is never taken for whole."""

import bz2
import gzip
import lzma
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from imaging.errors import BadImageError, RefusedError
from imaging.foreign import PIECE, ForeignDisk
from imaging.rawfile import open_raw

SIZE = 2 * PIECE + 12345


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": zstd,
    "bz2": lambda data: bz2.compress(data, 1),
}


@pytest.fixture(scope="module")
def plain() -> bytes:
    """Some of it random, most of it zeros."""
    return os.urandom(1 << 17) + bytes(SIZE - (1 << 18)) + os.urandom(1 << 17)


@pytest.fixture(scope="module")
def packed(plain: bytes) -> dict[str, bytes]:
    return {kind: pack(plain) for kind, pack in PACKERS.items()}


def joined(disk: ForeignDisk) -> bytes:
    """All of a disk whose size its pieces tell."""
    data = bytearray()
    for at, piece in disk.pieces():
        assert at >= len(data)
        assert 0 < len(piece) <= PIECE
        data += bytes(at - len(data)) + piece
    return bytes(data)


def only(path: Path) -> ForeignDisk:
    (disk,) = open_raw(path).disks
    return disk


@pytest.mark.parametrize("kind", PACKERS)
def test_a_compressed_disk_is_read_whatever_its_name(
    tmp_path: Path, plain: bytes, packed: dict[str, bytes], kind: str
) -> None:
    path = tmp_path / "disk"
    path.write_bytes(packed[kind])
    disk = only(path)
    assert joined(disk) == plain
    assert joined(disk) == plain
    assert (disk.size, disk.used, disk.sector) == (None, None, 512)


@pytest.mark.parametrize("kind", PACKERS)
def test_streams_that_follow_each_other_are_one_disk(tmp_path: Path, plain: bytes, kind: str) -> None:
    path = tmp_path / f"disk.img.{kind}"
    path.write_bytes(PACKERS[kind](plain[:7777]) + PACKERS[kind](b"") + PACKERS[kind](plain[7777:]))
    disk = only(path)
    assert joined(disk) == plain
    assert disk.name == "disk.img"


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("cut", [8, 1 << 17, -1])
def test_a_stream_that_is_cut_short_is_an_error(tmp_path: Path, packed: dict[str, bytes], kind: str, cut: int) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(packed[kind][:cut])
    with pytest.raises(BadImageError, match=r"disk\.img is cut short or damaged") as caught:
        joined(only(path))
    assert caught.value.code == "bad-stream"


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_that_is_damaged_is_an_error(tmp_path: Path, packed: dict[str, bytes], kind: str) -> None:
    damaged = bytearray(packed[kind])
    damaged[1 << 16] ^= 0x10  # among what is random: any other code for zeros may stand for zeros, too
    path = tmp_path / "disk.img"
    path.write_bytes(damaged)
    with pytest.raises(BadImageError, match=r"disk\.img is cut short or damaged"):
        joined(only(path))


def test_a_zstd_stream_can_begin_with_a_frame_of_no_data(tmp_path: Path, plain: bytes) -> None:
    path = tmp_path / "disk"
    path.write_bytes(struct.pack("<II", 0x184D2A53, 4) + b"note" + zstd(plain))
    assert joined(only(path)) == plain


def test_who_stops_reading_leaves_no_process_behind(tmp_path: Path, plain: bytes) -> None:
    path = tmp_path / "disk.gz"
    path.write_bytes(gzip.compress(plain, 0))
    children = Path("/proc/self/task").glob("*/children")
    before = sorted(word for file in children for word in file.read_text().split())
    pieces = only(path).pieces()
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    children = Path("/proc/self/task").glob("*/children")
    assert sorted(word for file in children for word in file.read_text().split()) == before


def test_a_plain_disk_is_read_without_its_holes(tmp_path: Path, plain: bytes) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(100 * PIECE + 512)
        file.seek(50 * PIECE)
        file.write(plain)
    disk = only(path)
    assert disk.size == 100 * PIECE + 512
    pieces = list(disk.pieces())
    assert b"".join(data for _, data in pieces).strip(b"\0") == plain.strip(b"\0")
    assert pieces[0][0] >= 50 * PIECE - PIECE
    assert sum(len(data) for _, data in pieces) < 5 * PIECE


def test_what_a_compressed_file_holds_must_be_a_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2.gz"
    path.write_bytes(gzip.compress(b"QFI\xfb" + bytes(1 << 16)))
    with pytest.raises(RefusedError, match=r"disk\.qcow2\.gz holds a qcow2 disk"):
        open_raw(path)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(BadImageError, match="holds nothing"):
        open_raw(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
@pytest.mark.parametrize(
    ("at", "magic", "what"),
    [
        (257, b"ustar\x0000", "a tar archive"),
        (0, b"PK\x03\x04", "a ZIP archive"),
        (64, b"\x7f\x10\xda\xbe", "a VirtualBox disk"),
        (0, b"vhdxfile", "a VHDX disk"),
        (0, b"partclone-image0002", "saved by partclone"),
        (0, b"\0ntfsclone-image", "saved by ntfsclone"),
    ],
)
def test_what_is_known_to_be_no_disk_is_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes], at: int, magic: bytes, what: str
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(pack(bytes(at) + magic + bytes(1 << 16)))
    with pytest.raises(RefusedError, match=what) as caught:
        open_raw(path)
    assert caught.value.code == "not-a-disk"


def test_sectors_of_4096_bytes_are_known_from_the_stream(tmp_path: Path) -> None:
    head = bytearray(1 << 16)
    head[446 + 4], head[510:512] = 0xEE, b"\x55\xaa"
    head[4096:4104] = b"EFI PART"
    path = tmp_path / "disk.gz"
    path.write_bytes(gzip.compress(bytes(head)))
    assert only(path).sector == 4096
