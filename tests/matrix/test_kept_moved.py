"""Files are kept where the system's root does not lie where it lies in the image."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB
from tests.matrix.keptsystems import EXT4_ROOT, NEW, OLD, START, Layout, Used, built, homes
from tests.matrix.tools import require, said
from tests.matrix.volumes import EXT4

pytestmark = pytest.mark.root
BOOT, LESS = 100 * MIB, 40 * MIB
"""Bytes of /boot in the image, and of what the disk lacks: the one can give them."""
IN_LVM = Layout(kind=EXT4, lvm=True)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    require()
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_home_folders_go_to_a_logical_volume_that_comes_nearer_as_boot_becomes_smaller(room: Path) -> None:
    factory, library, disk = room / "factory.img", room / "library", room / "used.img"
    place = built(factory, IN_LVM, NEW, boot=BOOT)
    image = run_rescue("capture", factory, "--library", library, "--json").events[-1]["result"]["image"]
    factory.unlink()
    # The old system has all of the disk, which is smaller than the image's.
    old = built(disk, EXT4_ROOT, OLD, less=LESS - BOOT)
    used = Used(layout=EXT4_ROOT, library=library, image=image, disk=disk, place=old)
    before = homes(used)
    words = ("restore", image, disk, "--library", library, "--shrink")
    (moved,) = run_rescue(*words, "--plan", "--json").json["targets"][0]["shrinkage"]["moved"]
    used.restore("--shrink", "--keep-files", "accounts")
    used = replace(
        used, layout=IN_LVM, place=replace(place, path=disk, start=place.start + moved["to"] - moved["start"])
    )
    after = homes(used)
    assert {path: (one[3:6], one[7]) for path, one in after["anna"].items()} == {
        path: (one[3:6], one[7]) for path, one in before["anna"].items()
    }
    assert after["bob"] == before["bob"]
    said("e2fsck", "-fn", f"{disk}?offset={used.place.start}")
    said("e2fsck", "-fn", f"{disk}?offset={START}")
