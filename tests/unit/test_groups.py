"""Volumes that are one of several, and words for what is stored whole."""

import struct
from pathlib import Path

import pytest

from imaging import groups
from imaging.disk import Content, Disk, Partition
from imaging.doubts import BTRFS_SUPER
from imaging.errors import IoError
from imaging.manifest import Volume
from imaging.opaque import why_whole
from tests.unit import test_lvm
from tests.unit.builders import MIB, a_disk, a_partition


def super_block(devices: int = 2, device: bytes = b"d" * 16, group: bytes = b"f" * 16) -> bytes:
    """A btrfs super block, as far as it is read."""
    block = bytearray(4096)
    struct.pack_into("<32x16s16x8s", block, 0, group, b"_BHRfS_M")
    struct.pack_into("<Q", block, 0x88, devices)
    block[0xC9 + 66 : 0xC9 + 82] = device
    block[0x12B : 0x12B + 4] = b"POOL"
    return bytes(block)


def part(folder: Path, name: str, kind: str, *pieces: tuple[int, bytes]) -> tuple[Disk, Partition]:
    """A partition of a disk file, with some bytes at offsets of the partition."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(MIB + test_lvm.SIZE)
        for at, data in pieces:
            file.seek(MIB + at)
            file.write(data)
    return a_disk(path=str(path)), a_partition(size=test_lvm.SIZE, content=Content(kind=kind))


def btrfs(folder: Path, name: str, block: bytes) -> tuple[Disk, Partition]:
    """A partition with a btrfs super block."""
    return part(folder, name, "btrfs", (BTRFS_SUPER, block))


def test_all_devices_of_a_btrfs_together_lack_nothing(tmp_path: Path) -> None:
    both = [btrfs(tmp_path, "sda", super_block()), btrfs(tmp_path, "sdb", super_block(device=b"e" * 16))]
    assert groups.incomplete(both) == {}
    assert groups.incomplete([btrfs(tmp_path, "sdc", super_block(devices=1))]) == {}


def test_a_device_alone_the_same_twice_or_one_of_another_btrfs_is_not_enough(tmp_path: Path) -> None:
    one = btrfs(tmp_path, "sda", super_block())
    stranger = btrfs(tmp_path, "sdb", super_block(device=b"e" * 16, group=b"g" * 16))
    words = groups.incomplete([one])[("sda", 1)]
    assert words.startswith("btrfs POOL spans 2 devices, and only 1 of them is captured here")
    assert set(groups.incomplete([one, stranger])) == {("sda", 1), ("sdb", 1)}
    assert set(groups.incomplete([one, btrfs(tmp_path, "sdc", super_block())])) == {("sda", 1), ("sdc", 1)}


def test_a_volume_group_with_a_missing_disk_is_told(tmp_path: Path) -> None:
    found = groups.incomplete([part(tmp_path, "sda", "LVM2_member", *test_lvm.Disk().pieces)])
    assert found[("sda", 1)].startswith("volume group vg spans 2 devices, and only 1 of them")


@pytest.mark.parametrize("kind", ["btrfs", "LVM2_member"])
def test_what_cannot_be_understood_is_passed_over(kind: str, tmp_path: Path) -> None:
    gone = (a_disk(path=str(tmp_path / "gone")), a_partition(content=Content(kind=kind)))
    assert groups.incomplete([part(tmp_path, "sda", kind), gone]) == {}


def test_a_super_block_of_something_else_is_refused() -> None:
    with pytest.raises(IoError):
        groups.btrfs_member(bytes(4096))


def test_what_is_missing_is_noted_beside_what_the_note_says_already() -> None:
    volumes = tuple(
        Volume(number=i, start=0, size=1, used=1, map_origin="whole", note=note)
        for i, note in enumerate(("its journal", "", "other"))
    )
    noted = groups.noted("sda", volumes, {("sda", 0): "one of two", ("sda", 1): "one of three"})
    assert [volume.note for volume in noted] == ["its journal; one of two", "one of three", "other"]


def test_what_is_stored_whole_says_why() -> None:
    assert why_whole("crypto_LUKS") == "it is encrypted with LUKS, and what is encrypted compresses poorly"
    assert "have to be captured together" in why_whole("linux_raid_member")
    assert why_whole("new_kind") == "new_kind is not known to this program"
    assert why_whole("") == "nothing known stands on it"
