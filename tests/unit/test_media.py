"""Plans of recovery media, what they say of themselves, their age, and the check of the running one."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec import structs

from imaging import bootcheck, factory, jobs, mediaplan, medium, mediumcheck, mounts, plan, touched
from imaging.bootcheck import BootState, State
from imaging.disk import Content, Disk, Mount, Role, TableKind
from imaging.errors import BadImageError, IoError, RefusedError, UsageError
from imaging.imageplans import ImportPlan, VerifyPlan
from imaging.jobs import JobState
from imaging.library import Library
from imaging.medium import About, Medium, Part
from imaging.mediumcheck import Kind
from imaging.plan import Plan
from imaging.recoveryplans import MediaImage, MediaPlan, MediaSystem
from imaging.restoreplans import ForeignSource, RestorePlan
from imaging.unfinished import MEDIUM
from tests.unit.builders import GIB, MIB, a_disk, a_partition, a_table

SYSTEM = MediaSystem(path="/x.img", build="b", version="0.1.0", built="2026-01-01T00:00:00Z", size=150 * MIB + 4096)
IMAGE = MediaImage(library="/l", image="20260101-000000-abcd", created="2026-01-01T00:00:00Z", size=GIB)


def a_stick(size: int = 8 * GIB, **changes: object) -> Disk:
    """An empty stick."""
    disk = a_disk(path="/dev/sdb", transport="usb", removable=True, table=a_table())
    return replace(disk, id=replace(disk.id, size=size), **changes)  # type: ignore[arg-type]


def a_medium(**changes: object) -> Medium:
    """What `a_stick` says of itself when it is a medium of 8 GiB."""
    about = About(format=1, version="0.1.0", build="b", built="2026-01-01T00:00:00Z")
    efi = Part(number=2, start=140 * MIB, end=150 * MIB, name="RESCUE-EFI")
    made = Medium(path="/dev/sdb", size=8 * GIB, about=about, needed=150 * MIB, system=150 * MIB, efi=efi, images=None)
    return replace(made, **changes)  # type: ignore[arg-type]


def system_parts(*more: object) -> object:
    return a_table(
        a_partition(1, start=32 << 10, size=140 * MIB - (32 << 10)),
        a_partition(2, start=140 * MIB, size=10 * MIB),
        *more,  # type: ignore[arg-type]
    )


def images_part(start: int = 320 * MIB, end: int = 8 * GIB - MIB) -> object:
    content = Content(kind="ext4", label="RESCUE-IMAGES")
    return a_partition(3, start=start, size=end - start, content=content, name="RESCUE-IMAGES")


def test_images_take_the_rest_of_the_stick_with_room_for_a_larger_system_before_them() -> None:
    made = mediaplan.plan_media(SYSTEM, a_stick(), [IMAGE], GIB)
    assert made.images_start == 320 * MIB
    assert made.images_start + made.images_size == 8 * GIB - MIB
    assert made.images_start - SYSTEM.size >= 128 * MIB


def test_a_small_stick_has_its_images_right_behind_the_system_or_none() -> None:
    made = mediaplan.plan_media(SYSTEM, a_stick(200 * MIB))
    assert (made.images_start, made.images_size) == (151 * MIB, 48 * MIB)
    made = mediaplan.plan_media(SYSTEM, a_stick(160 * MIB))
    assert (made.images_start, made.images_size) == (0, 0)


def test_what_is_needed_is_told_to_the_byte() -> None:
    least = mediaplan.needed(SYSTEM, GIB)
    with pytest.raises(RefusedError, match=f"{least:,} bytes") as caught:
        mediaplan.plan_media(SYSTEM, a_stick(least - 1), [IMAGE], GIB)
    assert caught.value.code == "target-too-small"
    made = mediaplan.plan_media(SYSTEM, a_stick(least), [IMAGE], GIB)
    assert made.images_size >= mediaplan.images_room(GIB)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"roles": (Role.BOOT_MEDIUM,)}, "this computer was started from it"),
        ({"roles": (Role.LIBRARY,)}, "it holds the image library"),
        ({"roles": (Role.SYSTEM,)}, "the running system stands on it"),
        ({"mounts": (Mount(source="/dev/sdb1", where="/mnt"),)}, "mounted at /mnt"),
        ({"holders": ("dm-0",)}, "in use by dm-0"),
        ({"logical_sector": 4096}, "sectors have 4096 bytes"),
        ({"read_only": True}, "read-only"),
        ({"failing": "bad"}, "failing"),
    ],
)
def test_a_disk_that_must_not_be_erased_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        mediaplan.plan_media(SYSTEM, a_stick(**changes))


def test_a_fixed_disk_is_warned_of() -> None:
    assert "a fixed disk of this computer" in mediaplan.doubts(a_disk())
    assert mediaplan.doubts(a_stick()) == ""


def test_odd_wishes_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="none of the images"):
        mediaplan.plan_media(SYSTEM, a_stick(), [IMAGE], GIB, factory="other")
    with pytest.raises(UsageError, match="given twice"):
        mediaplan.plan_media(SYSTEM, a_stick(), [IMAGE, IMAGE], GIB)
    with pytest.raises(UsageError, match="file system 'ntfs'"):
        mediaplan.plan_media(SYSTEM, a_stick(), filesystem="ntfs")


def test_an_update_keeps_the_images_where_they_are() -> None:
    made = mediaplan.plan_update(SYSTEM, a_stick(table=system_parts(images_part())), a_medium())
    assert (made.update, made.keeps_images, made.images_start) == (True, True, 320 * MIB)
    assert made.title == "Update the recovery medium sdb"


def test_an_update_of_one_that_was_only_partly_made_goes_by_its_images() -> None:
    unfinished = a_stick(table=a_table(images_part()), unfinished=MEDIUM)  # type: ignore[arg-type]
    assert mediaplan.plan_update(SYSTEM, unfinished, None).keeps_images


def test_an_update_that_does_not_fit_says_how_much_room_there_is() -> None:
    stick = a_stick(table=system_parts(images_part(start=150 * MIB)))
    with pytest.raises(RefusedError, match="does not fit before the images") as caught:
        mediaplan.plan_update(SYSTEM, stick, a_medium())
    assert "without --update" in (caught.value.hint or "")


def test_an_update_of_anything_else_is_refused() -> None:
    with pytest.raises(RefusedError, match="is not a recovery medium"):
        mediaplan.plan_update(SYSTEM, a_stick(), None)
    stick = a_stick(table=system_parts(images_part(end=GIB), a_partition(4, start=GIB, size=GIB)))
    with pytest.raises(RefusedError, match="partitions that no recovery medium has"):
        mediaplan.plan_update(SYSTEM, stick, a_medium())


def test_the_running_medium_can_grow_and_nothing_else_can_be_done_to_it() -> None:
    running = a_stick(table=system_parts(), roles=(Role.BOOT_MEDIUM,))
    made = mediaplan.plan_grow(running, a_medium())
    assert (made.start, made.old_size, made.start + made.size) == (320 * MIB, 0, 8 * GIB - MIB)
    assert made.title == "Add an images partition to sdb"


def test_a_growth_that_was_cut_off_before_the_file_system_grew_is_completed() -> None:
    images = Part(number=3, start=320 * MIB, end=8 * GIB - MIB, name="RESCUE-IMAGES")
    running = a_stick(table=system_parts(images_part()))
    made = mediaplan.plan_grow(running, a_medium(images=images, filled=100 * MIB))
    assert (made.old_size, made.size) == (100 * MIB, images.size)
    with pytest.raises(RefusedError, match="nothing to gain"):
        mediaplan.plan_grow(running, a_medium(images=images, filled=images.size))


def test_an_images_partition_that_a_damaged_table_does_not_name_is_neither_formatted_nor_lost_by_an_update() -> None:
    of_no_efi = a_medium(efi=None)
    protective = replace(a_table(a_partition(1, start=512, size=8 * GIB - 512, type="ee")), kind=TableKind.MBR)
    for table in (replace(a_table(), kind=TableKind.NONE), protective, a_table()):
        with pytest.raises(RefusedError, match="table is damaged"):
            mediaplan.plan_grow(a_stick(table=table), of_no_efi)
        with pytest.raises(RefusedError, match="an update would lose them"):
            mediaplan.plan_update(SYSTEM, a_stick(table=table), of_no_efi)


def test_a_third_partition_that_is_none_for_images_is_not_made_one_by_an_update() -> None:
    other = a_partition(3, start=320 * MIB, size=GIB, content=Content(kind="ntfs", label="Data"), name="Data")
    with pytest.raises(RefusedError, match="partitions that no recovery medium has"):
        mediaplan.plan_update(SYSTEM, a_stick(table=system_parts(other)), a_medium())


def test_an_update_does_not_lose_the_images_that_lie_in_the_system_itself() -> None:
    for parts in (system_parts(), system_parts(images_part())):
        with pytest.raises(RefusedError, match="an update would lose them"):
            mediaplan.plan_update(SYSTEM, a_stick(table=parts), a_medium(holds_library=True))


def test_a_medium_is_not_made_from_itself() -> None:
    itself = structs.replace(SYSTEM, path="/dev/sdb")
    with pytest.raises(RefusedError, match="copied from itself"):
        mediaplan.plan_media(itself, a_stick())
    with pytest.raises(RefusedError, match="copied from itself"):
        mediaplan.plan_update(itself, a_stick(table=system_parts()), a_medium())


def test_plans_of_media_are_read_as_they_were_written() -> None:
    made = mediaplan.plan_media(SYSTEM, a_stick(), [IMAGE], GIB, factory=IMAGE.image)
    grown = mediaplan.plan_grow(a_stick(table=system_parts()), a_medium())
    disc = mediaplan.plan_iso(SYSTEM, "/tmp/x.iso", [IMAGE])
    for one in (made, grown, disc):
        assert plan.decode(plan.encode(one)) == one
    assert isinstance(made, MediaPlan)
    assert [use.image for use in touched.libraries_used(made)] == [IMAGE.image]
    assert touched.disks_used(made)[0][1:] == ("/dev/sdb", True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"{", "damaged-medium"),
        (b"[]", "damaged-medium"),
        (b'{"format": 2}', "unknown-version"),
        (b'{"format": 1, "version": "1", "build": "b", "built": "yesterday"}', "damaged-medium"),
        (b'{"format": 1, "version": 1, "build": "b", "built": "2026-01-01T00:00:00Z"}', "damaged-medium"),
    ],
)
def test_what_a_medium_says_of_itself_is_parsed_strictly(text: bytes, code: str) -> None:
    with pytest.raises(BadImageError) as caught:
        medium.parse_about(text, "x")
    assert caught.value.code == code


def test_a_medium_of_one_day_more_than_a_year_is_old() -> None:
    about = About(format=1, version="0.1.0", build="b", built="2025-01-01T00:00:00Z")
    assert [one.kind for one in mediumcheck.age(about, datetime(2026, 1, 1, tzinfo=UTC), "")] == []
    assert [one.kind for one in mediumcheck.age(about, datetime(2026, 1, 2, tzinfo=UTC), "")] == [Kind.OLD]
    # A computer whose clock stands still in the last century knows nothing of age.
    assert list(mediumcheck.age(about, datetime(1999, 1, 1, tzinfo=UTC), "")) == []


@pytest.mark.parametrize(
    ("on_it", "installed", "behind"),
    [("0.9.0", "0.10.0", True), ("0.10.0", "0.9.0", False), ("1.0", "1.0", False), ("x", "1", True), ("1", "", False)],
)
def test_versions_are_compared_by_their_numbers(on_it: str, installed: str, behind: bool) -> None:
    about = About(format=1, version=on_it, build="b", built="2026-01-01T00:00:00Z")
    kinds = [one.kind for one in mediumcheck.age(about, datetime(2026, 1, 2, tzinfo=UTC), installed)]
    assert kinds == ([Kind.BEHIND] if behind else [])


def test_sums_are_those_of_sha256sum() -> None:
    digest = "0" * 64
    assert mediumcheck.parse_sums(f"{digest}  rescue/id\n{digest}  ./a b\n".encode()) == {
        "rescue/id": digest,
        "a b": digest,
    }
    for text in ("x  y", f"{digest} y", f"{digest.replace('0', 'G')}  y", f"{digest}  "):
        with pytest.raises(IoError, match="none of sha256sum's"):
            mediumcheck.parse_sums(text.encode())


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live system whose state lies in a folder."""
    monkeypatch.setenv("RESCUE_LIVE", "1")
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path))
    return tmp_path / bootcheck.NAME


