"""What is said of a capture before it starts."""

from dataclasses import replace

from imaging.estimate import Estimate
from imaging.imageplans import CapturePlan
from rescue import outlook
from tests.app.disks import SDA, SDB
from tests.app.images import make_forecast

PLAN = CapturePlan(library="/media/stick/library", disks=(SDA,), label="weekly")


def test_a_plan_with_its_forecast_says_what_is_stored_and_why_and_what_it_takes() -> None:
    assert outlook.plan_lines(PLAN, make_forecast(PLAN.disks), 0.0, every_level=True) == [
        "READ, nothing is changed on it:",
        "    sda  Samsung SSD 870  serial S5Y1NX0R  500.0 GB  sata",
        '        1  536.9 MB  FAT "EFI"      53.7 MB used',
        '        2  499.5 GB  ext4 "debian"  49.9 GB used  (root)',
        "            (stored whole: it is encrypted)",
        'WRITTEN: a new image "weekly"',
        "    in the library /media/stick/library",
        "    compression: normal",
        "EXPECTED: about 16.7 GB (12.5 GB to 25.0 GB) for 50.0 GB of data",
        "    200.0 GB are free there",
        "Time: about 6 min, if the library's disk keeps up",
        "Levels:",
        "    fast    about 25.0 GB (16.7 GB to 50.0 GB)  about 4 min",
        "    normal  about 16.7 GB (12.5 GB to 25.0 GB)  about 6 min",
        "    small   about 12.5 GB (10.0 GB to 16.7 GB)  about 20 min",
    ]


def test_a_plan_without_a_forecast_is_shown_as_before() -> None:
    assert outlook.plan_lines(PLAN, None, 240.0)[-1] == "Time: about 4 min"


def test_a_capture_that_adds_nothing_says_so() -> None:
    same = Estimate(level=3, stored=0, least=0, most=10**9, seconds=30.0)
    found = replace(make_forecast(PLAN.disks, known=48), estimates=(same,))
    lines = outlook.forecast_lines(found, 3)
    assert lines[:2] == [
        "EXPECTED: next to nothing (1.0 GB at most) for 50.0 GB of data",
        "    nearly all of the data is in the library already",
    ]
    assert outlook.expected_words(found).endswith("nearly all of it in the library already; 200.0 GB are free")


def test_the_share_that_the_library_has_is_told() -> None:
    assert "about 25 % of the data" in outlook.known_words(make_forecast(PLAN.disks, known=12))
    assert outlook.known_words(make_forecast(PLAN.disks)) == ""


def test_a_library_whose_room_is_not_known_brings_no_warning() -> None:
    lines = outlook.forecast_lines(make_forecast(PLAN.disks, room=None), 3)
    assert not any("free" in line or "WARNING" in line for line in lines)


def test_a_long_reason_is_wrapped_and_its_control_characters_are_not_printed() -> None:
    found = make_forecast(PLAN.disks).disks[0]
    volume = replace(found.volumes[1], note="\x1b[2Jpartclone.ext4 cannot map it: " + "its bitmap is damaged " * 6)
    lines = outlook.volume_lines(SDA, replace(found, volumes=(volume,)))
    assert len(lines) > 3
    assert all(len(line) <= 70 and "\x1b" not in line for line in lines)


def test_a_bare_disk_and_a_level_that_was_not_asked_for_are_no_trouble() -> None:
    found = make_forecast(PLAN.disks)
    bare = replace(found.disks[0].volumes[0], number=0, content=SDB.content)
    assert outlook.volume_lines(SDB, replace(found.disks[0], volumes=(bare,))) == [
        "-  536.9 MB  unknown content  53.7 MB used"
    ]
    assert outlook.forecast_lines(found, 7) == outlook.warning_lines(found, 7) == []
    assert outlook.level_rows(found, [7]) == ["level 7"]
