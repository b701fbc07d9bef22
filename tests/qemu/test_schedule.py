"""A machine with LVM that runs: its timer's service captures it from a snapshot while files are written."""

import json
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank
from tests.matrix.lvm import lvm_on, pieces
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import EXT4

from .machine import BOOT, JOB, STEP, started
from .terminal import ENTER
from .test_backup import ROOM, START, usb_disk
from .test_own_disk import done
from .used import to_write_to

_DISK = 400 * MIB
_GROUP = (66 * MIB, 333 * MIB)
_SETUP = (
    "printf 'label: gpt\\nstart=2048, size=65M\\nsize=333M, type=lvm\\n' | sfdisk --quiet /dev/vda; udevadm settle",
    "mkfs.ext4 -q -F /dev/vda1 && mkdir -p /boot && mount /dev/vda1 /boot && echo kernel > /boot/vmlinuz",
    # An installed Linux has LVM's rules, which the recovery system leaves out.
    "rm /etc/udev/rules.d/56-lvm.rules /etc/udev/rules.d/69-lvm.rules; udevadm control --reload",
    "pvcreate -q /dev/vda2 && vgcreate -q -s 1m pc /dev/vda2",
    "lvcreate -q --yes -n root -L 100m pc && lvcreate -q --yes -n swap -L 16m pc && mkswap -q /dev/pc/swap",
    "swapon /dev/pc/swap && mkfs.ext4 -q -F /dev/pc/root && mkdir /pc && mount /dev/pc/root /pc",
    "mkdir /pc/old && for i in 1 2 3 4 5; do head -c 2M /dev/urandom > /pc/old/$i; done",
    "(cd /pc/old && sha256sum ? > ../sums) && sync",
    f"mkdir /backup; {to_write_to('/dev/disk/by-label/BACKUP', '/backup')}",
    "rescue library init /backup/images",
)
_WRITER = (
    "(n=0; while :; do n=$((n+1)); head -c 200k /dev/urandom > /pc/new.$((n % 40)); echo $n > /pc/count; "
    "echo $n > /boot/count; sync; sleep 1; done) & writer=$!"
)


@pytest.mark.qemu
@pytest.mark.thorough
@pytest.mark.root
def test_a_running_machine_is_captured_as_it_was_at_one_moment(stick: Path, tmp_path: Path) -> None:
    disk, backup = blank(tmp_path / "pc.img", _DISK), usb_disk(tmp_path / "backup.img")
    with started(tmp_path / "pc", firmware="bios", stick=stick, disk=disk, usb_disk=backup, bus="virtio") as machine:
        terminal = machine.terminal
        terminal.wait_for("Restore an image", timeout=BOOT)
        terminal.press("s")
        terminal.wait_for("root@rescue", timeout=STEP)
        for command in _SETUP:
            done(terminal, command, 0, timeout=JOB)
        words = "--library /backup/images --every daily --keep-last 1"
        done(terminal, f"rescue schedule set vda {words}", 0, timeout=JOB)
        done(terminal, "systemctl is-active rescue-schedule.timer", 0)
        terminal.press(_WRITER, ENTER)
        done(terminal, "systemctl start rescue-schedule.service", 0, JOB)
        done(terminal, "rescue schedule show", 0)
        done(terminal, 'test -z "$(lvs --noheadings -o lv_name pc | grep still)"', 0)
        done(
            terminal, "kill $writer; wait; cp /pc/count /boot/last; rescue schedule show --json > /backup/show.json", 0
        )
        done(terminal, "umount /backup /pc /boot; swapoff -a; vgchange -an pc", 0)
        terminal.press("exit", ENTER)
        terminal.wait_for("Restore an image", timeout=STEP)
        machine.power_off_from_the_menu()
    _prove(disk, backup, tmp_path)


def _prove(disk: Path, backup: Path, folder: Path) -> None:
    """The image is there; restored, each file system is in order, with what was there at that moment."""
    target = blank(folder / "target.img", _DISK)
    with attached(Place(path=backup, start=START, size=ROOM)) as loop, mounted(EXT4.mount, loop) as there:
        shown = json.loads((there / "show.json").read_text())
        (image,) = run_rescue("images", "--library", there / "images", "--json").json["images"]
        assert (shown["success"]["image"], shown["failure"], shown["overdue"]) == (image["id"], None, False)
        assert [volume["map_origin"] for volume in image["disks"][0]["volumes"]] == ["rescue", "lvm"]
        run_rescue("restore", image["id"], target, "--library", there / "images", "--erase", target.name)
    place = Place(path=target, start=_GROUP[0], size=_GROUP[1])
    with lvm_on(place, read_only=True) as lvm:
        assert [line.split("|")[0] for line in lvm.report("lvs", "lv_name", "--all")] == ["root", "swap"]
        (root,) = pieces(lvm, place, "pc/root")
    boot = Place(path=target, start=MIB, size=65 * MIB)
    last = _count(Place(path=disk, start=MIB, size=65 * MIB), "last")
    for volume in (root, boot):
        with attached(volume, read_only=True) as loop:
            said("e2fsck", "-f", "-n", loop)
        assert 0 < _count(volume, "count") < last
    with attached(root, read_only=True) as loop, mounted(EXT4.mount_read_only, loop) as files:
        said("sh", "-c", f"cd {files}/old && sha256sum --check --quiet ../sums")


def _count(place: Place, name: str) -> int:
    with attached(place, read_only=True) as loop, mounted(("mount", "-o", "ro,noload"), loop) as files:
        return int((files / name).read_text())
