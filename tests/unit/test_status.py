"""`rescue status`: monitoring goes by its exit status."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imaging import inventory
from imaging.disk import Disk, DiskId
from imaging.errors import BadImageError, ExitStatus
from imaging.library import DamagedImage, Library
from imaging.manifest import Image, Machine, Volume
from imaging.notes import Notes, Verification
from rescue.cli import main
from tests.command import run_rescue
from tests.disks import MIB, blank
from tests.unit.builders import GIB, a_disk, a_partition, a_table, an_image, an_imaged_disk

HERE = Machine(vendor="Dell Inc.", model="OptiPlex", serial="ABC")
GOOD = Notes(verified=Verification(when="2026-06-30T00:00:00Z", chunks=10, bad=0))
BAD = Notes(verified=Verification(when="2026-06-30T00:00:00Z", chunks=10, bad=1))
NEW, OLD = DiskId(size=GIB, model="new", serial="N"), DiskId(size=GIB, model="old", serial="O")


def test_a_computer_that_was_backed_up_is_told_when_and_is_overdue_later(tmp_path: Path) -> None:
    library, disk = tmp_path / "library", blank(tmp_path / "disk.img", 2 * MIB)
    run_rescue("library", "init", library)
    words = ("status", "--library", library)
    said = run_rescue(*words, status=ExitStatus.OUTDATED).out
    assert "There is no backup of a disk of this computer." in said
    assert "rescue capture DISK" in said
    nothing = run_rescue(*words, "--json", status=ExitStatus.OUTDATED).json
    assert (nothing["overdue"], nothing["backups"]) == (True, [])
    image = run_rescue("capture", disk, "--library", library, "--json").events[-1]["result"]["image"]
    run_rescue("verify", image, "--library", library)
    # A disk file is no disk of this computer.
    run_rescue(*words, status=ExitStatus.OUTDATED)
    every = (*words, "--all-computers")
    said = run_rescue(*every, "--overdue", "1").out
    assert image in said
    assert "0 days" in said
    assert "everything was right" in said
    assert "OVERDUE" not in said
    late = run_rescue(*every, "--overdue", "0.0000001", status=ExitStatus.OUTDATED)
    assert "0 days, OVERDUE" in late.out
    (one,) = run_rescue(*every, "--overdue", "1", "--json").json["backups"]
    assert (one["image"], one["library"], one["overdue"], one["newer_damaged"]) == (image, str(library), False, 0)
    assert (one["verified"]["bad"], one["whole"]) == (0, True)
    (library / "images" / image / "notes.json").write_text("garbage")
    assert "cannot be relied on" in run_rescue(*every, status=ExitStatus.OUTDATED).out
    for odd in ("0", "-1", "nan", "week", "1e9"):
        run_rescue(*every, "--overdue", odd, status=ExitStatus.USAGE)


def backup(name: str, year: int, disk: DiskId = NEW, **changes: Any) -> Image:
    made = {"machine": HERE, "disks": (an_imaged_disk(id=disk),), **changes}
    return an_image(id=name, created=f"20{year}-01-01T00:00:00Z", **made)


Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Whatever libraries hold, on a computer with these disks: the status, and what is said."""
    library = Library.create(tmp_path / "library")
    empty = library.images()

    def asked(
        *images: Image, disks: Sequence[Disk] = (a_disk(id=NEW),), machine: Machine = HERE, **listed: Any
    ) -> tuple[int, dict[str, Any]]:
        listing = replace(empty, images=images, **listed)
        words = ["status", "--library", str(library.path), "--json", "--overdue", "1000"]
        with monkeypatch.context() as patch:
            patch.setattr(Library, "images", lambda _: listing)
            patch.setattr(inventory, "machine", lambda: machine)
            patch.setattr(inventory, "scan", lambda *_: tuple(disks))
            status = main(words)
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert (status == ExitStatus.OUTDATED) is said["overdue"]
        return status, said

    return asked


def test_a_disk_that_was_taken_out_makes_nothing_overdue_and_stands_for_no_other(ask: Ask) -> None:
    images = backup("new", 26), backup("old", 21, OLD)
    status, said = ask(*images)
    assert status == ExitStatus.DONE
    assert [(one["image"], one["overdue"]) for one in said["backups"]] == [("new", False)]
    status, said = ask(*images, disks=[a_disk(id=NEW), a_disk(id=OLD)])
    assert status == ExitStatus.OUTDATED
    assert [(one["image"], one["overdue"]) for one in said["backups"]] == [("new", False), ("old", True)]
    # The computer's only disk is a new one.
    status, said = ask(backup("old", 26, OLD))
    assert (status, said["never"]) == (ExitStatus.OUTDATED, ["sda"])


