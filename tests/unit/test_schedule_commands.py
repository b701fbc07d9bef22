"""`rescue schedule`, on a computer whose systemd, disks and jobs are the test's."""

import json
import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from imaging import (
    bootplaces,
    efientries,
    freeing,
    inventory,
    jobs,
    keyring,
    nextboot,
    remains,
    schedulestate,
    scheduling,
    still,
)
from imaging.disk import Disk, DiskId
from imaging.errors import ExitStatus, RefusedError
from imaging.events import CaptureResult, Finished
from imaging.imageplans import CapturePlan, DoomedImage, PrunePlan
from imaging.library import Library
from imaging.manifest import Image, Machine
from imaging.plan import Plan
from imaging.retention import Verdict
from imaging.schedules import Schedule, ScheduledDisk
from rescue import follow, language, schedule_commands, schedule_run
from rescue.cli import main
from tests.unit.builders import GIB, a_disk, a_partition, a_table, an_image, an_imaged_disk

DISK = a_disk(id=DiskId(size=GIB, model="M", serial="S", wwn="0x5000"))
_TOOL = '#!/bin/sh\necho "${0##*/} $*" >> %s\n%s\n'


class Computer:
    """What it has, and what it was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._patch, self._capsys = folder, monkeypatch, capsys
        self.library = Library.create(folder / "library")
        self.units, self.log = folder / "units", folder / "log"
        self.plans: list[Plan] = []
        self.finished: Finished = self.captured("new")
        self.why: RefusedError | None = None
        self.found: list[Path] = []
        """Libraries of which it was asked whether the recovery system finds them."""
        for name in ("units", "tools", "running"):
            (folder / name).mkdir()
        self.tool("systemctl")
        self.tool("systemd-analyze", 'case "$*" in *never*) exit 1;; esac')

    def tool(self, name: str, does: str = "") -> None:
        path = self.folder / "tools" / name
        path.write_text(_TOOL % (self.log, does))
        path.chmod(0o755)

    @property
    def told(self) -> list[str]:
        """What systemd was told."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    @staticmethod
    def captured(image: str, status: int = 0, message: str = "Done") -> Finished:
        made = CaptureResult(image=image, used=1, chunks=1, new=1, stored=1, seconds=1.0)
        return Finished(time=0.0, status=status, message=message, result=None if status else made)

    def say(self, *words: str) -> tuple[int, Any]:
        """Its status, and what was said: as JSON where it is that."""
        status = main(["schedule", *words])
        out = self._capsys.readouterr()
        try:
            return status, json.loads(out.out)
        except ValueError:
            return status, out.out + out.err

    def set(self, *words: str) -> tuple[int, Any]:
        return self.say("set", "/dev/sda", "--library", str(self.library.path), *words)

    def submit(self, plan: Plan) -> Any:
        self.plans.append(plan)
        return SimpleNamespace(finished=self.finished, died=lambda: self.finished)

    def look(self, _: Disk) -> None:
        if self.why is not None:
            raise self.why


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Computer]:
    made = Computer(tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:{os.environ['PATH']}")
    monkeypatch.setenv("RESCUE_CONFIG", str(tmp_path / "etc"))
    monkeypatch.setenv("RESCUE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(scheduling, "UNITS", made.units)
    monkeypatch.setattr(scheduling, "_RUNNING", tmp_path / "running")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(inventory, "look", lambda *_: DISK)
    monkeypatch.setattr(inventory, "scan", lambda *_: (DISK,))
    monkeypatch.setattr(still, "look", made.look)
    monkeypatch.setattr(remains, "tidy_alone", lambda _: None)
    monkeypatch.setattr(jobs, "submit", made.submit)
    monkeypatch.setattr(nextboot, "refuse_unless_found", made.found.append)
    monkeypatch.setattr(follow, "follow", lambda *_, **__: made.finished.status)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    yield made
    keyring.forget_all()


NOT_STILL = RefusedError("sda1 cannot be captured while it is in use", code="not-still")


def test_a_schedule_is_set_shown_and_removed(computer: Computer) -> None:
    assert computer.set("--every", "daily", "--keep-last", "3")[0] == ExitStatus.DONE
    assert {path.name for path in computer.units.iterdir()} == {"rescue-schedule.service", "rescue-schedule.timer"}
    assert "systemctl enable rescue-schedule.timer" in computer.told
    assert computer.told[-1] == "systemctl restart rescue-schedule.timer"
    status, shown = computer.say("show", "--json")
    assert (status, shown["overdue"], shown["success"]) == (ExitStatus.DONE, False, None)
    assert shown["schedule"]["disk"] == [{"size": GIB, "model": "M", "serial": "S", "wwn": "0x5000"}]
    assert (shown["schedule"]["overdue_days"], shown["schedule"]["keep"]["last"]) == (3, 3)
    assert "none yet" in computer.say("show")[1]
    assert computer.say("remove", "--json") == (ExitStatus.DONE, {"removed": True})
    assert list(computer.units.iterdir()) == []
    assert "systemctl disable --now rescue-schedule.timer" in computer.told
    assert computer.say("show", "--json") == (ExitStatus.DONE, {"schedule": None, "overdue": False})
    assert computer.say("remove", "--json") == (ExitStatus.DONE, {"removed": False})
    assert computer.say("run")[0] == ExitStatus.REFUSED


def test_the_plan_of_a_schedule_writes_nothing(computer: Computer) -> None:
    status, said = computer.set("--plan", "--json")
    assert status == ExitStatus.DONE
    assert set(said["files"]) == {
        str(computer.folder / "etc/schedule.toml"),
        *(str(computer.units / name) for name in ("rescue-schedule.service", "rescue-schedule.timer")),
    }
    assert not list(computer.units.iterdir())
    assert not (computer.folder / "etc").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--every", "never"), ExitStatus.USAGE, "is not a calendar event"),
        (("--every", "Mon 12:00"), ExitStatus.USAGE, "give the days with --overdue"),
        (("--next-boot-library", "attached"), ExitStatus.USAGE, "give it, too"),
        (("--level", "tiny"), ExitStatus.USAGE, "compression level"),
    ],
)
def test_what_cannot_be_a_schedule_leaves_all_as_it_was(
    computer: Computer, words: Sequence[str], status: int, said: str
) -> None:
    found = computer.set(*words)
    assert found[0] == status
    assert said in found[1]
    assert not list(computer.units.iterdir())


