"""Data of a file copied where nobody tells its holes: zeros become some, and all else stays in its place."""

from pathlib import Path

import pytest

from imaging import filedata

_PIECE = 64 << 10


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (b"", 0),
        (bytes(5 * _PIECE + 3), 0),
        (bytes(_PIECE) + b"x" + bytes(_PIECE), _PIECE),
        (b"x" * 100 + bytes(3 * _PIECE) + b"y" * 100, _PIECE + 200),
        (b"x" * (4 << 20) + bytes(4 << 20) + b"y", (4 << 20) + 1),
    ],
)
def test_zeros_become_holes(tmp_path: Path, data: bytes, written: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    steps: list[tuple[int, int]] = []

    def passed(size: int, moved: int) -> None:
        steps.append((size, moved))

    with source.open("rb") as one, target.open("wb") as other:
        assert filedata.copy(one.fileno(), other.fileno(), passed, zeros_are_holes=True) == written
    assert target.read_bytes() == data
    assert sum(size for size, _ in steps) == len(data)
    assert sum(moved for _, moved in steps) == written
