"""Looking for libraries on disks and in folders."""

from dataclasses import replace
from pathlib import Path

import pytest

from imaging import elsewhere, media
from imaging.disk import Content, Disk, DiskId, Mount, Partition, PartitionTable, Role, TableKind
from imaging.elsewhere import attached, libraries_in, libraries_on
from imaging.errors import BadImageError, RefusedError


def make_library(folder: Path) -> Path:
    """What makes a folder a library."""
    folder.mkdir(parents=True)
    (folder / "library.json").write_text("{}")
    return folder


def make_disk(*kinds: str, path: str = "/dev/sdq") -> Disk:
    """A disk with a partition for each kind of content."""
    parts = tuple(
        Partition(number=n, start=n << 30, size=1 << 30, type="", content=Content(kind=kind))
        for n, kind in enumerate(kinds, 1)
    )
    return Disk(
        path=path,
        id=DiskId(size=100 << 30),
        table=PartitionTable(kind=TableKind.GPT, partitions=parts),
        fingerprint="0",
    )


def test_a_library_is_found_in_the_folder_itself_and_below(tmp_path: Path) -> None:
    deep = make_library(tmp_path / "Backups" / "office" / "2026")
    near = make_library(tmp_path / "rescue-library")
    assert libraries_in(tmp_path) == (near, deep)
    assert libraries_in(deep) == (deep,)


def test_the_search_does_not_follow_links_nor_enter_a_library_nor_go_on_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path / "z")
    make_library(library / "inner")
    (tmp_path / "a").symlink_to(tmp_path)
    make_library(tmp_path / "1/2/3/4/5")
    assert libraries_in(tmp_path) == (library,)
    for number in range(20):
        (tmp_path / f"m{number}").mkdir()
    monkeypatch.setattr(elsewhere, "_MOST_FOLDERS", 10)
    with pytest.raises(BadImageError):
        libraries_in(tmp_path)


def test_a_folder_without_a_library_and_one_that_is_not_there_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match="no image library was found in"):
        libraries_in(tmp_path)
    with pytest.raises(BadImageError, match="there is no folder"):
        libraries_in(tmp_path / "none")


def test_file_systems_are_offered_on_the_live_system_and_what_is_closed_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESCUE_LIVE", "1")
    found = attached([make_disk("crypto_LUKS", "ext4", "swap", "", "LVM2_member", "ntfs")])
    assert [(place.name, bool(place.why_not)) for place in found] == [
        ("sdq2", False),
        ("sdq6", False),
        ("sdq1", True),
        ("sdq5", True),
    ]
    assert found[2].why_not.startswith("it is encrypted: open and mount it")
    assert found[0].node == "/dev/sdq2"


def test_a_file_system_on_a_bare_disk_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_LIVE", "1")
    bare = Disk(
        path="/dev/sdq",
        id=DiskId(size=1 << 30),
        table=PartitionTable(kind=TableKind.NONE),
        content=Content(kind="vfat"),
    )
    (place,) = attached([bare])
    assert (place.name, place.node, place.why_not) == ("sdq", "/dev/sdq", "")


def test_disks_of_a_job_the_boot_medium_and_what_is_in_use_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCUE_LIVE", "1")
    disk = make_disk("ext4")
    assert attached([disk], busy=["/dev/sdq"])[0].why_not == "a job is at work on this disk"
    assert "started from it" in attached([replace(disk, roles=(Role.BOOT_MEDIUM,))])[0].why_not
    assert "in use by dm-0" in attached([replace(disk, holders=("dm-0",))])[0].why_not
    with pytest.raises(RefusedError):
        libraries_on(attached([disk], busy=["/dev/sdq"])[0])


def test_elsewhere_only_what_is_mounted_can_be_looked_into(tmp_path: Path) -> None:
    library = make_library(tmp_path / "images")
    disk = make_disk("ext4", "ext4")
    disk = replace(disk, mounts=(Mount(source="/dev/sdq2", where=str(tmp_path)),))
    mounted, other = attached([disk])
    assert libraries_on(mounted) == (library,)
    assert other.why_not == "it is not mounted: mount it, then look again"


def test_what_is_opened_for_a_look_is_closed_again_where_it_holds_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Path] = []
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setattr(media, "open_for_a_look", lambda _node, _kind: tmp_path)
    monkeypatch.setattr(media, "close_after_a_look", closed.append)
    (place,) = attached([make_disk("ext4")])
    with pytest.raises(BadImageError, match="found in sdq1"):
        libraries_on(place)
    assert closed == [tmp_path]
    library = make_library(tmp_path / "images")
    assert libraries_on(place) == (library,)
    assert closed == [tmp_path]