def test_a_unit_that_systemd_finds_fault_with_is_not_installed(computer: Computer) -> None:
    computer.tool("systemd-analyze", 'case "$1" in verify) echo "bad unit" >&2; exit 1;; esac')
    status, said = computer.set()
    assert (status, "finds fault" in said) == (ExitStatus.IO_FAILURE, True)
    assert not list(computer.units.iterdir())
    assert not (computer.folder / "etc").exists()


def test_without_systemd_a_schedule_is_refused(computer: Computer) -> None:
    (computer.folder / "running").rmdir()
    status, said = computer.set()
    assert (status, "is not run by systemd" in said) == (ExitStatus.REFUSED, True)


def test_a_disk_that_cannot_be_still_is_refused_and_the_other_way_is_offered(computer: Computer) -> None:
    computer.why = NOT_STILL
    status, said = computer.set()
    assert (status, "while it is in use" in said) == (ExitStatus.REFUSED, True)
    status, said = computer.set("--next-boot")
    assert (status, "has a recovery partition" in said) == (ExitStatus.REFUSED, True)
    assert "rescue media install-partition" in said
    assert not list(computer.units.iterdir())


def test_a_run_captures_what_runs_and_keeps_what_came_of_it(computer: Computer) -> None:
    computer.set("--label", "Weekly", "--level", "fast")
    assert computer.say("run")[0] == ExitStatus.DONE
    (plan,) = computer.plans
    assert isinstance(plan, CapturePlan)
    assert (plan.running, plan.label, plan.level, plan.disks, plan.only) == (True, "Weekly", 1, (DISK,), {})
    shown = computer.say("show", "--json")[1]
    assert (shown["success"]["image"], shown["failure"]) == ("new", None)
    computer.finished = computer.captured("x", 5, "the snapshot was full")
    assert computer.say("run")[0] == ExitStatus.IO_FAILURE
    shown = computer.say("show", "--json")[1]
    assert (shown["success"]["image"], shown["failure"]["message"]) == ("new", "the snapshot was full")
    assert "the snapshot was full" in computer.say("show")[1]


