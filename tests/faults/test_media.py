"""Recovery media: made, updated, cut off at any moment, made again; what is damaged on them is found."""

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging import factory, inventory, iso, mediafs, mediaplan, mediasource, medium, writer
from imaging.errors import BadImageError, RefusedError
from imaging.events import CaptureResult, MediaResult
from imaging.imageplans import ExportFormat, ExportPlan
from imaging.jobs import JobState
from imaging.library import Library
from imaging.mediumcheck import Kind
from imaging.unfinished import MEDIUM
from tests import small_medium
from tests.command import Outcome, run_rescue
from tests.disks import MIB, blank, digest, looped, run
from tests.faults.faulty import Fault, Faulty, faulty
from tests.faults.killing import finish, moments, seconds_of, start, wait_for_step
from tests.faults.media import (
    NEXT,
    STICK,
    a_stick,
    examined,
    images_digest,
    kill_job,
    library_on,
    plan_create,
    plan_update,
    systems,
)
from tests.faults.world import (
    Sample,
    capture_here,
    carry_out_here,
    holds_used_bytes,
    restore_here,
    sample_disk,
    tmpfs,
    verify_here,
    wide_disk,
)

pytestmark = pytest.mark.root

KILLS = int(os.environ.get("RESCUE_KILLS", "5"))

Rescue = Callable[..., Outcome]


@pytest.fixture(scope="module")
def system(quick: Path) -> Path:
    """A small recovery system."""
    return systems(quick / "systems")[0]


@pytest.fixture(scope="module")
def later(system: Path) -> Path:
    """The same, of a later version."""
    return system.with_name("later.img")


@pytest.fixture(scope="module")
def made(quick: Path, system: Path, captured: Sample) -> Path:
    """A medium with an image on it; not to be changed."""
    folder = quick / "made"
    folder.mkdir()
    stick = a_stick(folder)
    done = carry_out_here(plan_create(system, stick, [captured]), folder / "job")
    assert done.status == 0, done
    assert isinstance(done.result, MediaResult)
    assert done.result.new == done.result.chunks > 0
    return stick


def _copy(made: Path, folder: Path) -> Path:
    target = folder / "stick.img"
    run("cp", "--sparse=always", made, target)
    return target


def test_a_medium_is_whole_and_a_disk_restores_from_the_library_on_it(
    made: Path, captured: Sample, tmp_path: Path
) -> None:
    found = examined(made)
    assert (found.findings, found.has_images) == ((), True)
    assert inventory.look(str(made)).unfinished == ""
    parts = inventory.look(str(made)).table.partitions
    assert [part.number for part in parts] == [1, 2, 3]
    assert parts[2].start % (64 * MIB) == 0
    assert parts[2].start - parts[1].end >= 128 * MIB
    with library_on(made) as library:
        assert factory.factory_image(library) == captured.image_id
        sample = Sample(library, captured.image_id, captured.disk)
        target = blank(tmp_path / "target.img", captured.disk.stat().st_size)
        assert restore_here(sample, target, tmp_path / "restore").status == 0
        assert verify_here(sample, tmp_path / "verify").status == 0
    assert holds_used_bytes(captured, target)


def test_a_medium_makes_its_sibling(made: Path, tmp_path: Path) -> None:
    stick = a_stick(tmp_path, 300 * MIB)
    assert carry_out_here(plan_create(made, stick), tmp_path / "job").status == 0
    assert examined(stick).findings == ()
    ours, theirs = inventory.look(str(made)).table, inventory.look(str(stick)).table
    assert ours.table_id != theirs.table_id
    assert not {p.uuid for p in ours.partitions} & {p.uuid for p in theirs.partitions}


def test_a_small_stick_gets_the_system_alone(system: Path, tmp_path: Path) -> None:
    stick = a_stick(tmp_path, 9 * MIB)
    assert carry_out_here(plan_create(system, stick), tmp_path / "job").status == 0
    assert (examined(stick).findings, examined(stick).has_images) == ((), False)