def test_each_disk_that_is_here_needs_a_backup_of_its_own(ask: Ask) -> None:
    gone = DiskId(size=GIB, model="gone", serial="G")
    both = backup("both", 20, disks=(an_imaged_disk(id=OLD), an_imaged_disk(id=gone)))
    fresh = backup("new", 26)
    disks = [a_disk(id=NEW), a_disk(path="/dev/sdb", id=OLD)]
    status, said = ask(both, fresh, disks=disks)
    assert (status, [one["overdue"] for one in said["backups"]]) == (ExitStatus.OUTDATED, [False, True])
    bad = backup("bad", 26, OLD)
    assert ask(bad, fresh, disks=disks, notes={"bad": BAD})[0] == ExitStatus.OUTDATED


def test_after_a_change_of_the_mainboard_the_newest_backup_counts(ask: Ask) -> None:
    board = Machine(vendor="Dell Inc.", model="OptiPlex", serial="ANOTHER")
    status, said = ask(backup("old", 20, machine=board), backup("new", 26))
    assert (status, [one["image"] for one in said["backups"]]) == (ExitStatus.DONE, ["new"])


def test_a_disk_without_a_number_of_its_own_is_known_by_its_computer(ask: Ask) -> None:
    plain = DiskId(size=GIB, model="", serial="")
    images = backup("mine", 26, plain), backup("other", 26, plain, machine=Machine(serial="X"))
    status, said = ask(*images, disks=[a_disk(id=plain)])
    assert (status, [one["image"] for one in said["backups"]]) == (ExitStatus.DONE, ["mine"])
    assert ask(images[1], disks=[a_disk(id=plain)])[0] == ExitStatus.OUTDATED


def test_a_disk_that_is_in_no_image_is_named(ask: Ask) -> None:
    second = a_disk(path="/dev/sdb", id=OLD)
    status, said = ask(backup("new", 26), disks=[a_disk(id=NEW), second])
    assert (status, said["never"]) == (ExitStatus.DONE, ["sdb"])
    for aside in (replace(second, removable=True), replace(second, table=a_table(), transport="usb")):
        assert ask(backup("new", 26), disks=[a_disk(id=NEW), aside])[1]["never"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"notes": {"new": BAD}},
        {"notes": {"new": Notes(before="x")}},
        {"unnoted": frozenset({"new"})},
        {"images": (backup("new", 99),)},
    ],
)
def test_what_cannot_be_relied_on_is_no_backup(ask: Ask, changes: Mapping[str, Any]) -> None:
    listed = dict(changes)
    newest = listed.pop("images", (backup("new", 26),))
    assert ask(*newest, backup("older", 20), **listed)[0] == ExitStatus.OUTDATED


def test_images_that_cannot_be_read_are_counted(ask: Ask) -> None:
    bad = DamagedImage(id="x", problem="cut short")
    assert ask(backup("new", 26), damaged=(bad,))[1]["damaged"] == 1


def test_images_of_chosen_partitions_are_told_as_such(ask: Ask) -> None:
    table = a_table(a_partition(1), a_partition(2, GIB // 2, MIB))
    volume = Volume(number=1, start=MIB, size=100 * MIB, used=MIB, map_origin="rescue")
    part = backup("part", 26, disks=(an_imaged_disk(id=NEW, table=table, volumes=(volume,)),))
    status, said = ask(part)
    assert (status, said["backups"][0]["whole"]) == (ExitStatus.DONE, False)


def test_a_computer_that_says_nothing_of_itself_goes_by_its_disks(ask: Ask) -> None:
    nameless = Machine(hostname="debian")
    images = backup("new", 26, machine=nameless), backup("other", 26, OLD, machine=nameless)
    status, said = ask(*images, machine=nameless)
    assert (status, [one["image"] for one in said["backups"]]) == (ExitStatus.DONE, ["new"])


def test_of_copies_the_best_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = [Library.create(tmp_path / name) for name in "ab"]
    listing = libraries[0].images()
    held = {
        libraries[0].path: replace(listing, images=(backup("new", 26),), notes={"new": BAD}),
        libraries[1].path: replace(listing, images=(backup("new", 26),), notes={"new": GOOD}),
    }
    monkeypatch.setattr(Library, "images", lambda library: held[library.path])
    monkeypatch.setattr(inventory, "machine", lambda: HERE)
    monkeypatch.setattr(inventory, "scan", lambda *_: (a_disk(id=NEW),))
    for order in (libraries, libraries[::-1]):
        monkeypatch.setattr("rescue.status_command.libraries", lambda _, order=order: order)
        assert main(["status", "--overdue", "1000"]) == ExitStatus.DONE

    def images(library: Library) -> object:
        if library is libraries[0]:
            raise BadImageError("it cannot be read")
        return held[library.path]

    monkeypatch.setattr(Library, "images", images)
    assert main(["status", "--overdue", "1000"]) == ExitStatus.DONE
