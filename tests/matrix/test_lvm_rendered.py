"""A volume group that is rendered from LVM's backup of it, as LVM's own tools see it."""

import re
from pathlib import Path

import pytest

from imaging import lvm, lvmgroup, lvmrender
from imaging.errors import BadImageError
from tests.disks import MIB, blank
from tests.matrix.lvm import lvm_on
from tests.matrix.tools import Place

pytestmark = pytest.mark.root


def test_lvms_tools_find_the_group_that_its_backup_describes(room: Path) -> None:
    places = [Place(path=room / name, start=0, size=size * MIB) for name, size in (("one", 40), ("two", 24))]
    for place in places:
        blank(place.path, place.size)
    with lvm_on(*places) as tools:
        for device in tools.devices:
            tools.run("pvcreate", "-ff", "-y", "-q", device)
        tools.run("vgcreate", "-s", "1m", "group", *tools.devices)
        tools.create("group", "first", 5, tools.devices[0])
        tools.create("group", "wide", 30, *tools.devices)
        tools.run("lvextend", "--extents=9", "group/first", tools.devices[0])
        text = room / "backup"
        tools.run("vgcfgbackup", "-f", text, "group")
        wanted = [tools.report("lvs", "lv_name,lv_size,lv_uuid,seg_start,seg_pe_ranges", "--segments", "--units=b")]
        wanted += [tools.report(name, fields) for name, fields in FIELDS]
        names = tools.devices
    group = lvmgroup.parse_group(text.read_text())
    new = [Place(path=place.path.with_suffix(".new"), start=0, size=place.size) for place in places]
    by_id = {pv.id: pv.key for pv in group.physical}
    for old, place in zip(places, new, strict=True):
        data = old.path.read_bytes()
        label = lvm.read_label(lambda at, size, data=data: data[at : at + size], old.size)  # type: ignore[misc]
        blank(place.path, place.size)
        with place.path.open("r+b") as file:
            for at, piece in lvmrender.physical_volume(text.read_text(), by_id[label.id], place.size):
                file.seek(at)
                file.write(piece)
    with lvm_on(*new) as tools:
        found = [tools.report("lvs", "lv_name,lv_size,lv_uuid,seg_start,seg_pe_ranges", "--segments", "--units=b")]
        found += [tools.report(name, fields) for name, fields in FIELDS]
        for command in (("pvck", *tools.devices), ("vgck", "group")):
            tools.run(*command)
        renamed = dict(zip(tools.devices, names, strict=True))
    assert [sorted(_renamed(line, renamed) for line in lines) for lines in found] == wanted


FIELDS = (
    ("vgs", "vg_name,vg_uuid,vg_size,vg_extent_size,vg_seqno,lv_count,pv_count,vg_attr"),
    ("pvs", "pv_uuid,pv_size,pv_used,pe_start,dev_size,vg_name,pv_attr"),
)


def _renamed(line: str, names: dict[str, str]) -> str:
    """All at once: the devices of the two groups may have changed places."""
    return re.sub(r"/dev/loop\d+", lambda name: names[name.group()], line)


def test_a_group_that_its_device_cannot_hold_is_refused(room: Path) -> None:
    place = Place(path=room / "one", start=0, size=40 * MIB)
    blank(place.path, place.size)
    with lvm_on(place) as tools:
        tools.run("pvcreate", "-ff", "-y", "-q", *tools.devices)
        tools.run("vgcreate", "-s", "1m", "group", *tools.devices)
        tools.run("vgcfgbackup", "-f", room / "backup", "group")
    with pytest.raises(BadImageError, match="does not fit"):
        lvmrender.physical_volume((room / "backup").read_text(), "pv0", 39 * MIB)
