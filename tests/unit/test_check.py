"""What the end of a checker means, and what is told of it."""

import pytest

from imaging import check, events
from imaging.doubts import Doubt
from imaging.events import CheckedVolume, Finished, Verdict, VerifyResult
from imaging.run import Completed

WAITING = Doubt(why="its journal waits to be replayed")
MARKED = Doubt(why="it is marked as having errors", passes=False)


def judge(kind: str, status: int, said: str = "", doubt: Doubt | None = None) -> tuple[Verdict, str]:
    """The verdict of the last of the tools for a kind of file system."""
    return check._judge(check._TOOLS[kind][-1], Completed(status=status, stdout=said, stderr=""), doubt, "/dev/loop7")


@pytest.mark.parametrize("kind", check._TOOLS)
def test_a_tool_that_ends_well_means_clean(kind: str) -> None:
    assert judge(kind, 0, "all fine") == (Verdict.CLEAN, "")
    assert judge(kind, 0, "all fine", WAITING) == (Verdict.CLEAN, "")


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("ext4", 4, "Block bitmap differences"),
        ("ext2", 12, "aborted"),
        ("xfs", 1, "bad magic"),
        ("btrfs", 1, "ERROR"),
        ("ntfs", 1, "ERROR: NTFS is inconsistent. Run chkdsk"),
        ("vfat", 1, "FATs differ"),
        ("exfat", 4, "boot region is corrupted"),
        ("f2fs", 0, "[FSCK] other corrupted bugs [Fail]"),
        ("swap", 1, "not a valid swap partition"),
    ],
)
def test_what_a_tool_finds_is_an_error(kind: str, status: int, said: str) -> None:
    verdict, detail = judge(kind, status, said)
    assert verdict is Verdict.ERRORS
    assert said in detail
    assert judge(kind, status, said, MARKED)[0] is Verdict.ERRORS


@pytest.mark.parametrize(("kind", "status"), [("ext4", 8), ("ext4", -9), ("xfs", 2), ("ntfs", 1), ("vfat", 2)])
def test_a_tool_that_cannot_do_its_work_finds_nothing(kind: str, status: int) -> None:
    verdict, detail = judge(kind, status, "out of memory")
    assert verdict is Verdict.NOT_CHECKED
    assert "out of memory" in detail
    assert str(abs(status)) in detail


def test_an_ntfs_that_is_full_is_clean_though_it_cannot_be_shrunk() -> None:
    assert judge("ntfs", 1, "ERROR: Volume is full. To shrink it, delete unused files.") == (Verdict.CLEAN, "")


@pytest.mark.parametrize(
    ("kind", "status", "said", "doubt"),
    [
        ("ext4", 4, "Free blocks count wrong", WAITING),
        ("xfs", 1, "ALERT: valuable metadata changes in a log which is being ignored", None),
        ("vfat", 1, "Dirty bit is set. Fs was not properly unmounted", None),
    ],
)
def test_errors_that_the_next_mount_may_mend_are_no_verdict(
    kind: str, status: int, said: str, doubt: Doubt | None
) -> None:
    verdict, detail = judge(kind, status, said, doubt)
    assert verdict is Verdict.NOT_CHECKED
    assert "means little" in detail


def test_what_a_tool_says_is_told_in_one_short_line_fit_to_be_printed() -> None:
    said = "".join(f"line {i}\x1b[2J of /dev/loop7\r\n" for i in range(100_000))
    _, detail = judge("ext4", 4, said)
    assert detail.isprintable()
    assert len(detail) < 500
    assert "line 99999 [2J of the volume" in detail
    assert "loop7" not in detail


def test_the_last_event_of_a_check_fits_in_what_is_reserved_for_it() -> None:
    longest = CheckedVolume(
        disk="d" * 200, number=1, name="d" * 220, kind="ext4", verdict=Verdict.ERRORS, detail='"' * 500
    )
    checked = (longest,) * check._MOST_DETAILS + (check._shortened(longest),) * 64
    result = VerifyResult(
        image="i" * 100, chunks=1, bytes=1, bad=("f" * 64,) * 1000, differing=0, seconds=1.0, checked=checked
    )
    line = events.encode(Finished(time=1.0, status=8, message="m" * 1200, hint="h" * 200, result=result))
    assert len(line) < 256 << 10
