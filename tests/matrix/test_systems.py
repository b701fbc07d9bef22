"""Operating systems are found on disks of every kind, and looking for them changes nothing."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from imaging import inventory, peek
from imaging import systems as looking
from imaging.disk import Content, Mount
from imaging.systems import systems
from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition
from tests.matrix import images, volumes
from tests.matrix.lvm import lvm_on, pieces
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import BTRFS, EXT4, NTFS, XFS, FileSystem
from tests.unit.builders import a_disk as a_disk_value

pytestmark = pytest.mark.root

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\n'
NAME = "Debian GNU/Linux 13 (trixie)"
Fill = Callable[[Path], None]


def linux(folder: Path) -> None:
    """As distributions have it: etc/os-release is a link."""
    (folder / "usr/lib").mkdir(parents=True)
    (folder / "etc").mkdir()
    (folder / "usr/lib/os-release").write_text(DEBIAN)
    (folder / "etc/os-release").symlink_to("../usr/lib/os-release")


def windows(folder: Path) -> None:
    """The kernel where Windows has it."""
    (folder / "Windows/System32").mkdir(parents=True)
    (folder / "Windows/System32/ntoskrnl.exe").write_bytes(b"MZ")


def a_disk(path: Path, kind: FileSystem, fill: Fill, *, sector: int = 512) -> Path:
    """A disk with one partition, filled."""
    place = Place(path=path, start=MIB, size=kind.size, sector=sector)
    blank(path, place.size + 2 * MIB)
    row = f"start={MIB // sector}, size={place.size // sector}, type={kind.gpt_type}"
    partition(path, f"label: gpt\nunit: sectors\n{row}\n", sector=sector)
    volumes.make(kind, place)
    with attached(place) as loop:
        with mounted(kind.mount, loop) as folder:
            fill(folder)
        if kind is BTRFS:
            said("btrfs", "device", "scan", "--forget", loop)
    return path


def look(path: Path) -> dict[int, str]:
    """What is found, on a disk that is not changed by it."""
    before = digest(path)
    found = dict(systems(inventory.look(str(path))))
    assert digest(path) == before
    return found


@pytest.mark.parametrize("kind", [EXT4, XFS, BTRFS], ids=lambda kind: kind.name)
def test_linux_is_found_by_its_name(room: Path, kind: FileSystem) -> None:
    assert look(a_disk(room / "disk.img", kind, linux)) == {1: NAME}


def test_linux_is_found_on_a_disk_with_large_sectors(room: Path) -> None:
    path = a_disk(room / "disk.img", EXT4, linux, sector=4096)
    with attached(Place(path=path, start=0, size=0, sector=4096), read_only=True) as loop:
        assert dict(systems(inventory.look(loop))) == {1: NAME}


def test_windows_is_found_by_its_kernel(room: Path) -> None:
    assert look(a_disk(room / "disk.img", NTFS, windows)) == {1: "Windows"}
    assert look(a_disk(room / "other.img", NTFS, lambda folder: (folder / "Windows").mkdir())) == {}


def test_a_system_in_a_btrfs_subvolume_is_found(room: Path) -> None:
    def fill(folder: Path) -> None:
        said("btrfs", "subvolume", "create", folder / "@")
        linux(folder / "@")

    assert look(a_disk(room / "disk.img", BTRFS, fill)) == {1: NAME}


@pytest.mark.parametrize("mounted_itself", ["@", "other", ""])
def test_a_path_from_the_top_of_a_btrfs_is_found_there_alone(room: Path, mounted_itself: str) -> None:
    menu, other = "text:/@/boot/grub/grub.cfg", "text:/root/boot/grub/grub.cfg"

    def fill(folder: Path) -> None:
        for name in ("@", "other"):
            said("btrfs", "subvolume", "create", folder / name)
        for system in (folder, folder / "@", folder / "other"):
            (system / "boot/grub").mkdir(parents=True)
        (folder / mounted_itself / "boot/grub/grub.cfg").write_text("menuentry")
        if mounted_itself:
            said("btrfs", "subvolume", "set-default", folder / mounted_itself)

    path = a_disk(room / "disk.img", BTRFS, fill)
    with attached(Place(path=path, start=MIB, size=BTRFS.size), read_only=True) as loop:
        try:
            with opened_root(loop) as root:
                assert peek.many(root, (menu, other)) == ({menu: "menuentry"} if mounted_itself == "@" else {})
        finally:
            said("btrfs", "device", "scan", "--forget", loop)


@contextmanager
def opened_root(loop: str) -> Iterator[int]:
    """What is mounted of a btrfs by default."""
    root = peek.mounted("btrfs", loop)
    try:
        yield root
    finally:
        os.close(root)


def test_a_file_system_on_the_bare_disk_is_looked_into(room: Path) -> None:
    path = blank(room / "disk.img", EXT4.size)
    place = Place(path=path, start=0, size=EXT4.size)
    volumes.make(EXT4, place)
    with attached(place) as loop, mounted(EXT4.mount, loop) as folder:
        linux(folder)
    assert look(path) == {0: NAME}


def test_a_logical_volume_in_one_piece_is_looked_into(room: Path) -> None:
    path = blank(room / "disk.img", 130 * MIB)
    partition(path, f"label: gpt\nunit: sectors\nstart=2048, size={128 * MIB // 512}, type={EXT4.gpt_type}\n")
    place = Place(path=path, start=MIB, size=128 * MIB)
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", lvm.devices[0])
        lvm.run("vgcreate", "--physicalextentsize=1M", "group", lvm.devices[0])
        lvm.create("group", "swap", 8)
        lvm.create("group", "root", 48)
        (root,) = pieces(lvm, place, "group/root")
    volumes.make(EXT4, root)
    with attached(root) as loop, mounted(EXT4.mount, loop) as folder:
        linux(folder)
    assert look(path) == {1: NAME}


@pytest.mark.parametrize("leads_to", ["/etc/os-release", "../../../../../etc/os-release", "/proc/self/root/etc/passwd"])
def test_no_link_leads_out_of_the_volume(room: Path, leads_to: str) -> None:
    def fill(folder: Path) -> None:
        (folder / "usr/lib").mkdir(parents=True)
        (folder / "usr/lib/os-release").symlink_to(leads_to)

    assert Path("/etc/os-release").exists()
    assert look(a_disk(room / "disk.img", EXT4, fill)) == {}


def test_neither_a_pipe_nor_a_device_is_read(room: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "usr/lib").mkdir(parents=True)
        (folder / "etc").mkdir()
        os.mkfifo(folder / "usr/lib/os-release")
        os.mknod(folder / "etc/os-release", 0o20644, os.makedev(1, 5))

    assert look(a_disk(room / "disk.img", EXT4, fill)) == {}


def test_what_a_hostile_name_says_is_one_short_line(room: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "etc").mkdir()
        (folder / "etc/os-release").write_bytes(b'PRETTY_NAME="Evil\x1b[2J\xff' + b"x" * 100_000 + b'"\n')

    (name,) = look(a_disk(room / "disk.img", EXT4, fill)).values()
    assert name.startswith('"Evil [2J')
    assert name.isprintable()
    assert len(name) <= 60


def test_a_volume_that_cannot_be_mounted_has_no_system(room: Path) -> None:
    path = a_disk(room / "disk.img", EXT4, linux)
    with path.open("r+b") as file:
        file.seek(MIB + 4096)
        file.write(b"\xff" * (EXT4.size - 4096))
    assert look(path) == {}


def test_a_journal_that_waits_is_not_replayed(room: Path) -> None:
    path = a_disk(room / "disk.img", EXT4, linux)
    with attached(Place(path=path, start=MIB, size=EXT4.size)) as loop:
        said("debugfs", "-w", "-R", "feature +needs_recovery", loop)
    assert look(path) == {1: NAME}


def test_a_mounted_volume_is_looked_at_where_it_is_mounted(room: Path) -> None:
    linux(room)
    place = looking.Place(number=1, start=MIB, size=MIB, content=Content(kind="btrfs"))
    mount = Mount(source="/dev/nvme0n1p1", where=str(room))
    disk = a_disk_value(path="/dev/nvme0n1", mounts=(Mount(source="/dev/nvme0n1p1", where="[swap]"), mount))
    assert looking._look(disk, place, 10.0) == NAME
    assert looking._look(disk, replace(place, number=2), 10.0) == ""


def test_the_kernel_forgets_a_btrfs_that_was_looked_into(room: Path) -> None:
    path = a_disk(room / "disk.img", BTRFS, linux)
    assert look(path) == {1: NAME}
    copy = path.with_name("copy.img")
    said("cp", "--sparse=always", path, copy)
    assert look(copy) == {1: NAME}
    with attached(Place(path=copy, start=MIB, size=BTRFS.size), read_only=True) as loop:
        with mounted(BTRFS.mount_read_only, loop) as folder:
            assert (folder / "usr/lib/os-release").read_text() == DEBIAN
        said("btrfs", "device", "scan", "--forget", loop)


def test_an_image_says_which_system_is_in_it(room: Path) -> None:
    path = a_disk(room / "disk.img", EXT4, linux)
    captured = images.capture(path, room / "library")
    assert [volume["system"] for volume in captured.manifest["volumes"]] == [NAME]
    said = run_rescue("show", captured.image, "--library", room / "library")
    assert f"System      {NAME}" in said.out


def test_nothing_is_run_from_the_folder_that_one_is_in(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_disk(room / "disk.img", EXT4, linux)
    trap = room / "imaging"
    trap.mkdir()
    for name in ("__init__", "peek", "ctypes", "struct"):
        (trap / f"{name}.py").write_text("print('etc/os-release\\nNAME=Trapped')\nraise SystemExit\n")
        (room / f"{name}.py").write_text("print('etc/os-release\\nNAME=Trapped')\nraise SystemExit\n")
    monkeypatch.chdir(room)
    assert dict(systems(inventory.look(str(path)))) == {1: NAME}
