"""A library's own disk is known, whatever the file system is that the library lies on."""

from pathlib import Path

import pytest

from imaging.mounts import disks_beneath_path, kind_beneath
from tests.disks import MIB, blank, looped, run
from tests.matrix.tools import mounted

pytestmark = pytest.mark.root


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_the_disk_beneath_a_folder_is_known(kind: str, tmp_path: Path) -> None:
    """btrfs gives its files, and those of each subvolume, other device numbers than it is mounted by."""
    with looped(blank(tmp_path / "medium.img", 160 * MIB)) as loop:
        run(f"mkfs.{kind}", "-q", loop)
        with mounted(("mount",), loop) as there:
            folders = [there / "images", there / "images/not there yet"]
            folders[0].mkdir()
            if kind == "btrfs":
                run("btrfs", "subvolume", "create", there / "below")
                folders.append(there / "below")
            for folder in folders:
                assert kind_beneath(folder) == kind
                assert loop.removeprefix("/dev/") in disks_beneath_path(folder)
