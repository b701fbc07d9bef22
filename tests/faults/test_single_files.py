"""An image in a single file, whole or in pieces: read in place, restored from, converted both ways; hostile."""

import errno
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path

import pytest
from blake3 import blake3
from msgspec.structs import replace

from imaging import (
    care,
    circumstances,
    elsewhere,
    encryption,
    freeing,
    inventory,
    keyring,
    library,
    media,
    mounts,
    orders,
    packformat,
    packpieces,
    packrecords,
    packroom,
    planner,
    structure,
    vouching,
)
from imaging.content import Content
from imaging.errors import BadImageError, IoError, RefusedError, RescueError
from imaging.events import CaptureResult, ExportResult, VerifyResult
from imaging.imageplans import CopyImagesPlan, ExportFormat, ExportPlan, ImportPlan
from imaging.jobs import JobState
from imaging.keyslots import LEAST
from imaging.library import Library
from imaging.manifest import Machine
from imaging.packformat import BLOCK, PackedFile, Table
from imaging.pipeline import Reporter
from imaging.plan import encode
from imaging.signatures import State
from imaging.signingkeys import PrivateKey
from imaging.state import state_folder
from imaging.worker import carry_out
from tests.command import Outcome
from tests.disks import MIB, blank, run
from tests.faults.killing import finish, kill, start, wait_for_step
from tests.faults.proof import extract, prove
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    carry_out_here,
    holds_used_bytes,
    images_of,
    restore_here,
    tmpfs,
    verify_here,
    warnings_of,
    wide_disk,
)

WORDS = "correct horse battery"
KEY = PrivateKey(seed=bytes(range(32)))


def plan_for(sample: Sample, target: Path, piece: int = 0) -> ExportPlan:
    return ExportPlan(
        library=str(sample.library),
        image=sample.image_id,
        target=str(target),
        format=ExportFormat.RESCUE,
        piece_size=piece,
    )


def packed(sample: Sample, target: Path, folder: Path, piece: int = 0) -> Sample:
    """The same image in a single file, or in pieces."""
    done = carry_out_here(plan_for(sample, target, piece), folder)
    assert done.status == 0, done
    assert isinstance(done.result, ExportResult)
    assert done.result.pieces == len(list(target.parent.glob(f"{target.name}.[0-9]*"))) or not piece
    return Sample(Path(done.result.file), sample.image_id, sample.disk)


@pytest.fixture
def single(captured: Sample, tmp_path: Path) -> Sample:
    """The image in a single file."""
    return packed(captured, tmp_path / "pc.rescue", tmp_path / "export")


@pytest.fixture
def pieces(captured: Sample, tmp_path: Path) -> Sample:
    """The image in pieces of less than a chunk."""
    return packed(captured, tmp_path / "pc.rescue", tmp_path / "export", 3 * MIB + 512)


def unpacked(file: Path, to: Path) -> Path:
    """What `tar` makes of it."""
    to.mkdir()
    run("tar", "xf", file, "-C", to)
    return to


def joined(first: Path, to: Path) -> Path:
    """What `cat` makes of its pieces."""
    stem = first.name.removesuffix(".001")
    run("sh", "-c", 'cat "$1".* > "$2"', "sh", first.with_name(stem), to)
    return to


def files_of(library: Path) -> dict[str, bytes]:
    """What a library has of images and chunks; other tests may have noted something of the image that all share."""
    every = [path for name in ("images", "chunks") for path in (library / name).rglob("*") if path.is_file()]
    found = [path for path in every if path.name != "notes.json"]
    return {path.relative_to(library).as_posix(): path.read_bytes() for path in found}


def test_tar_makes_a_library_of_it_that_casync_reads(captured: Sample, single: Sample, tmp_path: Path) -> None:
    library = unpacked(single.library, tmp_path / "library")
    assert prove(library) == len(list(library.glob("chunks/*/*.cacnk")))
    rebuilt = extract(library, single.image_id, single.disk.name, tmp_path / "rebuilt.img")
    original = extract(captured.library, single.image_id, single.disk.name, tmp_path / "original.img")
    assert rebuilt.read_bytes() == original.read_bytes()
    assert holds_used_bytes(captured, rebuilt)
    assert images_of(library) == [single.image_id]
    assert files_of(library) == files_of(captured.library)
    assert (library / "library.json").read_bytes() == (captured.library / "library.json").read_bytes()


def test_the_manifest_is_unpacked_after_all_that_it_names(single: Sample) -> None:
    names = run("tar", "tf", single.library).splitlines()
    assert names[0] == "library.json"
    assert names[-2:] == [f"images/{single.image_id}/manifest.json", "rescue-index"]
    assert len(names) == len(set(names))


def test_a_disk_is_restored_from_it_and_verified_in_it(single: Sample, tmp_path: Path) -> None:
    target = blank(tmp_path / "new.img", DISK_SIZE)
    assert restore_here(single, target, tmp_path / "restore").status == 0
    assert holds_used_bytes(single, target)
    assert verify_here(single, tmp_path / "verify").status == 0
    assert verify_here(single, tmp_path / "against", against=target).status == 0


def test_pieces_are_read_across_their_borders(captured: Sample, pieces: Sample, tmp_path: Path) -> None:
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("pc.rescue.*"))]
    assert len(sizes) > 5
    assert set(sizes[:-1]) == {3 * MIB + 512}
    assert sizes[-1] <= 3 * MIB + 512
    assert not (tmp_path / "pc.rescue").exists()
    target = blank(tmp_path / "new.img", DISK_SIZE)
    assert restore_here(pieces, target, tmp_path / "restore").status == 0
    assert holds_used_bytes(captured, target)
    assert verify_here(pieces, tmp_path / "verify").status == 0
    library = unpacked(joined(pieces.library, tmp_path / "whole.tar"), tmp_path / "library")
    assert files_of(library) == files_of(captured.library)


def test_pieces_that_were_joined_are_one_file(pieces: Sample, tmp_path: Path) -> None:
    whole = joined(pieces.library, tmp_path / "whole.rescue")
    assert images_of_file(whole) == [pieces.image_id]


