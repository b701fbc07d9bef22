"""Folders that the real Clonezilla saved (Debian's; `VERSIONS` in the fixture says which), imported and restored.

One disk with FAT, ext4, NTFS, btrfs, xfs, swap and LVM, saved with zstd, with gzip and not packed at all. What makes
the fixture anew is `tests/clonezilla`.
"""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from imaging import sfdisk
from imaging.library import Library
from tests.clonezilla.files import VOLUMES
from tests.command import run_rescue
from tests.disks import MIB, blank, file_hashes, run, unpack
from tests.matrix import images, volumes
from tests.matrix.images import Captured
from tests.matrix.lvm import gathered, lvm_on, pieces
from tests.matrix.tools import Place, said
from tests.matrix.volumes import BTRFS, EXT4, FAT32, NTFS, XFS

pytestmark = pytest.mark.root

KEPT = Path(__file__).parents[1] / "clonezilla" / "saved.tar.xz.base64"
PACKINGS = {"zstd": "zst", "gzip": "gz", "plain": "uncomp"}
KINDS = {"fat": FAT32, "ext4": EXT4, "ntfs": NTFS, "btrfs": BTRFS, "xfs": XFS, "root": EXT4, "home-data": EXT4}
NUMBERS = {"fat": 1, "ext4": 2, "ntfs": 3, "btrfs": 4, "xfs": 7}
LVM, SWAP = 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A folder, its image, and the disk that came out of that."""

    folder: Path
    captured: Captured
    disk: Path

    def place(self, number: int) -> Place:
        """Where a partition lies."""
        part = next(part for part in sfdisk.read_table(str(self.disk), 512).partitions if part.number == number)
        return Place(path=self.disk, start=part.start, size=part.size)

    @contextmanager
    def volume(self, name: str) -> Iterator[Place]:
        """A file system; what lies in a logical volume is gathered from its extents, as LVM's own tools find these."""
        if name in NUMBERS:
            yield self.place(NUMBERS[name])
            return
        physical = self.place(LVM)
        with lvm_on(physical, read_only=True) as lvm, TemporaryDirectory(dir=self.disk.parent) as room:
            yield gathered(pieces(lvm, physical, f"group/{name}"), self.disk, Path(room, name))


@pytest.fixture(scope="module")
def saved(shared_room: Path) -> Iterator[Path]:
    """The three folders, with what they are to hold in `SHA256`."""
    folder = shared_room / "saved-by-clonezilla"
    unpack(base64.b64decode(KEPT.read_bytes()), folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=PACKINGS)
def restored(request: pytest.FixtureRequest, saved: Path) -> Iterator[Restored]:
    """One of the folders imported into a library of its own, and restored onto a disk that is full of 0xAA."""
    folder = saved / request.param
    room = saved / f"{request.param}-restored"
    room.mkdir()
    captured = images.imported(folder, "sda", room / "library")
    disk = blank(room / "disk.img", captured.manifest["id"]["size"], fill=0xAA)
    images.restore(captured, disk)
    yield Restored(folder=folder, captured=captured, disk=disk)
    shutil.rmtree(room)


def listed(saved: Path, volume: str) -> dict[str, str]:
    """The SHA-256 of a volume's files by their paths."""
    lines = (line.split("  ", 1) for line in (saved / "SHA256").read_text().splitlines())
    return {name.removeprefix(f"{volume}/"): digest for digest, name in lines if name.startswith(f"{volume}/")}


def read_back(name: str, place: Place) -> dict[str, str]:
    """The SHA-256 of each file in a restored file system."""
    if KINDS[name] is not FAT32:
        with volumes.opened(KINDS[name], place) as folder:
            return file_hashes(folder)
    with TemporaryDirectory() as room:
        said("mcopy", "-s", "-n", "-i", f"{place.path}@@{place.start}", "::/", room)
        return file_hashes(Path(room))


def test_the_folders_are_clonezillas_own_in_each_of_its_packings(restored: Restored) -> None:
    versions = dict(line.split() for line in (restored.folder.parent / "VERSIONS").read_text().splitlines())
    assert {"clonezilla", "partclone"} <= versions.keys()
    assert f"Partclone v{versions['partclone'].partition('+')[0]}" in (restored.folder / "clonezilla-img").read_text()
    found = {file.name for file in restored.folder.glob("*-ptcl-img*")}
    stems = ("sda1.vfat", "sda2.ext4", "sda3.ntfs", "sda4.btrfs", "sda7.xfs", "group-root.ext4", "group-home-data.ext4")
    assert found == {f"{stem}-ptcl-img.{PACKINGS[restored.folder.name]}" for stem in stems}


@pytest.mark.parametrize("name", VOLUMES)
def test_every_file_comes_back_with_the_same_hash(restored: Restored, name: str) -> None:
    expected = listed(restored.folder.parent, name)
    assert len(expected) > 20
    with restored.volume(name) as place:
        volumes.check(KINDS[name], place)
        assert read_back(name, place) == expected


def test_the_import_is_whole_and_proves_to_be(restored: Restored) -> None:
    library = Library.open(restored.captured.library)
    assert library.image(restored.captured.image).disks[0].left_out == ()
    assert restored.captured.warnings == []
    assert restored.captured.used.total < restored.disk.stat().st_size // 4
    verified = run_rescue("verify", restored.captured.image, "--library", restored.captured.library, "--json")
    assert verified.events[-1]["result"]["bad"] == []


def test_straight_from_the_folder_the_disk_is_the_very_same(restored: Restored) -> None:
    disk = blank(restored.disk.with_name("straight.img"), restored.disk.stat().st_size, fill=0xAA)
    run_rescue("restore", restored.folder, disk, "--erase", disk.name)
    with disk.open("rb") as one, restored.disk.open("rb") as other:
        assert all(
            a == b for a, b in zip(iter(partial(one.read, MIB), b""), iter(partial(other.read, MIB), b""), strict=True)
        )
    disk.unlink()


def swap_saved(restored: Restored, device: str) -> set[str]:
    """What the folder says of a swap area, as blkid puts it."""
    lines = (restored.folder / f"swappt-{device}.info").read_text().replace('"', "").splitlines()
    return {line for line in lines if not line.endswith("=")}


def swap_of(place: Place) -> set[str]:
    """What blkid says of its kind and names."""
    found = volumes.swap_identity(place).splitlines()
    return {line for line in found if line.startswith(("TYPE=", "UUID=", "LABEL="))}


def test_table_swap_and_volume_group_are_those_that_were_saved(restored: Restored) -> None:
    assert "No problems found" in said("sgdisk", "--verify", restored.disk)
    table = run("sfdisk", "-d", restored.disk).replace(f"{restored.disk}", "/dev/sda")
    assert table == (restored.folder / "sda-pt.sf").read_text()
    assert {"TYPE=swap", "LABEL=saved-swap", *swap_saved(restored, "sda6")} == swap_of(restored.place(SWAP))
    with restored.volume("swap") as logical:
        assert {"TYPE=swap", *swap_saved(restored, "group-swap")} == swap_of(logical)
    (physical,) = (restored.folder / "lvm_vg_dev.list").read_text().splitlines()
    with lvm_on(restored.place(LVM), read_only=True) as lvm:
        lvm.run("pvck", *lvm.devices)
        assert "WARNING: PV" not in lvm.run("vgck", "group")
        assert lvm.report("pvs", "pv_uuid") == [physical.split()[2]]
        assert lvm.report("lvs", "lv_name,seg_size_pe", "--segments") == [
            "home-data|6",
            "root|4",
            "root|6",
            "swap|3",
        ]
