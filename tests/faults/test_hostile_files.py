"""Libraries whose files are links, pipes or far too long: such an image is damaged, and nothing hangs or grows."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging.errors import BadImageError
from imaging.library import Library
from tests.faults.world import Sample, capture_here, verify_here


def _link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _endless(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


TRAPS: list[Callable[[Path], None]] = [_link_to_zeros, os.mkfifo, _endless, Path.mkdir]


def _spring(trap: Callable[[Path], None], path: Path) -> None:
    path.unlink()
    trap(path)


@pytest.mark.parametrize("trap", TRAPS)
def test_a_manifest_that_is_no_file_makes_a_damaged_image(sample: Sample, trap: Callable[[Path], None]) -> None:
    _spring(trap, sample.manifest)
    listing = Library.open(sample.library).images()
    assert listing.images == ()
    assert [image.id for image in listing.damaged] == [sample.image_id]
    assert "manifest.json" in listing.damaged[0].problem


@pytest.mark.parametrize("trap", TRAPS)
def test_a_library_whose_description_is_no_file_is_no_library(sample: Sample, trap: Callable[[Path], None]) -> None:
    _spring(trap, sample.library / "library.json")
    with pytest.raises(BadImageError) as caught:
        Library.open(sample.library)
    assert caught.value.code == "not-a-library"


@pytest.mark.parametrize("suffix", ["caibx", "used", "blake3"])
@pytest.mark.parametrize("trap", TRAPS)
def test_a_part_that_is_no_file_is_told_and_the_next_capture_does_without(
    sample: Sample, tmp_path: Path, trap: Callable[[Path], None], suffix: str
) -> None:
    _spring(trap, sample.part(suffix))
    done = verify_here(sample, tmp_path / "verify")
    assert (done.status, done.code) == (4, "bad-image-file")
    assert str(sample.part(suffix)) in done.message
    assert capture_here(sample.disk, sample.library, tmp_path / "capture").status == 0


def test_a_writers_mark_that_is_no_file_holds_no_capture_up(sample: Sample, tmp_path: Path) -> None:
    _link_to_zeros(sample.library / "writers" / "x.json")
    os.mkfifo(sample.library / "writers" / "y.json")
    assert capture_here(sample.disk, sample.library, tmp_path / "capture").status == 0


@pytest.mark.parametrize("trap", TRAPS)
def test_a_chunk_that_is_no_file_is_corrupt(sample: Sample, tmp_path: Path, trap: Callable[[Path], None]) -> None:
    _spring(trap, sample.chunk(1))
    done = verify_here(sample, tmp_path / "verify")
    assert (done.status, done.code) in ((4, "corrupt-chunk"), (5, "read-failed"))
