"""Images on targets of another size, and on targets that had another kind of table."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, digest, partition
from tests.matrix import images, layouts, volumes
from tests.matrix.images import Captured
from tests.matrix.layouts import Source
from tests.matrix.tools import said
from tests.matrix.volumes import EXT4

pytestmark = pytest.mark.root
_GPT = b"EFI PART"
_FULL_GPT = "label: gpt\nsize=8MiB\nsize=4MiB\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaged:
    """A disk and its image."""

    source: Source
    captured: Captured


@pytest.fixture(scope="module", params=[512, 4096])
def gpt(request: pytest.FixtureRequest, files: Path, shared_room: Path) -> Iterator[Imaged]:
    """A small GPT disk, captured."""
    folder = shared_room / f"sizes-{request.param}"
    folder.mkdir()
    source = layouts.small_gpt(folder / "source.img", files, sector=request.param)
    yield Imaged(source=source, captured=images.capture(source.path, folder / "library"))


@pytest.fixture(scope="module")
def mbr(files: Path, shared_room: Path) -> Imaged:
    """A small MBR disk with a logical partition, captured."""
    folder = shared_room / "mbr"
    folder.mkdir()
    source = layouts.small_mbr(folder / "source.img", files)
    return Imaged(source=source, captured=images.capture(source.path, folder / "library"))


def _least(source: Source) -> int:
    """Up to the end of the last partition, 16 KiB of entries and a header's sector."""
    root = source.places[EXT4.name]
    return root.start + root.size + (16 << 10) + source.layout.sector


def _sector(path: Path, number: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(number * size if number >= 0 else path.stat().st_size + number * size)
        return file.read(size)


def _expect_whole(imaged: Imaged, target: Path) -> None:
    """The target's table is sound and its volumes are those of the image."""
    source, sector = imaged.source, imaged.source.layout.sector
    assert "No errors detected" in layouts.verified_table(target, sector)
    assert layouts.table_of(target, sector)["partitions"] == layouts.table_of(source.path, sector)["partitions"]
    root = source.places[EXT4.name].on(target)
    volumes.check(EXT4, root)
    assert volumes.entries(EXT4, root) == source.entries[EXT4.name]
    assert volumes.swap_identity(source.swap.on(target)) == volumes.swap_identity(source.swap)


@pytest.mark.parametrize("change", ["larger", "much larger", "smaller", "as small as can be"])
def test_a_gpt_image_fits_a_target_of_another_size(gpt: Imaged, change: str, room: Path) -> None:
    source, sector = gpt.source, gpt.source.layout.sector
    size = {
        "larger": source.size + sector,
        "much larger": 3 * source.size + 5 * sector,
        "smaller": source.size - 7 * sector,
        "as small as can be": _least(source),
    }[change]
    target = blank(room / "target.img", size, fill=0xAA)
    images.restore(gpt.captured, target)
    _expect_whole(gpt, target)
    table = layouts.table_of(target, sector)
    last = size // sector - 1
    assert table["id"] == layouts.table_of(source.path, sector)["id"]
    assert table["lastlba"] == last - (16 << 10) // sector - 1
    assert _sector(target, -1, sector)[:8] == _GPT
    primary = _sector(target, 1, sector)
    assert int.from_bytes(primary[32:40], "little") == last


def test_restoring_again_onto_a_target_of_another_size_writes_nothing(gpt: Imaged, room: Path) -> None:
    target = blank(room / "target.img", gpt.source.size + 5 * MIB, fill=0xAA)
    first = images.restore(gpt.captured, target)
    before, modified = digest(target), target.stat().st_mtime_ns
    again = images.restore(gpt.captured, target)
    assert (again["written"], again["compared"]) == (0, again["skipped"])
    assert again["compared"] == first["written"]
    assert (digest(target), target.stat().st_mtime_ns) == (before, modified)


def test_a_target_one_sector_too_small_is_refused_and_left_alone(gpt: Imaged, room: Path) -> None:
    size = _least(gpt.source) - gpt.source.layout.sector
    target = blank(room / "target.img", size, fill=0xAA)
    words = ("--library", gpt.captured.library, "--erase", target.name, "--json")
    error = run_rescue("restore", gpt.captured.image, target, *words, status=3).json["error"]
    assert error["code"] == "target-too-small"
    assert f"{size:,}" in error["message"]
    assert images.holds_only(target, 0xAA, [(0, size)])


def test_the_copy_of_a_gpt_is_found_where_the_primary_was_lost(gpt: Imaged, room: Path) -> None:
    sector = gpt.source.layout.sector
    target = blank(room / "target.img", gpt.source.size + 9 * sector, fill=0xAA)
    images.restore(gpt.captured, target)
    before = layouts.table_of(target, sector)
    with target.open("r+b") as file:
        file.seek(sector)
        file.write(bytes(sector))
    assert layouts.table_of(target, sector)["partitions"] == before["partitions"]


@pytest.mark.parametrize("change", [-5 * MIB, 0, 40 * MIB], ids=["smaller", "equal", "larger"])
def test_an_mbr_image_leaves_nothing_of_the_gpt_that_stood_on_the_target(mbr: Imaged, change: int, room: Path) -> None:
    target = blank(room / "target.img", mbr.source.size + change)
    partition(target, _FULL_GPT)
    assert _sector(target, 1, 512)[:8] == _sector(target, -1, 512)[:8] == _GPT
    images.restore(mbr.captured, target)
    _expect_whole(mbr, target)
    assert _sector(target, 1, 512)[:8] != _GPT
    assert _sector(target, -1, 512)[:8] != _GPT
    assert layouts.table_of(target, 512)["label"] == "dos"
    assert "PTTYPE=dos" in said("blkid", "--probe", "--output", "export", target)


def test_the_copy_of_a_gpt_is_taken_away_even_where_all_else_is_in_place(mbr: Imaged, room: Path) -> None:
    target = blank(room / "target.img", mbr.source.size)
    images.restore(mbr.captured, target)
    with target.open("r+b") as file:
        file.seek(-512, 2)
        file.write(_GPT)
    assert images.restore(mbr.captured, target)["written"] == 0
    assert _sector(target, -1, 512)[:8] != _GPT


def test_an_mbr_image_is_an_mbr_disk_where_a_gpt_of_large_sectors_stood(mbr: Imaged, room: Path) -> None:
    target = partition(blank(room / "target.img", mbr.source.size + MIB), _FULL_GPT, sector=4096)
    images.restore(mbr.captured, target)
    _expect_whole(mbr, target)
    again = images.capture(target, mbr.captured.library)
    assert again.manifest["table"] == mbr.captured.manifest["table"]


def test_a_gpt_image_replaces_a_gpt_of_other_sectors(gpt: Imaged, room: Path) -> None:
    other = 4096 if gpt.source.layout.sector == 512 else 512
    target = partition(blank(room / "target.img", gpt.source.size + MIB), _FULL_GPT, sector=other)
    images.restore(gpt.captured, target)
    _expect_whole(gpt, target)
    again = images.capture(target, gpt.captured.library)
    assert again.manifest["table"] == gpt.captured.manifest["table"]
