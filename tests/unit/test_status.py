"""`rescue status`: monitoring goes by its exit status."""

import json
from pathlib import Path

import pytest

from imaging import inventory
from imaging.disk import DiskId
from imaging.errors import ExitStatus
from imaging.library import Library
from imaging.manifest import Machine
from rescue.cli import main
from tests.command import run_rescue
from tests.disks import MIB, blank
from tests.unit.builders import a_disk, an_image, an_imaged_disk


def test_a_computer_that_was_backed_up_is_told_when_and_is_overdue_later(tmp_path: Path) -> None:
    library, disk = tmp_path / "library", blank(tmp_path / "disk.img", 2 * MIB)
    run_rescue("library", "init", library)
    words = ("status", "--library", library)
    assert "There is no backup of this computer." in run_rescue(*words, status=ExitStatus.OUTDATED).out
    nothing = run_rescue(*words, "--json", status=ExitStatus.OUTDATED).json
    assert (nothing["overdue"], nothing["computers"]) == (True, [])
    image = run_rescue("capture", disk, "--library", library, "--json").events[-1]["result"]["image"]
    run_rescue("verify", image, "--library", library)
    said = run_rescue(*words, "--overdue", "1").out
    assert image in said
    assert "0 days" in said
    assert "everything was right" in said
    assert "OVERDUE" not in said
    late = run_rescue(*words, "--overdue", "0.0000001", status=ExitStatus.OUTDATED)
    assert "0 days, OVERDUE" in late.out
    (one,) = run_rescue(*words, "--overdue", "1", "--all-computers", "--json").json["computers"]
    assert (one["image"], one["library"], one["overdue"], one["newer_damaged"]) == (image, str(library), False, 0)
    assert one["verified"]["bad"] == 0
    for odd in ("0", "-1", "nan", "week", "1e9"):
        run_rescue(*words, "--overdue", odd, status=ExitStatus.USAGE)


def test_a_disk_that_was_taken_out_makes_nothing_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Machine(vendor="Dell Inc.", model="OptiPlex", serial="ABC")
    ids = {name: DiskId(size=10, model=name, serial=name) for name in ("new", "old")}
    images = tuple(
        an_image(id=name, created=f"20{year}-01-01T00:00:00Z", machine=here, disks=(an_imaged_disk(id=ids[name]),))
        for name, year in (("new", 26), ("old", 21))
    )
    library = Library.create(tmp_path / "library")
    listing = library.images()
    monkeypatch.setattr(Library, "images", lambda _: type(listing)(images=images, damaged=(), notes={}))
    monkeypatch.setattr(inventory, "machine", lambda: here)
    attached = [a_disk(id=ids["new"])]
    monkeypatch.setattr(inventory, "scan", lambda *_: tuple(attached))
    words = ["status", "--library", str(library.path), "--json", "--overdue", "1000"]
    assert main(words) == ExitStatus.DONE
    said = json.loads(capsys.readouterr().out)
    assert [(one["image"], one["overdue"]) for one in said["computers"]] == [("new", False), ("old", False)]
    attached.append(a_disk(id=ids["old"]))
    assert main(words) == ExitStatus.OUTDATED
    attached.clear()
    assert main(words) == ExitStatus.OUTDATED
