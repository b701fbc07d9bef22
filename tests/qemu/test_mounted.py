"""In QEMU, where the kernel knows far more file systems than that of most machines that tests run on: each is filled
by its own driver, captured, and mounted out of the image, with the files that were put there."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.disks import MIB, blank, file_hashes, partition, run

from .machine import BOOT, JOB, STEP, Machine, started
from .terminal import ENTER

PROMPT = "root@rescue:~#"
WORK = 512 * MIB

pytestmark = [pytest.mark.qemu, pytest.mark.thorough]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A file system: what makes it in a file of so many MiB, and with which options the guest mounts it to fill it.

    Without `options` it cannot be written to: what makes it puts the files in, whose folder `{files}` stands for.
    """

    driver: str
    size: int
    argv: tuple[str, ...]
    options: str | None = "rw"


KINDS = (
    Kind(driver="ext2", size=24, argv=("mkfs.ext2", "-q")),
    Kind(driver="ext4", size=24, argv=("mkfs.ext4", "-q")),
    Kind(driver="xfs", size=300, argv=("mkfs.xfs", "-q")),
    Kind(driver="btrfs", size=120, argv=("mkfs.btrfs", "-q")),
    Kind(driver="vfat", size=40, argv=("mkfs.vfat", "-F", "32"), options="utf8"),
    Kind(driver="exfat", size=16, argv=("mkfs.exfat",)),
    Kind(driver="ntfs3", size=24, argv=("mkfs.ntfs", "-F", "-Q")),
    Kind(driver="f2fs", size=80, argv=("mkfs.f2fs", "-f")),
    Kind(driver="udf", size=24, argv=("mkudffs", "--utf8", "--blocksize=512")),
    Kind(driver="nilfs2", size=136, argv=("mkfs.nilfs2", "-q")),
    Kind(driver="jfs", size=24, argv=("mkfs.jfs", "-q"), options="iocharset=utf8"),
    Kind(driver="reiserfs", size=48, argv=("mkfs.reiserfs", "-q", "-f", "-f")),
    Kind(driver="minix", size=24, argv=("mkfs.minix", "-3")),
    Kind(driver="squashfs", size=16, argv=("mksquashfs", "{files}", "{}", "-quiet", "-no-progress"), options=None),
    Kind(driver="erofs", size=16, argv=("mkfs.erofs", "{}", "{files}"), options=None),
    Kind(driver="iso9660", size=16, argv=("xorriso", "-as", "mkisofs", "-R", "-o", "{}", "{files}"), options=None),
    Kind(
        driver="iso9660",
        size=16,
        argv=("xorriso", "-as", "mkisofs", "-J", "--norock", "-o", "{}", "{files}"),
        options=None,
    ),
    Kind(
        driver="hfsplus", size=16, argv=("xorriso", "-as", "mkisofs", "-hfsplus", "-o", "{}", "{files}"), options=None
    ),
)

FILL = """\
mount -w -t {driver} -o {options} /dev/vda{number} /v && cp -r /w/files/. /v && leave /v || echo {driver}: not filled
"""
# The live system looks for images on what it finds, mounted read-only; while a job takes disks for itself it does not.
ALONE = "mkdir -p /run/rescue/media && exec 9> /run/rescue/media/.lock && flock -s 9"
# The same kind of list is made on the host of what was put there.
SCRIPT = """\
exec > /w/log 2>&1
# A look at which system is on a disk may hold a folder for a moment.
leave() {{
    for i in 1 2 3 4 5 6 7 8 9; do umount $1 && return; sleep 1; done
    return 1
}}
mkdir /v
{fill}
sync
rescue capture /dev/vda --library /w/library --label mixed || echo no capture
mkdir /m /w/found
rescue mount "$(ls /w/library/images)" /m --library /w/library > /w/mounted &
until grep -q unmounts /w/mounted || ! kill -0 $!; do sleep 1; done
grep ' /m' /proc/mounts > /w/mounts
for i in $(seq {count}); do
    (cd /m/vda$i && find . -type f ! -name .nilfs -print0 | sort -z | xargs -0r sha256sum) > /w/found/$i
    touch /m/vda$i/mine && echo $i can be written to
done
kill $!
wait $! || echo the mount ended with $?
ls -A /m > /w/left
exec > /dev/null 2>&1
leave /w
"""


