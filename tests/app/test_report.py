"""The words for disks, images, plans, results and events."""

from dataclasses import replace

import pytest
from msgspec import structs

from imaging.disk import Content, PartitionTable, TableKind
from imaging.events import CaptureResult, CheckedVolume, Log, Progress, RestoreResult, Started, Step, Verdict
from imaging.imageplans import CapturePlan, VerifyPlan
from imaging.notes import NOTHING
from imaging.signatures import UNSIGNED
from rescue import formats, outcome, report
from rescue.screens.result import verdict
from tests.app.disks import BUSY, FAILING_HEALTH, NO_HEALTH, SDA, SDB, STICK, make_disk
from tests.app.images import FakeDamaged, make_image, make_imaged_disk, restore_plan
from tests.app.jobs import CAPTURED, FAILED, RESTORED, VERIFIED_BAD


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_960, "1.0 MB"),
        (500_107_862_016, "500.1 GB"),
        (2 * 10**12, "2.0 TB"),
        (5 * 10**18, "5000.0 PB"),
    ],
)
def test_sizes_are_decimal_as_disks_are_sold(size: int, words: str) -> None:
    assert formats.format_size(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (8.4, "8 s"), (59.6, "1 min"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (7200, "2 h")],
)
def test_durations_have_two_figures_at_most(seconds: float, words: str) -> None:
    assert formats.format_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "under a minute"), (55, "about 1 min"), (250, "about 4 min"), (4700, "about 1 h 20 min")],
)
def test_forecasts_are_no_more_exact_than_they_deserve(seconds: float, words: str) -> None:
    assert formats.format_estimate(seconds) == words


def test_escape_sequences_in_a_label_never_reach_the_terminal() -> None:
    assert formats.clean("a\x1b[2Jb\r\n\x9bc\u202e") == "a?[2Jb???c?"


def test_what_is_shortened_is_marked_with_safe_dots() -> None:
    assert formats.shortened("a long label", 8) == "a long.."
    assert formats.shortened("short", 8) == "short"


def test_a_disk_shows_model_serial_size_use_and_contents() -> None:
    disk = replace(BUSY, holders=("dm-0",), read_only=True, unfinished="img-1")
    assert report.disk_lines(disk) == [
        "sdd  Samsung SSD 870  serial B1  500.0 GB  sata",
        "    in use: /dev/sdd2 is mounted at /srv/data",
        "    in use by dm-0",
        "    write-protected",
        "    holds an unfinished restore of image img-1",
        '    1  536.9 MB  FAT "EFI"',
        '    2  499.5 GB  ext4 "debian"  (root)',
    ]


def test_a_disk_without_partitions_says_what_it_holds() -> None:
    assert "nothing known" in report.disk_lines(SDB)[1]
    bare = replace(SDB, content=Content(kind="xfs", label="data"))
    assert report.disk_lines(bare)[1] == '    xfs "data", on the whole disk without a partition table'
    assert (
        "an empty partition table (MBR)" in report.disk_lines(replace(SDB, table=PartitionTable(kind=TableKind.MBR)))[1]
    )
    assert "could not be looked at in full: no medium" in report.disk_lines(replace(SDB, problem="no medium"))[1]


def test_a_file_in_the_place_of_a_disk_is_called_a_file() -> None:
    disk = make_disk("disk.img", model="", serial="/tmp/disk.img", regular_file=True, transport="file")
    assert report.disk_title(disk) == "disk.img  file  500.0 GB"


def test_the_table_of_disks_marks_what_is_in_use() -> None:
    lines = report.disks_table([SDA, STICK, BUSY])
    assert lines[0].split() == ["DISK", "SIZE", "MODEL", "SERIAL", "CONTENTS"]
    assert "[boot medium, image library]" in lines[2]
    assert "[in use]" in lines[3]
    assert report.disks_table([]) == ["No disks were found."]


