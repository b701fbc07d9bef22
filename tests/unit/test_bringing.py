"""What of a system that is carried over is told to another one's files."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging import machinefiles
from imaging.bringing import Bringing
from imaging.keptfiles import RootPlace
from imaging.pipeline import Reporter
from imaging.systemroot import SystemRoot

HOSTS = "127.0.0.1 localhost\n127.0.1.1 factory.lan factory\n"


@contextmanager
def a_root(folder: Path) -> Iterator[SystemRoot]:
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/hosts").write_text(HOSTS)
    mount = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    yield SystemRoot(place=RootPlace(number=1, start=0, size=1, kind="ext4"), mount=mount)
    os.close(mount)


@pytest.mark.parametrize(
    ("image", "kept", "hosts"),
    [
        ("factory\n", "annas\n", HOSTS.replace("factory", "annas")),
        ("factory\n", "# set by bob\n\n  annas \nmore\n", HOSTS.replace("factory", "annas")),
        ("# by the factory\nfactory\n", "annas\n", HOSTS.replace("factory", "annas")),
        ("factory\n", "# annas\n", HOSTS),
        ("factory\n", "annas computer\n", HOSTS),
        ("factory\n", "annas\\1\n", HOSTS),
        ("factory\n", "\0\0\0\0\n", HOSTS),
        ("factory\n", f"{'a' * 65}\n", HOSTS),
        ("the_factory\n", "annas_pc\n", HOSTS),
        ("factory\n", "annas_pc\n", HOSTS.replace("factory", "annas_pc")),
        ("# factory\n", "annas\n", HOSTS),
        ("127.0.1.1 factory.lan\n", "annas\n", HOSTS),
    ],
)
def test_hosts_has_the_name_that_is_kept_where_it_is_one(tmp_path: Path, image: str, kept: str, hosts: str) -> None:
    with a_root(tmp_path / "old") as old, a_root(tmp_path / "new") as new:
        name = tmp_path / "new/etc/hostname"
        name.write_text(image)
        work = Bringing(old, new, Reporter(len), threading.Event())
        name.write_text(kept)
        work.take_over_host_name()
    assert (tmp_path / "new/etc/hosts").read_text() == hosts
    assert name.read_text() == kept


def test_a_computer_that_gets_a_name_of_its_own_has_it_in_hosts_in_place_of_one_with_a_comment(tmp_path: Path) -> None:
    with a_root(tmp_path / "system") as root:
        (tmp_path / "system/etc/hostname").write_text("# by the factory\nfactory\n")
        machinefiles.make_anew(root, "pc-7")
    assert (tmp_path / "system/etc/hosts").read_text() == HOSTS.replace("factory", "pc-7")
