"""What is there is saved before it is erased; where it cannot be, nothing is erased; `rescue undo` brings it back."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from imaging import inventory, planner, unfinished
from imaging.capture import capture
from imaging.disk import Disk
from imaging.errors import IoError, RefusedError
from imaging.library import Library
from imaging.notes import Notes
from imaging.restoreplans import RestorePlan
from imaging.touched import libraries_used
from rescue import commands
from tests.command import Outcome, run_rescue
from tests.disks import MIB, partition
from tests.faults.world import DISK_SIZE, Sample, carry_out_here, holds_used_bytes, images_of


@pytest.fixture
def lived_in(sample: Sample, tmp_path: Path) -> Path:
    """The disk after some use: it has what the image holds, and something of its own."""
    disk = tmp_path / "lived-in.img"
    shutil.copyfile(sample.disk, disk)
    with disk.open("r+b") as file:
        file.seek(DISK_SIZE // 2)
        file.write(b"mine" * 4096)
    return disk


def test_it_is_saved_restored_over_and_brought_back(sample: Sample, lived_in: Path, tmp_path: Path) -> None:
    before = lived_in.read_bytes()
    kept = tmp_path / "kept"
    words = ("restore", sample.image_id, lived_in, "--library", sample.library, "--save-first", kept)
    planned = run_rescue(*words, "--plan")
    assert f"SAVED FIRST: what is there now, as an image in the library {kept}" in planned.out
    assert not kept.exists()
    done = run_rescue(*words, "--erase", lived_in.name)
    assert holds_used_bytes(sample, lived_in)
    assert lived_in.read_bytes() != before
    (saved,) = images_of(kept)
    assert f"Saved first: image {saved}" in done.out
    assert Library.open(kept).notes(saved).before == sample.image_id
    assert f"Saved before  {sample.image_id} was restored there" in run_rescue("show", saved, "--library", kept).out
    undo = ("undo", "--library", kept, "--to", lived_in)
    assert "was not confirmed" in run_rescue(*undo, status=3).err
    run_rescue(*undo, "--erase", lived_in.name)
    assert run_rescue("verify", saved, "--library", kept, "--against", lived_in).status == 0
    assert b"mine" * 4096 in lived_in.read_bytes()


def test_one_library_holds_both_and_most_of_it_is_there_already(sample: Sample, lived_in: Path) -> None:
    chunks = len(list((sample.library / "chunks").rglob("*.cacnk")))
    words = ("--library", sample.library, "--save-first", sample.library, "--erase", lived_in.name)
    run_rescue("restore", sample.image_id, lived_in, *words)
    assert len(images_of(sample.library)) == 2
    assert len(list((sample.library / "chunks").rglob("*.cacnk"))) <= chunks + 2
    found = run_rescue("undo", "--library", sample.library, status=3)
    assert "the disk that was saved" in found.err


def test_without_a_safety_image_there_is_nothing_to_undo(sample: Sample) -> None:
    assert "no safety image of this computer" in run_rescue("undo", "--library", sample.library, status=4).err


def planned(sample: Sample, disk: Path, kept: Path) -> RestorePlan:
    """The restore onto a disk, which is saved first."""
    target = inventory.look(str(disk), [sample.library])
    plan = planner.plan_restore(sample.library, sample.image, {sample.imaged.name: target})
    return replace(plan, safety=str(kept))


def test_where_it_cannot_be_saved_nothing_is_erased(sample: Sample, lived_in: Path, tmp_path: Path) -> None:
    before = lived_in.read_bytes()
    full = tmp_path / "kept"
    full.write_text("a file")
    done = carry_out_here(planned(sample, lived_in, full), tmp_path / "job")
    assert done.status != 0
    assert done.state == "Nothing was erased: what is there could not be saved first."
    assert lived_in.read_bytes() == before


def test_what_cannot_be_read_stops_it_before_anything_is_erased(
    sample: Sample, lived_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lived_in.read_bytes()
    plan = planned(sample, lived_in, tmp_path / "kept")
    monkeypatch.setattr("imaging.safety.capture", lambda *words: replace(capture(*words), unreadable=512))
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (5, "source-unreadable")
    assert lived_in.read_bytes() == before


def test_what_changed_since_it_was_shown_is_noticed_before_the_saving(
    sample: Sample, lived_in: Path, tmp_path: Path
) -> None:
    plan = planned(sample, lived_in, tmp_path / "kept")
    with lived_in.open("r+b") as file:
        file.write(b"another disk" * 50)
    done = carry_out_here(plan, tmp_path / "job")
    assert done.status == 3
    assert not (tmp_path / "kept").exists()


def test_a_restore_that_fails_after_the_saving_says_which_image_was_saved(
    sample: Sample, lived_in: Path, tmp_path: Path
) -> None:
    plan = planned(sample, lived_in, tmp_path / "kept")
    for chunk in (sample.library / "chunks").rglob("*.cacnk"):
        chunk.write_bytes(b"rot")
    done = carry_out_here(plan, tmp_path / "job")
    assert done.status == 4
    (saved,) = images_of(tmp_path / "kept")
    assert f"What was there before is image {saved}." in done.state


def test_a_new_file_holds_nothing_to_be_saved(sample: Sample, tmp_path: Path) -> None:
    words = ("--library", sample.library, "--save-first", tmp_path / "kept", "--erase", "new.img")
    said = run_rescue("restore", sample.image_id, tmp_path / "new.img", *words, status=2)
    assert "holds nothing to be saved" in said.err
    assert not (tmp_path / "new.img").exists()


def test_other_jobs_see_both_libraries_in_use(sample: Sample, lived_in: Path, tmp_path: Path) -> None:
    uses = libraries_used(planned(sample, lived_in, tmp_path / "kept"))
    assert [(use.library, use.writes) for use in uses] == [(str(sample.library), False), (str(tmp_path / "kept"), True)]


def test_of_single_partitions_these_alone_are_saved(sample: Sample, lived_in: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    words = ("--library", sample.library, "--save-first", kept, "--partition", "1", "--erase", f"{lived_in.name}:1")
    run_rescue("restore", sample.image_id, lived_in, *words)
    (saved,) = images_of(kept)
    image = Library.open(kept).image(saved)
    assert [volume.number for volume in image.disks[0].volumes] == [1]


@pytest.fixture
def kept_beside(sample: Sample, lived_in: Path, tmp_path: Path) -> Path:
    """The library that saved the first partition, as the second was kept; that is used further afterwards."""
    with lived_in.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"first" * 4096)
    kept = tmp_path / "kept"
    words = ("--library", sample.library, "--save-first", kept, "--keep", "2", "--erase", f"{lived_in.name}:1")
    run_rescue("restore", sample.image_id, lived_in, *words)
    assert b"first" * 4096 not in lived_in.read_bytes()
    with lived_in.open("r+b") as file:
        file.seek(20 * MIB)
        file.write(b"later" * 4096)
    return kept


def test_undoing_brings_back_what_was_saved_and_leaves_what_was_kept(lived_in: Path, kept_beside: Path) -> None:
    undo = ("undo", "--library", kept_beside, "--to", lived_in)
    shown = run_rescue(*undo, "--plan").out
    assert "KEPT: the partition table and 1 other partition" in shown
    assert "names none of the targets" in run_rescue(*undo, "--erase", lived_in.name, status=3).err
    with lived_in.open("r+b") as file:
        table = file.read(MIB)
    run_rescue(*undo, "--erase", f"{lived_in.name}:1")
    after = lived_in.read_bytes()
    assert after[:MIB] == table
    assert after.count(b"first" * 4096) == after.count(b"later" * 4096) == after.count(b"mine" * 4096) == 1


def test_partitions_that_lie_elsewhere_by_now_are_not_overwritten(lived_in: Path, kept_beside: Path) -> None:
    partition(lived_in, "label: gpt\nstart=22MiB, size=20MiB\nstart=1MiB, size=20MiB\n")
    before = lived_in.read_bytes()
    said = run_rescue("undo", "--library", kept_beside, "--to", lived_in, "--erase", f"{lived_in.name}:1", status=3)
    assert f"{lived_in.name} has no partition 1 where the one that was saved began" in said.err
    assert lived_in.read_bytes() == before


def test_a_blank_disk_gets_the_table_and_the_partitions_that_were_saved(lived_in: Path, kept_beside: Path) -> None:
    blank = lived_in.with_name("blank.img")
    blank.write_bytes(bytes(DISK_SIZE))
    undo = ("undo", "--library", kept_beside, "--to", blank)
    shown = run_rescue(*undo, "--plan").out
    assert "KEPT" not in shown
    assert "WARNING: partition 2 will hold nothing that can be used" in shown
    run_rescue(*undo, "--erase", blank.name)
    assert b"first" * 4096 in blank.read_bytes()
    (now, was) = (inventory.look(str(disk)).table.partitions for disk in (blank, lived_in))
    assert [(part.number, part.start) for part in now] == [(part.number, part.start) for part in was]


def test_a_serial_number_confirms_the_partitions_that_come_back(
    lived_in: Path, kept_beside: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, asked = inventory.look, []

    def look(path: str, libraries: Sequence[Path] = ()) -> Disk:
        found = whole(path, libraries)
        return dataclasses.replace(found, id=dataclasses.replace(found.id, serial="S-1"))

    def carry_out(plan: RestorePlan, _options: object) -> int:
        asked.append([pair.names for pair in plan.targets])
        return 0

    monkeypatch.setattr(inventory, "look", look)
    monkeypatch.setattr(commands, "carry_out", carry_out)
    command("undo", "--library", kept_beside, "--to", lived_in, "--yes-on", "S-1")
    assert asked == [[(f"{lived_in.name}:1",)]]


@pytest.fixture
def two(sample: Sample, lived_in: Path, tmp_path: Path) -> dict[str, Sample]:
    """What was saved of two disks that were restored to: `first`, and then `last`."""
    kept, found = tmp_path / "kept", {}
    for name in ("first", "last"):
        disk = tmp_path / f"{name}.img"
        shutil.copyfile(lived_in, disk)
        words = ("--library", sample.library, "--save-first", kept, "--erase", disk.name)
        run_rescue("restore", sample.image_id, disk, *words)
        (image,) = {image.id for image in Library.open(kept).images().images if image.disks[0].name == disk.name}
        found[name] = Sample(kept, image, disk)
    found["first"].edit(lambda image: image.update(created="2026-01-01T00:00:00Z"))
    return found


def test_the_disk_that_is_named_gets_what_was_saved_of_it(two: dict[str, Sample]) -> None:
    first, last = two["first"], two["last"]
    undo = ("undo", "--library", last.library, "--plan", "--to")
    for one in (first, last):
        done = run_rescue(*undo, one.disk)
        assert one.image_id in done.out
        assert "another disk" not in done.err
    third = last.disk.with_name("third.img")
    shutil.copyfile(last.disk, third)
    done = run_rescue(*undo, third)
    assert last.image_id in done.out
    assert "what comes back was saved from another disk" in done.err


def test_what_was_saved_last_of_a_disk_is_not_passed_over_as_another_disk_was_saved_with_it(
    two: dict[str, Sample], command: Callable[..., Outcome]
) -> None:
    first, last = two["first"], two["last"]
    (saved,) = msgspec.json.decode(first.manifest.read_bytes())["image"]["disks"]
    last.edit(lambda image: image["disks"].append(saved))
    undo = ("undo", "--library", last.library, "--plan", "--to")
    said = command(*undo, first.disk, status=2).err
    assert "this image has 2 disks (last.img, first.img): say which goes where, as NAME=TARGET" in said
    assert last.image_id in command(*undo, f"first.img={first.disk}").out


def test_nor_is_it_where_the_disk_had_another_name_by_then(
    two: dict[str, Sample], command: Callable[..., Outcome]
) -> None:
    first, last = two["first"], two["last"]
    (saved,) = msgspec.json.decode(first.manifest.read_bytes())["image"]["disks"]
    last.edit(lambda image: image["disks"][0].update(id=saved["id"]))
    undo = ("undo", "--library", last.library, "--plan", "--to")
    said = command(*undo, f"first.img={first.disk}", status=2).err
    assert f"image {last.image_id}, which is newer, calls that disk last.img" in said


def test_the_disk_that_is_missed_is_named_and_no_other_is_to_take_its_place(
    two: dict[str, Sample], command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last restore was to a disk that is away; another one, which holds something else, is here."""
    for name, sample in two.items():
        identity = {"size": DISK_SIZE, "model": "Some SSD", "serial": f"{name}-1"}
        sample.edit(partial(lambda image, identity: image["disks"][0].update(id=identity), identity=identity))
    found = inventory.look(str(two["first"].disk))
    here = dataclasses.replace(found, path="/dev/sdq", id=two["first"].imaged.id)
    monkeypatch.setattr(inventory, "scan", lambda _libraries: (here,))
    said = command("undo", "--library", two["last"].library, status=3).err
    assert "not here: model Some SSD, serial number last-1, 50.3 MB" in said
    assert "plug it in; the last restore to /dev/sdq, which is another disk, is undone with --to /dev/sdq" in said
    monkeypatch.setattr(inventory, "scan", lambda _libraries: ())
    assert "--to" not in command("undo", "--library", two["last"].library, status=3).err