def test_the_running_medium_is_known_by_what_its_check_wrote(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = BootState(state=State.DAMAGED, problems=("rescue/root.squashfs is damaged",), built="2026-01-01T00:00:00Z")
    live.write_bytes(msgspec.json.encode(state))
    assert bootcheck.boot_state() == state
    live.write_bytes(b"{")
    assert bootcheck.boot_state().state in (State.UNKNOWN, State.CHECKING)
    monkeypatch.delenv("RESCUE_LIVE")
    assert bootcheck.boot_state() == bootcheck.UNKNOWN


def test_a_check_whose_process_is_gone_keeps_nobody_waiting(live: Path) -> None:
    live.write_bytes(msgspec.json.encode(BootState(state=State.CHECKING, pid=2**22 + 1)))
    assert bootcheck.boot_state().state is State.UNKNOWN


def test_the_factory_image_of_a_library_is_marked_in_a_file_beside_it(tmp_path: Path) -> None:
    assert factory.factory_image(tmp_path) == ""
    factory.mark_factory_image(tmp_path, "a")
    factory.mark_factory_image(tmp_path, "b")
    assert factory.factory_image(tmp_path) == "b"
    (tmp_path / factory.NAME).write_text('{"format": 9, "image": "x"}')
    with pytest.raises(BadImageError, match="format version 9"):
        factory.factory_image(tmp_path)
    (tmp_path / factory.NAME).write_text('{"format": 1}')
    with pytest.raises(BadImageError, match="names no image"):
        factory.factory_image(tmp_path)


def test_no_library_is_made_in_the_memory_of_the_live_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mounts.kind_beneath(Path("/proc/1/nothing")) == "proc"
    path = tmp_path / "a/b"
    monkeypatch.setattr(mounts, "kind_beneath", lambda _: "overlay")
    monkeypatch.setenv("RESCUE_LIVE", "1")
    with pytest.raises(RefusedError, match="this computer's memory") as caught:
        Library.open_or_create(path)
    assert (caught.value.code, path.exists()) == ("in-memory", False)
    assert Library.open_or_create(path, lasting=False).path == path
    # One that is there was made by somebody who knew, and an installed system keeps its folders.
    assert Library.open_or_create(path).path == path
    monkeypatch.delenv("RESCUE_LIVE")
    assert Library.open_or_create(tmp_path / "c").path == tmp_path / "c"


@pytest.mark.parametrize(
    ("known", "how"),
    [
        (VerifyPlan(library="/l", image="x"), "uses the image library on"),
        (VerifyPlan(library="/other", image="x", repair_from="/l"), "uses the image library on"),
        (ImportPlan(library="/other", source="/l"), "reads from"),
        (
            RestorePlan(library="", image="l", targets=(), foreign=ForeignSource(path="/l", kind="x", mark="")),
            "reads from",
        ),
    ],
    ids=["checked", "mended from", "imported", "restored straight from"],
)
def test_no_disk_is_erased_whose_library_or_files_a_job_reads(
    known: Plan, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = SimpleNamespace(id="7", title="Check image x", state=JobState.RUNNING, known_plan=known)
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path))
    monkeypatch.setattr(jobs, "jobs", lambda: [reading])
    monkeypatch.setattr(jobs, "spawn_worker", lambda *_: pytest.fail("it was begun"))
    monkeypatch.setattr(mounts, "disks_beneath_path", lambda path: {"sdb"} if path == Path("/l") else set())
    with pytest.raises(RefusedError, match=f"job 7 {how} /dev/sdb") as caught:
        jobs.submit(mediaplan.plan_media(SYSTEM, a_stick()))
    assert caught.value.code == "disk-busy"
    assert touched.disks_erased(mediaplan.plan_grow(a_stick(table=system_parts()), a_medium())) == ()
