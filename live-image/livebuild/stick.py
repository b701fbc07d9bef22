"""Puts the layers, the boot loaders and an image library into one file that is a USB stick and a disc at once.

Layout (format 1 of rescue/media.json), under a GPT that is no obstacle to reading the same bytes as an ISO 9660 disc:

1 the live system (ISO 9660 from sector 64 on, label RESCUE; a disc's reader finds it from sector 0 on), read-only
2 EFI system partition (FAT16, RESCUE-EFI): shim, GRUB, their grub.cfg; the only place for a file of one's own
3 images (ext4, RESCUE-IMAGES); only where the build was given a library or a size for it

The first 440 bytes are GRUB's code for BIOS, which finds its core in the ISO by an absolute sector; bytes 446 to 509
hold the protective MBR and a second entry, of type 0 and active, that some BIOSes want to see. Everything up to the end
of partition 2 is "the system": copied to another stick and given a GPT of that stick's size it boots there, and
partition 3 may follow it at any place. Here partition 3 starts at a multiple of 64 MiB with at least 128 MiB before it
unused, so that a larger system of a later build fits without touching the images.

What stands in the ISO is told in tree.py.
"""

import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from .application import Application
from .bill import medium_components
from .bootparts import BootParts
from .budget import budget_for, check_budget
from .cache import digest_of
from .epoch import source_date
from .filesystems import make_ext4
from .hybrid import EFI_LABEL, VOLUME_ID, System, write_system, write_table
from .lists import LIVE_IMAGE
from .partitions import MIB, Partition, PartitionType, Placed, aligned, write_contents
from .process import BuildError, step
from .root import Flavour, Root
from .tree import KERNEL_OPTIONS, Contents, packages_list, place_file, project_version

IMAGES_LABEL = "RESCUE-IMAGES"
LIBRARY_FOLDER = "rescue-library"

# Where the images partition may start, and how much a later system may be larger than this one.
IMAGES_ALIGNMENT = 64 * MIB
ROOM_TO_GROW = 128 * MIB

# Below this, ext4 has no journal and hardly a block to spare.
LEAST_IMAGES_SIZE = 16 * MIB
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
    flavour: Flavour = Flavour.GENERIC


@dataclass(frozen=True, slots=True, kw_only=True)
class StickReport:
    """What came out, in bytes, and a line about how that fits the budget."""

    build_id: str
    sizes: dict[str, int]
    budget: str


def build_stick(output: Path, parts: StickParts) -> StickReport:
    """Write the stick's image; it appears under its name only when it is whole."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".stick-", dir=output.parent) as name:
        work = Path(name)
        contents = contents_of(parts)
        disk_id = uuid.uuid5(NAMESPACE, contents.build_id)
        with step("writing the system"):
            system = write_system(work, contents, parts.boot, disk_id=disk_id)
        budget = check_budget(
            system.size,
            budget_for(parts.flavour, firmware=any(parts.root.firmware.iterdir())),
            files=system.sizes,
            packages=parts.root.package_sizes,
        )
        placed = [*_system_partitions(system)]
        if parts.library is not None or parts.images_size is not None:
            with step("writing the images partition"):
                images = work / "images.img"
                _make_images(images, parts, uuid.uuid5(disk_id, IMAGES_LABEL), work=work)
                where = images_start(system.size)
                placed.append(_partition(PartitionType.LINUX, IMAGES_LABEL, where, images.stat().st_size))
        with step("writing the stick"):
            write_table(system.image, placed, disk_id=disk_id)
            if len(placed) > 2:
                write_contents(system.image, placed[2], images)
        system.image.replace(output)
    packages = output.with_name(output.name + ".packages")
    packages.write_text(contents.packages)
    sizes = system.sizes | {part.partition.name: part.partition.size for part in placed}
    sizes["the whole file"] = output.stat().st_size
    return StickReport(build_id=contents.build_id, sizes=sizes, budget=budget)


def images_start(system_bytes: int) -> int:
    """Where the images partition starts behind a system of this size, in bytes."""
    return -(-(system_bytes + ROOM_TO_GROW) // IMAGES_ALIGNMENT) * IMAGES_ALIGNMENT


def contents_of(parts: StickParts) -> Contents:
    """What the live system is made of, and the build's id, which stands for all of it."""
    packages = packages_list(parts.root, parts.boot)
    # The layers' contents, not their keys: a root made again with newer packages is another build.
    build_id = digest_of(
        parts.root.layer,
        parts.application.layer,
        parts.initramfs,
        parts.root.kernel,
        LIVE_IMAGE / "boot",
        KERNEL_OPTIONS,
        packages,
        project_version(),
        parts.flavour,
        str(source_date()),
    )
    return Contents(
        build_id=build_id,
        flavour=parts.flavour,
        kernel=parts.root.kernel,
        initramfs=parts.initramfs,
        root_layer=parts.root.layer,
        application_layer=parts.application.layer,
        packages=packages,
        components=medium_components(parts.root, parts.boot, parts.application, version=project_version()),
        common_licences=parts.root.licences / "common-licenses",
    )


def _system_partitions(system: System) -> tuple[Placed, Placed]:
    first, efi = system.live, system.efi
    return (
        # Of a type that Windows gives no letter and does not offer to format.
        _partition(PartitionType.LINUX, VOLUME_ID, first.start, first.size),
        _partition(PartitionType.EFI_SYSTEM, EFI_LABEL, efi.start, efi.size),
    )


def _partition(kind: PartitionType, name: str, start: int, size: int) -> Placed:
    return Placed(partition=Partition(kind=kind, name=name, size=size), start=start)


def _make_images(image: Path, parts: StickParts, volume: uuid.UUID, *, work: Path) -> None:
    if parts.library is None:
        size = aligned(parts.images_size or 0)
        if size < LEAST_IMAGES_SIZE:
            raise BuildError(f"an images partition needs {LEAST_IMAGES_SIZE} bytes, --images-size gives {size}")
        make_ext4(image, size=size, label=IMAGES_LABEL, uuid=str(volume))
        return
    folder = work / "images"
    shutil.copytree(parts.library, folder / LIBRARY_FOLDER, copy_function=place_file)
    content = sum(aligned_block(path.stat().st_size) for path in folder.rglob("*"))
    least = aligned(content + content * IMAGES_OVERHEAD_PERCENT // 100 + IMAGES_SLACK)
    size = aligned(parts.images_size or least)
    if size < least:
        raise BuildError(
            f"the library needs an images partition of {least} bytes, --images-size gives {size}",
            hint="leave --images-size out to get the least",
        )
    make_ext4(image, size=size, label=IMAGES_LABEL, folder=folder, uuid=str(volume))
    shutil.rmtree(folder)


def aligned_block(size: int) -> int:
    """The bytes a file takes in whole blocks of 4 KiB."""
    return -(-size // 4096) * 4096
