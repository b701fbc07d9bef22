"""FAT volumes of each kind that are made anew for other sectors: its own tools find them whole, with all files."""

import dataclasses
from pathlib import Path

import pytest

from imaging import fatrebuild
from imaging.blockdev import opened, read
from imaging.errors import RefusedError
from tests.disks import MIB, blank
from tests.matrix.tools import Place, require, said
from tests.matrix.volumes import listed

_START = 3 * MIB


@pytest.fixture(autouse=True)
def tools() -> None:
    """What makes and reads FAT."""
    require(("mkfs.vfat", "mcopy"))


def _made(path: Path, files: Path, size: int, *words: object) -> Place:
    """A volume with files, folders and long names, some of them deleted again."""
    said("mkfs.vfat", "-n", "Old Label", "-i", "ABCD1234", *words, blank(path, size))
    said("mmd", "-i", path, "::/EFI", "::/EFI/A rather long name with spaces and ü")
    for i in range(40):
        said("mcopy", "-i", path, files / "file", f"::/EFI/A rather long name with spaces and ü/file {i}.efi")
    said("mdel", "-i", path, *(f"::/EFI/A rather long name with spaces and ü/file {i}.efi" for i in range(0, 40, 2)))
    said("mattrib", "+h", "+s", "-i", path, "::/EFI/A rather long name with spaces and ü/file 3.efi")
    return Place(path=path, start=0, size=size)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a file of some clusters."""
    (tmp_path / "file").write_bytes(bytes(range(256)) * 40 + b"end")
    return tmp_path


def _anew(place: Place, sector: int, target: Path) -> Place:
    """The volume made anew, on ground that held something else."""
    blank(target, place.size, fill=0xAA)
    with opened(str(place.path)) as fd:
        made = fatrebuild.rebuilt(lambda at, size: read(fd, size, at), place.size, _START, sector)
        with made as fat, target.open("r+b") as file:
            for low, high in fat.used:
                file.seek(low)
                file.write(read(fat.file, high - low, low))
    return dataclasses.replace(place, path=target, sector=sector)


def _identity(place: Place) -> set[str]:
    """Label and id."""
    lines = said("blkid", "--probe", "--output", "export", place.path).splitlines()
    return {line for line in lines if line.startswith(("LABEL", "UUID"))}


@pytest.mark.parametrize(
    ("size", "words", "sector", "bits"),
    [
        (2 * MIB, ("-F", 12, "-s", 1), 4096, 12),
        (32 * MIB, ("-F", 16, "-s", 4), 4096, 16),
        (48 * MIB, ("-F", 32, "-s", 1), 4096, 16),
        (300 * MIB, ("-F", 32, "-s", 1), 4096, 32),
        (300 * MIB + 512, ("-F", 32, "-s", 8, "-f", 1), 4096, 32),
        (300 * MIB, ("-F", 32, "-S", 4096, "-s", 1), 512, 32),
        (64 * MIB, ("-F", 16, "-S", 4096, "-s", 1), 512, 16),
        # It ends within a sector, as it does where it was made for whole tracks.
        (50 * MIB, ("-F", 16, "-s", 4, "-g", "255/63"), 4096, 16),
        # A few clusters too few for FAT32: with half their size it can stay that.
        (512 * MIB + 544 * 1024, ("-F", 32, "-s", 16), 4096, 32),
    ],
)
def test_a_fat_made_anew_has_all_files_with_their_names_times_and_attributes(
    size: int, words: tuple[object, ...], sector: int, bits: int, files: Path
) -> None:
    place = _made(files / "old.img", files, size, *words)
    there = _anew(place, sector, files / "new.img")
    said("fsck.vfat", "-n", there.path)
    assert listed(there) == listed(place)
    with there.path.open("rb") as file:
        boot = file.read(512)
    assert int.from_bytes(boot[11:13], "little") == sector
    assert boot[0x36:0x3B].decode() == f"FAT{bits}" if bits != 32 else boot[0x52:0x57] == b"FAT32"
    assert _identity(there) == _identity(place)
    inside = "::/EFI/A rather long name with spaces and ü/file 1.efi"
    said("mcopy", "-n", "-i", there.path, inside, files / "out")
    assert (files / "out").read_bytes() == (files / "file").read_bytes()
    again = _anew(place, sector, files / "again.img")
    assert again.path.read_bytes() == there.path.read_bytes()


def test_a_volume_that_was_not_unmounted_is_made_anew_as_one_that_was(files: Path) -> None:
    """Its structure is proved, whatever the mark says; a used stick bears it often."""
    place = _made(files / "old.img", files, 48 * MIB, "-F", 32, "-s", 1)
    with place.path.open("r+b") as file:
        file.seek(0x41)
        file.write(b"\1")
    there = _anew(place, 4096, files / "new.img")
    said("fsck.vfat", "-n", there.path)
    assert listed(there) == listed(place)


def test_files_that_do_not_fit_in_larger_clusters_are_told(files: Path) -> None:
    path = files / "old.img"
    said("mkfs.vfat", "-F", "12", "-s", "1", blank(path, MIB))
    (files / "many").mkdir()
    for i in range(1000):
        (files / "many" / str(i)).write_bytes(b"x")
    said("mcopy", "-s", "-i", path, files / "many", "::/")
    place = Place(path=path, start=0, size=MIB)
    with pytest.raises(RefusedError, match=r"4096 bytes its files take \d+ bytes, and it has room for"):
        _anew(place, 4096, files / "new.img")


def test_tables_that_differ_are_told(files: Path) -> None:
    place = _made(files / "old.img", files, 48 * MIB, "-F", 32, "-s", 1)
    with place.path.open("r+b") as file:
        file.seek(32 * 512 + 4 * 50)
        file.write(b"\1")
    with pytest.raises(RefusedError, match="its two tables differ"):
        _anew(place, 4096, files / "new.img")
