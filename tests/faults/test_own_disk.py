"""The recovery system on a computer's own disk: added, started from its menus, killed at any moment, taken away."""

import hashlib
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from imaging import bootplaces, factory, grubmenu, inventory, ownfiles, ownlook, ownplan, partitions, planner
from imaging.disk import Role, TableKind
from imaging.errors import RefusedError
from imaging.events import CaptureResult, InstallResult
from imaging.library import Library
from imaging.mediasource import system_on, weigh
from imaging.plan import Plan
from imaging.recoveryplans import InstallPlan, MediaSystem, RemovePlan
from tests import small_medium
from tests.disks import MIB, blank, digest, file_hashes, looped, partition, run
from tests.faults.killing import finish, kill_after, seconds_of, start
from tests.faults.world import Sample, capture_here, carry_out_here

pytestmark = pytest.mark.root

SIZE = 420 * MIB
TABLES = {
    "gpt": "label: gpt\nstart=1MiB, size=20MiB\nstart=21MiB, size=80MiB, name=root\nstart=101MiB, size=30MiB\n",
    "dos": "label: dos\nstart=1MiB, size=20MiB, type=7\nstart=21MiB, size=80MiB, type=83, bootable\n"
    "start=101MiB, size=40MiB, type=5\nstart=102MiB, size=30MiB, type=83\n",
}
ROOT = (21 * MIB, 80 * MIB)
MENU = """set timeout=5
menuentry "Linux" {
}
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
fi
"""


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recovery medium of a few MiB."""
    return small_medium.make(tmp_path_factory.mktemp("medium") / "rescue.img")


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another build of it."""
    folder = tmp_path_factory.mktemp("later")
    return small_medium.make(folder / "rescue.img", build="fedcba9876543210", larger_by=9000)


@contextmanager
def mounted(path: Path | str, start: int, size: int, *options: str) -> Iterator[Path]:
    """A file system of a disk, at a folder beside it."""
    where = Path(f"/tmp/own-disk-{os.getpid()}-{start}")
    where.mkdir()
    try:
        with looped(Path(path), start, size) as loop:
            run("mount", *options, loop, where)
            try:
                yield where
            finally:
                run("umount", where)
    finally:
        where.rmdir()


