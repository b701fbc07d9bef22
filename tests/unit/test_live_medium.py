"""How the recovery medium is laid out, and what its boot menus have in common."""

import re
import uuid
from pathlib import Path

import pytest

from livebuild.hybrid import render_table
from livebuild.partitions import MIB, Partition, PartitionType, Placed
from livebuild.stick import images_start

LIVE_IMAGE = Path(__file__).parents[2] / "live-image"
DISK_ID = uuid.UUID("5d0d3c1c-4f6d-4b8b-9a56-9e5c6f2f7f0e")
MENUS = ("grub.cfg", "network.cfg")


@pytest.mark.parametrize("system", [1, 135 * MIB, 64 * MIB - 1, 192 * MIB, 191 * MIB + 1])
def test_images_start_on_a_round_place_with_room_for_a_larger_system(system: int) -> None:
    start = images_start(system)
    assert start % (64 * MIB) == 0
    assert 128 * MIB <= start - system < (128 + 64) * MIB


def test_the_table_names_each_partition_by_an_id_that_comes_from_the_disks() -> None:
    live = Placed(partition=Partition(kind=PartitionType.LINUX, name="RESCUE", size=100 * 2048), start=64 * 512)
    script = render_table([live], disk_id=DISK_ID)
    # Right behind the table, and of a size that is no whole MiB: the ISO says both.
    assert "first-lba: 64\n" in script
    assert "start=64, size=400, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4" in script
    assert f"uuid={uuid.uuid5(DISK_ID, 'RESCUE')}, name=RESCUE" in script


@pytest.mark.parametrize("menu", MENUS)
def test_each_entry_of_a_boot_menu_has_a_key_that_it_tells(menu: str) -> None:
    text = (LIVE_IMAGE / "boot" / menu).read_text()
    entries = re.findall(r'^ *(?:menuentry|submenu) "([^"]+)"(?: --id=(\w+) --hotkey=(\w))', text, re.MULTILINE)
    assert len(entries) > 5
    for title, _name, key in entries:
        assert title == "Rescue" or title.endswith(f"(key {key})")
    # A key may stand in both halves of a choice between firmwares, under the same name.
    assert len({key for _title, _name, key in entries}) == len({name for _title, name, _key in entries})
