"""Images by somebody hostile, who can recompute every digest: nothing outside a target is written, nothing crashes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imaging.chunk import digest
from imaging.events import CaptureResult
from imaging.library import Library
from tests.command import Outcome
from tests.disks import MIB, blank
from tests.faults import forge
from tests.faults.proof import index_entries
from tests.faults.world import DISK_SIZE, Sample, capture_here, restore_here, verify_here

Rescue = Callable[..., Outcome]


def _bad_manifest(command: Rescue, sample: Sample, target: Path) -> str:
    """The message with which list, show and restore refuse the image; the target is not touched."""
    words = ["restore", sample.image_id, target, "--erase", target.name, "--library", sample.library, "--json"]
    error = command(*words, status=4).json["error"]
    assert error["code"] == "bad-manifest"
    assert target.stat().st_blocks == 0
    assert [bad.id for bad in Library.open(sample.library).images().damaged] == [sample.image_id]
    message: str = error["message"]
    return message


@pytest.mark.parametrize(
    "extents",
    [[[0, DISK_SIZE + 512]], [[0, 1024], [512, 2048]], [[1 << 40, 1 << 41]], [[0, DISK_SIZE]], [[0, 1 << 62]]],
)
def test_a_table_beyond_the_disk_or_upon_itself_is_refused(
    command: Rescue, sample: Sample, tmp_path: Path, extents: list[list[int]]
) -> None:
    sample.edit(lambda image: image["disks"][0].update(table_extents=extents))
    assert "pc.img: the partition table" in _bad_manifest(command, sample, blank(tmp_path / "t.img", DISK_SIZE))


@pytest.mark.parametrize(
    "change",
    [
        {"logical_sector": 0},
        {"table_extents": [[-1, 5]]},
        {"used": -1},
        {"id": {"size": 1 << 63}},
        {"table": {"kind": "sun"}},
        {"volumes": 5},
        {"name": "../pc.img"},
    ],
)
def test_values_that_make_no_sense_are_refused(
    command: Rescue, sample: Sample, tmp_path: Path, change: dict[str, Any]
) -> None:
    sample.edit(lambda image: image["disks"][0].update(change))
    assert sample.image_id in _bad_manifest(command, sample, blank(tmp_path / "t.img", DISK_SIZE))


@pytest.mark.parametrize("table", [[[0, 1024], [DISK_SIZE - 4096, DISK_SIZE]], [[0, 1024], [3 * MIB, 5 * MIB]]])
def test_a_small_target_is_never_written_past_its_end(sample: Sample, tmp_path: Path, table: list[list[int]]) -> None:
    def shrink(image: dict[str, Any]) -> None:
        part = {"number": 1, "start": MIB, "size": MIB, "type": "83"}
        image["disks"][0]["table"] = {"kind": "dos", "table_id": "", "partitions": [part]}
        image["disks"][0]["table_extents"] = table

    sample.edit(shrink)
    sample.replace_part("used", forge.used_map([(0, 4096)], DISK_SIZE))
    target = blank(tmp_path / "target.img", 4 * MIB)
    # What lies past the last partition belongs to the end of the image's disk, and not to this one.
    assert restore_here(sample, target, tmp_path / "job").status == 0
    assert target.stat().st_size == 4 * MIB


def test_partitions_that_end_sooner_than_the_data_do_not_fool_the_size_check(sample: Sample, tmp_path: Path) -> None:
    def shrink(image: dict[str, Any]) -> None:
        for part in image["disks"][0]["table"]["partitions"]:
            part.update(start=MIB, size=MIB)

    sample.edit(shrink)
    target = blank(tmp_path / "target.img", 8 * MIB)
    done = restore_here(sample, target, tmp_path / "job")
    assert (done.status, done.code) == (3, "target-too-small")
    assert f"bytes are needed, it has {8 * MIB}" in done.message
    assert target.stat().st_blocks == 0


def test_chunk_ids_that_point_to_other_chunks_are_corrupt_and_named(sample: Sample, tmp_path: Path) -> None:
    entries = index_entries(sample.part("caibx"))
    ids = [name for _, name in entries]
    ids[2], ids[3] = ids[3], ids[2]
    sample.replace_part("caibx", forge.index([end for end, _ in entries], b"".join(ids)))
    target = blank(tmp_path / "target.img", DISK_SIZE, fill=0xAA)
    done = restore_here(sample, target, tmp_path / "restore")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert ids[2].hex() in done.message or ids[3].hex() in done.message
    assert "only partly restored" in done.state
    assert verify_here(sample, tmp_path / "verify").status == 4


def test_ids_of_chunks_of_another_length_are_corrupt(sample: Sample, tmp_path: Path) -> None:
    entries = index_entries(sample.part("caibx"))
    ids = [entries[0][1]] * len(entries)
    sample.replace_part("caibx", forge.index([end for end, _ in entries], b"".join(ids)))
    assert verify_here(sample, tmp_path / "verify").status == 4


def test_digests_that_prove_other_data_do_not_spoil_later_captures(sample: Sample, tmp_path: Path) -> None:
    """An index and a digest table that agree with each other and not with the chunks."""
    entries = index_entries(sample.part("caibx"))
    data = sample.disk.read_bytes()
    starts = [0, *(end for end, _ in entries)]
    plain = [data[start:end] for start, (end, _) in zip(starts, entries, strict=False)]
    sample.replace_part("blake3", forge.digest_table(b"".join(digest(part) for part in plain)))
    good = capture_here(sample.disk, sample.library, tmp_path / "job")
    assert good.status == 0
    assert isinstance(good.result, CaptureResult)
    assert verify_here(Sample(sample.library, good.result.image, sample.disk), tmp_path / "verify").status == 0


@pytest.mark.parametrize("ranges", [[(0, DISK_SIZE + 1)], [(0, 10), (5, 20)], [(1 << 60, 1 << 61)], [(20, 10)]])
def test_used_ranges_beyond_the_disk_or_upon_each_other_are_refused(
    sample: Sample, tmp_path: Path, ranges: list[tuple[int, int]]
) -> None:
    sample.replace_part("used", forge.used_map(ranges, DISK_SIZE))
    target = blank(tmp_path / "target.img", DISK_SIZE)
    done = restore_here(sample, target, tmp_path / "job")
    assert (done.status, done.code) == (4, "bad-used-map")
    assert "pc.img.used" in done.message
    assert target.stat().st_blocks == 0


def test_text_that_a_terminal_would_obey_is_not_printed(command: Rescue, sample: Sample) -> None:
    evil = "\x1b[2J\x07\u202egnp.exe\r\n"

    def change(image: dict[str, Any]) -> None:
        image.update(label=evil, created=evil, tool=evil)
        image["machine"].update(vendor=evil, model=evil, serial=evil, firmware=evil)
        image["disks"][0]["id"].update(model=evil, serial=evil)
        image["disks"][0]["volumes"][0].update(note=evil, map_origin=evil)

    sample.edit(change)
    for words in (["images"], ["show", sample.image_id], ["restore", sample.image_id, "new.img", "--plan"]):
        said = command(*words, "--library", sample.library).out
        assert not any(char in said for char in "\x1b\x07\u202e\r")