def test_the_old_contents_of_a_stick_do_not_shine_through(system: Path, tmp_path: Path) -> None:
    stick = blank(tmp_path / "stick.img", 300 * MIB, fill=0xAA)
    assert carry_out_here(plan_create(system, stick), tmp_path / "job").status == 0
    assert examined(stick).findings == ()
    tail = stick.read_bytes()[-MIB : -33 * 512]
    assert tail == bytes(len(tail))


def test_an_images_partition_can_have_exfat(system: Path, tmp_path: Path) -> None:
    stick = a_stick(tmp_path)
    assert carry_out_here(plan_create(system, stick, filesystem="exfat"), tmp_path / "job").status == 0
    assert (examined(stick).findings, examined(stick).has_images) == ((), True)
    part = inventory.look(str(stick)).table.partitions[2]
    assert (part.content.kind, part.type) == ("exfat", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")
    # An update knows the partition, and leaves it as it is.
    assert plan_update(system, stick).filesystem == "exfat"
    images = images_digest(stick)
    assert carry_out_here(plan_update(system, stick), tmp_path / "update").status == 0
    assert images_digest(stick) == images


def _judge(stick: Path, untouched: str) -> str:
    """What a job that was killed left: fails unless it is one of the states that are allowed."""
    if digest(stick) == untouched:
        return "untouched"
    if inventory.look(str(stick)).unfinished == MEDIUM:
        with pytest.raises(BadImageError) as caught:
            medium.look(str(stick))
        assert caught.value.code == "unfinished-medium"
        return "unfinished"
    assert examined(stick).findings == (), "it looks whole and is not"
    return "made"


def test_a_medium_whose_making_is_killed_at_any_moment_is_known_and_made_by_the_next(
    system: Path, captured: Sample, tmp_path: Path
) -> None:
    longest = seconds_of(finish(start(plan_create(system, a_stick(tmp_path), [captured])))) + 0.05
    seen = []
    for moment in moments(KILLS, longest, seed=3):
        stick = blank(tmp_path / "stick.img", STICK)
        empty = digest(stick)
        kill_job(plan_create(system, stick, [captured]), moment, stick)
        seen.append(_judge(stick, empty))
    assert "unfinished" in seen, seen
    assert carry_out_here(plan_create(system, stick, [captured]), tmp_path / "again").status == 0
    assert examined(stick).findings == ()
    _has_image(stick, captured, tmp_path)


def _has_image(stick: Path, captured: Sample, folder: Path) -> None:
    with library_on(stick) as library:
        sample = Sample(library, captured.image_id, captured.disk)
        assert verify_here(sample, folder / "verify-image").status == 0


def test_an_update_that_is_killed_at_any_moment_keeps_the_images_and_is_completed_by_the_next(
    made: Path, later: Path, captured: Sample, tmp_path: Path
) -> None:
    stick = _copy(made, tmp_path)
    images = images_digest(stick)
    longest = seconds_of(finish(start(plan_update(later, stick)))) + 0.05
    seen = []
    for moment in moments(KILLS, longest, seed=4):
        stick = _copy(made, tmp_path)
        before = digest(stick)
        kill_job(plan_update(later, stick), moment, stick)
        seen.append(_judge(stick, before))
        assert images_digest(stick) == images
        done = carry_out_here(plan_update(later, stick), tmp_path / "again")
        assert done.status == 0, done
        assert (examined(stick).findings, examined(stick).about.build) == ((), NEXT)
        assert images_digest(stick) == images
    assert "unfinished" in seen, seen
    _has_image(stick, captured, tmp_path)


def test_an_update_adds_an_image_and_copies_only_what_is_missing(
    made: Path, later: Path, captured: Sample, tmp_path: Path, rescue: Rescue
) -> None:
    other = sample_disk(tmp_path / "other.img", seed=1)
    with other.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(random.Random(9).randbytes(MIB))
    rescue("capture", other, "--library", tmp_path / "library", "--label", "Other")
    library = Library.open(tmp_path / "library")
    sample = Sample(library.path, library.images().images[0].id, other)
    stick = _copy(made, tmp_path)
    done = carry_out_here(plan_update(later, stick, [sample]), tmp_path / "job")
    assert isinstance(done.result, MediaResult), done
    assert 0 < done.result.new < done.result.chunks
    with library_on(stick) as there:
        names = {image.id: image.label for image in Library.open(there).images().images}
        assert names == {captured.image_id: "", sample.image_id: "Other"}
        for one in (captured, sample):
            assert verify_here(Sample(there, one.image_id, one.disk), tmp_path / one.image_id).status == 0
        assert factory.factory_image(there) == captured.image_id


def test_a_medium_that_is_cancelled_says_in_what_state_it_is(system: Path, captured: Sample, tmp_path: Path) -> None:
    stick = a_stick(tmp_path)
    job = start(plan_create(system, stick, [captured]))
    wait_for_step(job, "Copying")
    job.cancel()
    finish(job)
    ended = job.finished
    assert ended is not None
    if job.state is JobState.DONE:
        pytest.fail("the job was over before it could be cancelled")
    assert job.state is JobState.CANCELLED
    assert "only partly made and does not start a computer" in ended.state
    assert _judge(stick, "") == "unfinished"
    assert run_rescue("media", "check", stick, status=4).err.startswith("rescue: ")
    # What was copied is still there, and an update completes the medium.
    assert carry_out_here(plan_update(system, stick, [captured]), tmp_path / "again").status == 0
    assert examined(stick).findings == ()
    _has_image(stick, captured, tmp_path)


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))


