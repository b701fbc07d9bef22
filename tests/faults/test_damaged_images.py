"""Index, used map, digest table and chunks that are damaged, missing or not the manifest's."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from imaging.chunk import compress
from imaging.errors import BadImageError
from imaging.events import VerifyResult
from imaging.library import Library
from tests.command import Outcome
from tests.disks import MIB, blank
from tests.faults import forge
from tests.faults.world import DISK_SIZE, Sample, chunk_path, restore_here, verify_here, warnings_of

Rescue = Callable[..., Outcome]
HEADER = [struct.Struct("<Q").pack(value) for value in (0, 1 << 40)]


def _files(sample: Sample) -> str:
    """The code with which the files beside the manifest are refused, after all that is said of them was checked."""
    with pytest.raises(BadImageError) as caught:
        Library.open(sample.library).files(sample.image, sample.imaged)
    assert str(sample.manifest.parent) in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("suffix", ["caibx", "used", "blake3"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "empty", "missing"])
def test_a_file_that_is_not_the_manifests_is_refused_by_name(sample: Sample, suffix: str, damage: str) -> None:
    part = sample.part(suffix)
    data = bytearray(part.read_bytes())
    match damage:
        case "flipped":
            data[len(data) // 2] ^= 4
        case "cut":
            del data[-9:]
        case "longer":
            data += b"\0"
        case "empty":
            data.clear()
    part.write_bytes(data)
    if damage == "missing":
        part.unlink()
    assert _files(sample) == "bad-image-file"


@pytest.mark.parametrize("suffix", ["caibx", "used", "blake3"])
def test_a_damaged_file_stops_restore_and_verify_before_anything_is_written(
    rescue: Rescue, sample: Sample, tmp_path: Path, suffix: str
) -> None:
    sample.part(suffix).write_bytes(b"x")
    target = blank(tmp_path / "target.img", DISK_SIZE)
    restore = rescue(
        "restore", sample.image_id, target, "--erase", "target.img", "--library", sample.library, "--json", status=4
    )
    end = restore.events[-1]
    assert end["code"] == "bad-image-file"
    assert f"pc.img.{suffix}" in end["message"]
    assert target.stat().st_blocks == 0
    assert verify_here(sample, tmp_path / "job").code == "bad-image-file"


@pytest.mark.parametrize("at", [*range(0, 64, 8), 64, 64 + 40, *range(-40, 0, 8)])
@pytest.mark.parametrize("value", HEADER)
def test_every_field_of_a_forged_index_is_checked(sample: Sample, at: int, value: bytes) -> None:
    data = bytearray(sample.part("caibx").read_bytes())
    at %= len(data)
    if data[at : at + 8] == value:
        value = b"\1" + value[1:]
    data[at : at + 8] = value
    sample.replace_part("caibx", bytes(data))
    assert _files(sample) == "bad-index"


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d[:-40], lambda d: d[:64], lambda d: d + b"\0", lambda _: b""]
)
def test_a_forged_index_of_another_length_is_refused(sample: Sample, change: Callable[[bytes], bytes]) -> None:
    sample.replace_part("caibx", change(sample.part("caibx").read_bytes()))
    assert _files(sample) == "bad-index"


def test_a_forged_index_of_another_size_is_refused(sample: Sample) -> None:
    sample.replace_part("caibx", forge.index([DISK_SIZE + 512], bytes(32)))
    assert _files(sample) == "bad-index"


def test_forged_maps_and_digest_tables_are_refused(sample: Sample) -> None:
    sample.replace_part("used", forge.used_map([(0, DISK_SIZE + 1)], DISK_SIZE))
    assert _files(sample) == "bad-used-map"
    sample.replace_part("used", forge.used_map([(0, 512)], DISK_SIZE + 512))
    assert _files(sample) == "bad-used-map"


def test_a_digest_table_of_another_count_is_refused(sample: Sample) -> None:
    sample.replace_part("blake3", forge.digest_table(bytes(32)))
    assert _files(sample) == "bad-digest-table"


def _damage(path: Path, how: str) -> None:
    frame = bytearray(path.read_bytes())
    plain = zstandard.ZstdDecompressor().decompress(bytes(frame))
    match how:
        case "flipped":
            frame[len(frame) // 2] ^= 0x10
        case "cut":
            del frame[len(frame) // 2 :]
        case "empty":
            frame.clear()
        case "two frames":
            frame = bytearray(compress(plain[: MIB // 2]) + compress(plain[MIB // 2 :]))
        case "trailing":
            frame += b"\0"
        case "huge":
            frame = bytearray(bytes.fromhex("28b52ffde0") + (1 << 60).to_bytes(8, "little") + bytes(20))
        case "other data":
            frame = bytearray(compress(plain[:-1] + bytes([plain[-1] ^ 1])))
        case "shorter data":
            frame = bytearray(compress(plain[:-1]))
        case "not a frame":
            frame = bytearray(b"x" * 5000)
        case "folder":
            path.unlink()
            path.mkdir()
            return
    path.write_bytes(frame)
    if how == "missing":
        path.unlink()


DAMAGES = [
    "flipped", "cut", "empty", "two frames", "trailing", "huge", "other data", "shorter data", "not a frame", "missing",
]  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
def test_a_bad_chunk_is_named_by_restore_and_by_verify(sample: Sample, tmp_path: Path, how: str) -> None:
    name = sample.index.id(5).hex()
    _damage(sample.chunk(5), how)
    code = "missing-chunk" if how == "missing" else "corrupt-chunk"
    target = blank(tmp_path / "target.img", DISK_SIZE, fill=0xAA)
    restored = restore_here(sample, target, tmp_path / "restore")
    assert (restored.status, restored.code) == (4, code)
    assert f"chunk {name} is" in restored.message
    assert "only partly restored" in restored.state

    verified = verify_here(sample, tmp_path / "verify")
    assert (verified.status, verified.code) == (4, "corrupt-chunk")
    assert isinstance(verified.result, VerifyResult)
    assert verified.result.bad == (name,)
    assert any(name in line for line in warnings_of(tmp_path / "verify"))


def test_verify_finds_every_bad_chunk_and_the_command_names_them(rescue: Rescue, sample: Sample) -> None:
    names = set()
    for i in (2, 5, 7):
        _damage(sample.chunk(i), "flipped")
        names.add(sample.index.id(i).hex())
    done = rescue("verify", sample.image_id, "--library", sample.library, status=4)
    assert all(name in done.out + done.err for name in names)
    end = rescue("verify", sample.image_id, "--library", sample.library, "--json", status=4).events[-1]
    assert set(end["result"]["bad"]) == names
    assert end["code"] == "corrupt-chunk"


def test_a_chunk_that_is_far_too_long_is_not_read_whole(sample: Sample, tmp_path: Path) -> None:
    with sample.chunk(5).open("r+b") as file:
        file.truncate(1 << 40)
    done = verify_here(sample, tmp_path / "job")
    assert done.code == "corrupt-chunk"


def test_a_chunk_that_cannot_be_read_is_an_io_failure(sample: Sample, tmp_path: Path) -> None:
    _damage(sample.chunk(5), "folder")
    done = restore_here(sample, blank(tmp_path / "target.img", DISK_SIZE), tmp_path / "job")
    assert (done.status, done.code) == (5, "read-failed")
    assert str(sample.chunk(5)) in done.message


def test_a_library_that_goes_away_is_an_io_failure_and_no_bad_image(sample: Sample, tmp_path: Path) -> None:
    (sample.library / "chunks").rename(tmp_path / "gone")
    for done in (
        restore_here(sample, blank(tmp_path / "target.img", DISK_SIZE), tmp_path / "restore"),
        verify_here(sample, tmp_path / "verify"),
    ):
        assert (done.status, done.code) == (5, "library-gone")
        assert str(sample.library) in done.message


def test_a_bad_chunk_that_the_target_holds_already_does_not_matter(sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "target.img"
    target.write_bytes(sample.disk.read_bytes())
    with target.open("r+b") as file:
        os.pwrite(file.fileno(), b"changed", 20 * MIB)
    _damage(sample.chunk(1), "flipped")
    done = restore_here(sample, target, tmp_path / "job")
    assert done.status == 0, done.message
    assert target.read_bytes() == sample.disk.read_bytes()


def test_after_a_bad_chunk_the_rest_is_restored_once_the_chunk_is_back(sample: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "target.img", DISK_SIZE, fill=0xAA)
    frame = sample.chunk(9).read_bytes()
    _damage(sample.chunk(9), "cut")
    assert restore_here(sample, target, tmp_path / "first").status == 4
    sample.chunk(9).write_bytes(frame)
    again = restore_here(sample, target, tmp_path / "second")
    assert again.status == 0
    assert verify_here(sample, tmp_path / "verify", against=target).status == 0


def test_a_chunk_under_a_wrong_name_is_found_by_a_deep_verification_alone(rescue: Rescue, sample: Sample) -> None:
    index, i = sample.index, 1
    right, wrong = index.id(i), bytes(32)
    chunk_path(sample.library, wrong).parent.mkdir(exist_ok=True)
    sample.chunk(i).rename(chunk_path(sample.library, wrong))
    sample.replace_part("caibx", sample.part("caibx").read_bytes().replace(right, wrong))

    assert rescue("verify", sample.image_id, "--library", sample.library, "--json").events[-1]["status"] == 0
    words = ("verify", sample.image_id, "--library", sample.library, "--deep", "--json")
    result = rescue(*words, status=4).events[-1]["result"]
    assert result["bad"] == [wrong.hex()]


def test_a_disk_is_not_compared_deeply(rescue: Rescue, sample: Sample) -> None:
    words = ("verify", sample.image_id, "--against", sample.disk, "--deep", "--library", sample.library)
    assert "deep is for the image itself" in rescue(*words, status=2).err
