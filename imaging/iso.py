"""The files of an ISO 9660 file system, and what El Torito would start of it; whoever made it may have meant harm.

Sources: ECMA-119 (ISO 9660), IEEE P1282 (Rock Ridge: NM and CE entries), El Torito 1.0. Offsets and sizes are bytes.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imaging.bounded import Bounded, bad_map

BLOCK = 2048
_DESCRIPTORS = 16
"""The block of the first volume descriptor."""
_MOST_DESCRIPTORS = 16
_MOST_FOLDER = 64 << 20
"""Bytes of a folder's records."""
MOST_ENTRIES = 4096
"""Files and folders that are looked at: a recovery medium has some hundred."""
_DEEPEST = 8
_MOST_HOPS = 4
"""Continuations of one record that are followed."""
_LONGEST_NAME = 255
_FOLDER, _MORE_EXTENTS = 0x02, 0x80
_BOOTABLE = 0x88
_LAST_SECTION = 0x91


@dataclass(frozen=True, slots=True, kw_only=True)
class IsoFile:
    """One file: its path in the file system (`rescue/id`), and where its bytes lie, `(start, size)` each."""

    path: str
    extents: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(size for _, size in self.extents)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootImage:
    """What El Torito has a firmware start: `platform` is 0 for a BIOS, 0xEF for UEFI."""

    platform: int
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Iso:
    """An ISO 9660 file system: its label, how long it says that it is, and what lies in its root."""

    volume: Bounded
    label: str
    size: int
    root: tuple[int, int]
    """Where the records of the root folder lie: start and size."""
    skip: int
    """Bytes before the Rock Ridge entries of each record."""
    catalog: int
    """Where El Torito's catalog lies; 0 where there is none."""


def is_iso(volume: Bounded) -> bool:
    """Whether there is such a file system at all."""
    at = _DESCRIPTORS * BLOCK
    return volume.size >= at + BLOCK and volume(at, 6)[1:] == b"CD001"


def open_iso(volume: Bounded) -> Iso:
    """Read the volume descriptors; raises IoError with code "bad-map" where they make no sense."""
    primary, catalog = b"", 0
    for i in range(_MOST_DESCRIPTORS):
        sector = volume((_DESCRIPTORS + i) * BLOCK, BLOCK)
        if sector[1:6] != b"CD001" or sector[0] == 255:
            break
        if sector[0] == 1 and not primary:
            primary = sector
        if sector[0] == 0 and sector[7:30] == b"EL TORITO SPECIFICATION":
            catalog = int.from_bytes(sector[0x47:0x4B], "little") * BLOCK
    if not primary or struct.unpack_from("<H", primary, 128)[0] != BLOCK:
        raise bad_map("it has no volume descriptor of ISO 9660 that can be read")
    start, size = struct.unpack_from("<I4xI", primary, 156 + 2)
    bare = Iso(
        volume=volume,
        label=primary[40:72].decode("ascii", "replace").strip(),
        size=struct.unpack_from("<I", primary, 80)[0] * BLOCK,
        root=(start * BLOCK, size),
        skip=0,
        catalog=catalog,
    )
    first = next(_records(bare, bare.root), b"")
    area = _system_use(first, 0)
    skip = area[6] if area[:2] == b"SP" and area[4:6] == b"\xbe\xef" and len(area) > 6 else 0
    return Iso(volume=volume, label=bare.label, size=bare.size, root=bare.root, skip=skip, catalog=catalog)


def files(iso: Iso, folders: Sequence[str], most: int = MOST_ENTRIES) -> dict[str, IsoFile]:
    """The files beneath some folders of the root, by their paths.

    Raises IoError (code "bad-map") where there are more than `most` files and folders, or anything makes no sense.
    """
    found: dict[str, IsoFile] = {}
    seen = {iso.root[0]}
    waiting = [(name, place) for name, place, is_folder in _entries(iso, iso.root) if is_folder and name in folders]
    depths = dict.fromkeys((place[0] for _, place in waiting), 1)
    looked_at = 0
    while waiting:
        path, place = waiting.pop()
        if place[0] in seen or depths[place[0]] > _DEEPEST:
            raise bad_map("its folders lead in a circle, or too deep")
        seen.add(place[0])
        for name, where, is_folder in _entries(iso, place):
            looked_at += 1
            if looked_at > most:
                raise bad_map(f"it holds more than {most} files of a recovery system")
            inner = f"{path}/{name}"
            if is_folder:
                depths[where[0]] = depths[place[0]] + 1
                waiting.append((inner, where))
            else:
                before = found[inner].extents if inner in found else ()
                found[inner] = IsoFile(path=inner, extents=(*before, where))
    return found


