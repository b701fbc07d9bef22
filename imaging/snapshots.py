"""LVM's classic snapshots: made for a capture of the running system, watched, and taken away again.

Each bears our tag, so that those of a capture that was killed are found and removed by the next one. Sources:
lvcreate(8), lvs(8); of the origin's file system LVM itself has the kernel freeze it for the moment (dmsetup suspend).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from imaging.decodable import decodable
from imaging.errors import IoError, RefusedError
from imaging.run import find_tool, run

TAG = "rescue_still"
_NAME = "rescue-still-"
_TIMEOUT = 120.0
"""Seconds; what LVM does here takes less than one, unless another of its commands holds the group's lock."""
_LEAST, _LEAST_SHARE = 64 << 20, 0.02
"""Bytes, or the share of a volume, that may change while it is captured; with less room it is not begun."""
_USUAL, _USUAL_SHARE = 1 << 30, 0.2
_OVERHEAD = 1.02
"""A snapshot as large as all of its origin needs a little more, for the table of what has changed."""
_INVALID = ("I", "S")
"""The fifth letter of an lv_attr: an invalid snapshot, one that is suspended as well."""


class _Volume(msgspec.Struct, frozen=True, kw_only=True):
    vg_name: str
    lv_name: str
    lv_dm_path: str = ""
    lv_attr: str = ""
    lv_tags: str = ""
    data_percent: str = ""


class _Group(msgspec.Struct, frozen=True, kw_only=True):
    vg_name: str
    vg_free: str
    vg_extent_size: str


class _Report(msgspec.Struct, frozen=True, kw_only=True):
    lv: tuple[_Volume, ...] = ()
    vg: tuple[_Group, ...] = ()


@decodable
class _Reports(msgspec.Struct, frozen=True, kw_only=True):
    report: tuple[_Report, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot of a logical volume, both as `group/volume`, and the device that reads it."""

    name: str
    origin: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Bytes of a volume, and those that the capture itself will write to it."""

    size: int
    more: int = 0


def device_of(volume: str) -> str:
    """The device of an active logical volume, `group/volume`; empty where it is not active. Raises IoError."""
    found = [one for one in _volumes(volume) if _full(one) == volume]
    return found[0].lv_dm_path if found and found[0].lv_attr[4:5] == "a" else ""


def free_in(group: str) -> tuple[int, int]:
    """Bytes of a volume group that no volume takes, and of one of its extents. Raises IoError."""
    found = _report("vgs", "vg_name,vg_free,vg_extent_size", group)
    groups = [one for report in found.report for one in report.vg if one.vg_name == group]
    try:
        return int(groups[0].vg_free), int(groups[0].vg_extent_size)
    except (IndexError, ValueError) as error:
        raise IoError(f"vgs does not tell of volume group {group}", code="tool-failed") from error


def sizes(origins: Sequence[Origin], free: int, extent: int) -> tuple[int, ...]:
    """Bytes for a snapshot of each of these volumes, of what is `free`, in whole extents; none where that is too
    little.

    A volume gets room for a fifth of it to change, and for 1 GB at least, but never more than all of it needs.
    """
    wanted = [_room(one, max(_USUAL, one.size * _USUAL_SHARE), extent) for one in origins]
    least = [_room(one, max(_LEAST, one.size * _LEAST_SHARE), extent) for one in origins]
    if sum(wanted) <= free:
        return tuple(wanted)
    if sum(least) > free:
        return ()
    # What is left after the least is shared out by what is wanted beyond it.
    spare, more = free - sum(least), sum(wanted) - sum(least)
    return tuple(
        low + int((high - low) * (spare / more)) // extent * extent for low, high in zip(least, wanted, strict=True)
    )


def least_room(origins: Sequence[Origin], extent: int) -> int:
    """The least bytes that have to be free for snapshots of these volumes."""
    return sum(_room(one, max(_LEAST, one.size * _LEAST_SHARE), extent) for one in origins)


def _room(origin: Origin, changes: float, extent: int) -> int:
    return _whole(min(changes + origin.more, origin.size * _OVERHEAD + extent), extent)


def name(number: int) -> str:
    """What the snapshot of this number is called in its group."""
    return f"{_NAME}{number}"


def make(number: int, origin: str, size: int) -> Snapshot:
    """Make the snapshot of this number of a volume, with `size` bytes for what changes. Raises IoError."""
    group = origin.partition("/")[0]
    name = f"{group}/{_NAME}{number}"
    argv = ["lvcreate", "--yes", "--snapshot", "--permission=r", f"--addtag={TAG}", f"--size={size}b"]
    run([*argv, f"--name={_NAME}{number}", origin], timeout=_TIMEOUT)
    path = device_of(name)
    if not path:
        raise IoError(f"the snapshot {name} was made and is not active", code="tool-failed")
    return Snapshot(name=name, origin=origin, path=path)


def remove(name: str) -> None:
    """Take a snapshot away, by `group/volume`; nothing where there is none. Raises IoError."""
    if any(_is_ours(one) and _full(one) == name for one in _ours()):
        run(["lvremove", "--yes", name], timeout=_TIMEOUT)


def left() -> tuple[str, ...]:
    """Our snapshots that are there, as `group/volume`: while nothing captures, those of a capture that was killed.

    None where LVM is not installed. Raises IoError.
    """
    return tuple(_full(one) for one in _ours()) if find_tool("lvs") else ()


def broken(names: Sequence[str]) -> str:
    """Which of our snapshots is no longer what its origin was, for more has changed than it had room for; else empty.

    One that is not there any more is. Raises IoError.
    """
    found = {_full(one): one for one in _ours()}
    for name in names:
        one = found.get(name)
        if one is None or one.lv_attr[4:5] in _INVALID or _percent(one) >= 100:
            return name
    return ""


def _percent(one: _Volume) -> float:
    with suppress(ValueError):
        return float(one.data_percent)
    return 100.0  # what cannot be told of a snapshot is not taken for good


def _whole(size: float, extent: int) -> int:
    return -(-int(size) // extent) * extent


def _full(one: _Volume) -> str:
    return f"{one.vg_name}/{one.lv_name}"


def _is_ours(one: _Volume) -> bool:
    return TAG in one.lv_tags.split(",") and one.lv_name.startswith(_NAME)


def _ours() -> list[_Volume]:
    return [one for one in _volumes(f"--select=lv_tags={TAG}") if _is_ours(one)]


def _volumes(which: str) -> list[_Volume]:
    found = _report("lvs", "vg_name,lv_name,lv_dm_path,lv_attr,lv_tags,data_percent", which)
    return [one for report in found.report for one in report.lv]


def _report(tool: str, fields: str, which: str) -> _Reports:
    if find_tool(tool) is None:
        raise RefusedError(f"{tool} is not installed", code="no-tool", hint="install the package lvm2")
    argv = [tool, "--reportformat=json", "--units=b", "--nosuffix", f"--options={fields}", which]
    said = run(argv, timeout=_TIMEOUT).stdout
    try:
        return msgspec.json.decode(said.encode(), type=_Reports)
    except msgspec.DecodeError as error:
        raise IoError(f"what {tool} says is not understood: {error}", code="tool-failed") from error
