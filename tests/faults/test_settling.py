"""A computer loses its power, and its media are mounted without replaying a journal: what was stored is there."""

import shutil
from pathlib import Path

import pytest

from imaging import encryption, signatures, vouching
from imaging.library import Library
from imaging.withdrawn import withdraw
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
    assert _seen(tmp_path / "cut-off.img", options) == {"First": "", "Second": ""}
    assert _seen(tmp_path / "noted.img", options) == {"First": "", "Second": "of value"}


def _seen(disk: Path, options: str) -> dict[str, str]:
    """The images of its library as the recovery system mounts it, each of which is whole: a note for each label."""
    with looped(disk) as loop, mounted(("mount", "-o", options), loop) as there:
        path = there / "library"
        library = Library.open(path)
        images = library.images().images
        for image in images:
            run_rescue("verify", image.id, "--library", path)
        return {image.label: library.notes(image.id).text for image in images}


def test_what_else_is_said_to_be_done_is_there_without_the_journal(tmp_path: Path) -> None:
    """A deletion that has begun, a passphrase that was changed, a signature, an image and a disk as a file each."""
    source = tmp_path / "source.img"
    source.write_bytes(b"source" * MIB)
    known, new = tmp_path / "known", tmp_path / "new"
    known.write_text("known words of it\n")
    new.write_text("new words of it\n")
    opens = ("--passphrase-file", known)
    with looped(blank(tmp_path / "medium.img", 160 * MIB)) as loop:
        run("mkfs.ext4", "-q", loop)
        with mounted(("mount", "-o", "commit=600"), loop) as there:
            library = there / "library"
            run_rescue("library", "init", library, "--encrypt", *opens)
            captured = run_rescue("capture", source, "--library", library, "--json", *opens)
            image = captured.events[-1]["result"]["image"]
            run("sync")
            run_rescue("export", image, there / "one.rescue", "--library", library, *opens)
            shutil.copyfile(tmp_path / "medium.img", tmp_path / "single.img")
            run_rescue("export", image, there / "one.img", "--library", library, *opens)
            shutil.copyfile(tmp_path / "medium.img", tmp_path / "exported.img")
            encryption.change(library, "known words of it", "new words of it")
            shutil.copyfile(tmp_path / "medium.img", tmp_path / "changed.img")
            vouching.write(Library.open(library), image, b"signatures")
            shutil.copyfile(tmp_path / "medium.img", tmp_path / "signed.img")
            withdraw(Library.open(library), image)
            shutil.copyfile(tmp_path / "medium.img", tmp_path / "withdrawn.img")
    for disk, file, status in (("exported", known, 0), ("changed", known, 3), ("changed", new, 0)):
        with looped(tmp_path / f"{disk}.img") as loop, mounted(("mount", "-o", "ro,noload"), loop) as there:
            words = ("verify", image, "--library", there / "library", "--passphrase-file", file)
            run_rescue(*words, status=status)
            assert {path.name for path in there.glob("one.*")} == {"one.rescue", "one.img"}
    with looped(tmp_path / "single.img") as loop, mounted(("mount", "-o", "ro,noload"), loop) as there:
        assert (there / "one.rescue").exists()
    with looped(tmp_path / "signed.img") as loop, mounted(("mount", "-o", "ro,noload"), loop) as there:
        assert (there / "library/images" / image / signatures.NAME).exists()
    with looped(tmp_path / "withdrawn.img") as loop, mounted(("mount", "-o", "ro,noload"), loop) as there:
        assert not (there / "library/images" / image / "manifest.json").exists()
