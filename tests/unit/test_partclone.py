"""The reader of partclone images, on images written by hand: what it hands out, and what it refuses to believe."""

import io
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.errors import BadImageError
from imaging.extents import Extents
from imaging.partclone import PIECE, PartcloneImage
from imaging.xxhash import Xxh64, Xxh128
from tests.unit.partclone_images import BLOCK, Volume, crc, header_2, version_1, version_2, volume

SOURCE = volume(21, [0, 1, 2, 5, 6, 9, 13, 14, 15, 16, 20])
V1, V2 = version_1(SOURCE), version_2(SOURCE)


def read(data: bytes, step: int = 1 << 20) -> tuple[PartcloneImage, bytes]:
    """An image, and the volume that its pieces make."""
    file = io.BytesIO(data)
    image = PartcloneImage(lambda size: file.read(min(size, step)), "sda1")
    made, at = bytearray(image.header.blocks * image.header.block_size), 0
    for offset, piece in image.pieces():
        assert at <= offset and 0 < len(piece) <= PIECE
        at = offset + len(piece)
        made[offset:at] = piece
    return image, bytes(made)


def refused(data: bytes) -> str:
    with pytest.raises(BadImageError) as caught:
        read(data)
    assert caught.value.code == "bad-partclone"
    assert caught.value.message.startswith("sda1: ")
    return caught.value.message


def xxh(kind: type[Xxh64] | type[Xxh128]) -> Callable[[bytes], bytes]:
    def digest(data: bytes) -> bytes:
        made = kind()
        made.update(data)
        return made.digest()

    return digest


def test_the_checksums_of_xxhash_are_those_of_its_authors() -> None:
    assert xxh(Xxh64)(b"abc")[::-1].hex() == "44bc2cf5ad770999"
    assert xxh(Xxh128)(b"abc") == bytes.fromhex("06b05ab6733a618578af5f94892f3950")[::-1]


@pytest.mark.parametrize("bits", [0, 1, 8])
@pytest.mark.parametrize("per_checksum", [1, 2, 3, 11, 50])
@pytest.mark.parametrize("reseed", [True, False])
def test_version_2_gives_back_the_used_blocks(bits: int, per_checksum: int, reseed: bool) -> None:
    source = SOURCE if bits else Volume(blocks=SOURCE.blocks, used=range(21))
    data = version_2(source, per_checksum=per_checksum, reseed=reseed, bits=bits)
    image, made = read(data)
    assert made == source.restored()
    assert image.used == Extents((i * BLOCK, (i + 1) * BLOCK) for i in source.used)
    assert (image.header.version, image.header.file_system, image.header.size) == (2, "EXTFS", 21 * BLOCK)


@pytest.mark.parametrize(("kind", "digest"), [(0x00, crc), (0x20, crc), (0x30, xxh(Xxh64)), (0x31, xxh(Xxh128))])
@pytest.mark.parametrize("reseed", [True, False])
def test_every_kind_of_checksum_is_known_and_compared(
    kind: int, digest: Callable[[bytes], bytes], reseed: bool
) -> None:
    data = version_2(SOURCE, checksum=kind, digest=digest, reseed=reseed)
    assert read(data)[1] == SOURCE.restored()
    if kind:
        for at in (len(data) - 1, len(data) - 40, 200):
            damaged = bytearray(data)
            damaged[at] ^= 4
            assert "does not match" in refused(bytes(damaged))


@pytest.mark.parametrize("padding", [b"", bytes(4), b"\xff\xff\xff\xff"])
@pytest.mark.parametrize("used", [[], [3], [0, 1], [0, 2, 3, 4, 20]])
def test_version_1_is_read_with_checksums_of_four_and_of_eight_bytes(padding: bytes, used: list[int]) -> None:
    source = volume(21, used)
    image, made = read(version_1(source, padding=padding))
    assert made == source.restored()
    assert image.header.version == 1


