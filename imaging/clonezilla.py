"""A folder that Clonezilla saved, as a foreign image: its disks, whole, as Clonezilla would restore them.

Source: Clonezilla's ocs-functions (task_saveparts, output_swap_partition_uuid_label, to_ocs_dev_img_name).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from imaging import clonezillalvm, swapheader
from imaging.clonezillafiles import find, source_of
from imaging.clonezillatable import CODE, SavedTable, read_table, text_of
from imaging.errors import BadImageError, RefusedError
from imaging.extents import Extents
from imaging.foreign import ForeignImage
from imaging.manifest import Machine
from imaging.rising import Pieces, Source, beside, fixed, moved, zeros
from imaging.sfdisk import GUARD
from imaging.usedmap import HEAD, TAIL

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+:-]{0,80}")
_TABLE_FILE = re.compile(r"(.+)-(?:pt\.sf|pt\.parted|gpt-1st)")
_VALUE = re.compile(r'^(UUID|LABEL)="?([^"\n]{0,80})"?$', re.MULTILINE)
_CREATED = re.compile(r"^### Image created time: ([0-9]{4})-([0-9]{2})([0-9]{2})-([0-9]{2})([0-9]{2})", re.MULTILINE)
_MOST_NAMES = 1 << 16
_REFUSED = (
    ("ecryptfs.info", "the folder is encrypted (eCryptfs)", "open it with Clonezilla first, and import what is in it"),
    ("luks-dev.list", "what was saved of encrypted partitions (LUKS) is not handled", "restore it with Clonezilla"),
    ("00-pseudo-img-note.txt", "the folder holds descriptions of disks, and no data", None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonezillaDisk:
    """One disk of such a folder."""

    name: str
    size: int
    sector: int
    used: Extents
    left_out: frozenset[int]
    """The numbers of the partitions that were not saved."""
    source: Source = field(repr=False)
    sectors: tuple[tuple[int, bytes], ...] = field(repr=False)
    """Those that make its partition table."""

    def pieces(self) -> Pieces:
        """As ForeignDisk. What lies between one another is unpacked beside each other."""
        at = 0
        with closing(self.source.pieces()) as pieces:
            for start, data in pieces:
                if start < at or start + len(data) > self.size:
                    raise BadImageError(f"{self.name}: what was saved of its volumes overlaps", code=CODE)
                at = start + len(data)
                yield start, data


def is_clonezilla(path: Path) -> bool:
    """Whether a folder is one that Clonezilla saved: it has a list of partitions, and images or tables beside it."""
    if (path / "ecryptfs.info").is_file():
        return True
    return (path / "parts").is_file() and any(any(path.glob(name)) for name in ("*-img*", "*-pt.sf", "*-mbr"))


def open_clonezilla(path: Path) -> ForeignImage:
    """The disks that a folder holds.

    Raises RefusedError where it is encrypted or has volumes of a kind that is not handled, BadImageError where anything
    of it is missing or damaged (also later, while pieces come), IoError where a tool is missing.
    """
    for name, why, hint in _REFUSED:
        if (path / name).exists():
            raise RefusedError(f"{path.name}: {why}", code="not-handled", hint=hint)
    return ForeignImage(
        kind="Clonezilla image",
        disks=tuple(_Folder(path).disks()),
        label=path.name,
        created=_created(text_of(path / "clonezilla-img")),
        machine=_machine(path),
    )


def _created(text: str) -> str:
    found = _CREATED.search(text)
    return "{}-{}-{}T{}:{}:00Z".format(*found.groups()) if found else ""


def _machine(path: Path) -> Machine:
    """Of what dmidecode said, the section on the system."""
    section = text_of(path / "Info-dmi.txt").partition("\nSystem Information\n")[2].partition("\n\n")[0]
    said = dict(line.strip().split(": ", 1) for line in section.splitlines() if ": " in line)
    return Machine(
        vendor=said.get("Manufacturer", "")[:100],
        model=said.get("Product Name", "")[:100],
        serial=said.get("Serial Number", "")[:100],
        firmware="uefi" if (path / "efi-nvram.dat").exists() else "",
    )


class _Folder:
    """What the files of a folder say, put together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = sorted(each.name for each, _ in zip(path.iterdir(), range(_MOST_NAMES), strict=False))
        self._parts = self._devices("parts")
        self._tables: dict[str, SavedTable] = {}
        for disk in self._disk_names():
            self._tables[disk] = read_table(path, disk)

    def disks(self) -> Iterator[ClonezillaDisk]:
        sizes = {_device(disk, part.number): part.size for disk, table in self._tables.items() for part in table.parts}
        for device in self._parts:
            if device not in sizes:
                raise BadImageError(f"{device} is on none of the disks in the folder", code=CODE)
        physical = clonezillalvm.sources(self._path, sizes, self._volume)
        for disk, table in self._tables.items():
            yield self._disk(disk, table, physical)

    def _devices(self, name: str) -> list[str]:
        """The devices that a list names, as files' names have them."""
        found = [word.replace("/", "-") for word in text_of(self._path / name).split()]
        for device in found:
            if not _DEVICE.fullmatch(device):
                raise BadImageError(f"{name}: {device[:40]!r} cannot be a device", code=CODE)
        return list(dict.fromkeys(found))

    def _disk_names(self) -> list[str]:
        """Those that are listed; of partitions that were saved alone, those that have them."""
        listed = self._devices("disk")
        if listed:
            return listed
        tables = [found[1] for name in self._names if (found := _TABLE_FILE.fullmatch(name))]
        names = [disk for disk in dict.fromkeys(tables) if any(_is_of(part, disk) for part in self._parts)]
        return names + [part for part in self._parts if not any(_is_of(part, disk) for disk in names)]

    def _disk(self, disk: str, table: SavedTable, physical: Mapping[str, Sequence[Source]]) -> ClonezillaDisk:
        sources, left_out = [fixed(table.sectors)], set()
        for part in table.parts:
            device = _device(disk, part.number)
            inner = physical.get(device)
            volume = beside(*inner) if inner is not None else self._volume(device, part.size)
            if volume is not None:
                sources.append(moved(_guarded(volume, part.size), [(0, part.size, part.start)]))
            elif device in self._parts:
                raise BadImageError(f"the image of {device} is not in the folder", code=CODE)
            else:
                left_out.add(part.number)
        if table.parts and len(left_out) == len(table.parts):
            raise BadImageError(f"{disk}: none of its partitions was saved", code=CODE)
        sources.append(zeros(_ends(table)))
        source = beside(*sources)
        return ClonezillaDisk(
            name=disk,
            size=table.size,
            sector=table.sector,
            used=source.used,
            left_out=frozenset(left_out),
            source=source,
            sectors=table.sectors,
        )

    def _volume(self, device: str, size: int) -> Source | None:
        """What was saved of a partition or a logical volume, in bytes from its start."""
        swap = text_of(self._path / f"swappt-{device}.info")
        if swap:
            said = dict(_VALUE.findall(swap))
            return fixed([(0, swapheader.render(size, said.get("UUID", ""), said.get("LABEL", "")))])
        if f"{device}.dd-img.info" in self._names or f"{device}-sub-pt.dd" in self._names:
            raise RefusedError(f"{device}: slices inside a partition are not handled", code="not-handled")
        saved = find(self._path, self._names, device)
        return source_of(saved, size) if saved else None


def _device(disk: str, number: int) -> str:
    """The kernel's name of a partition; 0 is the disk itself."""
    return disk if not number else f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def _is_of(device: str, disk: str) -> bool:
    return re.fullmatch(f"{re.escape(disk)}{'p' if disk[-1].isdigit() else ''}[0-9]*", device) is not None


def _guarded(volume: Source, size: int) -> Source:
    """The ends of a volume are written whatever is in them: old marks there would outlive a restore."""
    ends = Extents([(0, min(size, HEAD)), (max(0, size - TAIL), size)])
    return beside(volume, zeros(ends.minus(volume.used)))


def _ends(table: SavedTable) -> Extents:
    """The same of a disk, where there are neither partitions nor their table."""
    held = Extents((part.start, part.start + part.size) for part in table.parts)
    sectors = Extents((at, at + len(data)) for at, data in table.sectors)
    ends = Extents([(0, min(table.size, GUARD)), (max(0, table.size - GUARD), table.size)])
    return ends.minus(held).minus(sectors)
