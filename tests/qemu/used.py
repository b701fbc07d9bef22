"""A sample machine that was used: an account, files, a program more, a file less; and the stick's shell beside it."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.matrix.tools import Place, attached, mounted

from .machine import SERIAL_NUMBER, STEP, Machine, started
from .terminal import ENTER
from .test_mounted import open_the_shell

ROOM = 2048 * MIB
START, SIZE = MIB, ROOM - 2 * MIB
"""Where the file system of the library's disk lies."""
ADDED, DELETED, ANNA = "usr/local/bin/added", "etc/debian_version", 1500
LIBRARY = "/w/rescue-library"
"""Where the shell has the library of the other disk."""
DISK = "disk() { lsblk -dnpro NAME,SERIAL | sed -n s/.RESCUE-TEST-$1//p; }"
MOUNT = "clear; mkdir /w; mount $(disk 2)1 /w; ls /w"


@contextmanager
def root_of(disk: Path, *, writable: bool = False) -> Iterator[Path]:
    """The root file system of a sample machine's disk."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    (part,) = (part for part in table["partitions"] if part["name"] == "root")
    place = Place(path=disk, start=part["start"] * 512, size=part["size"] * 512)
    with attached(place) as loop, mounted(("mount", "-t", "ext4", "-o", "rw" if writable else "ro"), loop) as top:
        yield top


def use(disk: Path) -> None:
    """What a person does to a computer: an account, files, a program more, a file less."""
    with root_of(disk, writable=True) as top:
        for name, line in (
            ("passwd", f"anna:x:{ANNA}:{ANNA}::/home/anna:/bin/bash\n"),
            ("shadow", "anna:*:1::::::\n"),
            ("group", f"anna:x:{ANNA}:\n"),
        ):
            with (top / "etc" / name).open("a") as file:
                file.write(line)
        home = top / "home/anna"
        (home / "Letters").mkdir(parents=True)
        for number in range(300):
            (home / "Letters" / f"{number}.txt").write_text(f"letter {number}\n" * number)
        (home / "film").write_bytes((top / "vmlinuz").resolve().name.encode() * 500_000)
        (home / "link").symlink_to("Letters/1.txt")
        run("chown", "-R", "-h", f"{ANNA}:{ANNA}", home)
        (top / ADDED).write_text("a program of hers\n")
        (top / DELETED).unlink()


def library_disk(sample: Path, work: Path, folder: Path) -> str:
    """A disk, `work`, whose one partition holds a library with an image of the sample machine; the image's id.

    The menu looks for libraries on partitions alone.
    """
    library = folder / Path(LIBRARY).name
    captured = run_rescue("capture", sample, "--library", library, "--json")
    partition(blank(work, ROOM), f"label: gpt\nstart={START // 512}, size={SIZE // 512}\n")
    run("mkfs.ext4", "-q", "-d", folder, "-E", f"offset={START}", work, f"{SIZE // 1024}k")
    shutil.rmtree(folder)
    return str(captured.events[-1]["result"]["image"])


@contextmanager
def machine_of(
    stick: Path, disk: Path, work: Path, folder: Path, firmware: str, more: Sequence[str] = ()
) -> Iterator[Machine]:
    """The machine, started from the stick, with the other disk that holds the library."""
    options = [f"--disk={work}", *more]
    with started(
        folder, firmware=firmware, stick=stick, disk=disk, serial_number=SERIAL_NUMBER, more=options
    ) as machine:
        yield machine


@contextmanager
def shell_of(
    stick: Path, disk: Path, work: Path, folder: Path, firmware: str, more: Sequence[str] = ()
) -> Iterator[tuple[Machine, str]]:
    """The stick's shell, with the other disk mounted, and the words that name the library on it."""
    with machine_of(stick, disk, work, folder, firmware, more) as machine:
        open_the_shell(machine)
        terminal = machine.terminal
        terminal.press(DISK, ENTER)
        terminal.press(MOUNT, ENTER)
        terminal.wait_for("rescue-library", timeout=STEP)
        yield machine, f"--library {LIBRARY}"


def power_off(machine: Machine) -> None:
    """From the shell."""
    machine.terminal.press("sync; umount /w; systemctl poweroff", ENTER)
    machine.wait_for_power_off()
