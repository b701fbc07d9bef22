"""Volume groups that Clonezilla saved: each logical volume is an image of its own, which goes back to its extents.

Source: Clonezilla's ocs-functions (save_logv, restore_logv). `lvm_vg_dev.list` has a line for each physical volume
(group, device, UUID), `lvm_<group>.conf` is what vgcfgbackup wrote.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from imaging import lvmgroup, lvmrender
from imaging.clonezillatable import CODE, data_of, text_of
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.lvmgroup import LogicalVolume, PhysicalVolume, VolumeGroup
from imaging.lvmtext import MOST_TEXT
from imaging.rising import Run, Source, fixed, moved

VolumeSource = Callable[[str, int], Source | None]
"""What was saved of a volume, by the name that Clonezilla gives it and its size; None where nothing was."""

_LIST = "lvm_vg_dev.list"
_MOST_TURNS = 64
"""How often the extents of a logical volume may lead back on a disk: its image is unpacked once more for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Physical:
    """A physical volume: the device that it is, its group, and what that calls it."""

    device: str
    group: VolumeGroup
    text: str
    volume: PhysicalVolume


def sources(folder: Path, sizes: Mapping[str, int], volume: VolumeSource) -> dict[str, tuple[Source, ...]]:
    """What is to stand on each device that is a physical volume, in bytes from its start; `sizes` are all devices'.

    Raises BadImageError where anything of a group is missing in the folder, RefusedError where a logical volume is of
    a kind whose bytes do not simply lie on its extents.
    """
    found = _physical(folder)
    known: dict[str, Source] = {}
    made: dict[str, tuple[Source, ...]] = {}
    for device, physical in found.items():
        if device not in sizes:
            raise BadImageError(f"{device}, a physical volume, is on none of the disks in the folder", code=CODE)
        _refuse_incomplete(physical.group, found)
        own = fixed(lvmrender.physical_volume(physical.text, physical.volume.key, sizes[device]))
        placed = []
        for logical in physical.group.logical:
            if runs := _runs(physical, logical):
                name = f"{physical.group.name}-{logical.name}"
                if name not in known:
                    known[name] = _saved(name, logical.extents * physical.group.extent, volume)
                placed.append(moved(known[name], runs))
        made[device] = (own, *placed)
    return made


def _physical(folder: Path) -> dict[str, _Physical]:
    found = {}
    for line in text_of(folder / _LIST).splitlines():
        words = line.split()
        if len(words) != 3 or words[0] == "/NOT_FOUND" or "/" in words[0]:
            raise BadImageError(f"{_LIST}: a physical volume without a group was not saved", code=CODE)
        group_name, device, uuid = words
        text = data_of(folder / f"lvm_{group_name}.conf", MOST_TEXT).decode("utf-8", "replace")
        try:
            group = lvmgroup.parse_group(text)
        except IoError as error:
            raise BadImageError(f"lvm_{group_name}.conf: {error.message}", code=CODE) from error
        _refuse_complex(group)
        volume = next((volume for volume in group.physical if volume.id == uuid), None)
        if volume is None or group.name != group_name:
            raise BadImageError(f"lvm_{group_name}.conf does not name the physical volume {device}", code=CODE)
        name = device.removeprefix("/dev/").replace("/", "-")
        found[name] = _Physical(device=name, group=group, text=text, volume=volume)
    return found


def _refuse_complex(group: VolumeGroup) -> None:
    for logical in group.logical:
        plain = all(segment.linear for segment in logical.segments)
        if not plain or "VISIBLE" not in logical.states:
            raise _not_linear(group, logical, ", ".join(sorted({segment.kind for segment in logical.segments})))


def _not_linear(group: VolumeGroup, logical: LogicalVolume, kinds: str) -> RefusedError:
    return RefusedError(
        f"logical volume {group.name}/{logical.name} is not linear ({kinds}), which is not handled",
        code="not-handled",
        hint="restore it with Clonezilla, and capture the disk here",
    )


def _refuse_incomplete(group: VolumeGroup, found: Mapping[str, _Physical]) -> None:
    there = {physical.volume.id for physical in found.values()}
    missing = [volume.key for volume in group.physical if volume.id not in there]
    if missing:
        raise BadImageError(
            f"the volume group {group.name} also lies on disks that were not saved with it: {', '.join(missing)}",
            code=CODE,
        )


def _runs(physical: _Physical, logical: LogicalVolume) -> Sequence[Run]:
    """Which bytes of a logical volume lie on a physical one, and where, in the logical volume's order."""
    extent, start = physical.group.extent, physical.volume.start
    runs = [
        (segment.start * extent, (segment.start + segment.count) * extent, start + first * extent)
        for segment in logical.segments
        for key, first, _ in segment.areas
        if key == physical.volume.key
    ]
    turns = sum(after[2] < before[2] for before, after in pairwise(runs))
    if turns > _MOST_TURNS:
        raise _not_linear(physical.group, logical, str(turns))
    return runs


def _saved(name: str, size: int, volume: VolumeSource) -> Source:
    source = volume(name, size)
    if source is None:
        raise BadImageError(f"the logical volume {name} is not in the folder", code=CODE)
    return source
