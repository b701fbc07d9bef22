"""Source disks: every file system and a swap area behind a table of each kind."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.disks import MIB, blank, partition, run
from tests.matrix import volumes
from tests.matrix.tools import Place, attached, said
from tests.matrix.volumes import EXT4, FILE_SYSTEMS, SWAP_SIZE, FileSystem

_SWAP = ("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "82")
BOOT_CODE = bytes(range(1, 256)) * 100
"""Stands in the gap before the first partition, where boot loaders live."""
BETWEEN = b"left over between two partitions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A kind of table ("gpt" or "dos") for sectors of so many bytes."""

    table: str
    sector: int

    def __str__(self) -> str:
        return f"{self.table}-{self.sector}"

    @property
    def needs_device(self) -> bool:
        """Nothing in a disk file says that an MBR counts in sectors of 4096 bytes: only a device does."""
        return self.table == "dos" and self.sector != 512


LAYOUTS = tuple(Layout(table=table, sector=sector) for table in ("gpt", "dos") for sector in (512, 4096))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A disk that was built; places by the file system's name."""

    path: Path
    layout: Layout
    places: dict[str, Place]
    swap: Place
    entries: dict[str, dict[str, str]]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size


def build(layout: Layout, path: Path, files: Path) -> Source:
    """Make a disk with everything on it."""
    places, swap, size = _places(layout, path)
    blank(path, size)
    partition(path, _script(layout, places, swap), layout.sector)
    # Behind the table: a GPT's entries end at 34 sectors of 512 bytes, or 6 of 4096.
    _put(path, 64 << 10, BOOT_CODE)
    _put(path, swap.start + swap.size + 4096, BETWEEN)
    entries = {}
    for kind in FILE_SYSTEMS:
        place = places[kind.name]
        volumes.make(kind, place)
        volumes.fill(kind, place, files)
        volumes.check(kind, place)
        entries[kind.name] = volumes.entries(kind, place)
    _make_swap(swap)
    return Source(path=path, layout=layout, places=places, swap=swap, entries=entries)


def _put(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _make_swap(place: Place) -> None:
    """Swap that was in use: what it held is worth nothing."""
    _put(place.path, place.start, b"\xc5" * place.size)
    with attached(place) as loop:
        said("mkswap", "--label", "MATRIXSWAP", loop)


def _places(layout: Layout, path: Path) -> tuple[dict[str, Place], Place, int]:
    """Swap first, then the file systems, each behind a hole of 1 MiB (in an MBR, logical ones keep their EBR there)."""
    at = 1 * MIB
    swap = Place(path=path, start=at, size=SWAP_SIZE, sector=layout.sector)
    places = {}
    at += SWAP_SIZE
    for kind in FILE_SYSTEMS:
        at += 2 * MIB
        places[kind.name] = Place(path=path, start=at, size=kind.size_at(layout.sector), sector=layout.sector)
        at += places[kind.name].size
    return places, swap, at + 2 * MIB


def _script(layout: Layout, places: dict[str, Place], swap: Place) -> str:
    """An sfdisk script; in an MBR the last four file systems are logical."""
    lines = [f"label: {layout.table}", "unit: sectors"]
    column = 0 if layout.table == "gpt" else 1

    def add(start: int, size: int, kind: str, extra: str = "") -> None:
        lines.append(f"start={start // layout.sector}, size={size // layout.sector}, type={kind}{extra}")

    add(swap.start, swap.size, _SWAP[column])
    for i, kind in enumerate(FILE_SYSTEMS):
        place = places[kind.name]
        if layout.table == "dos" and i == 2:
            end = max(p.start + p.size for p in places.values()) + MIB
            add(place.start - MIB, end - place.start + MIB, "f")
        name = f', name="{kind.name} of the matrix"' if layout.table == "gpt" else ""
        bootable = ", bootable" if layout.table == "dos" and i == 0 else ""
        add(place.start, place.size, _type(kind, column), name + bootable)
    return "\n".join(lines) + "\n"


def _type(kind: FileSystem, column: int) -> str:
    return (kind.gpt_type, kind.mbr_type)[column]


@contextmanager
def as_disk(path: Path, layout: Layout, *, read_only: bool = False) -> Iterator[str]:
    """What to call a disk file on the command line: itself, or a loop device where the file alone says too little."""
    if not layout.needs_device:
        yield str(path)
        return
    with attached(Place(path=path, start=0, size=0, sector=layout.sector), read_only=read_only) as loop:
        yield loop


def table_of(path: Path, sector: int) -> dict[str, Any]:
    """What `sfdisk --json` says of a disk, without its and its partitions' names of today."""
    with attached(Place(path=path, start=0, size=0, sector=sector), read_only=True) as loop:
        table: dict[str, Any] = json.loads(run("sfdisk", "--json", loop))["partitiontable"]
    del table["device"]
    for entry in table.get("partitions", []):
        entry["node"] = entry["node"].removeprefix(loop)
    return table


def verified_table(path: Path, sector: int) -> str:
    """What `sfdisk --verify` says of a disk; it must be nothing but that there are no errors."""
    with attached(Place(path=path, start=0, size=0, sector=sector), read_only=True) as loop:
        return said("sfdisk", "--verify", loop)


def small_gpt(path: Path, files: Path, *, sector: int = 512, spare: int = 32 * MIB) -> Source:
    """A GPT disk with ext4 and swap alone, and room behind them."""
    return _small(Layout(table="gpt", sector=sector), path, files, spare)


def small_mbr(path: Path, files: Path, *, spare: int = 8 * MIB) -> Source:
    """An MBR disk with swap, and ext4 as its logical partition."""
    return _small(Layout(table="dos", sector=512), path, files, spare)


def _small(layout: Layout, path: Path, files: Path, spare: int) -> Source:
    swap = Place(path=path, start=MIB, size=SWAP_SIZE, sector=layout.sector)
    root = Place(path=path, start=swap.start + swap.size + 2 * MIB, size=EXT4.size, sector=layout.sector)
    rows = [(swap, _SWAP), (root, (EXT4.gpt_type, EXT4.mbr_type))]
    lines = [f"label: {layout.table}", "unit: sectors"]
    for place, kinds in rows:
        if layout.table == "dos" and place is root:
            lines.append(f"start={(root.start - MIB) // 512}, size={(root.size + MIB) // 512}, type=f")
        kind = kinds[0 if layout.table == "gpt" else 1]
        lines.append(f"start={place.start // layout.sector}, size={place.size // layout.sector}, type={kind}")
    blank(path, root.start + root.size + spare)
    partition(path, "\n".join(lines) + "\n", layout.sector)
    volumes.make(EXT4, root)
    volumes.fill(EXT4, root, files)
    _make_swap(swap)
    entries = {EXT4.name: volumes.entries(EXT4, root)}
    return Source(path=path, layout=layout, places={EXT4.name: root}, swap=swap, entries=entries)
