"""GRUB before it has a menu: its boot sector, the sectors which that loads, and what its core was told. Pure.

Sources: GRUB 2.06 to 2.12, grub-core/boot/i386/pc/boot.S, diskboot.S and startup_raw.S, include/grub/offsets.h,
include/grub/kernel.h (grub_module_info), util/mkimage.c (the LZMA options).
"""

import lzma
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from imaging.bounded import Bounded, bad_map
from imaging.errors import IoError

SECTOR = 512
_MARK = b"GRUB \0Geom\0Hard Disk\0Read\0 Error"
_KERNEL_SECTOR = 0x5C
_LOADING = b"loading\0.\0\r\n\0Geom\0Read\0 Error"
_FIRST_BLOCK, _LAST_BLOCK, _BLOCK = 0x1F4, 0x1F4 - 30 * 12, struct.Struct("<QHH")
_MOST_SECTORS = 4096
_PACKED = SECTOR + 8
"""Where the core says how long it is packed, and unpacked."""
_REDUNDANCY = SECTOR + 0x10
"""Where it says how much of a Reed-Solomon code follows it; grub-install fills the gap with that."""
MAY_MEND = "may-mend"
_MOST_PLAIN = 8 << 20
_LOADED_AT = 0x8200
"""The address of the core's second sector."""
_LONGEST_UNPACKER = 0x1000
_TO_ESI = re.compile(rb"\xbe(....)", re.DOTALL)
_FILTERS = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 20}]
_MOST_TRIES = 16
_INFO, _INFO_64, _MODULE = struct.Struct("<4sII"), struct.Struct("<4sIQQ"), struct.Struct("<II")
_CONFIG, _PREFIX = 2, 3
_MOST_MODULES = 1000
_NORMAL = b"\0normal\0"
_ENDS = re.compile(r"\)(/.*)")
_SEARCH = re.compile(r"(?m)^[\x20\t]*search\b.*$")
_HEX = "[0-9A-Fa-f]"
_UUID = re.compile(
    rf"(?<![\w-])(?:{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}|{_HEX}{{16}}|{_HEX}{{4}}-{_HEX}{{4}})(?![\w-])"
)
_SET_PREFIX = re.compile(r"(?m)^[\x20\t]*set[\x20\t]+prefix=[\"']?\(\$\{?\w+\}?\)[\"']?(/[^\"'\s]*)")
_PARTITION = re.compile(r"\((?:hd\d+)?,(?:gpt|msdos|apple|)(\d{1,3})\)(/\S*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What GRUB was told when it was made; `runs` are the bytes of the disk that it lies in, (start, end)."""

    config: str = ""
    prefix: str = ""
    runs: tuple[tuple[int, int], ...] = ()
    has_menu: bool = False
    """Whether it needs no normal.mod to show a menu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leads:
    """Where GRUB looks for its menu: a folder on the file system with this UUID, or on this partition.

    Where both are empty it is where GRUB itself was loaded from, unless it `searches`.
    """

    folder: str
    uuid: str = ""
    partition: int = 0
    searches: bool = False
    """Whether it is looked for by something else: a label, a file."""


def loaded_sector(boot: bytes) -> int | None:
    """The sector that GRUB's boot sector loads; None where this is another one."""
    if _MARK not in boot[:SECTOR]:
        return None
    return int(struct.unpack_from("<Q", boot, _KERNEL_SECTOR)[0])


def read_core(disk: Bounded, sector: int) -> Core:
    """Read the core that begins at a sector of the disk; raises IoError (code "bad-map") where none is there.

    Where it is damaged, and holds what it mends itself with as it starts, the code is "may-mend". LZMA has no checksum:
    damage that leaves it a core with a prefix is not found.
    """
    head = disk(sector * SECTOR, SECTOR)
    if _LOADING not in head:
        raise bad_map(f"sector {sector}, which its boot sector loads, holds no GRUB")
    runs = [(sector * SECTOR, (sector + 1) * SECTOR), *_runs(head)]
    data = b"".join(disk(start, end - start) for start, end in runs)
    core = told(_unpacked(data))
    if core.prefix:
        return replace(core, runs=tuple(runs))
    if any(data[_REDUNDANCY : _REDUNDANCY + 4]):
        raise IoError("GRUB's core is damaged: it mends a part of that as it starts", code=MAY_MEND)
    raise bad_map("GRUB's core cannot be unpacked")


def _runs(head: bytes) -> Iterator[tuple[int, int]]:
    total = 0
    for at in range(_FIRST_BLOCK, _LAST_BLOCK, -_BLOCK.size):
        start, count, _ = _BLOCK.unpack_from(head, at)
        if not count:
            break
        total += count
        if total > _MOST_SECTORS:
            raise bad_map("GRUB's list of its own sectors is longer than GRUB can be")
        yield start * SECTOR, (start + count) * SECTOR
    if not total:
        raise bad_map("GRUB's list of its own sectors is empty")


def _unpacked(core: bytes) -> bytes:
    """The core as it runs; nothing where it cannot be unpacked. Raises IoError where its lengths make no sense."""
    if len(core) < _PACKED + 8:
        raise bad_map("GRUB's core is cut off")
    packed, plain = struct.unpack_from("<II", core, _PACKED)
    if not 0 < plain <= _MOST_PLAIN or not 0 < packed <= len(core):
        raise bad_map("GRUB's core is not whole: its lengths make no sense")
    for found, _ in zip(_TO_ESI.finditer(core, SECTOR, SECTOR + _LONGEST_UNPACKER), range(_MOST_TRIES), strict=False):
        at = int.from_bytes(found[1], "little") - _LOADED_AT + SECTOR
        if SECTOR < at < min(len(core), SECTOR + _LONGEST_UNPACKER) and core[at] == 0:
            data = _decompressed(core[at : at + packed], plain)
            if len(data) == plain:
                return data
    return b""


def _decompressed(data: bytes, size: int) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        return unpacker.decompress(data, max_length=size)
    except lzma.LZMAError:
        return b""


def told(image: bytes) -> Core:
    """What an image of GRUB that is not packed was told; nothing where it has nothing of that."""
    at = -1
    for _ in range(_MOST_TRIES):
        at = image.find(b"mimg", at + 1)
        if at < 0:
            break
        for info, skip in ((_INFO, 12), (_INFO_64, 24)):
            if at + skip <= len(image):
                *_, offset, size = info.unpack_from(image, at)
                if offset == skip and skip < size <= len(image) - at:
                    return _from_modules(image, at + skip, at + size)
    return Core()


def _from_modules(image: bytes, at: int, end: int) -> Core:
    # The module itself names itself so, and so does each that needs it, which brings it along.
    has_menu = image.find(_NORMAL, at, end) >= 0
    found = {_CONFIG: "", _PREFIX: ""}
    for _ in range(_MOST_MODULES):
        if at + _MODULE.size > end:
            break
        kind, size = _MODULE.unpack_from(image, at)
        if not _MODULE.size <= size <= end - at:
            break
        if kind in found:
            found[kind] = image[at + _MODULE.size : at + size].split(b"\0")[0].decode(errors="replace")
        at += size
    return Core(config=found[_CONFIG], prefix=found[_PREFIX], has_menu=has_menu)


def leads(config: str, prefix: str) -> Leads:
    """Where a core, or a small grub.cfg that goes on to another, looks for the menu."""
    lines = _SEARCH.findall(config)
    search = next((uuid for line in lines for uuid in _UUID.findall(line)[-1:]), "")
    folder = next(iter(_SET_PREFIX.findall(config)), "")
    place = _PARTITION.match(prefix)
    own = place[2] or "" if place else prefix if prefix.startswith("/") else ""
    if not search and place:
        return Leads(folder=folder or own, partition=int(place[1]))
    named = _ENDS.search(prefix)
    return Leads(
        folder=folder or own or (named[1] if named else ""),
        uuid=search,
        searches=not search and bool(lines or prefix.startswith("(")),
    )
