"""The manifest: what one image holds, of which machine, and how its parts are proved.

It is written last: an image without a whole manifest does not exist.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from blake3 import blake3

from imaging.decodable import decodable
from imaging.disk import Content, DiskId, Partition, PartitionRole, PartitionTable, Size, TableKind
from imaging.errors import BadImageError
from imaging.extents import Extents

FORMAT = 1
_SECTOR_SIZES = tuple(512 << i for i in range(8))
_MOST_TABLE = 16 << 20
"""Bytes that no partition table exceeds: restore holds all of it in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The computer that the image was captured on, from DMI; empty where that is not known."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""
    """"uefi" or "bios"."""
    hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerVolume:
    """A logical volume inside a physical one; `name` is "group/volume"."""

    name: str
    size: Size
    """Bytes of all of it, on other physical volumes, too."""
    used: Size
    """Bytes of this physical volume that are stored for it."""
    map_origin: str
    note: str = ""
    """Why all of it counts as used, in words, where it does."""
    content: Content = field(default_factory=Content)
    pieces: tuple[tuple[Size, Size], ...] = ()
    """Where its bytes lie, one piece after the other, `(start, end)` from the physical volume's start; none where
    they do not simply follow one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One partition (or the bare disk, number 0) and how its used bytes were found."""

    number: Size
    start: Size
    size: Size
    used: Size
    """Bytes that are stored."""
    map_origin: str
    """Who said what is used: "rescue" (its own reader), "partclone", "header" (swap), "lvm" (a physical volume),
    "whole"."""
    note: str = ""
    """Why all of it counts as used, in words, where it does; or what else has to be known of it."""
    content: Content = field(default_factory=Content)
    inner: tuple[InnerVolume, ...] = ()
    """The logical volumes of an LVM physical volume."""
    system: str = ""
    """The operating system on it, such as "Debian GNU/Linux 13 (trixie)" or "Windows"; empty where none was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagedDisk:
    """One disk of an image. The digests are BLAKE3, in hex, of the files beside the manifest."""

    name: str
    """The disk's name when it was captured (`sda`), and the stem of its files."""
    id: DiskId
    logical_sector: Size
    physical_sector: Size
    table: PartitionTable
    volumes: tuple[Volume, ...]
    """Those that are stored: all of the table's, unless only some were chosen."""
    table_extents: tuple[tuple[Size, Size], ...]
    """Where the partition table lies, `(start, end)`: written last on restore."""
    used: Size
    chunks: Size
    index_digest: str
    used_digest: str
    blake3_digest: str
    unreadable: tuple[tuple[Size, Size], ...] = ()
    """Where the disk could not be read when it was captured, `(start, end)`: zeros are stored for that."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.id.size

    @property
    def left_out(self) -> tuple[Partition, ...]:
        """The partitions of the table of which nothing is stored, because others were chosen."""
        stored = {volume.number for volume in self.volumes}
        return tuple(
            p for p in self.table.partitions if p.role is not PartitionRole.EXTENDED and p.number not in stored
        )

    def unreadable_in(self, numbers: Iterable[int] = ()) -> Extents:
        """Where the disk could not be read: of all of it, or of the volumes alone that bear these numbers."""
        lost, chosen = Extents(self.unreadable), set(numbers)
        if not chosen:
            return lost
        volumes = [volume for volume in self.volumes if volume.number in chosen]
        return Extents(part for v in volumes for part in lost.within(v.start, v.start + v.size))


@decodable
@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image: `id` is its folder's name, `created` is RFC 3339 in UTC."""

    id: str
    created: str
    disks: tuple[ImagedDisk, ...]
    label: str = ""
    machine: Machine = field(default_factory=Machine)
    tool: str = ""
    stored: Size = 0
    """Compressed bytes that this capture added to the library."""

    @property
    def systems(self) -> tuple[str, ...]:
        """The names of the operating systems in it, each once."""
        return tuple(dict.fromkeys(v.system for disk in self.disks for v in disk.volumes if v.system))

    @property
    def unreadable(self) -> int:
        """Bytes that could not be read when it was captured; where there are any the image is damaged."""
        return sum(Extents(disk.unreadable).total for disk in self.disks)

    @property
    def size(self) -> int:
        """Bytes of all its disks."""
        return sum(disk.size for disk in self.disks)

    @property
    def used(self) -> int:
        """Bytes that are stored, before compression."""
        return sum(disk.used for disk in self.disks)


def encode(image: Image) -> bytes:
    """Render as JSON: `format`, `image`, and `digest`, the BLAKE3 of the image's compact JSON with sorted keys."""
    value = msgspec.to_builtins(image)
    document = {"format": FORMAT, "digest": _digest(value), "image": value}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes, name: str) -> Image:
    """Parse a manifest; `name` is the file's, for the message.

    Raises BadImageError where it is cut short, damaged, or of an unknown format version.
    """

    def bad(what: str) -> BadImageError:
        return BadImageError(f"{name}: {what}", code="bad-manifest")

    try:
        document: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad(f"the manifest is cut short or damaged: {error}") from error
    if not isinstance(document, dict) or "format" not in document:
        raise bad("this is not an image's manifest")
    if document["format"] != FORMAT:
        raise BadImageError(
            f"{name}: format version {document['format']} is not known to this program (it reads {FORMAT})",
            code="unknown-version",
            hint="use a newer version of Rescue",
        )
    if document.get("digest") != _digest(document.get("image")):
        raise bad("the manifest is damaged: its digest does not match")
    try:
        image = msgspec.convert(document.get("image"), Image)
    except msgspec.ValidationError as error:
        raise bad(f"the manifest is not valid: {error}") from error
    for disk in image.disks:
        why = _why_not_valid(disk)
        if why:
            raise bad(why)
    if len({disk.name for disk in image.disks}) != len(image.disks):
        raise bad("two disks bear one name")
    return image


def _why_not_valid(disk: ImagedDisk) -> str:
    """A manifest's digest proves that it is whole, not that whoever wrote it meant well."""
    if disk.name in ("", ".", "..") or "/" in disk.name or "\0" in disk.name:
        return f"{disk.name!r} cannot be a disk's name"
    if disk.logical_sector not in _SECTOR_SIZES:
        return f"{disk.name}: no disk has sectors of {disk.logical_sector} bytes"
    for numbers in ([v.number for v in disk.volumes], [p.number for p in disk.table.partitions]):
        if len(set(numbers)) != len(numbers):
            return f"{disk.name}: two partitions bear one number"
    table = Extents(disk.table_extents)
    head = disk.logical_sector * (2 if disk.table.kind is TableKind.GPT else 1)
    if table.within(0, min(head, disk.size)) != [(0, min(head, disk.size))] and disk.size:
        return f"{disk.name}: the partition table does not begin where the disk does"
    if tuple(table) != disk.table_extents or table.end > disk.size or table.total > _MOST_TABLE:
        return f"{disk.name}: the partition table overlaps itself, lies beyond the disk or is too large"
    lost = Extents(disk.unreadable)
    if tuple(lost) != disk.unreadable or lost.end > disk.size:
        return f"{disk.name}: the ranges that could not be read overlap, or lie beyond the disk"
    return ""


def _digest(value: object) -> str:
    return blake3(msgspec.json.encode(value, order="sorted")).hexdigest()