def _place(path: Path, name: str) -> int:
    with medium.volume_of(str(path)) as volume:
        return medium.system_files(volume)[1][name].extents[0][0]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("rescue/root.squashfs", "rescue/root.squashfs is damaged"),
        ("rescue/vmlinuz", "rescue/vmlinuz is damaged"),
        ("EFI/BOOT/grubx64.efi", "EFI/BOOT/grubx64.efi is damaged"),
        ("eltorito/bios.img", "boot loader for a BIOS is damaged"),
        ("mbr", "boot loader for a BIOS is damaged"),
        ("pointer", "does not lead to the boot loader"),
        ("table", "partition table is damaged"),
        ("copy", "copy of the partition table at the end is damaged"),
        ("esp", "on the EFI system partition"),
        ("catalog", "El Torito catalog is damaged"),
    ],
)
def test_one_flipped_bit_is_found_and_named(made: Path, tmp_path: Path, where: str, names: str) -> None:
    stick = _copy(made, tmp_path)
    found = medium.look(str(stick))
    assert found.efi is not None
    with medium.volume_of(str(stick)) as volume:
        catalog = iso.open_iso(volume).catalog
    places = {
        "mbr": 7,
        "pointer": 0x1B0,
        "table": 2 * 512 + 40,
        "copy": STICK - 512 + 20,
        "esp": _in_esp(stick, found.efi.start),
        "catalog": catalog + 5,
    }
    at = places[where] if where in places else _place(stick, where) + 1500
    _flip(stick, at)
    done = run_rescue("media", "check", stick, "--json", status=4).json
    assert done["state"] == "damaged"
    assert any(names in one["message"] for one in done["findings"]), done["findings"]
    assert all(one["hint"] for one in done["findings"])


def _in_esp(stick: Path, start: int) -> int:
    """A byte of a file as it lies on the EFI system partition."""
    with medium.volume_of(str(stick)) as volume:
        image, files = medium.system_files(volume)
        beginning = iso.read_file(image, files["EFI/BOOT/mmx64.efi"], MIB)[:512]
        return start + volume(start, 2 * MIB).index(beginning) + 99


def test_a_medium_that_is_cut_off_is_found(made: Path, system: Path, tmp_path: Path) -> None:
    stick = _copy(made, tmp_path)
    part = medium.look(str(stick)).images
    assert part is not None
    for source, size in ((stick, part.end - MIB), (stick, 5 * MIB), (system, 4 * MIB), (system, 200 << 10)):
        cut = tmp_path / "cut.img"
        run("cp", "--sparse=always", source, cut)
        os.truncate(cut, size)
        said = run_rescue("media", "check", cut, status=4)
        assert "cut off" in said.out + said.err
        assert f"{size} bytes of" in said.out + said.err


