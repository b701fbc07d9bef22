"""A disk that says of itself that it is failing is named before it is captured, written to, or listed."""

import os
from pathlib import Path

import pytest

from tests.command import run_rescue
from tests.disks import MIB, blank, looped

pytestmark = pytest.mark.root

ANSWER = Path(__file__).parent.parent / "unit" / "smartctl" / "sata-failing.json"
SAID = "is FAILING: sectors that cannot be read: 312"


@pytest.fixture(autouse=True)
def smartctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every disk says that it is failing."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "smartctl").write_text(f"#!/bin/sh\ncat {ANSWER}\nexit 216\n")
    (tools / "smartctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")


def test_a_failing_disk_is_named_before_it_is_captured_and_before_it_is_written_to(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk.img", 8 * MIB, fill=7)
    library = tmp_path / "library"
    with looped(disk) as loop:
        captured = run_rescue("capture", loop, "--library", library, "--json")
        assert f"WARNING: {Path(loop).name} {SAID}" in captured.err
        assert "Save what matters most first." in captured.err
        image = captured.events[-1]["result"]["image"]
        restored = run_rescue("restore", image, loop, "--library", library, "--erase", Path(loop).name)
        assert f"WARNING: {Path(loop).name} {SAID}" in restored.err
        assert "Better restore to another disk." in restored.err


def test_a_file_is_never_failing(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk.img", 8 * MIB, fill=7)
    assert run_rescue("capture", disk, "--library", tmp_path / "library").err == ""
