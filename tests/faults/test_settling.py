"""A computer loses its power, and its media are mounted without replaying a journal: what was stored is there."""

import shutil
from pathlib import Path

import pytest

from imaging.library import Library
from tests.command import run_rescue
from tests.disks import MIB, blank, looped, run
from tests.matrix.tools import mounted

pytestmark = pytest.mark.root


@pytest.mark.parametrize(("kind", "options"), [("ext4", "ro,noload"), ("btrfs", "ro,rescue=nologreplay")])
def test_what_was_stored_is_there_without_the_journal(kind: str, options: str, tmp_path: Path) -> None:
    source = tmp_path / "source.img"
    source.write_bytes(b"source" * MIB)
    with looped(blank(tmp_path / "medium.img", 160 * MIB)) as loop:
        run(f"mkfs.{kind}", "-q", loop)
        # As long as the test may take: what is written of itself would be seen by chance.
        with mounted(("mount", "-o", "commit=600"), loop) as there:
            library = there / "library"
            run_rescue("capture", source, "--library", library, "--label", "First")
            run("sync")
            captured = run_rescue("capture", source, "--library", library, "--label", "Second", "--json")
            image = captured.events[-1]["result"]["image"]
            shutil.copyfile(tmp_path / "medium.img", tmp_path / "cut-off.img")
            run_rescue("note", image, "of value", "--library", library)
            shutil.copyfile(tmp_path / "medium.img", tmp_path / "noted.img")
    assert [label for label, _ in _seen(tmp_path / "cut-off.img", options)] == ["Second", "First"]
    assert _seen(tmp_path / "noted.img", options) == [("Second", "of value"), ("First", "")]


def _seen(disk: Path, options: str) -> list[tuple[str, str]]:
    """The images of its library as the recovery system mounts it, each of which is whole: label and note."""
    with looped(disk) as loop, mounted(("mount", "-o", options), loop) as there:
        path = there / "library"
        library = Library.open(path)
        images = library.images().images
        for image in images:
            run_rescue("verify", image.id, "--library", path)
        return [(image.label, library.notes(image.id).text) for image in images]
