"""What is known of the holes of a disk file that is written to."""

import os
from pathlib import Path

import pytest

from imaging.writer import opened

MIB = 1 << 20


def sparse(path: Path, *data: int) -> str:
    """A file of 64 MiB with a MiB of data at each of these MiBs."""
    with path.open("wb") as file:
        file.truncate(64 * MIB)
        for at in data:
            file.seek(at * MIB)
            file.write(b"x" * MIB)
    return str(path)


def test_a_hole_is_where_no_byte_was_written(tmp_path: Path) -> None:
    with opened(sparse(tmp_path / "disk.img", 8, 40), regular_file=True) as target:
        holes = [at for at in range(0, 64, 4) if target.is_hole(at * MIB, (at + 4) * MIB)]
        assert holes == [at for at in range(0, 64, 4) if at not in (8, 40)]
        assert not target.is_hole(6 * MIB, 10 * MIB)
        assert not target.is_hole(8 * MIB, 16 * MIB)
        assert not target.is_hole(60 * MIB, 68 * MIB), "what lies beyond the file is no hole of it"


def test_holes_are_found_in_whatever_order_they_are_asked_for(tmp_path: Path) -> None:
    with opened(sparse(tmp_path / "disk.img", 20), regular_file=True) as target:
        assert target.is_hole(32 * MIB, 64 * MIB)
        assert target.is_hole(0, 20 * MIB)
        assert not target.is_hole(16 * MIB, 21 * MIB)
        assert target.is_hole(60 * MIB, 64 * MIB)


def test_a_file_system_that_tells_no_holes_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(22, "Invalid argument")

    with opened(sparse(tmp_path / "disk.img"), regular_file=True) as target:
        monkeypatch.setattr(os, "lseek", refuse)
        assert not target.is_hole(0, 4 * MIB)


def test_the_end_of_a_hole_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    seek = os.lseek

    def noted(fd: int, offset: int, whence: int) -> int:
        asked.append(offset)
        return seek(fd, offset, whence)

    with opened(sparse(tmp_path / "disk.img"), regular_file=True) as target:
        monkeypatch.setattr(os, "lseek", noted)
        assert all(target.is_hole(at * MIB, (at + 4) * MIB) for at in range(0, 64, 4))
    assert len(asked) == 1
