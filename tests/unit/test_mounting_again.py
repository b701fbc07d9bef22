"""A file system that the kernel does not mount at the first try."""

import os
from typing import Any

import pytest

from imaging import newmounts, systemroot
from imaging.errors import IoError


@pytest.mark.parametrize(("kind", "failures", "mounts"), [("btrfs", 2, True), ("btrfs", 3, False), ("ext4", 1, False)])
def test_btrfs_is_tried_again_and_no_other(
    monkeypatch: pytest.MonkeyPatch, kind: str, failures: int, mounts: bool
) -> None:
    left, forgotten = failures, []

    def detached(*_: Any, **__: Any) -> int:
        nonlocal left
        if left:
            left -= 1
            raise IoError("fsconfig: Invalid argument")
        return os.open("/", os.O_RDONLY)

    monkeypatch.setattr(newmounts, "detached", detached)
    monkeypatch.setattr(systemroot, "forget", lambda *device: forgotten.append(device))
    monkeypatch.setattr(systemroot, "_PAUSE", 0)
    try:
        with systemroot.mounted("/dev/loop9", kind, "a system", writable=False) as mount:
            os.fstat(mount)
        mounted = True
    except IoError:
        mounted = False
    assert mounted is mounts
    assert set(forgotten) == ({(kind, "/dev/loop9")} if kind == "btrfs" or mounts else set())
