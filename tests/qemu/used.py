"""A computer as somebody used it since it was captured: its files, seen from here, and the stick's shell beside it."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imaging.systemroot import forget
from livebuild.sampleroots import GROUP, ROOT_VOLUME, Root
from tests.command import run_rescue
from tests.disks import MIB, blank, partition, run
from tests.matrix.lvm import lvm_on, pieces
from tests.matrix.tools import Place, attached, mounted

from .machine import SERIAL_NUMBER, STEP, Machine, started
from .terminal import ENTER
from .test_mounted import open_the_shell

ROOM = 2048 * MIB
START, SIZE = MIB, ROOM - 2 * MIB
"""Where the file system of the library's disk lies."""
LIBRARY = "/w/rescue-library"
"""Where the shell has the library of the other disk."""
DISK = "disk() { lsblk -dnpro NAME,SERIAL | sed -n s/.RESCUE-TEST-$1//p; }"
ADDED, DELETED, ANNA = "usr/local/bin/added", "etc/debian_version", 1500
PACKAGE = "rescue-added"
"""A package of hers, with a program in it."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_CONTROL = f"Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: Anna <anna@sample>\nDescription: added\n"


def to_write_to(device: str, where: str) -> str:
    """The shell's words to mount a device so that it can be written to, whatever screen looks for images on it.

    Without --rw, mount takes it read-only where a screen has it so: mount(8).
    """
    return f"until mount --rw {device} {where}; do umount {device}; sleep 1; done"


def partitions(disk: Path) -> dict[str, Place]:
    """The partitions of a sample machine's disk, by their names."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    return {
        part["name"]: Place(path=disk, start=part["start"] * 512, size=part["size"] * 512)
        for part in table["partitions"]
    }


@contextmanager
def root_of(disk: Path, kind: Root = Root.EXT4, *, writable: bool = False) -> Iterator[Path]:
    """The root folder of the system on a sample machine's disk, with its /home."""
    place = partitions(disk)["lvm" if kind is Root.LVM else "root"]
    if kind is Root.LVM:
        with lvm_on(place, read_only=not writable) as lvm:
            (place,) = pieces(lvm, place, f"{GROUP}/{ROOT_VOLUME}")
    options = ["rw" if writable else "ro"]
    driver = "ext4" if kind is Root.LVM else kind.value
    more = {Root.XFS: ["nouuid"], Root.BTRFS: ["subvol=@"]}.get(kind, [])
    with attached(place, read_only=not writable) as loop:
        try:
            with mounted(("mount", "-t", driver, "-o", ",".join([*options, *more])), loop) as top, ExitStack() as inner:
                if kind is Root.BTRFS:
                    run("mount", "-t", driver, "-o", ",".join([*options, "subvol=@home"]), loop, top / "home")
                    inner.callback(run, "umount", top / "home")
                yield top
        finally:
            # The next disk that is looked at bears the same identity.
            forget(driver, loop)


def use(disk: Path, kind: Root = Root.EXT4) -> None:
    """What a person does to a computer: an account, files, a package and a program more, a file less."""
    with root_of(disk, kind, writable=True) as top:
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
        (home / "film").write_bytes((top / "vmlinuz").readlink().name.encode() * 500_000)
        (home / "link").symlink_to("Letters/1.txt")
        run("chown", "-R", "-h", f"{ANNA}:{ANNA}", home)
        (top / ADDED).write_text("a program of hers\n")
        (top / DELETED).unlink()
        _install(top)


def _install(top: Path) -> None:
    """Have the machine's own dpkg install a package."""
    tree = top / "root/package"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(_CONTROL)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin" / PACKAGE).write_text("#!/bin/sh\necho added\n" * 5000)
    run("dpkg-deb", "--root-owner-group", "--build", tree, top / "root/package.deb")
    shutil.rmtree(tree)
    run("chroot", top, "env", f"PATH={_PATH}", "dpkg", "--install", "/root/package.deb")
    assert (top / "usr/bin" / PACKAGE).exists()


def is_the_factory_s(top: Path) -> bool:
    """Whether nothing of what `use` changed in the system itself is there."""
    status = (top / "var/lib/dpkg/status").read_text()
    gone = (ADDED, f"usr/bin/{PACKAGE}", f"var/lib/dpkg/info/{PACKAGE}.list", "root/package.deb")
    return PACKAGE not in status and not any((top / name).exists() for name in gone) and (top / DELETED).exists()


def library_disk(sample: Path, work: Path, folder: Path, factory: str = "") -> str:
    """A disk, `work`, whose one partition holds a library with an image of the sample machine; the image's id.

    The menu looks for libraries on partitions alone. `factory`: what it is called as a factory image, if it is one.
    """
    library = folder / Path(LIBRARY).name
    captured = run_rescue("capture", sample, "--library", library, "--json")
    if factory:
        image = captured.events[-1]["result"]["image"]
        run_rescue("factory", "set", image, "--library", library, "--name", factory)
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
        terminal.press(f"clear; mkdir /w; {to_write_to('$(disk 2)1', '/w')}; ls /w", ENTER)
        terminal.wait_for("rescue-library", timeout=STEP)
        yield machine, f"--library {LIBRARY}"


@contextmanager
def shell_with(
    stick: Path, disks: Sequence[Path], work: Path, folder: Path, firmware: str, *, bus: str = "sata"
) -> Iterator[Machine]:
    """The stick's shell, with these disks, `$(disk 1)` and so on, and another mounted at /w that holds libraries."""
    first, *others = disks
    more = [f"--disk={disk}" for disk in (*others, work)]
    with started(
        folder, firmware=firmware, stick=stick, disk=first, bus=bus, serial_number=SERIAL_NUMBER, more=more
    ) as machine:
        open_the_shell(machine)
        terminal = machine.terminal
        terminal.press(DISK, ENTER)
        terminal.press(f"clear; mkdir /w; {to_write_to(f'$(disk {len(disks) + 1})', '/w')}; ls /w", ENTER)
        terminal.wait_for("library", timeout=STEP)
        yield machine


def power_off(machine: Machine) -> None:
    """From the shell."""
    machine.terminal.press("sync; umount /w; systemctl poweroff", ENTER)
    machine.wait_for_power_off()


def occurrences(disk: Path, mark: bytes) -> int:
    """How often bytes stand on a disk, wherever that is."""
    size, found, before = 16 << 20, 0, b""
    with disk.open("rb", buffering=0) as file:
        at, end = 0, os.fstat(file.fileno()).st_size
        while at < end:
            data = before + file.read(size)
            at = file.tell()
            found += data.count(mark)
            before = data[len(data) - len(mark) + 1 :]
    return found
