"""Where a path leads in a system's root that is mounted elsewhere."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging.keptfiles import RootPlace
from imaging.rootlinks import may_be_there
from imaging.systemroot import SystemRoot


@pytest.fixture
def root(tmp_path: Path) -> Iterator[SystemRoot]:
    """A root in the folder @ of its file system, with usr/bin/bash in it."""
    top = tmp_path / "@"
    (top / "usr/bin").mkdir(parents=True)
    (top / "usr/bin/bash").write_text("shell")
    (tmp_path / "outside").write_text("no part of the system")
    mount = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    place = RootPlace(number=1, start=0, size=1, kind="btrfs", folder="@")
    yield SystemRoot(place=place, mount=mount, apart=("/opt", "/var/local"))
    os.close(mount)


@pytest.mark.parametrize(
    ("links", "path", "is_there"),
    [
        ({}, "/usr/bin/bash", True),
        ({}, "/usr/bin/zsh", False),
        ({}, "/usr/bin/bash/more", False),
        ({"bin": "usr/bin"}, "/bin/bash", True),
        ({"usr/sbin": "bin"}, "/usr/sbin/bash", True),
        ({"usr/sbin": "bin", "sbin": "usr/sbin"}, "/sbin/bash", True),
        ({"bin": "/usr/bin", "usr/bin/sh": "/bin/bash"}, "/bin/sh", True),
        ({"bin": "/usr/bin", "usr/bin/zsh": "/etc/alternatives/zsh"}, "/bin/zsh", False),
        ({"usr/bin/sh": "../../usr/./bin/bash"}, "//usr/bin/sh", True),
        ({"usr/bin/sh": "../../../outside"}, "/usr/bin/sh", False),
        ({"usr/bin/sh": "../../../../usr/bin/bash"}, "/usr/bin/sh", True),
        ({"usr/a": "b", "usr/b": "a"}, "/usr/a/bash", False),
        ({}, "/opt/zsh", True),
        ({"usr/local": "../var/local"}, "/usr/local/zsh", True),
        ({}, "/usr/bin/\0", False),
    ],
)
def test_links_are_followed_wherever_they_are_and_never_out(
    root: SystemRoot, tmp_path: Path, links: dict[str, str], path: str, is_there: bool
) -> None:
    for name, target in links.items():
        (tmp_path / "@" / name).symlink_to(target)
    assert may_be_there(root, path) is is_there
