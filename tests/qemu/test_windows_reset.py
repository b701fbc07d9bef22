"""A disk that Windows has laid out is reset with people's files kept, starts as far as the firmware's hand-over, and is
put back; and one that is wiped before holds nothing of what it held.
"""

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from tests.disks import MIB, blank, run
from tests.matrix import bootable, windows
from tests.matrix.tools import Place
from tests.matrix.windows import ESP, account, opened, people, person, use, written

from .machine import BOOT, CHECKOUT, DISK_SERIAL, JOB, SERIAL_NUMBER, STEP, Machine, started
from .terminal import ENTER
from .test_mounted import PROMPT, open_the_shell

pytestmark = [pytest.mark.qemu, pytest.mark.root]
ROOM = 1024 * MIB
WIPED_SERIAL = f"{SERIAL_NUMBER}-2"
# A stand-in for Windows' loader: it looks for C: by its files, as that does by its list, and prints what it finds.
_CONFIG = """\
search.file /Windows/System32/ntoskrnl.exe root
echo Windows is looked for
cat /Windows/which.txt
cat /Users/anna/which.txt
echo that is all
sleep 9999
"""
_MODULES = ("ntfs", "search_fs_file", "echo", "cat", "sleep")


def laid_out(disk: Path) -> Place:
    """A disk as Windows lays it out, with a stand-in for its loader where Windows has it, and nowhere else."""
    place = windows.disk(disk)
    with opened(place, writable=True) as top:
        windows.windows(top, b"factory")
        written(top / "Windows/which.txt", b"this Windows is the factory one\n")
    efi = {
        "EFI/Microsoft/Boot/bootmgfw.efi": bootable.loader(_CONFIG, also=_MODULES),
        "EFI/Microsoft/Boot/BCD": b"regf",
    }
    with TemporaryDirectory() as name:
        bootable.fill(Path(name), efi)
        run("mcopy", "-s", "-i", f"{disk}@@{MIB}", Path(name, "EFI"), "::")
    return place


def use_it(place: Place, marker: bytes) -> None:
    """What a person does to it; the marker is in files, one of them deleted, and where no file system is."""
    with opened(place, writable=True) as top:
        written(top / "Windows/which.txt", b"this Windows is the used one\n")
        home = person(top / "Users", "anna", account(1000, 1001))
        use(home, account(1000, 1001))
        written(home / "which.txt", b"anna was here\n")
        written(home / "Documents/secret.txt", marker * 5000)
        written(top / "gone.txt", marker * 5000).unlink()
        windows.date(home)
    with place.path.open("r+b") as file:
        file.seek(MIB + ESP + MIB)
        file.write(marker)


@contextmanager
def shell_of(stick: Path, folder: Path, disks: list[Path], variables: Path) -> Iterator[Machine]:
    """The stick's shell on a machine with these disks, the library on the last one of them."""
    disk, *others = disks
    more = [f"--uefi-variables={variables}", *(f"--disk={other}" for other in others)]
    with started(folder, firmware="uefi", stick=stick, disk=disk, serial_number=SERIAL_NUMBER, more=more) as machine:
        open_the_shell(machine)
        terminal = machine.terminal
        terminal.press("disk() { lsblk -dnpro NAME,SERIAL | sed -n s/.RESCUE-TEST-$1//p; }", ENTER)
        terminal.press(f"clear; mkdir /w; mount $(disk {len(disks)}) /w; ls /w", ENTER)
        terminal.wait_for("library", timeout=STEP)
        yield machine
        terminal.press("clear; sync; umount /w; systemctl poweroff", ENTER)
        machine.wait_for_power_off()


def ended(machine: Machine, command: str) -> str:
    """What a job says at its end."""
    terminal, which = machine.terminal, secrets.token_hex(3)  # the end of the one before may still be on the screen
    terminal.press(f"clear; {command} --library /w/library | tail -n 18; echo EN''DED-{which}", ENTER)
    terminal.wait_for(f"ENDED-{which}", timeout=JOB)
    terminal.wait_for(PROMPT, timeout=STEP)
    return terminal.text


def hands_over(folder: Path, disk: Path, variables: Path, *words: str) -> str:
    """Start the machine from the disk: its firmware finds the loader, and that finds C:, with these words there."""
    more = [f"--uefi-variables={variables}"]
    with started(folder, firmware="uefi", disk=disk, serial_number=SERIAL_NUMBER, more=more) as machine:
        for word in ("Windows is looked for", *words, "that is all"):
            machine.terminal.wait_for(word, timeout=BOOT)
        return machine.terminal.text


def test_windows_is_reset_with_people_s_files_kept_and_put_back(stick: Path, tmp_path: Path) -> None:
    disk, wiped, work, folder = (tmp_path / name for name in ("disk.img", "wiped.img", "work.img", "folder"))
    variables, marker = tmp_path / "variables", secrets.token_bytes(32)
    place = laid_out(disk)
    captured = run(CHECKOUT / ".venv/bin/rescue", "capture", disk, "--library", folder / "library", "--json")
    image = json.loads(captured.splitlines()[-1])["result"]["image"]
    run("mkfs.ext4", "-q", "-d", folder, blank(work, ROOM))
    shutil.rmtree(folder)
    use_it(place, marker)
    run("cp", "--sparse=always", disk, wiped)
    run("sfdisk", "--quiet", "--part-uuid", wiped, 1, uuid4())  # an entry of the firmware means one partition alone
    before = people(place, ("anna", "Public"))
    assert wiped.read_bytes().count(marker) > 5000

    with shell_of(stick, tmp_path / "reset", [disk, wiped, work], variables) as machine:
        said = ended(machine, f"rescue restore {image} $(disk 1) --keep-files --erase {DISK_SERIAL}")
        assert "Kept: " in said, said
        said = ended(machine, f"rescue restore {image} $(disk 2) --wipe overwrite --erase {WIPED_SERIAL}")
        assert "restored, read back and verified" in " ".join(said.split()), said
    assert people(place, ("anna", "Public")) == before
    assert marker not in wiped.read_bytes()
    with opened(place.on(wiped)) as top:
        assert (top / "Windows/which.txt").read_text() == "this Windows is the factory one\n"
        assert not (top / "Users/anna").exists()
    hands_over(tmp_path / "started", disk, variables, "this Windows is the factory one", "anna was here")

    with shell_of(stick, tmp_path / "undo", [disk, work], variables) as machine:
        ended(machine, f"rescue undo --erase {DISK_SERIAL}")
    assert people(place, ("anna", "Public")) == before
    hands_over(tmp_path / "again", disk, variables, "this Windows is the used one", "anna was here")
