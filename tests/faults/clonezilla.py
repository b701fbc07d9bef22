"""Folders as Clonezilla saves them, written by hand for disks with small volumes; its own are in tests/clonezilla."""

import bz2
import gzip
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import zstandard

from tests.disks import run
from tests.unit.partclone_images import Volume, version_2


def by_tool(*argv: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(argv, input=data, capture_output=True, check=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "uncomp": bytes,
    "gz": gzip.compress,
    "bz2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE, preset=0),
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": by_tool("lz4", "-c"),
    "lzo": by_tool("lzop", "-c"),
    "lzip": by_tool("lzip", "-c"),
}


def save_table(folder: Path, disk: Path, name: str) -> None:
    """The files that describe a disk's table."""
    sectors = disk.stat().st_size // 512
    with disk.open("rb") as file:
        head = file.read(34 * 512)
    (folder / f"{name}-mbr").write_bytes(head[:512])
    script = run("sfdisk", "-d", disk)
    (folder / f"{name}-pt.sf").write_text(script.replace(str(disk), f"/dev/{name}"))
    text = f"Model: Test (scsi)\nDisk /dev/{name}: {sectors}s\nSector size (logical/physical): 512B/4096B\n"
    (folder / f"{name}-pt.parted").write_text(text)
    if "label: gpt" in script:
        (folder / f"{name}-gpt-1st").write_bytes(head)


def save_volume(
    folder: Path, device: str, volume: Volume, packing: str = "zst", *, file_system: str = "ext4", split: int = 0
) -> list[Path]:
    """The image of a volume, in files of `split` bytes where that is given."""
    data = b"".join(volume.blocks) if file_system == "dd" else version_2(volume, per_checksum=16)
    packed, stem = PACKERS[packing](data), f"{device}.{file_system}-ptcl-img.{packing}"
    if not split:
        (folder / stem).write_bytes(packed)
        return [folder / stem]
    files = []
    for number, at in enumerate(range(0, len(packed), split)):
        files.append(folder / f"{stem}.{chr(97 + number // 26)}{chr(97 + number % 26)}")
        files[-1].write_bytes(packed[at : at + split])
    return files


def save_swap(folder: Path, device: str, uuid: str, label: str = "") -> None:
    """What is saved of a swap area."""
    (folder / f"swappt-{device}.info").write_text(f'UUID="{uuid}"\nLABEL="{label}"\n')


def lists(folder: Path, disks: str, parts: str) -> None:
    """The lists of disks and of partitions; without disks only the latter were saved."""
    if disks:
        (folder / "disk").write_text(f"{disks}\n")
    (folder / "parts").write_text(f"{parts}\n")
    (folder / "dev-fs.list").write_text("# <Device name>   <File system>\n")
