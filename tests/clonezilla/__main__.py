"""Makes the fixture anew: a disk of every file system, saved by Debian's Clonezilla in a machine in QEMU.

    PYTHONPATH=live-image .venv/bin/python -m tests.clonezilla tests/clonezilla/saved.tar.xz.base64

The machine is a Debian of its own, made by mmdebstrap; nothing of this computer is touched. The three folders, a list
of the files' SHA-256 and the versions of the programs end up in one file of text. The machine is emulated: on a busy
computer it takes half an hour.
"""

import argparse
import base64
import io
import lzma
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from livebuild.debian import make_tree
from livebuild.lists import read_list
from livebuild.process import BuildError, die, run, say, step
from livebuild.sampleroots import FILL_ROOT
from tests.clonezilla.files import write_files

MIB = 1 << 20
SOURCES = Path(__file__).parent
DISK_SIZE = 496 * MIB
ROOT_SIZE = 3072 * MIB
OUT_SIZE = 1024 * MIB
"""Room for what is saved, not packed."""
LINE = 76


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUT", help="the file to write")
    parser.add_argument("--room", type=Path, metavar="FOLDER", help="keep the machine and its log in this folder")
    parser.add_argument("--patience", type=float, default=5400, metavar="SECONDS", help="how long it may take (5400)")
    return parser.parse_args()


def make(room: Path, output: Path, patience: float) -> None:
    """Build the machine, run it, and pack what it saved."""
    digests = write_files(room / "files")
    with step("installing Debian packages"):
        _make_root(room)
    with step("saving"):
        _run_machine(room, patience)
    with step("packing"):
        output.write_bytes(_text_of(_packed(room / "out.tar", digests)))
    say(f"{output}: {output.stat().st_size} bytes")


def _make_root(room: Path) -> None:
    tree = room / "tree.tar"
    make_tree(
        tree,
        read_list(SOURCES / "packages.txt"),
        files={
            "clonezilla/customize": SOURCES / "customize",
            "clonezilla/machine": SOURCES / "machine",
            "clonezilla/table": SOURCES / "table",
            "clonezilla/files": room / "files",
        },
        customize="/clonezilla/customize",
    )
    with tarfile.open(tree) as tar:
        for name in ("vmlinuz", "initrd"):
            file = tar.extractfile(f"./clonezilla/{name}")
            assert file is not None
            (room / name).write_bytes(file.read())
    _blank(room / "root.img", ROOT_SIZE)
    faked = [] if os.geteuid() == 0 else ["fakeroot"]
    options = ["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0"]
    run([*faked, "sh", "-c", FILL_ROOT, "sh", tree, room / "tree", *options], env={"IMAGE": str(room / "root.img")})


def _blank(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _run_machine(room: Path, patience: float) -> None:
    _blank(room / "disk.img", DISK_SIZE)
    _blank(room / "out.tar", OUT_SIZE)
    drives = [("root", "root.img"), ("out", "out.tar"), ("disk", "disk.img")]
    # What is slow here is the processor, not the disks; and all of them are thrown away.
    common = "format=raw,if=none,cache=unsafe,discard=unmap,detect-zeroes=unmap"
    argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]
    argv += ["-smp", "2", "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot", "-device", "virtio-rng-pci"]
    argv += ["-kernel", str(room / "vmlinuz"), "-initrd", str(room / "initrd")]
    argv += ["-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 init=/clonezilla/machine"]
    for name, file in drives:
        argv += ["-drive", f"id={name},file={room / file},{common}"]
    argv += ["-device", "virtio-blk-pci,drive=root,addr=5", "-device", "virtio-blk-pci,drive=out,addr=6"]
    argv += ["-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-hd,bus=scsi.0,drive=disk,serial=SAVED-0001"]
    log = room / "log"
    argv += ["-chardev", f"file,id=serial,path={log}", "-serial", "chardev:serial"]
    try:
        subprocess.run(argv, stdin=subprocess.DEVNULL, check=True, timeout=patience)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the machine did not end: {error}", hint=f"its console is in {log}") from error
    said = log.read_text(errors="replace")
    if "machine: status 0" not in said:
        raise BuildError("the machine failed:\n" + said[-3000:])


def _packed(saved: Path, digests: dict[str, str]) -> bytes:
    """A tar of the folders, the versions and the digests, packed."""
    buffer = io.BytesIO()
    with tarfile.open(saved) as source, tarfile.open(fileobj=buffer, mode="w") as target:
        listed = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
        member = tarfile.TarInfo("SHA256")
        member.size = len(listed)
        target.addfile(member, io.BytesIO(listed))
        for each in source:
            target.addfile(each, source.extractfile(each) if each.isfile() else None)
    # The unusual numbers save a twentieth: tables of 32-bit numbers make up much of what does not compress.
    numbers = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 2, "pb": 2}
    return lzma.compress(buffer.getvalue(), filters=[numbers])


def _text_of(data: bytes) -> bytes:
    text = base64.b64encode(data)
    return b"".join(text[at : at + LINE] + b"\n" for at in range(0, len(text), LINE))


def main() -> None:
    options = arguments()
    output: Path = options.output.resolve()
    if options.room:
        options.room.mkdir(parents=True, exist_ok=True)
        make(options.room.resolve(), output, options.patience)
        return
    with tempfile.TemporaryDirectory(prefix="clonezilla-", dir="/var/tmp") as name:
        make(Path(name), output, options.patience)


if __name__ == "__main__":
    try:
        main()
    except BuildError as error:
        die(error)