def images_of_file(file: Path) -> list[str]:
    listing = Library.open(file).images()
    return [image.id for image in listing.images] + [image.id for image in listing.damaged]


def test_it_is_converted_both_ways(captured: Sample, single: Sample, tmp_path: Path) -> None:
    back = tmp_path / "back"
    plan = CopyImagesPlan(library=str(single.library), target=str(back))
    assert carry_out_here(plan, tmp_path / "copy").status == 0
    assert files_of(back) == files_of(captured.library)
    again = packed(Sample(back, single.image_id, single.disk), tmp_path / "again.rescue", tmp_path / "job")
    assert files_of(unpacked(again.library, tmp_path / "out")) == files_of(captured.library)
    # And of one single file another can be made.
    third = packed(single, tmp_path / "third.rescue", tmp_path / "third")
    assert files_of(unpacked(third.library, tmp_path / "third-out")) == files_of(captured.library)


def test_it_goes_back_into_the_library_that_it_came_from(sample: Sample, tmp_path: Path) -> None:
    before = files_of(sample.library)
    single = packed(sample, tmp_path / "pc.rescue", tmp_path / "export")
    plan = freeing.plan_delete(sample.library, sample.image_id)
    assert carry_out_here(plan, tmp_path / "delete").status == 0
    assert images_of(sample.library) == []
    back = CopyImagesPlan(library=str(single.library), target=str(sample.library))
    assert carry_out_here(back, tmp_path / "copy").status == 0
    assert files_of(sample.library) == before


def test_label_and_notes_go_with_it(sample: Sample, tmp_path: Path) -> None:
    care.rename(sample.library, sample.image_id, "as it was sold")
    care.note(sample.library, sample.image_id, "from the shelf")
    single = packed(sample, tmp_path / "pc.rescue", tmp_path / "export")
    opened = Library.open(single.library)
    assert opened.image(single.image_id).label == "as it was sold"
    assert opened.notes(single.image_id).text == "from the shelf"


def test_a_signature_goes_with_it(sample: Sample, tmp_path: Path) -> None:
    vouching.sign(sample.library, sample.image_id, KEY)
    single = packed(sample, tmp_path / "pc.rescue", tmp_path / "export", MIB)
    standing = vouching.look(Library.open(single.library), single.image_id).standing
    assert standing.state is not State.UNSIGNED
    assert standing == vouching.look(Library.open(sample.library), sample.image_id).standing
    with pytest.raises(RefusedError, match="single file"):
        vouching.sign(single.library, single.image_id, PrivateKey(seed=bytes(32)))


