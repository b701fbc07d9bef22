"""The reader of partclone images against partclone itself: of every file system, with every kind of checksum."""

from pathlib import Path

import pytest

from imaging.extents import Extents
from imaging.partclone import PartcloneImage
from imaging.usedmap import parse_domain
from tests.disks import blank
from tests.matrix import variants
from tests.matrix.tools import Place, attached, mounted, said
from tests.matrix.variants import VARIANTS
from tests.matrix.volumes import BTRFS, XFS
from tests.unit.partclone_images import version_1, volume

pytestmark = pytest.mark.root

CASES = {
    "ext4-1k": ("", "-a0", "-k1", "-k4 -K", "-z 10485760"),
    "ntfs-4k": ("", "-k3"),
    "fat32-512": ("", "-a0"),
    "exfat-4k": ("", "-k1"),
    "xfs": ("-K",),
    "btrfs": ("", "-k2"),
}
_AT_ONCE = ("-f", "0")
"""It waits so many seconds between two looks at its progress, also before it ends."""


def build(name: str, room: Path) -> tuple[str, Path]:
    """A volume with files in it, and the name of its file system for partclone."""
    by_name = {variant.name: variant for variant in VARIANTS}
    if name in by_name:
        return by_name[name].kind.name, variants.build(by_name[name], room).path
    kind = XFS if name == "xfs" else BTRFS
    place = Place(path=room / f"{name}.img", start=0, size=kind.size)
    blank(place.path, place.size)
    with attached(place) as loop:
        said(*kind.make(loop, 512))
        with mounted(kind.mount, loop) as root:
            for i in range(9):
                (root / f"{i}").write_bytes(bytes([i + 65]) * (90_000 * i + 1))
            (root / "4").unlink()
    return kind.name, place.path


def partclone(tool: str, *words: object) -> None:
    said(f"partclone.{tool}", *words, *_AT_ONCE, "-q", "-L", "/dev/null")


def made_of(image: Path, size: int) -> tuple[PartcloneImage, bytes]:
    """What our reader makes of an image, as a volume whose unused bytes are zero."""
    made = bytearray(size)
    with image.open("rb", buffering=0) as file:
        opened = PartcloneImage(file.read, image.name)
        for at, data in opened.pieces():
            made[at : at + len(data)] = data
    return opened, bytes(made)


@pytest.mark.parametrize("name", CASES)
def test_an_image_is_read_as_partclone_restores_it(name: str, room: Path) -> None:
    kind, source = build(name, room)
    size = source.stat().st_size
    domain = room / "domain"
    partclone(kind, "-D", "-s", source, "-O", domain)
    used = parse_domain(domain.read_text().splitlines(), size)
    for i, options in enumerate(CASES[name]):
        image, restored = room / f"{i}.ptcl", room / f"{i}.restored"
        partclone(kind, "-c", "-s", source, "-O", image, *options.split())
        opened, made = made_of(image, size)
        # What lies behind the last block counts as used in what we take of a map.
        behind = opened.header.blocks * opened.header.block_size
        assert opened.used.union(Extents([(behind, size)])) == used
        blank(restored, size)
        partclone("restore", "-s", image, "-O", restored)
        assert made == restored.read_bytes(), options
        assert opened.header.size == size


def test_what_the_tests_write_of_version_1_is_what_partclone_takes(room: Path) -> None:
    source = volume(3000, [i for i in range(3000) if i % 7 < 4], 4096)
    image, restored = room / "old.ptcl", room / "restored"
    image.write_bytes(version_1(source))
    blank(restored, len(source.restored()))
    partclone("restore", "-s", image, "-O", restored)
    assert restored.read_bytes() == source.restored() == made_of(image, len(source.restored()))[1]
