"""Images that exist only in memory, the library that holds them, and what is planned with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imaging.disk import Content, Disk, DiskId
from imaging.estimate import Estimate
from imaging.forecast import DiskForecast, Forecast
from imaging.imagevolumes import OpenVolume
from imaging.manifest import Image, ImagedDisk, Machine, Volume
from imaging.notes import Notes
from imaging.restoreplans import RestorePlan, RestoreTarget
from tests.app.disks import GB, HERE, SDA, make_table

LIBRARY = Path("/media/stick/library")


def make_imaged_disk(name: str = "sda", *, size: int = 256 * GB, model: str = "CT256M550") -> ImagedDisk:
    """What an image says of one disk."""
    table = make_table(size)
    volumes = tuple(
        Volume(
            number=partition.number,
            start=partition.start,
            size=partition.size,
            used=partition.size // 10,
            map_origin="partclone",
            content=partition.content,
        )
        for partition in table.partitions
    )
    return ImagedDisk(
        name=name,
        id=DiskId(size=size, model=model, serial=f"SN-{name}"),
        logical_sector=512,
        physical_sector=4096,
        table=table,
        volumes=volumes,
        table_extents=((0, 17408),),
        used=sum(volume.used for volume in volumes),
        chunks=6000,
        index_digest="0" * 64,
        used_digest="0" * 64,
        blake3_digest="0" * 64,
    )


def make_locked_image() -> Image:
    """An image of a disk whose second partition LUKS encrypts."""
    disk = make_imaged_disk()
    locked = replace(disk.volumes[-1], content=Content(kind="crypto_LUKS", usage="crypto"))
    return replace(make_image(), disks=(replace(disk, volumes=(*disk.volumes[:-1], locked)),))


def make_inside(name: str, content: Content, problem: str = "") -> OpenVolume:
    """What is in that partition."""
    size = 20 * GB
    return OpenVolume(
        name=name, disk="sda2-open", size=size, content=content, sector=512, pieces=((0, size),), problem=problem
    )


def make_image(
    id: str = "20261120T101500-office",
    *,
    created: str = "2026-11-20T10:15:00Z",
    label: str = "clean install",
    machine: Machine = HERE,
    disks: tuple[ImagedDisk, ...] = (),
) -> Image:
    """An image of one disk, unless told otherwise."""
    return Image(
        id=id,
        created=created,
        label=label,
        machine=machine,
        disks=disks or (make_imaged_disk(),),
        tool="rescue 0.1.0",
        stored=9 * GB,
    )


def restore_plan(target: Disk = SDA) -> RestorePlan:
    """Restore the common image."""
    image = make_image()
    pair = RestoreTarget(source=image.disks[0], target=target)
    return RestorePlan(library=str(LIBRARY), image=image.id, label=image.label, targets=(pair,))


def make_forecast(disks: Sequence[Disk], *, room: int | None = 200 * GB, known: int = 0) -> Forecast:
    """A tenth of each disk is used; the last volume is stored whole; `known` of 48 probes are in the library."""
    found = []
    for disk in disks:
        volumes = make_imaged_disk(disk.name, size=disk.size).volumes
        whole = replace(volumes[-1], map_origin="whole", used=volumes[-1].size // 10, note="it is encrypted")
        volumes = (*volumes[:-1], whole)
        used = sum(volume.used for volume in volumes)
        found.append(DiskForecast(name=disk.name, volumes=volumes, used=used, chunks=5000, sampled=48, known=known))
    used = sum(disk.used for disk in found)
    estimates = tuple(
        Estimate(
            level=level, stored=used // part, least=used // (part + 1), most=used // (part - 1), seconds=60.0 * time
        )
        for level, part, time in ((1, 2, 4), (3, 3, 6), (9, 4, 20))
    )
    return Forecast(disks=tuple(found), estimates=estimates, overhead=10**6, room=room)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeDamaged:
    """An image that cannot be used."""

    id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeListing:
    """What a library holds."""

    images: tuple[Image, ...] = ()
    damaged: tuple[FakeDamaged, ...] = ()
    notes: Mapping[str, Notes] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
