"""File systems that are mounted to look into them, while another screen does the same."""

import os
import threading
from pathlib import Path

import pytest

from imaging import media
from imaging.mounts import read_mounts
from tests.faults.world import tmpfs

pytestmark = pytest.mark.root


def _is_mounted(where: Path) -> bool:
    return any(mount.where == str(where) for _, mount in read_mounts())


def test_what_somebody_reads_for_a_moment_is_unmounted_after_it(tmp_path: Path) -> None:
    where = tmp_path / "seen"
    with tmpfs(where, "1m"):
        held = os.open(where, os.O_RDONLY)
        threading.Timer(0.3, os.close, (held,)).start()
        media.close_after_a_look(where)
        # A mount that was only hidden would have gone while it was held.
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(held)
        assert not _is_mounted(where)


def test_what_somebody_reads_for_long_stays_and_is_not_taken_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "_TRIES", 2)
    where = tmp_path / "seen"
    with tmpfs(where, "1m"):
        (where / "file").touch()
        held = os.open(where, os.O_RDONLY)
        try:
            media.close_after_a_look(where)
            assert _is_mounted(where)
            assert (where / "file").exists()
        finally:
            os.close(held)
        media.close_after_a_look(where)
        assert not _is_mounted(where)
        media.close_after_a_look(where)
