"""One volume of an image, restored alone into a partition that lies elsewhere on another disk."""

import os
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from imaging import inventory
from imaging.events import Finished
from imaging.library import Library
from imaging.partitions import plan_restore_partitions
from tests.disks import MIB, blank, partition
from tests.faults.world import carry_out_here
from tests.matrix import layouts
from tests.matrix.images import Captured
from tests.matrix.layouts import Layout
from tests.matrix.tools import Place

_FILL = 0xAA
_GUARD = 2 * MIB
_MORE = 24
"""Sectors that the partition has beyond what it needs: most file systems note their own length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A disk with a partition that a volume fits into, off the 1 MiB grid, between others."""

    layout: Layout
    place: Place
    number: int

    @property
    def outside(self) -> str:
        """A digest of every byte that is not in the partition."""
        with self.place.path.open("rb") as file:
            found = blake3(file.read(self.place.start))
            file.seek(self.place.size, os.SEEK_CUR)
            return found.update(file.read()).hexdigest()


def build(layout: Layout, path: Path, size: int) -> Other:
    """A target full of 0xAA, whose partition is a logical one where the table is an MBR."""
    sector = layout.sector
    start = _GUARD + 63 * sector
    room = size + _MORE * sector
    rows = [(MIB, MIB, ""), (start, room, ""), (start + room + 5 * sector, MIB, "")]
    if layout.table == "dos":
        rows.insert(1, (_GUARD, 63 * sector + room + sector, ", type=f"))
    lines = [f"start={low // sector}, size={many // sector}{extra}" for low, many, extra in rows]
    script = "\n".join([f"label: {layout.table}", "unit: sectors", *lines])
    blank(path, start + room + _GUARD + MIB, _FILL)
    partition(path, script + "\n", sector)
    place = Place(path=path, start=start, size=room, sector=sector)
    return Other(layout=layout, place=place, number=5 if layout.table == "dos" else 2)


def restore(captured: Captured, at: int, other: Other, folder: Path) -> Finished:
    """Restore the volume that starts at byte `at` of the image's disk."""
    image = Library.open(captured.library).image(captured.image)
    (source,) = image.disks
    number = next(volume.number for volume in source.volumes if volume.start == at)
    with layouts.as_disk(other.place.path, other.layout) as disk:
        shown = inventory.look(disk, [captured.library])
        plan = plan_restore_partitions(captured.library, image, source.name, shown, {number: other.number})
        return carry_out_here(plan, folder)
