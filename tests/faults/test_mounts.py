"""What is mounted is seen, whatever folders, files and disks are called."""

import os
from pathlib import Path

import pytest

from imaging import inventory
from imaging.mounts import Beneath, backing_file, beneath, device_number, disks_beneath, files_beneath, read_mounts
from tests.disks import MIB, blank, looped
from tests.faults.world import tmpfs

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    "name", ["Fotos\u30002026", "a\u00a0b", "a\u2028b", "a\x85b", "a\fb", "a b\tc\nd\\e", "\udcff"]
)
def test_a_folder_is_mounted_whatever_blanks_its_name_has(tmp_path: Path, name: str) -> None:
    """As one that is called by a disk's label: only ASCII's blanks are escaped by the kernel."""
    where = tmp_path / name
    with tmpfs(where, "1m"):
        there = beneath(where / "images")
        assert isinstance(there, Beneath)
        assert (there.where, there.root, there.kind) == (str(where), "/", "tmpfs")
        assert [mount.read_only for _, mount in read_mounts() if mount.where == str(where)] == [False]


@pytest.mark.parametrize("name", [b"a\xff.img", b" b.img ", "c\u2028.img".encode()])
def test_a_loop_device_shows_its_file_whatever_that_is_called(tmp_path: Path, name: bytes) -> None:
    file = blank(tmp_path / os.fsdecode(name), MIB)
    with looped(file) as loop:
        assert files_beneath(loop) == (file,)
        assert Path(loop).name in disks_beneath(device_number(loop))
        assert inventory.look(str(file)).holders == (Path(loop).name,)
    assert backing_file(tmp_path) is None
