"""What the marks on disks say of restores that were cut off."""

from dataclasses import replace
from pathlib import Path

import pytest

from imaging.disk import Disk, DiskId, Role
from imaging.errors import RefusedError
from imaging.keptfiles import KeepRule
from imaging.library import Library
from imaging.manifest import ImagedDisk, encode
from imaging.resuming import cut_off, plan_completion, plan_undoing, rules_of, targets_of
from imaging.unfinished import MEDIUM, Manner, parse_manner, render
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table, an_image, an_imaged_disk


def begun(name: str = "sda", *, source: str = "sda", disks: int = 1, image: str = "new", saved: str = "old") -> Disk:
    """A disk that bears the mark of a restore."""
    manner = Manner(version=1, disk=source, disks=disks)
    identity = DiskId(size=GIB, serial=name)
    return a_disk(path=f"/dev/{name}", id=identity, unfinished=image, saved=saved, manner=manner)


def test_each_disk_that_bears_a_mark_was_cut_off() -> None:
    found = cut_off([a_disk(path="/dev/sdx"), begun("sda"), begun("sdb", saved="")])
    assert [(cut.names, cut.can_be_undone) for cut in found] == [(("sda",), True), (("sdb",), False)]


def test_disks_that_were_restored_together_are_one() -> None:
    found = cut_off([begun("sdb", source="b", disks=2), begun("sdc", image="other"), begun("sda", source="a", disks=2)])
    assert [cut.names for cut in found] == [("sdb", "sda"), ("sdc",)]
    image = an_image(disks=(an_imaged_disk(name="a"), an_imaged_disk(name="b")))
    assert {name: disk.name for name, disk in targets_of(found[0], image).items()} == {"a": "sda", "b": "sdb"}


def test_two_computers_disks_from_one_image_are_not_one() -> None:
    found = cut_off([begun("sda", source="a", disks=2), begun("sdb", source="a", disks=2)])
    assert [cut.names for cut in found] == [("sda",), ("sdb",)]


def test_what_is_being_brought_back_cannot_be_undone() -> None:
    (cut,) = cut_off([begun(image="old", saved="old")])
    assert not cut.can_be_undone


def test_partitions_that_bear_a_mark_are_named() -> None:
    parts = (
        a_partition(1, unfinished="new", saved="old"),
        a_partition(2, start=200 * MIB),
        a_partition(3, start=400 * MIB, unfinished="new", saved="old"),
    )
    manner = Manner(version=1, disk="sda", partitions=((1, 1), (2, 2), (3, 3)))
    (cut,) = cut_off([a_disk(table=a_table(*parts), manner=manner)])
    assert (cut.names, cut.image, cut.saved) == (("sda1", "sda3"), "new", "old")


def test_what_was_restored_beside_the_recovery_partition_is_told() -> None:
    """The computer was started from that, and not from a stick."""
    parts = (a_partition(1, unfinished="new", saved="old"), a_partition(2, start=200 * MIB))
    disk = a_disk(table=a_table(*parts), roles=(Role.BOOT_MEDIUM,), kept=2)
    assert [cut.names for cut in cut_off([disk])] == [("sda1",)]


@pytest.mark.parametrize("disk", [begun(image=MEDIUM), replace(begun(), roles=(Role.BOOT_MEDIUM,))])
def test_a_recovery_medium_is_no_reset(disk: Disk) -> None:
    assert cut_off([disk]) == []


def test_what_a_newer_program_began_is_left_to_it() -> None:
    (cut,) = cut_off([replace(begun(), manner=Manner(version=2))])
    with pytest.raises(RefusedError, match="newer version of Rescue"):
        plan_completion(cut, [])


def test_what_the_mark_has_no_room_for_is_not_called_newer() -> None:
    manner = parse_manner(render("new", manner=Manner(disk="x" * 120)))
    (cut,) = cut_off([replace(begun(), manner=manner)])
    with pytest.raises(RefusedError, match="it has no room on the disk"):
        plan_completion(cut, [])


def test_partitions_of_several_disks_are_not_one_restore() -> None:
    marked = (a_partition(1, unfinished="new", saved="old"),)
    manners = [Manner(version=1, disk=name, disks=2, partitions=((1, 1),)) for name in ("a", "b")]
    disks = [
        a_disk(path=f"/dev/{name}", id=DiskId(size=GIB, serial=name), table=a_table(*marked), manner=manner)
        for name, manner in zip(("sda", "sdb"), manners, strict=True)
    ]
    assert [cut.names for cut in cut_off(disks)] == [("sda1",), ("sdb1",)]


def library_of(folder: Path, *disks: ImagedDisk, image: str) -> Path:
    """A library with one image."""
    found = Library.create(folder)
    place = folder / "images" / image
    place.mkdir(parents=True)
    (place / "manifest.json").write_bytes(encode(an_image(id=image, disks=disks)))
    return found.path


def test_one_disk_of_several_is_not_brought_back_alone(tmp_path: Path) -> None:
    """The other one is complete, and holds the new system."""
    disks = [an_imaged_disk(name=name, id=DiskId(size=GIB, serial=name)) for name in ("sda", "sdb")]
    library = library_of(tmp_path / "library", *disks, image="old")
    (cut,) = cut_off([begun("sda", disks=2)])
    with pytest.raises(RefusedError, match="comes back on all of them or none"):
        plan_undoing(cut, [library])


def test_files_that_are_in_no_library_here_are_told_before_anything_is_planned(tmp_path: Path) -> None:
    library = library_of(tmp_path / "library", an_imaged_disk(name="sda", id=DiskId(size=GIB)), image="new")
    manner = Manner(version=1, disk="sda", safety="1a2b3c4d /mnt/nas/images")
    (cut,) = cut_off([replace(begun(), keeps=("homes",), manner=manner)])
    with pytest.raises(RefusedError, match=r"image old holds the files .* it was in library 1a2b3c4d /mnt/nas/images"):
        plan_completion(cut, [library])
    assert plan_completion(cut, [library], files=False).image == "new"


def test_what_came_straight_says_from_where() -> None:
    manner = Manner(version=1, straight=True, library="/mnt/2019-saved")
    (cut,) = cut_off([replace(begun(), manner=manner)])
    with pytest.raises(RefusedError, match="straight from /mnt/2019-saved"):
        plan_completion(cut, [])


def test_the_image_that_is_needed_and_its_library_are_named() -> None:
    manner = Manner(version=1, disk="sda", library="1a2b3c4d /mnt/nas/images")
    (cut,) = cut_off([replace(begun(), manner=manner)])
    with pytest.raises(RefusedError, match=r"image new is needed .* it was in library 1a2b3c4d /mnt/nas/images"):
        plan_completion(cut, [])


def test_rules_come_back_and_unknown_ones_are_refused() -> None:
    assert rules_of(replace(begun(), keeps=("homes", "accounts"))) == (KeepRule.HOMES, KeepRule.ACCOUNTS)
    with pytest.raises(RefusedError, match="was to keep dreams"):
        rules_of(replace(begun(), keeps=("homes", "dreams")))
