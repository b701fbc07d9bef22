"""`rescue diff`: which volumes of two images, or of an image and a disk, differ, and by how much."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from imaging.events import CaptureResult
from tests.command import Outcome
from tests.disks import MIB, blank, partition
from tests.faults.world import DISK_SIZE, Sample, capture_here, restore_here, sample_disk

Rescue = Callable[..., Outcome]
CHUNK = 4 * MIB
FIRST, SECOND = (MIB, 13 * MIB), (14 * MIB, 21 * MIB)
"""Start and size of the sample's partitions, which count as wholly used."""


def overwritten(disk: Path, to: Path, *places: int) -> Path:
    """A copy of a disk with other bytes at these places."""
    shutil.copyfile(disk, to)
    with to.open("r+b") as file:
        for at in places:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
    return to


def captured_again(sample: Sample, disk: Path, tmp_path: Path) -> str:
    result = capture_here(disk, sample.library, tmp_path / f"capture-{disk.name}").result
    assert isinstance(result, CaptureResult)
    return result.image


def difference(command: Rescue, sample: Sample, other: object, status: int = 7) -> dict[str, Any]:
    """What the command says of the only disk, with not one chunk at hand."""
    shutil.rmtree(sample.library / "chunks", ignore_errors=True)
    found = command("diff", sample.image_id, other, "--library", sample.library, "--json", status=status).json
    assert found["state"] == ("same" if status == 0 else "different")
    (disk,) = found["disks"]
    assert isinstance(disk, dict)
    return disk


def said(disk: dict[str, Any]) -> list[tuple[int, str, int, int]]:
    return [(one["number"], one["state"], one["compared"], one["different"]) for one in disk["volumes"]]


@pytest.mark.parametrize("where", ["image", "disk"])
def test_what_is_the_same_is_said_to_be(command: Rescue, sample: Sample, where: str) -> None:
    disk = difference(command, sample, sample.image_id if where == "image" else sample.disk, status=0)
    assert disk["table"] == "same"
    assert said(disk) == [(1, "same", FIRST[1], 0), (2, "same", SECOND[1], 0)]


@pytest.mark.parametrize("where", ["image", "disk"])
def test_what_differs_is_known_to_a_chunk_and_in_which_volume(
    command: Rescue, sample: Sample, tmp_path: Path, where: str
) -> None:
    # In the first chunk of the second partition, and in its last, which is short.
    disk = overwritten(sample.disk, tmp_path / "pc.img", SECOND[0] + 5, SECOND[0] + SECOND[1] - 1)
    before = blake3(disk.read_bytes()).digest()
    found = difference(command, sample, captured_again(sample, disk, tmp_path) if where == "image" else disk)
    assert found["table"] == "same"
    assert said(found) == [(1, "same", FIRST[1], 0), (2, "different", SECOND[1], CHUNK + SECOND[1] % CHUNK)]
    assert found["volumes"][1]["equal"] == SECOND[1] - CHUNK - SECOND[1] % CHUNK
    assert blake3(disk.read_bytes()).digest() == before


@pytest.mark.parametrize("where", ["image", "disk"])
def test_a_partition_that_was_moved_is_compared_where_it_is_and_others_came_or_went(
    command: Rescue, sample: Sample, tmp_path: Path, where: str
) -> None:
    table = "label: gpt\nsize=13MiB, start=20MiB\nsize=4MiB, start=40MiB\n"
    disk = partition(blank(tmp_path / "pc.img", DISK_SIZE), table.replace("\nsize=4", "\n3: size=4"))
    data = sample.disk.read_bytes()[FIRST[0] : sum(FIRST)]
    with disk.open("r+b") as file:
        file.seek(20 * MIB)
        file.write(data)
        file.seek(40 * MIB)
        file.write(b"new")
    found = difference(command, sample, captured_again(sample, disk, tmp_path) if where == "image" else disk)
    assert found["table"] == "different"
    states = {one["number"]: one["state"] for one in found["volumes"]}
    assert states == {1: "same", 2: "removed", 3: "added"}