@pytest.mark.parametrize("part", [(), ("--partition", "2")])
def test_of_what_is_only_partly_restored_it_says_how_to_go_on(
    sample: Sample, lived_in: Path, tmp_path: Path, part: tuple[str, ...]
) -> None:
    """What was there was saved by the restore that was cut off: the rest of it is nothing to be saved."""
    with lived_in.open("r+b") as file:
        file.seek(14 * MIB if part else 0)
        file.write(unfinished.render(sample.image_id))
    name = f"{lived_in.name}:2" if part else lived_in.name
    words = ("restore", sample.image_id, lived_in, "--library", sample.library, *part, "--erase", name)
    said = run_rescue(*words, "--save-first", tmp_path / "kept", status=3).err
    assert f"{name} is only partly restored" in said
    assert "complete it without saving what is there" in said
    run_rescue(*words)
    assert holds_used_bytes(sample, lived_in)


def test_what_an_older_image_has_bad_of_it_is_noticed_before_anything_is_erased(
    sample: Sample, lived_in: Path, tmp_path: Path
) -> None:
    """A capture stores no chunk that the library has: one that rotted meanwhile would be the only copy."""
    before = lived_in.read_bytes()
    kept = tmp_path / "kept"
    run_rescue("capture", lived_in, "--library", kept)
    frame = max((kept / "chunks").rglob("*.cacnk"), key=lambda path: path.stat().st_size)
    frame.write_bytes(frame.read_bytes()[:-100])
    words = ("restore", sample.image_id, lived_in, "--library", sample.library, "--save-first", kept)
    said = run_rescue(*words, "--erase", lived_in.name, status=5)
    assert "Nothing was erased" in said.err
    assert lived_in.read_bytes() == before
    # Nothing is undone by what could not be proved, and it is no backup, either.
    assert "no safety image" in run_rescue("undo", "--library", kept, "--to", lived_in, status=4).err
    notes = [Library.open(kept).notes(name) for name in images_of(kept)]
    assert [noted.void for noted in notes if noted.before == sample.image_id] == [True]
    run_rescue(*words, "--erase", lived_in.name)
    assert holds_used_bytes(sample, lived_in)
    run_rescue("undo", "--library", kept, "--to", lived_in, "--erase", lived_in.name)
    assert lived_in.read_bytes() == before