def test_a_medium_over_a_year_old_works_and_says_so(tmp_path: Path) -> None:
    old = small_medium.make(tmp_path / "old.img", built="2024-01-01T00:00:00Z")
    found = examined(old)
    assert [one.kind for one in found.findings] == [Kind.OLD]
    assert (found.damaged, found.outdated) == (False, True)
    done = run_rescue("media", "check", old, status=10).out
    assert "days old" in done
    assert "It is whole, and can start a computer." in done


def test_a_medium_behind_the_installed_version_says_so(tmp_path: Path) -> None:
    behind = small_medium.make(tmp_path / "behind.img", version="0.0.9")
    kinds = {one["kind"] for one in run_rescue("media", "check", behind, "--json", status=10).json["findings"]}
    assert "behind" in kinds


@pytest.mark.parametrize("size", [0, 1, 511, 512, 40_000, 3 * MIB])
def test_what_is_no_medium_is_told_so(tmp_path: Path, size: int) -> None:
    file = tmp_path / "x.img"
    file.write_bytes(random.Random(size).randbytes(size))
    assert "is not a recovery medium" in run_rescue("media", "check", file, status=4).err


def test_a_damaged_system_is_refused_before_anything_is_erased(system: Path, tmp_path: Path) -> None:
    source = tmp_path / "system.img"
    shutil.copyfile(system, source)
    _flip(source, _place(source, "rescue/root.squashfs") + 100_000)
    stick = blank(tmp_path / "stick.img", 64 * MIB, fill=0x55)
    before = digest(stick)
    done = run_rescue("media", "create", stick, "--system", source, "--erase", "stick.img", "--json", status=4).events[
        -1
    ]
    assert (done["code"], done["state"]) == ("damaged-medium", "Nothing was written to stick.img.")
    assert digest(stick) == before


def test_too_small_a_stick_is_told_what_is_needed(system: Path, captured: Sample, tmp_path: Path) -> None:
    stick = a_stick(tmp_path, 90 * MIB)
    before = digest(stick)
    words = ["media", "create", stick, "--system", system, "--image", captured.image_id, "--library", captured.library]
    done = run_rescue(*words, "--erase", "stick.img", "--json", status=3).json["error"]
    assert done["code"] == "target-too-small"
    needed = int(done["message"].split("(")[1].split(" bytes")[0].replace(",", ""))
    assert digest(stick) == before
    os.truncate(stick, needed - 1)
    run_rescue(*words, "--erase", "stick.img", status=3)
    os.truncate(stick, needed)
    run_rescue(*words, "--erase", "stick.img")
    assert examined(stick).findings == ()


@pytest.mark.parametrize("content", [1, 300 * MIB, 3 << 30, 60 << 30])
def test_an_images_partition_of_the_size_that_is_said_to_be_needed_holds_the_images(
    tmp_path: Path, content: int
) -> None:
    size = mediaplan.images_room(content)
    file = blank(tmp_path / "x.img", MIB + size)
    with writer.opened(str(file), regular_file=True) as target:
        mediafs.make_filesystem(target, MIB, size, "ext4")
        with mediafs.mounted_images(target, MIB, size, "ext4", "x.img") as root:
            room = os.statvfs(root)
    assert room.f_bavail * room.f_frsize >= content


def _on_a_faulty_medium(made: Path, fs: Faulty) -> Path:
    """A copy of a medium whose operations can be made to fail."""
    run("cp", "--sparse=always", made, fs.back / "stick.img")
    return fs.where / "stick.img"


