"""A USB disk as shops sell it, with NTFS: what one job has stored there, the next one finds."""

from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.matrix.tools import Place, attached, mounted, require
from tests.matrix.volumes import NTFS

from .machine import BOOT, JOB, STEP, started
from .terminal import ENTER
from .test_own_disk import done

pytestmark = [pytest.mark.qemu, pytest.mark.root, pytest.mark.thorough]

START, ROOM = 1 * MIB, 300 * MIB
MEDIUM = "/run/rescue/media/sdb1"
LIBRARY = f"{MEDIUM}/rescue-library"


def usb_disk(path: Path) -> Place:
    """An empty disk with one volume of NTFS."""
    partition(blank(path, ROOM + 2 * MIB), f"label: dos\nstart={START // 512}, size={ROOM // 512}, type=7\n")
    place = Place(path=path, start=START, size=ROOM)
    with attached(place) as loop:
        run(*NTFS.make(loop, 512))
    return place


def small_computer(path: Path) -> Path:
    """A disk with one volume of ext4."""
    partition(blank(path, 64 * MIB), "label: gpt\nstart=2048, size=50M\n")
    run("mkfs.ext4", "-q", "-E", f"offset={MIB}", path, f"{50 << 10}")
    return path


def test_one_job_after_the_other_stores_on_it(stick: Path, tmp_path: Path) -> None:
    require(("mkntfs", "ntfs-3g"))
    disk, usb = small_computer(tmp_path / "pc.img"), usb_disk(tmp_path / "usb.img")
    with started(tmp_path / "run", firmware="bios", stick=stick, disk=disk, usb_disk=usb.path, bus="virtio") as machine:
        terminal = machine.terminal
        terminal.wait_for("rescue-library", timeout=BOOT)
        terminal.press("s")
        terminal.wait_for("root@rescue", timeout=STEP)
        done(terminal, f"until mountpoint {MEDIUM}; do sleep 1; done", 0)
        done(terminal, f"rescue capture /dev/vda --library {LIBRARY} --label First", 0, timeout=JOB)
        done(terminal, f"mountpoint {MEDIUM}", 0)
        done(terminal, f"rescue capture /dev/vda --library {LIBRARY} --label Second", 0, timeout=JOB)
        done(terminal, f"rescue verify --all --library {LIBRARY}", 0, timeout=JOB)
        terminal.press("exit", ENTER)
        terminal.wait_for("Restore an image", timeout=STEP)
        machine.power_off_from_the_menu()
    with attached(usb, read_only=True) as loop, mounted(NTFS.mount_read_only, loop) as there:
        library = there / "rescue-library"
        images = run_rescue("images", "--library", library, "--json").json["images"]
        assert {image["label"] for image in images} == {"First", "Second"}
        for image in images:
            run_rescue("verify", image["id"], "--library", library, "--against", disk)