def test_version_1_is_damaged_where_a_first_byte_is() -> None:
    start = V1.index(b"BiTmAgIc") + 8
    for at in (start, start + BLOCK, start + 3 * (BLOCK + 4), len(V1) - 1):
        damaged = bytearray(V1)
        damaged[at] ^= 1
        assert "does not match" in refused(bytes(damaged))


@pytest.mark.parametrize("data", [V1, V2, version_2(SOURCE, bits=8), version_1(SOURCE, padding=bytes(4))])
def test_an_image_that_is_cut_short_says_so_wherever_it_ends(data: bytes) -> None:
    behind = 4 if data == version_1(SOURCE, padding=bytes(4)) else 0
    for end in (0, 10, 60, 109, 150, 4200, len(data) - behind - 1):
        if end < len(data) - behind:
            assert ("cut short" if end > 15 else "no partclone image") in refused(data[:end])


def test_bytes_come_as_they_come() -> None:
    for step in (1, 7, 511, 4099):
        assert read(V1, step)[1] == read(V2, step)[1] == SOURCE.restored()


def test_long_runs_are_handed_out_in_pieces() -> None:
    source = volume(5, [0, 1, 2, 4], PIECE // 2 + 512)
    assert read(version_2(source, per_checksum=2))[1] == source.restored()
    assert read(version_1(source))[1] == source.restored()


def test_what_follows_the_last_block_is_no_part_of_it() -> None:
    assert read(V2 + bytes(4))[1] == SOURCE.restored()
    assert "goes on" in refused(V2 + bytes(1 << 17))


def sealed(head: bytes) -> bytes:
    return head[:-4] + crc(head[:-4])


def test_headers_that_make_no_sense_are_refused() -> None:
    good = header_2(SOURCE, 3, True, 1, 0x20, 4)
    changed = {
        (30, b"0003"): "not known",
        (34, b"\xc0\xde"): "byte order",
        (60, struct.pack("<Q", 1 << 60)): "not allowed",
        (60, bytes(8)): "not allowed",
        (84, bytes(4)): "not allowed",
        (84, struct.pack("<I", 1 << 30)): "not allowed",
        (88, b"\x13"): "not known",
        (92, b"\x03"): "not known",
        (96, b"\x21"): "not known",
        (98, b"\x08"): "not known",
        (100, bytes(4)): "no blocks",
        (105, b"\x02"): "not known",
    }
    for (at, data), why in changed.items():
        head = good[:at] + data + good[at + len(data) :]
        assert why in refused(sealed(head) + V2[len(good) :])
    assert "checksum does not match" in refused(good[:70] + b"\1" + good[71:] + V2[len(good) :])
    assert "no partclone image" in refused(b"partclone-imag " + good)


def test_a_map_that_is_damaged_is_refused() -> None:
    start = 110
    assert "map of used blocks" in refused(V2[:start] + b"\xff" + V2[start + 1 :])
    at = V1.index(b"BiTmAgIc")
    assert "neither used nor free" in refused(V1[: at - 1] + b"\2" + V1[at:])
    assert "mark at its end" in refused(V1[:at] + b"BiTmAgIk" + V1[at + 8 :])


def test_a_huge_volume_costs_no_memory_before_its_map_has_come() -> None:
    head = bytearray(header_2(SOURCE, 3, True, 1, 0x20, 4))
    head[60:68] = struct.pack("<Q", 1 << 50)
    assert "cut short" in refused(sealed(bytes(head)) + bytes(1000))


@given(st.integers(1, 2), st.integers(0, 5000), st.binary(min_size=1, max_size=9))
@settings(max_examples=150, deadline=None)
def test_nothing_but_a_refusal_comes_of_damage(version: int, at: int, by: bytes) -> None:
    data = {1: V1, 2: V2}[version]
    at %= len(data)
    try:
        read(data[:at] + by + data[at + len(by) :])
    except BadImageError as error:
        assert error.code == "bad-partclone"
