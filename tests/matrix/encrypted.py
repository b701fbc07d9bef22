"""Disk files that LUKS encrypts, made without device-mapper."""

from pathlib import Path

from tests.command import run_rescue
from tests.disks import MIB, blank, run
from tests.matrix import volumes
from tests.matrix.lvm import EXTENT, lvm_on, pieces
from tests.matrix.tools import Place, require
from tests.matrix.volumes import EXT4

WORDS = "correct horse, battery"
HEADER = 32 * MIB
QUICK = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")


def encrypted(path: Path, *options: str) -> Path:
    """Encrypt a disk file where it is, with cryptsetup; its last 32 MiB make room for the header."""
    argv = ("cryptsetup", "reencrypt", "--batch-mode", "--encrypt", f"--reduce-device-size={HEADER}", *QUICK)
    run(*argv, "--key-file=-", *options, path, text=WORDS)
    return path


def ext4_on(path: Path, size: int, files: Path, spare: int = 0) -> dict[str, str]:
    """Make a disk file with one ext4, and room behind it: what is in it."""
    place = Place(path=blank(path, size + spare), start=0, size=size)
    # Blocks of 4096 bytes, as LUKS2 prefers for its sectors.
    run("mkfs.ext4", "-q", "-F", "-b", "4096", path, f"{size >> 10}k")
    volumes.fill(EXT4, place, files)
    return volumes.entries(EXT4, place)


def grouped(disk: Path, extents: int) -> Place:
    """A disk file that holds a physical volume with one logical volume, `group/root`, and room for a header behind."""
    size = (extents + 16) * EXTENT
    place = Place(path=blank(disk, size + HEADER), start=0, size=size)
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", *lvm.devices)
        lvm.run("vgcreate", f"--physicalextentsize={EXTENT}b", "group", *lvm.devices)
        lvm.create("group", "root", extents)
        (part,) = pieces(lvm, place, "group/root")
    return part


def two_of_one_name(files: Path, room: Path) -> tuple[list[Path], list[dict[str, str]], str]:
    """Two encrypted disks with a volume group of one name each, what is in them, and their image in `library`."""
    require(("cryptsetup", "vgcreate"))
    disks, before = [], []
    for number in range(2):
        part = grouped(room / f"pc{number}.img", 48 * MIB // EXTENT)
        volumes.make(EXT4, part)
        volumes.fill(EXT4, part, files)
        before.append(volumes.entries(EXT4, part))
        disks.append(encrypted(part.path, "--type=luks2", "--resilience=none"))
    made = run_rescue("capture", *disks, "--library", room / "library", "--json").events[-1]["result"]["image"]
    return disks, before, made