def test_notes_that_cannot_be_used_stay_behind_with_a_warning(sample: Sample, tmp_path: Path) -> None:
    sample.manifest.with_name("notes.json").symlink_to("/etc/passwd")
    single = packed(sample, tmp_path / "pc.rescue", tmp_path / "export")
    assert any("notes.json" in words for words in warnings_of(tmp_path / "export"))
    assert "notes.json" not in run("tar", "tf", single.library)
    assert verify_here(single, tmp_path / "verify").status == 0


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted image in a single file, and its key."""

    single: Sample
    library: Sample
    key: bytes


@pytest.fixture
def sealed(captured: Sample, tmp_path: Path, no_keys: None) -> Sealed:
    """An encrypted library with the image, and that in a single file."""
    assert no_keys is None
    library, _ = encryption.create(tmp_path / "sealed", WORDS, cost=LEAST)
    key = keyring.key_of(library.info.id)
    result = capture_here(captured.disk, library.path, tmp_path / "capture").result
    assert isinstance(result, CaptureResult)
    sample = Sample(library.path, result.image, captured.disk)
    return Sealed(packed(sample, tmp_path / "pc.rescue", tmp_path / "export", 5 * MIB), sample, key)


def test_an_encrypted_one_stays_sealed(sealed: Sealed, tmp_path: Path) -> None:
    library = unpacked(joined(sealed.single.library, tmp_path / "whole.tar"), tmp_path / "out")
    assert sorted(files_of(library)) == sorted(files_of(sealed.library.library))
    for name, data in files_of(library).items():
        assert not data.startswith(b"\x28\xb5\x2f\xfd"), name
        with pytest.raises(ValueError):  # what is sealed may begin with any byte, a brace too
            json.loads(data)
    keyring.forget_all()
    with pytest.raises(RefusedError) as error:
        Library.open(sealed.single.library)
    assert error.value.code == "passphrase-needed"
    info = Library.look(sealed.single.library)
    keyring.unlock(info, WORDS, "the file")
    target = blank(tmp_path / "new.img", DISK_SIZE)
    assert restore_here(sealed.single, target, tmp_path / "restore").status == 0
    assert holds_used_bytes(sealed.single, target)
    assert verify_here(sealed.single, tmp_path / "verify").status == 0
    opened = Sample(library, sealed.single.image_id, sealed.single.disk)
    assert verify_here(opened, tmp_path / "verify-unpacked").status == 0


def test_an_encrypted_one_becomes_plain_only_where_that_is_said(sealed: Sealed, tmp_path: Path) -> None:
    plan = CopyImagesPlan(library=str(sealed.single.library), target=str(tmp_path / "plain"))
    done = carry_out_here(plan, tmp_path / "refused")
    assert (done.status, done.code) == (3, "would-unseal")
    assert carry_out_here(replace(plan, unseal=True), tmp_path / "unsealed").status == 0
    assert prove(tmp_path / "plain") > 0


def test_a_worker_is_given_the_key_of_an_encrypted_one(sealed: Sealed, tmp_path: Path) -> None:
    job = finish(start(plan_for(sealed.single, tmp_path / "raw.rescue")))
    assert job.state is JobState.DONE, (job.folder / "log").read_text()
    assert images_of_file(tmp_path / "raw.rescue") == [sealed.single.image_id]


def test_nothing_is_written_to_it(single: Sample, tmp_path: Path) -> None:
    before = single.library.read_bytes()
    file, image = single.library, single.image_id
    for change in (
        lambda: care.rename(file, image, "another"),
        lambda: care.note(file, image, "another"),
        lambda: care.pin(file, image, pinned=True),
        lambda: vouching.sign(file, image, KEY),
        lambda: Library.open(file).store().put(bytes(32), b"frame"),
        lambda: Library.open(file).store().remove(bytes(32)),
        lambda: Library.open(file).store().set_aside(bytes(32)),
        lambda: Library.open(file).store().drop_unless_whole(bytes(32)),
    ):
        with pytest.raises(RefusedError, match="in a single file") as error:
            change()
        assert error.value.code == "read-only"
    captured = capture_here(single.disk, file, tmp_path / "capture")
    assert (captured.status, captured.code) == (3, "read-only"), captured
    with pytest.raises(RefusedError, match="in a single file"):
        freeing.plan_delete(file, image)
    assert single.library.read_bytes() == before
    assert images_of_file(file) == [image]


def test_what_is_in_it_is_counted_and_checked(captured: Sample, single: Sample) -> None:
    library = Library.open(single.library)
    never = threading.Event()
    assert structure.stock(library, never) == structure.stock(Library.open(captured.library), never)
    found = structure.check(library, lambda _done, _total: None, never)
    assert found.whole


def test_it_is_no_target_of_itself(single: Sample, tmp_path: Path) -> None:
    assert packformat.lies_in(single.library, single.library)
    first, third = tmp_path / "pc.rescue.001", tmp_path / "pc.rescue.003"
    assert packformat.lies_in(third, first)
    assert not packformat.lies_in(tmp_path / "pc.img", first)
    assert not packformat.lies_in(tmp_path / "other.rescue.003", first)
    assert not packformat.lies_in(tmp_path / "pc.rescue", first)
    large = tmp_path / "large.rescue"
    shutil.copyfile(single.library, large)
    shown = inventory.look(str(large))
    plan = {single.disk.name: replaced(shown, id=replaced(shown.id, size=DISK_SIZE))}
    with pytest.raises(RefusedError, match="lies in the image library"):
        planner.plan_restore(large, single.image, plan)


def test_it_is_found_where_libraries_are_looked_for(captured: Sample, tmp_path: Path) -> None:
    place = tmp_path / "stick" / "backups"
    place.mkdir(parents=True)
    whole = packed(captured, place / "a.rescue", tmp_path / "a")
    first = packed(captured, place / "b.rescue", tmp_path / "b", 4 * MIB)
    (place / "c.rescue").write_text("something else")
    assert set(elsewhere.libraries_in(tmp_path / "stick")) == {whole.library, first.library}
    assert all(elsewhere.is_library(path) for path in (whole.library, first.library))


def test_commands_take_it_for_a_library(
    captured: Sample, tmp_path: Path, rescue: Callable[..., Outcome], command: Callable[..., Outcome]
) -> None:
    library, file, image = ["--library", captured.library], tmp_path / "pc.rescue", captured.image_id
    assert "was written" in rescue("export", image, file, *library).out
    assert image in command("images", "--library", file).out
    rescue("export", image, tmp_path / "p.rescue", "--piece-size", "2M", *library)
    assert image in command("images", "--library", tmp_path / "p.rescue").out
    assert image in command("images", "--library", tmp_path / "p.rescue.001").out
    assert image in command("images", "--library", tmp_path / "p.rescue.003").out
    rescue("import", tmp_path / "p.rescue", "--library", tmp_path / "other")
    assert files_of(tmp_path / "other") == files_of(captured.library)
    assert "leave --label out" in command("import", file, "--label", "x", *library, status=2).err
    assert "leave --disk out" in command("export", image, file, "--disk", "pc.img", *library, status=2).err
    assert "at least 1M" in command("export", image, file, "--piece-size", "9", *library, status=2).err
    assert "is for --as" in command("export", image, tmp_path / "x.raw", "--as", "raw", "--piece-size", "2G", *library,
        status=2).err  # fmt: skip
    assert "single file" in command("rename", image, "new", "--library", file, status=3).err


def test_it_is_restored_from_by_its_path_alone(
    captured: Sample, single: Sample, tmp_path: Path, rescue: Callable[..., Outcome], command: Callable[..., Outcome]
) -> None:
    target = blank(tmp_path / "new.img", DISK_SIZE)
    rescue("restore", single.library, target, "--yes", "--erase", "new.img")
    assert holds_used_bytes(captured, target)
    # Nobody takes the archive for a disk.
    plain = ImportPlan(library=str(tmp_path / "library"), source=str(single.library))
    assert carry_out_here(plain, tmp_path / "import").code == "not-foreign"
    Path(tmp_path / "copy.rescue").write_bytes(single.library.read_bytes()[:-1])
    assert "not whole" in command("restore", tmp_path / "copy.rescue", target, "--plan", status=4).err


@pytest.mark.parametrize("name", ["pc.rescue.002", "pc.rescue", "pc.rescue.001", "other.rescue.004"])
def test_a_piece_that_is_alone_is_no_disk(
    name: str, pieces: Sample, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copyfile(pieces.library.with_suffix(".002"), alone / name)
    refused_as_disk(alone / name, tmp_path, command)


def test_what_ends_as_an_image_of_ours_is_no_disk(
    pieces: Sample, tmp_path: Path, command: Callable[..., Outcome]
) -> None:
    last = sorted(tmp_path.glob("pc.rescue.*"))[-1]
    refused_as_disk(shutil.copyfile(last, tmp_path / "disk.img"), tmp_path, command)
    data = bytearray(joined(pieces.library, tmp_path / "whole.tar").read_bytes())
    data[:BLOCK] = bytes(BLOCK)
    (tmp_path / "disk.img").write_bytes(data)
    refused_as_disk(tmp_path / "disk.img", tmp_path, command)


def refused_as_disk(file: Path, tmp_path: Path, command: Callable[..., Outcome]) -> None:
    """Nothing is restored from it, nor imported."""
    target = blank(tmp_path / "new.img", DISK_SIZE)
    assert "no copy of a disk" in command("restore", file, target, "--yes", "--erase", "new.img", status=4).err
    assert not any(target.read_bytes())
    plan = ImportPlan(library=str(tmp_path / "import"), source=str(file))
    done = carry_out_here(plan, tmp_path / "refused")
    assert (done.status, done.code) == (4, "bad-image-file")


@pytest.mark.parametrize("piece", [0, 4 * MIB])
def test_an_order_can_name_it(piece: int, captured: Sample, tmp_path: Path) -> None:
    single = packed(captured, tmp_path / "pc.rescue", tmp_path / "export", piece)
    target = blank(tmp_path / "new.img", DISK_SIZE)
    words = f"""
