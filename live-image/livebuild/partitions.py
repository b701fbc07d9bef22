"""Writes disk images: a GPT through sfdisk, contents at their offsets, no loop devices and no root."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .bootparts import SECTOR, BiosBoot
from .process import BuildError, run

MIB = 1 << 20
# The first partition starts here, and each is a whole number of these: fits every disk's blocks.
ALIGNMENT = MIB
COPY_BLOCK = 4 * MIB


class PartitionType(StrEnum):
    """GPT partition types by their GUIDs."""

    BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
    EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
    LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
    SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
    LVM = "E6D6D379-F507-44C2-A23C-238F2A3DF928"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition to make: bytes, type and the name in the GPT."""

    kind: PartitionType
    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A partition and its place on the disk, in bytes."""

    partition: Partition
    start: int

    @property
    def start_sector(self) -> int:
        return self.start // SECTOR


def aligned(size: int) -> int:
    """The size in bytes, rounded up to whole MiB."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def place(partitions: list[Partition]) -> list[Placed]:
    """One after the other, each aligned."""
    placed: list[Placed] = []
    start = ALIGNMENT
    for partition in partitions:
        placed.append(Placed(partition=partition, start=start))
        start += aligned(partition.size)
    return placed


def disk_size(placed: list[Placed]) -> int:
    """The bytes a disk needs for these partitions; the last MiB holds the second GPT."""
    last = placed[-1]
    return last.start + aligned(last.partition.size) + ALIGNMENT


def render_table(placed: list[Placed], *, disk_id: str) -> str:
    """The sfdisk script of the table."""
    lines = ["label: gpt", f"label-id: {disk_id}", "unit: sectors", "sector-size: 512"]
    lines += [
        f"start={part.start_sector}, size={aligned(part.partition.size) // SECTOR}, "
        f"type={part.partition.kind.value}, name={part.partition.name}"
        for part in placed
    ]
    return "\n".join(lines) + "\n"


def create_disk(image: Path, placed: list[Placed], *, disk_id: str) -> None:
    """A sparse image file with the table and nothing else."""
    with image.open("wb") as file:
        file.truncate(disk_size(placed))
    run(["sfdisk", "--quiet", image], stdin=render_table(placed, disk_id=disk_id).encode())


def write_bios_boot(image: Path, where: Placed, boot: BiosBoot) -> None:
    """GRUB for BIOS: into the MBR's code area and its partition."""
    if len(boot.core) > where.partition.size:
        raise BuildError(f"GRUB's core has {len(boot.core)} bytes, its partition {where.partition.size}")
    with image.open("r+b") as file:
        file.write(boot.mbr_code)
        file.seek(where.start)
        file.write(boot.core)


def write_contents(image: Path, where: Placed, contents: Path) -> None:
    """Copy a file system image to its partition, holes staying holes."""
    if contents.stat().st_size > aligned(where.partition.size):
        raise BuildError(f"{contents.name} does not fit partition {where.partition.name}")
    with contents.open("rb") as source, image.open("r+b") as target:
        end = os.fstat(source.fileno()).st_size
        position = 0
        while position < end:
            try:
                position = os.lseek(source.fileno(), position, os.SEEK_DATA)
            except OSError:
                # No data after this point: the rest is a hole.
                break
            hole = os.lseek(source.fileno(), position, os.SEEK_HOLE)
            while position < hole:
                source.seek(position)
                block = source.read(min(COPY_BLOCK, hole - position))
                target.seek(where.start + position)
                target.write(block)
                position += len(block)
