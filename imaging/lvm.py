"""What LVM writes onto a physical volume: its label, its header, and its copies of the volume group's metadata text.

Sources: lvm2, lib/label/label.h, lib/format_text/layout.h, text_label.c and format-text.c. Sectors are of 512 bytes,
whatever the disk's. Nothing is activated and nothing written: all is read by offset.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from imaging.errors import IoError
from imaging.lvmtext import MOST_TEXT

Read = Callable[[int, int], bytes]
"""Read from an offset of the volume so many bytes; raises IoError."""

SECTOR = 512
_LABEL_SECTORS = 4
_LABEL = struct.Struct("<8sQII8s")
_LABEL_CRC_FROM = 20
_PV_HEADER = struct.Struct("<32sQ")
_AREA = struct.Struct("<QQ")
_EXTENSION = struct.Struct("<II")
_INITIAL_CRC = 0xF597A6CF
_AREA_HEAD = struct.Struct("<I16sIQQ")
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_LOCATION = struct.Struct("<QQII")
_IGNORED = 0x1
_ID_GROUPS = (6, 4, 4, 4, 4, 4, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A physical volume's label and header. Ranges are `(start, end)` in bytes from the volume's start."""

    id: str
    """The physical volume's UUID as LVM prints it, with dashes."""
    data_start: int
    metadata: tuple[tuple[int, int], ...]
    boot: tuple[tuple[int, int], ...]
    """Areas that LVM leaves to boot loaders."""


def crc(data: bytes) -> int:
    """LVM's checksum: CRC-32 with a start value of its own and without the last inversion. Source: lib/misc/crc.c."""
    return zlib.crc32(data, _INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def read_label(read: Read, size: int) -> Label:
    """The label of a physical volume of `size` bytes.

    Raises IoError (code "bad-lvm") where there is not exactly one, or what it says makes no sense.
    """
    head = read(0, _LABEL_SECTORS * SECTOR)
    found = [i for i in range(_LABEL_SECTORS) if head[i * SECTOR :].startswith(b"LABELONE")]
    if len(found) != 1:
        raise _bad(f"it bears {len(found)} labels of LVM")
    sector = head[found[0] * SECTOR : (found[0] + 1) * SECTOR]
    _, number, checksum, at, kind = _LABEL.unpack_from(sector)
    if kind != b"LVM2 001" or number != found[0] or checksum != crc(sector[_LABEL_CRC_FROM:]):
        raise _bad("LVM's label on it is damaged or of an unknown kind")
    try:
        return _header(sector, at, size)
    except (struct.error, UnicodeDecodeError) as error:
        raise _bad("LVM's header on it is damaged") from error


def _header(sector: bytes, at: int, size: int) -> Label:
    if not _LABEL.size <= at <= SECTOR - _PV_HEADER.size:
        raise _bad(f"LVM's header begins at byte {at} of its sector")
    uuid, _ = _PV_HEADER.unpack_from(sector, at)
    data, at = _areas(sector, at + _PV_HEADER.size)
    metadata, at = _areas(sector, at)
    version, _ = _EXTENSION.unpack_from(sector, at) if at + _EXTENSION.size <= SECTOR else (0, 0)
    boot = _areas(sector, at + _EXTENSION.size)[0] if version else []
    if len(data) != 1 or any(end > size or start == end for start, end in metadata + boot):
        raise _bad("the areas that LVM's header names make no sense")
    return Label(id=_dashed(uuid.decode("ascii")), data_start=data[0][0], metadata=tuple(metadata), boot=tuple(boot))


def _areas(sector: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """A list of areas, which one that begins at 0 ends; and where the next list begins."""
    areas: list[tuple[int, int]] = []
    while True:
        start, length = _AREA.unpack_from(sector, at)
        at += _AREA.size
        if not start:
            return areas, at
        areas.append((start, start + length))


def _dashed(uuid: str) -> str:
    parts, at = [], 0
    for length in _ID_GROUPS:
        parts.append(uuid[at : at + length])
        at += length
    return "-".join(parts)


def committed_text(read: Read, label: Label) -> str:
    """The volume group's metadata text: all its copies on this physical volume are read, and have to be equal.

    Raises IoError (code "bad-lvm") where there is none here (it may stand on other physical volumes), where a copy is
    damaged, or where a change was begun and not committed.
    """
    copies = {text for start, end in label.metadata if (text := _copy(read, start, end - start)) is not None}
    if not copies:
        raise _bad("no metadata of a volume group stand on it")
    if len(copies) > 1:
        raise _bad("its copies of LVM's metadata differ")
    return copies.pop().rstrip(b"\0").decode("utf-8", errors="replace")


def _copy(read: Read, start: int, size: int) -> bytes | None:
    """The text that one metadata area holds; None where it is empty or LVM ignores the area."""
    if size < 2 * SECTOR:
        raise _bad(f"a metadata area of {size} bytes is too small")
    head = read(start, SECTOR)
    checksum, magic, version, own_start, own_size = _AREA_HEAD.unpack_from(head)
    if magic != _AREA_MAGIC or version != 1 or checksum != crc(head[4:]) or (own_start, own_size) != (start, size):
        raise _bad("a metadata area of LVM is damaged or of an unknown version")
    offset, length, text_checksum, flags = _LOCATION.unpack_from(head, _AREA_HEAD.size)
    next_offset, next_length, _, _ = _LOCATION.unpack_from(head, _AREA_HEAD.size + _LOCATION.size)
    if flags & _IGNORED or not offset:
        return None
    if next_offset and next_length and next_offset != offset:
        raise _bad("a change of its volume group was begun and not completed")
    if flags or not SECTOR <= offset < size or not 0 < length <= min(size - SECTOR, MOST_TEXT):
        raise _bad("a metadata area of LVM names a place that makes no sense")
    # The text goes round: what does not fit before the area's end goes on behind the area's header.
    wrapped = max(0, offset + length - size)
    text = read(start + offset, length - wrapped) + (read(start + SECTOR, wrapped) if wrapped else b"")
    if crc(text) != text_checksum:
        raise _bad("LVM's metadata are damaged: their checksum does not match")
    return text


def _bad(what: str) -> IoError:
    return IoError(what, code="bad-lvm")
