"""A system that gets another identity where it lies: what it has in odd places, and what its own program may do."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging import namingfiles, renewing
from imaging.errors import IoError
from imaging.events import Renewed
from imaging.identities import NewIdentity, References, Renamed
from imaging.pipeline import Reporter
from imaging.renewing import Spot
from tests.disks import MIB, blank, run
from tests.matrix import bootable
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import BTRFS, EXT4, FileSystem

pytestmark = pytest.mark.root
_OLD, _NEW = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb", "eeeeeeee-1111-4222-8333-ffffffffffff"
_OLD_VAR, _NEW_VAR = "aaaaaaaa-2222-4222-8333-bbbbbbbbbbbb", "eeeeeeee-2222-4222-8333-ffffffffffff"
_SMALL = {
    "etc/fstab": f"UUID={_OLD} / auto defaults 0 1\n".encode(),
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
    "etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
    "usr/lib/os-release": b"NAME=Small\n",
}


def _volume(place: Place, kind: FileSystem, own: str) -> None:
    with attached(place) as loop:
        said(*kind.make(loop, 512)[:-1], "-U", own, loop)


@contextmanager
def _opened(place: Place, kind: FileSystem) -> Iterator[Path]:
    with attached(place) as loop:
        with mounted(kind.mount, loop) as folder:
            yield folder
        if kind is BTRFS:
            run("btrfs", "device", "scan", "--forget", loop)


def _system(room: Path, kind: FileSystem, plant: Callable[[Path], None]) -> Place:
    """A volume with what is planted in its top folder."""
    place = Place(path=blank(room / "disk.img", kind.size), start=0, size=kind.size)
    _volume(place, kind, _OLD)
    with _opened(place, kind) as folder:
        plant(folder)
    return place


def _renew(
    place: Place, kind: FileSystem, *more: tuple[Spot, Renamed], host_name: str = "", label: str = ""
) -> Renewed:
    spots = [Spot(number=1, start=0, size=place.size, kind=kind.name, label=label), *(spot for spot, _ in more)]
    own = Renamed(number=1, kind=kind.name, old=_OLD, new=_NEW)
    identity = NewIdentity(volumes=(own, *(renamed for _, renamed in more)), host_name=host_name)
    file = os.open(place.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return renewing.renew(identity, spots, file, 512, Reporter(len), threading.Event())
    finally:
        os.close(file)


def _programs(folder: Path, *programs: str) -> None:
    for name in ("proc", "sys", "dev", "run", "boot"):
        (folder / name).mkdir(parents=True)
    for program in programs:
        for word in {program, *(w for w in run("ldd", program).split() if w.startswith("/"))}:
            place = folder / word.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, place)


def _maker(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(f"#!/bin/sh\n{text}\n")
    (folder / path).chmod(0o755)


def test_subvolumes_for_boot_and_var_are_told_like_the_root(room: Path) -> None:
    lines = "".join(f"UUID={_OLD} {where} btrfs subvol={name} 0 0\n" for where, name in _SUBVOLUMES.items())

    def plant(top: Path) -> None:
        for name in _SUBVOLUMES.values():
            run("btrfs", "subvolume", "create", top / name.lstrip("/"))
        bootable.fill(top / "@", {**_SMALL, "etc/fstab": lines.encode()})
        bootable.fill(top / "@boot", {"grub/grub.cfg": f"search --fs-uuid {_OLD}\n".encode()})
        bootable.fill(top / "@var", {"lib/dbus/machine-id": b"x", "lib/dhcp/dhclient.leases": b"x", "lib/kept": b"x"})

    place = _system(room, BTRFS, plant)
    assert _renew(place, BTRFS).not_done == ()
    with _opened(place, BTRFS) as top:
        assert (top / "@/etc/fstab").read_text() == lines.replace(_OLD, _NEW)
        assert (top / "@boot/grub/grub.cfg").read_text() == f"search --fs-uuid {_NEW}\n"
        assert sorted(path.name for path in (top / "@var/lib").rglob("*") if path.is_file()) == ["kept"]


_SUBVOLUMES = {"/": "@", "/boot": "@boot", "/var": "/@var"}


def test_a_var_of_its_own_is_told_like_the_root(room: Path) -> None:
    lines = f"UUID={_OLD} / ext4 defaults 0 1\nUUID={_OLD_VAR} /var ext4 defaults 0 2\n"

    def plant(top: Path) -> None:
        bootable.fill(top, {**_SMALL, "etc/fstab": lines.encode()})

    place = _system(room, EXT4, plant)
    run("truncate", f"--size={2 * EXT4.size}", place.path)
    var = Place(path=place.path, start=EXT4.size, size=EXT4.size)
    _volume(var, EXT4, _OLD_VAR)
    with _opened(var, EXT4) as folder:
        bootable.fill(folder, {"lib/NetworkManager/secret_key": b"x", "lib/kept": b"x"})
    spot = Spot(number=2, start=var.start, size=var.size, kind="ext4")
    renamed = Renamed(number=2, kind="ext4", old=_OLD_VAR, new=_NEW_VAR)
    assert _renew(place, EXT4, (spot, renamed)).not_done == ()
    with _opened(var, EXT4) as folder:
        assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["kept"]


def test_what_is_a_link_is_told_of_and_never_followed(room: Path) -> None:
    outside = room / "fstab"
    outside.write_text(f"UUID={_OLD} / ext4\n")

    def plant(top: Path) -> None:
        bootable.fill(top, _SMALL)
        (top / "etc/fstab").unlink()
        (top / "etc/fstab").symlink_to(outside)
        (top / "etc/hostname").symlink_to(outside)
        os.mkfifo(top / "etc/crypttab")
        (top / "boot").symlink_to(room)

    (room / "grub").mkdir()
    (room / "grub/grub.cfg").write_text(_OLD)
    place = _system(room, EXT4, plant)
    not_done = _renew(place, EXT4, host_name="other").not_done
    assert "/etc/fstab on partition 1 was not looked into, and may name the original" in not_done
    assert "/etc/crypttab on partition 1 was not looked into, and may name the original" in not_done
    assert "the computer is not called other: /etc/hostname is no regular file" in not_done
    assert outside.read_text() == f"UUID={_OLD} / ext4\n"
    assert (room / "grub/grub.cfg").read_text() == _OLD


def test_a_disk_that_is_named_by_its_place_or_label_is_told_of(room: Path) -> None:
    lines = b"LABEL=top / ext4 defaults 0 1\ncryptswap /dev/sda5 /dev/urandom swap\n"

    def plant(top: Path) -> None:
        bootable.fill(top, {**_SMALL, "etc/fstab": lines, "boot/grub/grub.cfg": b"\tlinux /vmlinuz root=/dev/sda1\n"})

    place = _system(room, EXT4, plant)
    assert _renew(place, EXT4, label="top").not_done == tuple(
        f"{path} on partition 1 has {name}, which is the original's while that is attached"
        for path, name in (
            ("/etc/fstab", "LABEL=top"),
            ("/etc/fstab", "/dev/sda5"),
            ("/boot/grub/grub.cfg", "/dev/sda1"),
        )
    )


def test_a_system_without_a_name_gets_one(room: Path) -> None:
    place = _system(room, EXT4, lambda top: bootable.fill(top, _SMALL))
    assert _renew(place, EXT4, host_name="other").not_done == ()
    with _opened(place, EXT4) as folder:
        assert (folder / "etc/hostname").read_text() == "other\n"
        assert (folder / "etc/hostname").stat().st_mode & 0o777 == 0o644


def test_a_system_that_starts_by_itself_without_a_tool_that_is_known_is_told_of(room: Path) -> None:
    place = _system(room, EXT4, lambda top: bootable.fill(top, {**_SMALL, "lib/modules/6.1/kernel": b""}))
    (words,) = _renew(place, EXT4).not_done
    assert "partition 1 has no tool known here that makes its initramfs anew" in words


def test_dracut_makes_one_for_any_computer_and_no_tool_sees_how_this_one_was_started(room: Path) -> None:
    def plant(top: Path) -> None:
        bootable.fill(top, _SMALL)
        _programs(top, "/bin/sh", "/bin/cat")
        _maker(top, "usr/sbin/dracut", 'echo "asked: $*" > /boot/log; cat /proc/cmdline >> /boot/log')

    place = _system(room, EXT4, plant)
    assert _renew(place, EXT4).not_done == ()
    with _opened(place, EXT4) as folder:
        log = (folder / "boot/log").read_text()
    assert log == f"asked: --regenerate-all --force --no-hostonly\nroot=UUID={_NEW} ro\n"


@pytest.mark.parametrize("late", [False, True], ids=["left behind", "hangs"])
def test_nothing_of_the_system_runs_on_behind_its_program(
    room: Path, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    left = "setpriv --pdeathsig clear /bin/sleep 2974"
    ends = f"exec {left}" if late else f"{left} & sleep 1"

    def plant(top: Path) -> None:
        bootable.fill(top, _SMALL)
        _programs(top, "/bin/sh", "/bin/sleep", "/usr/bin/setpriv")
        _maker(top, "usr/sbin/update-initramfs", ends)

    place = _system(room, EXT4, plant)
    monkeypatch.setattr(renewing, "_LONGEST", 3.0)
    if late:
        with pytest.raises(IoError, match="did not end within 3 s") as caught:
            _renew(place, EXT4)
        assert caught.value.code == "no-initramfs"
    else:
        assert _renew(place, EXT4).not_done == ()
    assert said("pgrep", "--full", "sleep 297[4]", accept=(0, 1)) == ""
    loops = json.loads(run("losetup", "--json", "--list", "--output=BACK-FILE") or '{"loopdevices": []}')
    assert str(place.path) not in [one["back-file"] for one in loops["loopdevices"]]
    with attached(place) as loop:
        said("e2fsck", "-f", "-n", loop)


def test_a_loader_that_is_too_large_to_be_looked_into_is_told_of(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = blank(room / "efi.img", 40 * MIB)
    said("mkfs.vfat", "-F", "32", image)
    (room / "linux.efi").write_bytes(_OLD.encode() + bytes(MIB))
    for name in ("::EFI", "::EFI/Linux"):
        said("mmd", "-i", image, name)
    said("mcopy", "-i", image, room / "linux.efi", "::EFI/Linux/linux.efi")
    monkeypatch.setattr(namingfiles, "_MOST_LOADER", MIB)
    with image.open("r+b") as file:
        done = namingfiles.rewrite_fat(file.fileno(), 40 * MIB, References.to({_OLD: _NEW}))
        assert (done.changed, done.passed_over) == ([], ["/EFI/Linux/linux.efi"])
        monkeypatch.undo()
        done = namingfiles.rewrite_fat(file.fileno(), 40 * MIB, References.to({_OLD: _NEW}))
    assert (done.changed, done.passed_over) == (["/EFI/Linux/linux.efi"], [])
    assert _NEW in said("mtype", "-i", image, "::EFI/Linux/linux.efi")
