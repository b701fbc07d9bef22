"""What lies beneath a folder, where one of its folders cannot be listed."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from imaging.durable import beneath


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a folder whose disk fails, as a reparse point of NTFS does, and a link that leads back."""
    for name in ("whole", "failing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "whole" / "back").symlink_to(tmp_path)
    real = os.scandir

    def scandir(path: Any) -> Any:
        if os.fspath(path).endswith("failing"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return tmp_path


def test_a_folder_that_cannot_be_listed_is_passed_over_or_an_error(folder: Path) -> None:
    assert sorted(str(path.relative_to(folder)) for path in beneath(folder, all_of_it=False)) == [
        "failing",
        "whole",
        "whole/back",
        "whole/file",
    ]
    with pytest.raises(OSError, match="Input/output error"):
        list(beneath(folder))


def test_there_is_nothing_beneath_a_folder_that_is_not_there(folder: Path) -> None:
    assert list(beneath(folder / "absent")) == []
