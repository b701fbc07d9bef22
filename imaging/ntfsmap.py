"""Which bytes of an NTFS volume are used, from its $Bitmap.

Sources: as in imaging/mft.py. The copy of the boot sector behind the last cluster counts as used.
"""

import struct
from collections.abc import Iterator

from imaging import mft
from imaging.bitmap import set_bits
from imaging.bounded import PIECE, Bounded, Read, bad_map
from imaging.errors import IoError
from imaging.extents import Extents

_VOLUME_RECORD, _BITMAP_RECORD = 3, 6
_DIRTY = 0x0001
_BEING_CHECKED = 0x4000


def used(read: Read, size: int, *, to_be_checked: bool = False) -> Extents:
    """What is used of a volume of `size` bytes; `to_be_checked` allows the mark of one that ntfsresize has changed.

    Raises IoError with code "bad-map" where anything does not add up, "dirty" where Windows marked it for a check.
    """
    try:
        return _used(Bounded(read=read, size=size), to_be_checked=to_be_checked)
    except (struct.error, ValueError, IndexError, StopIteration) as error:
        raise bad_map(f"its master file table makes no sense: {error}") from error


def refuse_dirty(read: Read, size: int) -> None:
    """Raise IoError (code "dirty") where Windows has marked the volume for a check, "bad-map" where that is unclear."""
    try:
        volume = Bounded(read=read, size=size)
        _check_state(mft.Table(volume, mft.geometry(volume(0, 512))))
    except (struct.error, ValueError, IndexError, StopIteration) as error:
        raise bad_map(f"its master file table makes no sense: {error}") from error


def _used(volume: Bounded, *, to_be_checked: bool) -> Extents:
    boot = volume(0, 512)
    shape = mft.geometry(boot)
    if boot[3:11] != b"NTFS    " or not 0 < shape.sectors * shape.sector <= volume.size:
        raise ValueError(f"its boot sector speaks of {shape.sectors} sectors of {shape.sector} bytes")
    table = mft.Table(volume, shape)
    if not to_be_checked:
        _check_state(table)
    (length, written), runs = table.data(_BITMAP_RECORD)
    if written * 8 < table.clusters or length < written or runs.clusters * shape.cluster < written:
        raise ValueError(f"$Bitmap has {written} bytes for {table.clusters} clusters")
    found = Extents.rising(_ranges(volume, shape.cluster, table.clusters, runs))
    own = Extents((at * shape.cluster, (at + n) * shape.cluster) for at, n in [(0, 1), *table.runs, *runs])
    if own.minus(found):
        raise ValueError("$Bitmap shows as free where it lies itself, the boot sector, or the master file table")
    return found


def _check_state(table: mft.Table) -> None:
    info = next(a for a in mft.attributes(table.record(_VOLUME_RECORD)) if a.kind == mft.VOLUME_INFORMATION)
    (flags,) = struct.unpack_from("<H", info.value(), 10)
    if flags & (_DIRTY | _BEING_CHECKED):
        raise IoError("it is marked as dirty: Windows has scheduled it for a check", code="dirty")


def _ranges(volume: Bounded, cluster: int, clusters: int, runs: mft.Runs) -> Iterator[tuple[int, int]]:
    """The allocated ranges, rising, and what lies behind the last whole cluster."""
    done = 0
    for first, length in runs:
        for at in range(first * cluster, (first + length) * cluster, PIECE):
            if done >= clusters:
                break
            data = volume(at, min(PIECE, (first + length) * cluster - at))
            count = min(8 * len(data), clusters - done)
            for low, high in set_bits(data, count):
                yield (done + low) * cluster, (done + high) * cluster
            done += count
    yield clusters * cluster, volume.size
