"""Writes the live system as one image that is an ISO 9660 disc and a disk with an EFI system partition at once.

xorriso does it, as grub-mkrescue has it do: GRUB's core is the El Torito image for BIOS, boot_hybrid.img the MBR that
loads the same core from a stick, and the EFI system partition, appended behind the ISO, the El Torito image for UEFI.
The GPT comes from us, so that a partition of images can follow.
"""

import json
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .bootparts import MBR_CODE_SIZE, SECTOR, BootParts
from .epoch import dated, source_date
from .filesystems import make_fat
from .partitions import MIB, PartitionType, Placed, aligned
from .process import BuildError, run
from .tree import ELTORITO_CATALOGUE, ELTORITO_IMAGE, Contents, seal, write_efi_tree, write_system_tree

VOLUME_ID = "RESCUE"
EFI_LABEL = "RESCUE-EFI"

# The ISO's own blocks, and where its second superblock makes partition 1 mountable: behind the GPT.
BLOCK = 2048
PARTITION_OFFSET = 16
# xorriso writes the second GPT behind the last partition: a header and 248 entries, in whole blocks.
TAIL = 64 * SECTOR
# Beyond the files: the tables, and room for a person's own options.cfg.
EFI_SLACK = 2 * MIB

# Beside GRUB's code, the entry of type 0 that says "active": sfdisk's own MBR has neither.
ACTIVE_ENTRY = slice(462, 478)


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of bytes."""

    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A written system: the image, its two partitions, the sizes of its large files."""

    image: Path
    live: Extent
    efi: Extent
    sizes: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes from the image's start to the end of the EFI system partition."""
        return self.efi.start + self.efi.size


def write_system(work: Path, contents: Contents, boot: BootParts, *, disk_id: uuid.UUID) -> System:
    """Write the image `system.iso` in the folder; what lies behind its second partition is left to the caller."""
    dates = dated()
    tree, efi_tree, efi, image = work / "system", work / "efi", work / "efi.img", work / "system.iso"
    sizes = write_system_tree(tree, contents, boot)
    write_efi_tree(efi_tree, contents, boot)
    files = sum(path.stat().st_size for path in efi_tree.rglob("*") if path.is_file())
    make_fat(
        efi,
        bits=16,
        cluster=2,
        size=aligned(files + EFI_SLACK),
        label=EFI_LABEL,
        volume_id=disk_id.hex[:8],
        folder=efi_tree,
    )
    options = [
        *("-quiet", "-iso-level", "3", "-rational-rock", "-volid", VOLUME_ID, "-no-pad"),
        *("--set_all_file_dates", datetime.fromtimestamp(source_date(), UTC).strftime("%Y%m%d%H%M%S00")),
        *("--gpt_disk_guid", str(disk_id), "-partition_offset", str(PARTITION_OFFSET)),
        *("--grub2-mbr", str(boot.hybrid_mbr), "--mbr-force-bootable"),
        *("-c", ELTORITO_CATALOGUE, "-b", ELTORITO_IMAGE, "-no-emul-boot", "-boot-load-size", "4"),
        *("-boot-info-table", "--grub2-boot-info"),
        *sort_weights(),
        *("-append_partition", "2", PartitionType.EFI_SYSTEM.value, str(efi), "-appended_part_as_gpt"),
        *("-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"),
    ]
    # How large it becomes is told in it.
    seal(tree, contents, system_bytes=None)
    blocks = int(run(["xorriso", "-as", "mkisofs", "-print-size", *options, tree], env=dates).split()[-1])
    foreseen = blocks * BLOCK - TAIL
    seal(tree, contents, system_bytes=foreseen)
    run(["xorriso", "-as", "mkisofs", *options, "-o", image, tree], env=dates)
    for leftover in (tree, efi_tree):
        shutil.rmtree(leftover)
    efi.unlink()
    live, second = partitions(image)
    system = System(image=image, live=live, efi=second, sizes=sizes)
    if system.size != foreseen:
        raise BuildError(f"the system was to have {foreseen} bytes, but xorriso wrote {system.size}")
    return system


def sort_weights() -> list[str]:
    """Options that put the root layer last: a medium that was cut off can still say so."""
    return ["--sort-weight", "-20", "/rescue/root.squashfs", "--sort-weight", "-10", "/rescue/app.squashfs"]


def partitions(image: Path) -> tuple[Extent, Extent]:
    """The live system and the EFI system partition, from the image's GPT."""
    table = json.loads(run(["sfdisk", "--json", image]))["partitiontable"]["partitions"]
    first, second = (Extent(start=part["start"] * SECTOR, size=part["size"] * SECTOR) for part in table)
    return first, second


def write_table(image: Path, placed: list[Placed], *, disk_id: uuid.UUID) -> None:
    """A GPT for these partitions and an image that ends a MiB behind the last one; the MBR stays what it is."""
    with image.open("r+b") as file:
        file.truncate(aligned(placed[-1].start + placed[-1].partition.size) + MIB)
        before = file.read(SECTOR)
    run(["sfdisk", "--quiet", "--wipe", "never", image], stdin=render_table(placed, disk_id=disk_id).encode())
    with image.open("r+b") as file:
        after = bytearray(file.read(SECTOR))
        after[:MBR_CODE_SIZE] = before[:MBR_CODE_SIZE]
        after[ACTIVE_ENTRY] = before[ACTIVE_ENTRY]
        file.seek(0)
        file.write(after)


def render_table(placed: list[Placed], *, disk_id: uuid.UUID) -> str:
    """The sfdisk script of the table; the first partition starts right behind it."""
    lines = ["label: gpt", f"label-id: {disk_id}", f"first-lba: {placed[0].start_sector}", "unit: sectors"]
    lines += [
        f"start={part.start_sector}, size={part.partition.size // SECTOR}, type={part.partition.kind.value}, "
        f"uuid={uuid.uuid5(disk_id, part.partition.name)}, name={part.partition.name}"
        for part in placed
    ]
    return "\n".join([*lines, ""])
