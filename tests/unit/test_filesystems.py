"""Whether file systems were unmounted cleanly, from the structures that say so."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging import ntfs
from imaging.disk import Content
from imaging.errors import IoError
from imaging.filesystems import doubt

_CLUSTER = 4096
_LOG = 5 * _CLUSTER
_SIZE = 8 * _CLUSTER
_NO_CLIENT = 0xFFFF


@contextmanager
def _memory(data: bytes) -> Iterator[int]:
    fd = os.memfd_create("volume")
    try:
        os.pwrite(fd, data, 0)
        yield fd
    finally:
        os.close(fd)


def _doubted(kind: str, data: bytes) -> str:
    with _memory(data) as fd:
        found = doubt(fd, 0, Content(kind=kind))
    return found.why if found else ""


def _restart_page(number: int, in_use: int, flags: int) -> bytes:
    page = bytearray(4096)
    struct.pack_into("<4s12xIIH", page, 0, b"RSTR", 4096, 4096, 0x30)
    struct.pack_into("<QHHHH", page, 0x30, number, 1, _NO_CLIENT, in_use, flags)
    return bytes(page)


def _ntfs(*pages: bytes) -> bytearray:
    """A volume with its log's record in cluster 1, and the log in cluster 5."""
    volume = bytearray(_SIZE)
    struct.pack_into("<HB", volume, 0x0B, 512, 8)
    struct.pack_into("<Q", volume, 0x30, 1)
    struct.pack_into("<b", volume, 0x40, -10)
    at = _CLUSTER + 2 * 1024
    struct.pack_into("<4sHH", volume, at, b"FILE", 0x30, 3)
    struct.pack_into("<H", volume, at + 0x14, 0x38)
    struct.pack_into("<II", volume, at + 0x38, 0x80, 0x48)
    volume[at + 0x38 + 8] = 1
    struct.pack_into("<H", volume, at + 0x38 + 0x20, 0x40)
    volume[at + 0x78 : at + 0x7B] = bytes([0x11, 2, 5])
    for i, page in enumerate(pages):
        volume[_LOG + i * 4096 : _LOG + (i + 1) * 4096] = page
    return volume


EMPTIED = b"\xff" * 4096
OPEN = _restart_page(7, 0, 0)


@pytest.mark.parametrize(
    ("pages", "closed"),
    [
        ((EMPTIED, EMPTIED), True),
        ((OPEN, OPEN), False),
        ((_restart_page(7, _NO_CLIENT, 0), OPEN), True),
        ((_restart_page(8, 0, 2), OPEN), True),
        ((OPEN, _restart_page(8, _NO_CLIENT, 0)), True),
        ((_restart_page(6, _NO_CLIENT, 0), OPEN), False),
        ((bytes(4096), bytes(4096)), False),
        ((EMPTIED, OPEN), True),
    ],
)
def test_the_newer_restart_page_says_if_the_ntfs_log_is_closed(pages: tuple[bytes, ...], closed: bool) -> None:
    assert ("its log is open" in _doubted("ntfs", bytes(_ntfs(*pages)))) is not closed


def test_an_ntfs_volume_whose_log_cannot_be_found_is_doubted() -> None:
    assert "its state cannot be read" in _doubted("ntfs", bytes(_SIZE))
    far = _ntfs(OPEN)
    struct.pack_into("<Q", far, 0x30, 2**64 - 1)
    assert "its state cannot be read" in _doubted("ntfs", bytes(far))


@given(st.lists(st.tuples(st.integers(0, _SIZE - 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6))
def test_damaged_ntfs_structures_raise_nothing_but_io_errors(damage: list[tuple[int, bytes]]) -> None:
    volume = _ntfs(OPEN, OPEN)
    for at, data in damage:
        volume[at : at + len(data)] = data
    _expect_answer_or_io_error(bytes(volume))


@given(
    st.tuples(st.sampled_from([0x0B, 0x0D, 0x30, 0x40, 0x1804, 0x1814, 0x1838, 0x1858, 0x1878]), st.binary(max_size=9)),
    st.integers(0, _SIZE),
)
def test_truncated_and_hostile_ntfs_fields_raise_nothing_but_io_errors(field: tuple[int, bytes], size: int) -> None:
    volume = _ntfs(OPEN, OPEN)
    volume[field[0] : field[0] + len(field[1])] = field[1]
    _expect_answer_or_io_error(bytes(volume[:size]))
    _expect_answer_or_io_error(bytes(volume))


def _expect_answer_or_io_error(volume: bytes) -> None:
    with _memory(volume) as fd:
        doubt(fd, 0, Content(kind="ntfs"))

    def read(at: int, size: int) -> bytes:
        if at + size > len(volume):
            raise IoError("past the end")
        return volume[at : at + size]

    try:
        ntfs.log_is_closed(read)
    except IoError:
        return


def test_an_exfat_volume_marked_dirty_is_doubted() -> None:
    boot = bytearray(512)
    assert _doubted("exfat", bytes(boot)) == ""
    boot[106] = 2
    assert "marked as dirty" in _doubted("exfat", bytes(boot))


@pytest.mark.parametrize(
    ("header", "clean"),
    [(b"H+\0\4\0\0\1\0", True), (b"HX\0\5\x80\0\x21\0", True), (b"H+\0\4\0\0\0\0", False), (b"BD\0\0\0\0\1\0", False)],
)
def test_an_hfsplus_volume_not_shown_to_be_unmounted_is_doubted(header: bytes, clean: bool) -> None:
    assert ("not unmounted cleanly" in _doubted("hfsplus", bytes(1024) + header.ljust(512, b"\0"))) is not clean


def _f2fs(*packs: tuple[int, int, int]) -> bytes:
    """Two checkpoint packs: the version that begins and that which ends each, and its flags."""
    volume = bytearray((512 + 512 + 512) * 4096)
    struct.pack_into("<I", volume, 1024 + 20, 9)
    struct.pack_into("<I", volume, 1024 + 76, 512)
    for i, (begins, ends, flags) in enumerate(packs):
        at = (512 + 512 * i) * 4096
        struct.pack_into("<Q", volume, at, begins)
        struct.pack_into("<II", volume, at + 132, flags, 8)
        struct.pack_into("<Q", volume, at + 7 * 4096, ends)
    return bytes(volume)


@pytest.mark.parametrize(
    ("packs", "clean"),
    [
        (((5, 5, 1), (4, 4, 0)), True),
        (((5, 5, 0), (4, 4, 1)), False),
        (((5, 4, 1), (4, 4, 0)), False),
        (((5, 3, 1), (4, 2, 1)), False),
    ],
)
def test_an_f2fs_volume_whose_last_whole_checkpoint_is_no_unmount_is_doubted(
    packs: tuple[tuple[int, int, int], ...], clean: bool
) -> None:
    assert ("not unmounted cleanly" in _doubted("f2fs", _f2fs(*packs))) is not clean


def test_an_f2fs_super_block_that_makes_no_sense_is_doubted() -> None:
    assert "its state cannot be read" in _doubted("f2fs", bytes(4096))