version = 1
[restore]
library = "{tmp_path / "pc.rescue"}"
image = "newest"
[[restore.disk]]
file = "{target}"
"""
    order = orders.parse(words.encode(), "order")
    found = circumstances.look(order, Machine())
    assert found.library == single.library
    plan = circumstances.plan_order(order, found)
    assert carry_out_here(plan, tmp_path / "restore").status == 0
    assert holds_used_bytes(captured, target)


def test_those_at_the_root_of_media_are_listed_and_no_place_for_new_images(
    captured: Sample, tmp_path: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    monkeypatch.delenv("RESCUE_LIBRARY", raising=False)
    monkeypatch.setattr(media, "mounted", lambda **_: (stick,))
    single = packed(captured, stick / "pc.rescue", tmp_path / "export", 8 * MIB)
    assert library.single_files() == (single.library,)
    assert library.discover() == ()
    assert captured.image_id in command("images").out
    assert "no image library is attached" in command("capture", captured.disk, status=2).err
    assert "no image library was found" in command("delete", captured.image_id, status=4).err
    shutil.copytree(captured.library, stick / "rescue-library")
    assert command("images").out.count(captured.image_id) == 2
    assert library.candidates() == (stick / "rescue-library",)


@pytest.mark.root
def test_a_stick_with_exfat_holds_one(captured: Sample, tmp_path: Path) -> None:
    stick, where = blank(tmp_path / "stick.img", 96 * MIB), tmp_path / "stick"
    where.mkdir()
    run("mkfs.exfat", stick)
    loop = run("losetup", "--find", "--show", stick).strip()
    try:
        run("mount.exfat-fuse", loop, where)
        try:
            single = packed(captured, where / "pc.rescue", tmp_path / "export")
            pieces = packed(captured, where / "p.rescue", tmp_path / "pieces", 8 * MIB)
        finally:
            run("umount", where)
        run("mount.exfat-fuse", loop, where)
        try:
            names = {"pc.rescue", *(f"p.rescue.{number:03}" for number in range(1, 5))}
            assert {path.name for path in where.iterdir()} == names
            assert set(elsewhere.libraries_in(where)) == {single.library, pieces.library}
            for sample in (single, pieces):
                assert verify_here(sample, tmp_path / f"verify-{sample.library.name}").status == 0
        finally:
            run("umount", where)
    finally:
        run("losetup", "--detach", loop)


@pytest.mark.root
def test_files_are_read_and_compared_in_it(
    tmp_path: Path, rescue: Callable[..., Outcome], command: Callable[..., Outcome]
) -> None:
    disk, tree = tmp_path / "pc.img", tmp_path / "tree"
    tree.mkdir()
    (tree / "letter.txt").write_text("dear reader")
    run("mkfs.ext4", "-q", "-d", tree, disk, "24M")
    captured = capture_here(disk, tmp_path / "library", tmp_path / "capture").result
    assert isinstance(captured, CaptureResult)
    sample = packed(Sample(tmp_path / "library", captured.image, disk), tmp_path / "pc.rescue", tmp_path / "x")
    library = ["--library", sample.library]
    assert "letter.txt" in command("files", sample.image_id, "/", *library).out
    (tmp_path / "out").mkdir()
    rescue("copy", f"{sample.image_id}:{disk.name}/letter.txt", tmp_path / "out", *library)
    assert (tmp_path / "out" / "letter.txt").read_text() == "dear reader"
    rescue("diff", sample.image_id, disk, *library)


def test_fat_gets_pieces_by_itself(captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(_made: Path, _path: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(packroom, "FAT_PIECE", 8 * MIB)
    monkeypatch.setattr(mounts, "kind_beneath", lambda _path: "vfat")
    monkeypatch.setattr(os, "link", no_links)
    sample = packed(captured, tmp_path / "pc.rescue", tmp_path / "export")
    assert sample.library.name == "pc.rescue.001"
    assert (tmp_path / "pc.rescue.001").stat().st_size == 8 * MIB
    assert verify_here(sample, tmp_path / "verify").status == 0
    assert not list(tmp_path.glob(".*"))


def test_pieces_are_no_larger_than_the_medium_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, large = tmp_path / "x.rescue", 100 << 30
    assert packroom.piece_size(target, 0, large) == 0
    assert packroom.piece_size(target, 5 << 30, large) == 5 << 30
    monkeypatch.setattr(mounts, "kind_beneath", lambda _path: "vfat")
    assert packroom.piece_size(target, 0, large) == packroom.FAT_PIECE < 1 << 32
    assert packroom.piece_size(target, 5 << 30, large) == packroom.FAT_PIECE
    assert packroom.piece_size(target, 1 << 30, large) == 1 << 30
    assert packroom.piece_size(target, 0, 3 << 30) == 0
    with pytest.raises(RefusedError, match="more than 999 pieces"):
        packroom.piece_size(target, MIB, large)


@pytest.mark.root
def test_room_that_is_short_is_said_before_it_starts(captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "8M") as where:
        done = carry_out_here(plan_for(captured, where / "pc.rescue"), tmp_path / "job")
        assert (done.status, done.code) == (3, "no-space")
        assert not list(where.iterdir())


def test_one_that_was_killed_is_no_image_and_the_next_is_whole(tmp_path: Path) -> None:
    disk = wide_disk(tmp_path / "pc.img", 60)
    assert capture_here(disk, tmp_path / "library", tmp_path / "capture").status == 0
    sample = Sample(tmp_path / "library", Library.open(tmp_path / "library").images().images[0].id, disk)
    place = tmp_path / "out"
    place.mkdir()
    plan = plan_for(sample, place / "pc.rescue", 7 * MIB)
    job = start(plan)
    wait_for_step(job, "Writing image")
    kill(job)
    first = place / "pc.rescue.001"
    assert not first.exists() or job.state is JobState.DONE
    if not first.exists():
        with pytest.raises(BadImageError):
            elsewhere.libraries_in(place)
        assert finish(start(plan)).state is JobState.DONE
    assert not list(place.glob(".*"))
    assert verify_here(Sample(first, sample.image_id, disk), tmp_path / "verify").status == 0


KILLED = """
import os, sys, threading
from pathlib import Path
from imaging import outfile, packing, plan
from imaging.pipeline import Reporter
name = outfile.finish
def finish(made, target):
    if target.name.endswith(".003"):
        os._exit(9)
    name(made, target)
