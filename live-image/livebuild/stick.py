"""Puts the layers, the boot loaders and an image library onto one disk image: the stick.

Layout, on a plain GPT that BIOS and UEFI both boot:
1 BIOS boot partition, 2 EFI system partition with the whole live system (FAT32, RESCUE),
3 images (ext4, RESCUE-IMAGES).
"""

import os
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from .application import Application
from .bootparts import BootParts
from .cache import digest_of
from .filesystems import make_ext4, make_fat32
from .lists import LIVE_IMAGE
from .partitions import MIB, Partition, PartitionType, aligned, create_disk, place, write_bios_boot, write_contents
from .process import BuildError, step
from .root import Root

SYSTEM_LABEL = "RESCUE"
IMAGES_LABEL = "RESCUE-IMAGES"
LIBRARY_FOLDER = "rescue-library"

BIOS_BOOT_SIZE = MIB
DEFAULT_IMAGES_SIZE = 256 * MIB
# Below this, ext4 has no journal and hardly a block to spare.
LEAST_IMAGES_SIZE = 16 * MIB
# Room on the system partition beyond its files: the file allocation tables, and a little to edit grub.cfg.
SYSTEM_SLACK = 24 * MIB
# FAT32 needs more than 65,525 clusters.
FAT32_LEAST_SIZE = 64 * MIB
# ext4's own needs (inode tables, journal) and room for a small change, beyond the library's bytes.
IMAGES_SLACK = 96 * MIB
IMAGES_OVERHEAD_PERCENT = 4

# Names for what a build makes, derived from its contents: the same inputs give the same stick.
NAMESPACE = uuid.UUID("5d0d3c1c-4f6d-4b8b-9a56-9e5c6f2f7f0e")


@dataclass(frozen=True, slots=True, kw_only=True)
class StickParts:
    """What goes onto a stick."""

    root: Root
    application: Application
    initramfs: Path
    boot: BootParts
    library: Path | None
    images_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StickReport:
    """What came out, in bytes."""

    build_id: str
    sizes: dict[str, int]