def test_an_update_that_is_killed_at_its_first_and_last_writes_keeps_the_images(
    made: Path, later: Path, tmp_path: Path
) -> None:
    images = images_digest(made)
    untouched = digest(made)
    (tmp_path / "back").mkdir()
    with faulty(tmp_path / "back", tmp_path / "seen") as fs:
        stick = _on_a_faulty_medium(made, fs)
        plan = plan_update(later, stick)
        fs.plan()
        assert finish(start(plan)).state is JobState.DONE
        writes = fs.plan().counts["write stick.img"]
        assert writes > 8
        seen = []
        # Of those that bring the body of the system, which is half there then, a few will do.
        for nth in [*range(1, 5), writes // 3, writes // 2, *range(writes - 8, writes + 1)]:
            stick = _on_a_faulty_medium(made, fs)
            plan = plan_update(later, stick)
            fs.plan(Fault(kind="write", nth=nth, kill=True))
            assert finish(start(plan)).state is JobState.DIED
            fs.plan()
            behind = fs.back / "stick.img"
            seen.append(_judge(behind, untouched))
            assert images_digest(behind) == images
        assert seen[0] == "untouched"
        assert set(seen[1:]) == {"unfinished"}
        assert carry_out_here(plan_update(later, behind), tmp_path / "again").status == 0
        assert (examined(behind).findings, images_digest(behind)) == ((), images)


def test_a_stick_that_fails_in_the_middle_starts_nothing(system: Path, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    blank(tmp_path / "back" / "stick.img", 64 * MIB)
    with faulty(tmp_path / "back", tmp_path / "seen") as fs:
        plan = plan_create(system, fs.where / "stick.img")
        fs.plan(Fault(kind="write", times=0, low=3 * MIB, high=4 * MIB))
        done = carry_out_here(plan, tmp_path / "job")
        assert fs.plan().hit
        assert (done.status, done.code) == (5, "write-failed"), done
        assert "only partly made and does not start a computer" in done.state
        assert _judge(fs.back / "stick.img", "") == "unfinished"


def test_a_full_file_system_under_a_stick_is_told(system: Path, captured: Sample, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "20M") as small:
        stick = blank(small / "stick.img", STICK)
        done = carry_out_here(plan_create(system, stick, [captured]), tmp_path / "job")
        assert done.status == 5, done
        assert "stick.img is only partly made" in done.state
        assert _judge(stick, "") == "unfinished"


def test_a_medium_of_another_sector_size_is_refused(system: Path, tmp_path: Path) -> None:
    needs = pytest.raises(RefusedError, match="sectors have 4096 bytes, a recovery medium needs 512")
    with looped(blank(tmp_path / "stick.img", 64 * MIB), sector=4096) as loop, needs:
        plan_create(system, loop)


def test_a_stick_that_changed_since_it_was_shown_is_refused(system: Path, tmp_path: Path) -> None:
    stick = a_stick(tmp_path, 64 * MIB)
    plan = plan_create(system, stick)
    _flip(stick, 600)
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "disk-changed")
    assert "Nothing was written" in done.state


def test_another_system_than_was_shown_is_refused(system: Path, later: Path, tmp_path: Path) -> None:
    source = tmp_path / "system.img"
    shutil.copyfile(system, source)
    stick = a_stick(tmp_path, 64 * MIB)
    plan = plan_create(source, stick)
    shutil.copyfile(later, source)
    assert carry_out_here(plan, tmp_path / "job").code == "system-changed"


def test_a_damaged_image_leaves_a_medium_that_is_known_as_unfinished(
    system: Path, captured: Sample, tmp_path: Path
) -> None:
    sample = captured.copy(tmp_path / "library")
    chunk = sample.chunk(2)
    chunk.write_bytes(chunk.read_bytes()[:-5])
    stick = a_stick(tmp_path)
    done = carry_out_here(plan_create(system, stick, [sample]), tmp_path / "job")
    assert (done.status, done.code) == (4, "corrupt-chunk")
    assert _judge(stick, "") == "unfinished"


def test_an_update_too_large_for_the_room_before_the_images_is_refused(
    system: Path, later: Path, tmp_path: Path
) -> None:
    stick = a_stick(tmp_path, 60 * MIB)
    assert carry_out_here(plan_create(system, stick), tmp_path / "job").status == 0
    with pytest.raises(RefusedError, match="does not fit before the images"):
        plan_update(later, stick)


def test_an_update_with_more_images_than_there_is_room_for_writes_nothing(
    made: Path, later: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    disk = wide_disk(folder / "wide.img", 110)
    result = capture_here(disk, folder / "library", folder / "job").result
    assert isinstance(result, CaptureResult)
    stick = _copy(made, tmp_path)
    before = digest(stick)
    plan = plan_update(later, stick, [Sample(folder / "library", result.image, disk)])
    done = carry_out_here(plan, tmp_path / "job")
    assert (done.status, done.code) == (3, "target-too-small"), done
    assert "are needed" in done.message
    assert digest(stick) == before


def test_only_a_medium_is_updated(system: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="is not a recovery medium"):
        plan_update(system, sample_disk(tmp_path / "pc.img"))


def test_a_disc_holds_images_in_a_library_of_its_own(made: Path, captured: Sample, tmp_path: Path) -> None:
    disc = tmp_path / "disc.iso"
    words = ["--system", made, "--factory", captured.image_id, "--library", captured.library]
    run_rescue("media", "iso", disc, *words)
    assert examined(disc).findings == ()
    # The images partition of the stick that its system came from stays behind.
    assert [part.number for part in inventory.look(str(disc)).table.partitions] == [1, 2]
    assert disc.stat().st_size < 48 * MIB
    folder = tmp_path / "extracted"
    run("xorriso", "-osirrox", "on", "-indev", f"stdio:{disc}", "-extract", "/rescue-library", folder)
    sample = Sample(folder, captured.image_id, captured.disk)
    assert verify_here(sample, tmp_path / "verify").status == 0
    assert factory.factory_image(folder) == captured.image_id
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".disc")] == []
    # And a disc makes a stick.
    stick = a_stick(tmp_path, 400 * MIB)
    assert carry_out_here(plan_create(disc, stick), tmp_path / "job").status == 0
    assert examined(stick).findings == ()
    # Its images are a part of what an update would replace.
    with pytest.raises(RefusedError, match="an update would lose them"):
        plan_update(made, stick)


