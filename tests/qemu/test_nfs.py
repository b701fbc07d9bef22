"""In QEMU: a backup to an NFS server that starts anew in the middle of it, a restore from there, a share that is full.

The server is Linux' own, in a machine beside.
"""

import random
import shutil
from pathlib import Path

import pytest

from imaging.errors import ExitStatus
from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run

from . import nfsserver
from .conftest import Sample
from .machine import BOOT, JOB, STEP, started
from .terminal import DOWN, ENTER, SerialTerminal
from .test_orders import place_of
from .test_places import HERE, fill_in, type_address, wait_for_the_end

SHARE = f"/run/rescue/shares/{HERE}{nfsserver.FOLDER.replace('/', '-')}"
LABEL, TOO_MUCH = "To the server", "More than it has room for"
START, ROOM, SIZE = 1 * MIB, 40 * MIB, 48 * MIB
EXPORT = 36 * MIB
"""Of which one disk's files, of 20 MiB, leave less than another's need."""

# Mounted by the command, in a folder of its own: all is read from the server, and nothing that is still in memory.
SCRIPT = """\
exec > /run/said 2>&1
rescue unmount-share {share} && mkdir /run/nfs && rescue mount-share {address} /run/nfs --write
grep /run/nfs /proc/mounts
library=/run/nfs/rescue-library
image=$(ls $library/images)
rescue verify $image --library $library
echo "verify: $?"
rescue restore $image /dev/vdb --library $library --yes --erase vdb
echo "restore: $?"
# What was said is written to where room was kept for it.
dd if=/dev/zero of=/run/nfs/said bs=64k count=1 conv=fsync status=none
rescue capture /dev/vdc --library $library --label "{too_much}"
echo "capture: $?"
rescue images --library $library
dd if=/run/said of=/run/nfs/said conv=notrunc,fsync status=none
umount /run/nfs
"""


def disk_of_files(path: Path) -> Path:
    """A disk with a volume of files that no other has, and that cannot be stored in fewer bytes."""
    files = path.with_suffix(".files")
    files.mkdir()
    for number in range(5):
        (files / f"paper {number}").write_bytes(random.Random(f"{path.name} {number}").randbytes(4 * MIB))
    blank(path, SIZE)
    partition(path, f"label: gpt\nstart={START // 512}, size={ROOM // 512}\n")
    run("mkfs.ext4", "-q", "-L", "PAPERS", "-d", files, "-E", f"offset={START}", path, f"{ROOM // 1024}k")
    return path


def stick_with(stick: Path, folder: Path, script: str) -> Path:
    """A copy of the stick that carries a script, for no shell is typed into as fast as it reads."""
    own, text, commands = folder / "stick.img", folder / "script", folder / "script.debugfs"
    run("cp", "--sparse=always", stick, own)
    text.write_text(script)
    commands.write_text(f"write {text} script\n")
    run("debugfs", "-w", "-f", commands, place_of(own, 3))
    return own


def back_up(terminal: SerialTerminal, server: nfsserver.Nfs) -> None:
    """From the main menu and back to it; the server starts anew while the backup is at work."""
    terminal.press("2")
    terminal.wait_for_cursor("> [ ] vda", timeout=STEP)  # neither of the disks has a system
    terminal.press(" ")
    terminal.wait_for_cursor("> [x] vda", timeout=STEP)
    terminal.press(ENTER)
    terminal.wait_for_cursor("> /run/rescue/images/rescue-library", timeout=STEP)
    terminal.press(DOWN)
    terminal.wait_for_cursor("> A network share ..", timeout=STEP)
    terminal.press(ENTER)
    server.wait_until_up()
    type_address(terminal, "Which network share?", server.address(HERE))
    terminal.wait_for_cursor(f"> {SHARE}/rescue-library", timeout=STEP)
    terminal.press(ENTER)
    fill_in(terminal, ("Label:", LABEL))
    terminal.wait_for_cursor("[ Start the backup ]", timeout=STEP)
    server.interrupt()
    terminal.press(ENTER)
    wait_for_the_end(terminal)
    server.wait_until_interrupted()


def read_it_all(terminal: SerialTerminal) -> None:
    """In the shell; back to the main menu."""
    terminal.press("s")
    terminal.wait_for("root@rescue", timeout=STEP)
    terminal.press("clear; sh /run/rescue/images/script; tail -n 9 /run/said; echo EN''DED", ENTER)
    terminal.wait_for("ENDED", timeout=JOB)
    terminal.press("exit", ENTER)
    terminal.wait_for("Restore an image", timeout=STEP)


@pytest.mark.qemu
@pytest.mark.thorough
def test_a_computer_is_backed_up_to_an_nfs_server_that_starts_anew_meanwhile_and_restored_from_it(
    stick: Path, sample: Sample, tmp_path: Path
) -> None:
    own, second = disk_of_files(tmp_path / "own.img"), blank(tmp_path / "second.img", SIZE)
    third, before = disk_of_files(tmp_path / "third.img"), shutil.copy(own, tmp_path / "before.img")
    with nfsserver.serving(sample, tmp_path / "nfs", EXPORT) as server:
        script = SCRIPT.format(share=SHARE, address=server.address(HERE), too_much=TOO_MUCH)
        with started(
            tmp_path / "run",
            firmware="bios",
            stick=stick_with(stick, tmp_path, script),
            disk=own,
            bus="virtio",
            network={},
            more=[f"--disk={second}", f"--disk={third}"],
        ) as machine:
            terminal = machine.terminal
            terminal.wait_for("Restore an image", timeout=BOOT)
            terminal.wait_for("/run/rescue/images/rescue-library", timeout=STEP)
            back_up(terminal, server)
            read_it_all(terminal)
            machine.power_off_from_the_menu()
        server.end()
    run("cmp", own, before)
    served = tmp_path / "served"
    served.mkdir()
    run("debugfs", "-R", f"rdump / {served}", server.disk)
    said = (served / "said").read_text().rstrip("\0")
    # Of a newer version, the reads of some servers are wrong: imaging/nfsshares.py.
    assert "vers=4.1" in said, said
    assert "verify: 0" in said, said
    assert "restore: 0" in said, said
    assert "the disk is full" in said, said
    assert f"capture: {ExitStatus.IO_FAILURE}" in said, said
    listed = said.partition("capture: ")[2]
    assert LABEL in listed, said
    assert TOO_MUCH not in listed, said
    library = served / "rescue-library"
    (image,) = run_rescue("images", "--library", library, "--json").json["images"]
    assert image["label"] == LABEL
    for disk in (own, second):
        run_rescue("verify", image["id"], "--library", library, "--against", disk)
    for number in range(5):
        file, papers = f"/paper {number}", f"{second}?offset={START}"
        run("debugfs", "-R", f'dump "{file}" {tmp_path / "found"}', papers)
        run("cmp", tmp_path / "found", tmp_path / f"own.files{file}")
