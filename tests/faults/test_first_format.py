"""A library that the first released format was written by (0.1.0), kept as a file: whatever comes, it stays readable.

Two images of one small disk (FAT and ext4), the first of them verified, renamed, noted and pinned, and the SHA-256 of
the disk as it was each time, with what is unused zero.
"""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from imaging.library import Library
from tests.command import Outcome
from tests.disks import MIB, blank, unpack
from tests.faults import proof
from tests.faults.test_structure import checked
from tests.faults.world import Sample, capture_here, restore_here, verify_here

Rescue = Callable[..., Outcome]
KEPT = Path(__file__).with_name("library-0.1.0.tar.zst.base64")
SIZE = 20 * MIB


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The library, unpacked; `SHA256` lies beside it."""
    packed = zstandard.ZstdDecompressor().decompressobj().decompress(base64.b64decode(KEPT.read_bytes()))
    unpack(packed, tmp_path / "first")
    return tmp_path / "first" / "library"


def digests(first: Path) -> dict[str, str]:
    """The disk's SHA-256 by the image's id."""
    lines = (first.parent / "SHA256").read_text().splitlines()
    return {image: digest for digest, image in (line.split() for line in lines)}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_its_images_are_listed_with_what_is_noted_of_them(command: Rescue, first: Path) -> None:
    newer, older = command("images", "--library", first, "--json").json["images"]
    assert {newer["id"], older["id"]} == set(digests(first))
    assert (newer["label"], older["label"], older["note"]) == ("Day two", "First day", "made by the first release")
    assert (older["verified"]["chunks"], older["verified"]["bad"], newer["verified"]) == (6, 0, None)
    assert Library.open(first).notes(older["id"]).pinned
    assert checked(command, first, 0)["state"] == "good"
    files = command("files", f"{older['id']}:2", "/home/anna", "--library", first).out
    assert "letter.txt" in files


def test_each_of_its_images_is_verified_restored_and_extracted_by_casync(first: Path, tmp_path: Path) -> None:
    for image, digest in digests(first).items():
        sample = Sample(first, image, Path("pc.img"))
        assert verify_here(sample, tmp_path / f"verify-{image}").status == 0
        target = blank(tmp_path / f"{image}.img", SIZE)
        assert restore_here(sample, target, tmp_path / f"restore-{image}").status == 0
        proof.extract(first, image, "pc.img", tmp_path / f"{image}.casync")
        assert sha256(target) == sha256(tmp_path / f"{image}.casync") == digest


def test_it_takes_a_new_image_that_finds_its_chunks(first: Path, tmp_path: Path) -> None:
    newest = list(digests(first))[-1]
    disk = tmp_path / "pc.img"
    proof.extract(first, newest, "pc.img", disk)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    done = capture_here(disk, first, tmp_path / "capture")
    assert done.status == 0
    assert getattr(done.result, "new", None) == 0
    assert len(Library.open(first).images().images) == 3
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('"format": 1', '"format": 2', "unknown-version"),
        ('"chunk_size"', '"features": ["holograms"],\n "chunk_size"', "unknown-feature"),
    ],
)
def test_one_like_it_of_tomorrow_is_refused_by_whatever_would_read_or_change_it(
    command: Rescue, first: Path, tmp_path: Path, old: str, new: str, code: str
) -> None:
    name = first / "library.json"
    name.write_text(name.read_text().replace(old, new))
    assert new in name.read_text()
    image = next(iter(digests(first)))
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    for words in (
        ["images"],
        ["show", image],
        ["verify", image],
        ["restore", image, tmp_path / "new.img", "--erase", "new.img"],
        ["delete", image, "--delete", image],
        ["rename", image, "another"],
        ["prune", "--yes"],
    ):
        error = command(*words, "--library", first, "--json", status=4).json["error"]
        assert error["code"] == code, words
    for word in ("info", "check"):
        assert command("library", word, first, "--json", status=4).json["error"]["code"] == code
    assert command("library", "init", first, "--json", status=3).json["error"]["code"] == "library-there"
    assert capture_here(blank(tmp_path / "pc.img", MIB), first, tmp_path / "capture").code == code
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