outfile.finish = finish
packing.pack_image(plan.decode(Path(sys.argv[1]).read_bytes()), Reporter(len), threading.Event())
"""


@pytest.fixture
def cut_off(captured: Sample, tmp_path: Path) -> list[Path]:
    """The pieces that had their names when their export was killed."""
    (tmp_path / "plan.json").write_bytes(encode(plan_for(captured, tmp_path / "pc.rescue", 3 * MIB)))
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "plan.json"], check=False)
    assert done.returncode == 9
    left = sorted(tmp_path.glob("pc.rescue.*"))
    assert left
    assert left[0].name == "pc.rescue.004"
    return left


def test_pieces_that_were_named_when_it_was_killed_do_not_block_the_next(
    captured: Sample, cut_off: list[Path], tmp_path: Path
) -> None:
    again = packed(captured, tmp_path / "pc.rescue", tmp_path / "export", 4 * MIB)
    assert verify_here(again, tmp_path / "verify").status == 0
    assert not list(tmp_path.glob(".*"))
    assert len(list(tmp_path.glob("pc.rescue.*"))) < len(cut_off) + 3


@pytest.mark.parametrize("changed", ["a piece", "first", "note"])
def test_pieces_that_are_not_known_to_be_left_over_stay(
    changed: str, captured: Sample, cut_off: list[Path], tmp_path: Path
) -> None:
    mine = {"a piece": cut_off[0], "first": tmp_path / "pc.rescue.001"}.get(changed)
    if mine is not None:
        mine.write_text("mine")
    else:
        next(tmp_path.glob(".pc.rescue.pieces.*")).unlink()
    done = carry_out_here(plan_for(captured, tmp_path / "pc.rescue", 4 * MIB), tmp_path / "export")
    assert (done.status, done.code) == (3, "exists")
    assert ("without a first piece" in done.message) == (changed != "first")
    kept = [mine] if changed == "a piece" else cut_off
    assert all(path.exists() for path in kept if path is not None)
    assert mine is None or mine.read_text() == "mine"


def test_pieces_get_their_names_from_the_last_to_the_first(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []
    link = os.link

    def note(made: Path, path: Path) -> None:
        named.append(path.name)
        link(made, path)

    monkeypatch.setattr(os, "link", note)
    packed(captured, tmp_path / "pc.rescue", tmp_path / "export", 4 * MIB)
    assert named == sorted(named, reverse=True)
    assert named[-1] == "pc.rescue.001"


def test_a_name_that_is_taken_meanwhile_leaves_nothing_of_ours(
    captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(made: Path, path: Path) -> None:
        if path.name.endswith(".002"):
            path.write_text("mine")
        link(made, path)

    monkeypatch.setattr(os, "link", late)
    done = carry_out_here(plan_for(captured, tmp_path / "pc.rescue", 4 * MIB), tmp_path / "job")
    assert (done.status, done.code) == (3, "exists")
    assert [path.name for path in tmp_path.glob("*pc.rescue*")] == ["pc.rescue.002"]
    assert (tmp_path / "pc.rescue.002").read_text() == "mine"


@pytest.mark.parametrize("name", ["pc.rescue", "pc.rescue.001", "pc.rescue.017"])
def test_what_is_there_is_not_touched(name: str, captured: Sample, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    done = carry_out_here(plan_for(captured, tmp_path / "pc.rescue"), tmp_path / "job")
    assert (done.status, done.code) == (3, "exists")
    assert name in done.message
    assert [path.name for path in tmp_path.glob("*rescue*")] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_cancelled_one_leaves_nothing(captured: Sample, tmp_path: Path) -> None:
    cancel, folder = threading.Event(), tmp_path / "job"
    folder.mkdir()
    (folder / "plan.json").write_bytes(encode(plan_for(captured, tmp_path / "pc.rescue", 4 * MIB)))

    def note(line: memoryview) -> int:
        if b"Writing image" in bytes(line):
            cancel.set()
        return len(line)

    done = carry_out(folder, Reporter(note), cancel)
    assert done.code == "cancelled", done
    assert not list(tmp_path.glob("*pc.rescue*"))


@pytest.mark.parametrize("piece", [0, 4 * MIB])
def test_a_corrupt_chunk_leaves_nothing(piece: int, sample: Sample, tmp_path: Path) -> None:
    largest = max((sample.chunk(i) for i in range(len(sample.index))), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    done = carry_out_here(plan_for(sample, tmp_path / "pc.rescue", piece), tmp_path / "job")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert not list(tmp_path.glob("*pc.rescue*"))


def test_a_damaged_index_is_not_packed(sample: Sample, tmp_path: Path) -> None:
    part = sample.part("used")
    part.write_bytes(part.read_bytes()[:-1] + b"\x77")
    done = carry_out_here(plan_for(sample, tmp_path / "pc.rescue"), tmp_path / "job")
    assert (done.status, done.code) == (4, "bad-image-file")
    assert not list(tmp_path.glob("*pc.rescue*"))


def refused(file: Path, words: str = "") -> str:
    """Opening it is refused with a word that a person can use; what it says."""
    with pytest.raises(BadImageError) as error:
        Library.open(file).images()
    assert words in error.value.message
    return error.value.message


def test_one_that_was_cut_is_refused(single: Sample, tmp_path: Path) -> None:
    size = single.library.stat().st_size
    source = random.Random(7)
    cut = tmp_path / "cut.rescue"
    for left in (512, 1024, 2048, size // 2, size - 1024, size - 1, *source.sample(range(513, size), 20)):
        shutil.copyfile(single.library, cut)
        os.truncate(cut, left)
        refused(cut, "is not whole")
    shutil.copyfile(single.library, cut)
    os.truncate(cut, size + 512)
    refused(cut, "is not whole")
    os.truncate(cut, 100)
    refused(cut, "is not an image library")
    os.truncate(cut, 0)
    refused(cut, "is not an image library")


def test_a_missing_piece_is_named(pieces: Sample) -> None:
    folder = pieces.library.parent
    pieces.library.with_suffix(".003").rename(folder / "away")
    refused(pieces.library, "pc.rescue.003 is missing")
    (folder / "away").rename(pieces.library.with_suffix(".003"))
    last = sorted(folder.glob("pc.rescue.*"))[-1]
    last.rename(folder / "away")
    refused(pieces.library, "is not whole")
    (folder / "away").rename(last)
    assert images_of_file(pieces.library) == [pieces.image_id]


def test_pieces_that_were_swapped_are_refused(pieces: Sample) -> None:
    second, fourth = pieces.library.with_suffix(".002"), pieces.library.with_suffix(".004")
    data = second.read_bytes()
    second.write_bytes(fourth.read_bytes())
    fourth.write_bytes(data)
    refused(pieces.library, "pc.rescue.002 is not the piece that was written under this name")


def test_a_first_piece_of_another_image_is_refused(pieces: Sample) -> None:
    other, beginning = pieces.library.with_suffix(".002").read_bytes(), pieces.library.read_bytes()[: 2 * BLOCK]
    pieces.library.write_bytes(beginning + other[len(beginning) :])  # one of the same library and length
    refused(pieces.library, "pc.rescue.001 is not the piece that was written under this name")


def test_an_early_file_without_the_mark_of_its_first_piece_is_read(pieces: Sample, tmp_path: Path) -> None:
    whole = joined(pieces.library, tmp_path / "whole.rescue")
    _, table, records = index_of(whole)
    assert table.first
    rewrite(whole, bytes(records), Table(files=table.files, marks=table.marks))
    assert images_of_file(whole) == [pieces.image_id]


def test_a_member_that_tar_does_not_unpack_is_bad(single: Sample, tmp_path: Path) -> None:
    _, _, records = index_of(single.library)
    name, at, _size = packformat.record_of(bytes(records[:48]))
    with single.library.open("r+b") as file:
        file.seek(at + 136)  # the time, which nothing but the checksum of the header knows
        file.write(b"00000000000")
    assert subprocess.run(["tar", "tf", single.library], capture_output=True, check=False).returncode
    done = verify_here(single, tmp_path / "verify")
    assert done.status == 4
    assert isinstance(done.result, VerifyResult)
    assert done.result.bad == (name.hex(),)


def test_a_piece_that_is_longer_or_shorter_is_refused(pieces: Sample) -> None:
    second, third = pieces.library.with_suffix(".002"), pieces.library.with_suffix(".003")
    os.truncate(second, second.stat().st_size - 512)
    refused(pieces.library, "is not whole")
    os.truncate(third, third.stat().st_size + 512)
    refused(pieces.library, "pc.rescue.003 is not the piece")


def test_a_link_for_a_piece_is_not_followed(pieces: Sample) -> None:
    third = pieces.library.with_suffix(".003")
    third.rename(third.with_name("elsewhere"))
    third.symlink_to("elsewhere")
    refused(pieces.library, "is a link")


def index_of(file: Path) -> tuple[packformat.Tail, Table, bytearray]:
    """What the index of a single file says, with its records."""
    data = file.read_bytes()
    tail, digest = packformat.decode_tail(data[-BLOCK - 1024 :], len(data), str(file))
    table = packformat.decode_table(data[tail.table_at : tail.table_at + tail.table_size], digest, str(file))
    return tail, table, bytearray(data[tail.records_at : tail.table_at])


def rewrite(file: Path, records: bytes, table: Table) -> None:
    """Put another index into a single file, with all its digests right, as somebody hostile could."""
    tail, _, _ = index_of(file)
    count = len(records) // packformat.RECORD_SIZE
    header = packformat.header("rescue-index", packformat.size_of_index(count, table), 0)
    end = packformat.end_of_index(count, table, tail.index_at, tail.piece)
    with file.open("r+b") as out:
        out.truncate(tail.index_at)
        out.seek(tail.index_at)
        out.write(header + records + end)


def read_all(sample: Sample) -> None:
    """Prove every chunk of it."""
    content = Content.load(Library.open(sample.library), sample.image, sample.imaged)
    for i in range(len(content.index)):
        content.plain(i)


@pytest.mark.parametrize(
    ("at", "size", "code"),
    [
        (1 << 60, 1000, "missing-chunk"),
        ((1 << 64) - 512, 1000, "missing-chunk"),
        (512, 1 << 63, "missing-chunk"),
        (512, 1 << 24, "corrupt-chunk"),
        (513, 1000, "missing-chunk"),
        (0, 100, "bad-image-file"),
        (None, 0, "corrupt-chunk"),
    ],
)
def test_an_index_that_points_elsewhere_reads_nothing(at: int | None, size: int, code: str, single: Sample) -> None:
    _, table, records = index_of(single.library)
    for record in range(0, len(records), packformat.RECORD_SIZE):
        known = struct.unpack_from("<Q", records, record + 32)[0]
        struct.pack_into("<QQ", records, record + 32, known if at is None else at, size)
    rewrite(single.library, bytes(records), table)
    with pytest.raises(BadImageError) as error:
        read_all(single)
    assert error.value.code == code, error.value


@pytest.mark.parametrize("at_once", [4096, 1, 3])
def test_records_that_are_not_in_order_or_named_twice_are_refused(
    at_once: int, single: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packrecords, "_AT_ONCE", at_once)
    _, table, records = index_of(single.library)
    every = [bytes(records[at : at + 48]) for at in range(0, len(records), 48)]
    assert names_listed(single, 0) == [record[:32] for record in every]
    for wrong in (every[::-1], [*every[:2], every[1], *every[2:]], [*every[1:], every[0]]):
        rewrite(single.library, b"".join(wrong), table)
        with pytest.raises(BadImageError, match="are not in order"):
            names_listed(single, 0)


def names_listed(sample: Sample, first: int) -> list[bytes]:
    """The names of the chunks from those on that begin with two bytes."""
    return [one.id for one in Library.open(sample.library).store().listed(first, 1 << 16)]


def test_a_part_of_the_records_is_listed_without_reading_those_before(
    single: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packrecords, "_AT_ONCE", 1)
    tail, _, records = index_of(single.library)
    last = bytes(records[-48:-16])
    count = len(records) // 48
    asked: set[int] = set()
    read = packpieces.Pieces.read

    def note(self: packpieces.Pieces, at: int, size: int) -> bytes:
        if tail.records_at <= at < tail.table_at:
            asked.add(at)
        return read(self, at, size)

    monkeypatch.setattr(packpieces.Pieces, "read", note)
    assert names_listed(single, int.from_bytes(last[:2], "big"))[-1] == last
    assert len(asked) <= count.bit_length() + 1 < count


def test_chunks_that_overlap_or_bear_each_others_names_are_refused(single: Sample) -> None:
    _, table, records = index_of(single.library)
    smallest = min(range(0, len(records), 48), key=lambda at: packformat.record_of(bytes(records[at : at + 48]))[2])
    first = bytes(records[smallest + 32 : smallest + 48])
    for record in range(0, len(records), packformat.RECORD_SIZE):
        records[record + 32 : record + 48] = first
    rewrite(single.library, bytes(records), table)
    with pytest.raises(BadImageError, match="is not where its index says"):
        read_all(single)


@pytest.mark.parametrize(
    "path",
    ["../library.json", "/etc/passwd", "images/../../x", "images/x/../y", "images/x/..", "images/x/y/z", "images", ""],
)
def test_names_that_lead_out_are_refused(path: str, single: Sample, tmp_path: Path) -> None:
    _, table, records = index_of(single.library)
    before = set(tmp_path.rglob("*"))
    files = (*table.files, PackedFile(path, 0, 10))
    rewrite(single.library, bytes(records), Table(files=files, marks=table.marks))
    refused(single.library, "names files that no image has")
    assert set(tmp_path.rglob("*")) == before


def test_files_of_a_second_image_or_that_share_their_bytes_are_refused(single: Sample) -> None:
    """However many manifests somebody names, a list of images takes no more memory than that of one."""
    _, table, records = index_of(single.library)
    last = table.files[-1]
    for files in (
        (*table.files, PackedFile("images/other/manifest.json", last.at, last.size)),
        (*table.files, last),
        table.files[:1],
        table.files[1:],
    ):
        rewrite(single.library, bytes(records), Table(files=files, marks=table.marks))
        refused(single.library, "names files that no image has")
    inside = PackedFile(last.path.replace("manifest.json", "notes.json"), last.at + BLOCK, 0)
    with single.library.open("r+b") as file:
        file.seek(inside.at)
        file.write(packformat.header(inside.path, 0, 0))
    rewrite(single.library, bytes(records), Table(files=(*table.files, inside), marks=table.marks))
    refused(single.library, "is not where its index says that it is")


def inflated(file: Path, to: Path, sizes: dict[str, int]) -> Path:
    """The same, with members that are said to be as long, of which nothing takes room; chunks are left out."""
    files = []
    with file.open("rb") as source, to.open("wb") as out:
        for member in index_of(file)[1].files:
            source.seek(member.at + BLOCK)
            data, at = source.read(member.size), out.tell()
            size = next((sizes[end] for end in sizes if member.path.endswith(end)), member.size)
            out.write(packformat.header(member.path, size, 0) + data)
            out.seek(at + BLOCK + packformat.padded(size))
            files.append(PackedFile(member.path, at, size))
        table, at = Table(files=tuple(files)), out.tell()
        out.write(packformat.header("rescue-index", packformat.size_of_index(0, table), 0))
        out.write(packformat.end_of_index(0, table, at, 0))
    return to


@pytest.mark.parametrize("suffix", ["caibx", "used", "blake3"])
def test_what_no_image_needs_is_not_brought_into_memory(suffix: str, single: Sample, tmp_path: Path) -> None:
    opened = Library.open(inflated(single.library, tmp_path / "large.rescue", {suffix: 1 << 30}))
    image = opened.images().images[0]
    with pytest.raises(BadImageError, match="more than the"):
        opened.files(image, image.disks[0])
    found = structure.check(opened, lambda _done, _total: None, threading.Event())
    assert not found.whole
    assert sum(path.stat().st_blocks for path in opened.root.rglob("*")) * 512 < MIB


def test_notes_that_are_far_too_long_are_not_brought_into_memory(sample: Sample, tmp_path: Path) -> None:
    care.note(sample.library, sample.image_id, "from the shelf")
    single = packed(sample, tmp_path / "pc.rescue", tmp_path / "export")
    opened = Library.open(inflated(single.library, tmp_path / "large.rescue", {"notes.json": 15 * MIB}))
    listing = opened.images()
    assert [image.id for image in listing.images] == [single.image_id]
    assert listing.unnoted == {single.image_id}
    notes = opened.root / "images" / single.image_id / "notes.json"
    assert notes.stat().st_blocks == 0


@pytest.mark.root
def test_memory_that_is_short_is_said_and_not_filled(
    single: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = inflated(single.library, tmp_path / "large.rescue", {"json": 900 << 10})
    with tmpfs(tmp_path / "state", "1M") as state:
        monkeypatch.setenv("RESCUE_STATE", str(state))
        with pytest.raises(RefusedError, match="are free") as error:
            Library.open(large)
        assert error.value.code == "no-space"
        assert sum(path.stat().st_size for path in state.rglob("*.json")) == 0


def test_one_without_a_manifest_is_no_image(single: Sample, tmp_path: Path, command: Callable[..., Outcome]) -> None:
    _, table, records = index_of(single.library)
    rewrite(single.library, bytes(records), Table(files=table.files[:-1], marks=table.marks))
    assert images_of_file(single.library) == []
    target = blank(tmp_path / "new.img", DISK_SIZE)
    assert "there is no image" in command("restore", single.library, target, "--plan", status=4).err


def test_a_file_that_is_said_to_be_elsewhere_or_huge_is_refused(single: Sample) -> None:
    _, table, records = index_of(single.library)
    for at, size in ((0, 1 << 50), (1 << 60, 10), (-512, 10), (512, -1), (0, 0), (table.files[2].at, 10)):
        files = (*table.files[:-1], PackedFile(table.files[-1].path, at, size))
        rewrite(single.library, bytes(records), Table(files=files, marks=table.marks))
        with pytest.raises(RescueError):
            read_all(single)


def test_absurd_numbers_in_the_end_are_refused(single: Sample) -> None:
    data = single.library.read_bytes()
    for field in range(4):
        for value in ((1 << 64) - 1, 1 << 62, 1 << 32, 0, len(data) + BLOCK):
            end = bytearray(data[-BLOCK - 1024 : -1024])
            struct.pack_into("<Q", end, 24 + 8 * field, value)
            end[-32:] = blake3(bytes(end[:-32])).digest()
            single.library.write_bytes(data[: -BLOCK - 1024] + end + data[-1024:])
            with pytest.raises(RescueError):
                read_all(single)
    single.library.write_bytes(data)
    read_all(single)


def test_a_newer_format_is_told(single: Sample) -> None:
    data = bytearray(single.library.read_bytes())
    struct.pack_into("<I", data, len(data) - 1024 - BLOCK + 16, 2)
    single.library.write_bytes(data)
    assert "format version 2" in refused(single.library)


def test_a_changed_byte_is_found_or_changes_nothing(single: Sample) -> None:
    data = single.library.read_bytes()
    tail, _, _ = index_of(single.library)
    source = random.Random(3)
    want = disk_of(single)
    places = [*source.sample(range(len(data)), 30), *source.sample(range(tail.index_at, len(data)), 60)]
    for at in places:
        with single.library.open("r+b") as file:
            file.seek(at)
            file.write(bytes([data[at] ^ 0x55]))
        with suppress(RescueError):
            assert disk_of(single) == want
        with single.library.open("r+b") as file:
            file.seek(at)
            file.write(data[at : at + 1])
    assert disk_of(single) == want


def disk_of(sample: Sample) -> bytes:
    content = Content.load(Library.open(sample.library), sample.image, sample.imaged)
    return b"".join(content.plain(i) for i in range(len(content.index)))


def test_a_bad_chunk_in_it_is_named_by_a_verification(single: Sample, tmp_path: Path) -> None:
    _, _, records = index_of(single.library)
    every = [packformat.record_of(bytes(records[at : at + 48])) for at in range(0, len(records), 48)]
    name, at, size = max(every, key=lambda record: record[2])
    with single.library.open("r+b") as file:
        file.seek(at + BLOCK + size // 2)
        file.write(b"damage")
    done = verify_here(single, tmp_path / "verify")
    assert (done.status, done.code) == (4, "corrupt-chunk"), done
    assert isinstance(done.result, VerifyResult)
    assert any(name.hex() in str(bad) for bad in done.result.bad)


def members_of(file: Path) -> dict[str, PackedFile]:
    """The files that are no chunks, by the ends of their names."""
    return {member.path.rpartition(".")[2]: member for member in index_of(file)[1].files[1:]}


def rot(file: Path, member: PackedFile) -> None:
    """Change a byte of a member as a medium does that fails: the time of the file stays."""
    status = file.stat()
    with file.open("r+b") as opened:
        opened.seek(member.at + BLOCK + member.size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 0xFF]))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("suffix", ["json", "caibx", "used", "blake3"])
def test_rot_is_found_by_the_next_verification(suffix: str, single: Sample, tmp_path: Path) -> None:
    plan = planner.plan_verify(single.library, single.image)
    assert carry_out_here(plan, tmp_path / "before").status == 0
    member = members_of(single.library)[suffix]
    rot(single.library, member)
    done = carry_out_here(plan, tmp_path / "after")
    assert done.status == 4
    assert done.message.startswith(f"{single.library}: {member.path}")


def test_a_verification_takes_nothing_from_memory(
    single: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(packpieces, "forget", lambda _fd, at, size: asked.append((at, size)))
    assert verify_here(single, tmp_path / "verify").status == 0
    for member in members_of(single.library).values():
        assert (member.at + BLOCK, member.size) in asked
    tail, _, records = index_of(single.library)
    assert {(tail.table_at, tail.table_size), (tail.records_at, len(records))} <= set(asked)


def test_nothing_of_it_is_kept_here_once_nobody_uses_it(single: Sample) -> None:
    folder = state_folder() / "single"
    opened = Library.open(single.library)
    image = opened.images().images[0]
    index = opened.files(image, image.disks[0]).index.encoded
    root = opened.root
    assert root.parent == folder
    left = folder / f"{root.name.partition('-')[0]}-{2**22 + 1}-killed"  # no process has a number as high
    left.mkdir()
    (left / "library.json").write_text("x")
    another = Library.open(single.library)
    assert another.root != root
    assert not left.exists()
    assert root.exists()
    assert opened.files(image, image.disks[0]).index.encoded == index
    gone = another.root
    del opened, another
    assert not root.exists()
    assert not gone.exists()


def test_an_image_is_read_from_a_medium_that_comes_back(single: Sample) -> None:
    store = Library.open(single.library).store()
    _, _, records = index_of(single.library)
    name = packformat.record_of(bytes(records[:48]))[0]
    frame = bytes(store.get(name, 4 * MIB))
    single.library.rename(single.library.with_name("away"))
    with pytest.raises(IoError, match="no longer there"):
        store.get(name, 4 * MIB)
    single.library.with_name("away").rename(single.library)
    assert bytes(store.get(name, 4 * MIB)) == frame
