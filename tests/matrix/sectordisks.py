"""Disks for the tests of sectors of another size, and what a restore onto such a disk is told."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition
from tests.matrix import images, layouts, volumes
from tests.matrix.images import Captured
from tests.matrix.layouts import Layout
from tests.matrix.lvm import EXTENT, lvm_on, pieces
from tests.matrix.tools import Place, attached, said
from tests.matrix.volumes import EXT4, FAT32, SWAP_SIZE, XFS, FileSystem

_ESP = ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "ef")
_SWAP = ("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "82")
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
LAYOUTS = {str(layout): layout for layout in layouts.LAYOUTS}


def _made_by(kind: FileSystem, *command: str) -> FileSystem:
    return dataclasses.replace(kind, make=lambda loop, _: [*command, loop])


FAT = dataclasses.replace(FAT32, gpt_type=_ESP[0], mbr_type=_ESP[1])
BLOCKS = _made_by(EXT4, "mkfs.ext4", "-q", "-F", "-b", "4096", "-L", volumes.LABEL)
SMALL_BLOCKS = _made_by(EXT4, "mkfs.ext4", "-q", "-F", "-b", "1024", "-L", volumes.LABEL)
LARGE_XFS = _made_by(XFS, "mkfs.xfs", "-q", "-f", "-L", volumes.LABEL, "-s", "size=4096")
SMALL_XFS = _made_by(XFS, "mkfs.xfs", "-q", "-f", "-L", volumes.LABEL, "-s", "size=512")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaged:
    """A disk with FAT, others behind it, and swap, captured."""

    path: Path
    layout: Layout
    places: tuple[tuple[FileSystem, Place], ...]
    swap: Place
    captured: Captured

    @property
    def other(self) -> Layout:
        """The same table for sectors of the other size."""
        return dataclasses.replace(self.layout, sector=4096 if self.layout.sector == 512 else 512)


def disk(folder: Path, layout: Layout, kinds: tuple[FileSystem, ...], files: Path) -> Imaged:
    """Make a disk with these file systems, in a GPT behind GRUB's raw partition, and swap; capture it."""
    sector, path, at = layout.sector, folder / "source.img", MIB
    column = 0 if layout.table == "gpt" else 1
    lines, places = [f"label: {layout.table}", "unit: sectors"], []
    if layout.table == "gpt":
        lines.append(f'start={at // sector}, size={MIB // sector}, type={BIOS_BOOT}, name="GRUB, the first"')
        at += MIB
    for kind in kinds:
        place = Place(path=path, start=at, size=kind.size_at(sector), sector=sector)
        places.append((kind, place))
        lines.append(
            f"start={at // sector}, size={place.size // sector}, type={(kind.gpt_type, kind.mbr_type)[column]}"
        )
        at += place.size
    swap = Place(path=path, start=at, size=SWAP_SIZE, sector=sector)
    lines.append(f"start={at // sector}, size={SWAP_SIZE // sector}, type={_SWAP[column]}")
    blank(path, at + SWAP_SIZE + MIB)
    partition(path, "\n".join(lines) + "\n", sector)
    with path.open("r+b") as file:
        file.seek(MIB + 5000)
        file.write(layouts.BOOT_CODE if layout.table == "gpt" else b"")
    for kind, place in places:
        volumes.make(kind, place)
        volumes.fill(kind, place, files)
        if kind is FAT:
            said("mattrib", "+r", "+h", "+s", "-i", f"{path}@@{place.start}", "::/keep")
    with attached(swap) as loop:
        said("mkswap", loop)
    with layouts.as_disk(path, layout, read_only=True) as name:
        captured = images.capture(name, folder / "library")
    return Imaged(path=path, layout=layout, places=tuple(places), swap=swap, captured=captured)


@contextmanager
def as_device(target: Path, sector: int) -> Iterator[str]:
    """A device with such sectors over a file."""
    with attached(Place(path=target, start=0, size=0, sector=sector)) as loop:
        yield loop


def words_for(imaged: Imaged, device: str) -> tuple[object, ...]:
    """What a restore onto a device is told; options can follow."""
    return images.words(imaged.captured, device)


def refused(imaged: Imaged, target: Path, sector: int, *words: object) -> dict[str, Any]:
    """The error of a restore that is refused, and leaves the target as it was."""
    before = digest(target)
    with as_device(target, sector) as device:
        done = run_rescue("restore", *words_for(imaged, device), *words, status=3)
    assert digest(target) == before
    last = done.events[-1]
    found: dict[str, Any] = last.get("error") or last
    return found


def with_lvm(path: Path, kind: FileSystem, files: Path) -> tuple[Place, Place]:
    """A disk with a physical volume, and the one logical volume on it, which has a file system."""
    partition(blank(path, 96 * MIB), "label: gpt\nstart=2MiB, size=90MiB, type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n")
    place = Place(path=path, start=2 * MIB, size=90 * MIB)
    with lvm_on(place) as lvm:
        lvm.run("pvcreate", *lvm.devices)
        lvm.run("vgcreate", f"--physicalextentsize={EXTENT}b", "sectors", *lvm.devices)
        lvm.create("sectors", "root", kind.size // EXTENT)
        (root,) = pieces(lvm, place, "sectors/root")
    volumes.make(kind, root)
    volumes.fill(kind, root, files)
    return place, root


def captured_as(path: Path, library: Path) -> Imaged:
    """A disk of small sectors that was made otherwise, captured."""
    swap = Place(path=path, start=0, size=0)
    captured = images.capture(path, library)
    return Imaged(path=path, layout=LAYOUTS["gpt-512"], places=(), swap=swap, captured=captured)
