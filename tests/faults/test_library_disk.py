"""A library's own disk is known, whatever the file system is that the library lies on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging import inventory, media
from imaging.disk import Content, Role
from imaging.mounts import disks_beneath_path, kind_beneath
from tests.disks import MIB, blank, looped, run
from tests.matrix.tools import mounted
from tests.unit.builders import a_disk, a_partition, a_table

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


@contextmanager
def btrfs_on_two(folder: Path) -> Iterator[tuple[str, str]]:
    """Two disks that hold one file system, each of them all of it."""
    with (
        looped(blank(folder / "one.img", 160 * MIB)) as one,
        looped(blank(folder / "two.img", 160 * MIB)) as two,
    ):
        run("mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", one, two)
        yield one, two


def test_each_disk_beneath_a_btrfs_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of one of them as that which is mounted."""
    with btrfs_on_two(tmp_path) as (one, two), mounted(("mount",), one) as there:
        (there / "images").mkdir()
        assert {Path(one).name, Path(two).name} <= disks_beneath_path(there / "images")
        disks = [inventory.look(loop, [there / "images"]) for loop in (one, two)]
        for disk in disks:
            assert Role.LIBRARY in disk.roles
            assert str(there) in [mount.where for mount in disk.mounts]
        monkeypatch.setattr(media, "ROOT", there.parent)
        for disk in disks:
            media.detach(disk)
        assert not there.is_mount()
        run("mount", one, there)


def test_a_library_on_several_disks_is_mounted_once_and_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "ROOT", tmp_path / "media")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    partition = a_partition(content=Content(kind="btrfs"))
    disks = [a_disk(path=str(tmp_path / name), table=a_table(partition)) for name in ("one", "two")]
    with btrfs_on_two(tmp_path) as (one, two):
        with mounted(("mount",), one) as there:
            (there / "library.json").touch()
        for disk, loop in zip(disks, (one, two), strict=True):
            Path(f"{disk.path}1").symlink_to(loop)
        media.attach(disks)
        try:
            mount = media.read_only_mount(media.ROOT / "one1")
            assert mount is not None
            media.make_writable(mount)
            (media.ROOT / "one1/written").touch()
        finally:
            for where in media.ROOT.iterdir():
                if where.is_mount():
                    run("umount", where)