@pytest.fixture(params=["gpt", "dos"])
def pc(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A disk file: something, a Linux with GRUB, something else, and free room."""
    return make_pc(tmp_path / "pc.img", request.param)


def make_pc(path: Path, kind: str = "gpt") -> Path:
    partition(blank(path, SIZE), TABLES[kind])
    chance = random.Random(7)
    with path.open("r+b") as file:
        for start, size in ((1, 20), (102, 29)):
            file.seek(start * MIB)
            file.write(chance.randbytes(size * MIB))
    with looped(path, *ROOT) as loop:
        run("mkfs.ext4", "-q", loop)
    with mounted(path, *ROOT) as root:
        (root / "boot/grub").mkdir(parents=True)
        (root / "boot/grub/grub.cfg").write_text(MENU)
        (root / "etc").mkdir()
        (root / "etc/hostname").write_text("pc\n")
    return path


def system(path: Path) -> tuple[MediaSystem, int]:
    with ownfiles.opened(str(path)) as source:
        return system_on(str(path)), source.content


def plan_for(path: Path | str, medium: Path, images: int = 0) -> InstallPlan:
    disk = inventory.look(str(path))
    what, content = system(medium)
    return ownplan.plan_install(disk, what, bootplaces.look(disk), content=content, images=images)


def plan_away(path: Path | str) -> RemovePlan:
    disk = inventory.look(str(path))
    return ownplan.plan_remove(disk, bootplaces.look(disk).menus, firmware=False)


def done(plan: Plan, folder: Path) -> InstallResult:
    ended = carry_out_here(plan, folder)
    assert (ended.status, ended.message) == (0, ended.message), ended
    assert isinstance(ended.result, InstallResult)
    return ended.result


@dataclass(frozen=True, slots=True)
class Rest:
    """All of a disk that is none of ours: what lies outside of the root and the free room, and the root's files."""

    bytes_before: str
    bytes_behind: str
    files: dict[str, str]


def rest(path: Path) -> Rest:
    """Of the disk as it is; the table, and what was free, are looked at otherwise."""
    with mounted(path, *ROOT, "-o", "ro,noload") as root:
        files = file_hashes(root)
    return Rest(digest(path, 34 * 512, 21 * MIB - 34 * 512), digest(path, 101 * MIB, 40 * MIB), files)


def table(path: Path | str) -> dict[str, dict[str, object]]:
    found = json.loads(run("sfdisk", "--json", path))["partitiontable"]["partitions"]
    return {part["node"].removeprefix(str(path)): part for part in found}


def the_system(path: Path, plan: InstallPlan) -> dict[str, str]:
    with mounted(path, plan.start, plan.size - MIB, "-o", "ro,noload") as where:
        found = {name: sha for name, sha in file_hashes(where).items() if not name.startswith("lost+found")}
        by_uuid = f"rescue.part={plan.uuid}" in (where / ownfiles.OPTIONS).read_text()
    del found[ownfiles.OPTIONS], found[ownfiles.INFO]
    assert by_uuid == (plan.target.table.kind is TableKind.GPT)
    return found


def expected(medium: Path) -> dict[str, str]:
    with ownfiles.opened(str(medium)) as source:
        return {p: hashlib.sha256(b"".join(source.pieces(p))).hexdigest() for p in source.files}


def test_it_is_added_with_a_menu_entry_and_nothing_else_changes(pc: Path, medium: Path, tmp_path: Path) -> None:
    before, old_table = rest(pc), table(pc)
    plan = plan_for(pc, medium)
    result = done(plan, tmp_path / "job")
    assert (result.partition, result.starts) == (
        "pc.img:4",
        ("in the menu of GRUB on pc.img:2: Rescue recovery",),
    )
    after = rest(pc)
    assert (after.bytes_before, after.bytes_behind) == (before.bytes_before, before.bytes_behind)
    added = {name: digest for name, digest in after.files.items() if before.files.get(name) != digest}
    assert list(added) == ["boot/grub/custom.cfg"]
    assert {name: part for name, part in table(pc).items() if name in old_table} == old_table
    assert len(table(pc)) == len(old_table) + 1
    assert the_system(pc, plan) == expected(medium)
    with mounted(pc, *ROOT, "-o", "ro,noload") as root:
        assert plan.uuid in (root / "boot/grub/custom.cfg").read_text()
    found = inventory.look(str(pc))
    own = ownplan.own_partition(found)
    assert own is not None
    assert (own.number, own.content.label, own.content.uuid) == (plan.number, "RESCUE", plan.uuid)
    with looped(pc, plan.start, plan.size) as loop:
        run("e2fsck", "-fn", loop)
    examined = ownlook.check(str(pc), lambda *_: None)
    assert examined is not None
    assert (examined.path, examined.damaged) == ("pc.img:4", False)
    with mounted(pc, plan.start, plan.size - MIB) as where:
        (where / "rescue/app.squashfs").write_bytes(b"bad")
    damaged = ownlook.check(str(pc), lambda *_: None)
    assert damaged is not None
    assert damaged.damaged


def test_removing_it_gives_back_the_disk_as_it_was(pc: Path, medium: Path, tmp_path: Path) -> None:
    before, head = rest(pc), pc.read_bytes()[: 34 * 512]
    tail = pc.read_bytes()[-33 * 512 :]
    done(plan_for(pc, medium), tmp_path / "job")
    ended = carry_out_here(plan_away(pc), tmp_path / "away")
    assert ended.status == 0, ended
    assert rest(pc) == before
    assert (pc.read_bytes()[: 34 * 512], pc.read_bytes()[-33 * 512 :]) == (head, tail)
    with pytest.raises(RefusedError) as caught:
        plan_away(pc)
    assert caught.value.code == "not-ours"


def test_again_with_another_build_the_system_is_replaced_and_the_library_kept(
    medium: Path, later: Path, tmp_path: Path
) -> None:
    pc = make_pc(tmp_path / "pc.img")
    first = plan_for(pc, medium, images=20 * MIB)
    done(first, tmp_path / "job")
    with mounted(pc, first.start, first.size - MIB) as where:
        Library.open(where / "rescue-library")
        (where / "rescue-library/mine").write_text("precious")
    plan = plan_for(pc, later)
    assert (plan.present, plan.number, plan.start, plan.size) == (True, first.number, first.start, first.size)
    assert done(plan, tmp_path / "again").replaced
    there = the_system(pc, plan)
    assert "rescue-library/mine" in there
    assert {name: digest for name, digest in there.items() if "rescue-library" not in name} == expected(later)


def test_images_are_copied_to_it_and_proved(captured: Sample, medium: Path, tmp_path: Path) -> None:
    pc = make_pc(tmp_path / "pc.img")
    weight = weigh([(Library.open(captured.library), captured.image)], 4096)
    what, content = system(medium)
    disk = inventory.look(str(pc))
    plan = ownplan.plan_install(
        disk,
        what,
        bootplaces.look(disk),
        content=content,
        images=weight.content,
        copied=weight.images,
        factory=captured.image_id,
    )
    done(plan, tmp_path / "job")
    with mounted(pc, plan.start, plan.size - MIB, "-o", "ro,noload") as where:
        library = Library.open(where / "rescue-library")
        assert library.image(captured.image_id) == captured.image
        assert factory.factory_image(library.path) == captured.image_id
        checked = carry_out_here(planner.plan_verify(library.path, captured.image), tmp_path / "verify")
        assert (checked.status, checked.message) == (0, "Everything is right.")


def test_what_is_done_twice_is_done_once(pc: Path, medium: Path, tmp_path: Path) -> None:
    done(plan_for(pc, medium), tmp_path / "job")
    before, was = rest(pc), table(pc)
    done(plan_for(pc, medium), tmp_path / "again")
    assert (rest(pc), table(pc)) == (before, was)


def test_killed_at_any_moment_it_is_completed_or_removed(pc: Path, medium: Path, tmp_path: Path) -> None:
    fresh = pc.read_bytes()
    before, old_table = rest(pc), table(pc)
    longest = seconds_of(finish(start(plan_for(pc, medium))))
    whole = expected(medium)
    killed = 0
    for i, share in enumerate((k + random.Random(k).random()) / 6 for k in range(6)):
        pc.write_bytes(fresh)
        job = start(plan_for(pc, medium))
        if kill_after(job, share * longest):
            killed += 1
        else:
            # The machine may have less to do by now than it had when that was measured.
            longest = min(longest, seconds_of(job))
        left = rest(pc)
        assert (left.bytes_before, left.bytes_behind) == (before.bytes_before, before.bytes_behind)
        assert all(
            name.startswith(("boot/grub/custom.cfg", "boot/grub/.")) for name in left.files.keys() - before.files
        )
        assert {name: left.files[name] for name in before.files} == before.files
        assert {name: part for name, part in table(pc).items() if name in old_table} == old_table
        if i % 3 == 2 and len(table(pc)) > len(old_table):
            assert carry_out_here(plan_away(pc), tmp_path / f"away-{i}").status == 0
            assert (rest(pc), table(pc)) == (before, old_table)
        plan = plan_for(pc, medium)
        done(plan, tmp_path / f"again-{i}")
        assert the_system(pc, plan) == whole
        assert rest(pc).files.keys() - before.files == {"boot/grub/custom.cfg"}
        assert len(table(pc)) == len(old_table) + 1
    assert killed >= 2


def test_a_removal_that_was_killed_is_done_by_doing_it_again(medium: Path, tmp_path: Path) -> None:
    pc = make_pc(tmp_path / "pc.img")
    before, old_table = rest(pc), table(pc)
    done(plan_for(pc, medium), tmp_path / "job")
    installed = pc.read_bytes()
    longest = seconds_of(finish(start(plan_away(pc))))
    for k in range(4):
        pc.write_bytes(installed)
        kill_after(start(plan_away(pc)), (k + 0.5) * longest / 4)
        if len(table(pc)) > len(old_table):
            assert carry_out_here(plan_away(pc), tmp_path / f"again-{k}").status == 0
        assert (rest(pc), table(pc)) == (before, old_table)


def test_a_damaged_system_stops_it_with_the_disk_still_whole(medium: Path, tmp_path: Path) -> None:
    pc = make_pc(tmp_path / "pc.img")
    bad = tmp_path / "bad.img"
    data = bytearray(medium.read_bytes())
    with ownfiles.opened(str(medium)) as source:
        part = b"".join(source.pieces("rescue/root.squashfs"))[1_000_000:1_000_100]
    data[data.index(part)] ^= 1
    bad.write_bytes(data)
    before = rest(pc)
    ended = carry_out_here(plan_for(pc, bad), tmp_path / "job")
    assert (ended.status, ended.code) == (4, "damaged-medium")
    assert "is only begun; all other partitions are as they were" in ended.state
    assert rest(pc) == before
    done(plan_for(pc, medium), tmp_path / "again")


def test_a_table_that_changed_since_the_plan_was_shown_is_left_alone(medium: Path, tmp_path: Path) -> None:
    pc = make_pc(tmp_path / "pc.img")
    plan = plan_for(pc, medium)
    run("sfdisk", "--quiet", "--append", pc, text="start=200MiB, size=10MiB\n")
    was = digest(pc)
    ended = carry_out_here(plan, tmp_path / "job")
    assert (ended.status, ended.code) == (3, "disk-changed")
    assert "Nothing was written" in ended.state
    assert digest(pc) == was


def test_a_partition_that_somebody_formatted_is_not_removed(medium: Path, tmp_path: Path) -> None:
    pc = make_pc(tmp_path / "pc.img")
    plan = plan_for(pc, medium)
    done(plan, tmp_path / "job")
    with looped(pc, plan.start, plan.size - MIB) as loop:
        run("mkfs.ext4", "-q", "-F", "-L", "mine", loop)
    with pytest.raises(RefusedError) as caught:
        plan_away(pc)
    assert caught.value.code == "not-ours"


def test_a_menu_that_reads_no_custom_cfg_is_told_of(medium: Path, tmp_path: Path) -> None:
    pc = make_pc(tmp_path / "pc.img")
    with mounted(pc, *ROOT) as root:
        (root / "boot/grub/grub.cfg").write_text("menuentry x {\n}\n")
    with pytest.raises(RefusedError, match=r"boot/grub/grub.cfg on pc.img:2: it does not read custom.cfg"):
        plan_for(pc, medium)


@contextmanager
def as_disk(path: Path) -> Iterator[str]:
    """The file as a disk of which the kernel knows the partitions."""
    loop = run("losetup", "--find", "--show", "--partscan", path).strip()
    try:
        run("partx", "--update", loop)
        yield loop
    finally:
        run("losetup", "--detach", loop)


def test_on_a_running_systems_disk_its_mounted_partitions_stay_in_use(medium: Path, tmp_path: Path) -> None:
    pc = make_pc(tmp_path / "pc.img")
    where = tmp_path / "root"
    where.mkdir()
    with as_disk(pc) as disk:
        run("mount", f"{disk}p2", where)
        try:
            with (where / "etc/open").open("w") as still_open:
                plan = plan_for(disk, medium)
                result = done(plan, tmp_path / "job")
                assert Path(f"{disk}p4").is_block_device()
                still_open.write("written meanwhile")
            assert result.partition == f"{Path(disk).name}p4"
            assert plan.uuid in (where / "boot/grub/custom.cfg").read_text()
            ended = carry_out_here(plan_away(disk), tmp_path / "away")
            assert ended.status == 0, ended
            assert not Path(f"{disk}p4").exists()
            assert not (where / "boot/grub/custom.cfg").exists()
            assert (where / "etc/open").read_text() == "written meanwhile"
        finally:
            run("umount", where)


def test_started_from_it_only_other_partitions_of_the_disk_are_targets(
    medium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pc = make_pc(tmp_path / "pc.img")
    captured = capture_here(pc, tmp_path / "library", tmp_path / "capture").result
    done(plan_for(pc, medium), tmp_path / "job")
    where = tmp_path / "medium"
    where.mkdir()
    monkeypatch.setattr(inventory, "MEDIUM", str(where))
    assert isinstance(captured, CaptureResult)
    image = Library.open(tmp_path / "library").image(captured.image)
    with as_disk(pc) as disk:
        run("mount", "-o", "ro", f"{disk}p4", where)
        try:
            here = inventory.look(disk)
            assert (here.roles, here.kept) == ((Role.BOOT_MEDIUM,), 4)
            assert "recovery partition" in planner.why_not_target(here, image.disks[0])
            plan = partitions.plan_restore_partitions(tmp_path / "library", image, "pc.img", here, {2: 2})
            before = the_system_at(where)
            with looped_root(disk) as root:
                (root / "etc/hostname").write_text("broken\n")
            plan = partitions.plan_restore_partitions(
                tmp_path / "library", image, "pc.img", inventory.look(disk), {2: 2}
            )
            ended = carry_out_here(plan, tmp_path / "restore")
            assert ended.status == 0, ended
            with looped_root(disk) as root:
                assert (root / "etc/hostname").read_text() == "pc\n"
                assert not (root / "boot/grub/custom.cfg").exists()
            assert the_system_at(where) == before
            # The image's menu knows nothing of it: its entry is added again, from its own files.
            monkeypatch.setenv("RESCUE_SYSTEM", str(tmp_path / "none"))
            entries, _ = ownlook.plan_install(disk)
            assert (entries.entries, entries.number, entries.system.build) == (True, 4, small_medium.BUILD)
            assert done(entries, tmp_path / "entries").entries
            with looped_root(disk) as root:
                assert entries.uuid in (root / "boot/grub/custom.cfg").read_text()
            assert the_system_at(where) == before
        finally:
            run("umount", where)


def the_system_at(where: Path) -> dict[str, str]:
    return file_hashes(where)


@contextmanager
def looped_root(disk: str) -> Iterator[Path]:
    where = Path(f"/tmp/own-disk-root-{os.getpid()}")
    where.mkdir()
    try:
        run("mount", f"{disk}p2", where)
        yield where
    finally:
        run("umount", where)
        where.rmdir()


def test_the_boot_loader_of_the_efi_partition_is_ours_alone(medium: Path, tmp_path: Path) -> None:
    esp = tmp_path / "esp"
    (esp / "EFI/debian").mkdir(parents=True)
    (esp / "EFI/debian/grubx64.efi").write_text("theirs")
    with ownfiles.opened(str(medium)) as source:
        ownfiles.refuse_unless_efi_takes(esp, MIB, "sda1")
        ownfiles.write_efi(source, esp, uuid="1-2-3", build="0123")
        wanted = {name: b"".join(source.pieces(path)) for name, path in source.efi_files().items()}
        with pytest.raises(RefusedError, match="is full"):
            ownfiles.refuse_unless_efi_takes(esp, 1 << 60, "sda1")
    ours = esp / "EFI/rescue"
    assert {path.name: path.read_bytes() for path in ours.iterdir() if path.suffix == ".efi"} == wanted
    assert (ours / "grub.cfg").read_text() == grubmenu.render_efi_config(uuid="1-2-3", build="0123")
    (ours / "note").write_text("theirs")
    ownfiles.remove_efi(esp)
    assert [path.name for path in ours.iterdir()] == ["note"]
    (ours / "note").unlink()
    ownfiles.remove_efi(esp)
    assert not ours.exists()
    assert (esp / "EFI/debian/grubx64.efi").read_text() == "theirs"