def has_folder(iso: Iso, name: str) -> bool:
    """Whether there is a folder of that name in the root; raises IoError (code "bad-map")."""
    return any(entry == name and is_folder for entry, _, is_folder in _entries(iso, iso.root))


def read_file(iso: Iso, file: IsoFile, most: int) -> bytes:
    """A small file whole; raises IoError (code "bad-map") where it has more than `most` bytes."""
    if file.size > most:
        raise bad_map(f"{file.path} has {file.size} bytes, more than the {most} it can need")
    return b"".join(iso.volume(start, size) for start, size in file.extents)


def _entries(iso: Iso, folder: tuple[int, int]) -> Iterator[tuple[str, tuple[int, int], bool]]:
    """Name, place and whether it is a folder, of each entry but the folder itself and its parent."""
    for record in _records(iso, folder):
        length = record[32]
        identifier = record[33 : 33 + length]
        if identifier in (b"\0", b"\1"):
            continue
        start, size = struct.unpack_from("<I4xI", record, 2)
        name = _rock_ridge_name(iso, record) or _plain_name(identifier)
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise bad_map(f"a file in it is called {name!r}")
        yield name, (start * BLOCK, size), bool(record[25] & _FOLDER)


def _records(iso: Iso, folder: tuple[int, int]) -> Iterator[bytes]:
    start, size = folder
    if size > _MOST_FOLDER:
        raise bad_map(f"a folder in it has {size} bytes of records")
    data = iso.volume(start, size)
    at = 0
    while at < len(data):
        length = data[at]
        if not length:  # no record reaches over the end of a block
            at = (at // BLOCK + 1) * BLOCK
            continue
        record = data[at : at + length]
        if len(record) < 34 or len(record) < length or 33 + record[32] > length:
            raise bad_map("a record of a folder in it makes no sense")
        yield record
        at += length


def _plain_name(identifier: bytes) -> str:
    """The bare ISO 9660 name, without the version that ends it, in lower case as Linux shows it."""
    return identifier.decode("ascii", "replace").partition(";")[0].rstrip(".").lower()


def _system_use(record: bytes, skip: int) -> bytes:
    if not record:
        return b""
    at = 33 + record[32]
    return record[at + at % 2 + skip :]


def _rock_ridge_name(iso: Iso, record: bytes) -> str:
    """The name in the NM entries of a record and its continuations; empty where there is none."""
    parts, area = b"", _system_use(record, iso.skip)
    for _ in range(_MOST_HOPS):
        following = b""
        while len(area) >= 4 and 4 <= area[2] <= len(area):
            entry, area = area[: area[2]], area[area[2] :]
            if entry[:2] == b"NM" and len(entry) > 5 and not entry[4] & 0x06:
                parts += entry[5:]
            if entry[:2] == b"CE" and len(entry) >= 28:
                block, offset, size = struct.unpack_from("<I4xI4xI", entry, 4)
                if offset + size > BLOCK:
                    raise bad_map("a continuation of a record in it makes no sense")
                following = iso.volume(block * BLOCK + offset, size)
        if not following or len(parts) > _LONGEST_NAME:
            break
        area = following
    return parts[:_LONGEST_NAME].decode("utf-8", "replace")


def boot_images(iso: Iso) -> tuple[BootImage, ...]:
    """What El Torito's catalog names as bootable; raises IoError (code "bad-map") where it is none."""
    if not iso.catalog:
        return ()
    data = iso.volume(iso.catalog, BLOCK)
    if data[0] != 1 or data[30:32] != b"\x55\xaa" or sum(struct.unpack_from("<16H", data)) & 0xFFFF:
        raise bad_map("its El Torito catalog is damaged")
    platform, found, at, last = data[1], [_boot_image(data[32:64], data[1])], 64, False
    while at + 32 <= len(data) and not last and data[at] in (0x90, _LAST_SECTION):
        platform, count, last = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "little"), data[at] == _LAST_SECTION
        entries = [data[i : i + 32] for i in range(at + 32, min(at + 32 + 32 * count, len(data)), 32)]
        found += [_boot_image(entry, platform) for entry in entries if len(entry) == 32]
        at += 32 + 32 * count
    return tuple(image for image in found if image is not None)


def _boot_image(entry: bytes, platform: int) -> BootImage | None:
    if entry[0] != _BOOTABLE:
        return None
    count, block = struct.unpack_from("<HI", entry, 6)
    return BootImage(platform=platform, start=block * BLOCK, size=count * 512)