def build_stick(output: Path, parts: StickParts) -> StickReport:
    """Write the stick's image; it appears under its name only when it is whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".stick-", dir=output.parent) as name:
        work = Path(name)
        build_id = _build_id(parts)
        with step("writing the system partition"):
            system = work / "system.img"
            sizes = _make_system(system, parts, build_id=build_id, work=work)
        with step("writing the images partition"):
            images = work / "images.img"
            _make_images(images, parts, work=work)
        placed = place(
            [
                Partition(kind=PartitionType.BIOS_BOOT, name="BIOS-BOOT", size=BIOS_BOOT_SIZE),
                Partition(kind=PartitionType.EFI_SYSTEM, name=SYSTEM_LABEL, size=system.stat().st_size),
                Partition(kind=PartitionType.LINUX, name=IMAGES_LABEL, size=images.stat().st_size),
            ]
        )
        with step("writing the stick"):
            stick = work / "stick.img"
            create_disk(stick, placed, disk_id=str(uuid.uuid5(NAMESPACE, build_id)))
            bios = parts.boot.bios_boot(prefix="(,gpt2)/boot/grub", partition_start=placed[0].start_sector)
            write_bios_boot(stick, placed[0], bios)
            write_contents(stick, placed[1], system)
            write_contents(stick, placed[2], images)
        stick.replace(output)
    packages = output.with_name(output.name + ".packages")
    packages.write_text(render_packages(parts))
    sizes["system partition"] = placed[1].partition.size
    sizes["images partition"] = placed[2].partition.size
    sizes["stick"] = output.stat().st_size
    return StickReport(build_id=build_id, sizes=sizes)


def render_packages(parts: StickParts) -> str:
    """The manifest of a build: package, version, architecture, source, its version; boot parts apart."""
    return (
        "# Debian packages of the live system\n"
        + parts.root.packages
        + "# Debian packages that the boot loaders and the initramfs were taken from\n"
        + parts.boot.packages
    )


def _build_id(parts: StickParts) -> str:
    # The layers' contents, not their keys: a root made again with newer packages is another build.
    return digest_of(
        parts.root.layer, parts.application.layer, parts.initramfs, parts.root.kernel, LIVE_IMAGE / "boot/stick.cfg"
    )


def _make_system(image: Path, parts: StickParts, *, build_id: str, work: Path) -> dict[str, int]:
    tree = work / "system"
    live, efi, grub = tree / "rescue", tree / "EFI/BOOT", tree / "boot/grub"
    for folder in (live, efi, grub, tree / ".disk"):
        folder.mkdir(parents=True)
    _place_file(parts.root.kernel, live / "vmlinuz")
    _place_file(parts.initramfs, live / "initrd.img")
    _place_file(parts.root.layer, live / "root.squashfs")
    _place_file(parts.application.layer, live / "app.squashfs")
    (live / "id").write_text(build_id + "\n")
    # A file named by the id lets GRUB find its own stick among several.
    (live / build_id).write_text("")
    (live / "packages").write_text(render_packages(parts))
    _place_file(parts.boot.shim, efi / "BOOTX64.EFI")
    _place_file(parts.boot.mok_manager, efi / "mmx64.efi")
    _place_file(parts.boot.grub_for_media, efi / "grubx64.efi")
    (efi / "grub.cfg").write_text((LIVE_IMAGE / "boot/efi-stick.cfg").read_text().replace("@ID@", build_id))
    (grub / "grub.cfg").write_text((LIVE_IMAGE / "boot/stick.cfg").read_text().replace("@ID@", build_id))
    # Debian's GRUB for media looks for this file to recognise the disk it came from.
    (tree / ".disk/info").write_text(f"Rescue {build_id}\n")
    files = [path for path in tree.rglob("*") if path.is_file()]
    content = sum(path.stat().st_size for path in files)
    size = max(aligned(content) + SYSTEM_SLACK, FAT32_LEAST_SIZE)
    make_fat32(
        image,
        size=size,
        label=SYSTEM_LABEL,
        volume_id=build_id[:8],
        folder=tree,
        # Larger clusters where the size allows: fewer steps of the chain while a firmware reads the kernel.
        sectors_per_cluster=next(count for count in (8, 4, 2, 1) if size // (count * 512) > 70_000),
    )
    sizes = {path.name: path.stat().st_size for path in sorted(live.iterdir()) if path.stat().st_size > MIB // 8}
    shutil.rmtree(tree)
    return sizes


def _make_images(image: Path, parts: StickParts, *, work: Path) -> None:
    if parts.library is None:
        size = aligned(parts.images_size or DEFAULT_IMAGES_SIZE)
        if size < LEAST_IMAGES_SIZE:
            raise BuildError(f"an images partition needs {LEAST_IMAGES_SIZE} bytes, --images-size gives {size}")
        make_ext4(image, size=size, label=IMAGES_LABEL)
        return
    folder = work / "images"
    shutil.copytree(parts.library, folder / LIBRARY_FOLDER, copy_function=_place_file)
    content = sum(aligned_block(path.stat().st_size) for path in folder.rglob("*"))
    least = aligned(content + content * IMAGES_OVERHEAD_PERCENT // 100 + IMAGES_SLACK)
    size = aligned(parts.images_size or least)
    if size < least:
        raise BuildError(
            f"the library needs an images partition of {least} bytes, --images-size gives {size}",
            hint="leave --images-size out to get the least",
        )
    make_ext4(image, size=size, label=IMAGES_LABEL, folder=folder)
    shutil.rmtree(folder)


def aligned_block(size: int) -> int:
    """The bytes a file takes in whole blocks of 4 KiB."""
    return -(-size // 4096) * 4096


def _place_file(source: str | Path, target: str | Path) -> None:
    """A second name for the file where the file system allows it, else a copy."""
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError:
        shutil.copyfile(source, target)