def test_an_image_with_parts_that_could_not_be_read_is_no_success(computer: Computer) -> None:
    computer.set("--keep-last", "1")
    computer.finished = structs.replace(computer.captured("damaged"), status=int(ExitStatus.DAMAGED), message="damaged")
    assert computer.say("run")[0] == ExitStatus.DAMAGED
    assert computer.say("show", "--json")[1]["success"] is None
    assert len(computer.plans) == 1, "nothing is deleted for it"


def test_a_run_without_its_library_makes_none_elsewhere(computer: Computer) -> None:
    computer.set()
    computer.library.path.rename(computer.folder / "away")
    status, said = computer.say("run")
    assert (status, "attached and mounted" in said) == (ExitStatus.BAD_IMAGE, True)
    assert not computer.library.path.exists()
    assert computer.say("show", "--json")[1]["failure"]["code"] == "not-a-library"
    assert computer.plans == []


def test_a_run_is_for_the_disk_that_was_meant(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.set()
    other = replace(DISK, id=replace(DISK.id, wwn="0x6000", serial="T"))
    monkeypatch.setattr(inventory, "scan", lambda *_: (other,))
    assert computer.say("run")[0] == ExitStatus.REFUSED
    assert computer.plans == []


def test_a_run_that_cannot_be_still_fails_and_says_what_to_do(computer: Computer) -> None:
    computer.set()
    computer.why = NOT_STILL
    assert computer.say("run")[0] == ExitStatus.REFUSED
    assert computer.say("show", "--json")[1]["failure"]["code"] == "not-still"
    assert computer.plans == []


def test_only_images_of_this_computer_and_its_disk_are_pruned(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = [an_image(id=name, machine=Machine(serial="ABC")) for name in ("new", "old")]
    other = an_image(id="other", machine=Machine(serial="XYZ"))
    plan = PrunePlan(
        library=str(computer.library.path),
        images=tuple(DoomedImage(id=one, created="", label="") for one in ("old", "other")),
    )
    verdicts = [Verdict(image=one, reasons=("last",) if one.id == "new" else ()) for one in [*mine, other]]
    monkeypatch.setattr(freeing, "plan_prune", lambda *_: (plan, verdicts))
    computer.set("--keep-last", "1")
    assert computer.say("run")[0] == ExitStatus.DONE
    _, pruned = computer.plans
    assert isinstance(pruned, PrunePlan)
    assert [one.id for one in pruned.images] == ["old"]


@contextmanager
def _reached(root: Path) -> Iterator[Path]:
    yield root


@pytest.fixture
def recovery(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recovery partition, and a GRUB that can be told to start it once."""
    root = computer.folder / "recovery"
    root.mkdir()
    part = a_partition(number=5, recovery="own-uuid")
    disk = replace(DISK, table=a_table(a_partition(), part))
    monkeypatch.setattr(inventory, "scan", lambda *_: (disk,))
    monkeypatch.setattr(bootplaces, "reached", lambda *_, **__: _reached(root))
    monkeypatch.setattr(efientries, "can_be_changed", lambda: False)
    monkeypatch.setattr(nextboot, "_grub", lambda: (Path("/boot/grub"), "grub-reboot", "grub-editenv"))
    computer.tool("grub-reboot")
    computer.tool("grub-editenv")
    return root


def _of_disk(name: str, created: str = "2026-01-01T00:00:00Z") -> Image:
    return an_image(id=name, created=created, disks=(an_imaged_disk(id=DISK.id),))


def test_the_next_start_captures_once_and_what_came_of_it_is_seen(
    computer: Computer, recovery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer.why = NOT_STILL
    empty = computer.library.images()
    before = replace(empty, images=(_of_disk("before"),))
    monkeypatch.setattr(Library, "images", lambda _: before)
    assert computer.set("--next-boot", "--keep-last", "1")[0] == ExitStatus.DONE
    assert computer.found == [computer.library.path]
    assert (computer.units / "rescue-schedule-back.service").exists()
    assert computer.say("run")[0] == ExitStatus.DONE
    assert computer.plans == []
    assert 'after = "reboot"' in (recovery / "jobs/scheduled.toml").read_text()
    assert computer.told[-1] == "grub-reboot --boot-directory=/boot rescue-recovery"
    assert "systemctl reboot" not in computer.told
    assert computer.say("show", "--json")[1]["asked"]["known"] == ["before"]
    # As long as nobody has started it anew, nothing is asked for a second time.
    computer.say("run")
    assert sum("grub-reboot" in line for line in computer.told) == 1
    # Back without an image: that is a failure; the order is gone in any case.
    monkeypatch.setattr(schedule_run, "boot_id", lambda: "later")
    monkeypatch.setattr(nextboot, "boot_id", lambda: "later")
    state = schedulestate.read()
    assert computer.say("back")[0] == ExitStatus.DONE
    assert not (recovery / "jobs/scheduled.toml").exists()
    shown = computer.say("show", "--json")[1]
    assert (shown["failure"]["code"], shown["success"], shown["asked"]) == ("no-image", None, None)
    # Back with one.
    schedulestate.write(state)
    after = replace(empty, images=(_of_disk("before"), _of_disk("late", "2025-01-01T00:00:00Z")))
    monkeypatch.setattr(Library, "images", lambda _: after)
    computer.say("back")
    shown = computer.say("show", "--json")[1]
    assert (shown["failure"], shown["success"]["image"], shown["asked"]) == (None, "late", None)


def test_where_the_library_is_away_at_the_start_the_order_goes_and_the_next_run_looks_again(
    computer: Computer, recovery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer.why = NOT_STILL
    computer.set("--next-boot")
    computer.say("run")
    monkeypatch.setattr(schedule_run, "boot_id", lambda: "later")
    monkeypatch.setattr(nextboot, "boot_id", lambda: "later")
    computer.library.path.rename(computer.folder / "away")
    assert computer.say("back")[0] == ExitStatus.DONE
    assert not (recovery / "jobs/scheduled.toml").exists()
    assert computer.say("show", "--json")[1]["asked"] is not None


def test_other_orders_on_the_recovery_partition_are_not_stepped_on(computer: Computer, recovery: Path) -> None:
    computer.set()
    (recovery / "jobs").mkdir()
    (recovery / "jobs/mine.toml").write_text("version = 1\n")
    status, said = computer.say("run", "--next-boot")
    assert (status, "mine.toml" in said) == (ExitStatus.REFUSED, True)
    assert [path.name for path in (recovery / "jobs").iterdir()] == ["mine.toml"]
    assert not any("grub-reboot" in line for line in computer.told)


@pytest.mark.usefixtures("recovery")
def test_of_two_recovery_partitions_none_is_meant(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    computer.set()
    (disk,) = inventory.scan()
    other = replace(disk, path="/dev/sdb", id=DiskId(size=disk.size, model="Other", serial="2"))
    monkeypatch.setattr(inventory, "scan", lambda *_: (disk, other))
    status, said = computer.say("run", "--next-boot")
    assert (status, "sda, sdb have a recovery partition each" in said) == (ExitStatus.REFUSED, True)
    assert not any("grub-reboot" in line for line in computer.told)


def test_an_order_does_not_stay_where_grub_could_not_be_told(computer: Computer, recovery: Path) -> None:
    computer.set()
    computer.tool("grub-reboot", "exit 1")
    assert computer.say("run", "--next-boot")[0] == ExitStatus.IO_FAILURE
    assert list((recovery / "jobs").iterdir()) == []
    assert computer.say("show", "--json")[1]["asked"] is None


def test_removing_the_schedule_takes_an_order_that_waits_back(computer: Computer, recovery: Path) -> None:
    computer.set()
    computer.say("run", "--next-boot")
    assert computer.say("remove")[0] == ExitStatus.DONE
    assert list((recovery / "jobs").iterdir()) == []
    assert "grub-editenv /boot/grub/grubenv unset next_entry" in computer.told


@pytest.mark.usefixtures("recovery")
def test_uefi_is_told_by_the_entry_of_the_recovery_partition(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efientries, "can_be_changed", lambda: True)
    monkeypatch.setattr(nextboot, "_efi_number", lambda _: "0007")
    computer.tool("efibootmgr")
    computer.set()
    computer.say("run", "--next-boot")
    assert computer.told[-1] == "efibootmgr --bootnext 0007"


def test_an_encrypted_library_needs_a_file_with_its_passphrase(
    computer: Computer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info: Any = Library.look(computer.library.path)
    monkeypatch.setattr(Library, "look", lambda *_: replace(info, encryption=SimpleNamespace()))
    monkeypatch.setattr(Library, "open", lambda *_, **__: computer.library)
    assert computer.set()[0] == ExitStatus.REFUSED
    words = tmp_path / "words"
    words.write_text("one two three\n")
    words.chmod(0o644)
    status, said = computer.set("--passphrase-file", str(words))
    assert (status, "others can read it" in said) == (ExitStatus.REFUSED, True)
    words.chmod(0o600)
    assert computer.set("--passphrase-file", str(words))[0] == ExitStatus.DONE
    written = (tmp_path / "etc/schedule.toml").read_text() + "".join(p.read_text() for p in computer.units.iterdir())
    assert "one two three" not in written
    status, said = computer.set("--passphrase-file", str(words), "--next-boot")
    assert (status, "nobody to ask" in said) == (ExitStatus.REFUSED, True)


def test_what_is_kept_of_runs_that_is_damaged_is_told(computer: Computer) -> None:
    computer.set()
    (computer.folder / "state").mkdir(exist_ok=True)
    (computer.folder / "state/schedule.json").write_text("{")
    assert computer.say("show")[0] == ExitStatus.BAD_IMAGE


def test_status_ends_with_10_where_the_schedule_is_overdue(
    computer: Computer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = replace(computer.library.images(), images=(_of_disk("20260101-000000-abcd"),))
    monkeypatch.setattr(Library, "images", lambda _: listing)
    words = ["status", "--library", str(computer.library.path)]
    assert main([*words, "--json"]) == ExitStatus.DONE
    assert json.loads(capsys.readouterr().out)["schedule"] == {"schedule": None, "overdue": False}
    computer.set()
    assert main(words) == ExitStatus.DONE
    assert "none yet" in capsys.readouterr().out
    path = schedulestate.configuration()
    path.write_text(re.sub(r"since = .*", 'since = "2020-01-01T00:00:00Z"', path.read_text()))
    assert main(words) == ExitStatus.OUTDATED
    assert "no success in the last 9 days" in capsys.readouterr().out
    assert main([*words, "--json"]) == ExitStatus.OUTDATED
    assert json.loads(capsys.readouterr().out)["schedule"]["overdue"] is True


def test_a_schedule_is_shown_with_disks_that_a_person_knows_and_in_their_words() -> None:
    disks = (
        ScheduledDisk(size=500_107_862_016, model="Samsung SSD", serial="S5Y1"),
        ScheduledDisk(size=32_000_000_000),
    )
    schedule = Schedule(library="/mnt/images", every="weekly", since="2026-01-01T00:00:00Z", disk=disks)
    language.use("de")
    rows = schedule_commands.lines_of(schedule, schedulestate.State(), datetime(2026, 1, 2, tzinfo=UTC))
    assert rows[0].split(maxsplit=1)[1] == "Samsung SSD S5Y1 500.1 GB, 32.0 GB"
    assert rows[2].split() == ["Wann", "wöchentlich"]
    other = structs.replace(schedule, every="Mon..Fri 12:30")
    assert "Mon..Fri 12:30" in schedule_commands.lines_of(other, schedulestate.State(), datetime.now(UTC))[2]
