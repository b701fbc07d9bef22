"""First inputs from real files: an image that is captured, and volumes that mkfs makes, where it is installed."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import msgspec

from imaging import btrfsmap, exfatmap, extmap, fatmap, filesystems, ntfs, ntfsmap
from imaging.blockdev import read
from imaging.disk import Content
from imaging.events import CaptureResult
from imaging.library import Library
from imaging.run import find_tool
from imaging.sfdisk import table_extents
from tests.disks import MIB, blank, run
from tests.faults.world import capture_here, sample_disk
from tests.fuzz import volume
from tests.fuzz.targets import KINDS

_MAKERS = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "ntfs": ("mkfs.ntfs", "-q", "-F", "-f"),
    "exfat": ("mkfs.exfat",),
    "hfsplus": ("mkfs.hfsplus",),
    "f2fs": ("mkfs.f2fs", "-q", "-f"),
    "ext2": ("mkfs.ext2", "-q", "-F", "-b1024"),
    "fat12": ("mkfs.vfat", "-F12", "-s128"),
    "fat16": ("mkfs.vfat", "-F16"),
    "fat32": ("mkfs.vfat", "-F32"),
}
_TABLE = 34 * 512
"""Bytes of a GPT at the start of a disk; more would only make inputs long."""


def seeds() -> dict[str, list[bytes]]:
    """The inputs by the targets' names."""
    with TemporaryDirectory() as folder:
        found = _of_an_image(Path(folder))
        for kind in _MAKERS:
            path = _made(kind, Path(folder))
            if path is not None:
                for target, data in _of_a_volume(kind, path).items():
                    found.setdefault(target, []).append(data)
    return found


def _of_an_image(folder: Path) -> dict[str, list[bytes]]:
    disk = sample_disk(folder / "pc.img", size=16 * MIB * 3, megabytes=2)
    result = capture_here(disk, folder / "library", folder / "job").result
    assert isinstance(result, CaptureResult)
    library = Library.open(folder / "library")
    image = library.image(result.image)
    imaged = image.disks[0]
    fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        places = table_extents(fd, imaged.table, disk.stat().st_size, 512).clipped(0, _TABLE)
        ends = [(start, read(fd, end - start, start)) for start, end in places]
        table = struct.pack("<Q", 96 * MIB) + read(fd, 512, 512) + read(fd, 16384, 1024)
    finally:
        os.close(fd)
    answer = run("sfdisk", "--json", disk).encode()
    chunks = sorted((folder / "library" / "chunks").rglob("*.cacnk"), key=lambda path: path.stat().st_size)
    return {
        "index": [library.file(image.id, "pc.img", "caibx").read_bytes()],
        "used": [library.file(image.id, "pc.img", "used").read_bytes()[:-32]],
        "digests": [library.file(image.id, "pc.img", "blake3").read_bytes()[:-32]],
        "manifest": [msgspec.json.encode(image)],
        "library": [(folder / "library" / "library.json").read_bytes()],
        "plan": [(folder / "job" / "plan.json").read_bytes()],
        "events": [(folder / "job" / "events.jsonl").read_bytes()],
        "chunk": [b"\xff\xff\x0f" + path.read_bytes() for path in chunks[:2]],
        "gpt": [table],
        "sfdisk": [answer + b"\0" + volume.pack(ends)],
    }


def _made(kind: str, folder: Path) -> Path | None:
    """A volume of this kind; None where its maker is not installed."""
    if find_tool(_MAKERS[kind][0]) is None:
        return None
    path = blank(folder / kind, volume.SMALL)
    run(*_MAKERS[kind], path)
    return path


def _of_a_volume(kind: str, path: Path) -> dict[str, bytes]:
    ways: dict[str, Callable[[volume.Read], object]] = {}
    match kind:
        case "ntfs":
            ways = {"ntfs-log": ntfs.log_is_closed, "ntfs": lambda read: ntfsmap.used(read, volume.SMALL)}
        case "ext4" | "ext2":
            ways["ext"] = lambda read: extmap.used(read, volume.SMALL)
        case "exfat":
            ways["exfat"] = lambda read: exfatmap.used(read, volume.SMALL)
        case "fat12" | "fat16" | "fat32":
            ways["fat"] = lambda read: fatmap.used(read, volume.SMALL)
        case "btrfs":
            ways["btrfs"] = lambda read: btrfsmap.used(read, volume.SMALL)
    found = {target: volume.recorded(str(path), use) for target, use in ways.items()}
    if kind in KINDS:
        found["doubts"] = bytes([KINDS.index(kind)]) + volume.pack(_read_by_doubt(kind, path))
    return found


def _read_by_doubt(kind: str, path: Path) -> list[tuple[int, bytes]]:
    """What `doubt` reads of a volume, which it does by a descriptor."""
    found: list[tuple[int, bytes]] = []

    def remember(fd: int, size: int, offset: int) -> bytes:
        data = read(fd, size, offset)
        found.append((offset, data))
        return data

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with patch.object(filesystems, "read", remember):
            filesystems.doubt(fd, 0, Content(kind=kind))
    finally:
        os.close(fd)
    return found
