"""The sample machine: a small Debian on a disk of its own, to be captured, restored and booted.

GPT: 1 BIOS boot, 2 EFI system partition, 3 ext4 root, 4 swap. It boots under BIOS and UEFI;
root's password is "rescue"; /etc/rescue-marker holds a random UUID.
"""

import os
import secrets
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from .bootparts import BootParts
from .cache import Cache, digest_of
from .debian import BUILD_FOLDER, SUITE, make_tree
from .filesystems import EXT4_FEATURES, make_fat, make_swap
from .lists import LIVE_IMAGE, read_list
from .partitions import MIB, Partition, PartitionType, create_disk, place, write_bios_boot, write_contents
from .process import run, step

SOURCES = LIVE_IMAGE / "sample"
EFI_SIZE = 64 * MIB
ROOT_SIZE = 1024 * MIB
SWAP_SIZE = 64 * MIB
ROOT_LABEL = "sample-root"


@dataclass(frozen=True, slots=True)
class Sample:
    """A folder that holds the finished disk."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def marker(self) -> Path:
        return self.folder / "marker"


def sample_machine(cache: Cache, parts: BootParts, *, again: bool = False) -> Sample:
    """The sample machine from the cache, built when it has none."""
    packages = read_list(SOURCES / "packages.txt")
    key = digest_of(
        SUITE,
        " ".join(packages),
        SOURCES,
        parts.for_disks,
        *(LIVE_IMAGE / "livebuild" / name for name in ("sample.py", "debian.py", "partitions.py", "filesystems.py")),
    )
    return Sample(cache.entry("sample", key, lambda folder: _make(folder, packages, parts), again=again))


def _make(folder: Path, packages: list[str], parts: BootParts) -> None:
    names = {"ROOT": str(uuid.uuid4()), "SWAP": str(uuid.uuid4())}
    efi_id = secrets.token_hex(4).upper()
    names["EFI"] = f"{efi_id[:4]}-{efi_id[4:]}"
    marker = str(uuid.uuid4())
    (folder / "marker").write_text(marker + "\n")
    for name in ("grub.cfg", "efi-grub.cfg", "fstab"):
        text = (SOURCES / name).read_text()
        for word, value in names.items():
            text = text.replace(f"@{word}@", value)
        (folder / name).write_text(text)
    tar = folder / "tree.tar"
    with step("installing Debian packages"):
        make_tree(
            tar,
            packages,
            files={
                f"{BUILD_FOLDER}/customize": SOURCES / "customize",
                "etc/rescue-marker": folder / "marker",
                "etc/fstab": folder / "fstab",
                "boot/grub/grub.cfg": folder / "grub.cfg",
            },
            customize=f"/{BUILD_FOLDER}/customize",
        )
    with step("writing the sample disk"):
        _write_disk(folder, tar, parts, names)
    for leftover in ("grub.cfg", "efi-grub.cfg", "fstab", "tree.tar"):
        (folder / leftover).unlink()


def _write_disk(folder: Path, tar: Path, parts: BootParts, names: dict[str, str]) -> None:
    efi_tree = folder / "efi"
    (efi_tree / "EFI/BOOT").mkdir(parents=True)
    (efi_tree / "EFI/debian").mkdir(parents=True)
    shutil.copy(parts.shim, efi_tree / "EFI/BOOT/BOOTX64.EFI")
    shutil.copy(parts.mok_manager, efi_tree / "EFI/BOOT/mmx64.efi")
    shutil.copy(parts.grub_for_disks, efi_tree / "EFI/BOOT/grubx64.efi")
    shutil.copy(folder / "efi-grub.cfg", efi_tree / "EFI/debian/grub.cfg")
    efi, root, swap = folder / "efi.img", folder / "root.img", folder / "swap.img"
    make_fat(efi, bits=32, size=EFI_SIZE, label="EFI", volume_id=names["EFI"].replace("-", ""), folder=efi_tree)
    shutil.rmtree(efi_tree)
    _make_root(root, tar, folder / "tree", names["ROOT"])
    make_swap(swap, size=SWAP_SIZE, uuid=names["SWAP"])
    placed = place(
        [
            Partition(kind=PartitionType.BIOS_BOOT, name="BIOS-BOOT", size=MIB),
            Partition(kind=PartitionType.EFI_SYSTEM, name="EFI", size=EFI_SIZE),
            Partition(kind=PartitionType.LINUX, name="root", size=ROOT_SIZE),
            Partition(kind=PartitionType.SWAP, name="swap", size=SWAP_SIZE),
        ]
    )
    disk = folder / "disk.img"
    create_disk(disk, placed, disk_id=str(uuid.uuid4()))
    write_bios_boot(
        disk, placed[0], parts.bios_boot(prefix="(,gpt3)/boot/grub", partition_start=placed[0].start_sector)
    )
    for where, contents in zip(placed[1:], (efi, root, swap), strict=True):
        write_contents(disk, where, contents)
        contents.unlink()


# Unpacking and filling share one environment: without root, fakeroot remembers owners between the two.
FILL_ROOT = """
set -eu
mkdir "$2"
tar -x -f "$1" -C "$2" --numeric-owner --exclude='./dev/*' --exclude=./rescue-build
mkdir -p "$2/boot/efi"
shift
tree=$1
shift
mke2fs "$@" -d "$tree" "$IMAGE"
rm -rf "$tree"
"""


def _make_root(image: Path, tar: Path, tree: Path, volume_uuid: str) -> None:
    with image.open("wb") as file:
        file.truncate(ROOT_SIZE)
    # Everything initialised at once, so that the captured disk does not depend on how long it ran.
    extended = "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    options = ["-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-U", volume_uuid, "-O", EXT4_FEATURES, "-E", extended]
    faked = [] if os.geteuid() == 0 else ["fakeroot"]
    run([*faked, "sh", "-c", FILL_ROOT, "sh", tar, tree, *options], env={"IMAGE": str(image)})


def copy_sparse(source: Path, target: Path) -> None:
    """Copy an image file, holes staying holes; it appears under its name only when it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    run(["cp", "--sparse=always", "--reflink=auto", "--no-preserve=mode,ownership", source, partial])
    partial.replace(target)
