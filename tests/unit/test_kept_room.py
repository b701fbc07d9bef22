"""Whether files that are kept have room in a file system that becomes smaller."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from imaging import keeping
from imaging.changes import Shrinkage
from imaging.disk import Content
from imaging.errors import RefusedError
from imaging.restoreplans import RestoreTarget
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table, an_imaged_disk

_BEFORE, _AFTER = 100 * GIB, 50 * GIB


def _look(
    monkeypatch: pytest.MonkeyPatch, files: int, *, block: int = 4096, inodes: int = 1000, names: int = 0
) -> None:
    """Of its 1600 inodes 1000 are free, and half of it goes away."""
    state = SimpleNamespace(f_bfree=99 * GIB // block, f_frsize=block, f_files=inodes * 8 // 5, f_ffree=inodes)
    monkeypatch.setattr(os, "fstatvfs", lambda _: state)
    kept: Any = SimpleNamespace(files=files, folders=0, size=MIB)
    new: Any = SimpleNamespace(mount=0, place=SimpleNamespace(number=2))
    shrinkage = Shrinkage(partition=2, start=MIB, old_size=_BEFORE, size=_AFTER, kind="ext4")
    pair = RestoreTarget(source=an_imaged_disk(), target=a_disk(), shrinkage=shrinkage)
    keeping._refuse_no_room(kept, pair, new, names)


def test_a_file_system_that_becomes_smaller_can_hold_fewer_files(monkeypatch: pytest.MonkeyPatch) -> None:
    _look(monkeypatch, 200)
    with pytest.raises(RefusedError, match="201 files are to be kept, and the restored file system can hold 200 more"):
        _look(monkeypatch, 201)


def test_another_name_of_a_file_takes_no_inode(monkeypatch: pytest.MonkeyPatch) -> None:
    _look(monkeypatch, 900_000, names=899_800, block=64 << 10)
    with pytest.raises(RefusedError, match="201 files are to be kept"):
        _look(monkeypatch, 900_000, names=899_799)


def test_each_file_takes_a_block_however_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    _look(monkeypatch, 900_000, inodes=10_000_000)
    with pytest.raises(RefusedError, match="the files to be kept need"):
        _look(monkeypatch, 900_000, inodes=10_000_000, block=64 << 10)


@pytest.mark.parametrize(("own", "named"), [("ntfs", ["sda1", "sda4"]), ("ext4", ["sda2"])])
def test_a_system_of_the_other_kind_is_named_as_not_kept(own: str, named: list[str]) -> None:
    kinds = ("xfs", "ntfs", "vfat", "LVM2_member", own)
    partitions = [a_partition(n, n * 100 * MIB, content=Content(kind=kind)) for n, kind in enumerate(kinds, start=1)]
    pair = RestoreTarget(source=an_imaged_disk(), target=a_disk(table=a_table(*partitions)))
    old: Any = SimpleNamespace(windows=own == "ntfs", place=SimpleNamespace(number=5))
    assert list(keeping._other_systems(pair, old)) == named