def test_images_stand_in_a_table_with_the_damaged_ones_apart() -> None:
    lines = report.images_table([(make_image(), NOTHING, UNSIGNED)], [FakeDamaged(id="bad-1", problem="cut short")])
    assert "clean install  Dell Inc. OptiPlex 7050  sda 256.0 GB" in lines[1]
    assert lines[-2:] == ["Damaged, cannot be restored:", "    bad-1: cut short"]
    assert report.images_table([]) == ["No images."]


def test_an_image_in_full_shows_each_volume_and_why_all_of_it_is_stored() -> None:
    disk = make_imaged_disk()
    odd = replace(disk.volumes[1], map_origin="whole", note="the file system is dirty")
    lines = report.image_lines(make_image(disks=(replace(disk, volumes=(disk.volumes[0], odd)),)))
    assert lines[0].split() == ["Image", "20261120T101500-office"]
    assert "(stored whole: the file system is dirty)" in lines[-1]
    assert "2026-11-20 10:15 UTC" in "\n".join(lines)


def test_the_plan_of_a_restore_says_what_is_erased_and_what_is_written() -> None:
    lines = report.plan_lines(restore_plan(), 240.0)
    assert lines == [
        'Restore "clean install", 20261120T101500-office',
        "    not signed",
        "ERASED: sda  Samsung SSD 870  serial S5Y1NX0R  500.0 GB  sata",
        '    1  536.9 MB  FAT "EFI"',
        '    2  499.5 GB  ext4 "debian"  (root)',
        "WRITTEN: disk sda of the image: 256.0 GB, 25.6 GB of data",
        "Every block that is written is read back and compared.",
        "Time: about 4 min",
    ]


def test_the_plan_of_a_capture_says_that_nothing_on_the_disk_changes() -> None:
    lines = report.plan_lines(CapturePlan(library="/media/stick/library", disks=(SDA,), label="weekly"))
    assert lines[0] == "READ, nothing is changed on it:"
    assert lines[-3:] == [
        'WRITTEN: a new image "weekly"',
        "    in the library /media/stick/library",
        "    compression: normal",
    ]


def test_plans_say_that_file_systems_are_checked() -> None:
    capture = CapturePlan(library="l", disks=(SDA,), check=True)
    assert report.plan_lines(capture)[-1] == "CHECKED: the file systems in the new image"
    assert "CHECKED: the file systems in it" in report.plan_lines(VerifyPlan(library="l", image="i", check=True))


def test_the_result_says_what_was_found_in_each_file_system() -> None:
    assert isinstance(CAPTURED.result, CaptureResult)
    checked = (
        CheckedVolume(disk="sda", number=1, name="partition 1 of sda", kind="vfat", verdict=Verdict.CLEAN),
        CheckedVolume(
            disk="sda", number=12, name="partition 12 of sda", kind="ext4", verdict=Verdict.ERRORS, detail="bad\x1b[2J"
        ),
        CheckedVolume(disk="sda", number=3, name="partition 3 of sda", kind="", verdict=Verdict.NOT_CHECKED),
    )
    lines = outcome.result_lines(structs.replace(CAPTURED, result=structs.replace(CAPTURED.result, checked=checked)))
    at = lines.index("File systems:")
    assert lines[at + 1 : at + 5] == [
        "    partition 1 of sda   vfat  clean",
        "    partition 12 of sda  ext4  errors",
        "        (bad?[2J)",
        "    partition 3 of sda   -     not checked",
    ]


def test_the_plan_of_a_verification_writes_nothing() -> None:
    assert report.plan_lines(VerifyPlan(library="l", image="i"))[-1].startswith("Nothing of it is changed")
    against = report.plan_lines(VerifyPlan(library="l", image="i", against=SDA, disk="sda"))
    assert against[0] == "COMPARED with image i:"