def test_what_no_longer_fits_into_a_partition_differs(command: Rescue, sample: Sample, tmp_path: Path) -> None:
    disk = partition(blank(tmp_path / "pc.img", DISK_SIZE), "label: gpt\nstart=1MiB, size=9MiB\n")
    data = sample.disk.read_bytes()[FIRST[0] : FIRST[0] + 9 * MIB]
    with disk.open("r+b") as file:
        file.seek(MIB)
        file.write(data)
    found = difference(command, sample, disk)
    assert said(found) == [(1, "different", FIRST[1], 5 * MIB), (2, "removed", SECOND[1], 0)]


def test_boot_code_and_what_lies_in_gaps_is_compared_between_images(
    command: Rescue, sample: Sample, tmp_path: Path
) -> None:
    other = captured_again(sample, overwritten(sample.disk, tmp_path / "pc.img", 5), tmp_path)
    found = difference(command, sample, other)
    assert (found["state"], found["table"], found["outside"]) == ("different", "same", "different")
    assert [one["state"] for one in found["volumes"]] == ["same", "same"]
    assert "outside of volumes" in command("diff", sample.image_id, other, "--library", sample.library, status=7).out


def test_boot_code_and_the_copy_of_the_table_are_compared_with_a_disk(
    command: Rescue, sample: Sample, tmp_path: Path
) -> None:
    for place in (5, DISK_SIZE - 512 + 16, 40 * 512):
        disk = overwritten(sample.disk, tmp_path / "pc.img", place)
        found = difference(command, sample, disk)
        assert (found["state"], found["table"], found["outside"]) == ("different", "same", "different")
        assert [one["state"] for one in found["volumes"]] == ["same", "same"]
    assert difference(command, sample, sample.disk, status=0)["outside"] == "same"


@pytest.mark.parametrize("size", [DISK_SIZE - 8 * MIB, DISK_SIZE + 8 * MIB])
def test_a_disk_of_another_size_is_the_same_where_restore_has_made_it_so(
    command: Rescue, sample: Sample, tmp_path: Path, size: int
) -> None:
    target = blank(tmp_path / "target.img", size, fill=0xAA)
    assert restore_here(sample, target, tmp_path / "job").status == 0
    words = ["diff", sample.image_id, target, "--library", sample.library, "--json"]
    assert command(*words, status=0).json["disks"][0]["outside"] == "same"
    overwritten(target, tmp_path / "other.img", size - 512 + 16)
    words[2] = tmp_path / "other.img"
    assert command(*words, status=7).json["disks"][0]["outside"] == "different"


@pytest.mark.root
def test_a_chunk_that_is_of_a_volume_and_of_the_table_does_not_make_the_same_differ(
    command: Rescue, tmp_path: Path
) -> None:
    disk = sample_disk(tmp_path / "pc.img")
    with disk.open("r+b") as file:
        # Only the copy of the table is whole: what streams by is cut without a look at its partitions.
        file.seek(512 + 16)
        file.write(b"????")
    source = tmp_path / "saved.gz"
    source.write_bytes(gzip.compress(disk.read_bytes(), 1))
    command("import", source, "--library", tmp_path / "library")
    (image,) = command("images", "--library", tmp_path / "library", "--json").json["images"]
    words = ["diff", image["id"], disk, "--library", tmp_path / "library", "--json"]
    (found,) = command(*words, status=0).json["disks"]
    assert [(one["state"], one["different"]) for one in found["volumes"]] == [("same", 0), ("same", 0)]
    words[2] = overwritten(disk, tmp_path / "other.img", MIB + 5)
    (found,) = command(*words, status=7).json["disks"]
    assert [one["state"] for one in found["volumes"]] == ["different", "same"]
    assert (found["table"], found["outside"]) == ("same", "same")


def test_people_read_it_as_a_table(command: Rescue, sample: Sample, tmp_path: Path) -> None:
    disk = overwritten(sample.disk, tmp_path / "pc.img", SECOND[0])
    words = ["diff", sample.image_id, disk, "--library", sample.library]
    out = command(*words, status=7).out
    assert "pc.img: differs" in out
    assert "4.2 MB of 22.0 MB" in out
    assert "The disk was only read." in out
    error = command("diff", sample.image_id, "nothing", "--library", sample.library, "--json", status=4).json["error"]
    assert error["code"] == "no-such-image"
