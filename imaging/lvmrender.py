"""A physical volume's label, header and metadata area, rendered from the text that LVM's own backup of a group holds.

What `pvcreate --restorefile` and `vgcfgrestore` would write, with no device to write to. Sources: lvm2,
lib/label/label.h, lib/format_text/layout.h, format-text.c (text_pv_add_metadata_area) and export.c.
"""

import struct

from imaging.errors import BadImageError
from imaging.lvm import SECTOR, crc
from imaging.lvmgroup import PhysicalVolume, VolumeGroup, parse_group
from imaging.lvmtext import MOST_TEXT, parse

_LABEL_SECTOR = 1
_LABEL_SIZE = 32
_AREA_START = 4096
_AREA_HEAD = struct.Struct("<I16sIQQ")
_LOCATION = struct.Struct("<QQII")
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_EXTENSION_VERSION, _EXTENSION_USED = 2, 1


def physical_volume(text: str, key: str, size: int) -> list[tuple[int, bytes]]:
    """What stands before the first extent of the physical volume `key` of a group, as `(offset, bytes)`, rising.

    `text` is what vgcfgbackup wrote, `size` the bytes of the device. Raises BadImageError where there is no room for
    the text, IoError where it does not parse.
    """
    group = parse_group(text)
    found = next(pv for pv in group.physical if pv.key == key)
    area = found.start - _AREA_START
    stored = _as_stored(text, group).encode() + b"\0"
    if area < 2 * SECTOR or len(stored) > area - SECTOR or found.start + found.extents * group.extent > size:
        raise BadImageError(
            f"the volume group {group.name} does not fit on its physical volume {key}", code="bad-clonezilla"
        )
    return [
        (_LABEL_SECTOR * SECTOR, _label(found, size, area)),
        (_AREA_START, _area_head(stored, area)),
        (_AREA_START + SECTOR, stored),
    ]


def _as_stored(text: str, group: VolumeGroup) -> str:
    """On a physical volume the group comes first, and what is said of the text behind it: LVM reads its name there."""
    start = text.find(f"\n{group.name} {{") + 1
    end = text.find("\n}", start) + 2
    if not start or end < 2:
        raise BadImageError(f"the backup of volume group {group.name} is not as LVM writes it", code="bad-clonezilla")
    stored = f"{text[start:end]}\n{text[:start]}{text[end:]}"
    if len(stored) > MOST_TEXT or parse(stored) != parse(text):
        raise BadImageError(f"the backup of volume group {group.name} is not as LVM writes it", code="bad-clonezilla")
    return stored


def _label(found: PhysicalVolume, size: int, area: int) -> bytes:
    areas = struct.pack("<QQQQ", found.start, 0, 0, 0) + struct.pack("<QQQQ", _AREA_START, area, 0, 0)
    extension = struct.pack("<IIQQ", _EXTENSION_VERSION, _EXTENSION_USED, 0, 0)
    header = found.id.replace("-", "").encode("ascii", "replace").ljust(32, b"\0")[:32]
    body = struct.pack("<I8s", _LABEL_SIZE, b"LVM2 001") + header + struct.pack("<Q", size) + areas + extension
    body = body.ljust(SECTOR - 20, b"\0")
    return struct.pack("<8sQI", b"LABELONE", _LABEL_SECTOR, crc(body)) + body


def _area_head(stored: bytes, area: int) -> bytes:
    location = _LOCATION.pack(SECTOR, len(stored), crc(stored), 0).ljust(SECTOR - _AREA_HEAD.size, b"\0")
    head = _AREA_HEAD.pack(0, _AREA_MAGIC, 1, _AREA_START, area) + location
    return crc(head[4:]).to_bytes(4, "little") + head[4:]
