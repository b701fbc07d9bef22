"""Drives are asked how they erase themselves, and left alone while they do."""

import os
from pathlib import Path

import pytest
from msgspec import structs

from imaging import erasing, inventory, planner, sanitizers, sanitizing
from imaging.errors import IoError
from imaging.pipeline import Reporter
from imaging.restoreplans import Wipe
from imaging.sanitize import Method, Obstacle, Sanitizer
from tests.disks import MIB, looped
from tests.faults.drives import sanitized
from tests.faults.world import Sample

ABLE = '{"nn": 128, "oacs": 31, "sanicap": 2, "cmic": 0, "fna": 0, "ioccsz": 0}'
SATA = """
Commands/features:
\tEnabled\tSupported:
\t   *\tBLOCK_ERASE_EXT command
\t   *\tSANITIZE feature set
Security:
\t\tsupported
\tnot\tenabled
\tnot\tlocked
\tnot\tfrozen
\tnot\texpired: security count
"""


@pytest.mark.parametrize(
    ("transport", "answers", "expected"),
    [
        ("nvme", {"id-ctrl": ABLE, "list-ns": "[   0]:0x1\n"}, Sanitizer(method=Method.NVME_BLOCK_ERASE)),
        ("nvme", {"id-ctrl": ABLE, "list-ns": "[   0]:0x1\n[   1]:0x2\n"}, Sanitizer(obstacle=Obstacle.SHARED)),
        ("nvme", {"id-ctrl": "cut sho", "list-ns": "[   0]:0x1\n"}, Sanitizer(obstacle=Obstacle.UNKNOWN)),
        ("ata", {"-I": SATA, "--sanitize-status": "State: SD0"}, Sanitizer(method=Method.ATA_BLOCK_ERASE)),
        ("ata", {"-I": SATA, "--sanitize-status": "State: SD1"}, Sanitizer(method=Method.ATA_SECURITY_ERASE)),
        ("usb", {"-I": SATA, "--sanitize-status": "State: SD0"}, Sanitizer(obstacle=Obstacle.UNABLE)),
    ],
)
def test_drives_are_asked_and_nothing_else_is_done_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str, answers: dict[str, str], expected: Sanitizer
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for words, answer in answers.items():
        (tmp_path / words).write_text(answer)
    for name in ("nvme", "hdparm"):
        (tools / name).write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {tmp_path}/"$1"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (tmp_path / "asked").touch()
    assert sanitizers.sanitizer("/dev/disk", transport) == expected
    asked = (tmp_path / "asked").read_text().splitlines()
    assert set(asked) <= {
        "id-ctrl /dev/disk --output-format=json",
        "list-ns /dev/disk --all",
        "-I /dev/disk",
        "--sanitize-status /dev/disk",
    }
    assert bool(asked) is (transport != "usb")


def test_the_time_that_a_drive_says_is_expected(sample: Sample, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = sanitized(sample, old, Method.ATA_SECURITY_ERASE, monkeypatch)
    (pair,) = plan.targets
    slow = structs.replace(pair, sanitizer=Sanitizer(method=Method.ATA_SECURITY_ERASE, minutes=240))
    longer = structs.replace(plan, targets=(slow,))
    assert planner.seconds_expected(longer) - planner.seconds_expected(plan) == pytest.approx(240 * 60)
    assert planner.seconds_expected(structs.replace(longer, wipe=Wipe.DISCARD)) < 240 * 60


LOCKED = "\nSecurity:\n\t\tsupported\n\t\tenabled\n\t\tlocked\n"
AT_WORK = "    State:    SD2 Sanitize operation In Process\n    Progress: 0x4000 (25%)\n"
LOG = "Sanitize Progress (SPROG) :  16384\nSanitize Status (SSTAT) :  {}\n"


@pytest.mark.parametrize(
    ("transport", "identified", "status", "words"),
    [
        ("ata", LOCKED, "", "it is locked by a password"),
        ("ata", LOCKED.replace("\t\tlocked", "\tnot\tlocked"), AT_WORK, "still erases itself (25%)"),
        ("ata", "", "Last Sanitize Command completed unsuccessfully", "it has failed to erase itself"),
        ("ata", "", "State:    SD0 Sanitize Idle", "failed: Input/output error"),
        ("nvme", "", LOG.format("0x2"), "still erases itself (25%)"),
        ("nvme", "", LOG.format("0x3"), "it has failed to erase itself"),
        ("nvme", "", LOG.format("0"), "failed: Input/output error"),
        ("nvme", "", LOG.format("0x101"), "failed: Input/output error"),
        ("usb", LOCKED, AT_WORK, "failed: Input/output error"),
    ],
)
@pytest.mark.root
def test_a_disk_that_cannot_be_read_for_that_says_so(
    old: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
    identified: str,
    status: str,
    words: str,
) -> None:
    """After the power was cut in the middle a drive goes on by itself, or keeps the password."""
    (tmp_path / "identified").write_text(identified)
    (tmp_path / "status").write_text(status)
    for name in ("nvme", "hdparm"):
        tool = tmp_path / "tools" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\ncase "$1" in -I) cat {tmp_path}/identified;; *) cat {tmp_path}/status;; esac\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/tools:{os.environ['PATH']}")

    def unreadable(_fd: int, _at: int = 0) -> bytes:
        raise IoError("reading at byte 0 failed: Input/output error", code="read-failed")

    monkeypatch.setattr(inventory, "_first_sector", unreadable)
    monkeypatch.setattr(inventory, "_transport", lambda _device: transport)
    with looped(old) as device:
        disk = inventory.look(device)
    assert words in disk.problem
    assert words in planner.why_protected(disk)
    if "locked" in words:
        assert f"--security-disable rescue {device}" in disk.problem


@pytest.mark.root
def test_a_drive_that_erases_itself_is_not_read_meanwhile(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would wait until it is done, and the menu with it."""
    seen: list[str] = []
    with looped(old) as device:

        def looking(path: str, *_words: object) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(inventory, "open_for_reading", lambda path: pytest.fail(f"{path} was opened"))
                seen.append(inventory.look(path).problem)
            raise IoError("that is enough", code="tool-failed")

        monkeypatch.setattr(sanitizing, "_carry_out", looking)
        report = Reporter(lambda data: len(data))
        assert not sanitizing.erase_itself(device, MIB, Method.ATA_SECURITY_ERASE, "sda", report)
        assert not erasing.is_erasing(device)
        assert not inventory.look(device).problem
    assert seen == ["a job has it erase itself: it can be read once it is done"]
