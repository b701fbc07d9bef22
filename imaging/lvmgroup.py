"""A volume group, and where its logical volumes lie on one of its physical volumes.

Sources: lvm2, lib/format_text/export.c, import_vsn1.c and flags.c, lib/striped/striped.c, lib/mirror/mirrored.c.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from imaging.errors import IoError
from imaging.lvm import SECTOR, Label
from imaging.lvmtext import Scalar, Section, parse

_CONTENTS = "Text Format Volume Group"
_MOST_EXTENTS = 1 << 32
_MOST_SECTORS = 1 << 54
_MOST_BYTES = 1 << 62
_LONGEST_WORD = 40
"""Characters of a word of the metadata that a message shows."""
_GROUP_STATES = {"RESIZEABLE", "READ", "WRITE", "EXPORTED"}
_PHYSICAL_STATES = {"ALLOCATABLE", "EXPORTED"}
_LOGICAL_STATES = {"READ", "WRITE", "VISIBLE", "FIXED_MINOR", "ACTIVATION_SKIP"}
"""The states in which a volume's data are where its segments say, and nobody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalVolume:
    """One physical volume as its group describes it: `start` in bytes, `extents` a count."""

    key: str
    """What segments call it."""
    id: str
    start: int
    extents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a logical volume; all counts are extents."""

    start: int
    count: int
    kind: str
    areas: tuple[tuple[str, int, int], ...]
    """What it takes of physical volumes: `(key, first extent, extents)`."""
    names: frozenset[str]
    """Every string in it but its type: among them, the logical volumes that it stands on."""

    @property
    def linear(self) -> bool:
        """Whether its extents follow one another on one physical volume."""
        return self.kind == "striped" and [extents for _, _, extents in self.areas] == [self.count]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalVolume:
    """A logical volume, visible or hidden."""

    name: str
    id: str
    states: frozenset[str]
    segments: tuple[Segment, ...]

    @property
    def extents(self) -> int:
        """How many it has."""
        return sum(segment.count for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGroup:
    """A volume group; `extent` is the size of one, in bytes."""

    name: str
    id: str
    seqno: int
    extent: int
    physical: tuple[PhysicalVolume, ...]
    logical: tuple[LogicalVolume, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A logical volume as one physical volume sees it."""

    name: str
    size: int
    """Bytes of all of it."""
    taken: tuple[tuple[int, int], ...]
    """The bytes that it takes of the physical volume; in its own order where `why` is empty."""
    why: str
    """Why these are not its bytes one after the other, or why others may need all of them; empty where neither."""


def parse_group(text: str) -> VolumeGroup:
    """Read a volume group from its metadata text; raises IoError (code "bad-lvm") where anything in it is odd."""
    root = parse(text)
    sections = [(name, value) for name, value in root.items() if isinstance(value, dict)]
    if root.get("contents") != _CONTENTS or root.get("version") != 1 or len(sections) != 1:
        raise _bad("they do not describe one volume group")
    name, group = sections[0]
    odd = _states(group) - _GROUP_STATES
    if odd:
        raise _bad(f"volume group {name} is in a state that is not handled: {_words(odd)}")
    physical = tuple(_physical(key, section) for key, section in _sections(group, "physical_volumes"))
    if len({pv.id for pv in physical}) != len(physical):
        raise _bad("two physical volumes have one UUID")
    keys = frozenset(pv.key for pv in physical)
    return VolumeGroup(
        name=name,
        id=_string(group, "id"),
        seqno=_number(group, "seqno", _MOST_EXTENTS),
        extent=_number(group, "extent_size", _MOST_EXTENTS, least=1) * SECTOR,
        physical=physical,
        logical=tuple(_logical(key, section, keys) for key, section in _sections(group, "logical_volumes")),
    )


def _physical(key: str, section: Section) -> PhysicalVolume:
    odd = _states(section) - _PHYSICAL_STATES
    if odd:
        raise _bad(f"physical volume {key} is in a state that is not handled: {_words(odd)}")
    return PhysicalVolume(
        key=key,
        id=_string(section, "id"),
        start=_number(section, "pe_start", _MOST_SECTORS) * SECTOR,
        extents=_number(section, "pe_count", _MOST_EXTENTS),
    )


def _logical(name: str, section: Section, keys: frozenset[str]) -> LogicalVolume:
    found = [_segment(value, keys) for value in section.values() if isinstance(value, dict)]
    segments = tuple(sorted(found, key=lambda segment: segment.start))
    at = 0
    for segment in segments:
        if segment.start != at:
            raise _bad(f"the segments of logical volume {name} do not follow one another")
        at += segment.count
    if len(segments) != _number(section, "segment_count", _MOST_EXTENTS):
        raise _bad(f"logical volume {name} has {len(segments)} segments, not as many as it says")
    return LogicalVolume(name=name, id=_string(section, "id"), states=_states(section), segments=segments)