def test_undoing_a_restore_that_was_repeated_brings_back_what_was_there_before_the_first(
    sample: Sample, lived_in: Path
) -> None:
    before = lived_in.read_bytes()
    words = ("restore", sample.image_id, lived_in, "--library", sample.library, "--save-first", sample.library)
    for _ in range(2):
        run_rescue(*words, "--erase", lived_in.name)
    notes = [Library.open(sample.library).notes(name) for name in images_of(sample.library)]
    found = sorted((noted.before != "", noted.void) for noted in notes)
    assert found == [(False, False), (True, False), (True, True)]
    run_rescue("undo", "--library", sample.library, "--to", lived_in, "--erase", lived_in.name)
    assert lived_in.read_bytes()[DISK_SIZE // 2 :][: 4 * 4096] == before[DISK_SIZE // 2 :][: 4 * 4096]


def test_a_restore_that_is_refused_after_the_saving_hides_no_earlier_safety_image(
    sample: Sample, lived_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, kept = lived_in.read_bytes(), tmp_path / "kept"
    done = carry_out_here(planned(sample, lived_in, kept), tmp_path / "job")
    assert done.status == 0, done.message

    def refuses(*_: object) -> None:
        raise RefusedError("another disk was plugged in", code="disk-changed")

    plan = planned(sample, lived_in, kept)
    with monkeypatch.context() as patch:
        patch.setattr("imaging.heldtarget.HeldTarget._refuse_another_disk", refuses)
        assert carry_out_here(plan, tmp_path / "again").status == 3
    # Both may be of one second, and then their names are in no order.
    assert sorted(Library.open(kept).notes(name).void for name in images_of(kept)) == [False, True]
    run_rescue("undo", "--library", kept, "--to", lived_in, "--erase", lived_in.name)
    assert lived_in.read_bytes() == before


def test_nothing_is_erased_where_it_cannot_be_noted_what_undoes_that(
    sample: Sample, lived_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lived_in.read_bytes()
    plan = planned(sample, lived_in, tmp_path / "kept")
    whole = Library.annotate

    def annotate(library: Library, image: str, change: Callable[[Notes], Notes]) -> Notes:
        if not change(Notes(void=True)).void:
            raise IoError("no room", code="full")
        return whole(library, image, change)

    monkeypatch.setattr(Library, "annotate", annotate)
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (5, "full")
    assert "Nothing was written to" in done.state
    assert lived_in.read_bytes() == before


def test_cut_off_before_the_first_write_nothing_can_be_undone(
    sample: Sample, lived_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The safety image is whole by then, and nobody is told that it would bring anything back."""
    before = lived_in.read_bytes()
    plan = planned(sample, lived_in, tmp_path / "kept")

    class CutOff(BaseException):
        """As the power would be."""

    def cut(*_: object, read_back: bool) -> None:
        raise CutOff(read_back)

    monkeypatch.setattr("imaging.restore.carry_out", cut)
    with pytest.raises(CutOff):
        carry_out_here(plan, tmp_path / "job")
    assert lived_in.read_bytes() == before
    (saved,) = images_of(tmp_path / "kept")
    assert Library.open(tmp_path / "kept").notes(saved).void
    assert "no safety image" in run_rescue("undo", "--library", tmp_path / "kept", "--to", lived_in, status=4).err


def test_a_disk_that_was_partitioned_anew_is_saved_though_a_mark_was_left_in_it(
    sample: Sample, lived_in: Path, tmp_path: Path
) -> None:
    with lived_in.open("r+b") as file:
        file.write(unfinished.render(sample.image_id))
    assert inventory.look(str(lived_in)).unfinished == sample.image_id
    partition(lived_in, "label: gpt\nstart=1MiB, size=13MiB\nstart=14MiB, size=21MiB\n")
    assert inventory.look(str(lived_in)).unfinished == ""
    kept = tmp_path / "kept"
    words = ("restore", sample.image_id, lived_in, "--library", sample.library, "--erase", lived_in.name)
    run_rescue(*words, "--save-first", kept)
    assert len(images_of(kept)) == 1


def test_the_mark_of_a_restore_that_was_cut_off_names_what_was_saved(
    sample: Sample, lived_in: Path, tmp_path: Path
) -> None:
    with lived_in.open("r+b") as file:
        file.seek(MIB)
        file.write(bytes(33 * MIB))
    plan = planned(sample, lived_in, tmp_path / "kept")
    frame = max((sample.library / "chunks").rglob("*.cacnk"), key=lambda path: path.stat().st_size)
    frame.write_bytes(frame.read_bytes()[:-100])
    assert carry_out_here(plan, tmp_path / "job").status == 4
    (saved,) = images_of(tmp_path / "kept")
    marked = inventory.look(str(lived_in))
    assert (marked.unfinished, marked.saved) == (sample.image_id, saved)
    # So does that of the next restore, which saves nothing.
    words = ("--library", sample.library, "--erase", lived_in.name)
    run_rescue("restore", sample.image_id, lived_in, *words, status=4)
    marked = inventory.look(str(lived_in))
    assert (marked.unfinished, marked.saved) == (sample.image_id, saved)
