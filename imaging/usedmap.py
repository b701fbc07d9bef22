"""Which bytes of a volume hold data.

Rescue's own readers say so for the file systems of most disks, partclone's domain mode for others. What either says is
not taken on trust: a map that does not parse, is short of the volume, does not add up, or comes from a file system
whose own map may be stale, means that the whole volume counts as used. Both ends of every volume count as used: what
stood there before is found there by other programs.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging import allocation
from imaging.blockdev import loop_device, read
from imaging.bounded import Read
from imaging.disk import Content
from imaging.errors import IoError
from imaging.extents import Extents
from imaging.filesystems import doubt
from imaging.lvmmap import physical_map
from imaging.manifest import InnerVolume
from imaging.opaque import why_whole
from imaging.run import find_tool, run

HEAD = 128 << 10
"""The first bytes of a volume that always count as used: a swap header, and where others' old marks would be."""
TAIL = 128 << 10
"""The last bytes of a volume that always count as used."""
_TOOLS = {
    "xfs": "partclone.xfs",
    "f2fs": "partclone.f2fs",
    "hfsplus": "partclone.hfsp",
}
_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMap:
    """The used bytes of a volume, as offsets from its start.

    `origin` is "rescue", "partclone", "header", "lvm" or "whole".
    """

    used: Extents
    origin: str
    note: str = ""
    inner: tuple[InnerVolume, ...] = ()
    """The logical volumes of an LVM physical volume."""


def volume_map(path: str, fd: int, offset: int, size: int, content: Content) -> VolumeMap:
    """Find what is used of the volume at `offset` of the disk at `path`, open at `fd`.

    Never fails for want of knowledge: then all of it counts as used and `note` says why.
    """
    if content.kind == "LVM2_member":
        return _by_lvm(path, fd, offset, size)
    return map_through(lambda at, count: read(fd, count, offset + at), size, content) or _by_partclone(
        path, fd, offset, size, content
    )


def map_through(read_volume: Read, size: int, content: Content) -> VolumeMap | None:
    """Find what is used of a volume that `read_volume` reads; None where it takes partclone to know.

    The volume may lie in pieces. Never fails, as `volume_map` does not, whatever stands on it.
    """
    if content.kind == "swap":
        return VolumeMap(used=_ends(size), origin="header")
    try:
        used = allocation.read_map(content.kind, read_volume, size)
    except IoError as error:
        return _whole(size, error.message)
    return None if used is None else VolumeMap(used=used.union(_ends(size)), origin="rescue")


def _by_lvm(path: str, fd: int, offset: int, size: int) -> VolumeMap:
    try:
        found = physical_map(path, fd, offset, size, volume_map, _scattered_map)
    except IoError as error:
        return _whole(size, error.message)
    except OSError as error:
        return _whole(size, f"its logical volumes cannot be looked at: {error.strerror}")
    return VolumeMap(used=found.used.union(_ends(size)), origin="lvm", inner=found.inner)


def _scattered_map(read_volume: Read, size: int, content: Content) -> VolumeMap:
    """Map a logical volume in several pieces, which partclone cannot be pointed at."""
    return map_through(read_volume, size, content) or _whole(size, "it lies in several pieces")


def _by_partclone(path: str, fd: int, offset: int, size: int, content: Content) -> VolumeMap:
    try:
        why = _why_not_mapped(fd, offset, content)
        if why:
            return _whole(size, why)
        used = _partclone(path, offset, size, content)
    except IoError as error:
        return _whole(size, error.message)
    except OSError as error:
        return _whole(size, f"its map cannot be kept: {error.strerror}")
    return VolumeMap(used=used.union(_ends(size)), origin="partclone")


def _ends(size: int) -> Extents:
    """Both ends of a volume: what stood there before it must not be found there after a restore."""
    return Extents([(0, min(size, HEAD)), (max(0, size - TAIL), size)])


def _whole(size: int, note: str) -> VolumeMap:
    return VolumeMap(used=Extents([(0, size)]), origin="whole", note=note)


def _why_not_mapped(fd: int, offset: int, content: Content) -> str:
    tool = _TOOLS.get(content.kind)
    if tool is None:
        return why_whole(content.kind)
    if find_tool(tool) is None:
        return f"{tool} is not installed"
    if os.geteuid() != 0:
        return "reading its map needs root"
    found = doubt(fd, offset, content)
    if found:
        return found.why
    return ""


def _xfs_log_is_clean(loop: str) -> bool:
    """xfs keeps newer allocations in its log until that is replayed. Source: xfs_logprint(8), -t."""
    return "<CLEAN>" in run(["xfs_logprint", "-t", loop], timeout=_TIMEOUT).stdout


def _partclone(path: str, offset: int, size: int, content: Content) -> Extents:
    with (
        tempfile.TemporaryDirectory(prefix="rescue-map-") as folder,
        loop_device(path, offset=offset, size=size) as loop,
    ):
        if content.kind == "xfs" and not _xfs_log_is_clean(loop):
            raise IoError("it was not unmounted cleanly: its log waits to be replayed", code="dirty")
        found = Path(folder) / "map"
        log = Path(folder) / "log"
        tool = _TOOLS[content.kind]
        if run([tool, "-D", "-s", loop, "-O", found, "-L", log], accept=(0, 1), timeout=_TIMEOUT).status:
            raise IoError(f"{tool} cannot map it: {_complaint(log)}", code="tool-failed")
        with found.open(encoding="ascii", errors="replace") as lines:
            return parse_domain(lines, size)


def _complaint(log: Path) -> str:
    """What partclone said went wrong: its last line names only the log, which is gone once the capture ends."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    told = [line for line in lines if not line.startswith(("Partclone v", "Partclone fail", "Starting to "))]
    return " ".join(" ".join(told).split()) or "it does not say why"


def parse_domain(lines: Iterable[str], size: int) -> Extents:
    """Parse the lines of the map that `partclone -D` writes, of a volume of `size` bytes, one after the other.

    A badly fragmented volume has millions of lines: none is kept. What lies past the map's end counts as used. Raises
    IoError (code "bad-map") where a line does not parse, ranges overlap, leave gaps or reach beyond the volume, or
    nothing is used at all.
    """
    used = Extents.rising(_domain_ranges(lines, size))
    if not used:
        raise IoError("its map is empty", code="bad-map")
    return used


def _domain_ranges(lines: Iterable[str], size: int) -> Iterator[tuple[int, int]]:
    """The used ranges, rising, and what lies past the map's end; nothing where no range is used."""
    rows = (line for line in lines if line.strip() and not line.startswith("#"))
    next(rows, None)  # where partclone stands now, and how it fares
    at, any_used = 0, False
    for line in rows:
        try:
            start_word, length_word, mark = line.split()
            start, length = int(start_word, 16), int(length_word, 16)
        except ValueError:
            raise IoError(f"its map does not parse: {line[:60]!r}", code="bad-map") from None
        if start != at or length <= 0 or mark not in ("+", "?") or start + length > size:
            raise IoError(f"its map is not whole: {line[:60]!r} after byte {at}", code="bad-map")
        at = start + length
        if mark == "+":
            any_used = True
            yield start, at
    if any_used:
        yield at, size
