"""What a disk had taken down of its writes and flushes, and what a loss of power leaves of them.

A drive keeps what it is told in a cache of its own until it is told to flush. Once the power is gone, all that came
before the last flush is there, and of the rest whatever it had come to, in any order.
Source: Linux, Documentation/admin-guide/device-mapper/log-writes.rst; qemu/block/blklogwrites.c.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MAGIC = 0x6A736677736872
_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_FLUSH, _FUA, _DISCARD = 1, 2, 4
_TORN = 0.2
"""Of the writes that are on the medium, how many are so only in part."""
_SECTOR = 512


class TornLogError(Exception):
    """Something is missing in the middle: what lies behind that cannot be told from what was never written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """So many bytes at an offset of the disk; they lie at another one in the log. `forced`: past the cache (FUA)."""

    at: int
    size: int
    place: int
    forced: bool


FLUSH = None
Event = Write | None
"""A write, or FLUSH."""


def events(log: Path) -> list[Event]:
    """All that was taken down, in its order; raises TornLogError where it is not all there as far as its last flush."""
    with log.open("rb") as file:
        head = file.read(_SUPER.size)
        if len(head) < _SUPER.size:
            return []
        magic, version, count, sector = _SUPER.unpack(head)
        if (magic, version) != (_MAGIC, 1):
            raise TornLogError(f"{log} is no log of writes")
        entries = list(_entries(file, sector, log.stat().st_size))
        if len(entries) < count:
            raise TornLogError(f"{log} ends before its entry {count}")
    return [event for entry in entries for event in entry]


def _entries(file: BinaryIO, sector: int, size: int) -> Iterator[list[Event]]:
    at = sector
    while at + sector <= size:
        file.seek(at)
        where, sectors, flags, _data = _ENTRY.unpack(file.read(_ENTRY.size))
        if not sectors and not flags:
            return
        length = 0 if flags & _DISCARD else sectors * sector
        if at + sector + length > size:
            return
        event: list[Event] = [FLUSH] if flags & _FLUSH else []
        if length:
            event.append(Write(at=where * sector, size=length, place=at + sector, forced=bool(flags & _FUA)))
        yield event
        at += sector + length


def replay(log: Path, disk: Path, seed: int, kept: float) -> tuple[int, int]:
    """Bring a disk that is as it was before the log to what a loss of power at its end leaves.

    Of what came after the last flush each write is on the medium with the probability `kept`, some of these only in
    part. Returns how many writes were lost, or torn, and how many there were after that flush.
    """
    all_, source = events(log), random.Random(seed)
    last = max((place for place, event in enumerate(all_) if event is FLUSH), default=-1)
    late = [event for event in all_[last + 1 :] if event is not None]
    whole = 0
    with log.open("rb") as file, disk.open("r+b") as out:
        for event in all_[: last + 1]:
            if event is not None:
                _copy(file, out, event, event.size)
        # In their order: two writes to one place do not overtake each other.
        for event in late:
            if event.forced or source.random() < kept:
                torn = not event.forced and source.random() < _TORN
                _copy(file, out, event, source.randrange(0, event.size, _SECTOR) if torn else event.size)
                whole += not torn
    return len(late) - whole, len(late)


def _copy(log: BinaryIO, disk: BinaryIO, event: Write, size: int) -> None:
    log.seek(event.place)
    disk.seek(event.at)
    disk.write(log.read(size))
