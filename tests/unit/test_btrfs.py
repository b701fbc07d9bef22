"""What is known of a btrfs before it is mounted, and how its least size is found."""

import errno
import os
import struct
from collections.abc import Sequence

import pytest

from imaging import btrfs, peek
from imaging.btrfs import least, parse_super
from imaging.errors import IoError
from tests.unit.builders import GIB, MIB


def _super(*, devices: int = 1, flags: int = 0) -> bytes:
    block = bytearray(4096)
    block[0x40:0x48] = b"_BHRfS_M"
    for at, form, values in ((0x38, "<Q", (flags,)), (0x88, "<QI", (devices, 4096)), (0xC9, "<QQ", (7, GIB))):
        struct.pack_into(form, block, at, *values)
    return bytes(block)


def test_the_super_block_tells_of_its_device() -> None:
    found = parse_super(_super())
    assert (found.devices, found.own_id, found.size, found.sector, found.seed) == (1, 7, GIB, 4096, False)
    assert parse_super(_super(devices=3)).devices == 3
    assert parse_super(_super(flags=1 << 32)).seed


@pytest.mark.parametrize("block", [b"", bytes(4096), _super()[:1000]])
def test_what_is_no_super_block_is_told(block: bytes) -> None:
    with pytest.raises(IoError) as caught:
        parse_super(block)
    assert caught.value.code == "bad-super-block"


@pytest.mark.parametrize("real", [100 * MIB, 101 * MIB, 300 * MIB - 1, 300 * MIB, 999 * MIB, GIB])
def test_the_least_size_is_found_by_halves_and_was_tried(real: int) -> None:
    tried: list[tuple[int, bool]] = []

    def fits(size: int) -> bool:
        tried.append((size, size >= real))
        return size >= real

    found = least(fits, 100 * MIB, GIB, MIB)
    assert real <= found < real + MIB or found == 100 * MIB
    assert (found, True) in tried or found == GIB
    assert len(tried) <= 12


def test_what_is_wanted_is_tried_first_and_alone_where_it_fits() -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return True

    assert least(fits, 300 * MIB, GIB, MIB) == 300 * MIB
    assert tried == [300 * MIB]


def test_a_newer_copy_that_the_kernel_knows_of_does_not_keep_the_older_one_from_being_mounted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As before Linux 6.7; what is mounted is never forgotten."""
    done: list[str] = []

    def mounted(_kind: str, loop: str, **_: object) -> int:
        done.append(f"mount {loop}")
        if "--forget" not in done:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def scan(argv: Sequence[str], **_: object) -> None:
        done.append(" ".join(argv[3:]) or "all")

    monkeypatch.setattr(peek, "mounted", mounted)
    monkeypatch.setattr(btrfs, "run", scan)
    with pytest.raises(IoError, match="cannot mount it"), btrfs.mounted("/dev/loop9", 1):
        pass
    assert done == ["mount /dev/loop9", "--forget", "mount /dev/loop9", "all", "--forget /dev/loop9"]