def test_every_file_system_that_the_kernel_knows_is_mounted_from_an_image(stick: Path, tmp_path: Path) -> None:
    files, disk, work = filled(tmp_path / "files"), tmp_path / "mixed.img", tmp_path / "work.img"
    made = [make(kind, files, tmp_path / f"{number}.img") for number, kind in enumerate(KINDS)]
    join(made, disk)
    put_to_work(files, tmp_path / "work", work)
    more = [f"--disk={work}"]
    with started(tmp_path / "run", firmware="bios", stick=stick, disk=disk, bus="virtio", more=more) as machine:
        open_the_shell(machine)
        terminal = machine.terminal
        terminal.press(f"clear; {ALONE} && mkdir /w && mount -w /dev/vdb /w && sh /w/script; echo EN''DED", ENTER)
        terminal.wait_for("ENDED", timeout=JOB)
        terminal.press("systemctl poweroff", ENTER)
        machine.wait_for_power_off()
    results = tmp_path / "results"
    results.mkdir()
    run("debugfs", "-R", f"rdump / {results}", work)
    said, mounts = (results / "log").read_text(), (results / "mounts").read_text()
    assert "not filled" not in said, said
    wanted = file_hashes(files)
    for number, kind in enumerate(KINDS, start=1):
        assert f" /m/vda{number} {kind.driver} ro," in mounts, f"{kind.driver}\n{said}\n{mounts}"
        assert read_hashes(results / f"found/{number}") == wanted, f"{kind.driver}\n{said}"
    assert "can be written to" not in said
    assert "the mount ended with" not in said
    assert (results / "left").read_text() == ""


def filled(folder: Path) -> Path:
    """Files to be found again: one of several chunks, an empty one, one whose name and folder are not ASCII."""
    (folder / "Bücher/один/two").mkdir(parents=True)
    (folder / "large").write_bytes(os.urandom(5 * MIB + 77))
    (folder / "Bücher/größer.txt").write_text("something\n" * 500)
    (folder / "Bücher/один/two/empty").touch()
    (folder / "A long name with CAPITALS and spaces.text").write_text("x")
    return folder


def make(kind: Kind, files: Path, path: Path) -> Path:
    """One file system in a file of its own."""
    words = [word.replace("{files}", str(files)).replace("{}", str(path)) for word in kind.argv]
    if kind.options is None:
        run(*words)
        if kind.driver == "hfsplus":
            # Its second header stands at the volume's end.
            cut_out_of_the_disc(path)
        else:
            os.truncate(path, kind.size * MIB)
    else:
        run(*words, blank(path, kind.size * MIB))
    return path


def cut_out_of_the_disc(path: Path) -> None:
    """Leave nothing of a disc of two kinds but its HFS+, which an Apple partition map says the place of.

    Source: Inside Macintosh: Devices, chapter 3, "SCSI Manager": big-endian; blocks of 512 bytes, the second on.
    """
    data = path.read_bytes()
    for at in range(512, 64 * 512, 512):
        mark, start, length = struct.unpack_from(">2s6x2I", data, at)
        if mark == b"PM" and data[at + 48 : at + 80].rstrip(b"\0") == b"Apple_HFS":
            path.write_bytes(data[start * 512 : (start + length) * 512])
            return
    raise AssertionError("the disc holds no HFS+")


def join(made: Sequence[Path], disk: Path) -> None:
    """A disk with a partition for each of these files."""
    sizes = [path.stat().st_size for path in made]
    blank(disk, sum(sizes) + 3 * MIB)
    partition(disk, "label: gpt\n" + "".join(f"size={size // 512}\n" for size in sizes))
    at = MIB
    for path, size in zip(made, sizes, strict=True):
        place = [f"bs={MIB}", f"seek={at // MIB}", "conv=notrunc,sparse", "status=none"]
        run("dd", f"if={path}", f"of={disk}", *place)
        path.unlink()
        at += -(-size // MIB) * MIB


def put_to_work(files: Path, folder: Path, disk: Path) -> None:
    """A disk with the files, the script that the guest runs, and room for a library."""
    folder.mkdir()
    run("cp", "-r", files, folder / "files")
    fill = "".join(
        FILL.format(driver=kind.driver, options=kind.options, number=number)
        for number, kind in enumerate(KINDS, start=1)
        if kind.options is not None
    )
    (folder / "script").write_text(SCRIPT.format(fill=fill, count=len(KINDS)))
    run("mkfs.ext4", "-q", "-d", folder, blank(disk, WORK))


def open_the_shell(machine: Machine) -> None:
    """From the menu."""
    terminal = machine.terminal
    terminal.wait_for("Restore an image", timeout=BOOT)
    terminal.press("s")
    terminal.wait_for(PROMPT, timeout=STEP)


def read_hashes(path: Path) -> dict[str, str]:
    """What sha256sum has printed, by the files' paths."""
    lines = (line.split("  ./", 1) for line in path.read_text().splitlines())
    return {name: digest for digest, name in lines}
