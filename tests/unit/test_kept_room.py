"""Whether files that are kept have room in a file system that becomes smaller."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from imaging import keeping
from imaging.errors import RefusedError
from imaging.plan import RestoreTarget, Shrinkage
from tests.unit.builders import GIB, MIB, a_disk, an_imaged_disk

_BEFORE, _AFTER = 100 * GIB, 50 * GIB


def _look(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """1000 of its inodes are free, of 1600, and half of it goes away."""
    state = SimpleNamespace(f_bfree=99 << 18, f_frsize=4096, f_files=1600, f_ffree=1000)
    monkeypatch.setattr(os, "fstatvfs", lambda _: state)
    kept: Any = SimpleNamespace(files=files, folders=0, size=MIB)
    new: Any = SimpleNamespace(mount=0, place=SimpleNamespace(number=2))
    shrinkage = Shrinkage(partition=2, start=MIB, old_size=_BEFORE, size=_AFTER, kind="ext4")
    pair = RestoreTarget(source=an_imaged_disk(), target=a_disk(), shrinkage=shrinkage)
    keeping._refuse_no_room(kept, pair, new)


def test_a_file_system_that_becomes_smaller_can_hold_fewer_files(monkeypatch: pytest.MonkeyPatch) -> None:
    _look(monkeypatch, 200)
    with pytest.raises(RefusedError, match="201 files are to be kept, and the restored file system can hold 200 more"):
        _look(monkeypatch, 201)