def test_the_result_of_a_restore_counts_compared_skipped_and_written() -> None:
    assert outcome.result_lines(RESTORED) == [
        "clean install was restored to sda",
        "State: sda holds the whole image",
        "Compared: 6,000 chunks, of which 5,000 held the right bytes already",
        "Written: 1,000 chunks, 4.0 GB",
        "Checked: everything written was read back and is right",
        "Can start a computer: sda on BIOS",
        "Time: 5 min",
    ]


def test_a_failure_says_what_happened_the_state_and_what_to_do() -> None:
    assert outcome.result_lines(FAILED) == [
        "writing to sda failed at 12.0 GB: Input/output error",
        "State: sda holds half a system",
        "What to do: check the cable, or replace the disk",
    ]


def test_the_result_of_a_capture_says_what_was_new_to_the_library() -> None:
    assert "New to the library: 4,000 chunks, 9.0 GB compressed; 6,000 were there already" in outcome.result_lines(
        CAPTURED
    )


def test_only_the_first_bad_chunks_are_named() -> None:
    lines = outcome.result_lines(VERIFIED_BAD)
    assert "Corrupt or missing: 10 chunks" in lines
    assert "    and 2 more" in lines


def test_each_event_is_one_line() -> None:
    assert outcome.event_line(Started(time=0, job="7", kind="restore", title="Restore x")) == "Restore x (job 7)"
    assert outcome.event_line(Step(time=0, name="Restoring sda", total=2000)) == "Restoring sda (2.0 kB)"
    assert outcome.event_line(Progress(time=0, done=500, total=2000, moved=100)).startswith(" 25 %  500 B of 2.0 kB")
    assert outcome.event_line(Log(time=0, message="slow\x07", level="warning")) == "warning: slow?"
    assert outcome.event_line(FAILED).startswith("failed: writing to sda")


def test_a_restore_that_had_nothing_to_write_does_not_say_that_it_was_checked() -> None:
    result = RestoreResult(image="i", compared=6, skipped=6, written=0, written_bytes=0, read_back=True, seconds=3.0)
    assert "Checked" in " ".join(outcome.result_lines(RESTORED))
    assert "hecked" not in " ".join(outcome.result_lines(structs.replace(RESTORED, result=result)))


def test_a_restore_that_lacks_something_is_no_disk_that_could_not_be_read() -> None:
    assert verdict(structs.replace(RESTORED, status=8)).startswith("RESTORED, BUT NOT ALL")
    assert "could not be read" in verdict(structs.replace(CAPTURED, status=8))


def test_a_table_of_disks_shows_health_and_systems_where_they_were_asked_for() -> None:
    healths = {SDA.path: FAILING_HEALTH, SDB.path: NO_HEALTH}
    systems = {SDA.path: {2: "Debian GNU/Linux 13 (trixie)"}}
    heading, sda, sdb = report.disks_table([SDA, SDB], healths, systems)
    assert "HEALTH" in heading
    assert "FAILING  " in sda
    assert 'Debian GNU/Linux 13 (trixie), ext4 "debian"' in sda
    assert "WD-77     -        empty" in sdb
    assert "HEALTH" not in report.disks_table([SDA])[0]


def test_an_image_says_which_system_is_in_it() -> None:
    disk = make_imaged_disk()
    volumes = (disk.volumes[0], replace(disk.volumes[1], system="Debian\x1b GNU/Linux 13"))
    image = make_image(disks=(replace(disk, volumes=volumes),))
    lines = report.image_lines(image)
    assert "System      Debian? GNU/Linux 13" in lines
    assert any('Debian? GNU/Linux 13, ext4 "debian"' in line for line in lines)
    assert not any(line.startswith("System") for line in report.image_lines(make_image()))


def test_what_was_saved_first_is_told_with_both_ways_back() -> None:
    assert isinstance(RESTORED.result, RestoreResult)
    result = structs.replace(RESTORED.result, safety="20260101-saved")
    assert "Saved first: image 20260101-saved; to undo: `rescue undo`, or f in the menu" in outcome.figures(result)
