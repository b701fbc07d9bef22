"""Small volumes of every shape that our readers of used maps know, filled and fragmented by their own tools."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tests.disks import MIB, blank
from tests.matrix import volumes
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.volumes import EXFAT, EXT4, FAT32, NTFS, FileSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One shape of a file system; `options` are its mkfs's."""

    name: str
    kind: FileSystem
    options: tuple[str, ...]
    size: int = 24 * MIB
    sector: int = 512
    full: bool = False
    oracle: str = "partclone"

    def __str__(self) -> str:
        return self.name


def _ext(name: str, *options: str, **changes: object) -> Variant:
    return replace(Variant(name=name, kind=EXT4, options=("mke2fs", "-q", "-F", *options)), **changes)  # type: ignore[arg-type]


def _ntfs(name: str, *options: str, **changes: object) -> Variant:
    made = Variant(name=name, kind=NTFS, options=("mkntfs", "-Q", "-F", "-q", *options))
    return replace(made, **changes)  # type: ignore[arg-type]


def _fat(name: str, *options: str, **changes: object) -> Variant:
    return replace(Variant(name=name, kind=FAT32, options=("mkfs.vfat", "-I", *options)), **changes)  # type: ignore[arg-type]


def _exfat(name: str, *options: str, **changes: object) -> Variant:
    return replace(Variant(name=name, kind=EXFAT, options=("mkfs.exfat", *options)), **changes)  # type: ignore[arg-type]


_COMPRESSED = 0x800
"""The attribute of a folder in which NTFS compresses new files."""
_OLD = "^has_journal,^resize_inode"
VARIANTS = (
    _ext("ext2-1k", "-t", "ext2", "-b", "1024"),
    _ext("ext2-4k-full", "-t", "ext2", "-b", "4096", full=True),
    _ext("ext3-2k", "-t", "ext3", "-b", "2048"),
    _ext("ext4-1k", "-t", "ext4", "-b", "1024", size=70 * MIB),
    _ext("ext4-4k", "-t", "ext4", "-b", "4096"),
    _ext("ext4-full", "-t", "ext4", "-b", "1024", full=True),
    _ext("ext4-32bit", "-t", "ext4", "-b", "1024", "-O", "^64bit", size=70 * MIB),
    _ext("ext4-uninit", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg", size=70 * MIB),
    _ext("ext4-uninit-no-flex", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg,^flex_bg", size=70 * MIB),
    _ext("ext4-no-checksums", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^uninit_bg"),
    _ext("ext4-meta-bg", "-t", "ext4", "-b", "1024", "-g", "256", "-O", "meta_bg,^resize_inode"),
    _ext("ext4-meta-bg-32bit", "-t", "ext4", "-b", "1024", "-g", "256", "-O", "meta_bg,^64bit,^flex_bg,^resize_inode"),
    _ext("ext4-sparse-super2", "-t", "ext4", "-b", "1024", "-O", "sparse_super2", size=70 * MIB),
    _ext("ext4-all-supers", "-t", "ext4", "-b", "1024", "-O", f"^sparse_super,{_OLD}", size=70 * MIB),
    _ext("ext4-csum-seed", "-t", "ext4", "-b", "2048", "-O", "metadata_csum_seed", size=40 * MIB),
    _ext("bigalloc-1k", "-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "4096", size=70 * MIB, oracle="dumpe2fs"),
    _ext("bigalloc-4k", "-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384", size=70 * MIB, oracle="dumpe2fs"),
    _ntfs("ntfs-512", "-c", "512"),
    _ntfs("ntfs-4k", "-c", "4096"),
    _ntfs("ntfs-full", "-c", "1024", full=True),
    _ntfs("ntfs-64k", "-c", "65536", size=40 * MIB),
    _ntfs("ntfs-4kn", "-s", "4096", "-c", "4096", sector=4096),
    _fat("fat12", "-F", "12", "-s", "16", size=16 * MIB, oracle="fsck"),
    _fat("fat12-one-table", "-F", "12", "-s", "16", "-f", "1", size=16 * MIB, oracle="fsck"),
    _fat("fat16", "-F", "16", "-s", "2"),
    _fat("fat16-one-table", "-F", "16", "-s", "8", "-f", "1", size=40 * MIB),
    _fat("fat32-512", "-F", "32", "-s", "1", size=40 * MIB),
    _fat("fat32-4k", "-F", "32", "-s", "8", size=270 * MIB),
    _exfat("exfat-512", "-c", "512"),
    _exfat("exfat-4k", "-c", "4096"),
    _exfat("exfat-128k", "-c", "128K", size=40 * MIB),
    _exfat("exfat-full", "-c", "32K", full=True),
)


def build(variant: Variant, folder: Path) -> Place:
    """Make the volume in a file and fill it: every other file deleted, so that what is free lies in pieces."""
    place = Place(path=folder / f"{variant}.img", start=0, size=variant.size, sector=variant.sector)
    blank(place.path, variant.size)
    with attached(place) as loop:
        said(*variant.options, loop)
    if variant.kind is FAT32:
        _fill_fat(place, folder)
    else:
        with attached(place) as loop, _writable(variant, loop) as root:
            _fill(root, variant.full)
    return place


@contextmanager
def _writable(variant: Variant, loop: str) -> Iterator[Path]:
    compressed = ("-o", "compression") if variant.kind is NTFS else ()
    with mounted((*variant.kind.mount, *compressed), loop) as root:
        if variant.kind is NTFS:
            (root / "compressed").mkdir()
            os.setxattr(root / "compressed", "system.ntfs_attrib_be", _COMPRESSED.to_bytes(4, "big"))
        yield root


def _fill(root: Path, full: bool) -> None:
    for i in range(60):
        (root / f"{i:02}").write_bytes(bytes([i + 1]) * (1500 * i + 1))
    for i in range(0, 60, 2):
        (root / f"{i:02}").unlink()
    folder = root / "compressed" if (root / "compressed").exists() else root
    (folder / "spread").write_bytes(b"one after the other " * 25_000)
    with (root / "sparse").open("wb") as file:
        file.seek(MIB)
        file.write(b"end")
    if full:
        with suppress(OSError), (root / "all the rest").open("wb", buffering=0) as file:
            while True:
                file.write(b"\x5c" * 65536)


def _fill_fat(place: Place, folder: Path) -> None:
    files = folder / f"{place.path.stem}.files"
    (files / "keep").mkdir(parents=True)
    for i in range(60):
        (files / "keep" / f"{i:02}").write_bytes(bytes([i + 1]) * (1500 * i + 1))
    said("mcopy", "-s", "-i", place.path, files / "keep", "::/")
    said("mdel", "-i", place.path, *(f"::/keep/{i:02}" for i in range(0, 60, 2)))
    (files / "spread").write_bytes(b"one after the other " * 25_000)
    said("mcopy", "-i", place.path, files / "spread", "::/keep/spread")


def entries(variant: Variant, place: Place) -> dict[str, str]:
    """What is in the volume."""
    return volumes.entries(variant.kind, place)
