"""Values for tests, with everything that a test does not care for filled in."""

from dataclasses import replace
from typing import Any

from imaging.disk import Content, Disk, DiskId, Partition, PartitionTable, TableKind
from imaging.manifest import Image, ImagedDisk, Volume

MIB = 1 << 20
GIB = 1 << 30


def a_partition(number: int = 1, start: int = MIB, size: int = 100 * MIB, **changes: Any) -> Partition:
    """An ext4 partition labelled root."""
    made = Partition(number=number, start=start, size=size, type="83", content=Content(kind="ext4", label="root"))
    return replace(made, **changes)


def a_table(*partitions: Partition, kind: TableKind = TableKind.GPT) -> PartitionTable:
    """A table; GPT with one partition by default."""
    return PartitionTable(kind=kind, table_id="X", partitions=partitions or (a_partition(),))


def a_disk(**changes: Any) -> Disk:
    """A healthy internal disk of 1 GiB that nothing uses."""
    made = Disk(
        path="/dev/sda",
        id=DiskId(size=GIB, model="SomeDisk 1000", serial="S1", wwn="0x1"),
        table=a_table(),
        transport="ata",
        fingerprint="f",
    )
    return replace(made, **changes)


def an_imaged_disk(**changes: Any) -> ImagedDisk:
    """What an image says of `a_disk`."""
    made = ImagedDisk(
        name="sda",
        id=DiskId(size=GIB, model="SomeDisk 1000", serial="S1", wwn="0x1"),
        logical_sector=512,
        physical_sector=512,
        table=a_table(),
        volumes=(),
        table_extents=((0, 34 * 512), (GIB - 33 * 512, GIB)),
        used=50 * MIB,
        chunks=10,
        index_digest="",
        used_digest="",
        blake3_digest="",
    )
    return replace(made, **changes)


def an_image(**changes: Any) -> Image:
    """An image of one disk."""
    made = Image(id="20260101-000000-abcd", created="2026-01-01T00:00:00Z", disks=(an_imaged_disk(),), label="PC")
    return replace(made, **changes)


def a_volume(part: Partition, kind: str, **changes: Any) -> Volume:
    """What an image has of a partition."""
    made = Volume(
        number=part.number, start=part.start, size=part.size, used=MIB, map_origin="rescue", content=Content(kind=kind)
    )
    return replace(made, **changes)


def a_source(*parts: tuple[Partition, str], kind: TableKind = TableKind.GPT, **changes: Any) -> ImagedDisk:
    """A disk with these partitions, each with a kind of file system; the extended one, with none, is no volume."""
    return an_imaged_disk(
        table=a_table(*(part for part, _ in parts), kind=kind),
        volumes=tuple(a_volume(part, what) for part, what in parts if what != "extended"),
        **changes,
    )