def _segment(section: Section, keys: frozenset[str]) -> Segment:
    kind, count = _string(section, "type"), _number(section, "extent_count", _MOST_EXTENTS, least=1)
    names = frozenset(_strings({key: value for key, value in section.items() if key != "type"}))
    match kind:
        case "striped":
            stripes = _number(section, "stripe_count", _MOST_EXTENTS, least=1)
            areas = _areas(section, "stripes", stripes, count // stripes, keys)
            sound = count % stripes == 0
        case "mirror":
            areas = _areas(section, "mirrors", _number(section, "mirror_count", _MOST_EXTENTS, least=1), count, keys)
            sound = True
        case _:
            # No other kind names a physical volume: these stand on hidden logical volumes, which have segments.
            areas, sound = (), not names & keys
    if not sound:
        raise _bad(f"what a segment of type {_words([kind])} takes is not known")
    return Segment(
        start=_number(section, "start_extent", _MOST_EXTENTS), count=count, kind=kind, areas=areas, names=names
    )


def _areas(
    section: Section, key: str, number: int, each: int, keys: frozenset[str]
) -> tuple[tuple[str, int, int], ...]:
    """The areas of a list of volume and first extent by turns; those on logical volumes are left out."""
    listed = section.get(key)
    if not isinstance(listed, tuple) or len(listed) != 2 * number:
        raise _bad(f"{key} does not name {number} areas")
    areas = []
    for volume, first in zip(listed[::2], listed[1::2], strict=True):
        if not isinstance(volume, str) or not isinstance(first, int) or not 0 <= first < _MOST_EXTENTS:
            raise _bad(f"{key} does not name areas")
        if volume in keys:
            areas.append((volume, first, each))
    return tuple(areas)


def _strings(section: Section) -> Iterator[str]:
    for value in section.values():
        if isinstance(value, dict):
            yield from _strings(value)
        else:
            yield from (word for word in (value if isinstance(value, tuple) else (value,)) if isinstance(word, str))


def _states(section: Section) -> frozenset[str]:
    """What stands under `status` and `flags`: LVM heeds the first, and older ones pass over the second."""
    words: list[Scalar] = []
    for key in ("status", "flags"):
        value = section.get(key, ())
        if isinstance(value, dict):
            raise _bad(f"{key} is a section")
        words += value if isinstance(value, tuple) else (value,)
    return frozenset(str(word) for word in words)


def _sections(section: Section, key: str) -> list[tuple[str, Section]]:
    found = section.get(key, {})
    inner = list(found.items()) if isinstance(found, dict) else [(key, found)]
    sections = [(name, value) for name, value in inner if isinstance(value, dict)]
    if len(sections) != len(inner):
        raise _bad(f"{key} does not hold sections alone")
    return sections


def _string(section: Section, key: str) -> str:
    value = section.get(key)
    if not isinstance(value, str):
        raise _bad(f"expected a string in {key}")
    return value


def _number(section: Section, key: str, most: int, least: int = 0) -> int:
    value = section.get(key)
    if not isinstance(value, int) or not least <= value <= most:
        raise _bad(f"expected a number from {least} to {most} in {key}")
    return value


def physical_volume(group: VolumeGroup, label: Label, size: int) -> PhysicalVolume:
    """The physical volume of `size` bytes that bears this label.

    Raises IoError (code "bad-lvm") where the group does not name it, or sees another place for its extents.
    """
    for found in group.physical:
        if found.id == label.id:
            if found.start != label.data_start:
                raise _bad(f"its extents begin at byte {found.start}, and at {label.data_start} by its label")
            if found.start + found.extents * group.extent > size:
                raise _bad(f"its extents reach beyond its {size} bytes")
            return found
    raise _bad(f"volume group {group.name} does not name it")


def placed_on(group: VolumeGroup, pv: PhysicalVolume) -> tuple[Placed, ...]:
    """Every logical volume, hidden ones as well, that takes extents of a physical volume.

    Raises IoError (code "bad-lvm") where two take the same, or one takes what there is not.
    """
    standing = {name: volume.name for volume in group.logical for seg in volume.segments for name in seg.names}
    placed = []
    for volume in group.logical:
        areas = [area for segment in volume.segments for area in segment.areas if area[0] == pv.key]
        if areas:
            taken = _joined((pv.start + first * group.extent, extents * group.extent) for _, first, extents in areas)
            why = _why_whole(volume, pv, standing.get(volume.name, ""))
            size = volume.extents * group.extent
            if size > _MOST_BYTES:
                raise _bad(f"logical volume {volume.name} has {size} bytes")
            placed.append(Placed(name=f"{group.name}/{volume.name}", size=size, taken=taken, why=why))
    at = pv.start
    for start, end in sorted(piece for found in placed for piece in found.taken):
        if start < at or end > pv.start + pv.extents * group.extent:
            raise _bad("logical volumes overlap, or take more extents than there are")
        at = end
    return tuple(placed)


def _joined(runs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The ranges of `(start, length)` runs in their own order; one that follows right behind another is part of it."""
    joined: list[tuple[int, int]] = []
    for start, length in runs:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], start + length)
        else:
            joined.append((start, start + length))
    return tuple(joined)


def _why_whole(volume: LogicalVolume, pv: PhysicalVolume, user: str) -> str:
    """Why a free block of the file system on a volume need not be a free block of the disk, in words.

    A snapshot reads from its origin whatever that has not overwritten since, free or not.
    """
    if user:
        return f"logical volume {user} stands on it"
    if "VISIBLE" not in volume.states:
        return "it is a hidden part of another logical volume"
    odd = volume.states - _LOGICAL_STATES
    if odd:
        return f"it is in a state that is not handled: {_words(odd)}"
    for segment in volume.segments:
        if segment.kind != "striped":
            return f"it is of type {_words([segment.kind])}"
        if not segment.linear:
            return "it is striped, or stands on other logical volumes"
    if any(area[0] != pv.key for segment in volume.segments for area in segment.areas):
        return "it spans several physical volumes"
    return ""


def _words(words: Iterable[str]) -> str:
    shown = ", ".join(sorted(words))
    return shown if len(shown) <= _LONGEST_WORD else f"{shown[:_LONGEST_WORD]}…"


def _bad(what: str) -> IoError:
    return IoError(f"LVM's metadata are not understood: {what}", code="bad-lvm")
