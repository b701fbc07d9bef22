"""What of a disk is repaired, what not, and how the end of a repair is told: never as a success that it is not."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from imaging import checkable, loaderplan, repairlook, worker
from imaging.disk import Disk, Mount, Role
from imaging.errors import ExitStatus, UsageError
from imaging.events import RepairResult
from imaging.jobs import _ENDS as ENDS
from imaging.jobs import JobState
from imaging.plan import decode, encode
from imaging.repairplans import RepairPlan, RepairWishes, TableRepair
from imaging.startable import Answer, BootEntry, Firmware, Starts, Way
from imaging.touched import disks_erased, disks_used, files_written
from rescue import repair_command
from rescue.repair_words import repair_figures, repair_lines
from tests.unit.builders import a_disk, a_partition, a_table

DYNAMIC = "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3"


def starts(bios: Answer, uefi: Answer, **changes: Any) -> Starts:
    ways = (Way(firmware=Firmware.BIOS, answer=bios), Way(firmware=Firmware.UEFI, answer=uefi))
    return Starts(disk="sda", ways=ways, **changes)


STARTS, FAILS, UNKNOWN = Answer.STARTS, Answer.FAILS, Answer.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"roles": (Role.BOOT_MEDIUM,)}, "this computer was started from it"),
        ({"roles": (Role.SYSTEM,)}, "the running system stands on it"),
        ({"roles": (Role.LIBRARY,)}, "it holds the image library"),
        ({"unfinished": "I"}, "a restore onto it was begun and never completed (from I): run that again"),
        ({"read_only": True}, "it is read-only"),
        ({"failing": "byte 0"}, "it is failing: byte 0"),
        ({"problem": "it hangs"}, "it hangs"),
        ({"fingerprint": ""}, "it cannot be read"),
        ({"holders": ("md0",)}, "it is in use by md0"),
        ({"mounts": (Mount(source="/dev/sda1", where="/mnt"),)}, "it is in use: /dev/sda1 is mounted at /mnt"),
        ({"table": a_table(a_partition(unfinished="I"))}, "a restore into sda1 was begun and never completed (from I)"),
        ({"table": a_table(a_partition(type=DYNAMIC))}, "it is a dynamic disk of Windows"),
    ],
)
def test_what_is_refused_as_a_whole(changes: dict[str, Any], why: str) -> None:
    assert why in repairlook.why_not(a_disk(**changes))


def test_a_disk_that_the_live_system_looks_at_itself_may_be_repaired() -> None:
    own = Mount(source="/dev/sda1", where="/run/rescue/media/sda1", read_only=True)
    assert repairlook.why_not(a_disk(mounts=(own,))) == ""
    assert repairlook.why_not(a_disk()) == ""


@pytest.mark.parametrize(
    ("bios", "uefi", "firmware", "expected"),
    [
        (FAILS, FAILS, "", (Firmware.BIOS, Firmware.UEFI)),
        (FAILS, STARTS, "uefi", ()),
        (FAILS, STARTS, "bios", (Firmware.BIOS,)),
        (STARTS, FAILS, "", ()),
        (STARTS, STARTS, "bios", ()),
        (UNKNOWN, UNKNOWN, "bios", ()),
        (UNKNOWN, FAILS, "uefi", (Firmware.UEFI,)),
    ],
)
def test_a_loader_is_wanted_where_none_starts_or_this_computer_s_does_not(
    bios: Answer, uefi: Answer, firmware: str, expected: tuple[Firmware, ...]
) -> None:
    assert loaderplan.wanted(starts(bios, uefi, firmware=firmware)) == expected
    assert loaderplan.wanted(starts(bios, uefi, firmware=firmware, system=False)) == ()


def test_where_the_firmware_lacks_an_entry_alone_no_loader_is_wanted() -> None:
    entry = BootEntry(partition=1, uuid="X", loader="\\EFI\\debian\\grubx64.efi", label="debian")
    assert loaderplan.wanted(starts(FAILS, FAILS, firmware="uefi", entry=entry)) == ()


def result(**changes: Any) -> RepairResult:
    made = RepairResult(target="sda", starts=starts(STARTS, FAILS), seconds=1.0, table=True)
    return structs.replace(made, **changes)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, ExitStatus.DONE),
        ({"starts": starts(FAILS, FAILS, system=False)}, ExitStatus.DONE),
        ({"failed": ("sda2: errors",)}, ExitStatus.DAMAGED),
        ({"starts": starts(FAILS, FAILS)}, ExitStatus.CANNOT_START),
        ({"starts": starts(FAILS, FAILS), "failed": ("it",)}, ExitStatus.CANNOT_START),
        ({"starts": starts(FAILS, STARTS, firmware="bios")}, ExitStatus.CANNOT_START),
        ({"starts": starts(UNKNOWN, FAILS)}, ExitStatus.START_UNKNOWN),
        ({"starts": starts(UNKNOWN, FAILS), "failed": ("it",)}, ExitStatus.DAMAGED),
    ],
)
def test_the_status_is_that_of_a_look_afterwards(changes: dict[str, Any], status: ExitStatus) -> None:
    finished = worker._finished(result(**changes))
    assert finished.status == status
    if status is not ExitStatus.DONE:
        assert finished.code
    assert (ENDS[status] is JobState.DONE) == (status is ExitStatus.DONE)


def test_what_was_not_repaired_is_said_to_be_so() -> None:
    words = "\n".join(repair_figures(result(failed=("sda2 (ext4): errors",))))
    assert "Not repaired: sda2 (ext4): errors" in words
    assert "only partly" in worker._finished(result(failed=("it",))).message
    assert worker._finished(result(table=False)).message.startswith("Nothing of sda was changed.")


def plan(disk: Disk | None = None, **changes: Any) -> RepairPlan:
    disk = disk or a_disk()
    made = RepairPlan(target=disk, wishes=RepairWishes(), layout=disk.table, before=starts(STARTS, FAILS))
    return structs.replace(made, **changes)


def test_a_plan_is_stored_with_every_byte_and_erases_nothing() -> None:
    made = plan(table=TableRepair(kept="end", writes=((512, bytes(range(256)) * 2),)), keep="/mnt/usb")
    assert decode(encode(made)) == made
    assert made.writes
    assert disks_erased(made) == ()
    assert [(path, writes) for _, path, writes in disks_used(made)] == [("/dev/sda", True)]
    assert files_written(made) == ("/mnt/usb",)


def test_a_plan_with_nothing_to_do_says_so() -> None:
    assert not plan().writes
    lines = repair_lines(plan(notes=("the disk is not meant for a BIOS",)), ["sda"])
    assert lines[0] == "LOOKED AT: sda"
    assert "NOT REPAIRED: the disk is not meant for a BIOS" in lines
    assert lines[-1] == "There is nothing that could be repaired."


def test_where_nothing_is_to_be_done_the_status_is_that_of_the_look() -> None:
    status = repair_command.status_of
    assert status(plan()) is ExitStatus.DONE
    assert status(plan(before=starts(FAILS, FAILS))) is ExitStatus.CANNOT_START
    assert status(plan(before=starts(UNKNOWN, FAILS))) is ExitStatus.START_UNKNOWN
    assert status(plan(before=starts(FAILS, FAILS, system=False))) is ExitStatus.DONE
    assert status(plan(notes=("sda2 is not checked: it is encrypted",))) is ExitStatus.DAMAGED
    assert status(plan(left=("that was asked for",))) is ExitStatus.DONE
    assert status(plan(before=starts(FAILS, FAILS), notes=("it",))) is ExitStatus.CANNOT_START


@pytest.mark.parametrize("words", ["0", "x", "1,", "-1", "1;2"])
def test_what_is_no_partition_s_number_is_a_usage_error(words: str) -> None:
    with pytest.raises(UsageError):
        repair_command.numbers_of(words)


def test_partitions_are_named_by_their_numbers() -> None:
    assert repair_command.numbers_of("3,1,3") == (1, 3)
    assert repair_command.numbers_of("all") == ()


def test_a_recovery_partition_is_not_checked_by_all() -> None:
    disk = a_disk(table=a_table(a_partition(1), replace(a_partition(2), recovery="X")))
    assert checkable.numbers(disk) == (1,)