def test_a_stick_gets_an_image_from_a_single_file(system: Path, captured: Sample, tmp_path: Path) -> None:
    plan = ExportPlan(
        library=str(captured.library),
        image=captured.image_id,
        target=str(tmp_path / "pc.rescue"),
        format=ExportFormat.RESCUE,
        piece_size=6 * MIB,
    )
    assert carry_out_here(plan, tmp_path / "export").status == 0
    single = Sample(tmp_path / "pc.rescue.001", captured.image_id, captured.disk)
    stick = a_stick(tmp_path)
    assert carry_out_here(plan_create(system, stick, [single]), tmp_path / "job").status == 0
    assert examined(stick).findings == ()
    with library_on(stick) as there:
        assert verify_here(Sample(there, captured.image_id, captured.disk), tmp_path / "verify").status == 0
        assert factory.factory_image(there) == captured.image_id


def test_a_disc_without_images_is_the_system_itself(system: Path, tmp_path: Path) -> None:
    disc = tmp_path / "disc.iso"
    run_rescue("media", "iso", disc, "--system", system)
    assert examined(disc).findings == ()
    run_rescue("media", "iso", disc, "--system", system, status=2)


def test_a_disc_is_written_where_the_file_system_knows_no_hard_links(
    system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    disc = tmp_path / "disc.iso"
    plan = mediaplan.plan_iso(mediasource.find_system(system), str(disc))
    assert carry_out_here(plan, tmp_path / "job").status == 0
    assert examined(disc).findings == ()


def test_a_disc_that_is_cancelled_leaves_no_file(system: Path, captured: Sample, tmp_path: Path) -> None:
    sample = captured.copy(tmp_path / "library")
    chunk = sample.chunk(3)
    chunk.write_bytes(b"x" + chunk.read_bytes()[1:])
    words = ["--system", system, "--image", sample.image_id, "--library", sample.library]
    run_rescue("media", "iso", tmp_path / "disc.iso", *words, status=4)
    assert [path.name for path in tmp_path.iterdir() if "disc" in path.name] == []
